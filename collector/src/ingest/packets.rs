//! The receiving end of a capture of packets: `netobserv.Packets/Send`, on the same terms as flows. A batch is answered when
//! there was room for it, and taken once, however often it comes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;

use netobserv_wire::netobserv::PacketBatch;
use netobserv_wire::{packet, pbflow};
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use super::message::{self, Unit};
use super::resend::{Taken, Turn};
use super::{PATIENCE, closed, response, unreadable};
use crate::counts::Counts;
use crate::packets::intake::{Delivery, Intake};
use crate::packets::places::Source;
use crate::packets::tally::Tally;

/// Accepts `netobserv.Packets/Send`. Cheap to clone.
#[derive(Clone)]
pub struct PacketIngest(Arc<Shared>);

struct Shared {
    intake: Intake,
    counts: Arc<Counts>,
    tally: Arc<Tally>,
    memory: Arc<Semaphore>,
    taken: Taken,
    stopping: AtomicBool,
}

impl PacketIngest {
    /// A service that hands packets to `intake`.
    pub fn new(intake: Intake, counts: Arc<Counts>, tally: Arc<Tally>) -> Self {
        let memory = Arc::new(Semaphore::new(message::MEMORY_PAGES));
        let (taken, stopping) = (Taken::default(), AtomicBool::new(false));
        Self(Arc::new(Shared { intake, counts, tally, memory, taken, stopping }))
    }

    /// From now on agents are told to send what they have and stop.
    pub fn stop_agents(&self) {
        self.0.stopping.store(true, Relaxed);
    }

    /// From now on nothing is accepted.
    pub fn close(&self) {
        self.0.intake.close();
    }
}

impl Service<http::Request<Body>> for PacketIngest {
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
                "/netobserv.Packets/Send" => shared.batch(request.into_body()).await,
                path => Err(Status::unimplemented(format!("no {path} here: this is a capture of packets"))),
            };
            Ok(answer.map_or_else(Status::into_http, response))
        })
    }
}

impl Shared {
    async fn batch(&self, body: Body) -> Result<Bytes, Status> {
        let deadline = Instant::now() + PATIENCE;
        let message = message::read(body, Unit::Message, &self.memory, deadline).await.map_err(refused)?;
        let mut batch = PacketBatch::decode(message.bytes).map_err(unreadable)?;
        let agent = batch.agent.take().unwrap_or_default();
        if agent.node.is_empty() {
            return Err(Status::invalid_argument("a batch must name its node"));
        }
        let mut packets = 0;
        match self.taken.turn(&agent, batch.sequence) {
            Turn::Again => {}
            Turn::Busy => return Err(Status::unavailable("this message is at work: ask again later")),
            Turn::New(work) => {
                let source = Source { node: agent.node.as_str().into(), instance: agent.instance };
                packets = self.accept(batch, source, deadline).await?;
                work.done();
            }
        }
        self.counts.heard(&agent, packets, Instant::now());
        let reply = pbflow::CollectorReply { stop: self.stopping.load(Relaxed) };
        Ok(reply.encode_to_vec().into())
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

fn refused(error: message::Error) -> Status {
    match error {
        message::Error::Refused { .. } => busy(),
        message::Error::TooLarge { .. } => {
            Status::resource_exhausted(format!("a message may have {} bytes at most", message::MAX_MESSAGE))
        }
        message::Error::Bad(status) => status,
    }
}

fn busy() -> Status {
    Status::resource_exhausted("the collector is busy: send this again later")
}
