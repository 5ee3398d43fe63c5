//! When what is due: the rules, without clocks and files.

use std::time::{Duration, Instant, SystemTime};

use super::{KEEP, LEASE};
use crate::control::{Phase, Status};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// The capture is over: the agents are not needed.
    Agents,
    /// The files were not fetched.
    Everything,
}

/// What was seen until now.
#[derive(Debug, Default)]
pub(super) struct Watch {
    lease: Option<SystemTime>,
    renewed: Option<Instant>,
    ended: Option<Instant>,
    without_agents: bool,
}

impl Watch {
    /// Takes in the state. The program that renews the lease works with the files: then nothing is due.
    pub(super) fn look(&mut self, status: &Status, lease: Option<SystemTime>, now: Instant) -> Due {
        if lease != self.lease {
            (self.lease, self.renewed) = (lease, Some(now));
        }
        match status.state {
            Phase::Finished => drop(self.ended.get_or_insert(now)),
            Phase::Waiting | Phase::Capturing => (self.ended, self.without_agents) = (None, false),
        }
        let time = status.lease_s.map_or(LEASE, Duration::from_secs);
        let expired = self.renewed.map(|renewed| renewed + time);
        if status.state == Phase::Capturing || expired.is_some_and(|expired| now < expired) {
            return Due::Nothing;
        }
        // Before a capture, a session that was never renewed has not begun.
        let Some(since) = expired.max(self.ended) else { return Due::Nothing };
        if now >= since + status.keep_s.map_or(KEEP, Duration::from_secs) {
            return Due::Everything;
        }
        if self.ended.is_none() || std::mem::replace(&mut self.without_agents, true) {
            return Due::Nothing;
        }
        Due::Agents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn status(state: Phase) -> Status {
        Status { state, lease_s: Some(60), keep_s: Some(600), ..Status::default() }
    }

    /// What is due at each second, if the lease was renewed at those in `renewals`.
    fn dues(steps: &[(u64, Phase)], renewals: &[u64]) -> Vec<Due> {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let lease = |at| {
            renewals.iter().rfind(|renewal| **renewal <= at).map(|at| SystemTime::UNIX_EPOCH + SECOND * *at as u32)
        };
        steps.iter().map(|(at, state)| watch.look(&status(*state), lease(*at), start + SECOND * *at as u32)).collect()
    }

    #[test]
    fn a_session_that_was_never_begun_is_left_alone() {
        assert_eq!(dues(&[(0, Phase::Waiting), (100_000, Phase::Waiting)], &[]), [Due::Nothing; 2]);
    }

    #[test]
    fn a_capture_that_runs_is_left_alone() {
        assert_eq!(dues(&[(0, Phase::Capturing), (100_000, Phase::Capturing)], &[0]), [Due::Nothing; 2]);
    }

    #[test]
    fn a_user_who_is_gone_loses_the_agents_first_and_the_rest_later() {
        let steps = [0, 59, 61, 62, 659, 661].map(|at| (at, if at < 59 { Phase::Capturing } else { Phase::Finished }));
        let wanted = [Due::Nothing, Due::Nothing, Due::Agents, Due::Nothing, Due::Nothing, Due::Everything];
        assert_eq!(dues(&steps, &[0]), wanted);
    }

    #[test]
    fn whoever_renews_is_waited_for() {
        let steps = [10, 50, 1_000, 1_059, 1_061, 1_661].map(|at| (at, Phase::Finished));
        let wanted = [Due::Nothing, Due::Nothing, Due::Nothing, Due::Nothing, Due::Agents, Due::Everything];
        assert_eq!(dues(&steps, &[10, 50, 1_000]), wanted);
    }

    #[test]
    fn in_the_background_nobody_renews() {
        let steps = [(0, Phase::Capturing), (300, Phase::Finished), (301, Phase::Finished), (900, Phase::Finished)];
        assert_eq!(dues(&steps, &[]), [Due::Nothing, Due::Agents, Due::Nothing, Due::Everything]);
    }

    #[test]
    fn a_session_whose_capture_never_came_goes_too() {
        assert_eq!(
            dues(&[(0, Phase::Waiting), (659, Phase::Waiting), (661, Phase::Waiting)], &[0]),
            [Due::Nothing, Due::Nothing, Due::Everything]
        );
    }
}
