//! Sends what is captured to the collector, one message after the other, with retries. What is sent is given by
//! [`Outbox`]: records of flows ([`flows`]) or packets ([`crate::packets::outbox`]).

use std::{
    error::Error,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper_util::rt::TokioIo;
use netobserv_wire::pbflow::{AgentStatus, CollectorReply};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint, Uri},
};
use tracing::{debug, info, warn};

use crate::{
    addresses::Addresses, losses::KernelLosses, pushed::Pushed, settings::Target, tls::Tls, watching::Watching,
};

pub mod flows;

/// Longest wait for the collector's answer; it holds answers back while it has no room.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the collector may be silent while the last records are sent.
const GRACE: Duration = Duration::from_secs(3);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const SLOWEST_RETRY: Duration = Duration::from_secs(2);
/// The same while nothing is captured.
const IDLE_RETRY: Duration = Duration::from_secs(10);

/// A queue of things to be sent, and how they are sent.
pub trait Outbox: Send + 'static {
    /// What goes out at once.
    type Message: Clone + Send + Sync;

    /// Resolves when there is something new.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// The next message, empty if nothing waits, and whether nothing waits behind it.
    fn take(&mut self) -> (Self::Message, bool);

    /// Writes into a status what found no room here.
    fn report(&self, status: &mut AgentStatus);

    /// Puts the sender and its number on a message.
    fn sign(message: &mut Self::Message, agent: AgentStatus, sequence: u64);

    /// Sends a message once.
    fn post(
        channel: Channel,
        message: Self::Message,
    ) -> impl Future<Output = Result<Response<CollectorReply>, Status>> + Send;

    /// Counts a message that the collector never took, and all that waits, as lost. Returns what is lost in all, in words;
    /// nothing if nothing is.
    fn give_up(&mut self, message: Self::Message) -> Option<Lost>;
}

/// The innermost cause: those around it are "transport error".
fn reason(status: &Status) -> String {
    let mut cause: &dyn Error = status;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if status.source().is_some() { cause.to_string() } else { status.message().to_owned() }
}

/// What never reached the collector.
pub struct Lost {
    /// How many.
    pub count: u64,
    /// Of what.
    pub what: &'static str,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.what)
    }
}

/// What an exporter needs to know.
pub struct Exporter<O> {
    /// Where the messages come from.
    pub outbox: O,
    /// What the kernel side lost, to be reported.
    pub losses: Arc<KernelLosses>,
    /// How far watching the interfaces has come.
    pub watching: Watching,
    /// For how long there was none for want of a collector, in milliseconds.
    pub unwatched_ms: Arc<AtomicU64>,
    /// Node name.
    pub node: String,
    /// The node's addresses.
    pub addresses: Addresses,
    /// A status goes out at least this often.
    pub heartbeat: Duration,
    /// Set when the collector has answered for the first time.
    pub known: watch::Sender<bool>,
    /// How long the collector may be silent before it counts as lost.
    pub patience: Duration,
    /// Set while it is.
    pub lost: watch::Sender<bool>,
    /// Set when the collector asks to stop.
    pub stop_asked: watch::Sender<bool>,
    /// The filter that the collector may send.
    pub pushed: Pushed,
}

/// What a running exporter keeps between messages.
struct Line {
    channel: Channel,
    /// True when what is left is the last.
    ending: watch::Receiver<bool>,
    /// Number of the latest message.
    sequence: u64,
    /// Start of this agent, ns since 1970.
    instance: u64,
    /// When the collector answered last.
    heard: Instant,
    /// In the end, when to give up; put off by each answer.
    patience: Option<Instant>,
}

impl<O: Outbox> Exporter<O> {
    /// Sends until `ending` is set; then sends what is left and the last status.
    pub async fn run(mut self, target: Target, ending: watch::Receiver<bool>) {
        let channel = connect(&target);
        let instance = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let status = AgentStatus { node: self.node.clone(), instance, ..AgentStatus::default() };
        let news = tokio::spawn(self.pushed.ask(channel.clone(), status));
        let mut line = Line { channel, ending, sequence: 0, instance, heard: Instant::now(), patience: None };
        info!("sending to {target}");
        // A sign of life at once: the collector waits at its end for the agents that it knows.
        self.send_waiting(&mut line, false).await;
        while !*line.ending.borrow_and_update() {
            // Whatever comes first: something to send or to report, the time for a sign of life, or the end.
            tokio::select! {
                () = self.outbox.changed() => {}
                () = self.pushed.changed() => {}
                () = self.watching.changed() => {}
                () = tokio::time::sleep(self.heartbeat) => {}
                _ = line.ending.changed() => {}
            }
            self.send_waiting(&mut line, false).await;
        }
        news.abort();
        self.send_waiting(&mut line, true).await;
    }

