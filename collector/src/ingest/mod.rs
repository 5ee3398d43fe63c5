//! The receiving end: one gRPC service for both protocols.
//!
//! gRPC is spoken here by hand on top of tonic's HTTP/2 server, because the generated server has read and decoded a
//! message before it asks whether there is room for it. Here a message waits on the wire until there is
//! memory for its bytes, then until there is room for its rows, and becomes rows piece by piece.

mod decode;
pub mod door;
pub mod listen;
mod message;
pub mod packets;
mod resend;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Full};
use netobserv_wire::{Flow, genericmap, pbflow};
use prost::Message as _;
use prost::bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use crate::counts::Counts;
use crate::pipeline::{Pipeline, Room};
use message::{Body as MessageBody, Unit};
use resend::{Taken, Turn};

/// How long a message waits for room before it is refused.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rows that go to the sinks together.
const CHUNK: usize = 512;

/// Accepts `pbflow.Collector/Send` and `genericmap.Collector/Send`. Cheap to clone.
#[derive(Clone)]
pub struct Ingest(Arc<Shared>);

struct Shared {
    pipeline: Pipeline,
    counts: Arc<Counts>,
    memory: Arc<Semaphore>,
    taken: Taken,
    stopping: AtomicBool,
}

impl Ingest {
    /// A service that feeds `pipeline`.
    pub fn new(pipeline: Pipeline, counts: Arc<Counts>) -> Self {
        let memory = Arc::new(Semaphore::new(message::MEMORY_PAGES));
        Self(Arc::new(Shared { pipeline, counts, memory, taken: Taken::default(), stopping: AtomicBool::new(false) }))
    }

    /// From now on agents are told to send what they have and stop.
    pub fn stop_agents(&self) {
        self.0.stopping.store(true, Relaxed);
    }

    /// From now on nothing is accepted.
    pub fn close(&self) {
        self.0.pipeline.close();
    }
}

impl Service<http::Request<Body>> for Ingest {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            let answer = match request.uri().path() {
                "/pbflow.Collector/Send" => shared.records(request.into_body()).await,
                "/genericmap.Collector/Send" => shared.generic(request.into_body()).await,
                path => Err(Status::unimplemented(format!("no {path} here"))),
            };
            Ok(answer.map_or_else(Status::into_http, response))
        })
    }
}

impl Shared {
    /// A batch of an agent.
    async fn records(&self, body: Body) -> Result<Bytes, Status> {
        let deadline = Instant::now() + PATIENCE;
        let MessageBody { bytes, _memory } = self.read(body, Unit::Entries, deadline).await?;
        let outline = decode::Outline::of(&bytes).map_err(unreadable)?;
        let agent = outline.agent.unwrap_or_default();
        let flows = match self.taken.turn(&agent, outline.sequence) {
            Turn::Again => 0,
            Turn::Busy => return Err(Status::unavailable("this message is at work: ask again later")),
            Turn::New(work) => {
                self.accept(&bytes, outline.records, deadline).await?;
                work.done();
                outline.records as u64
            }
        };
        if !agent.node.is_empty() {
            self.counts.heard(&agent, flows, Instant::now());
        }
        let reply = pbflow::CollectorReply { stop: self.stopping.load(Relaxed) };
        Ok(reply.encode_to_vec().into())
    }

    /// Waits for room for the rows of a message and hands them on. A message that fits into the queue is taken as a whole or not at all.
    async fn accept(&self, message: &[u8], flows: usize, deadline: Instant) -> Result<(), Status> {
        if flows == 0 {
            return Ok(());
        }
        let mut records = decode::Records::new(message, now_s());
        let mut left = flows;
        let mut room = self.pipeline.reserve(left, deadline).await.ok_or_else(|| self.refuse(flows as u64))?;
        loop {
            left -= self.hand_on(&mut records, left, room)?;
            if left == 0 {
                return Ok(());
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
            self.counts.malformed((wanted - rows.len()) as u64);
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
        let flow = self.decode_generic(&bytes).inspect_err(|_| self.counts.malformed(1))?;
        let Some(room) = self.pipeline.reserve(1, deadline).await else { return Err(self.refuse(1)) };
        self.pipeline.entrance().map_err(|_| closed())?.push(vec![flow], room);
        Ok(genericmap::CollectorReply {}.encode_to_vec().into())
    }

    fn decode_generic(&self, bytes: &[u8]) -> Result<Flow, Status> {
        let message = genericmap::Flow::decode(bytes).map_err(unreadable)?;
        let json = message.generic_map.map(|any| any.value).unwrap_or_default();
        Flow::from_generic(&json, now_s()).map_err(unreadable)
    }

    async fn read(&self, body: Body, unit: Unit, deadline: Instant) -> Result<MessageBody, Status> {
        message::read(body, unit, &self.memory, deadline).await.map_err(|error| match error {
            message::Error::Refused { flows } => self.refuse(flows),
            message::Error::TooLarge { flows } => {
                self.counts.refused(flows);
                Status::resource_exhausted(format!("a message may have {} bytes at most", message::MAX_MESSAGE))
            }
            message::Error::Bad(status) => status,
        })
    }

    fn refuse(&self, flows: u64) -> Status {
        self.counts.refused(flows);
        Status::resource_exhausted("the collector is busy: send this again later")
    }
}

fn closed() -> Status {
    Status::unavailable("the capture has ended")
}

fn unreadable(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("unreadable message: {error}"))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A gRPC response with this message.
fn response(message: Bytes) -> http::Response<Body> {
    let mut frame = BytesMut::with_capacity(message.len() + message::PREFIX);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put(message);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let body = Full::new(frame.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = http::Response::new(Body::new(body));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    response
}
