//! Links without an Ethernet header, and what super-packets come to on a wire where there are none.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use netobserv_testkit::capture::{Sum, sum};
use netobserv_testkit::ethtool::set_offloads;
use netobserv_testkit::socket::segment_datagrams;
use netobserv_testkit::tun::{Segmentation, link_type};
use netobserv_testkit::{Frame, LocalCapture, Netns, Run, Tun, Veth, link_counters, require_privileged, wait_for};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const HERE: &str = "10.8.0.1";
const THERE: &str = "10.8.0.2";

/// An IP packet: a frame without its Ethernet header.
fn packet(frame: &Frame) -> Vec<u8> {
    frame.build()[14..].to_vec()
}

fn ipv4() -> Frame {
    Frame::new([0; 6], [0; 6]).ipv4(THERE, HERE)
}

fn ipv6() -> Frame {
    Frame::new([0; 6], [0; 6]).ipv6("fd08::2", "fd08::1")
}

fn lone_namespace() -> Netns {
    let ns = Netns::new("tun");
    ns.no_ipv6();
    ns
}

#[test]
fn tunnels_and_modems_have_flows() {
    require_privileged!();
    use link_type::{GRE, NONE, PPP, RAW_IP, SIT, TUNNEL};
    for kind in [NONE, TUNNEL, GRE, SIT, PPP, RAW_IP] {
        let ns = lone_namespace();
        let mut tun = Tun::new(&ns, kind, &["10.8.0.1/24"]);
        let capture = LocalCapture::of(&ns, &tun.name, &[]);
        let start = link_counters(&ns, &tun.name);
        let received = [
            packet(&ipv4().dscp(46).udp(1001, 2001).payload(100)),
            packet(&ipv4().options(&[1; 8]).tcp(1002, 2002, 0x12)),
            packet(&ipv4().icmp(8, 0)),
            packet(&ipv6().udp(1003, 2003).payload(7)),
            packet(&ipv6().extension(60, &[1, 4, 0, 0, 0, 0]).tcp(1004, 2004, 2)),
        ];
        received.iter().for_each(|packet| tun.send(packet));
        ns.enter(|| {
            let socket = UdpSocket::bind((HERE, 3001)).expect("a socket");
            for _ in 0..3 {
                socket.send_to(&[7; 50], (THERE, 3002)).expect("sent");
            }
        });
        let counted = link_counters(&ns, &tun.name).since(&start);
        let flows = capture.stop().files().flows();
        let received_flows = sum(&flows, |flow| flow["IfDirections"] == json!([0]));
        let bytes = received.iter().map(|packet| packet.len() as u64).sum();
        assert_eq!((counted.rx_packets, counted.rx_bytes), (5, bytes), "the yardstick, link type {kind}");
        assert_eq!(received_flows, Sum { packets: 5, bytes }, "link type {kind}: {flows:#?}");
        let out = sum(&flows, |flow| flow["SrcPort"] == 3001);
        assert_eq!(out, Sum { packets: 3, bytes: 3 * (28 + 50) }, "link type {kind}: {flows:#?}");
        let flow = |src: u16| flows.iter().find(|flow| flow["SrcPort"] == src).unwrap_or(&Value::Null);
        for (src, name, value) in [
            (1001, "SrcAddr", json!(THERE)),
            (1001, "Etype", json!(0x0800)),
            (1001, "Bytes", json!(128)),
            (1001, "Dscp", json!(46)),
            (1002, "Flags", json!(0x112)),
            (1003, "DstAddr", json!("fd08::1")),
            (1004, "Proto", json!(6)),
            (3001, "Packets", json!(3)),
            (3001, "DstPort", json!(3002)),
        ] {
            assert_eq!(flow(src)[name], value, "{name} of the flow from port {src}, link type {kind}: {flows:#?}");
        }
    }
}

/// One file has packets of both kinds of links: those without an Ethernet header get one that is made up.
#[test]
fn packets_of_tunnels_are_read_by_wireshark() {
    require_privileged!();
    let ns = lone_namespace();
    let mut tun = Tun::new(&ns, link_type::NONE, &["10.8.0.1/24"]);
    let veth = Veth::new(&ns, &["10.9.0.1/24"], &ns, &[]);
    let capture = LocalCapture::packets_at(&[(&ns, &tun.name), (&ns, &veth.a.name)], &["--all"]);
    tun.send(&packet(&ipv4().udp(51001, 52001).payload(10)));
    tun.send(&packet(&ipv6().tcp(51002, 52002, 2)));
    netobserv_testkit::Sender::new(&ns, &veth.a.name).send(&[ipv4().udp(51003, 2003).payload(10).build()]);
    let ended = capture.stop();
    let file = ended.packets();
    let fields = ["frame.protocols", "ip.src", "ipv6.src", "udp.srcport", "tcp.srcport", "eth.src", "frame.len"];
    let fields = fields.iter().flat_map(|field| ["-e", *field]);
    let read = Run::new("tshark").arg("-r").arg(&file).args(["-n", "-T", "fields", "-E", "separator=;"]).args(fields);
    let rows = read.output();
    for row in [
        "eth:ethertype:ip:udp:data;10.8.0.2;;51001;;00:00:00:00:00:00;52",
        "eth:ethertype:ipv6:tcp;;fd08::2;;51002;00:00:00:00:00:00;74",
        "eth:ethertype:ip:udp:data;10.8.0.2;;51003;;00:00:00:00:00:00;52",
    ] {
        assert!(rows.lines().any(|line| line == row), "no {row} in\n{rows}");
    }
}

