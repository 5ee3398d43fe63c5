//! The addresses of selections as the agents get them, brought up to date.

use chrono::{DateTime, Utc};
use netobserv_wire::pbflow::AddressSet;

use super::members::Members;
use super::resolve::View;
use super::sets::{MOST, set};
use super::{Roster, Selections, check};

/// More addresses have the selected names than agents take.
#[derive(Debug, thiserror::Error)]
#[error("{0} addresses have these names, and agents take {MOST} at most: name less")]
pub struct TooMany(usize);

impl Roster {
    /// Checks that each selection names something.
    ///
    /// # Errors
    /// The first name that nothing has, with similar ones.
    pub fn check(&self, selections: &Selections) -> Result<(), String> {
        let objects = self.objects();
        let view = View::of(&objects);
        selections.by_number.values().try_for_each(|selection| check::check(&view, selection))
    }

    /// Records the current addresses in `members`. Returns the sets for the agents, if an address came or went.
    ///
    /// # Errors
    /// There are too many addresses.
    pub fn update(
        &self,
        selections: &Selections,
        members: &Members,
        now: DateTime<Utc>,
    ) -> Result<Option<Vec<AddressSet>>, TooMany> {
        let resolved: Vec<_> = {
            let objects = self.objects();
            let view = View::of(&objects);
            let by_number = selections.by_number.iter();
            by_number.map(|(number, selection)| (*number, selection, view.resolve(selection))).collect()
        };
        let all: usize = resolved.iter().map(|(.., resolved)| resolved.len()).sum();
        if all > MOST {
            return Err(TooMany(all));
        }
        let mut changed = false;
        for (number, selection, resolved) in &resolved {
            changed |= members.put(*number, &selection.to_string(), resolved, now);
        }
        Ok(changed.then(|| resolved.iter().map(|(number, _, resolved)| set(*number, resolved)).collect()))
    }
}
