use std::net::SocketAddr;

use netobserv_wire::flow::{Enrichment, Holder};
use netobserv_wire::pbflow::AgentStatus;
use tokio::sync::Semaphore;

use super::*;

const CLIENT: &str = "10.1.0.5:40000";
const SERVICE: &str = "10.96.0.1:8080";
const POD: &str = "10.2.0.7:80";

/// A capture of these nodes, which are watched.
struct World {
    once: Once,
    counts: Arc<Counts>,
    places: Arc<Semaphore>,
    begun: Instant,
    now: Instant,
}

impl World {
    fn of(nodes: &[&str]) -> Self {
        let counts = Arc::<Counts>::default();
        let once = Once::new(counts.clone(), false);
        let now = Instant::now();
        let world = Self { once, counts, places: Arc::new(Semaphore::new(1_000)), begun: now, now };
        nodes.iter().for_each(|node| world.hear(node, false));
        world
    }

    fn hear(&self, node: &str, last: bool) {
        let interfaces = if last { 0 } else { 3 };
        let status = AgentStatus { node: node.into(), interfaces, last, window_ms: 1_000, ..AgentStatus::default() };
        self.counts.heard(&status, 0, self.now);
    }

    /// A row comes from a node; what is handed on then.
    fn comes(&mut self, node: &str, row: Flow) -> Vec<Flow> {
        let mut room = self.room(1);
        let ms = (self.now - self.begun).as_millis() as u64;
        let mut rows = vec![Flow { start_ms: row.start_ms + ms, end_ms: row.end_ms + ms, ..row }];
        self.once.identify(&mut rows);
        self.once.mark(&mut rows, &mut room, node, self.now);
        rows
    }

    fn room(&self, places: u32) -> Room {
        Room::of(self.places.clone().try_acquire_many_owned(places).expect("there is room"))
    }

    fn wait(&mut self, time: Duration) -> Vec<Flow> {
        self.now += time;
        let (mut rows, mut room) = (Vec::new(), self.room(0));
        self.once.release(&mut rows, &mut room, self.now, false);
        rows
    }
}

fn holder(address: SocketAddr) -> Option<HolderRef> {
    let (kind, name, host) = match address.to_string().as_str() {
        CLIENT => ("Pod", "client", "n1"),
        POD => ("Pod", "web", "n2"),
        SERVICE => ("Service", "web", ""),
        _ => return None,
    };
    Some(Holder { kind: kind.into(), name: name.into(), host_name: host.into(), ..Holder::default() }.into())
}

