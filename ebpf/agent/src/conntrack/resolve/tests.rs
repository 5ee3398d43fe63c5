use netobserv_ebpf_common::{ETH_IPV4, mapped};

use super::{super::tuple::Translation, *};

const SECOND: u64 = 1_000_000_000;
const TCP: u8 = 6;
const ICMP: u8 = 1;

fn address(host: u8) -> [u8; 16] {
    mapped(u32::from_ne_bytes([10, 0, 0, host]))
}

/// Ends are a host and a port.
fn tuple((src, src_port): (u8, u16), (dst, dst_port): (u8, u16)) -> Tuple {
    Tuple { src: address(src), dst: address(dst), src_port, dst_port }
}

fn record(Tuple { src, dst, src_port, dst_port }: Tuple, proto: u8, first_ns: u64) -> FlowRecord {
    let id = FlowId { src, dst, src_port, dst_port, eth_proto: ETH_IPV4, proto };
    FlowRecord {
        id,
        first_ns,
        last_ns: first_ns,
        packets: 1,
        bytes: 100,
        tcp_flags: 0,
        cookie: 0,
        sampling: 1,
        src_mac: [0; 6],
        dst_mac: [0; 6],
        dscp: 0,
        sightings: SmallVec::new(),
        extra: None,
        translated: None,
    }
}

const CLIENT: (u8, u16) = (1, 1_000);
const SERVICE: (u8, u16) = (96, 80);
const ROUTER: (u8, u16) = (254, 2_000);
const POD: (u8, u16) = (9, 8_080);

/// From the client to the service, which is the pod, with the router's address.
struct World {
    resolver: Resolver,
    windows: u64,
}

impl World {
    fn new(connections: &[(Tuple, Tuple, u8)]) -> Self {
        let mut table = Table::new(100);
        for (id, (origin, target, proto)) in (1..).zip(connections.iter().copied()) {
            table.open(1, Translation { origin, target, proto, zone: 3, id }, 1);
        }
        Self { resolver: Resolver::new(table), windows: 0 }
    }

    /// The records of a window of a second, whose packets were seen in its middle.
    fn window(&mut self, tuples: &[Tuple]) -> Vec<(Tuple, Option<Translated>)> {
        self.window_at(tuples, SECOND / 2)
    }

    fn window_at(&mut self, tuples: &[Tuple], first_ns: u64) -> Vec<(Tuple, Option<Translated>)> {
        let start = self.windows * SECOND;
        self.windows += 1;
        let records = tuples.iter().map(|tuple| record(*tuple, TCP, start + first_ns)).collect();
        let records = self.resolver.window(records, start + SECOND);
        records.iter().map(|r| (Tuple::of(&r.id).unwrap().0, r.translated.as_deref().copied())).collect()
    }

    fn duplicates(&mut self, tuples: &[Tuple]) -> Vec<bool> {
        self.window(tuples).iter().map(|(_, translated)| translated.is_some_and(|t| t.duplicate)).collect()
    }
}

fn both_ways(a: (u8, u16), b: (u8, u16)) -> [Tuple; 2] {
    [tuple(a, b), tuple(b, a)]
}

