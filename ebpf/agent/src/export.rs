//! Sends records to the collector: a bounded queue in front, retries behind.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper_util::rt::TokioIo;
use netobserv_wire::pbflow::{AgentStatus, Records, collector_client::CollectorClient};
use tokio::{
    net::UnixStream,
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use tonic::transport::{Channel, Endpoint, Uri};
use tracing::{debug, info, warn};

use crate::{
    drain::KernelLosses,
    merge::FlowRecord,
    record::{BootTime, Recorder},
    settings::Target,
};

/// Longest wait for the collector's answer; it holds answers back while it has no room.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the collector may be silent while the last records are sent.
const GRACE: Duration = Duration::from_secs(3);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const SLOWEST_RETRY: Duration = Duration::from_secs(2);

/// Records that wait to be sent. What finds no room is counted.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<VecDeque<FlowRecord>>,
    capacity: usize,
    changed: Notify,
    lost: Lost,
}

#[derive(Default)]
struct Lost {
    flows: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Lost {
    fn add(&self, record: &FlowRecord) {
        self.flows.fetch_add(1, Relaxed);
        self.packets.fetch_add(record.packets, Relaxed);
        self.bytes.fetch_add(record.bytes, Relaxed);
    }
}

impl Queue {
    /// A queue of at most `capacity` flows.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Default::default() }
    }

    /// Adds what there is room for.
    pub fn push(&self, records: Vec<FlowRecord>) {
        let mut waiting = self.waiting.lock().expect("no panic under the lock");
        let room = self.capacity.saturating_sub(waiting.len());
        for (i, record) in records.into_iter().enumerate() {
            if i < room {
                waiting.push_back(record);
            } else {
                self.lost.add(&record);
            }
        }
        drop(waiting);
        self.changed.notify_one();
    }

    fn take(&self, most: usize) -> Vec<FlowRecord> {
        let mut waiting = self.waiting.lock().expect("no panic under the lock");
        let count = most.min(waiting.len());
        let taken = waiting.drain(..count).collect();
        // A burst must not keep its memory for ever.
        if waiting.is_empty() && waiting.capacity() > 16_384 {
            waiting.shrink_to(0);
        }
        taken
    }
}

/// What an exporter needs to know.
pub struct Exporter {
    /// Turns counts into records.
    pub recorder: Recorder,
    /// Where the records come from.
    pub queue: Arc<Queue>,
    /// What the kernel side lost, to be reported.
    pub losses: Arc<KernelLosses>,
    /// Interfaces watched now.
    pub interfaces: Arc<AtomicU64>,
    /// Node name.
    pub node: String,
    /// Records of one message.
    pub message_max: usize,
    /// A status goes out at least this often.
    pub heartbeat: Duration,
    /// Set when the collector has answered for the first time.
    pub known: watch::Sender<bool>,
    /// Set when the collector asks to stop.
    pub stop_asked: watch::Sender<bool>,
}

/// What a running exporter keeps between messages.
struct Line {
    client: CollectorClient<Channel>,
    /// True when what is left is the last.
    ending: watch::Receiver<bool>,
    /// Number of the latest message.
    sequence: u64,
    /// Start of this agent, ns since 1970.
    instance: u64,
    /// In the end, when to give up; put off by each answer.
    patience: Option<Instant>,
}

impl Exporter {
    /// Sends until `ending` is set; then sends what is left and the last status.
    pub async fn run(mut self, target: Target, ending: watch::Receiver<bool>) {
        let client = CollectorClient::new(connect(&target));
        let instance = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let mut line = Line { client, ending, sequence: 0, instance, patience: None };
        info!("sending to {target}");
        // A sign of life at once: the collector waits at its end for the agents that it knows.
        self.send_waiting(&mut line, false).await;
        while !*line.ending.borrow_and_update() {
            // Whatever comes first: records, the time for a sign of life, or the end.
            tokio::select! {
                () = self.queue.changed.notified() => {}
                () = tokio::time::sleep(self.heartbeat) => {}
                _ = line.ending.changed() => {}
            }
            self.send_waiting(&mut line, false).await;
        }
        self.send_waiting(&mut line, true).await;
    }

