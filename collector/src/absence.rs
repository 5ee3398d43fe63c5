//! Times in which a node captured nothing: between the agent that ended there and the next one, after the last one, and while an
//! agent could not reach this collector. No program counted what passed meanwhile, so the times are all that can be reported of it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use netobserv_wire::pbflow::AgentStatus;

use crate::human;

/// An agent that was silent for this long may be gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);
/// The same in its own periods, where those are longer.
const PERIODS: u32 = 3;
/// Of agents that end together with the capture, some are a little faster.
const TOGETHER: Duration = Duration::from_secs(1);
/// So many are kept for a node; what comes later is added to the last one.
const MOST: usize = 50;

/// Why nothing was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// One agent ended, and another one began.
    Replaced,
    /// The last agent ended.
    Ended,
    /// Nothing was heard of it until the end.
    Silent,
    /// The agent was there, and took itself off the interfaces.
    Cut,
}

/// One such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    from: Instant,
    to: Instant,
    why: Why,
    /// Shorter ones that are in it.
    more: u32,
}

/// What is known of one node.
#[derive(Clone, Debug)]
pub(crate) struct Attendance {
    past: Vec<Absence>,
    /// Since when there is no agent.
    since: Option<Instant>,
    /// Its agents report their interfaces.
    watches: bool,
    instance: u64,
    unwatched_ms: u64,
    first: Instant,
    heard: Instant,
    last: bool,
    period: Duration,
}

impl Attendance {
    pub(crate) fn new(status: &AgentStatus, now: Instant) -> Self {
        let mut new = Self {
            past: Vec::new(),
            since: None,
            watches: false,
            instance: status.instance,
            // What was before this collector began is not its concern.
            unwatched_ms: status.unwatched_ms,
            first: now,
            heard: now,
            last: false,
            period: Duration::ZERO,
        };
        new.update(status, now, false);
        new
    }

    /// Takes in a message. One that is the last is expected when the capture is `ending`.
    pub(crate) fn update(&mut self, status: &AgentStatus, now: Instant, ending: bool) {
        if status.instance != self.instance {
            // The one before broke off, or has reported so itself.
            self.since.get_or_insert(self.heard);
            (self.instance, self.unwatched_ms) = (status.instance, 0);
        }
        self.cut(status, now);
        let captures = !status.last && (status.interfaces > 0 || !self.watches);
        if let Some(from) = self.since.filter(|_| captures && !ending) {
            self.since = None;
            self.add(Absence { from, to: now, why: Why::Replaced, more: 0 });
        }
        if status.last && !ending {
            self.since.get_or_insert(now);
        }
        self.watches |= status.interfaces > 0;
        (self.heard, self.last) = (now, status.last);
        self.period = Duration::from_millis(status.window_ms.into());
    }

    /// An agent that was cut off measures by its own clock for how long.
    fn cut(&mut self, status: &AgentStatus, now: Instant) {
        let time = Duration::from_millis(status.unwatched_ms.saturating_sub(self.unwatched_ms));
        self.unwatched_ms = self.unwatched_ms.max(status.unwatched_ms);
        if !time.is_zero() {
            // Whatever it reports, not twice the same time, and none from before it was known.
            let known = self.past.last().map_or(self.first, |past| past.to);
            let from = now.checked_sub(time).unwrap_or(known).max(known);
            self.add(Absence { from, to: now, why: Why::Cut, more: 0 });
        }
    }

    fn add(&mut self, absence: Absence) {
        let full = self.past.len() >= MOST;
        match self.past.last_mut().filter(|_| full) {
            Some(last) => (last.to, last.more) = (absence.to, last.more + 1),
            None => self.past.push(absence),
        }
    }

    /// All of them, as they stand at this moment: the end of the capture, or now.
    pub(crate) fn absences(&self, at: Instant, ended: bool) -> Vec<Absence> {
        let together = if ended { TOGETHER } else { Duration::ZERO };
        let gone = self.since.filter(|since| *since + together <= at).map(|since| (since, Why::Ended));
        let patience = SILENCE.max(self.period.saturating_mul(PERIODS));
        let silent =
            (!self.last && self.since.is_none() && self.heard + patience <= at).then_some((self.heard, Why::Silent));
        let open = gone.or(silent).map(|(from, why)| Absence { from, to: at, why, more: 0 });
        self.past.iter().copied().chain(open).collect()
    }

    /// When its first agent was heard.
    pub(crate) fn first(&self) -> Instant {
        self.first
    }

    /// Since when nothing was heard of this node.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        self.since.or((!self.last).then_some(self.heard))
    }
}

impl Absence {
    /// From the moment when an agent was to start on a node to the one when it was heard, or to the end without one.
    pub(crate) fn before_the_first(from: Instant, first: Option<Instant>, end: Instant) -> Self {
        let why = if first.is_some() { Why::Replaced } else { Why::Ended };
        Self { from, to: first.unwrap_or(end).max(from), why, more: 0 }
    }

