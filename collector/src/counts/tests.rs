use super::*;

fn status(node: &str, kernel: u64, last: bool) -> AgentStatus {
    AgentStatus { node: node.into(), lost_kernel_packets: kernel, last, ..AgentStatus::default() }
}

#[test]
fn losses_add_up_over_agents_and_restarts() {
    let (counts, now) = (Counts::default(), Instant::now());
    for (node, kernel) in [("a", 5), ("b", 100), ("a", 9), ("a", 2), ("a", 3)] {
        counts.heard(&status(node, kernel, false), 10, now);
    }
    assert_eq!(counts.agents()["a"].losses.kernel_packets, 9 + 3);
    assert_eq!((counts.agents()["a"].flows, counts.totals().agents), (40, 2));
    assert_eq!(counts.totals().losses.kernel_packets, 112);
    assert_eq!(counts.totals().lost(), ["in the kernel 112 packets"]);
}

#[test]
fn agents_owe_a_word_until_their_last_word_or_long_silence() {
    let (counts, start, window) = (Counts::default(), Instant::now(), Duration::from_secs(5));
    let later = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(counts.owed_since(start, window), None);
    counts.heard(&status("a", 0, false), 0, start);
    assert_eq!(counts.owed_since(later(5), window), Some(start));
    assert_eq!(counts.owed_since(later(6), window), None);
    assert_eq!(counts.totals().agents_without_last_word, 1);
    counts.heard(&status("a", 0, true), 0, later(6));
    assert_eq!(counts.owed_since(later(6), window), None);
    assert_eq!(counts.totals().agents_without_last_word, 0);
}

#[test]
fn a_new_life_is_known_by_its_instance() {
    let (counts, now) = (Counts::default(), Instant::now());
    for (instance, kernel) in [(1, 5), (2, 5), (2, 6)] {
        counts.heard(&AgentStatus { instance, ..status("a", kernel, false) }, 0, now);
    }
    assert_eq!(counts.totals().losses.kernel_packets, 11);
}

#[test]
fn a_life_without_a_last_word_is_counted_when_the_next_begins() {
    let (counts, now) = (Counts::default(), Instant::now());
    for (instance, last, broken_off) in [(1, false, 0), (2, false, 1), (2, true, 1), (3, false, 1), (4, true, 2)] {
        counts.heard(&AgentStatus { instance, ..status("a", 0, last) }, 0, now);
        assert_eq!(counts.totals().agents_started_anew, broken_off, "life {instance}");
    }
}

#[test]
fn what_the_features_lost_is_told() {
    let counts = Counts::default();
    let status = AgentStatus { lost_drop_events: 3, lost_dns_messages: 4, ..status("a", 0, false) };
    counts.heard(&status, 0, Instant::now());
    assert_eq!(counts.totals().lost(), ["of the drops 3 packets", "of DNS 4 messages"]);
}

#[test]
fn sums_stop_at_the_largest_number() {
    let counts = Counts::default();
    for bytes in [u64::MAX - 1, 5, 5] {
        counts.accepted(&[Flow { bytes, packets: bytes, ..Flow::default() }, Flow { bytes: 1, ..Flow::default() }]);
    }
    assert_eq!((counts.totals().bytes, counts.totals().packets), (u64::MAX, u64::MAX));
}

#[test]
fn nodes_without_end_take_no_memory_without_end() {
    let counts = Counts::default();
    (0..MOST_NODES + 9).for_each(|node| counts.heard(&status(&node.to_string(), 0, false), 1, Instant::now()));
    assert_eq!(counts.totals().agents, MOST_NODES as u64);
    assert!(counts.has_room_for("0") && !counts.has_room_for("another"));
}

#[test]
fn sums_are_over_all_flows() {
    let counts = Counts::default();
    counts.accepted(&[Flow { bytes: 7, packets: 2, ..Flow::default() }, Flow { bytes: 1, ..Flow::default() }]);
    let totals = counts.totals();
    assert_eq!((totals.flows, totals.packets, totals.bytes), (2, 2, 8));
    assert!(totals.lost().is_empty());
}