    /// Sends all that waits, and always at least one message.
    async fn send_waiting(&mut self, line: &mut Line, last: bool) {
        loop {
            let flows = self.queue.take(self.message_max);
            let done = flows.len() < self.message_max;
            let boot = BootTime::now();
            let entries = flows.iter().flat_map(|flow| self.recorder.records(flow, boot)).collect();
            line.sequence += 1;
            let agent = Some(self.status(last && done, line.instance));
            if !self.send(line, Records { entries, agent, sequence: line.sequence }).await {
                return self.give_up(flows);
            }
            if done {
                return;
            }
        }
    }

    /// Sends one message, again and again. False if the end came first.
    async fn send(&mut self, line: &mut Line, records: Records) -> bool {
        let mut pause = FIRST_RETRY;
        let mut told = false;
        loop {
            let error = match timeout_at(line.deadline(), line.client.send(records.clone())).await {
                Ok(Ok(reply)) => {
                    line.answered();
                    self.known.send_replace(true);
                    if reply.into_inner().stop {
                        self.stop_asked.send_replace(true);
                    }
                    return true;
                }
                Ok(Err(status)) => status.message().to_owned(),
                Err(_) => format!("no answer in {} s", ANSWER.as_secs()),
            };
            if line.is_over(pause) {
                warn!("collector not reached: {error}");
                return false;
            }
            if told {
                debug!("collector not reached: {error}");
            } else {
                warn!("collector not reached, trying on: {error}");
            }
            told = true;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = line.ending.changed() => {}
            }
            pause = (pause * 2).min(SLOWEST_RETRY);
        }
    }

    fn give_up(&self, flows: Vec<FlowRecord>) {
        let rest = self.queue.take(usize::MAX);
        flows.iter().chain(&rest).for_each(|record| self.queue.lost.add(record));
        let lost = self.queue.lost.flows.load(Relaxed);
        if lost > 0 {
            warn!("{lost} flows were never taken by the collector");
        }
    }

    fn status(&self, last: bool, instance: u64) -> AgentStatus {
        let lost = &self.queue.lost;
        AgentStatus {
            node: self.node.clone(),
            last,
            interfaces: self.interfaces.load(Relaxed) as u32,
            lost_kernel_packets: self.losses.packets.load(Relaxed),
            lost_dns_messages: self.losses.dns_messages.load(Relaxed),
            lost_drop_events: self.losses.drops.load(Relaxed),
            lost_kernel_bytes: self.losses.bytes.load(Relaxed),
            lost_export_flows: lost.flows.load(Relaxed),
            lost_export_packets: lost.packets.load(Relaxed),
            lost_export_bytes: lost.bytes.load(Relaxed),
            overflow_packets: self.losses.overflow_packets.load(Relaxed),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance,
        }
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
        self.patience = self.patience.map(|_| Instant::now() + GRACE);
    }

    /// Whether the end would come during a pause.
    fn is_over(&self, pause: Duration) -> bool {
        self.patience.is_some_and(|end| Instant::now() + pause >= end)
    }
}

/// A channel that connects when first used, and anew after each failure.
fn connect(target: &Target) -> Channel {
    match target {
        Target::Tcp(address) => Endpoint::from_shared(format!("http://{address}"))
            .unwrap_or_else(|_| Endpoint::from_static("http://invalid.invalid"))
            .connect_timeout(ANSWER)
            .tcp_nodelay(true)
            .connect_lazy(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::FlowId;

    fn flow(packets: u64) -> FlowRecord {
        let id = FlowId { src: [0; 16], dst: [0; 16], src_port: 0, dst_port: 0, eth_proto: 0, proto: 0 };
        let (src_mac, dst_mac) = ([0; 6], [0; 6]);
        FlowRecord {
            id,
            first_ns: 0,
            last_ns: 0,
            packets,
            bytes: packets * 10,
            tcp_flags: 0,
            sampling: 1,
            src_mac,
            dst_mac,
            dscp: 0,
            sightings: Default::default(),
            extra: None,
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let queue = Queue::new(3);
        queue.push(vec![flow(1), flow(2)]);
        queue.push(vec![flow(3), flow(4), flow(5)]);
        assert_eq!(queue.take(10).iter().map(|f| f.packets).collect::<Vec<_>>(), [1, 2, 3]);
        let Lost { flows, packets, bytes } = &queue.lost;
        assert_eq!([flows, packets, bytes].map(|n| n.load(Relaxed)), [2, 9, 90]);
    }
}
