//! The nodes of a capture: which of them are watched, and since when.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use compact_str::CompactString;

use crate::counts::Counts;

/// How often the agents' states are read.
const PERIOD: Duration = Duration::from_millis(200);
/// Of an agent that has not reported how long its windows are.
const WINDOW: Duration = Duration::from_secs(1);
/// Longest windows that are waited for.
const LONGEST_WINDOW: Duration = Duration::from_secs(15);

/// Number of a node.
pub(super) type Number = u16;

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: CompactString,
    /// From when on its agent watched all interfaces, ms since 1970.
    since_ms: Option<u64>,
    /// Until when.
    until_ms: Option<u64>,
}

/// All nodes that agents reported from.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    numbers: HashMap<CompactString, Number>,
    all: Vec<Node>,
    read: Option<Instant>,
    /// The longest window of an agent.
    window: Duration,
}

impl Nodes {
    /// Reads the agents' states, if it is time. Returns the nodes that are not watched any more.
    pub(super) fn refresh(&mut self, counts: &Counts, now: Instant, now_ms: u64) -> Vec<Number> {
        // At the end agents leave one after the other; all of them have watched until then.
        if counts.is_ending() || self.read.is_some_and(|read| now < read + PERIOD) {
            return Vec::new();
        }
        self.read = Some(now);
        let mut gone = Vec::new();
        self.window = WINDOW;
        for (name, agent) in counts.agents() {
            let Some(number) = self.number(&name) else { continue };
            let (node, watches) = (&mut self.all[usize::from(number)], agent.watches(now));
            self.window = self.window.max(Duration::from_millis(agent.window_ms.into())).min(LONGEST_WINDOW);
            if watches && (node.since_ms.is_none() || node.until_ms.is_some()) {
                (node.since_ms, node.until_ms) = (Some(now_ms), None);
            } else if !watches && node.since_ms.is_some() && node.until_ms.is_none() {
                node.until_ms = Some(now_ms);
                gone.push(number);
            }
        }
        gone
    }

    /// The number of a node; `None` if there are too many.
    pub(super) fn number(&mut self, name: &str) -> Option<Number> {
        if let Some(known) = self.numbers.get(name) {
            return Some(*known);
        }
        let new = Number::try_from(self.all.len()).ok()?;
        let name = CompactString::from(name);
        self.all.push(Node { name: name.clone(), since_ms: None, until_ms: None });
        self.numbers.insert(name, new);
        Some(new)
    }

    /// Whether agents of more than one node have reported.
    pub(super) fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// The longest time that a node takes to report what it has seen.
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// The node of this name, if it was watched when a flow began at this time. Of a flow that its agent saw a part of, the larger
    /// part decides.
    pub(super) fn watched(&self, name: &str, at_ms: u64) -> Option<Number> {
        let number = self.numbers.get(name).copied()?;
        let half = self.window.as_millis() as u64 / 2;
        let begun = self.all[usize::from(number)].since_ms.is_some_and(|since| since <= at_ms + half);
        (begun && !self.ended_before(number, at_ms)).then_some(number)
    }

    /// Whether a node was not watched any more at this time.
    pub(super) fn ended_before(&self, number: Number, at_ms: u64) -> bool {
        self.all[usize::from(number)].until_ms.is_some_and(|until| until <= at_ms)
    }

    /// Whether all packets of a flow that began at this time were there to be seen by this node.
    pub(super) fn sees_all(&self, number: Number, at_ms: u64) -> bool {
        let node = &self.all[usize::from(number)];
        let begun = node.since_ms.is_some_and(|since| since + self.window.as_millis() as u64 <= at_ms);
        begun && node.until_ms.is_none()
    }

    /// Its name.
    pub(super) fn name(&self, number: Number) -> &CompactString {
        &self.all[usize::from(number)].name
    }
}