    /// Sends all that waits, and always at least one message.
    async fn send_waiting(&mut self, line: &mut Line, last: bool) {
        loop {
            let (mut message, done) = self.outbox.take();
            line.sequence += 1;
            O::sign(&mut message, self.status(last && done, line.instance), line.sequence);
            if !self.send(line, &message).await {
                if let Some(lost) = self.outbox.give_up(message) {
                    warn!("{lost} were never taken by the collector");
                }
                return;
            }
            if done {
                return;
            }
        }
    }

    /// Sends one message, again and again. False if the end came first.
    async fn send(&mut self, line: &mut Line, message: &O::Message) -> bool {
        let mut pause = FIRST_RETRY;
        let mut reported = false;
        loop {
            let error = match timeout_at(line.deadline(), O::post(line.channel.clone(), message.clone())).await {
                Ok(Ok(reply)) => {
                    line.answered();
                    self.found();
                    self.known.send_replace(true);
                    let reply = reply.into_inner();
                    self.pushed.receive(reply.filter);
                    if reply.stop {
                        self.stop_asked.send_replace(true);
                    }
                    return true;
                }
                Ok(Err(status)) => {
                    // A refusal is an answer.
                    if status.source().is_none() {
                        line.heard = Instant::now();
                        self.found();
                    }
                    reason(&status)
                }
                Err(_) => format!("no answer in {} s", ANSWER.as_secs()),
            };
            if line.is_over(pause) {
                warn!("collector not reached: {error}");
                return false;
            }
            if reported {
                debug!("collector not reached: {error}");
            } else {
                warn!("collector not reached, trying on: {error}");
            }
            reported = true;
            let slowest = if self.is_lost(line) { IDLE_RETRY } else { SLOWEST_RETRY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = line.ending.changed() => {}
            }
            pause = (pause * 2).min(slowest);
        }
    }

    /// Reports it once, and again when the collector was back in between.
    fn is_lost(&self, line: &Line) -> bool {
        let lost = line.heard.elapsed() >= self.patience;
        self.lost.send_if_modified(|known| lost && !std::mem::replace(known, true));
        lost
    }

    fn found(&self) {
        self.lost.send_if_modified(std::mem::take);
    }

    fn status(&mut self, last: bool, instance: u64) -> AgentStatus {
        let mut status = AgentStatus {
            node: self.node.clone(),
            last,
            unwatched_ms: self.unwatched_ms.load(Relaxed),
            lost_kernel_packets: self.losses.packets.load(Relaxed),
            lost_dns_messages: self.losses.dns_messages.load(Relaxed),
            lost_drop_events: self.losses.drops.load(Relaxed),
            lost_kernel_bytes: self.losses.bytes.load(Relaxed),
            overflow_packets: self.losses.overflow_packets.load(Relaxed),
            portless_fragments: self.losses.portless_fragments.load(Relaxed),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance,
            node_addresses: self.addresses.get(),
            ..Default::default()
        };
        self.outbox.report(&mut status);
        self.watching.report(&mut status);
        self.pushed.report(&mut status);
        status
    }
}

impl Line {
    /// By when an answer must come.
    fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        if *self.ending.borrow_and_update() { *self.patience.get_or_insert(now + GRACE) } else { now + ANSWER }
    }

    /// As long as the collector takes what is left, it gets it.
    fn answered(&mut self) {
        self.heard = Instant::now();
        self.patience = self.patience.map(|_| Instant::now() + GRACE);
    }

    /// Whether the end would come during a pause.
    fn is_over(&self, pause: Duration) -> bool {
        self.patience.is_some_and(|end| Instant::now() + pause >= end)
    }
}

async fn open_tls(address: String, tls: Tls) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(tls.config).connect(tls.name, stream).await.map(TokioIo::new)
}

/// A channel that connects when first used, and again after each failure.
fn connect(target: &Target) -> Channel {
    match target {
        Target::Tcp(address) => {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))
                .unwrap_or_else(|_| Endpoint::from_static("http://invalid.invalid"));
            remote(endpoint).tcp_nodelay(true).connect_lazy()
        }
        Target::Tls(address, tls) => {
            let (address, tls) = (address.clone(), tls.clone());
            let connector = tower::service_fn(move |_: Uri| open_tls(address.clone(), tls.clone()));
            remote(Endpoint::from_static("http://collector")).connect_with_connector_lazy(connector)
        }
        Target::Unix(path) => {
            let path = path.clone();
            let connector = tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            Endpoint::from_static("http://collector").connect_with_connector_lazy(connector)
        }
    }
}

/// A connection that the network has forgotten is given up: its packets would come again minutes after the network is back.
fn remote(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(ANSWER)
        .http2_keep_alive_interval(ANSWER)
        .keep_alive_timeout(ANSWER / 2)
        .keep_alive_while_idle(true)
}