fn end(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What a node saw now.
fn flow(src: &str, dst: &str, packets: u64) -> Flow {
    let (src, dst) = (end(src), end(dst));
    let mut k8s = Enrichment::default();
    (k8s.src.holder, k8s.dst.holder) = (holder(src), holder(dst));
    let now_ms = chrono::Utc::now().timestamp_millis() as u64 + 5_000;
    Flow {
        start_ms: now_ms,
        end_ms: now_ms,
        src_addr: Some(src.ip()),
        dst_addr: Some(dst.ip()),
        src_port: Some(src.port()),
        dst_port: Some(dst.port()),
        proto: Some(6),
        packets,
        k8s: Some(k8s),
        ..Flow::default()
    }
}

fn tuple(src: &str, dst: &str) -> Option<Box<Xlat>> {
    let (src, dst) = (end(src), end(dst));
    let tuple = Xlat {
        src_addr: Some(src.ip()),
        dst_addr: Some(dst.ip()),
        src_port: src.port(),
        dst_port: dst.port(),
        ..Xlat::default()
    };
    Some(Box::new(Xlat { src: self::holder(src), dst: self::holder(dst), ..tuple }))
}

/// The request before translation, and the answer after it was translated back.
fn asks(packets: u64) -> Flow {
    Flow { xlat: tuple(CLIENT, POD), ..flow(CLIENT, SERVICE, packets) }
}

fn gets(packets: u64) -> Flow {
    Flow { xlat: tuple(POD, CLIENT), ..flow(SERVICE, CLIENT, packets) }
}

fn duplicates(rows: &[Flow]) -> Vec<Option<Duplicate>> {
    rows.iter().map(|row| row.duplicate).collect()
}

#[test]
fn the_clients_node_counts_in_both_directions() {
    let mut world = World::of(&["n1", "n2"]);
    let translated =
        Flow { duplicate: Some(Duplicate::Translation), origin: tuple(CLIENT, SERVICE), ..flow(CLIENT, POD, 3) };
    assert_eq!(duplicates(&world.comes("n1", asks(3))), [None]);
    assert_eq!(duplicates(&world.comes("n1", translated)), [Some(Duplicate::Translation)]);
    assert_eq!(duplicates(&world.comes("n2", flow(CLIENT, POD, 3))), [Some(Duplicate::Server)]);
    assert_eq!(duplicates(&world.comes("n2", flow(POD, CLIENT, 2))), [Some(Duplicate::Server)]);
    let answer = world.comes("n1", gets(2));
    assert_eq!((duplicates(&answer), answer[0].conversation.unwrap().from_client), (vec![None], Some(false)));
}

#[test]
fn the_servers_record_waits_for_the_clients() {
    let mut world = World::of(&["n1", "n2"]);
    assert!(world.comes("n2", flow(CLIENT, POD, 3)).is_empty(), "it waits");
    assert!(world.wait(Duration::from_millis(500)).is_empty());
    world.now += Duration::from_millis(200);
    let rows = world.comes("n1", asks(3));
    assert_eq!(duplicates(&rows), [None, Some(Duplicate::Server)]);
    assert_eq!(world.places.available_permits(), 1_000, "its place is free again");
}

#[test]
fn a_conversation_that_the_clients_node_does_not_report_is_counted_all_the_same() {
    let mut world = World::of(&["n1", "n2"]);
    assert!(world.comes("n2", flow(CLIENT, POD, 3)).is_empty());
    assert_eq!(duplicates(&world.wait(Duration::from_secs(3))), [None]);
    assert_eq!(duplicates(&world.comes("n2", flow(POD, CLIENT, 2))), [None], "from now on");
    world.now += Duration::from_millis(50);
    assert_eq!(duplicates(&world.comes("n1", asks(3))), [None], "until the client's node does");
    assert_eq!(duplicates(&world.comes("n2", flow(CLIENT, POD, 3))), [Some(Duplicate::Server)]);
}

#[test]
fn packets_that_one_node_has_counted_are_not_counted_again_by_the_one_that_should_have() {
    let mut world = World::of(&["n1", "n2"]);
    // No names yet: nothing shows who is at which node.
    let nameless = |row: Flow| Flow { k8s: None, ..row };
    assert_eq!(duplicates(&world.comes("n2", nameless(flow(CLIENT, POD, 3)))), [None]);
    assert_eq!(duplicates(&world.comes("n1", asks(3))), [Some(Duplicate::Server)], "the same packets");
    let later = |row: Flow| Flow { start_ms: row.start_ms + 900, end_ms: row.end_ms + 900, ..row };
    assert_eq!(duplicates(&world.comes("n1", later(asks(3)))), [None], "it counts from now on");
    assert_eq!(duplicates(&world.comes("n2", later(flow(CLIENT, POD, 3)))), [Some(Duplicate::Server)]);
}

#[test]
fn agents_are_watched_from_their_first_word_not_from_their_first_record() {
    let mut world = World::of(&["n1", "n2"]);
    world.wait(Duration::from_secs(1));
    let now_ms = chrono::Utc::now().timestamp_millis() as u64;
    let row = Flow { start_ms: now_ms, end_ms: now_ms, ..flow(CLIENT, POD, 3) };
    assert!(world.comes("n2", row).is_empty(), "it waits for the client's node");
}

#[test]
fn a_node_that_is_not_watched_is_not_waited_for() {
    let mut world = World::of(&["n2", "n3"]);
    assert_eq!(duplicates(&world.comes("n2", flow(CLIENT, POD, 3))), [None]);
    assert_eq!(duplicates(&world.comes("n3", flow(CLIENT, POD, 3))), [Some(Duplicate::Forwarder)]);
}

#[test]
fn nodes_that_forward_strangers_count_them_once() {
    let mut world = World::of(&["n1", "n2"]);
    let stranger = || flow("192.0.2.1:5", "198.51.100.1:6", 1);
    assert_eq!(duplicates(&world.comes("n2", stranger())), [None]);
    assert_eq!(duplicates(&world.comes("n1", stranger())), [Some(Duplicate::Forwarder)]);
    assert_eq!(duplicates(&world.comes("n2", stranger())), [None]);
    world.now += Duration::from_secs(4);
    assert!(world.comes("n1", stranger()).is_empty(), "has it moved?");
    assert_eq!(duplicates(&world.wait(Duration::from_secs(3))), [None], "it has");
}

#[test]
fn the_server_with_the_higher_port_is_known_by_the_handshake() {
    let mut world = World::of(&["n1"]);
    let high = "10.2.0.7:50051";
    let row = |src: &str, dst: &str, flags| Flow { flags: Some(flags), ..flow(src, dst, 1) };
    let opened = |world: &mut World, row| world.comes("n1", row)[0].conversation.unwrap().from_client;
    assert_eq!(opened(&mut world, row(CLIENT, high, 2)), Some(true));
    assert_eq!(opened(&mut world, row(high, CLIENT, 0x10)), Some(false), "it is remembered");
    assert_eq!(opened(&mut world, row(CLIENT, high, 0x10)), Some(true));
}

#[test]
fn what_was_lost_between_two_nodes_is_counted() {
    let mut world = World::of(&["n1", "n2"]);
    world.comes("n1", asks(100));
    world.comes("n2", flow(CLIENT, POD, 93));
    world.comes("n2", flow(POD, CLIENT, 50));
    world.comes("n1", gets(50));
    let end_ms = chrono::Utc::now().timestamp_millis() as u64 + 60_000;
    let between = world.once.between_at(end_ms);
    let of = |to_server| between.iter().find(|between| between.to_server == to_server).unwrap();
    assert_eq!((of(true).from.as_str(), of(true).to.as_str(), of(true).sent, of(true).lost()), ("n1", "n2", 100, 7));
    assert_eq!((of(false).from.as_str(), of(false).sent, of(false).lost()), ("n2", 50, 0));
    assert!(world.once.between_at(0).iter().all(|between| between.unsure > 0), "still under way");
}

#[test]
fn a_node_that_leaves_makes_no_loss() {
    let mut world = World::of(&["n1", "n2"]);
    world.comes("n1", asks(100));
    world.comes("n2", flow(CLIENT, POD, 60));
    world.hear("n2", true);
    world.now += Duration::from_secs(1);
    world.comes("n1", asks(100));
    assert_eq!(world.once.between_at(u64::MAX), []);
}

#[test]
fn at_the_end_nothing_waits() {
    let mut world = World::of(&["n1", "n2"]);
    assert!(world.comes("n2", flow(CLIENT, POD, 3)).is_empty());
    let (mut rows, mut room) = (Vec::new(), world.room(0));
    world.once.release(&mut rows, &mut room, world.now, true);
    assert_eq!(duplicates(&rows), [None]);
}
