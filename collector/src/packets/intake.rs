//! The way from the receivers to the writer, bounded by bytes: packets hold their room until they are written, so a slow disk slows
//! down the agents, and what they cannot keep meanwhile is counted there.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use netobserv_wire::Packet;
use netobserv_wire::netobserv::PacketInterface;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::places::Source;

/// Bytes of records that may be on their way, and of the descriptions of interfaces.
pub const ROOM: usize = 48 << 20;
/// Bytes of one interface in a list, its name aside.
const INTERFACE: usize = 128;

/// A batch of one agent.
#[derive(Debug)]
pub struct Delivery {
    /// Whose.
    pub source: Source,
    /// What its interfaces counted.
    pub interfaces: Vec<PacketInterface>,
    /// Its packets.
    pub packets: Vec<Packet>,
}

/// Room that a list of interfaces takes up, until the writer has read it.
pub fn weight(interfaces: &[PacketInterface]) -> usize {
    interfaces.iter().map(|interface| INTERFACE + interface.name.len()).sum()
}

/// The entrance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    room: Arc<Semaphore>,
    writer: Arc<RwLock<Option<Sender<Delivery>>>>,
}

/// The exit.
#[derive(Debug)]
pub struct Outlet {
    /// Where batches arrive.
    pub deliveries: Receiver<Delivery>,
    room: Arc<Semaphore>,
}

/// The capture is over; nothing is accepted any more.
#[derive(Debug)]
pub struct Closed;

/// Makes a way.
pub fn way() -> (Intake, Outlet) {
    let (sender, deliveries) = channel();
    let room = Arc::new(Semaphore::new(ROOM));
    (Intake { room: room.clone(), writer: Arc::new(RwLock::new(Some(sender))) }, Outlet { deliveries, room })
}

impl Intake {
    /// Waits until `deadline` for room for records of so many bytes.
    pub async fn reserve(&self, bytes: usize, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let places = u32::try_from(bytes.min(ROOM)).ok()?;
        timeout_at(deadline.into(), self.room.clone().acquire_many_owned(places)).await.ok()?.ok()
    }

    /// Hands a batch over; its room is given back by the writer.
    pub fn deliver(&self, delivery: Delivery, room: OwnedSemaphorePermit) -> Result<(), Closed> {
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner);
        writer.as_ref().ok_or(Closed)?.send(delivery).map_err(|_| Closed)?;
        room.forget();
        Ok(())
    }

    /// Nothing is accepted from now on.
    pub fn close(&self) {
        *self.writer.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Outlet {
    /// Gives the room of records of so many bytes back.
    pub fn free(&self, bytes: usize) {
        self.room.add_permits(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn room_comes_back_when_packets_are_written() {
        let (intake, outlet) = way();
        let soon = || Instant::now() + Duration::from_millis(20);
        let source = Source { node: "n".into(), instance: 1 };
        let room = intake.reserve(ROOM, soon()).await.unwrap();
        intake.deliver(Delivery { source, interfaces: vec![], packets: vec![] }, room).unwrap();
        assert!(intake.reserve(100, soon()).await.is_none());
        outlet.free(100);
        let room = intake.reserve(100, soon()).await.unwrap();
        intake.close();
        let source = Source { node: "n".into(), instance: 1 };
        assert!(intake.deliver(Delivery { source, interfaces: vec![], packets: vec![] }, room).is_err());
        assert_eq!(outlet.deliveries.iter().count(), 1);
    }
}
