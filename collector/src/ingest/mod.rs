//! The receiving end: one gRPC service for both protocols.
//!
//! gRPC is spoken here by hand on top of tonic's HTTP/2 server, because the generated server has read and decoded a
//! message before it asks whether there is room for it. Here a message waits on the wire until there is
//! memory for its bytes, then until there is room for its rows, and becomes rows piece by piece.

pub(crate) mod decode;
pub mod door;
mod grpc;
pub mod listen;
mod message;
pub mod packets;
mod resend;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use netobserv_wire::{Flow, genericmap};
use prost::Message as _;
use prost::bytes::Bytes;
use tonic::Status;
use tonic::body::Body;

use crate::counts::Counts;
use crate::pipeline::{Pipeline, Room};
use grpc::{Desk, PATIENCE, busy, closed, unreadable};
pub use grpc::{Grpc, Receiver};
use message::{Body as MessageBody, Unit};

/// Rows that go to the sinks together.
const CHUNK: usize = 512;

/// A longer record of a flowlogs-pipeline is nobody's: it becomes a tree that may take thirty times as much memory.
const LONGEST_GENERIC: usize = 1 << 20;

/// Accepts `pbflow.Collector/Send` and `genericmap.Collector/Send`.
pub type Ingest = Grpc<Flows>;

/// The receiver of flows.
pub struct Flows {
    pipeline: Pipeline,
    desk: Desk,
}

impl Ingest {
    /// A service that feeds `pipeline`.
    pub fn new(pipeline: Pipeline, counts: Arc<Counts>) -> Self {
        Self::of(Flows { pipeline, desk: Desk::new(counts) })
    }
}

impl Receiver for Flows {
    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn close(&self) {
        self.pipeline.close();
    }

    async fn answer(&self, method: &str, body: Body) -> Result<Bytes, Status> {
        match method {
            "/pbflow.Collector/Send" => self.records(body).await,
            "/genericmap.Collector/Send" => self.generic(body).await,
            method => Err(Status::unimplemented(format!("no {method} here"))),
        }
    }
}

impl Flows {
    /// A batch of an agent.
    async fn records(&self, body: Body) -> Result<Bytes, Status> {
        let deadline = Instant::now() + PATIENCE;
        let MessageBody { bytes, _memory } = self.read(body, Unit::Entries, deadline).await?;
        let outline = decode::Outline::of(&bytes).map_err(unreadable)?;
        let agent = outline.agent.unwrap_or_default();
        self.desk.once(&agent, outline.sequence, self.accept(&bytes, outline.records, deadline)).await
    }

    /// Waits for room for the rows of a message and hands them on. A message that fits into the queue is taken as a whole or not at all.
    async fn accept(&self, message: &[u8], flows: usize, deadline: Instant) -> Result<u64, Status> {
        if flows == 0 {
            return Ok(0);
        }
        let mut records = decode::Records::new(message, now_s());
        let mut left = flows;
        let mut room = self.pipeline.reserve(left, deadline).await.ok_or_else(|| self.refuse(flows as u64))?;
        loop {
            left -= self.hand_on(&mut records, left, room)?;
            if left == 0 {
                return Ok(flows as u64);
            }
            // A message of more rows than the queue has places: the rest goes in as places come free.
            room = self.pipeline.reserve_patiently(left).await.ok_or_else(closed)?;
        }
    }

    /// Hands on as many of the next records as there is room for, and returns how many that were.
    fn hand_on(&self, records: &mut decode::Records, left: usize, mut room: Room) -> Result<usize, Status> {
        let entrance = self.pipeline.entrance().map_err(|_| closed())?;
        let (mut done, end) = (0, left.min(room.places()));
        while done < end {
            let wanted = CHUNK.min(end - done);
            let rows = records.take(wanted);
            self.desk.counts.malformed((wanted - rows.len()) as u64);
            let Some(places) = room.split(rows.len()) else { break };
            entrance.push(rows, places);
            done += wanted;
        }
        Ok(done)
    }

    /// One record of a flowlogs-pipeline.
    async fn generic(&self, body: Body) -> Result<Bytes, Status> {
        let deadline = Instant::now() + PATIENCE;
        let MessageBody { bytes, _memory } = self.read(body, Unit::Message, deadline).await?;
        let flow = self.decode_generic(&bytes).inspect_err(|_| self.desk.counts.malformed(1))?;
        let Some(room) = self.pipeline.reserve(1, deadline).await else { return Err(self.refuse(1)) };
        self.pipeline.entrance().map_err(|_| closed())?.push(vec![flow], room);
        Ok(genericmap::CollectorReply {}.encode_to_vec().into())
    }

    fn decode_generic(&self, bytes: &[u8]) -> Result<Flow, Status> {
        let message = genericmap::Flow::decode(bytes).map_err(unreadable)?;
        let json = message.generic_map.map(|any| any.value).unwrap_or_default();
        if json.len() > LONGEST_GENERIC {
            return Err(Status::invalid_argument(format!("a record may have {LONGEST_GENERIC} bytes at most")));
        }
        Flow::from_generic(&json, now_s()).map_err(unreadable)
    }

    async fn read(&self, body: Body, unit: Unit, deadline: Instant) -> Result<MessageBody, Status> {
        let read = self.desk.read(body, unit, deadline).await;
        Ok(read.inspect_err(|error| self.desk.counts.refused(error.flows()))?)
    }

    fn refuse(&self, flows: u64) -> Status {
        self.desk.counts.refused(flows);
        busy()
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
