//! What the writer shows the screen: a queue that never makes it wait.

use std::sync::Arc;

use super::window::Seen;
use crate::feed::{Feed, Intake, queue_of};

/// Bytes of packets that wait for the screen at most.
const MOST_WAITING: usize = 8 << 20;

/// Packets in the order in which they were written, with the names of their interfaces.
#[derive(Debug)]
pub struct Sightings {
    pub(crate) seen: Vec<Seen>,
    pub(crate) places: Arc<[Arc<str>]>,
}

/// A queue of packets for the screen.
pub fn packet_queue() -> (Feed<Sightings>, Intake<Sightings>) {
    queue_of(MOST_WAITING)
}
