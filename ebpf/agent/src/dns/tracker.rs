//! Brings queries and answers together, each counted once however many interfaces saw it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use netobserv_ebpf_common::{DNS_MOST, DnsHead};
use smallvec::SmallVec;

use super::{
    message::{Message, message},
    streams::Streams,
};
use crate::{
    flow::{FlowId, Latency, Sighting, Transaction},
    interfaces::InterfaceId,
};

/// `DnsErrno` of an answer to a query that was not seen: ENOENT, as the original has it.
const NO_QUERY: u32 = libc::ENOENT as u32;
/// `DnsErrno` of a query without an answer: ETIMEDOUT.
const NO_ANSWER: u32 = libc::ETIMEDOUT as u32;
/// Most queries that are waited for; more are a flood, and those of before are given up at once.
const MOST: usize = 100_000;
/// How long an answered query is remembered, so that its answer's passage over other interfaces is no second answer.
const SETTLE_NS: u64 = 500_000_000;

const TCP: u8 = 6;
/// Multicast DNS (RFC 6762) and its older relative (RFC 4795).
const GROUP_PORTS: [u16; 2] = [5353, 5355];

/// The packet that a message came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// Its flow.
    pub(super) flow: FlowId,
    /// Where it was seen.
    pub(super) at: Sighting,
    /// CLOCK_MONOTONIC, ns.
    pub(super) time_ns: u64,
    /// Length of the frame.
    pub(super) frame_bytes: u32,
}

/// A query is known by its flow and its id.
type Query = (FlowId, u16);

/// When a query passed an interface.
struct Passage {
    place: InterfaceId,
    first_ns: u64,
    last_ns: u64,
}

struct Pending {
    name: Option<Box<str>>,
    flags: u16,
    at: Sighting,
    passages: SmallVec<[Passage; 1]>,
    /// How often the first interface saw it.
    queries: u32,
    answer: Option<Transaction>,
    /// When the latest message of the answer came.
    answered_ns: u64,
    reported: bool,
}

/// Queries that wait for their answers.
pub struct Tracker {
    patience_ns: u64,
    pending: HashMap<Query, Pending>,
    streams: Streams,
    /// Answered, not handed out yet, and its id is in use again.
    replaced: Vec<Transaction>,
    /// Queries of which it is not known whether they were answered.
    unknown: u64,
    /// What the kernel lost until the latest [`Tracker::finish`], and when it lost for the last time.
    kernel_lost: u64,
    kernel_lost_ns: Option<u64>,
}

impl Tracker {
    /// Gives a query up after `patience`.
    pub fn new(patience: Duration) -> Self {
        let patience_ns = patience.as_nanos() as u64;
        Self {
            patience_ns,
            pending: HashMap::new(),
            streams: Streams::new(patience_ns),
            replaced: Vec::new(),
            unknown: 0,
            kernel_lost: 0,
            kernel_lost_ns: None,
        }
    }

    /// Takes a packet, or a piece of one, and what it carries.
    pub fn see(&mut self, seen: &DnsHead, data: &[u8]) {
        let (at, time_ns, frame_bytes) = (sighting(seen), seen.time_ns, seen.frame_bytes);
        let packet = Packet { flow: FlowId::of(&seen.key), at, time_ns, frame_bytes };
        if seen.key.at.proto == TCP {
            for read in self.streams.take(packet, seen, data) {
                let Packet { flow, at, .. } = packet;
                let packet = Packet { flow, at, time_ns: read.time_ns, frame_bytes: read.frame_bytes };
                self.message(&packet, read.message);
            }
        } else {
            // What was copied in full length may be longer.
            let length = if data.len() < DNS_MOST { data.len() } else { usize::MAX };
            if let Some(message) = message(data, length) {
                self.message(&packet, message);
            }
        }
    }

    /// No more will come: what is waited for is given up.
    pub fn end(&mut self) {
        self.streams.end();
    }

    /// Messages that could not be read, and queries of which it is not known whether they were answered.
    pub fn lost(&self) -> u64 {
        self.streams.lost() + self.unknown
    }

    fn message(&mut self, packet: &Packet, message: Message) {
        if message.is_response() {
            self.answer(packet, message);
        } else if message.questions > 0 {
            self.query(packet, message);
        }
    }

    fn query(&mut self, packet: &Packet, message: Message) {
        let Packet { flow, at, time_ns, .. } = *packet;
        let key = (flow, message.id);
        // An id that is used again, after its answer, is another query.
        if self.pending.get(&key).is_some_and(|pending| pending.is_over(packet))
            && let Some(over) = self.pending.remove(&key)
            && !over.reported
        {
            self.replaced.extend(over.answer);
        }
        let pending = self.pending.entry(key).or_insert_with(|| Pending::new(at, message.name, message.flags));
        pending.queries += u32::from(pending.queries == 0 || pending.at == at);
        match pending.passages.iter_mut().find(|passage| passage.place == at.place) {
            Some(passage) => passage.last_ns = time_ns,
            None => pending.passages.push(Passage { place: at.place, first_ns: time_ns, last_ns: time_ns }),
        }
        pending.answer_in_hindsight();
    }

