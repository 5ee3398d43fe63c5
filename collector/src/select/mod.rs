//! What the user has named, as addresses: the agents keep what is from or to them, and get them again whenever they change.
//!
//! `roster` knows the objects of the cluster, `resolve` finds the addresses of a selection, `capture::follow` sends them to the agents,
//! and [`members`] records from when to when an address belonged.

mod check;
pub mod members;
mod resolve;
mod roster;
mod sets;
#[cfg(test)]
mod tests;
mod update;

use std::collections::BTreeMap;

use netobserv_contract::selector::{Numbered, Selection, Term};
pub use roster::Roster;
pub use update::TooMany;

use crate::query;

/// The selections of a capture, by the numbers that the agents' rules have for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selections {
    /// In the order of their numbers.
    pub by_number: BTreeMap<u32, Selection>,
    /// Names may be given before anything has them.
    pub wait: bool,
    /// Agents are to run on some nodes only.
    pub only_nodes: Option<OnlyNodes>,
}

/// Agents run on the nodes of what is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlyNodes {
    /// Numbers of these selections.
    pub of: Vec<u32>,
    /// Namespace of the agents.
    pub namespace: String,
}

/// The selections of a capture, and what they mean and meant.
#[derive(Debug)]
pub struct Known {
    /// With their numbers.
    pub selections: Selections,
    /// Since the capture began.
    pub members: members::Members,
}

impl query::Members for Known {
    fn number(&self, term: &Term) -> Option<u32> {
        self.selections.number(term)
    }

    fn had(&self, number: u32, seen: &query::Seen) -> bool {
        self.members.had(number, seen)
    }
}

impl Selections {
    /// Puts terms together that have the same number.
    #[must_use]
    pub fn of(terms: Vec<Numbered>, wait: bool) -> Self {
        let mut by_number = BTreeMap::<u32, Selection>::new();
        for Numbered { number, term } in terms {
            by_number.entry(number).or_default().terms.push(term);
        }
        Self { by_number, wait, only_nodes: None }
    }

    /// The number of the selection that is this alone.
    #[must_use]
    pub fn number(&self, term: &Term) -> Option<u32> {
        let is = |(_, selection): &(&u32, &Selection)| matches!(selection.terms.as_slice(), [only] if only == term);
        self.by_number.iter().find(is).map(|(number, _)| *number)
    }

    /// Whether nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// The roster that they need.
    #[must_use]
    pub fn roster(&self) -> Option<Roster> {
        (!self.is_empty()).then(|| Roster::new(self))
    }
}
