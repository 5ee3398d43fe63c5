use netobserv_ebpf_common::{ETH_IPV4, HELD, Key6, Point, filter::DIRECTION_UNKNOWN};

use super::*;

const OWN: [u8; 4] = [10, 0, 0, 2];
const PEER: [u8; 4] = [10, 0, 0, 1];
const S: u64 = 1_000_000_000;

/// Processes by their numbers: who has a larger one started later. The first letter of the name goes with it.
fn process(pid: u32, name: u8) -> SocketSeen {
    let started_ns = u64::from(pid);
    let mut seen = SocketSeen {
        flow: Key6 { src: [0; 16], dst: [0; 16], at: at(0, 0, UDP) },
        cookie: 0,
        time_ns: 0,
        started_ns,
        started_boot_ns: started_ns,
        cgroup: 7,
        pid,
        what: HELD,
        name: [0; 16],
    };
    seen.name[0] = name;
    seen
}

fn at(src_port: u16, dst_port: u16, proto: u8) -> Point {
    Point { src_port, dst_port, eth_proto: ETH_IPV4, proto, direction: DIRECTION_UNKNOWN, device: 1 }
}

fn address(bytes: [u8; 4]) -> [u8; 16] {
    mapped(u32::from_ne_bytes(bytes))
}

/// A socket bound to all addresses.
fn udp(cookie: u64, port: u16) -> SocketSeen {
    let flow = Key6 { src: mapped(0), dst: mapped(0), at: at(0, port, UDP) };
    SocketSeen { cookie, flow, ..process(0, 0) }
}

fn tcp(cookie: u64) -> SocketSeen {
    let flow = Key6 { src: address(PEER), dst: address(OWN), at: at(4848, 80, TCP) };
    SocketSeen { cookie, flow, ..process(0, 0) }
}

fn listener(cookie: u64) -> SocketSeen {
    let flow = Key6 { src: mapped(0), dst: mapped(0), at: at(0, 80, TCP) };
    SocketSeen { cookie, flow, ..process(0, 0) }
}

fn to(port: u16) -> FlowId {
    FlowId::of(&Key6 { src: address(PEER), dst: address(OWN), at: at(4848, port, UDP) })
}

fn over_tcp() -> FlowId {
    FlowId::of(&tcp(0).flow)
}

#[derive(Default)]
struct World(SocketOwners);

impl World {
    fn event(&mut self, what: u32, time_ns: u64, socket: SocketSeen, by: (u32, u8)) -> &mut Self {
        let SocketSeen { flow, cookie, .. } = socket;
        self.0.event(&SocketSeen { what, time_ns, flow, cookie, ..process(by.0, by.1) });
        self
    }

    fn walk(&mut self, time_ns: u64, held: &[(SocketSeen, (u32, u8))]) -> &mut Self {
        let row = |(socket, by): &(SocketSeen, (u32, u8))| SocketSeen {
            time_ns,
            flow: socket.flow,
            cookie: socket.cookie,
            ..process(by.0, by.1)
        };
        self.0.walk(time_ns, time_ns, &held.iter().map(row).collect::<Vec<_>>());
        self
    }

    fn owner(&self, cookie: u64, flow: &FlowId, from_ns: u64, to_ns: u64) -> Option<(u32, u8)> {
        self.0.owner(cookie, flow, from_ns, to_ns).map(|process| (process.pid, process.name[0]))
    }
}

const A: (u32, u8) = (5, b'a');
const B: (u32, u8) = (6, b'b');
/// Of one name with A.
const A2: (u32, u8) = (7, b'a');

