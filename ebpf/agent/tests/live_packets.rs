//! Packets on real interfaces: the same frames as tcpdump sees, and none that is unaccounted for.

mod live;

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{SystemTime, UNIX_EPOCH},
};

use live::{Agent, Captured, Receiver, Tcpdump};
use netobserv_testkit::{
    Blast, Frame, Netns, Pair, Sender, Veth,
    ethtool::{set_gro, set_offloads},
    require_privileged,
};
use netobserv_wire::packet::Direction;

/// Most that our time of a packet may differ from tcpdump's.
const CLOSE_NS: u64 = 1_000_000;
const ALL: (&str, &str) = ("PCA_ALL", "true");

const LEFT: [&str; 2] = ["10.8.0.1/24", "fd08::1/64"];
const RIGHT: [&str; 2] = ["10.8.0.2/24", "fd08::2/64"];

/// Two namespaces with both kinds of addresses.
struct World {
    left: Netns,
    right: Netns,
    veth: Veth,
}

impl World {
    fn new() -> Self {
        let (left, right) = (Netns::new("left"), Netns::new("right"));
        let veth = Veth::with_neighbours(&left, &LEFT, &right, &RIGHT);
        // At the egress packets are seen before the kernel cuts super-packets and fills in checksums, if it has to do that
        // itself; tcpdump sees them after it. So the end that is captured leaves it to the interface, as interfaces are.
        set_offloads(&right, &veth.b.name, true);
        set_gro(&right, &veth.b.name, false);
        Self { left, right, veth }
    }

    /// Captures at the right end, with the agent and with tcpdump, what `traffic` sends; all must be equal.
    #[track_caller]
    fn same_as_tcpdump(&self, traffic: impl FnOnce()) -> Captured {
        let name = &self.veth.b.name;
        let agent = Agent::start(Receiver::start(), &self.right, name, &[ALL]);
        let tcpdump = Tcpdump::start(&self.right, name);
        // The interfaces send a few packets of their own, and one of the two has begun before the other.
        let start = now_ns();
        traffic();
        let between = start..=now_ns();
        let mut theirs: HashMap<Vec<u8>, VecDeque<(u64, u32)>> = HashMap::new();
        let frames: Vec<_> = tcpdump.stop().into_iter().filter(|frame| between.contains(&frame.time_ns)).collect();
        let captured = agent.stop();
        assert_eq!(captured.interface(name).received_packets, captured.packets.len() as u64);
        for frame in &frames {
            theirs.entry(frame.data.clone()).or_default().push_back((frame.time_ns, frame.original));
        }
        let ours: Vec<_> = captured.at(name).into_iter().filter(|packet| between.contains(&packet.time_ns)).collect();
        let mut far_apart = vec![];
        for packet in &ours {
            let same = theirs.get_mut(&packet.data[..]).and_then(VecDeque::pop_front);
            let (time_ns, original) = same.unwrap_or_else(|| panic!("tcpdump has not seen {packet:?}"));
            assert_eq!(packet.original, original);
            let apart = packet.time_ns.abs_diff(time_ns);
            if apart > CLOSE_NS {
                far_apart.push(apart);
            }
        }
        let missing: usize = theirs.values().map(VecDeque::len).sum();
        assert_eq!((ours.len(), missing), (frames.len(), 0), "frames that tcpdump has and we have not");
        // tcpdump has the time at which a frame was queued: a machine that is busy with other tests comes to it later.
        assert!(
            far_apart.len() * 10 <= ours.len(),
            "{} of {} times differ: {far_apart:?} ns",
            far_apart.len(),
            ours.len()
        );
        assert_eq!((captured.lost_kernel, captured.lost_export), (0, 0));
        captured
    }

