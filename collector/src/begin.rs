//! When a capture begins to count its time: once the agents watch what they are to watch.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// An agent that has been silent for this long is not waited for.
const ALIVE: Duration = Duration::from_secs(5);
/// Longest time that is waited for agents which attach.
const LONGEST: Duration = Duration::from_secs(300);

/// The moment, once it is known.
#[derive(Debug, Default)]
pub struct Beginning(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    expected: u64,
    /// Agents start after the collector.
    later: bool,
    /// When an agent last reported that it is still attaching.
    attaching: Option<Instant>,
    begun: Option<Instant>,
}

impl Beginning {
    /// So many agents are to be heard of first; 0 if that is not known.
    pub fn expect(&self, agents: u64) {
        self.state().expected = agents;
    }

    /// Agents start after the collector, so that it is waited for the first of them.
    pub fn agents_come_later(&self) {
        self.state().later = true;
    }

    /// A capture that an earlier process began: its time runs already.
    pub fn has_begun(&self, started: Instant) {
        self.state().begun = Some(started);
    }

    /// An agent has reported: how many `agents` are known by now, and how many of them are `attaching`.
    pub fn heard(&self, agents: u64, attaching: u64, now: Instant) {
        let mut state = self.state();
        state.later = false;
        if attaching > 0 {
            state.attaching = Some(now);
        } else if agents >= state.expected.max(1) {
            state.attaching = None;
            state.begun.get_or_insert(now);
        }
    }

    /// The moment from which on the time of a capture counts that was started at `started`: now, while agents attach.
    pub fn of(&self, started: Instant, now: Instant) -> Instant {
        let state = self.state();
        let attaching = state.attaching.is_some_and(|heard| now.saturating_duration_since(heard) < ALIVE);
        match state.begun {
            Some(begun) => begun,
            None if (attaching || state.later) && now.saturating_duration_since(started) < LONGEST => now,
            None => started,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_from_the_moment_when_all_agents_watch() {
        let (beginning, started) = (Beginning::default(), Instant::now());
        let at = |second| started + Duration::from_secs(second);
        beginning.expect(2);
        assert_eq!(beginning.of(started, at(1)), started, "no agent yet");
        beginning.heard(1, 1, at(1));
        assert_eq!(beginning.of(started, at(2)), at(2), "one attaches");
        beginning.heard(1, 0, at(3));
        assert_eq!(beginning.of(started, at(3)), at(3), "the other one has not started");
        beginning.heard(2, 1, at(4));
        beginning.heard(2, 0, at(5));
        beginning.heard(3, 1, at(6));
        assert_eq!(beginning.of(started, at(9)), at(5), "one that comes later changes nothing");
    }

    #[test]
    fn agents_that_start_later_are_waited_for() {
        let (beginning, started) = (Beginning::default(), Instant::now());
        let at = |second| started + Duration::from_secs(second);
        beginning.agents_come_later();
        assert_eq!(beginning.of(started, at(9)), at(9), "no agent yet");
        assert_eq!(beginning.of(started, at(300)), started, "there will be none");
        beginning.heard(1, 1, at(10));
        assert_eq!(beginning.of(started, at(11)), at(11), "it attaches");
        beginning.heard(1, 0, at(12));
        assert_eq!(beginning.of(started, at(99)), at(12));
    }

    #[test]
    fn agents_that_fall_silent_while_they_attach_are_not_waited_for() {
        let (beginning, started) = (Beginning::default(), Instant::now());
        beginning.heard(1, 1, started);
        assert_eq!(beginning.of(started, started + ALIVE), started);
    }
}
