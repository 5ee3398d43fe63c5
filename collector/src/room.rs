//! Reserved places in the queue of flows: what is received without them has to wait.

use tokio::sync::OwnedSemaphorePermit;

/// Places that are given back when it is dropped; none by default.
#[derive(Debug, Default)]
pub struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    /// Parts with `rows` places; `None` when there are fewer.
    pub fn split(&mut self, rows: usize) -> Option<Room> {
        self.0.as_mut()?.split(rows).map(|permit| Room(Some(permit)))
    }

    /// The places of a permit.
    pub(crate) fn of(permit: OwnedSemaphorePermit) -> Self {
        Self(Some(permit))
    }

    /// Adds the places of another.
    pub fn join(&mut self, other: Room) {
        match (&mut self.0, other.0) {
            (Some(mine), Some(others)) => mine.merge(others),
            (mine, others) => *mine = mine.take().or(others),
        }
    }

    /// Places.
    pub fn places(&self) -> usize {
        self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}
