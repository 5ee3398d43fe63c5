//! The receiving end: one gRPC service for both protocols.
//!
//! gRPC is spoken here by hand on top of tonic's HTTP/2 server, because the generated server has read and decoded a
//! message before it asks whether there is room for it. Here a message waits on the wire until there is
//! memory for its bytes, then until there is room for its rows, and becomes rows piece by piece.

pub mod admission;
pub(crate) mod decode;
mod grpc;
pub(crate) mod limits;
pub mod listen;
mod memory;
mod message;
pub mod packets;
mod peer;
mod quiet;
mod resend;
pub mod speakers;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use netobserv_wire::{Flow, genericmap};
use prost::Message as _;
use prost::bytes::Bytes;
use tonic::Status;
use tonic::body::Body;

use crate::counts::Counts;
use crate::pipeline::Pipeline;
use crate::room::Room;
pub use grpc::{Grpc, Receiver};
use grpc::{Inbox, PATIENCE, busy, closed, unreadable};
use message::{Body as MessageBody, Unit};
pub use peer::Peer;
use speakers::Speakers;

/// Rows that go to the sinks together.
const CHUNK: usize = 512;

/// No flowlogs-pipeline sends a longer record: it becomes a tree that may take thirty times as much memory.
const LONGEST_GENERIC: usize = 64 << 10;
/// Bytes of a message for which a row has one place in the queue, so that few long rows take no more memory than many short ones.
/// Usual records have 150 to 300.
const BYTES_A_PLACE: usize = 512;
/// The same for the interfaces of a row.
const INTERFACES_A_PLACE: usize = 8;

/// Accepts `pbflow.Collector/Send` and `genericmap.Collector/Send`.
pub type Ingest = Grpc<Flows>;

/// The receiver of flows.
pub struct Flows {
    pipeline: Pipeline,
    inbox: Inbox,
}

impl Ingest {
    /// A service that feeds `pipeline`.
    pub fn new(pipeline: Pipeline, counts: Arc<Counts>, speakers: Speakers) -> Self {
        Self::of(Flows { pipeline, inbox: Inbox::new(counts, speakers) })
    }
}

impl Receiver for Flows {
    fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    fn close(&self) {
        self.pipeline.close();
    }

    async fn answer(&self, method: &str, body: Body, peer: Peer) -> Result<Bytes, Status> {
        match method {
            "/pbflow.Collector/Send" => self.records(body, peer).await,
            "/genericmap.Collector/Send" => self.generic(body, peer).await,
            method => Err(Status::unimplemented(format!("no {method} here"))),
        }
    }
}

impl Flows {
    /// A batch of an agent.
    async fn records(&self, body: Body, peer: Peer) -> Result<Bytes, Status> {
        let MessageBody { bytes, _memory } = self.read(body, Unit::Entries, peer).await?;
        let deadline = Instant::now() + PATIENCE;
        let outline = decode::Outline::of(&bytes).map_err(|error| self.inbox.reject(peer, &error.into()))?;
        let agent = limits::read_status(outline.agent).map_err(|broken| self.inbox.reject(peer, &broken))?;
        let accept = self.accept(&bytes, outline.records, (peer, &agent.node), deadline);
        self.inbox.once(peer, &agent, outline.sequence, accept).await
    }

    /// Waits for room for the rows of a message and hands them on. A message that fits into the queue is taken as a whole or not at all.
    async fn accept(&self, message: &[u8], flows: usize, who: (Peer, &str), deadline: Instant) -> Result<u64, Status> {
        if flows == 0 {
            // A sign of life; rows may wait for it.
            self.pipeline.entrance().iter().for_each(|entrance| entrance.release(false));
            return Ok(0);
        }
        let mut records = decode::Records::new(message, now_s());
        let mut left = flows;
        let wanted = places(left, message.len());
        let mut room = self.pipeline.reserve(wanted, deadline).await.ok_or_else(|| self.refuse(flows as u64))?;
        loop {
            left -= self.hand_on(&mut records, left, who, room)?;
            if left == 0 {
                return Ok(flows as u64);
            }
            // A message of more rows than the queue has places: the rest goes in as places come free.
            room = self.pipeline.reserve_patiently(places(left, records.left())).await.ok_or_else(closed)?;
        }
    }

    /// Hands on as many of the next records as there is room for, and returns how many that were.
    fn hand_on(
        &self,
        records: &mut decode::Records,
        left: usize,
        who: (Peer, &str),
        mut room: Room,
    ) -> Result<usize, Status> {
        let entrance = self.pipeline.entrance().map_err(|_| closed())?;
        let mut done = 0;
        while done < left && room.places() > 0 {
            let (wanted, before) = (CHUNK.min(left - done).min(room.places()), records.left());
            let mut rows = records.take(wanted);
            self.keep_own(&mut rows, who);
            self.inbox.counts.malformed((wanted - rows.len()) as u64);
            let seen = rows.iter().map(|row| row.interfaces.len()).sum::<usize>() / INTERFACES_A_PLACE;
            let taken = places(rows.len(), before - records.left()).max(seen).min(room.places());
            let Some(places) = room.split(taken) else { break };
            entrance.push(rows, places, who.1);
            done += wanted;
        }
        Ok(done)
    }

    /// Leaves out rows that name the agent of a node which the sender may not speak for. Mostly all of a message name one agent.
    fn keep_own(&self, rows: &mut Vec<Flow>, (peer, node): (Peer, &str)) {
        let mut last = None;
        rows.retain(|row| match last {
            Some((agent, its_own)) if agent == row.agent_ip => its_own,
            _ => {
                let its_own = self.inbox.speakers.counts_at(peer, node, row.agent_ip);
                last = Some((row.agent_ip, its_own));
                its_own
            }
        });
    }

    /// One record of a flowlogs-pipeline.
    async fn generic(&self, body: Body, peer: Peer) -> Result<Bytes, Status> {
        let MessageBody { bytes, _memory } = self.read(body, Unit::Message, peer).await?;
        let deadline = Instant::now() + PATIENCE;
        let flow = decode_generic(&bytes).inspect_err(|_| self.inbox.counts.malformed(1))?;
        if !self.inbox.speakers.counts_at(peer, "", flow.agent_ip) {
            self.inbox.counts.malformed(1);
            return Err(Status::permission_denied("it names the agent of another node"));
        }
        let Some(room) = self.pipeline.reserve(places(1, bytes.len()), deadline).await else {
            return Err(self.refuse(1));
        };
        self.pipeline.entrance().map_err(|_| closed())?.push(vec![flow], room, "");
        Ok(genericmap::CollectorReply {}.encode_to_vec().into())
    }

    async fn read(&self, body: Body, unit: Unit, peer: Peer) -> Result<MessageBody, Status> {
        let read = self.inbox.read(body, unit, peer).await;
        Ok(read.inspect_err(|error| self.inbox.counts.refused(error.flows()))?)
    }

    fn refuse(&self, flows: u64) -> Status {
        self.inbox.counts.refused(flows);
        busy()
    }
}

fn decode_generic(bytes: &[u8]) -> Result<Flow, Status> {
    let message = genericmap::Flow::decode(bytes).map_err(unreadable)?;
    let json = message.generic_map.map(|any| any.value).unwrap_or_default();
    if json.len() > LONGEST_GENERIC {
        return Err(Status::invalid_argument(format!("a record may have {LONGEST_GENERIC} bytes at most")));
    }
    Flow::from_generic(&json, now_s()).map_err(unreadable)
}

/// Places of so many rows that came in so many bytes.
fn places(rows: usize, bytes: usize) -> usize {
    rows.max(bytes / BYTES_A_PLACE)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