#[test]
fn all_four_tuples_of_a_connection_know_the_other() {
    let mut world = World::new(&[(tuple(CLIENT, SERVICE), tuple(ROUTER, POD), TCP)]);
    let ([origin, origin_reply], [target, reply]) = (both_ways(CLIENT, SERVICE), both_ways(ROUTER, POD));
    let other = tuple((1, 7), (2, 8));
    let found = world.window(&[origin, target, reply, origin_reply, other]);
    let known = |is_origin, tuple, source_opened, duplicate| {
        Some(Translated { is_origin, tuple, target: None, zone: 3, icmp_id: 0, source_opened, duplicate })
    };
    let wanted = [
        (origin, known(false, target, true, false)),
        (target, known(true, origin, true, true)),
        (reply, known(true, origin_reply, false, true)),
        (origin_reply, known(false, reply, false, false)),
        (other, None),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn a_connection_of_the_same_ends_in_another_namespace_is_another_one() {
    let mut table = Table::new(100);
    let (origin, elsewhere) = (tuple(CLIENT, SERVICE), tuple(CLIENT, POD));
    for (netns, target, id) in [(1, tuple(ROUTER, POD), 1), (2, elsewhere, 2)] {
        table.open(netns, Translation { origin, target, proto: TCP, zone: 0, id }, 1);
    }
    let mut resolver = Resolver::new(table);
    let seen_in = |netns: u32| {
        let place = crate::interfaces::InterfaceId { netns, ifindex: 7 };
        FlowRecord {
            sightings: SmallVec::from_elem(crate::flow::Sighting { place, direction: 0 }, 1),
            ..record(origin, TCP, SECOND / 2)
        }
    };
    for (netns, target) in [(1, tuple(ROUTER, POD)), (2, elsewhere)] {
        let records = resolver.window(vec![seen_in(netns)], SECOND);
        assert_eq!(records[0].translated.as_deref().map(|translated| translated.tuple), Some(target), "{netns}");
    }
}

#[test]
fn packets_seen_between_the_two_translations_know_both_tuples() {
    let mut world = World::new(&[(tuple(CLIENT, SERVICE), tuple(ROUTER, POD), TCP)]);
    let ([origin, origin_reply], [target, reply]) = (both_ways(CLIENT, SERVICE), both_ways(ROUTER, POD));
    let [middle, middle_reply] = both_ways(CLIENT, POD);
    let found = world.window(&[origin, middle, middle_reply]);
    let of = |tuple, other, source_opened| Translated {
        is_origin: true,
        tuple,
        target: Some(other),
        zone: 3,
        icmp_id: 0,
        source_opened,
        duplicate: true,
    };
    assert_eq!(found[1], (middle, Some(of(origin, target, true))));
    assert_eq!(found[2], (middle_reply, Some(of(origin_reply, reply, false))));
}

#[test]
fn packets_count_after_translation_where_none_are_seen_before() {
    let mut world = World::new(&[(tuple(CLIENT, SERVICE), tuple(ROUTER, POD), TCP)]);
    let (before, after) = (both_ways(CLIENT, SERVICE), both_ways(ROUTER, POD));
    assert_eq!(world.duplicates(&after), [false, false]);
    assert_eq!(world.duplicates(&[after[0], before[0]]), [true, false]);
    // A reply that is on its way when a window ends, or all of the packets of a window at the place before translation lost.
    assert_eq!(world.duplicates(&[after[1]]), [true]);
    assert_eq!(world.duplicates(&[]), [false; 0]);
    assert_eq!(world.duplicates(&after), [true, true]);
    assert_eq!(world.duplicates(&[after[0], before[1]]), [true, false]);
    // The place before translation is not watched any more.
    let counted: Vec<bool> = (0..4).map(|_| world.duplicates(&[after[0]])[0]).collect();
    assert_eq!(counted, [true, true, false, false]);
}

#[test]
fn a_packet_on_its_way_at_the_end_of_a_window_waits_for_the_next() {
    let mut world = World::new(&[(tuple(CLIENT, SERVICE), tuple(ROUTER, POD), TCP)]);
    let ([_, before], [_, after]) = (both_ways(CLIENT, SERVICE), both_ways(ROUTER, POD));
    assert_eq!(world.window_at(&[after], SECOND - 1), []);
    let found = world.window_at(&[before], 1);
    let duplicates: Vec<_> = found.iter().map(|(tuple, found)| (*tuple, found.unwrap().duplicate)).collect();
    assert_eq!(duplicates, [(before, false), (after, true)]);
    // Nothing follows: it counts.
    let mut world = World::new(&[(tuple(CLIENT, SERVICE), tuple(ROUTER, POD), TCP)]);
    assert_eq!(world.window_at(&[after], SECOND - 1), []);
    let late = world.resolver.finish();
    assert_eq!(
        late.iter().map(|r| (r.packets, r.translated.as_ref().unwrap().duplicate)).collect::<Vec<_>>(),
        [(1, false)]
    );
}

#[test]
fn stages_are_followed_to_both_ends() {
    let (middle, far) = ((50, 5), (60, 6));
    let stages = [(tuple(CLIENT, SERVICE), tuple(middle, POD), TCP), (tuple(middle, POD), tuple(far, POD), TCP)];
    let mut world = World::new(&stages);
    let [origin, first, second] = [tuple(CLIENT, SERVICE), tuple(middle, POD), tuple(far, POD)];
    let found = world.window(&[origin, first, second]);
    let summary: Vec<_> = found.iter().map(|(_, t)| t.map(|t| (t.is_origin, t.tuple, t.duplicate)).unwrap()).collect();
    assert_eq!(summary, [(false, second, false), (true, origin, true), (true, origin, true)]);
    // Where the first tuple is not seen, the next one counts.
    assert_eq!(World::new(&stages).duplicates(&[first, second]), [false, true]);
    // A circle comes to an end.
    let circle = [(tuple(CLIENT, SERVICE), tuple(ROUTER, POD), TCP), (tuple(ROUTER, POD), tuple(CLIENT, SERVICE), TCP)];
    assert_eq!(World::new(&circle).window(&[origin]).len(), 1);
}

#[test]
fn a_port_that_is_used_again_belongs_to_the_later_connection() {
    let other = (10, 8_080);
    let mut world = World::new(&[(tuple(CLIENT, SERVICE), tuple(ROUTER, POD), TCP)]);
    let old = Translation { origin: tuple(CLIENT, SERVICE), target: tuple(ROUTER, POD), proto: TCP, zone: 3, id: 1 };
    world.resolver.table.close(1, &old);
    world.resolver.table.open(1, Translation { target: tuple(ROUTER, other), id: 9, ..old }, 1);
    let found = world.window(&[tuple(CLIENT, SERVICE), tuple(ROUTER, POD), tuple(ROUTER, other)]);
    let tuples: Vec<_> = found.iter().map(|(_, t)| t.map(|t| (t.tuple, t.duplicate)).unwrap()).collect();
    let origin = tuple(CLIENT, SERVICE);
    assert_eq!(tuples, [(tuple(ROUTER, other), false), (origin, true), (origin, true)]);
    // What has gone is forgotten after a while, and what is there stays.
    (0..5).for_each(|_| drop(world.window(&[])));
    assert_eq!(world.resolver.table.len(), 1);
    assert_eq!(world.window(&[tuple(ROUTER, POD)]), [(tuple(ROUTER, POD), None)]);
}

#[test]
fn echoes_are_known_by_their_hosts_and_what_they_are() {
    let echo = |src, dst, id| Tuple { src: address(src), dst: address(dst), src_port: id, dst_port: 0 };
    let mut world = World::new(&[(echo(1, 9, 70), echo(254, 9, 71), ICMP)]);
    let packet = |src, dst, kind, code| record(tuple((src, kind), (dst, code)), ICMP, SECOND / 2);
    // Request, and reply, before and after; a request of the other host, and an error.
    let packets = [(1, 9, 8, 0), (254, 9, 8, 0), (9, 254, 0, 0), (9, 1, 0, 0), (9, 1, 8, 0), (9, 254, 3, 1)];
    let records = packets.map(|(src, dst, kind, code)| packet(src, dst, kind, code)).into();
    let found = world.resolver.window(records, SECOND);
    let summary: Vec<_> =
        found.iter().map(|r| r.translated.as_deref().map(|t| (t.icmp_id, t.tuple.src, t.duplicate))).collect();
    let wanted = [
        Some((71, address(254), false)),
        Some((70, address(1), true)),
        Some((70, address(9), true)),
        Some((71, address(9), false)),
        None,
        None,
    ];
    assert_eq!(summary, wanted);
}

#[test]
fn echoes_of_two_hosts_are_one_entry_however_many_identifiers_they_have() {
    let mut table = Table::new(100);
    let echo = |src, dst, id| Tuple { src: address(src), dst: address(dst), src_port: id, dst_port: 0 };
    let connection = |id: u16| {
        let (origin, target) = (echo(1, 9, id), echo(254, 9, id));
        Translation { origin, target, proto: ICMP, zone: 0, id: u32::from(id) }
    };
    (0..5_000).for_each(|id| table.open(1, connection(id), 1));
    assert_eq!((table.len(), table.refused()), (1, 0));
    for (closed, left) in [(17, 1), (4_999, 0)] {
        table.close(1, &connection(closed));
        (0..5).for_each(|_| table.begin_window());
        assert_eq!(table.len(), left, "the latest is the one that counts");
    }
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut table = Table::new(2);
    let connection = |id: u32| {
        let end = (1, id as u16);
        Translation { origin: tuple(end, SERVICE), target: tuple(end, POD), proto: TCP, zone: 0, id }
    };
    (1..=5).for_each(|id| table.open(1, connection(id), 1));
    assert_eq!((table.len(), table.refused()), (2, 3));
    // The same ones again are not new, and those of no list have gone.
    (1..=2).for_each(|id| table.open(1, connection(id), id as u8 + 1));
    assert_eq!((table.len(), table.refused()), (2, 3));
    table.sweep(1, |list| list == 3);
    table.sweep(2, |_| false);
    (0..5).for_each(|_| table.begin_window());
    assert_eq!(table.len(), 1);
}

#[test]
fn an_entry_is_small() {
    assert!(size_of::<super::super::table::Entry>() <= 64);
}
