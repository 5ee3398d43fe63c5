//! What the kernel programs make of each kind of frame. Each family is captured coming in and going out.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use netobserv_testkit::capture::{Sum, sum};
use netobserv_testkit::ethtool::set_offloads;
use netobserv_testkit::frame::proto;
use netobserv_testkit::link::mac_text;
use netobserv_testkit::{Frame, LocalCapture, Netns, Pair, Sender, require_privileged};
use serde_json::{Value, json};

const SRC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const DST: [u8; 6] = [2, 0, 0, 0, 1, 2];
/// TCP header flags (RFC 9293), and the three combinations that NetObserv adds.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;
const SYN_ACK: u64 = 0x100;
const FIN_ACK: u64 = 0x200;
const RST_ACK: u64 = 0x400;

fn frame() -> Frame {
    Frame::new(SRC, DST)
}

fn frame4() -> Frame {
    frame().ipv4("10.7.0.1", "10.7.0.2")
}

fn frame6() -> Frame {
    frame().ipv6("fd07::1", "fd07::2")
}

/// Captures these frames coming in, then in another capture going out; hands each file's flows to `check`.
/// All packets and bytes are in them, as the interface counted.
#[track_caller]
fn captured(frames: &[Frame], check: impl Fn(&[Value])) {
    let frames: Vec<Vec<u8>> = frames.iter().map(Frame::build).collect();
    captured_bytes(&frames, check);
}

#[track_caller]
fn captured_bytes(frames: &[Vec<u8>], check: impl Fn(&[Value])) {
    for direction in [0, 1] {
        let pair = Pair::silent();
        let capture = LocalCapture::of(&pair.right, pair.captured(), &[]);
        let start = pair.counters();
        let (ns, end) = if direction == 0 { (&pair.left, &pair.veth.a) } else { (&pair.right, &pair.veth.b) };
        let sent = Sender::new(ns, &end.name).send(frames);
        let counted = pair.counters().since(&start);
        assert_eq!(counted.rx_packets + counted.tx_packets, sent.packets, "all frames passed the interface");
        let flows = capture.stop().files().flows();
        let seen = sum(&flows, |flow| flow["IfDirections"] == json!([direction]));
        let expected = Sum { packets: sent.packets, bytes: sent.bytes };
        assert_eq!(seen, expected, "direction {direction}: all is accounted: {flows:#?}");
        check(&flows);
    }
}

/// The only flow with these source and destination ports.
#[track_caller]
fn ports(flows: &[Value], src: u16, dst: u16) -> &Value {
    only(flows, |flow| flow["SrcPort"] == src && flow["DstPort"] == dst)
}

#[track_caller]
fn only(flows: &[Value], wanted: impl Fn(&Value) -> bool) -> &Value {
    let mut found = flows.iter().filter(|flow| wanted(flow));
    let first = found.next().unwrap_or_else(|| panic!("no such flow in {flows:#?}"));
    assert!(found.next().is_none(), "more than one such flow in {flows:#?}");
    first
}

#[track_caller]
fn assert_fields(flow: &Value, fields: &[(&str, Value)]) {
    for (name, value) in fields {
        assert_eq!(&flow[name], value, "{name} of {flow:#}");
    }
}

#[test]
fn ipv4() {
    require_privileged!();
    let frames = [
        frame4().dscp(46).udp(1001, 2001).payload(10),
        frame4().options(&[7, 7, 4, 0, 0, 0, 0, 1]).udp(1002, 2002).payload(10),
        frame4().options(&[1; 40]).tcp(1003, 2003, ACK),
        frame4().sctp(1004, 2004).payload(30),
        frame4().icmp(3, 13).payload(28),
        frame4().protocol(proto::GRE).payload(40),
    ];
    captured(&frames, |flows| {
        assert_eq!(flows.len(), frames.len());
        let addresses = [
            ("SrcAddr", json!("10.7.0.1")),
            ("DstAddr", json!("10.7.0.2")),
            ("SrcMac", json!(mac_text(SRC))),
            ("DstMac", json!(mac_text(DST))),
            ("Etype", json!(0x0800)),
            ("Packets", json!(1)),
        ];
        flows.iter().for_each(|flow| assert_fields(flow, &addresses));
        assert_fields(ports(flows, 1001, 2001), &[("Proto", json!(17)), ("Dscp", json!(46)), ("Bytes", json!(52))]);
        assert_fields(ports(flows, 1002, 2002), &[("Proto", json!(17)), ("Dscp", json!(0)), ("Bytes", json!(60))]);
        assert_fields(ports(flows, 1003, 2003), &[("Proto", json!(6)), ("Flags", json!(ACK))]);
        assert_fields(ports(flows, 1004, 2004), &[("Proto", json!(132))]);
        let icmp = only(flows, |flow| flow["Proto"] == proto::ICMP);
        assert_fields(icmp, &[("IcmpType", json!(3)), ("IcmpCode", json!(13)), ("SrcPort", Value::Null)]);
        let other = only(flows, |flow| flow["Proto"] == proto::GRE);
        assert_fields(other, &[("SrcPort", Value::Null), ("IcmpType", Value::Null), ("Bytes", json!(74))]);
    });
}

