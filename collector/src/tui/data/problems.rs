//! What goes wrong, by cause: dropped packets, resets, DNS errors, slow connections, connections that nobody answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use compact_str::{CompactString, ToCompactString, format_compact};
use netobserv_wire::Flow;

use super::talkers::{Key, Talkers};

/// Most causes, and most conversations that a cause names. More are counted together.
const MOST_CAUSES: usize = 512;
const MOST_NAMES: usize = 64;
/// A round-trip time from here on is a problem.
pub(in crate::tui) const SLOW_MS: u64 = 100;
/// A SYN that has no answer after this time.
const UNANSWERED: Duration = Duration::from_secs(2);

/// TCP flags as in field `Flags`.
const SYN: u32 = 0x02;
const RST: u32 = 0x04;
const ACK: u32 = 0x10;
const RST_ACK: u32 = 0x400;
/// Errno of a query that was not seen; its answer is none the worse for that.
const ENOENT: u32 = 2;
/// Errno of a query that had no answer.
const ETIMEDOUT: u32 = 110;

/// Kinds of problems, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::tui) enum Kind {
    Drop,
    Unanswered,
    Reset,
    Dns,
    Slow,
}

/// Who has a problem: source, destination, its port.
pub(in crate::tui) type Pair = (Option<IpAddr>, Option<IpAddr>, u16);

/// One cause.
#[derive(Clone, Debug, Default)]
pub(in crate::tui) struct Problem {
    /// Packets, answers or flows, by its kind.
    pub(in crate::tui) count: u64,
    /// When it was last seen, since the start of the capture.
    pub(in crate::tui) last: Duration,
    /// The largest round-trip time, ms; of kind `Slow` only.
    pub(in crate::tui) worst_ms: u64,
    names: HashMap<Pair, u64>,
    /// Some conversation is not among the names.
    pub(in crate::tui) more: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::tui) struct Problems(HashMap<(Kind, CompactString), Problem>);

impl Kind {
    pub(in crate::tui) fn title(self) -> &'static str {
        match self {
            Kind::Drop => "Dropped",
            Kind::Unanswered => "No answer",
            Kind::Reset => "Reset",
            Kind::Dns => "DNS",
            Kind::Slow => "Slow",
        }
    }

    /// What [`Problem::count`] counts.
    pub(in crate::tui) fn unit(self) -> &'static str {
        match self {
            Kind::Drop => "packets",
            Kind::Unanswered => "SYN",
            Kind::Reset | Kind::Slow => "records",
            Kind::Dns => "answers",
        }
    }
}

impl Problem {
    fn add(&mut self, pair: Pair, count: u64, now: Duration) {
        self.count = self.count.saturating_add(count);
        self.last = self.last.max(now);
        if self.names.len() < MOST_NAMES || self.names.contains_key(&pair) {
            let sum = self.names.entry(pair).or_default();
            *sum = sum.saturating_add(count);
        } else {
            self.more = true;
        }
    }

    /// The conversation that has it most, and of how many.
    pub(in crate::tui) fn who(&self) -> Option<(Pair, usize)> {
        let most = self.names.iter().max_by_key(|(pair, count)| (**count, std::cmp::Reverse(**pair)));
        most.map(|(pair, _)| (*pair, self.names.len()))
    }
}

impl Problems {
    /// Looks at a row.
    pub(in crate::tui) fn add(&mut self, flow: &Flow, now: Duration) {
        let pair = (flow.src_addr, flow.dst_addr, flow.dst_port.unwrap_or(0));
        if let Some(drops) = flow.drops.as_ref().filter(|drops| drops.packets > 0) {
            let cause = super::super::columns::cause(&drops.cause);
            self.note(Kind::Drop, cause.into(), pair, drops.packets, now);
        }
        if flow.flags.is_some_and(|flags| flags & (RST | RST_ACK) != 0) {
            self.note(Kind::Reset, "connection reset".into(), pair, 1, now);
        }
        if let Some(error) = dns_error(flow) {
            // The client asked; the row is the server's answer, or, without one, the client's query.
            let answered = flow.src_port == Some(53) || flow.dns.as_ref().is_some_and(|dns| dns.flags.is_some());
            let client = if answered { (flow.dst_addr, flow.src_addr, flow.src_port.unwrap_or(0)) } else { pair };
            self.note(Kind::Dns, error, client, 1, now);
        }
        let rtt_ms = flow.rtt_ns / 1_000_000;
        if rtt_ms >= SLOW_MS {
            let slow = self.note(Kind::Slow, format_compact!("round trip over {SLOW_MS} ms"), pair, 1, now);
            slow.worst_ms = slow.worst_ms.max(rtt_ms);
        }
    }

    fn note(&mut self, kind: Kind, what: CompactString, pair: Pair, count: u64, now: Duration) -> &mut Problem {
        let full = self.0.len() >= MOST_CAUSES;
        let what = if full && !self.0.contains_key(&(kind, what.clone())) { "others".into() } else { what };
        let problem = self.0.entry((kind, what)).or_default();
        problem.add(pair, count, now);
        problem
    }

    /// All causes, and the connections of `talkers` that nobody answers; the gravest kind first, in it the most frequent.
    /// What was asked before the last `gap`, rows that the talkers did not see, may have been answered in it.
    pub(super) fn list(
        &self,
        talkers: &Talkers,
        gap: Option<Duration>,
        now: Duration,
    ) -> Vec<(Kind, CompactString, Problem)> {
        let seen = self.0.iter().map(|((kind, what), problem)| (*kind, what.clone(), problem.clone()));
        let mut all: Vec<_> = seen.collect();
        all.extend(
            unanswered(talkers, gap, now).map(|problem| (Kind::Unanswered, "SYN without an answer".into(), problem)),
        );
        all.sort_by(|a, b| (a.0, std::cmp::Reverse(a.2.count), &a.1).cmp(&(b.0, std::cmp::Reverse(b.2.count), &b.1)));
        all
    }
}