#[test]
fn a_socket_is_its_processs_while_it_is_seen_there() {
    let mut world = World::default();
    world.walk(S, &[(udp(1, 53), A)]).walk(2 * S, &[(udp(1, 53), A)]);
    assert_eq!(world.owner(1, &to(53), S, 2 * S), Some(A));
    assert_eq!(world.owner(1, &to(53), S - 1, 2 * S), None, "before anybody looked");
    assert_eq!(world.owner(1, &to(53), S, 2 * S + 1), None, "after the last look");
    assert_eq!(world.owner(1, &to(54), S, 2 * S), None, "another port");
    assert_eq!(world.owner(2, &to(53), S, 2 * S), None, "another socket");
    let elsewhere = FlowId { dst: address([10, 0, 0, 9]), ..over_tcp() };
    world.event(MADE, 0, tcp(3), A).event(CLOSED, 2 * S, tcp(3), A);
    assert_eq!(world.owner(3, &over_tcp(), S, S), Some(A));
    assert_eq!(world.owner(3, &elsewhere, S, S), None, "rewritten on its way");
}

#[test]
fn a_short_life_is_known_from_both_ends() {
    let mut world = World::default();
    world.event(MADE, S, udp(1, 0), A).event(CLOSED, S + 9, udp(1, 4000), A);
    assert_eq!(world.owner(1, &to(4000), S + 1, S + 9), Some(A));
    assert_eq!(world.owner(1, &to(4000), S + 1, S + 10), None, "datagrams do not outlive their socket");
    world.event(MADE, S, tcp(2), A).event(CLOSED, S + 9, tcp(2), A);
    assert_eq!(world.owner(2, &over_tcp(), S + 1, 3 * S), Some(A), "the kernel ends a connection later");
}

#[test]
fn a_walk_that_comes_before_its_events_counts_with_them() {
    let mut world = World::default();
    world.walk(2 * S, &[(udp(1, 53), A), (udp(2, 54), B)]);
    world.event(MADE, S, udp(1, 0), A).event(MADE, S, udp(2, 0), A);
    assert_eq!(world.owner(1, &to(53), S, 2 * S), Some(A));
    assert_eq!(world.owner(2, &to(54), S, 2 * S), None, "made by another");
}

#[test]
fn what_passes_on_has_no_name_in_the_meantime() {
    let mut world = World::default();
    for (time, by) in [(S, A), (2 * S, A), (3 * S, B), (4 * S, B)] {
        world.walk(time, &[(udp(1, 53), by)]);
    }
    let names = [S, 2 * S, 3 * S].map(|from| world.owner(1, &to(53), from, from + S));
    assert_eq!(names, [Some(A), None, Some(B)]);
}

#[test]
fn several_that_have_a_socket_share_what_they_have_in_common() {
    let mut world = World::default();
    for time in [S, 2 * S] {
        world.walk(time, &[(udp(1, 53), A), (udp(1, 53), A2), (udp(2, 54), A), (udp(2, 54), B)]);
    }
    assert_eq!(world.owner(1, &to(53), S, 2 * S), Some((0, b'a')));
    assert_eq!(world.owner(2, &to(54), S, 2 * S), None);
    world.walk(3 * S, &[(udp(1, 53), A)]);
    assert_eq!(world.owner(1, &to(53), S, 3 * S), None);
}

#[test]
fn a_port_that_two_sockets_have_is_neither_s() {
    let mut world = World::default();
    world.walk(S, &[(udp(1, 53), A), (udp(3, 55), A)]);
    // One that came and went between two looks.
    world.event(MADE, S + 1, udp(2, 0), B).event(CLOSED, S + 2, udp(2, 53), B);
    world.event(MADE, S + 1, udp(4, 0), A2).event(CLOSED, S + 2, udp(4, 55), A2);
    world.walk(2 * S, &[(udp(1, 53), A), (udp(3, 55), A)]).walk(3 * S, &[(udp(1, 53), A)]);
    assert_eq!(world.owner(1, &to(53), S, 2 * S), None);
    assert_eq!(world.owner(3, &to(55), S, 2 * S), Some((0, b'a')));
    assert_eq!(world.owner(1, &to(53), 2 * S, 3 * S), Some(A), "after that");
}

#[test]
fn sockets_on_other_addresses_and_in_other_namespaces_do_not_matter() {
    let mut world = World::default();
    let mut own = udp(1, 53);
    own.flow.dst = address(OWN);
    let (mut other, mut elsewhere) = (udp(2, 53), udp(3, 53));
    other.flow.dst = address(PEER);
    elsewhere.flow.at.device = 2;
    for time in [S, 2 * S] {
        world.walk(time, &[(own, A), (other, B), (elsewhere, B)]);
    }
    assert_eq!(world.owner(1, &to(53), S, 2 * S), Some(A));
    assert_eq!(world.owner(2, &to(53), S, 2 * S), None, "it is not for that address");
}

