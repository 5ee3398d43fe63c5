//! The receiving end of a capture of packets: `netobserv.Packets/Send`, on the same terms as flows. A batch is answered when
//! there was room for it, and taken once, however often it comes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use netobserv_wire::netobserv::PacketBatch;
use netobserv_wire::packet;
use prost::Message as _;
use prost::bytes::Bytes;
use tonic::Status;
use tonic::body::Body;

use super::decode::count;
use super::grpc::{Desk, Grpc, PATIENCE, Receiver, busy, closed, unreadable};
use super::message::Unit;
use crate::counts::Counts;
use crate::packets::intake::{Delivery, Intake};
use crate::packets::places::Source;
use crate::packets::tally::Tally;

/// Fields of a batch that are lists of messages or texts: `interfaces` and `causes`. An empty one takes two bytes of a message,
/// and fifty times as much memory.
const LISTS: [u32; 2] = [3, 4];
/// More than this no node has.
const MOST_ITEMS: usize = 100_000;

/// Accepts `netobserv.Packets/Send`.
pub type PacketIngest = Grpc<Packets>;

/// The receiver of packets.
pub struct Packets {
    intake: Intake,
    tally: Arc<Tally>,
    desk: Desk,
}

impl PacketIngest {
    /// A service that hands packets to `intake`.
    pub fn new(intake: Intake, counts: Arc<Counts>, tally: Arc<Tally>) -> Self {
        Self::of(Packets { intake, tally, desk: Desk::new(counts) })
    }
}

impl Receiver for Packets {
    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn close(&self) {
        self.intake.close();
    }

    async fn answer(&self, method: &str, body: Body) -> Result<Bytes, Status> {
        match method {
            "/netobserv.Packets/Send" => self.batch(body).await,
            method => Err(Status::unimplemented(format!("no {method} here: this is a capture of packets"))),
        }
    }
}

/// Reads a batch whose lists are not endless.
fn decode(message: Bytes) -> Result<PacketBatch, Status> {
    let items = count(&message, &LISTS).map_err(unreadable)?;
    if items > MOST_ITEMS {
        return Err(Status::invalid_argument(format!("a batch may have {MOST_ITEMS} interfaces and causes at most")));
    }
    PacketBatch::decode(message).map_err(unreadable)
}

impl Packets {
    async fn batch(&self, body: Body) -> Result<Bytes, Status> {
        let deadline = Instant::now() + PATIENCE;
        let message = self.desk.read(body, Unit::Message, deadline).await?;
        let mut batch = decode(message.bytes)?;
        let agent = batch.agent.take().unwrap_or_default();
        if agent.node.is_empty() {
            return Err(Status::invalid_argument("a batch must name its node"));
        }
        let source = Source { node: agent.node.as_str().into(), instance: agent.instance };
        self.desk.once(&agent, batch.sequence, self.accept(batch, source, deadline)).await
    }

    /// Waits for room for the packets, hands them on and returns how many they were.
    async fn accept(&self, batch: PacketBatch, source: Source, deadline: Instant) -> Result<u64, Status> {
        let room = self.intake.reserve(batch.payload_size as usize, deadline).await.ok_or_else(busy)?;
        let packets = packet::open(&batch).map_err(|error| {
            self.tally.malformed.fetch_add(batch.packets.into(), Relaxed);
            unreadable(error)
        })?;
        let number = packets.len() as u64;
        self.tally.received(&packets);
        let delivery = Delivery { source, interfaces: batch.interfaces, packets };
        self.intake.deliver(delivery, room).map_err(|_| closed())?;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::netobserv::PacketInterface;

    #[test]
    fn a_batch_of_endless_lists_is_refused() {
        let batch =
            |interfaces| PacketBatch { interfaces: vec![PacketInterface::default(); interfaces], ..Default::default() };
        assert_eq!(decode(batch(100).encode_to_vec().into()).unwrap().interfaces.len(), 100);
        let refused = decode(batch(MOST_ITEMS + 1).encode_to_vec().into()).unwrap_err();
        assert!(refused.message().contains("at most"), "{refused}");
    }
}
