use netobserv_ebpf_common::{DNS_PIECE, EGRESS, INGRESS, Key6, Point};

use super::*;

const MS: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(5);
const QUERY: u16 = 0x0100;
const ANSWER: u16 = 0x8180;

/// A packet and what it carries.
#[derive(Clone)]
struct Seen {
    head: DnsHead,
    data: Vec<u8>,
}

/// A message of transaction `id` for "a" between two hosts, at an interface, at `ms`.
fn message(ifindex: u32, direction: u8, id: u16, flags: u16, ms: u64) -> Seen {
    let (client, server) = (([1; 16], 4000), ([2; 16], 53));
    let ((src, src_port), (dst, dst_port)) = if flags & 0x8000 == 0 { (client, server) } else { (server, client) };
    let at = Point { src_port, dst_port, eth_proto: 0x86dd, proto: 17, direction, device: 0 };
    let data = [[id, flags, 1, 0, 0, 0].map(u16::to_be_bytes).concat(), vec![1, b'a', 0, 0, 1, 0, 1]].concat();
    let (key, length) = (Key6 { src, dst, at }, data.len() as u32);
    let head = DnsHead { key, time_ns: ms * MS, ifindex, netns: 0, frame_bytes: 90, length, seq: 0, tcp_flags: 0 };
    Seen { head, data }
}

fn took(transaction: &Transaction) -> u64 {
    transaction.latency.expect("a latency").first_ns
}

fn run(messages: &[Seen], now_ms: u64) -> Vec<Transaction> {
    let mut tracker = Tracker::new(PATIENCE);
    messages.iter().for_each(|message| tracker.see(&message.head, &message.data));
    let mut done = vec![];
    tracker.finish(now_ms * MS, 0, |transaction| done.push(transaction));
    done
}

#[test]
fn a_query_and_its_answer() {
    let done = run(&[message(1, EGRESS, 0, QUERY, 1000), message(1, INGRESS, 0, ANSWER, 1020)], 1100);
    let [t] = &done[..] else { panic!("{done:?}") };
    assert_eq!((t.id, t.flags, took(t), t.queries, t.errno), (0, ANSWER, 20 * MS, 1, 0));
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
    assert_eq!((took(&done[0]), done[0].queries), (32 * MS, 1));
}

#[test]
fn retries_are_measured_from_the_first_and_the_last() {
    let passes =
        [message(1, EGRESS, 7, QUERY, 1000), message(1, EGRESS, 7, QUERY, 3000), message(1, INGRESS, 7, ANSWER, 3010)];
    let done = run(&passes, 3100);
    assert_eq!((done[0].latency, done[0].queries), (Some(Latency { first_ns: 2010 * MS, last_ns: 10 * MS }), 2));
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
    assert_eq!((done[0].errno, done[0].latency, done[0].queries), (NO_QUERY, None, 0));
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
        tracker.see(&message.head, &message.data);
        if i % 2 == 1 {
            tracker.finish(message.head.time_ns + MS, 0, |t| latencies.push(took(&t)));
        }
    }
    assert_eq!(latencies, [10 * MS, 30 * MS]);
    let at_once: Vec<_> = run(&passes, 1531).iter().map(took).collect();
    assert_eq!(at_once, [10 * MS, 30 * MS]);
}

/// A connection from 4000 to 53 of which segments pass interface 1.
struct Connection {
    tracker: Tracker,
    /// Of client and server.
    seq: [u32; 2],
}

impl Connection {
    fn new() -> Self {
        let mut connection = Self { tracker: Tracker::new(PATIENCE), seq: [1, 1] };
        connection.segment(false, 2, &[], 0);
        connection.segment(true, 2, &[], 0);
        connection
    }

