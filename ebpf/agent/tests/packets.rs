//! What the packet programs copy, frame by frame, without any interface.

use std::os::fd::AsFd;

use aya::Ebpf;
use netobserv_agent::{
    features::{self, Switches},
    filter::Filter,
    kernel,
    packets::reader::Ring,
    rules::{parse::parse, sets::Sets},
    sys,
};
use netobserv_ebpf_common::packets::{MOST, PacketHead};
use netobserv_testkit::{Frame, require_privileged};

/// The program at the ingress, and the ring buffer that it writes to.
struct Bench {
    ebpf: Ebpf,
    ring: Ring,
}

impl Bench {
    fn new(switches: Switches, rules: Option<&str>) -> Self {
        let snaplen = switches.snaplen.or(Some(MOST as u32));
        let switches = Switches { max_flows: 16, sampling: 1, filter: rules.is_some(), snaplen, ..switches };
        let mut ebpf = features::load(switches).expect("the programs load");
        if let Some(rules) = rules {
            let mut filter = Filter::take(&mut ebpf, 1).expect("the filter's maps");
            filter.replace(&parse(rules).expect("rules"), &Sets::default()).expect("rules in the kernel");
        }
        let ring = Ring::take(&mut ebpf, false).expect("the ring buffer");
        Self { ebpf, ring }
    }

    fn send(&mut self, frame: &[u8], times: u32) {
        let program = kernel::classifier(&mut self.ebpf, "packet_ingress").expect("the program");
        let program = program.fd().expect("a loaded program").try_clone().expect("a descriptor");
        let (verdict, _) = sys::test_run(program.as_fd(), frame, times).expect("a run");
        assert_eq!(verdict as i32, -1, "carry on");
    }

    fn packets(&mut self) -> Vec<(PacketHead, Vec<u8>)> {
        let mut packets = vec![];
        self.ring.read(usize::MAX, |head, data| packets.push((*head, data.to_vec())));
        packets
    }
}

fn udp(payload: usize) -> Vec<u8> {
    let mut frame =
        Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4("10.7.0.1", "10.7.0.2").udp(1001, 53).build();
    let from = frame.len();
    frame.extend((0..payload).map(|n| (from + n) as u8));
    frame
}

#[test]
fn frames_of_every_size_come_out_whole() {
    require_privileged!();
    let mut bench = Bench::new(Switches::default(), None);
    // Around the sizes of the rooms in the ring buffer.
    let sizes = (0..300).chain([420, 421, 422, 423, 930, 940, 1_472, 1_518, 1_519, 3_000, 3_500]);
    for payload in sizes {
        let frame = udp(payload);
        bench.send(&frame, 1);
        let packets = bench.packets();
        assert_eq!(packets.len(), 1, "payload of {payload}");
        let (head, data) = &packets[0];
        assert!(*data == frame, "payload of {payload}: {} bytes came out as {}", frame.len(), data.len());
        assert_eq!((head.length, head.captured), (frame.len() as u32, frame.len() as u32));
        assert_eq!((head.sampling, head.direction, head.reason, head.bare, head.tag), (1, 0, 0, 0, 0));
    }
}

#[test]
fn a_short_snaplen_keeps_the_length() {
    require_privileged!();
    let mut bench = Bench::new(Switches { snaplen: Some(100), ..Default::default() }, None);
    for payload in [10, 58, 59, 1_400] {
        let frame = udp(payload);
        bench.send(&frame, 1);
        let (head, data) = bench.packets().remove(0);
        assert_eq!(head.length as usize, frame.len());
        assert_eq!(data, frame[..frame.len().min(100)]);
    }
}

#[test]
fn the_rules_are_those_of_flows() {
    require_privileged!();
    let mut bench = Bench::new(Switches::default(), Some(r#"[{"port":80,"action":"Reject"},{"port":53}]"#));
    let other = Frame::new([2; 6], [2; 6]).ipv6("fd07::1", "fd07::2").udp(1001, 5353).build();
    let rejected = Frame::new([2; 6], [2; 6]).ipv4("10.7.0.1", "10.7.0.2").tcp(80, 53, 2).build();
    let wanted = Frame::new([2; 6], [2; 6]).ipv6("fd07::1", "fd07::2").udp(53, 5353).build();
    // Each twice: the second time by heart.
    for frame in [&other, &rejected, &wanted, &other, &rejected, &wanted] {
        bench.send(frame, 1);
    }
    let packets = bench.packets();
    assert_eq!(packets.len(), 2);
    assert!(packets.iter().all(|(_, data)| *data == wanted));
}

#[test]
fn times_are_of_the_packet() {
    require_privileged!();
    let mut bench = Bench::new(Switches::default(), None);
    bench.send(&udp(0), 100);
    let times: Vec<u64> = bench.packets().iter().map(|(head, _)| head.time_ns).collect();
    assert_eq!(times.len(), 100);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn what_finds_no_room_is_counted_to_the_packet() {
    require_privileged!();
    let mut bench = Bench::new(Switches::default(), None);
    let (frame, sent) = (udp(1_400), 40_000);
    bench.send(&frame, sent);
    let captured = bench.packets().len() as u64;
    let lost = bench.ring.lost();
    assert!(captured > 10_000 && captured < u64::from(sent), "{captured} packets found room");
    let lost_packets: u64 = lost.iter().map(|(_, lost)| lost.packets).sum();
    let lost_bytes: u64 = lost.iter().map(|(_, lost)| lost.bytes).sum();
    assert_eq!(captured + lost_packets, u64::from(sent));
    assert_eq!(lost_bytes, lost_packets * frame.len() as u64);
    bench.send(&frame, 5);
    assert_eq!(bench.packets().len(), 5, "room has come back");
}
