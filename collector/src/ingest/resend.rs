//! Messages that come again. An agent that got no answer sends a message once more, with the same number; when the first one was
//! taken anyway, its flows must not be written twice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use netobserv_wire::pbflow::AgentStatus;

use crate::counts::MOST_NODES;

/// How far each agent's messages have been taken.
#[derive(Debug, Default)]
pub(super) struct Taken(Mutex<HashMap<String, Line>>);

/// The messages of one life of an agent. It sends one after the other.
#[derive(Debug, Default)]
struct Line {
    instance: u64,
    /// Number of the last message that was taken.
    done: u64,
    /// Number of the message that is at work.
    busy: Option<u64>,
}

/// What to do with a message.
pub(super) enum Turn<'a> {
    /// Take it, and report so with [`Pending::done`].
    New(Pending<'a>),
    /// Its flows are in the files: answer only.
    Again,
    /// It waits for room since it came before.
    Busy,
    /// There are too many agents.
    Full,
}

/// A message at work; dropped without [`Pending::done`], it was not taken.
pub(super) struct Pending<'a> {
    taken: &'a Taken,
    node: &'a str,
    /// 0 for a message without a number.
    sequence: u64,
}

impl Taken {
    /// Looks up message number `sequence` of an agent; 0 is a message without a number.
    pub(super) fn turn<'a>(&'a self, status: &'a AgentStatus, sequence: u64) -> Turn<'a> {
        let pending = Pending { taken: self, node: &status.node, sequence };
        if sequence == 0 {
            return Turn::New(pending);
        }
        let mut lines = self.lines();
        if lines.len() >= MOST_NODES && !lines.contains_key(&status.node) {
            return Turn::Full;
        }
        let line = lines.entry(status.node.clone()).or_default();
        if line.instance != status.instance {
            *line = Line { instance: status.instance, ..Line::default() };
        }
        if line.busy == Some(sequence) {
            return Turn::Busy;
        }
        if sequence <= line.done {
            return Turn::Again;
        }
        line.busy = Some(sequence);
        Turn::New(pending)
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending<'_> {
    /// Its flows are on their way into the files.
    pub(super) fn done(self) {
        if let Some(line) = self.taken.lines().get_mut(self.node).filter(|line| line.busy == Some(self.sequence)) {
            line.done = self.sequence;
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.taken.lines().get_mut(self.node).filter(|line| line.busy == Some(self.sequence)) {
            line.busy = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(instance: u64) -> AgentStatus {
        AgentStatus { node: "n".into(), instance, ..AgentStatus::default() }
    }

    fn take(taken: &Taken, instance: u64, sequence: u64) -> bool {
        match taken.turn(&agent(instance), sequence) {
            Turn::New(pending) => {
                pending.done();
                true
            }
            _ => false,
        }
    }

    #[test]
    fn a_message_is_taken_once_in_a_life() {
        let taken = Taken::default();
        let answers = [(7, 1), (7, 1), (7, 2), (8, 1), (8, 1), (8, 2)].map(|(life, number)| take(&taken, life, number));
        assert_eq!(answers, [true, false, true, true, false, true]);
    }

    #[test]
    fn a_message_that_was_refused_may_come_again() {
        let (taken, agent) = (Taken::default(), agent(7));
        let Turn::New(first) = taken.turn(&agent, 1) else { panic!("new") };
        assert!(matches!(taken.turn(&agent, 1), Turn::Busy));
        drop(first);
        assert!(take(&taken, 7, 1));
        assert!(matches!(taken.turn(&agent, 1), Turn::Again));
    }

    #[test]
    fn agents_without_end_take_no_memory_without_end() {
        let (taken, named) = (Taken::default(), |node: usize| AgentStatus { node: node.to_string(), ..agent(1) });
        let full = (0..MOST_NODES + 100).filter(|node| matches!(taken.turn(&named(*node), 1), Turn::Full)).count();
        assert_eq!((full, taken.lines().len()), (100, MOST_NODES));
        assert!(matches!(taken.turn(&named(0), 1), Turn::New(_)), "one that is known is heard");
    }

    #[test]
    fn messages_without_a_number_are_all_new() {
        let taken = Taken::default();
        assert!(take(&taken, 0, 0) && take(&taken, 0, 0));
    }
}
