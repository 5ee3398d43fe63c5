//! What the screen knows: fed by a thread of its own, so that every row is counted however slow the terminal is.

mod budget;
pub(super) mod causes;
pub(super) mod connections;
pub(super) mod kept;
pub(super) mod seconds;

use std::time::Duration;

use netobserv_wire::Flow;
use netobserv_wire::flow::Enrichment;

use crate::feed::Rows;
use budget::Budget;
use causes::Causes;
use connections::Connections;
use kept::Kept;
use seconds::Seconds;

/// Errno of a query that was not seen; its answer is none the worse for that.
const ENOENT: u32 = 2;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) kept: Kept,
    pub(super) connections: Connections,
    pub(super) seconds: Seconds,
    pub(super) causes: Causes,
    /// Rows that all views show, and rows that came too fast for that.
    pub(super) seen: u64,
    skimmed: u64,
    missed: u64,
    budget: Budget,
    /// Some flow had names of the cluster.
    pub(super) has_names: bool,
    /// Some flow had a process.
    pub(super) has_processes: bool,
    /// Some flow had drops, DNS, a round-trip time.
    pub(super) has: [bool; 3],
}

impl Data {
    pub(super) fn new(keep_rows: usize) -> Self {
        Self { kept: Kept::new(keep_rows), ..Self::default() }
    }

    /// For rows that a file has: all views show all of them.
    pub(super) fn of_file(keep_rows: usize) -> Self {
        Self { budget: Budget::without_limit(), ..Self::new(keep_rows) }
    }

    /// Takes in rows that came at `now` after the start. What is more than the budget counts in the graph only; the tables, which cost the
    /// most, leave it out.
    pub(super) fn add(&mut self, rows: Rows, now: Duration) {
        self.seconds.advance(now);
        let whole = self.budget.allows(rows.len(), now);
        for flow in rows.iter() {
            let drops = flow.duplicate.map(|_| flow.drops_only());
            let flow = drops.as_ref().unwrap_or(flow);
            self.seconds.add(flow);
            self.causes.add(flow);
            if whole {
                self.connections.add(flow, now);
                let named = |k8s: &Enrichment| k8s.src.holder.is_some() || k8s.dst.holder.is_some();
                self.has_processes |= flow.processes.is_some();
                self.has[0] |= flow.drops.is_some();
                self.has[1] |= flow.dns.is_some();
                self.has[2] |= flow.rtt_ns > 0;
                self.has_names |= flow.k8s.as_ref().is_some_and(named);
            }
        }
        if whole {
            self.seen += rows.len() as u64;
            self.kept.push(rows);
        } else {
            self.skimmed += rows.len() as u64;
        }
    }

    /// So many rows never came here.
    pub(super) fn set_missed(&mut self, missed: u64) {
        self.missed = missed;
    }

    /// Rows that some view does not show.
    pub(super) fn not_shown(&self) -> u64 {
        self.skimmed + self.missed
    }

    /// Nothing came until `now`.
    pub(super) fn idle(&mut self, now: Duration) {
        self.seconds.advance(now);
    }
}

/// Whether something went wrong with a DNS transaction.
pub(super) fn dns_error(flow: &Flow) -> bool {
    flow.dns.as_ref().is_some_and(|dns| match dns.rcode.as_str() {
        "" | "NoError" => !matches!(dns.errno, 0 | ENOENT),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::{Dns, Drops, Duplicate};

    #[test]
    fn what_comes_too_fast_counts_in_the_graph() {
        let mut data = Data::new(1_000_000);
        let flow = Flow { packets: 1, ..Flow::default() };
        let rows: Rows = vec![flow; 1_000].into();
        for _ in 0..1_000 {
            data.add(rows.clone(), Duration::from_millis(500));
        }
        data.idle(Duration::from_secs(1));
        assert_eq!(data.seconds.done().map(|second| second.packets).sum::<u64>(), 1_000_000);
        assert_eq!(data.seen + data.not_shown(), 1_000_000);
        assert!(data.not_shown() > 0 && data.kept.len() as u64 == data.seen);
    }

    #[test]
    fn packets_that_another_record_counts_are_not_shown_but_their_drops_are() {
        let mut data = Data::new(1_000);
        let flow = Flow { packets: 5, bytes: 500, ..Flow::default() };
        let again = Flow { duplicate: Some(Duplicate::Server), ..flow.clone() };
        let drops = Drops { packets: 2, ..Drops::default() };
        let dropped = Flow { drops: Some(Box::new(drops)), ..again.clone() };
        data.add(vec![again, flow, dropped].into(), Duration::ZERO);
        data.idle(Duration::from_secs(1));
        let second = data.seconds.done().next().unwrap();
        assert_eq!((second.packets, second.bytes, second.drops), (5, 500, 2));
        let total = data.connections.iter().next().unwrap().total();
        assert_eq!((total.packets, total.bytes, total.drops), (5, 500, 2));
        assert_eq!(data.kept.len(), 2);
    }

    #[test]
    fn an_answer_whose_query_was_not_seen_is_no_error() {
        let with = |rcode: &str, errno| {
            let dns = Dns { rcode: rcode.into(), errno, ..Dns::default() };
            dns_error(&Flow { dns: Some(Box::new(dns)), ..Flow::default() })
        };
        assert_eq!(
            [with("NoError", ENOENT), with("", 0), with("", 110), with("NXDomain", 0)],
            [false, false, true, true]
        );
    }
}
