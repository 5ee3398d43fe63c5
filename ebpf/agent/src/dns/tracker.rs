//! Brings queries and answers together, each counted once however many interfaces saw it.

use std::{collections::HashMap, time::Duration};

use netobserv_ebpf_common::{DnsMessage, FlowCount};
use smallvec::SmallVec;

use super::message::{Message, messages};
use crate::{
    interfaces::Place,
    merge::{FlowId, Sighting},
};

/// `DnsErrno` of an answer to a query that nobody saw: ENOENT, as the original has it.
const NO_QUERY: u32 = libc::ENOENT as u32;
/// `DnsErrno` of a query that nobody answered: ETIMEDOUT.
const NO_ANSWER: u32 = libc::ETIMEDOUT as u32;
/// Most queries that are waited for; more are a flood, and the oldest windows' worth is given up at once.
const MOST: usize = 100_000;
/// How long an answered query is remembered, so that its answer's passage over other interfaces is no second answer.
const SETTLE_NS: u64 = 500_000_000;

const TCP: u8 = 6;

/// What is reported of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The flow of the answer; of the query if there was none.
    pub flow: FlowId,
    /// Where it was seen.
    pub at: Sighting,
    /// As in the message.
    pub id: u16,
    /// Of the answer; of the query if there was none.
    pub flags: u16,
    /// From the first query, ns; 0 = no answer, or no query.
    pub latency_ns: u64,
    /// From the latest query, ns; the same if it was asked once.
    pub latency_last_ns: u64,
    /// How often it was asked; 0 = nobody saw the query.
    pub queries: u32,
    /// 0 = answered.
    pub errno: u32,
    /// See [`Message::name`].
    pub name: Option<Box<str>>,
    /// Length of the answer's frame; 0 if there was none.
    pub frame_bytes: u32,
    /// CLOCK_MONOTONIC, ns, of the answer, or of the latest query.
    pub time_ns: u64,
}

impl Transaction {
    /// A count for the flow in case no interface has counted it in this window: no packets.
    pub fn count(&self) -> FlowCount {
        let Place { netns, ifindex } = self.at.place;
        let (first_ns, last_ns) = (self.time_ns, self.time_ns);
        FlowCount { first_ns, last_ns, ifindex, netns, sampling: 1, ..FlowCount::default() }
    }
}

/// A query is known by its flow and its id.
type Query = (FlowId, u16);

/// When a query passed an interface.
struct Passage {
    place: Place,
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
    reported: bool,
}

/// Queries that wait for their answers.
pub struct Tracker {
    patience_ns: u64,
    pending: HashMap<Query, Pending>,
    /// Answered, not handed out yet, and its id is in use again.
    replaced: Vec<Transaction>,
}