    fn answer(&mut self, packet: &Packet, message: Message) {
        let Packet { flow, at, time_ns, frame_bytes } = *packet;
        let key = (flow.reversed(), message.id);
        // Without a question it is the answer to a query that was seen, or none: an announcement, the rest of a transfer.
        if message.questions == 0 && !self.pending.contains_key(&key) {
            return;
        }
        let expected = is_group(&flow)
            || flow.proto == TCP && self.streams.unread_since(&key.0, time_ns.saturating_sub(self.patience_ns));
        let pending = self.pending.entry(key).or_insert_with(|| Pending::new(at, None, 0));
        pending.answered_ns = time_ns;
        let latency = pending.latency(at.place, time_ns);
        match &mut pending.answer {
            // The interface nearest to who asked sees the query first and the answer last: its is the time waited.
            Some(answer) => {
                if answer.at != at && latency.map(|l| l.first_ns) > answer.latency.map(|l| l.first_ns) {
                    answer.latency = latency;
                }
            }
            None => {
                pending.answer = Some(Transaction {
                    flow,
                    at,
                    id: message.id,
                    flags: message.flags,
                    latency,
                    queries: pending.queries,
                    errno: if pending.queries == 0 && !expected { NO_QUERY } else { 0 },
                    name: message.name.or_else(|| pending.name.clone()),
                    frame_bytes,
                    time_ns,
                });
            }
        }
    }

    /// Hands out what is answered, and what is given up. `kernel_lost`: what the kernel has lost so far.
    pub fn finish(&mut self, now_ns: u64, kernel_lost: u64, mut each: impl FnMut(Transaction)) {
        if kernel_lost > self.kernel_lost {
            (self.kernel_lost, self.kernel_lost_ns) = (kernel_lost, Some(now_ns));
        }
        for (packet, message) in self.streams.give_up(now_ns) {
            self.message(&packet, message);
        }
        self.replaced.drain(..).for_each(&mut each);
        let flood = self.pending.len() > MOST;
        let Self { pending, streams, unknown, patience_ns, kernel_lost_ns, .. } = self;
        pending.retain(|(flow, id), pending| {
            let tcp = flow.proto == TCP;
            if let Some(answer) = &pending.answer {
                // The query may be among what is missing.
                if answer.errno == NO_QUERY && !flood && tcp && streams.is_waiting(flow, now_ns) {
                    return true;
                }
                if !pending.reported {
                    pending.reported = true;
                    each(answer.clone());
                }
                return !flood && now_ns < pending.answered_ns + SETTLE_NS;
            }
            let answers = flow.reversed();
            let patient = now_ns < pending.asked_last() + *patience_ns;
            if !flood && (patient || tcp && streams.is_waiting(&answers, now_ns)) {
                return true;
            }
            let asked_ns = pending.asked_first();
            if patient
                || kernel_lost_ns.is_some_and(|lost_ns| lost_ns >= asked_ns)
                || tcp && streams.unread_since(&answers, asked_ns)
            {
                *unknown += 1;
            } else {
                each(pending.given_up(*flow, *id));
            }
            false
        });
    }
}

impl Pending {
    fn new(at: Sighting, name: Option<Box<str>>, flags: u16) -> Self {
        let (passages, queries, answer, answered_ns, reported) = (SmallVec::new(), 0, None, 0, false);
        Self { name, flags, at, passages, queries, answer, answered_ns, reported }
    }

    /// Answered so that what comes now cannot be the same query on another interface: long ago, or where it comes now. Over
    /// TCP nothing comes twice; over UDP a second query can cross the answer to the first.
    fn is_over(&self, query: &Packet) -> bool {
        self.answer.as_ref().is_some_and(|answer| {
            answer.time_ns + SETTLE_NS / 10 < query.time_ns
                || query.flow.proto == TCP && self.queries > 0 && self.at == query.at && answer.time_ns < query.time_ns
        })
    }

    /// From the first and from the latest query to `now_ns`: at this place if it passed here, else at the first.
    fn latency(&self, place: InterfaceId, now_ns: u64) -> Option<Latency> {
        let here = self.passages.iter().find(|passage| passage.place == place).or(self.passages.first())?;
        let since = |ns| now_ns.saturating_sub(ns);
        Some(Latency { first_ns: since(here.first_ns), last_ns: since(here.last_ns) })
    }

    /// The query is read after its answer: it came before, but some of the bytes before it came late.
    fn answer_in_hindsight(&mut self) {
        let asked = (self.asked_first(), self.queries);
        let Some(answer) = &self.answer else { return };
        let (place, time_ns) = (answer.at.place, answer.time_ns);
        if answer.queries > 0 || self.reported || asked.0 > time_ns {
            return;
        }
        let latency = self.latency(place, time_ns);
        if let Some(answer) = &mut self.answer {
            (answer.latency, answer.queries, answer.errno) = (latency, asked.1, 0);
        }
    }

    fn asked_first(&self) -> u64 {
        self.passages.iter().map(|passage| passage.first_ns).min().unwrap_or_default()
    }

    fn asked_last(&self) -> u64 {
        self.passages.iter().map(|passage| passage.last_ns).max().unwrap_or_default()
    }

    fn given_up(&self, flow: FlowId, id: u16) -> Transaction {
        Transaction {
            flow,
            at: self.at,
            id,
            flags: self.flags,
            latency: None,
            queries: self.queries,
            errno: if is_group(&flow) { 0 } else { NO_ANSWER },
            name: self.name.clone(),
            frame_bytes: 0,
            time_ns: self.asked_last(),
        }
    }
}

/// Sent to a group, or by a protocol that asks groups: there an answer comes from another address than was asked, without a
/// query, or not at all, and all of that is as it should be.
fn is_group(flow: &FlowId) -> bool {
    let to = Ipv6Addr::from(flow.dst).to_canonical();
    IpAddr::is_multicast(&to) || GROUP_PORTS.contains(&flow.src_port) || GROUP_PORTS.contains(&flow.dst_port)
}

fn sighting(seen: &DnsHead) -> Sighting {
    Sighting { place: InterfaceId { netns: seen.netns, ifindex: seen.ifindex }, direction: seen.key.at.direction }
}

#[cfg(test)]
mod tests;