    /// How long it was.
    pub fn time(&self) -> Duration {
        self.to.saturating_duration_since(self.from)
    }

    /// Its line in the summary; `at` is the same moment by both clocks.
    pub(crate) fn line(&self, node: &str, at: (Instant, DateTime<Utc>)) -> String {
        let clock = |moment: Instant| {
            let ago = chrono::TimeDelta::from_std(at.0.saturating_duration_since(moment)).unwrap_or_default();
            human::time(at.1 - ago)
        };
        let (from, time) = (clock(self.from), human::duration(round(self.time())));
        let until = |end: &str| format!("from {from} to {end} ({time})");
        let line = match self.why {
            Why::Replaced => format!("{node} had no agent {}", until(&clock(self.to))),
            Why::Ended => format!("{node} had no agent {}", until("the end")),
            Why::Silent => format!("nothing was heard of {node} {}", until("the end")),
            Why::Cut => format!("the agent of {node} did not reach the collector {}", until(&clock(self.to))),
        };
        if self.more > 0 { format!("{line}, at times") } else { line }
    }
}

/// To a tenth of a second: a message a second is all that it is known by.
fn round(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).div_ceil(100) * 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(instance: u64, interfaces: u32) -> AgentStatus {
        AgentStatus { node: "n".into(), instance, interfaces, window_ms: 1_000, ..AgentStatus::default() }
    }

    fn last(instance: u64) -> AgentStatus {
        AgentStatus { last: true, ..status(instance, 0) }
    }

    /// The line after these messages, at a second of the capture.
    fn said(messages: &[(u64, AgentStatus)], at: u64, ended: bool) -> Vec<String> {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut node = Attendance::new(&messages[0].1, later(messages[0].0));
        messages[1..].iter().for_each(|(second, status)| node.update(status, later(*second), false));
        let wall =
            "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + chrono::TimeDelta::seconds(at.cast_signed());
        node.absences(later(at), ended).iter().map(|absence| absence.line("n", (later(at), wall))).collect()
    }

    #[test]
    fn an_agent_that_never_left_was_always_there() {
        assert!(said(&[(0, status(1, 0)), (1, status(1, 3)), (9, status(1, 3))], 13, true).is_empty());
    }

    #[test]
    fn a_replaced_agent_leaves_a_hole_whether_it_said_goodbye_or_not() {
        let wanted = ["n had no agent from 2026-01-01T00:00:05Z to 2026-01-01T00:00:08Z (3s)"];
        let (before, after) = ([(0, status(1, 3)), (5, status(1, 3))], [(7, status(2, 0)), (8, status(2, 3))]);
        let goodbye = [(5, last(1))];
        assert_eq!(said(&[&before[..], &after[..]].concat(), 9, true), wanted);
        assert_eq!(said(&[&before[..], &goodbye[..], &after[..]].concat(), 9, true), wanted);
    }

    #[test]
    fn a_node_that_is_gone_for_good_is_known() {
        let wanted = |what: &str| vec![format!("{what} from 2026-01-01T00:00:02Z to the end (8s)")];
        assert_eq!(said(&[(0, status(1, 3)), (2, last(1))], 10, true), wanted("n had no agent"));
        assert_eq!(said(&[(0, status(1, 3)), (2, status(1, 3))], 10, true), wanted("nothing was heard of n"));
        assert!(said(&[(0, status(1, 3)), (2, last(1))], 2, true).is_empty(), "they end together");
        let slow = |second| (second, AgentStatus { window_ms: 5_000, ..status(1, 3) });
        assert!(said(&[slow(0), slow(5)], 18, true).is_empty(), "it sends something every five seconds");
    }

    #[test]
    fn an_agent_that_was_cut_off_says_for_how_long() {
        let cut = |second, unwatched_ms| (second, AgentStatus { unwatched_ms, ..status(1, 3) });
        let wanted =
            ["the agent of n did not reach the collector from 2026-01-01T00:00:06Z to 2026-01-01T00:00:10Z (4s)"];
        // The part of its report about a time before this collector is left out.
        assert_eq!(said(&[cut(0, 9_000), cut(2, 9_000), cut(10, 13_000), cut(11, 13_000)], 12, true), wanted);
        assert!(said(&[cut(0, 0), cut(9, 0), cut(10, u64::MAX)], 11, true)[0].ends_with("(10s)"));
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut node = Attendance::new(&status(1, 3), start);
        for life in 2..10_000 {
            node.update(&status(life, 3), start + Duration::from_secs(life), false);
        }
        let all = node.absences(start + Duration::from_secs(10_000), true);
        assert_eq!(all.len(), MOST);
        assert_eq!(all.iter().map(Absence::time).sum::<Duration>(), Duration::from_secs(9_999));
    }
}