#[test]
fn a_link_that_cannot_be_read_is_named_with_the_reason() {
    require_privileged!();
    let ns = lone_namespace();
    let tun = Tun::new(&ns, link_type::CAN, &[]);
    let ended = LocalCapture::start(&[&format!("--interfaces={}", tun.name)]).ended();
    let said = ended.finished.stderr.as_str();
    assert_eq!(ended.finished.code(), 1, "{}", ended.finished);
    assert!(said.contains("frames of its link type (number 280 in linux/if_arp.h) cannot be read"), "{said}");
    assert!(said.contains(&tun.name) && !said.contains("unknown interface"), "{said}");
}

/// What a virtual machine sends is segmented by the host: nothing says yet how many segments there are.
#[test]
fn segments_that_are_not_counted_yet_are_counted() {
    require_privileged!();
    let ns = lone_namespace();
    let mut tun = Tun::new(&ns, link_type::NONE, &["10.8.0.1/24"]);
    let capture = LocalCapture::of(&ns, &tun.name, &[]);
    let segments = packet(&ipv4().tcp(1001, 2001, 0x10).payload(4_500));
    tun.send_segments(&segments, Segmentation { headers: 40, transport: 20, size: 1_000 });
    let flows = capture.stop().files().flows();
    let seen = sum(&flows, |flow| flow["SrcPort"] == 1001);
    assert_eq!(seen, Sum { packets: 5, bytes: 4_500 + 5 * 40 }, "{flows:#?}");
}

/// Three namespaces in a row. Offloads are on up to the second one and off behind it, so that the last interface counts frames
/// as they are on a wire.
struct Row {
    near: Netns,
    middle: Netns,
    far: Netns,
    first: Veth,
    second: Veth,
}

const NEAR: &str = "10.0.0.1";
const FAR: &str = "10.1.0.2";

impl Row {
    fn new() -> Self {
        let [near, middle, far] = ["near", "middle", "far"].map(Netns::new);
        [&near, &middle, &far].into_iter().for_each(Netns::no_ipv6);
        let first = Veth::with_neighbours(&near, &["10.0.0.1/24"], &middle, &["10.0.0.2/24"]);
        let second = Veth::with_neighbours(&middle, &["10.1.0.1/24"], &far, &["10.1.0.2/24"]);
        set_offloads(&near, &first.a.name, true);
        set_offloads(&middle, &first.b.name, true);
        middle.sysctl("ipv4/ip_forward", "1");
        near.ip("route add 10.1.0.0/24 via 10.0.0.2");
        far.ip("route add 10.0.0.0/24 via 10.1.0.1");
        // A network in VXLAN between the two ends.
        for (ns, remote, own, device) in
            [(&near, FAR, "10.9.0.1/24", &first.a.name), (&far, NEAR, "10.9.0.2/24", &second.b.name)]
        {
            ns.ip(&format!("link add vx type vxlan id 7 remote {remote} dstport 4789 dev {device}"));
            ns.ip(&format!("address add {own} dev vx"));
            ns.ip("link set vx up");
        }
        Self { near, middle, far, first, second }
    }

    /// TCP to this address, and UDP of which the kernel makes three datagrams each time.
    fn traffic(&self, to: &str) {
        let listener = self.far.enter(|| TcpListener::bind((to, 5000))).expect("listen");
        std::thread::scope(|scope| {
            let receiver = scope.spawn(move || {
                let (mut stream, _) = listener.accept().expect("a connection");
                stream.read_to_end(&mut Vec::new()).expect("all of it")
            });
            let mut stream = self.near.enter(|| TcpStream::connect((to, 5000))).expect("connect");
            stream.write_all(&vec![7; 5_000_000]).expect("all of it");
            drop(stream);
            assert_eq!(receiver.join().expect("the receiver"), 5_000_000);
        });
        let _open = self.far.enter(|| UdpSocket::bind((to, 5001))).expect("a socket");
        let socket = self.near.enter(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket");
        segment_datagrams(&socket, 1_000);
        for _ in 0..20 {
            socket.send_to(&[7; 2_500], (to, 5001)).expect("sent");
        }
        let closed = || [&self.near, &self.far].into_iter().all(|ns| open_connections(ns) == 0);
        assert!(wait_for(SOON, closed), "the connection never closed");
    }
}

fn open_connections(ns: &Netns) -> usize {
    let table = ns.run("cat").arg("/proc/net/tcp").output();
    // Field 4 is the state: 06 is TIME_WAIT, in which nothing more is sent.
    table.lines().skip(1).filter(|line| line.split_whitespace().nth(3) != Some("06")).count()
}

/// Wherever super-packets are seen, packets and bytes are those that the far end counts one by one; in a tunnel too.
#[test]
fn super_packets_count_what_the_far_end_counts() {
    require_privileged!();
    let row = Row::new();
    for to in [FAR, "10.9.0.2"] {
        for (ns, interface) in [(&row.near, &row.first.a.name), (&row.middle, &row.first.b.name)] {
            let capture = LocalCapture::of(ns, interface, &[]);
            let (start, start_here) = (link_counters(&row.far, &row.second.b.name), link_counters(ns, interface));
            row.traffic(to);
            let far = link_counters(&row.far, &row.second.b.name).since(&start);
            let here = link_counters(ns, interface).since(&start_here);
            let flows = capture.stop().files().flows();
            let from = |address: &str| sum(&flows, |flow| flow["SrcAddr"] == address);
            let fewer = here.rx_packets.max(here.tx_packets);
            assert!(fewer < far.rx_packets, "the interface counts {fewer} super-packets, the far end {far:?}");
            assert_eq!(from(NEAR), Sum { packets: far.rx_packets, bytes: far.rx_bytes }, "to {to}, at {interface}");
            assert_eq!(from(FAR), Sum { packets: far.tx_packets, bytes: far.tx_bytes }, "from {to}, at {interface}");
        }
    }
}