#[test]
fn a_connection_that_came_in_is_of_who_could_take_it() {
    let mut world = World::default();
    // Taken by one of two who listen.
    world.walk(S, &[(listener(1), A), (listener(1), B)]).event(CAME_IN, S + 5, tcp(2), (0, 0));
    assert_eq!(world.owner(2, &over_tcp(), S + 1, S + 9), None, "nobody's yet");
    world.walk(2 * S, &[(listener(1), A), (listener(1), B), (tcp(2), B)]);
    assert_eq!(world.owner(2, &over_tcp(), S + 1, 2 * S), Some(B));
}

#[test]
fn a_child_or_whoever_was_handed_a_connection_has_it_from_when_it_was_seen() {
    let late = ((S + 6) as u32, b'a');
    for (other, process) in [("child", late), ("handed", B)] {
        let mut world = World::default();
        world.walk(S, &[(listener(1), A)]).event(CAME_IN, S + 5, tcp(2), (0, 0));
        world.walk(2 * S, &[(listener(1), A), (tcp(2), process)]).walk(3 * S, &[(listener(1), A), (tcp(2), process)]);
        assert_eq!(world.owner(2, &over_tcp(), S + 1, 2 * S), None, "{other}");
        assert_eq!(world.owner(2, &over_tcp(), 2 * S, 3 * S), Some(process), "{other}");
        world.event(CLOSED, 3 * S + 1, tcp(2), process);
        assert_eq!(world.owner(2, &over_tcp(), S + 1, 4 * S), None, "{other}");
    }
}

#[test]
fn a_connection_of_the_same_ports_counts_from_its_beginning() {
    let mut world = World::default();
    world.walk(S, &[(listener(1), A)]).event(CAME_IN, S + 1, tcp(2), (0, 0));
    world.event(CLOSED, S + 9, tcp(2), A);
    assert_eq!(world.owner(2, &over_tcp(), S + 1, S + 20), Some(A));
    world.event(CAME_IN, S + 15, tcp(3), (0, 0));
    assert_eq!(world.owner(2, &over_tcp(), S + 1, S + 20), None, "nobody has taken the second");
    world.walk(2 * S, &[(listener(1), A), (tcp(3), A)]);
    assert_eq!(world.owner(2, &over_tcp(), S + 1, S + 20), Some(A), "both are of the same");
}

#[test]
fn the_dead_are_forgotten_and_the_living_are_not() {
    let mut world = World::default();
    world.event(MADE, 1, udp(1, 0), A).event(CLOSED, 2, udp(1, 53), A);
    world.walk(3, &[(udp(2, 53), A), (listener(3), A)]).event(CAME_IN, 4, tcp(4), (0, 0));
    world.walk(3 * S, &[(udp(2, 53), A)]);
    assert_eq!(world.owner(2, &to(53), 2 * S - 1, 3 * S), Some(A));
    world.0.forget(2 * S);
    assert_eq!((world.0.sockets.len(), world.0.slots.len(), world.0.listeners.len()), (3, 2, 0));
    assert_eq!(world.owner(2, &to(53), 2 * S, 3 * S), Some(A));
    assert_eq!(world.owner(2, &to(53), 2 * S - 1, 3 * S), None, "process else was there is forgotten");
    world.0.forget(100 * S);
    assert_eq!((world.0.sockets.len(), world.0.slots.len()), (2, 1), "what nobody took has gone");
}

#[test]
fn a_socket_that_changes_its_port_leaves_the_old_ones() {
    let mut world = World::default();
    for port in 1..10 {
        world.walk(u64::from(port), &[(udp(1, port), A)]);
    }
    assert_eq!((world.0.slots.len(), world.0.sockets[&1].slots.len()), (MOST_PORTS, MOST_PORTS));
}
