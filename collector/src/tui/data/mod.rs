//! What the screen knows: fed by a thread of its own, so that every row is counted however slow the terminal is.

mod budget;
pub(super) mod kept;
pub(super) mod problems;
pub(super) mod seconds;
pub(super) mod talkers;

use std::time::Duration;

use compact_str::CompactString;
use netobserv_wire::flow::Enrichment;

use super::feed::Rows;
use budget::Budget;
use kept::Kept;
use problems::{Kind, Problem, Problems};
use seconds::Seconds;
use talkers::Talkers;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) kept: Kept,
    pub(super) talkers: Talkers,
    pub(super) problems: Problems,
    pub(super) seconds: Seconds,
    /// Rows that all views show, and rows that came too fast for that.
    pub(super) seen: u64,
    skimmed: u64,
    missed: u64,
    /// When a row was last not shown by all views.
    gap: Option<Duration>,
    budget: Budget,
    /// Some flow had names of the cluster.
    pub(super) has_names: bool,
    /// Some flow had a process.
    pub(super) has_processes: bool,
}

impl Data {
    pub(super) fn new(keep_rows: usize) -> Self {
        Self { kept: Kept::new(keep_rows), ..Self::default() }
    }

    /// Takes in rows that came at `now` after the start. What is more than the budget counts in the graph and among the
    /// problems; the table and the talkers, which cost the most, leave it out.
    pub(super) fn add(&mut self, rows: Rows, now: Duration) {
        self.seconds.advance(now);
        let whole = self.budget.allows(rows.len(), now);
        for flow in rows.iter() {
            let drops = flow.duplicate.map(|_| flow.drops_only());
            let flow = drops.as_ref().unwrap_or(flow);
            self.problems.add(flow, now);
            self.seconds.add(flow);
            if whole {
                self.talkers.add(flow, now);
                let named = |k8s: &Enrichment| k8s.src.holder.is_some() || k8s.dst.holder.is_some();
                self.has_processes |= flow.processes.is_some();
                self.has_names |= flow.k8s.as_ref().is_some_and(named);
            }
        }
        if whole {
            self.seen += rows.len() as u64;
            self.kept.push(rows);
        } else {
            self.skimmed += rows.len() as u64;
            self.gap = Some(now);
        }
    }

    /// So many rows never came here, as of `now`.
    pub(super) fn set_missed(&mut self, missed: u64, now: Duration) {
        if missed > self.missed {
            (self.missed, self.gap) = (missed, Some(now));
        }
    }

    /// Rows that some view does not show.
    pub(super) fn not_shown(&self) -> u64 {
        self.skimmed + self.missed
    }

    /// What went wrong until `now`.
    pub(super) fn problems(&self, now: Duration) -> Vec<(Kind, CompactString, Problem)> {
        self.problems.list(&self.talkers, self.gap, now)
    }

    /// Nothing came until `now`.
    pub(super) fn idle(&mut self, now: Duration) {
        self.seconds.advance(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::Flow;
    use netobserv_wire::flow::{Drops, Duplicate};

    #[test]
    fn what_comes_too_fast_counts_in_the_graph_and_among_the_problems() {
        let mut data = Data::new(1_000_000);
        let drops = Drops { packets: 1, ..Drops::default() };
        let flow = Flow { packets: 1, drops: Some(Box::new(drops)), ..Flow::default() };
        let rows: Rows = vec![flow; 1_000].into();
        for _ in 0..1_000 {
            data.add(rows.clone(), Duration::from_millis(500));
        }
        data.idle(Duration::from_secs(1));
        assert_eq!(data.seconds.done().map(|second| second.packets).sum::<u64>(), 1_000_000);
        assert_eq!(data.problems(Duration::from_secs(1))[0].2.count, 1_000_000);
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
        let (_, talk) = data.talkers.iter().next().unwrap();
        assert_eq!((talk.sums.packets, talk.sums.bytes, talk.sums.drops), (5, 500, 2));
        assert_eq!(data.kept.len(), 2);
    }

    #[test]
    fn an_answer_that_may_have_been_missed_is_no_problem() {
        let mut data = Data::new(1_000);
        let flow = Flow { src_port: Some(40_000), dst_port: Some(80), flags: Some(2), packets: 1, ..Flow::default() };
        let asks = |port| Rows::from(vec![Flow { src_port: Some(port), ..flow.clone() }]);
        data.add(asks(40_000), Duration::from_secs(1));
        assert_eq!(data.problems(Duration::from_secs(9))[0].2.count, 1);
        data.set_missed(5, Duration::from_secs(2));
        assert!(data.problems(Duration::from_secs(9)).is_empty());
        data.add(asks(40_001), Duration::from_secs(3));
        assert_eq!(data.problems(Duration::from_secs(9))[0].2.count, 1, "asked after the gap");
    }
}