#[test]
fn ipv6() {
    require_privileged!();
    let (hop_by_hop, routing, destination) = (0, 43, 60);
    let frames = [
        frame6().dscp(10).udp(1001, 2001).payload(10),
        frame6().extension(hop_by_hop, &[1, 4, 0, 0, 0, 0]).udp(1002, 2002),
        frame6()
            .extension(hop_by_hop, &[1, 4, 0, 0, 0, 0])
            .extension(destination, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .extension(routing, &[4, 0, 0, 0, 0, 0])
            .tcp(1003, 2003, SYN),
        frame6().sctp(1004, 2004).payload(30),
        frame6().icmp(128, 0).payload(28),
        frame6().protocol(59),
    ];
    captured(&frames, |flows| {
        assert_eq!(flows.len(), frames.len());
        let addresses = [
            ("SrcAddr", json!("fd07::1")),
            ("DstAddr", json!("fd07::2")),
            ("SrcMac", json!(mac_text(SRC))),
            ("DstMac", json!(mac_text(DST))),
            ("Etype", json!(0x86dd)),
            ("Packets", json!(1)),
        ];
        flows.iter().for_each(|flow| assert_fields(flow, &addresses));
        assert_fields(ports(flows, 1001, 2001), &[("Proto", json!(17)), ("Dscp", json!(10)), ("Bytes", json!(72))]);
        assert_fields(ports(flows, 1002, 2002), &[("Proto", json!(17)), ("Dscp", json!(0))]);
        assert_fields(ports(flows, 1003, 2003), &[("Proto", json!(6)), ("Flags", json!(SYN))]);
        assert_fields(ports(flows, 1004, 2004), &[("Proto", json!(132))]);
        let icmp = only(flows, |flow| flow["Proto"] == proto::ICMPV6);
        assert_fields(icmp, &[("IcmpType", json!(128)), ("IcmpCode", json!(0)), ("SrcPort", Value::Null)]);
        only(flows, |flow| flow["Proto"] == 59);
    });
}

#[test]
fn vlan_tags() {
    require_privileged!();
    let (customer, service) = (0x8100, 0x88a8);
    let frames = [
        frame4().vlan(customer, 5).udp(1001, 2001).payload(20),
        frame6().vlan(customer, 5).udp(1002, 2002).payload(20),
        frame4().vlan(service, 7).vlan(customer, 5).udp(1003, 2003).payload(20),
        frame6().vlan(service, 7).vlan(customer, 5).tcp(1004, 2004, SYN),
        frame().vlan(customer, 5).other(0x88b5, &[0; 46]),
    ];
    captured(&frames, |flows| {
        assert_eq!(flows.len(), frames.len());
        assert_fields(ports(flows, 1001, 2001), &[("SrcAddr", json!("10.7.0.1")), ("Etype", json!(0x0800))]);
        assert_fields(ports(flows, 1002, 2002), &[("SrcAddr", json!("fd07::1")), ("Etype", json!(0x86dd))]);
        assert_fields(ports(flows, 1003, 2003), &[("SrcAddr", json!("10.7.0.1")), ("Proto", json!(17))]);
        assert_fields(ports(flows, 1004, 2004), &[("SrcAddr", json!("fd07::1")), ("Flags", json!(SYN))]);
        only(flows, |flow| flow["Etype"] == 0x88b5);
    });
}

#[test]
fn fragments() {
    require_privileged!();
    let train = |frame: Frame, id, ports: (u16, u16)| {
        let [first, middle, last] = [(0, true), (64, true), (128, false)].map(|(at, more)| {
            frame.clone().fragment(id, at, more).udp(ports.0, ports.1).payload(if at == 0 { 56 } else { 64 })
        });
        [first, middle, last]
    };
    let mut frames: Vec<Frame> = Vec::new();
    frames.extend(train(frame4(), 71, (1001, 2001)));
    frames.extend(train(frame6(), 72, (1002, 2002)));
    // Two packets under way at once, told apart by their identification.
    let (one, two) = (train(frame4(), 73, (1003, 2003)), train(frame4(), 74, (1004, 2004)));
    frames.extend(one.into_iter().zip(two).flat_map(<[Frame; 2]>::from));
    // Later fragments whose first one was never seen.
    frames.push(frame4().fragment(75, 64, false).udp(1005, 2005).payload(64));
    frames.push(frame6().fragment(76, 64, false).udp(1006, 2006).payload(64));
    captured(&frames, |flows| {
        for (src, dst) in [(1001, 2001), (1002, 2002), (1003, 2003), (1004, 2004)] {
            assert_fields(ports(flows, src, dst), &[("Packets", json!(3)), ("Proto", json!(17))]);
        }
        for src in ["10.7.0.1", "fd07::1"] {
            let port = |flow: &Value, name: &str| flow[name].as_u64().unwrap_or(0);
            let lone = only(flows, |flow| flow["SrcAddr"] == src && port(flow, "SrcPort") == 0);
            assert_eq!(port(lone, "DstPort"), 0);
            assert_fields(lone, &[("Packets", json!(1)), ("Proto", json!(17))]);
        }
    });
}

#[test]
fn tcp_flags() {
    require_privileged!();
    let frames = [
        frame4().tcp(1001, 2001, SYN),
        frame4().tcp(1002, 2002, SYN | ACK),
        frame4().tcp(1003, 2003, FIN | ACK),
        frame4().tcp(1004, 2004, RST | ACK),
        frame4().tcp(1005, 2005, SYN),
        frame4().tcp(1005, 2005, ACK),
        frame4().tcp(1005, 2005, PSH | ACK),
        frame4().tcp(1005, 2005, FIN | PSH | ACK),
        frame6().tcp(1006, 2006, URG),
        frame6().tcp(1006, 2006, RST),
        frame4().tcp(1007, 2007, 0),
    ];
    captured(&frames, |flows| {
        let flags = |src, dst| ports(flows, src, dst)["Flags"].as_u64();
        assert_eq!(flags(1001, 2001), Some(u64::from(SYN)));
        assert_eq!(flags(1002, 2002), Some(u64::from(SYN | ACK) | SYN_ACK));
        assert_eq!(flags(1003, 2003), Some(u64::from(FIN | ACK) | FIN_ACK));
        assert_eq!(flags(1004, 2004), Some(u64::from(RST | ACK) | RST_ACK));
        assert_eq!(flags(1005, 2005), Some(u64::from(SYN | FIN | PSH | ACK) | FIN_ACK), "no packet had SYN and ACK");
        assert_eq!(flags(1006, 2006), Some(u64::from(URG | RST)), "no packet had RST and ACK");
        assert_eq!(flags(1007, 2007), Some(0), "TCP always has flags");
    });
}

#[test]
fn frames_without_ip() {
    require_privileged!();
    let other = [2, 0, 0, 0, 1, 3];
    let frames = [
        frame().other(0x0806, &[0; 28]),
        frame().other(0x88b5, &[0; 46]),
        frame().other(0x88b5, &[1; 60]),
        Frame::new(SRC, other).other(0x88b5, &[0; 46]),
    ];
    captured(&frames, |flows| {
        let flow = |etype: u16, dst| only(flows, |flow| flow["Etype"] == etype && flow["DstMac"] == mac_text(dst));
        assert_fields(flow(0x0806, DST), &[("Packets", json!(1)), ("Bytes", json!(42))]);
        assert_fields(flow(0x88b5, DST), &[("Packets", json!(2)), ("Bytes", json!(60 + 74))]);
        assert_fields(flow(0x88b5, other), &[("Packets", json!(1)), ("Bytes", json!(60))]);
        for flow in flows {
            assert_eq!(flow["SrcMac"], mac_text(SRC));
            let absent = ["SrcAddr", "DstAddr", "Proto", "SrcPort", "DstPort", "Dscp", "Flags", "IcmpType"];
            assert_fields(flow, &absent.map(|name| (name, Value::Null)));
        }
    });
}

/// Headers that end too early or go on too long: nothing to read, but still packets on the wire.
#[test]
fn broken_frames_are_counted() {
    require_privileged!();
    let cut = |frame: Frame, len: usize| frame.build()[..len].to_vec();
    let mut short_header = frame4().udp(1, 2).build();
    short_header[14] = 0x42;
    let mut long_header = frame4().udp(1, 2).build();
    long_header[14] = 0x4f;
    let endless = (0..30).fold(frame6(), |frame, _| frame.extension(60, &[1, 4, 0, 0, 0, 0]));
    let frames = [
        cut(frame4().udp(1, 2), 14),
        cut(frame4().udp(1, 2), 24),
        cut(frame4().udp(1, 2), 36),
        cut(frame4().tcp(1, 2, SYN), 40),
        cut(frame4().icmp(8, 0), 34),
        cut(frame6().udp(1, 2), 30),
        cut(frame6().udp(1, 2), 56),
        cut(frame6().extension(60, &[0; 6]).udp(1, 2), 55),
        cut(frame4().vlan(0x8100, 5).udp(1, 2), 20),
        short_header,
        long_header,
        endless.udp(1, 2).build(),
    ];
    captured_bytes(&frames, |_| {});
}

/// Bytes before the payload of a segment: Ethernet, IPv4, TCP with timestamps.
const HEADERS: u64 = 14 + 20 + 32;

/// With segmentation offload the kernel hands over super-packets: their segments are counted, each with its headers.
#[test]
fn super_packets_count_their_segments() {
    require_privileged!();
    let pair = Pair::addressed();
    bulk_tcp(&pair, 1_000_000);
    let (plain, before) = (pair.counters(), [segments_sent(&pair.left), segments_sent(&pair.right)]);
    assert_eq!(before, [plain.rx_packets, plain.tx_packets], "the yardstick, where segments are packets");
    set_offloads(&pair.left, &pair.veth.a.name, true);
    set_offloads(&pair.right, &pair.veth.b.name, true);
    let capture = LocalCapture::of(&pair.right, pair.captured(), &[]);
    let start = pair.counters();
    bulk_tcp(&pair, 20_000_000);
    let counted = pair.counters().since(&start);
    let flows = capture.stop().files().flows();
    let from = |address: &str| sum(&flows, |flow| flow["SrcAddr"] == address);
    let (sent, answered) = (segments_sent(&pair.left) - before[0], segments_sent(&pair.right) - before[1]);
    assert!(counted.rx_packets < sent, "the interface counted {} super-packets of {sent} segments", counted.rx_packets);
    assert_eq!(from(Pair::LEFT).packets, sent, "segments from the left");
    assert_eq!(from(Pair::RIGHT).packets, answered, "segments from the right");
    assert_eq!(from(Pair::LEFT).bytes, counted.rx_bytes + (sent - counted.rx_packets) * HEADERS);
    assert_eq!(from(Pair::RIGHT).bytes, counted.tx_bytes + (answered - counted.tx_packets) * HEADERS);
}

/// Sends this many bytes from left to right over one TCP connection, and waits until both ends are closed.
fn bulk_tcp(pair: &Pair, bytes: usize) {
    let listener = pair.right.enter(|| TcpListener::bind((Pair::RIGHT, 5000))).expect("listen");
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.read_to_end(&mut Vec::new()).expect("all of it")
        });
        let mut stream = pair.left.enter(|| TcpStream::connect((Pair::RIGHT, 5000))).expect("connect");
        stream.write_all(&vec![7; bytes]).expect("all of it");
        drop(stream);
        assert_eq!(receiver.join().expect("the receiver"), bytes);
    });
    let open = |ns: &Netns| {
        let table = ns.run("cat").arg("/proc/net/tcp").output();
        // Field 4 is the state: 06 is TIME_WAIT, in which nothing more is sent.
        table.lines().skip(1).filter(|line| line.split_whitespace().nth(3) != Some("06")).count()
    };
    let closed = || open(&pair.left) == 0 && open(&pair.right) == 0;
    assert!(netobserv_testkit::wait_for(std::time::Duration::from_secs(10), closed), "the connection never closed");
}

/// TCP segments that a namespace sent: OutSegs (RFC 4022) counts what segmentation makes of a super-packet, and
/// Linux counts those that it sends again apart, in RetransSegs.
fn segments_sent(ns: &Netns) -> u64 {
    let snmp = ns.run("cat").arg("/proc/net/snmp").output();
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let pairs = names.split_whitespace().zip(values.split_whitespace());
    let wanted = pairs.filter(|(name, _)| ["OutSegs", "RetransSegs"].contains(name));
    wanted.map(|(_, value)| value.parse::<u64>().expect("a number")).sum()
}