    /// Sends so many bytes from left to right and gets them back.
    fn echo_over_tcp(&self, bytes: usize) {
        let listener = self.right.enter(|| TcpListener::bind(("10.8.0.2", 5000))).expect("listen");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut data = vec![];
                stream.read_to_end(&mut data).expect("all of it");
                stream.write_all(&data).expect("all of it");
            });
            let mut stream = self.left.enter(|| TcpStream::connect(("10.8.0.2", 5000))).expect("connect");
            let data: Vec<u8> = (0..bytes).map(|n| (n * 7 + n / 251) as u8).collect();
            stream.write_all(&data).expect("all of it");
            stream.shutdown(std::net::Shutdown::Write).expect("the end");
            let mut back = vec![];
            stream.read_to_end(&mut back).expect("all of it");
            assert!(back == data);
        });
    }

    fn ping(&self, options: &str, to: &str) {
        self.left.run("ping").args(options.split_whitespace()).args(["-c", "5", "-i", "0.05", "-W", "5", to]).output();
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

#[test]
fn ping_udp_and_tcp_are_as_tcpdump_sees_them() {
    require_privileged!();
    let world = World::new();
    let captured = world.same_as_tcpdump(|| {
        world.ping("", "10.8.0.2");
        world.ping("-6", "fd08::2");
        let to = world.right.enter(|| UdpSocket::bind("[::]:5353")).expect("a socket");
        for (from, address) in [("10.8.0.1:4000", "10.8.0.2:5353"), ("[fd08::1]:4000", "[fd08::2]:5353")] {
            let socket = world.left.enter(|| UdpSocket::bind(from)).expect("a socket");
            for length in [0, 1, 200, 1400] {
                socket.send_to(&vec![9; length], address).expect("sent");
                to.recv_from(&mut [0; 2000]).expect("received");
            }
        }
        world.echo_over_tcp(200_000);
    });
    let ways = |way| captured.packets.iter().filter(|packet| packet.direction == way).count();
    let (came, went) = (ways(Direction::In), ways(Direction::Out));
    assert!(came >= 10 + 8 + 100 && went > 10, "{came} came in, {went} went out");
    assert!(captured.packets.iter().all(|packet| packet.cause.is_none() && packet.sampling == 1));
}

#[test]
fn super_packets_are_as_tcpdump_sees_them() {
    require_privileged!();
    let world = World::new();
    set_offloads(&world.left, &world.veth.a.name, true);
    set_gro(&world.right, &world.veth.b.name, true);
    let captured = world.same_as_tcpdump(|| world.echo_over_tcp(3_000_000));
    let largest = captured.packets.iter().map(|packet| packet.data.len()).max();
    assert!(largest > Some(20_000), "the largest frame has {largest:?} bytes");
}

#[test]
fn jumbo_frames_are_as_tcpdump_sees_them() {
    require_privileged!();
    let world = World::new();
    for (ns, end) in [(&world.left, &world.veth.a), (&world.right, &world.veth.b)] {
        ns.ip(&format!("link set {} mtu 9000", end.name));
    }
    let captured = world.same_as_tcpdump(|| {
        world.ping("-s 8900", "10.8.0.2");
        world.echo_over_tcp(100_000);
    });
    assert!(captured.packets.iter().any(|packet| packet.data.len() > 8900));
}

#[test]
fn tagged_frames_are_as_tcpdump_sees_them() {
    require_privileged!();
    let world = World::new();
    let frame = || Frame::new([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 8]);
    let frames: Vec<Vec<u8>> = [
        frame().vlan(0x8100, 5).ipv4("10.1.0.1", "10.1.0.2").udp(1, 2).payload(50),
        frame().vlan(0x8100, 4095).ipv6("fd01::1", "fd01::2").udp(1, 2).payload(1400),
        frame().vlan(0x88a8, 7).vlan(0x8100, 6).ipv4("10.1.0.1", "10.1.0.2").tcp(1, 2, 2),
        frame().vlan(0x8100, 7).vlan(0x8100, 6).ipv6("fd01::1", "fd01::2").tcp(1, 2, 2),
        frame().vlan(0x8100, 5).other(0x88b5, &[3; 46]),
    ]
    .iter()
    .map(Frame::build)
    .collect();
    let captured = world.same_as_tcpdump(|| {
        Sender::new(&world.left, &world.veth.a.name).send(&frames);
        Sender::new(&world.right, &world.veth.b.name).send(&frames);
    });
    for way in [Direction::In, Direction::Out] {
        let seen: Vec<_> = captured.packets.iter().filter(|packet| packet.direction == way).collect();
        assert!(frames.iter().all(|frame| seen.iter().any(|packet| packet.data == *frame)), "{way:?}");
    }
}

#[test]
fn sampling_and_snaplen_hold() {
    require_privileged!();
    let pair = Pair::silent();
    let settings = [("FLOW_FILTER_RULES", r#"[{"protocol":"UDP"}]"#), ("SAMPLING", "10"), ("SNAPLEN", "100")];
    let agent = Agent::start(Receiver::start(), &pair.right, pair.captured(), &settings);
    let sent = Blast { flows: 100, rounds: 100, size: 1000, ..Blast::default() }.run(&pair.left, &pair.veth.a.name);
    let captured = agent.stop();
    let seen = captured.packets.len() as u64;
    assert!(sent.packets / 20 < seen && seen < sent.packets / 5, "{seen} of {}", sent.packets);
    for packet in &captured.packets {
        assert_eq!((packet.data.len(), packet.original, packet.sampling), (100, 1000, 10));
    }
}

/// More than the queue holds, to a collector that does not answer: what is not captured is counted, to the packet.
#[test]
fn captured_and_lost_is_what_was_sent() {
    require_privileged!();
    let pair = Pair::silent();
    let receiver = Receiver::start();
    let agent = Agent::start(receiver, &pair.right, pair.captured(), &[ALL]);
    agent.receiver().set_busy(true);
    let blast = Blast { flows: 1000, rounds: 150, size: 1500, ..Blast::default() };
    let sent = blast.run(&pair.left, &pair.veth.a.name);
    let peak = agent.peak_memory();
    agent.receiver().set_busy(false);
    let captured = agent.stop();
    let place = captured.interface(pair.captured());
    let lost = place.lost_ring_packets + place.lost_queue_packets;
    assert!(place.lost_queue_packets > 0, "the queue was too small: {place:?}");
    assert_eq!(captured.packets.len() as u64 + lost, sent.packets, "{place:?}");
    assert_eq!((place.received_packets, place.received_bytes), (sent.packets, sent.bytes));
    assert_eq!((captured.lost_kernel, captured.lost_export), (place.lost_ring_packets, place.lost_queue_packets));
    assert!(captured.packets.len() > 30_000, "{} packets had room", captured.packets.len());
    assert!(peak < 200 << 20, "{} MiB of memory", peak >> 20);
}

/// A packet is known again where it was dropped.
#[test]
fn dropped_packets_have_a_place_and_a_cause() {
    require_privileged!();
    let world = World::new();
    let settings = [("FLOW_FILTER_RULES", r#"[{"destination_port":6666}]"#), ("ENABLE_PKT_DROPS", "true")];
    let agent = Agent::start(Receiver::start(), &world.right, &world.veth.b.name, &settings);
    let socket = world.left.enter(|| UdpSocket::bind("10.8.0.1:4000")).expect("a socket");
    for length in [1, 100, 1400] {
        // The second one is refused, as no socket is there; what it sends goes out anyway.
        let _ = socket.send_to(&vec![length as u8; length], "10.8.0.2:6666");
    }
    let captured = agent.stop();
    let (seen, dropped) = (captured.at(&world.veth.b.name), captured.at("drop@node1"));
    assert_eq!((seen.len(), dropped.len()), (3, 3), "{:?}", captured.interfaces);
    for (seen, dropped) in seen.iter().zip(&dropped) {
        assert_eq!(dropped.cause.as_deref(), Some("SKB_DROP_REASON_NO_SOCKET"));
        assert_eq!((dropped.direction, dropped.original), (Direction::Unknown, seen.original));
        assert_eq!(dropped.data, seen.data);
        assert_eq!(dropped.id, seen.id);
        assert!(dropped.time_ns >= seen.time_ns);
    }
    let place = captured.interface("drop@node1");
    assert!(place.drops && place.received_packets == 3);
}
