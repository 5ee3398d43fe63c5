//! Counts of one flow at several places, window by window.

use netobserv_ebpf_common::{EGRESS, INGRESS, Point};

use super::*;

const MS: u64 = 1_000_000;

/// Packets of 100 bytes of one flow at an interface, the first of them at `ms`.
fn add(merger: &mut Merger, ifindex: u32, direction: u8, packets: u64, ms: u64) {
    let at = Point { src_port: 1, dst_port: 2, eth_proto: 0x800, proto: 17, direction, device: u64::from(ifindex) };
    let time = ms * MS;
    let count = FlowCount {
        first_ns: time,
        last_ns: time,
        packets,
        bytes: packets * 100,
        ifindex,
        sampling: 1,
        ..Default::default()
    };
    merger.add(Counted::V4(&Key4 { src: 1, dst: 2, at }, &count));
}

#[test]
fn the_sampling_is_that_of_the_place_that_counted() {
    let at = |direction| Point { src_port: 1, dst_port: 2, eth_proto: 0x800, proto: 17, direction, device: 1 };
    let mut merger = Merger::default();
    for (direction, packets, sampling) in [(INGRESS, 2, 50), (EGRESS, 100, 1)] {
        let count = FlowCount { first_ns: MS, last_ns: MS, packets, bytes: 100, sampling, ..Default::default() };
        merger.add(Counted::V4(&Key4 { src: 1, dst: 2, at: at(direction) }, &count));
    }
    let records = merger.end_window();
    assert_eq!((records[0].packets, records[0].sampling), (100, 1));
}

#[test]
fn the_socket_is_that_of_the_window_if_all_places_say_the_same() {
    let at = |device| Point { src_port: 1, dst_port: 2, eth_proto: 0x800, proto: 17, direction: EGRESS, device };
    let mut merger = Merger::default();
    // What a packet loses on its way, such as into another namespace, is not another socket.
    for (cookies, wanted) in [([7, 7], 7), ([0, 7], 7), ([7, 0], 7), ([0, 0], 0), ([7, 8], SEVERAL), ([0, 9], 9)] {
        for (ifindex, cookie) in (1..).zip(cookies) {
            let count = FlowCount { first_ns: MS, last_ns: MS, packets: 1, ifindex, cookie, ..Default::default() };
            merger.add(Counted::V4(&Key4 { src: 1, dst: 2, at: at(ifindex.into()) }, &count));
        }
        assert_eq!(merger.end_window()[0].cookie, wanted);
    }
}

fn totals(records: &[FlowRecord]) -> (u64, u64) {
    records.iter().fold((0, 0), |(p, b), r| (p + r.packets, b + r.bytes))
}

fn interfaces(record: &FlowRecord) -> Vec<u32> {
    record.sightings.iter().map(|s| s.place.ifindex).collect()
}

#[test]
fn a_path_over_three_interfaces_counts_once() {
    let mut merger = Merger::default();
    for (ifindex, direction, ms) in [(3, EGRESS, 12), (1, INGRESS, 10), (2, INGRESS, 11)] {
        add(&mut merger, ifindex, direction, 10, ms);
    }
    let records = merger.end_window();
    assert_eq!(totals(&records), (10, 1000));
    assert_eq!(interfaces(&records[0]), [1, 2, 3]);
}

#[test]
fn a_hairpin_counts_once() {
    let mut merger = Merger::default();
    add(&mut merger, 1, INGRESS, 7, 1);
    add(&mut merger, 1, EGRESS, 7, 1);
    assert_eq!(totals(&merger.end_window()), (7, 700));
}

#[test]
fn packets_in_flight_at_the_switch_are_not_counted_twice() {
    let mut merger = Merger::default();
    add(&mut merger, 1, INGRESS, 1000, 1);
    add(&mut merger, 2, EGRESS, 999, 1);
    let first = merger.end_window();
    add(&mut merger, 1, INGRESS, 500, 1000);
    add(&mut merger, 2, EGRESS, 501, 1000);
    let second = merger.end_window();
    assert_eq!(totals(&first).0 + totals(&second).0, 1500);
}

#[test]
fn the_last_packet_in_flight_makes_no_record() {
    let mut merger = Merger::default();
    add(&mut merger, 1, INGRESS, 1, 999);
    assert_eq!(totals(&merger.end_window()), (1, 100));
    add(&mut merger, 2, EGRESS, 1, 1001);
    assert!(merger.end_window().is_empty());
}

#[test]
fn two_halves_that_meet_again_count_as_one() {
    let mut merger = Merger::default();
    add(&mut merger, 1, INGRESS, 5, 1);
    add(&mut merger, 2, INGRESS, 5, 1);
    add(&mut merger, 3, EGRESS, 10, 2);
    let records = merger.end_window();
    assert_eq!(totals(&records), (10, 1000));
    assert_eq!(interfaces(&records[0]), [3, 1, 2]);
}

#[test]
fn a_flow_that_moves_to_another_path_is_counted_on() {
    let mut merger = Merger::default();
    let mut sum = 0;
    for (ifindex, packets, ms) in
        [(1, 1000, 1), (2, 300, 1200), (2, 200, 2100), (1, 250, 3500), (2, 40, 4500), (1, 300, 5500)]
    {
        add(&mut merger, ifindex, INGRESS, packets, ms);
        sum += totals(&merger.end_window()).0;
    }
    assert_eq!(sum, 2090);
}

#[test]
fn a_flow_that_moves_within_a_window_is_counted_on() {
    let mut merger = Merger::default();
    let mut sum = 0;
    for (ifindex, packets, ms) in [(1, 1000, 1), (1, 40, 1000), (2, 300, 1500), (2, 200, 2100), (3, 7, 2900)] {
        add(&mut merger, ifindex, INGRESS, packets, ms);
        if matches!(ms, 1 | 1500 | 2900) {
            let records = merger.end_window();
            sum += totals(&records).0;
            assert_eq!(totals(&records).1, totals(&records).0 * 100);
        }
    }
    assert_eq!(sum, 1547);
}

#[test]
fn an_interface_that_joins_late_adds_nothing() {
    let mut merger = Merger::default();
    add(&mut merger, 1, INGRESS, 100, 1);
    let mut sum = totals(&merger.end_window()).0;
    for window in 1..4 {
        add(&mut merger, 1, INGRESS, 99, window * 1000);
        add(&mut merger, 1, INGRESS, 1, window * 1000 + 900);
        add(&mut merger, 2, EGRESS, if window == 1 { 40 } else { 100 }, window * 1000 + 500);
        sum += totals(&merger.end_window()).0;
    }
    assert_eq!(sum, 400);
}

#[test]
fn parts_of_one_window_add_up() {
    let mut merger = Merger::default();
    for _ in 0..5 {
        add(&mut merger, 1, INGRESS, 2, 1);
    }
    assert_eq!(merger.active(), 1);
    assert_eq!(totals(&merger.end_window()), (10, 1000));
    assert_eq!(merger.active(), 0);
}

#[test]
fn flows_are_forgotten_when_idle() {
    let mut merger = Merger::default();
    add(&mut merger, 1, INGRESS, 2, 1);
    merger.end_window();
    for _ in 0..IDLE_WINDOWS {
        assert!(merger.end_window().is_empty());
    }
    assert!(merger.flows.is_empty());
    add(&mut merger, 1, INGRESS, 3, 9000);
    assert_eq!(totals(&merger.end_window()), (3, 300));
}