    fn segment(&mut self, server: bool, tcp_flags: u32, bytes: &[u8], ms: u64) {
        for piece in if bytes.is_empty() { vec![bytes] } else { bytes.chunks(DNS_PIECE).collect() } {
            let mut head = message(1, INGRESS, 0, if server { ANSWER } else { QUERY }, ms).head;
            let seq = &mut self.seq[usize::from(server)];
            head.key.at.proto = 6;
            (head.seq, head.tcp_flags) = (*seq, tcp_flags);
            *seq += piece.len() as u32;
            self.tracker.see(&head, piece);
        }
    }

    fn finish(&mut self, now_ms: u64) -> Vec<Transaction> {
        let mut done = vec![];
        self.tracker.finish(now_ms * MS, 0, |transaction| done.push(transaction));
        done.sort_by_key(|transaction| transaction.id);
        done
    }
}

/// A message with its length before it, as over TCP.
fn framed(id: u16, flags: u16, extra: usize) -> Vec<u8> {
    let body = [message(1, INGRESS, id, flags, 0).data, vec![0; extra]].concat();
    [&(body.len() as u16).to_be_bytes()[..], &body].concat()
}

#[test]
fn pipelined_answers_of_any_length_each_find_their_query() {
    let mut connection = Connection::new();
    let queries: Vec<u8> = (0..200).flat_map(|id| framed(id, QUERY, 0)).collect();
    let answers: Vec<u8> = (0..200).rev().flat_map(|id| framed(id, ANSWER, usize::from(id) * 37 % 3000)).collect();
    for segment in queries.chunks(61) {
        connection.segment(false, 0, segment, 1000);
    }
    for segment in answers.chunks(20_000) {
        connection.segment(true, 0, segment, 1030);
    }
    let done = connection.finish(1100);
    assert_eq!(done.iter().map(|t| u64::from(t.id)).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    assert!(done.iter().all(|t| t.errno == 0 && took(t) == 30 * MS), "{done:?}");
    assert_eq!(connection.tracker.lost(), 0);
}

#[test]
fn a_query_whose_answer_was_not_understood_is_not_one_without_an_answer() {
    let mut connection = Connection::new();
    connection.segment(false, 0, &[framed(1, QUERY, 0), framed(2, QUERY, 0)].concat(), 1000);
    connection.segment(true, 0, &framed(1, ANSWER, 0), 1010);
    connection.segment(true, 0, &[0xff; 40], 1020);
    assert_eq!(connection.finish(1100).len(), 1);
    assert_eq!(connection.finish(6000), []);
    assert_eq!(connection.tracker.lost(), 2, "the answer, and what became of the query");
    // The connection has found its way again: what is not answered now is reported.
    connection.segment(true, 0, &framed(9, ANSWER, 0), 7000);
    connection.segment(false, 0, &framed(3, QUERY, 0), 8000);
    let done: Vec<_> = connection.finish(14_000).iter().map(|t| (t.id, t.errno)).collect();
    assert_eq!(done, [(3, NO_ANSWER), (9, NO_QUERY)]);
}

#[test]
fn an_answer_to_a_query_that_was_not_understood_has_no_error_and_no_latency() {
    let mut connection = Connection::new();
    connection.segment(false, 0, &framed(1, QUERY, 0), 1000);
    connection.segment(false, 0, &[0xff; 40], 1000);
    connection.segment(true, 0, &[framed(1, ANSWER, 0), framed(2, ANSWER, 0)].concat(), 1010);
    let done: Vec<_> = connection.finish(1100).iter().map(|t| (t.id, t.errno, t.latency.is_some())).collect();
    assert_eq!(done, [(1, 0, true), (2, 0, false)]);
}

#[test]
fn a_query_read_after_its_answer_is_seen_all_the_same() {
    let mut connection = Connection::new();
    let query = framed(1, QUERY, 0);
    // The first half is sent again, after the answer.
    connection.seq[0] += 10;
    connection.segment(false, 0, &query[10..], 1000);
    connection.segment(true, 0, &framed(1, ANSWER, 0), 1020);
    assert_eq!(connection.finish(1030), []);
    connection.seq[0] = 1;
    connection.segment(false, 0, &query[..10], 1040);
    let done = connection.finish(1100);
    assert_eq!((done.len(), done[0].errno, took(&done[0])), (1, 0, 20 * MS));
}

#[test]
fn a_slow_answer_is_waited_for_while_it_comes() {
    let mut connection = Connection::new();
    connection.segment(false, 0, &framed(1, QUERY, 0), 1000);
    for (number, byte) in framed(1, ANSWER, 0).chunks(1).enumerate() {
        assert_eq!(connection.finish(1000 + number as u64 * 1000), []);
        connection.segment(true, 0, byte, 1000 + number as u64 * 1000);
    }
    let done = connection.finish(30_000);
    assert_eq!((done.len(), done[0].errno), (1, 0));
}

#[test]
fn losses_of_the_kernel_leave_open_what_was_answered() {
    let mut tracker = Tracker::new(PATIENCE);
    let mut done = vec![];
    let see = |tracker: &mut Tracker, Seen { head, data }: Seen| tracker.see(&head, &data);
    see(&mut tracker, message(1, EGRESS, 1, QUERY, 1000));
    tracker.finish(2000 * MS, 3, |t| done.push(t));
    see(&mut tracker, message(1, EGRESS, 2, QUERY, 3000));
    tracker.finish(9000 * MS, 3, |t| done.push(t));
    assert_eq!((done.len(), done[0].id, done[0].errno, tracker.lost()), (1, 2, NO_ANSWER, 1));
}

#[test]
fn a_flood_is_given_up_and_counted() {
    let mut tracker = Tracker::new(PATIENCE);
    for number in 0..=MOST as u32 {
        let mut seen = message(1, EGRESS, number as u16, QUERY, 1000);
        seen.head.key.src[..4].copy_from_slice(&(number >> 16).to_be_bytes());
        tracker.see(&seen.head, &seen.data);
    }
    tracker.finish(1100 * MS, 0, |t| panic!("{t:?}"));
    assert_eq!(tracker.lost(), MOST as u64 + 1);
}

#[test]
fn groups_and_announcements_are_no_errors() {
    let mut announced = message(1, INGRESS, 0, 0x8400, 1000);
    (announced.head.key.at.src_port, announced.head.key.at.dst_port) = (5353, 5353);
    (announced.head.key.dst, announced.data[5]) = (group(), 0);
    // With the question that it answers, to the group and to who asked.
    let mut to_all = announced.clone();
    to_all.data[5] = 1;
    let mut to_one = to_all.clone();
    to_one.head.key.dst = [1; 16];
    let mut asked = message(1, EGRESS, 0, 0, 1000);
    (asked.head.key.dst, asked.head.key.at.dst_port, asked.head.key.at.src_port) = (group(), 5353, 5353);
    let done = run(&[announced, to_all, to_one, asked], 9000);
    assert_eq!(done.len(), 3, "{done:?}");
    assert!(done.iter().all(|t| t.errno == 0 && t.latency.is_none()), "{done:?}");
}

/// 224.0.0.251, mapped.
fn group() -> [u8; 16] {
    netobserv_ebpf_common::mapped(u32::from_ne_bytes([224, 0, 0, 251]))
}

#[test]
fn messages_with_two_questions_and_answers_with_none_are_read() {
    let mut query = message(1, EGRESS, 7, QUERY, 1000);
    query.data[5] = 2;
    query.data.extend([1, b'b', 0, 0, 1, 0, 1]);
    let mut refused = message(1, INGRESS, 7, 0x8181, 1010);
    refused.data[5] = 0;
    refused.data.truncate(12);
    let mut stray = refused.clone();
    stray.data[1] = 8;
    let done = run(&[query, refused, stray], 1100);
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!((done[0].errno, took(&done[0]), done[0].name.as_deref()), (0, 10 * MS, Some("a")));
}
