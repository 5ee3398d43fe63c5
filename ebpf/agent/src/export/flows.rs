//! Records of flows that wait to be sent: a bounded queue, and its messages.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use netobserv_wire::pbflow::{AgentStatus, CollectorReply, Records, collector_client::CollectorClient};
use tokio::sync::Notify;
use tonic::{Response, Status, transport::Channel};

use super::{Lost, Outbox};
use crate::{
    flow::FlowRecord,
    pace::Fill,
    record::{BootTime, Recorder},
    translated::Unknown,
};

/// Records that wait to be sent. What finds no room is counted.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<VecDeque<FlowRecord>>,
    capacity: usize,
    changed: Notify,
    lost: LostFlows,
    window_ms: AtomicU32,
    stretched_ms: AtomicU32,
}

#[derive(Default)]
struct LostFlows {
    flows: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl LostFlows {
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

    /// How full it is.
    pub fn fill(&self) -> Fill {
        Fill { waiting: self.waiting.lock().expect("no panic under the lock").len(), capacity: self.capacity }
    }

    /// What the collector gets about the windows.
    pub fn record_window(&self, window: Duration, stretched: bool) {
        let ms = u32::try_from(window.as_millis()).unwrap_or(u32::MAX);
        self.window_ms.store(ms, Relaxed);
        if stretched {
            self.stretched_ms.fetch_max(ms, Relaxed);
        }
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

/// Makes messages of what waits in a queue.
pub struct FlowOutbox {
    /// Turns counts into records.
    pub recorder: Recorder,
    /// Where the records come from.
    pub queue: Arc<Queue>,
    /// What is not known of address translation.
    pub unknown: Option<Unknown>,
    /// Records of one message.
    pub message_max: usize,
    /// Those of the message on its way.
    pub sending: Vec<FlowRecord>,
}

impl Outbox for FlowOutbox {
    type Message = Records;

    async fn changed(&self) {
        self.queue.changed.notified().await;
    }

    fn take(&mut self) -> (Records, bool) {
        self.sending = self.queue.take(self.message_max);
        let boot = BootTime::now();
        let entries = self.sending.iter().flat_map(|flow| self.recorder.records(flow, boot)).collect();
        (Records { entries, ..Default::default() }, self.sending.len() < self.message_max)
    }

    fn report(&self, status: &mut AgentStatus) {
        let lost = &self.queue.lost;
        status.lost_export_flows = lost.flows.load(Relaxed);
        status.lost_export_packets = lost.packets.load(Relaxed);
        status.lost_export_bytes = lost.bytes.load(Relaxed);
        status.window_ms = self.queue.window_ms.load(Relaxed);
        status.stretched_ms = self.queue.stretched_ms.load(Relaxed);
        self.unknown.iter().for_each(|unknown| unknown.report(status));
    }

    fn sign(message: &mut Records, agent: AgentStatus, sequence: u64) {
        (message.agent, message.sequence) = (Some(agent), sequence);
    }

    async fn post(channel: Channel, message: Records) -> Result<Response<CollectorReply>, Status> {
        CollectorClient::new(channel).send(message).await
    }

    fn give_up(&mut self, _: Records) -> Option<Lost> {
        let rest = self.queue.take(usize::MAX);
        self.sending.iter().chain(&rest).for_each(|record| self.queue.lost.add(record));
        let count = self.queue.lost.flows.load(Relaxed);
        (count > 0).then_some(Lost { count, what: "flows" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowId;

    fn flow(packets: u64) -> FlowRecord {
        let id = FlowId { src: [0; 16], dst: [0; 16], src_port: 0, dst_port: 0, eth_proto: 0, proto: 0 };
        let (src_mac, dst_mac) = ([0; 6], [0; 6]);
        FlowRecord {
            id,
            first_ns: 0,
            last_ns: 0,
            packets,
            bytes: packets * 10,
            cookie: 0,
            tcp_flags: 0,
            sampling: 1,
            src_mac,
            dst_mac,
            dscp: 0,
            sightings: smallvec::SmallVec::default(),
            extra: None,
            translated: None,
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let queue = Queue::new(3);
        queue.push(vec![flow(1), flow(2)]);
        queue.push(vec![flow(3), flow(4), flow(5)]);
        assert_eq!(queue.take(10).iter().map(|f| f.packets).collect::<Vec<_>>(), [1, 2, 3]);
        let LostFlows { flows, packets, bytes } = &queue.lost;
        assert_eq!([flows, packets, bytes].map(|n| n.load(Relaxed)), [2, 9, 90]);
    }
}