impl Tracker {
    /// Gives a query up after `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience_ns: patience.as_nanos() as u64, pending: HashMap::new(), replaced: Vec::new() }
    }

    /// Takes a packet.
    pub fn see(&mut self, seen: &DnsMessage) {
        let length = (seen.length as usize).min(seen.data.len());
        let tcp = seen.key.at.proto == TCP;
        for message in messages(&seen.data[..length], tcp) {
            if message.is_response() { self.answer(seen, message) } else { self.query(seen, message) }
        }
    }

    fn query(&mut self, seen: &DnsMessage, message: Message) {
        let (flow, at) = (FlowId::of(&seen.key), sighting(seen));
        let key = (flow, message.id);
        // An id that is used again, after its answer, is another query.
        if self.pending.get(&key).is_some_and(|pending| pending.is_over(seen.time_ns))
            && let Some(over) = self.pending.remove(&key)
            && !over.reported
        {
            self.replaced.extend(over.answer);
        }
        let pending = self.pending.entry(key).or_insert_with(|| Pending::new(at, message.name, message.flags));
        pending.queries += u32::from(pending.at == at);
        match pending.passages.iter_mut().find(|passage| passage.place == at.place) {
            Some(passage) => passage.last_ns = seen.time_ns,
            None => pending.passages.push(Passage { place: at.place, first_ns: seen.time_ns, last_ns: seen.time_ns }),
        }
    }

    fn answer(&mut self, seen: &DnsMessage, message: Message) {
        let (flow, at) = (FlowId::of(&seen.key), sighting(seen));
        let key = (flow.reversed(), message.id);
        let pending = self.pending.entry(key).or_insert_with(|| Pending::new(at, None, 0));
        let (first, last) = pending.latency(at.place, seen.time_ns);
        match &mut pending.answer {
            // The interface nearest to who asked sees the query first and the answer last: its is the time waited.
            Some(answer) if first > answer.latency_ns && answer.at != at => {
                (answer.latency_ns, answer.latency_last_ns) = (first, last);
            }
            Some(_) => {}
            None => {
                pending.answer = Some(Transaction {
                    flow,
                    at,
                    id: message.id,
                    flags: message.flags,
                    latency_ns: first,
                    latency_last_ns: last,
                    queries: pending.queries,
                    errno: if pending.queries == 0 { NO_QUERY } else { 0 },
                    name: message.name.or_else(|| pending.name.clone()),
                    frame_bytes: seen.frame_bytes,
                    time_ns: seen.time_ns,
                });
            }
        }
    }

    /// Hands out what is answered, and what is given up.
    pub fn finish(&mut self, now_ns: u64, mut each: impl FnMut(Transaction)) {
        self.replaced.drain(..).for_each(&mut each);
        let flood = self.pending.len() > MOST;
        let patience = if flood { 0 } else { self.patience_ns };
        self.pending.retain(|(flow, id), pending| {
            if let Some(answer) = &pending.answer {
                if !pending.reported {
                    pending.reported = true;
                    each(answer.clone());
                }
                return !flood && now_ns < answer.time_ns + SETTLE_NS;
            }
            let waiting = now_ns < pending.asked_last() + patience;
            if !waiting {
                each(pending.given_up(*flow, *id));
            }
            waiting
        });
    }
}

impl Pending {
    fn new(at: Sighting, name: Option<Box<str>>, flags: u16) -> Self {
        Self { name, flags, at, passages: SmallVec::new(), queries: 0, answer: None, reported: false }
    }

    /// Answered so long ago that what comes now cannot be the same query on another interface.
    fn is_over(&self, now_ns: u64) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.time_ns + SETTLE_NS / 10 < now_ns)
    }

    /// From the first and from the latest query to `now_ns`: at this place if it passed here, else at the first.
    fn latency(&self, place: Place, now_ns: u64) -> (u64, u64) {
        let here = self.passages.iter().find(|passage| passage.place == place).or(self.passages.first());
        here.map_or((0, 0), |passage| (now_ns.saturating_sub(passage.first_ns), now_ns.saturating_sub(passage.last_ns)))
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
            latency_ns: 0,
            latency_last_ns: 0,
            queries: self.queries,
            errno: NO_ANSWER,
            name: self.name.clone(),
            frame_bytes: 0,
            time_ns: self.asked_last(),
        }
    }
}

fn sighting(seen: &DnsMessage) -> Sighting {
    Sighting { place: Place { netns: seen.netns, ifindex: seen.ifindex }, direction: seen.key.at.direction }
}

#[cfg(test)]
mod tests {
    use netobserv_ebpf_common::{DNS_MOST, EGRESS, INGRESS, Key6, Point};

    use super::*;

    const MS: u64 = 1_000_000;
    const PATIENCE: Duration = Duration::from_secs(5);
    const QUERY: u16 = 0x0100;
    const ANSWER: u16 = 0x8180;

