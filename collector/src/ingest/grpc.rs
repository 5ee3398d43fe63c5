//! What both receivers have in common: gRPC by hand, a bounded memory for messages, and each message taken once.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use netobserv_wire::pbflow::{AgentStatus, CollectorReply};
use prost::Message as _;
use prost::bytes::{BufMut, Bytes, BytesMut};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tracing::warn;

use super::limits::{self, Broken};
use super::memory::{MAX_MESSAGE, Memory};
use super::message::{self, Body as MessageBody, Times, Unit};
use super::peer::Peer;
use super::quiet::{Quiet, more_like_it};
use super::resend::{Taken, Turn};
use super::speakers::Speakers;
use crate::counts::Counts;
use crate::counts::MOST_NODES;

/// How long a message waits for room before it is refused.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How long an agent waits for news before it asks again.
const NEWS: Duration = Duration::from_secs(30);
/// How long a message may take. An agent gives up waiting for its answer after as long.
const TIMES: Times = Times { arrival: Duration::from_secs(10), memory: PATIENCE };

/// One agent more than a capture takes.
const FULL: Broken = Broken::Many { what: "nodes", most: MOST_NODES };

/// A receiver: what it does with messages, and where they are taken.
pub trait Receiver: Send + Sync + 'static {
    /// Where its messages are taken.
    fn inbox(&self) -> &Inbox;
    /// Accepts nothing from now on.
    fn close(&self);
    /// Answers a peer's request for this method.
    fn answer(&self, method: &str, body: Body, peer: Peer) -> impl Future<Output = Result<Bytes, Status>> + Send;
}

/// A receiver as an HTTP/2 service. Cheap to clone.
#[derive(Debug)]
pub struct Grpc<R>(Arc<R>);

impl<R> Clone for Grpc<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Receiver> Grpc<R> {
    /// Serves `receiver`.
    pub(super) fn of(receiver: R) -> Self {
        Self(Arc::new(receiver))
    }

    /// From now on agents are asked to send what they have and stop.
    pub fn stop_agents(&self) {
        let inbox = self.0.inbox();
        inbox.stopping.store(true, Relaxed);
        inbox.counts.pushed().wake();
    }

    /// From now on nothing is accepted.
    pub fn close(&self) {
        self.0.close();
    }
}

impl<R: Receiver> Service<http::Request<Body>> for Grpc<R> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let receiver = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            // Over a Unix socket there is none.
            let peer = head.extensions.get::<Peer>().copied().unwrap_or_default();
            let answer = match head.uri.path() {
                "/pbflow.Filters/Wait" => receiver.inbox().news(body, peer).await,
                method => receiver.answer(method, body, peer).await,
            };
            Ok(answer.map_or_else(Status::into_http, response))
        })
    }
}

/// Where messages are taken in, in bounded memory, and agents get their answers.
#[derive(Debug)]
pub struct Inbox {
    pub(super) counts: Arc<Counts>,
    pub(super) speakers: Speakers,
    memory: Memory,
    slow: Quiet<Option<IpAddr>>,
    rejected: Quiet<Option<IpAddr>>,
    taken: Taken,
    stopping: AtomicBool,
}

impl Inbox {
    pub(super) fn new(counts: Arc<Counts>, speakers: Speakers) -> Self {
        Self {
            counts,
            speakers,
            memory: Memory::default(),
            slow: Quiet::default(),
            rejected: Quiet::default(),
            taken: Taken::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Reads the message of a peer's request, as far as there is memory for it.
    pub(super) async fn read(&self, body: Body, unit: Unit, peer: Peer) -> Result<MessageBody, message::Error> {
        let read = message::read(body, unit, (&self.memory, peer), TIMES).await;
        if let Err(message::Error::Slow) = read
            && let Some(more) = self.slow.left_out(peer.address(), Instant::now())
        {
            let (limit, more) = (TIMES.arrival.as_secs(), more_like_it(more));
            warn!("a message from {peer} did not arrive within {limit} seconds, and was given up{more}");
        }
        read
    }

    /// Refuses a message for good, and counts it.
    pub(super) fn reject(&self, peer: Peer, broken: &Broken) -> Status {
        self.counts.rejected();
        if let Some(more) = self.rejected.left_out(peer.address(), Instant::now()) {
            warn!("refused a message from {peer}: {broken}{}", more_like_it(more));
        }
        match broken {
            // It may be known a moment later.
            Broken::Speaker(why) => Status::permission_denied(why),
            _ => Status::invalid_argument(broken.to_string()),
        }
    }

    /// Has a message of an agent accepted, unless it was before, and answers it. `accept` returns how much was in it.
    pub(super) async fn once(
        &self,
        peer: Peer,
        agent: &AgentStatus,
        sequence: u64,
        accept: impl Future<Output = Result<u64, Status>>,
    ) -> Result<Bytes, Status> {
        self.speakers.check(peer, &agent.node).map_err(|why| self.reject(peer, &Broken::Speaker(why)))?;
        if !self.counts.has_room_for(&agent.node) {
            return Err(self.reject(peer, &FULL));
        }
        let accepted = match self.taken.turn(agent, sequence) {
            Turn::Full => return Err(self.reject(peer, &FULL)),
            Turn::Again => 0,
            Turn::Busy => return Err(Status::unavailable("this message is at work: ask again later")),
            Turn::New(work) => {
                let accepted = accept.await?;
                work.done();
                accepted
            }
        };
        if !agent.node.is_empty() {
            self.counts.heard(agent, accepted, Instant::now());
            self.speakers.learn_addresses(agent);
        }
        Ok(self.reply(agent.filter))
    }

    /// Answers an agent when there is another filter than it has, or the capture ends.
    async fn news(&self, body: Body, peer: Peer) -> Result<Bytes, Status> {
        let agent = {
            let message = self.read(body, Unit::Message, peer).await?;
            let status = AgentStatus::decode(message.bytes).map_err(unreadable)?;
            limits::status(Some(status)).map_err(|broken| self.reject(peer, &broken))?
        };
        self.speakers.check(peer, &agent.node).map_err(|why| self.reject(peer, &Broken::Speaker(why)))?;
        let ended = || self.stopping.load(Relaxed);
        self.counts.pushed().other_than(agent.filter, NEWS, ended).await;
        Ok(self.reply(agent.filter))
    }

    /// The reply to an agent that has this filter.
    fn reply(&self, filter: u64) -> Bytes {
        let filter = self.counts.pushed().for_agent(filter);
        CollectorReply { stop: self.stopping.load(Relaxed), filter }.encode_to_vec().into()
    }
}

impl From<message::Error> for Status {
    fn from(error: message::Error) -> Self {
        match error {
            message::Error::Refused { .. } => busy(),
            message::Error::TooLarge { .. } => {
                Status::resource_exhausted(format!("a message may have {MAX_MESSAGE} bytes at most"))
            }
            message::Error::Slow => Status::deadline_exceeded("the message did not arrive in time"),
            message::Error::Bad(status) => status,
        }
    }
}

pub(super) fn busy() -> Status {
    Status::resource_exhausted("the collector is busy: send this again later")
}

pub(super) fn closed() -> Status {
    Status::unavailable("the capture has ended")
}

pub(super) fn unreadable(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("unreadable message: {error}"))
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
