//! Drops that are caused for real, each told with the cause that the kernel's own trace shows for the same packets.

use std::io::ErrorKind;
use std::net::{TcpStream, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netobserv_testkit::session::command;
use netobserv_testkit::socket::smallest_buffer;
use netobserv_testkit::{Blast, Frame, LocalCapture, Netns, Pair, Sender, Trace, Veth, require_privileged, wait_for};
use serde_json::Value;

/// Packets of a scenario, unless it says otherwise. No other test drops so many for one cause in a blink.
const PACKETS: u64 = 23;

/// The hook sees the whole machine: one test at a time, so that what finds no room is of the test that looks.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cause of drops, and what is to be told of it.
struct Scenario {
    title: &'static str,
    /// The flow: its addresses and destination port.
    flow: (&'static str, &'static str, u16),
    /// The cause, without `SKB_DROP_REASON_`.
    cause: &'static str,
    /// Whether packets of the flow were seen at the interface.
    seen: bool,
    state: &'static str,
}

/// One wire, captured on the right.
struct World {
    pair: Pair,
    trace: Trace,
}

impl World {
    /// Does something, and expects the kernel to say that it dropped `PACKETS` packets for `cause`.
    #[track_caller]
    fn drops(&self, cause: &str, what: impl FnOnce(&Pair)) {
        self.trace.clear();
        what(&self.pair);
        let reason = format!("reason: {cause}");
        let count = || self.trace.lines().iter().filter(|line| line.trim_end().ends_with(&reason)).count() as u64;
        let came = wait_for(Duration::from_secs(10), || count() >= PACKETS);
        assert!(came, "{cause}: {} of {PACKETS}\n{:#?}", count(), self.trace.lines());
    }
}

/// Sends datagrams of 100 bytes; a firewall may refuse them to our face.
fn datagrams(ns: &Netns, to: &str, port: u16, count: u64, ttl: Option<u32>) {
    let socket = ns.enter(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket");
    if let Some(ttl) = ttl {
        socket.set_ttl(ttl).expect("a time to live");
    }
    for _ in 0..count {
        match socket.send_to(&[0; 100], (to, port)) {
            Ok(_) => {}
            // What an ICMP error to the packet before left, or the firewall's answer.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied) => {}
            Err(error) => panic!("{to}:{port}: {error}"),
        }
    }
}

fn nft(ns: &Netns, chain: &str, rule: &str) {
    let script = format!(
        "add table inet t; add chain inet t {chain} {{ type filter hook {chain} priority 0; }}; add rule inet t {chain} {rule} drop"
    );
    ns.run("nft").arg(script).output();
}

/// The same frame with its last byte changed, which no checksum of it fits.
fn spoilt(frame: &Frame) -> Vec<Vec<u8>> {
    let mut bytes = frame.build();
    *bytes.last_mut().expect("a byte") ^= 0xff;
    vec![bytes; PACKETS as usize]
}

const LEFT: &str = Pair::LEFT;
const RIGHT: &str = Pair::RIGHT;
/// Beyond the right end, which is a router.
const FAR: &str = "10.99.0.1";

const SCENARIOS: [Scenario; 8] = [
    Scenario { title: "firewall in", flow: (LEFT, RIGHT, 7001), cause: "NETFILTER_DROP", seen: true, state: NONE },
    Scenario { title: "firewall out", flow: (RIGHT, LEFT, 7002), cause: "NETFILTER_DROP", seen: false, state: CLOSE },
    Scenario { title: "no listener, UDP", flow: (LEFT, RIGHT, 7003), cause: "NO_SOCKET", seen: true, state: NONE },
    Scenario { title: "no listener, TCP", flow: (LEFT, RIGHT, 7004), cause: "NO_SOCKET", seen: true, state: NONE },
    Scenario { title: "full socket", flow: (LEFT, RIGHT, 7005), cause: "SOCKET_RCVBUFF", seen: true, state: CLOSE },
    Scenario { title: "TTL expired", flow: (LEFT, FAR, 7006), cause: "IP_INHDR", seen: true, state: NONE },
    Scenario { title: "bad UDP checksum", flow: (LEFT, RIGHT, 7007), cause: "UDP_CSUM", seen: true, state: NONE },
    Scenario { title: "bad TCP checksum", flow: (LEFT, RIGHT, 7008), cause: "TCP_CSUM", seen: true, state: NONE },
];
/// The kernel names no socket.
const NONE: &str = "TCP_INVALID_STATE";
/// A socket of UDP is never in another state.
const CLOSE: &str = "TCP_CLOSE";

/// Causes all drops, in the order of the scenarios.
fn cause_all(world: &World) {
    let Pair { right, veth, .. } = &world.pair;
    nft(right, "input", "udp dport 7001");
    nft(right, "output", "udp dport 7002");
    // Answers are limited to a few a second; the packets are dropped before that is asked.
    world.drops(SCENARIOS[0].cause, |pair| datagrams(&pair.left, RIGHT, 7001, PACKETS, None));
    world.drops(SCENARIOS[1].cause, |pair| datagrams(&pair.right, LEFT, 7002, PACKETS, None));
    world.drops(SCENARIOS[2].cause, |pair| datagrams(&pair.left, RIGHT, 7003, PACKETS, None));
    world.drops(SCENARIOS[3].cause, |pair| {
        for _ in 0..PACKETS {
            let refused = pair.left.enter(|| TcpStream::connect((RIGHT, 7004))).expect_err("no listener");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
    });
    let full = right.enter(|| UdpSocket::bind((RIGHT, 7005))).expect("a socket");
    smallest_buffer(&full);
    world.drops(SCENARIOS[4].cause, |pair| datagrams(&pair.left, RIGHT, 7005, 200, None));
    right.sysctl("ipv4/ip_forward", "1");
    world.pair.left.ip(&format!("route add {FAR}/32 via {RIGHT}"));
    right.ip(&format!("route add {FAR}/32 via {LEFT}"));
    world.drops(SCENARIOS[5].cause, |pair| datagrams(&pair.left, FAR, 7006, PACKETS, Some(1)));
    let _listener = right.enter(|| UdpSocket::bind((RIGHT, 7007))).expect("a socket");
    let sender = Sender::new(&world.pair.left, &veth.a.name);
    let send = |frame: &Frame| assert_eq!(sender.send(&spoilt(frame)).packets, PACKETS);
    let frame = || Frame::new(veth.a.mac, veth.b.mac).ipv4(LEFT, RIGHT);
    world.drops(SCENARIOS[6].cause, |_| send(&frame().udp(5000, 7007).payload(64)));
    world.drops(SCENARIOS[7].cause, |_| send(&frame().tcp(5000, 7008, 2).payload(64)));
}

/// A number of all records of a flow.
fn total(records: &[&Value], field: &str) -> u64 {
    records.iter().filter_map(|record| record[field].as_u64()).sum()
}

#[track_caller]
fn check(scenario: &Scenario, flows: &[Value]) {
    let (src, dst, port) = scenario.flow;
    let of_flow = |flow: &&Value| flow["SrcAddr"] == src && flow["DstAddr"] == dst && flow["DstPort"] == port;
    let records: Vec<&Value> = flows.iter().filter(of_flow).collect();
    let dropped: Vec<&Value> = records.iter().filter(|flow| flow.get("PktDropPackets").is_some()).copied().collect();
    let title = scenario.title;
    assert!(!dropped.is_empty(), "{title}: {records:#?}");
    let name = format!("SKB_DROP_REASON_{}", scenario.cause);
    for flow in &dropped {
        assert_eq!(flow["PktDropLatestDropCause"], name.as_str(), "{title}: {flow}");
        assert_eq!(flow["PktDropLatestState"], scenario.state, "{title}: {flow}");
        let causes = flow["PktDropCauses"].as_array().expect("a list");
        assert_eq!(causes.len(), 1, "{title}: {flow}");
        assert_eq!(causes[0]["Cause"], name.as_str(), "{title}: {flow}");
        assert_eq!((&causes[0]["Packets"], &causes[0]["Bytes"]), (&flow["PktDropPackets"], &flow["PktDropBytes"]));
    }
    let (packets, bytes) = (total(&records, "Packets"), total(&records, "Bytes"));
    let (lost, lost_bytes) = (total(&dropped, "PktDropPackets"), total(&dropped, "PktDropBytes"));
    println!("{title}: {lost} of {packets} packets, {lost_bytes} of {bytes} bytes: {name}");
    if scenario.cause == "SOCKET_RCVBUFF" {
        assert!(lost >= PACKETS && lost < packets && packets == 200, "{title}: {lost} of {packets}");
        assert_eq!(lost_bytes, lost * 142, "{title}");
        return;
    }
    assert_eq!(lost, PACKETS, "{title}");
    if scenario.seen {
        assert_eq!((packets, bytes), (lost, lost_bytes), "{title}: all that was seen, to the byte");
        assert!(dropped.iter().all(|flow| flow.get("Packets").is_some()), "{title}: joined: {dropped:#?}");
    } else {
        assert_eq!(packets, 0, "{title}");
        assert_eq!(lost_bytes, lost * 142, "{title}: 128 bytes of IP behind 14 of Ethernet");
    }
    if scenario.title.ends_with("TCP") {
        assert!(dropped.iter().all(|flow| flow["PktDropLatestFlags"] == 2), "SYN: {dropped:#?}");
    }
}

#[test]
fn each_drop_has_the_cause_that_the_kernel_tells() {
    require_privileged!();
    let _alone = alone();
    let world = World { pair: Pair::addressed(), trace: Trace::start("skb/kfree_skb") };
    let capture = LocalCapture::of(&world.pair.right, world.pair.captured(), &["--enable_pkt_drop"]);
    cause_all(&world);
    let flows = capture.stop().files().flows();
    for scenario in &SCENARIOS {
        check(scenario, &flows);
    }
}

/// IPv6, and each TCP connection a flow of its own.
#[test]
fn drops_of_ipv6_join_their_flows() {
    require_privileged!();
    let _alone = alone();
    let [left, right] = ["left", "right"].map(Netns::new);
    let veth = Veth::with_neighbours(&left, &["fd09::1/64"], &right, &["fd09::2/64"]);
    let capture = LocalCapture::of(&right, &veth.b.name, &["--enable_pktdrop"]);
    let socket = left.enter(|| UdpSocket::bind("[::]:0")).expect("a socket");
    for _ in 0..PACKETS {
        let _ = socket.send_to(&[0; 100], "[fd09::2]:7003");
    }
    let _ = left.enter(|| TcpStream::connect("[fd09::2]:7004")).expect_err("no listener");
    let flows = capture.stop().files().flows();
    for (port, packets) in [(7003, PACKETS), (7004, 1)] {
        let records: Vec<&Value> = flows.iter().filter(|flow| flow["DstPort"] == port).collect();
        assert_eq!(total(&records, "PktDropPackets"), packets, "{records:#?}");
        assert_eq!(total(&records, "PktDropBytes"), total(&records, "Bytes"), "{records:#?}");
        assert_eq!(records[0]["PktDropLatestDropCause"], "SKB_DROP_REASON_NO_SOCKET");
    }
}

/// The hook sees all namespaces; the capture tells of its own interfaces only.
#[test]
fn drops_elsewhere_are_not_told() {
    require_privileged!();
    let _alone = alone();
    let (mine, other) = (Pair::addressed(), ["near", "far"].map(Netns::new));
    let [near, far] = &other;
    Veth::with_neighbours(near, &["10.44.0.1/24"], far, &["10.44.0.2/24"]);
    let capture = LocalCapture::of(&mine.right, mine.captured(), &["--enable_pkt_drop"]);
    datagrams(near, "10.44.0.2", 7003, PACKETS, None);
    datagrams(&mine.left, RIGHT, 7003, PACKETS, None);
    let ended = capture.stop();
    let files = ended.files();
    assert_eq!(files.number("SELECT count(*) FROM flow WHERE SrcAddr LIKE '10.44.%' OR DstAddr LIKE '10.44.%'"), 0);
    assert_eq!(files.number("SELECT sum(PktDropPackets) FROM flow WHERE DstPort = 7003"), PACKETS);
    let causes = "SELECT count(*) FROM flow, json_each(PktDropCauses) WHERE json_extract(value, '$.Packets') > 0";
    assert!(files.number(causes) > 0, "causes in SQLite");
}

/// More than 65,535 packets in one window, where the original's count ends.
#[test]
fn counts_do_not_saturate() {
    require_privileged!();
    let _alone = alone();
    const MANY: u32 = 100_000;
    let pair = Pair::addressed();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &["--enable_pkt_drop"]);
    nft(&pair.right, "input", "udp dport != 1");
    let blast = Blast { rounds: MANY, dst_mac: pair.veth.b.mac, ..Default::default() };
    let sent = blast.run(&pair.left, &pair.veth.a.name);
    let ended = capture.stop();
    let files = ended.files();
    let dropped = files.number("SELECT sum(PktDropPackets) FROM flow WHERE SrcAddr LIKE '10.1.%'");
    let bytes = files.number("SELECT sum(PktDropBytes) FROM flow WHERE SrcAddr LIKE '10.1.%'");
    let seen = files.sum("SrcAddr LIKE '10.1.%'");
    assert_eq!((seen.packets, seen.bytes), (sent.packets, sent.bytes));
    assert_eq!((dropped, bytes), (sent.packets, sent.bytes), "each of them was dropped behind the interface");
}

/// Flows that find no room: what is told and what is counted as lost are together all that was dropped.
#[test]
fn what_finds_no_room_is_counted() {
    require_privileged!();
    let _alone = alone();
    let pair = Pair::addressed();
    nft(&pair.right, "input", "udp dport != 1");
    let dir = tempfile::tempdir().expect("a folder");
    let run = command(dir.path(), &["--enable_pkt_drop", &format!("--interfaces={}", pair.captured())]);
    let mut capture = LocalCapture::start_run(dir, run.env("CACHE_MAX_FLOWS", "500"));
    capture.wait_attached(&pair.right, pair.captured());
    let blast = Blast { flows: 20_000, dst_mac: pair.veth.b.mac, ..Default::default() };
    let sent = blast.run(&pair.left, &pair.veth.a.name);
    let ended = capture.stop();
    let files = ended.files();
    let told = files.number("SELECT sum(PktDropPackets) FROM flow WHERE SrcAddr LIKE '10.1.%'");
    let lost = files.number("SELECT value FROM capture WHERE name = 'lost_drop_events'");
    println!("{told} told, {lost} lost");
    assert_eq!(told + lost, sent.packets);
    assert!(lost > 0 && told > 0, "{told} told, {lost} lost");
}

/// A rule for dropped packets keeps these and nothing else.
#[test]
fn a_rule_can_ask_for_drops_alone() {
    require_privileged!();
    let _alone = alone();
    let pair = Pair::addressed();
    let open = pair.right.enter(|| UdpSocket::bind((RIGHT, 7010))).expect("a socket");
    let capture = LocalCapture::of(&pair.right, pair.captured(), &["--drops"]);
    for port in [7003, 7010] {
        datagrams(&pair.left, RIGHT, port, PACKETS, None);
    }
    let flows = capture.stop().files().flows();
    drop(open);
    let of = |port: u16| flows.iter().filter(|flow| flow["DstPort"] == port).collect::<Vec<_>>();
    assert_eq!(total(&of(7003), "PktDropPackets"), PACKETS, "{flows:#?}");
    assert_eq!(total(&of(7003), "Packets"), 0, "{flows:#?}");
    assert!(of(7010).is_empty(), "{flows:#?}");
}

/// One drop in so many is counted, and says so.
#[test]
fn drops_are_sampled_like_packets() {
    require_privileged!();
    let _alone = alone();
    const MANY: u32 = 40_000;
    let pair = Pair::addressed();
    nft(&pair.right, "input", "udp dport != 1");
    let options = ["--enable_pkt_drop", "--sampling=20"];
    let capture = LocalCapture::of(&pair.right, pair.captured(), &options);
    let blast = Blast { rounds: MANY, net: 6, dst_mac: pair.veth.b.mac, ..Default::default() };
    blast.run(&pair.left, &pair.veth.a.name);
    let ended = capture.stop();
    let files = ended.files();
    let scaled = files.number("SELECT sum(PktDropPackets * Sampling) FROM flow WHERE SrcAddr LIKE '10.6.%'");
    let sampling = files.number("SELECT min(Sampling) FROM flow WHERE SrcAddr LIKE '10.6.%'");
    println!("{scaled} of {MANY}");
    assert_eq!(sampling, 20);
    // 2,000 are expected, and their spread is 44: seven times that is no chance.
    assert!(scaled.abs_diff(u64::from(MANY)) < 7 * 44 * 20, "{scaled} of {MANY}");
}