/// Connections that were asked for and had no answer.
fn unanswered(talkers: &Talkers, gap: Option<Duration>, now: Duration) -> Option<Problem> {
    let mut problem = Problem::default();
    for (key, talk) in talkers.iter() {
        let asked = talk.flags & (SYN | ACK) == SYN && talk.flags & (RST | RST_ACK) == 0;
        let known = gap.is_none_or(|gap| talk.first > gap);
        if asked && known && now.saturating_sub(talk.first) >= UNANSWERED && talkers.get(key.reversed()).is_none() {
            // Without packets it was dropped on the way out.
            problem.add(pair_of(key), talk.sums.packets.max(talk.sums.drops).max(1), talk.last);
        }
    }
    (problem.count > 0).then_some(problem)
}

fn pair_of(key: &Key) -> Pair {
    (key.src, key.dst, key.dst_port)
}

/// What went wrong with a DNS transaction, with the name that was asked for.
pub(in crate::tui) fn dns_error(flow: &Flow) -> Option<CompactString> {
    let dns = flow.dns.as_ref()?;
    let what = match (dns.rcode.as_str(), dns.errno) {
        ("" | "NoError", 0 | ENOENT) => return None,
        ("" | "NoError", ETIMEDOUT) => "no answer".into(),
        ("" | "NoError", errno) => format_compact!("errno {errno}"),
        (rcode, _) => rcode.to_compact_string(),
    };
    Some(if dns.name.is_empty() { what } else { format_compact!("{what} {}", dns.name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::{Dns, Drops};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn flow(src: &str, dst: &str, ports: (u16, u16)) -> Flow {
        Flow {
            src_addr: src.parse().ok(),
            dst_addr: dst.parse().ok(),
            src_port: Some(ports.0),
            dst_port: Some(ports.1),
            proto: Some(6),
            packets: 1,
            ..Flow::default()
        }
    }

    fn list(flows: &[Flow]) -> Vec<(Kind, String, u64)> {
        let (mut problems, mut talkers) = (Problems::default(), Talkers::default());
        for flow in flows {
            problems.add(flow, at(1));
            talkers.add(flow, at(1));
        }
        problems
            .list(&talkers, None, at(10))
            .into_iter()
            .map(|(kind, what, it)| (kind, what.into(), it.count))
            .collect()
    }

    #[test]
    fn each_kind_is_found() {
        let base = || flow("10.0.0.1", "10.0.0.2", (40_000, 80));
        let drops = Drops { packets: 3, cause: "SKB_DROP_REASON_NETFILTER_DROP".into(), ..Drops::default() };
        let nx = Dns { rcode: "NXDomain".into(), name: "no.example".into(), flags: Some(0x8183), ..Dns::default() };
        let lost = Dns { errno: ETIMEDOUT, ..Dns::default() };
        let fine = Dns { rcode: "NoError".into(), errno: ENOENT, ..Dns::default() };
        let found = list(&[
            Flow { drops: Some(Box::new(drops)), ..base() },
            Flow { flags: Some(RST | ACK), ..base() },
            Flow { dns: Some(Box::new(nx)), ..base() },
            Flow { dns: Some(Box::new(lost)), ..base() },
            Flow { dns: Some(Box::new(fine)), ..base() },
            Flow { rtt_ns: 250_000_000, ..base() },
            Flow { flags: Some(SYN), ..flow("10.0.0.1", "10.0.0.9", (40_001, 81)) },
        ]);
        let texts: Vec<_> = found.iter().map(|(kind, what, count)| (*kind, what.as_str(), *count)).collect();
        assert_eq!(
            texts,
            [
                (Kind::Drop, "NETFILTER_DROP", 3),
                (Kind::Unanswered, "SYN without an answer", 1),
                (Kind::Reset, "connection reset", 1),
                (Kind::Dns, "NXDomain no.example", 1),
                (Kind::Dns, "no answer", 1),
                (Kind::Slow, "round trip over 100 ms", 1),
            ]
        );
    }

    #[test]
    fn an_answered_syn_is_no_problem() {
        let asked = Flow { flags: Some(SYN), ..flow("10.0.0.1", "10.0.0.2", (40_000, 80)) };
        let answer = Flow { flags: Some(RST_ACK | 0x10), ..flow("10.0.0.2", "10.0.0.1", (80, 40_000)) };
        let kinds: Vec<_> = list(&[asked, answer]).into_iter().map(|(kind, ..)| kind).collect();
        assert_eq!(kinds, [Kind::Reset]);
    }

    #[test]
    fn a_flood_of_causes_stays_bounded() {
        let mut problems = Problems::default();
        for number in 0..10_000 {
            let dns = Dns { rcode: "NXDomain".into(), name: number.to_compact_string(), ..Dns::default() };
            problems.add(&Flow { dns: Some(Box::new(dns)), ..Flow::default() }, at(1));
        }
        assert!(problems.0.len() <= MOST_CAUSES + 1);
        let all: u64 = problems.list(&Talkers::default(), None, at(2)).iter().map(|(.., problem)| problem.count).sum();
        assert_eq!(all, 10_000);
    }
}
