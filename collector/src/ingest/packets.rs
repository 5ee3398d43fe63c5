//! The receiving end of a capture of packets: `netobserv.Packets/Send`, on the same terms as flows. A batch is answered when
//! there was room for it, and taken once, however often it comes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use netobserv_wire::netobserv::PacketBatch;
use netobserv_wire::packet;
use prost::bytes::Bytes;
use tonic::Status;
use tonic::body::Body;

use super::grpc::{Grpc, Inbox, PATIENCE, Receiver, busy, closed, unreadable};
use super::limits;
use super::message::Unit;
use super::peer::Peer;
use super::speakers::Speakers;
use crate::counts::Counts;
use crate::packets::intake::{Delivery, Intake, weight};
use crate::packets::places::Source;
use crate::packets::tally::Tally;
use crate::packets::window::cost;

/// Accepts `netobserv.Packets/Send`.
pub type PacketIngest = Grpc<Packets>;

/// The receiver of packets.
pub struct Packets {
    intake: Intake,
    tally: Arc<Tally>,
    inbox: Inbox,
}

impl PacketIngest {
    /// A service that hands packets to `intake`.
    pub fn new(intake: Intake, counts: Arc<Counts>, tally: Arc<Tally>, speakers: Speakers) -> Self {
        Self::of(Packets { intake, tally, inbox: Inbox::new(counts, speakers) })
    }
}

impl Receiver for Packets {
    fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    fn close(&self) {
        self.intake.close();
    }

    async fn answer(&self, method: &str, body: Body, peer: Peer) -> Result<Bytes, Status> {
        match method {
            "/netobserv.Packets/Send" => self.batch(body, peer).await,
            method => Err(Status::unimplemented(format!("no {method} here: this is a capture of packets"))),
        }
    }
}

impl Packets {
    async fn batch(&self, body: Body, peer: Peer) -> Result<Bytes, Status> {
        let message = self.inbox.read(body, Unit::Message, peer).await?;
        let deadline = Instant::now() + PATIENCE;
        let mut batch = limits::batch(message.bytes).map_err(|broken| self.inbox.reject(peer, &broken))?;
        let agent = limits::status(batch.agent.take()).map_err(|broken| self.inbox.reject(peer, &broken))?;
        if agent.node.is_empty() {
            return Err(Status::invalid_argument("a batch must name its node"));
        }
        let source = Source { node: agent.node.as_str().into(), instance: agent.instance };
        self.inbox.once(peer, &agent, batch.sequence, self.accept(batch, source, deadline)).await
    }

    /// Waits for room for the packets, hands them on and returns how many they were.
    async fn accept(&self, batch: PacketBatch, source: Source, deadline: Instant) -> Result<u64, Status> {
        let described = weight(&batch.interfaces);
        let wanted = packet::MAX_PAYLOAD.min(batch.payload_size as usize) + described;
        let mut room = self.intake.reserve(wanted, deadline).await.ok_or_else(busy)?;
        let packets = packet::open(&batch).map_err(|error| {
            self.tally.malformed.fetch_add(packet::claimed(&batch) as u64, Relaxed);
            unreadable(error)
        })?;
        // What the writer will give back: of a frame that was cut, the rest is not on its way.
        let kept = packets.iter().map(cost).sum::<usize>() + described;
        let room = room.split(kept).ok_or_else(busy)?;
        let number = packets.len() as u64;
        self.tally.received(&packets);
        let delivery = Delivery { source, interfaces: batch.interfaces, packets };
        self.intake.deliver(delivery, room).map_err(|_| closed())?;
        Ok(number)
    }
}