    /// A message of transaction `id` for "a" between two hosts, at an interface, at `ms`.
    fn message(ifindex: u32, direction: u8, id: u16, flags: u16, ms: u64) -> DnsMessage {
        let (client, server) = (([1; 16], 4000), ([2; 16], 53));
        let ((src, src_port), (dst, dst_port)) = if flags & 0x8000 == 0 { (client, server) } else { (server, client) };
        let at = Point { src_port, dst_port, eth_proto: 0x86dd, proto: 17, direction, device: 0 };
        let bytes: Vec<u8> =
            [[id, flags, 1, 0, 0, 0].map(u16::to_be_bytes).concat(), vec![1, b'a', 0, 0, 1, 0, 1]].concat();
        let mut data = [0; DNS_MOST];
        data[..bytes.len()].copy_from_slice(&bytes);
        let key = Key6 { src, dst, at };
        DnsMessage { key, time_ns: ms * MS, ifindex, netns: 0, frame_bytes: 90, length: bytes.len() as u32, data }
    }

    fn run(messages: &[DnsMessage], now_ms: u64) -> Vec<Transaction> {
        let mut tracker = Tracker::new(PATIENCE);
        messages.iter().for_each(|message| tracker.see(message));
        let mut done = vec![];
        tracker.finish(now_ms * MS, |transaction| done.push(transaction));
        done
    }

    #[test]
    fn a_query_and_its_answer() {
        let done = run(&[message(1, EGRESS, 0, QUERY, 1000), message(1, INGRESS, 0, ANSWER, 1020)], 1100);
        let [t] = &done[..] else { panic!("{done:?}") };
        assert_eq!((t.id, t.flags, t.latency_ns, t.queries, t.errno), (0, ANSWER, 20 * MS, 1, 0));
        assert_eq!((t.name.as_deref(), t.flow.src_port, t.frame_bytes), (Some("a"), 53, 90));
    }

    #[test]
    fn several_interfaces_count_once_and_the_client_s_time_is_taken() {
        let passes = [
            message(1, INGRESS, 7, QUERY, 1000),
            message(2, EGRESS, 7, QUERY, 1001),
            message(2, INGRESS, 7, ANSWER, 1030),
            message(1, EGRESS, 7, ANSWER, 1032),
        ];
        let done = run(&passes, 1100);
        assert_eq!(done.len(), 1);
        assert_eq!((done[0].latency_ns, done[0].queries), (32 * MS, 1));
    }

    #[test]
    fn retries_are_measured_from_the_first_and_the_last() {
        let passes = [
            message(1, EGRESS, 7, QUERY, 1000),
            message(1, EGRESS, 7, QUERY, 3000),
            message(1, INGRESS, 7, ANSWER, 3010),
        ];
        let done = run(&passes, 3100);
        assert_eq!((done[0].latency_ns, done[0].latency_last_ns, done[0].queries), (2010 * MS, 10 * MS, 2));
    }

    #[test]
    fn no_answer_is_reported_once_its_time_is_up() {
        let passes = [message(1, EGRESS, 7, QUERY, 1000)];
        assert!(run(&passes, 5999).is_empty());
        let done = run(&passes, 6000);
        assert_eq!((done[0].errno, done[0].flow.dst_port, done[0].name.as_deref()), (NO_ANSWER, 53, Some("a")));
    }

    #[test]
    fn an_answer_without_a_query_says_so() {
        let done = run(&[message(1, INGRESS, 7, ANSWER, 1000)], 1100);
        assert_eq!((done[0].errno, done[0].latency_ns, done[0].queries), (NO_QUERY, 0, 0));
    }

    #[test]
    fn an_id_can_be_used_again() {
        let passes = [
            message(1, EGRESS, 7, QUERY, 1000),
            message(1, INGRESS, 7, ANSWER, 1010),
            message(1, EGRESS, 7, QUERY, 1500),
            message(1, INGRESS, 7, ANSWER, 1530),
        ];
        let mut tracker = Tracker::new(PATIENCE);
        let mut latencies = vec![];
        for (i, message) in passes.iter().enumerate() {
            tracker.see(message);
            if i % 2 == 1 {
                tracker.finish(message.time_ns + MS, |t| latencies.push(t.latency_ns));
            }
        }
        assert_eq!(latencies, [10 * MS, 30 * MS]);
        let at_once: Vec<_> = run(&passes, 1531).iter().map(|t| t.latency_ns).collect();
        assert_eq!(at_once, [10 * MS, 30 * MS]);
    }
}
