//! Enter on a row of a summary shows exactly the records that were counted in it; Esc restores the view.

use netobserv_explain::finding::Finding;
use netobserv_explain::traffic::Watch;
use netobserv_wire::Flow;
use netobserv_wire::flow::{Dns, Drops};

use super::events;
use super::world::{World, between};
use crate::tui::keys;
use crate::tui::problems::Which;
use crate::tui::views::{Group, View};
use crate::why::observation;

fn press(world: &mut World, word: &str) {
    for key in events(word) {
        keys::press(&mut world.app, key, &world.data);
        world.advance(0);
    }
}

/// A record of a few pods, ports and things that go wrong, by numbers.
fn record((client, server, port, kind): (usize, usize, u16, u8), second: u64) -> Flow {
    let (client, server) = (client % 4, server % 4);
    let server = if client == server { (server + 1) % 4 } else { server };
    let ports = (40_000 + port % 3, 80 + port % 2);
    let to = |flags| Flow { flags: Some(flags), ..between(client, server, ports, second) };
    let from = |flags| Flow { flags: Some(flags), ..between(server, client, (ports.1, ports.0), second) };
    let with_drops = |cause: &str, flow: Flow| {
        let drops = Drops { packets: 2, flags: 2, cause: cause.into(), ..Drops::default() };
        Flow { drops: Some(Box::new(drops)), ..flow }
    };
    let with_dns = |rcode: &str, name: &str| {
        let dns = Dns { rcode: rcode.into(), name: name.into(), flags: Some(0x8180), ..Dns::default() };
        Flow {
            proto: Some(17),
            flags: None,
            dns: Some(Box::new(dns)),
            ..between(server, client, (53, ports.0), second)
        }
    };
    match kind % 10 {
        0 => to(0x02),
        1 => from(0x414),
        2 => from(0x110),
        3 => with_drops("SKB_DROP_REASON_NETFILTER_DROP", to(0x02)),
        4 => with_drops("OVS_DROP_EXPLICIT", to(0x02)),
        5 => with_dns("NXDomain", "db.shop.svc"),
        6 => with_dns("NoError", "db"),
        7 => with_dns("ServFail", "mail"),
        8 => Flow { rtt_ns: 400_000_000, ..to(0x10) },
        _ => to(0x12),
    }
}

fn world(records: &[(usize, usize, u16, u8)]) -> World {
    let mut world = World::empty(200, 60);
    for (second, one) in records.iter().enumerate() {
        let mut rows = vec![record(*one, second as u64)];
        world.identify(&mut rows);
        world.add(rows, second as u64);
    }
    world.advance(records.len() as u64 * 1_000);
    world
}

/// The records that the table shows, oldest first.
fn shown(world: &World) -> Vec<Flow> {
    assert_eq!(world.app.view, View::Records);
    assert_eq!(world.app.shown.rows.len(), world.app.shown.matching, "all of them fit");
    world.app.shown.rows.clone()
}

fn kept(world: &World) -> Vec<Flow> {
    let mut rows: Vec<Flow> = world.data.kept.newest_first().map(|(_, flow)| flow.clone()).collect();
    rows.reverse();
    rows
}

fn findings(flows: &[Flow]) -> Vec<Finding> {
    let mut watch = Watch::default();
    flows.iter().for_each(|flow| watch.add(&observation(flow)));
    watch.until(u64::MAX / 2);
    let mut findings = watch.findings();
    netobserv_explain::scan::group(&mut findings);
    findings
}

/// Presses Enter on each row of a view, and gives what was shown to `check`.
fn each_row(world: &mut World, mut check: impl FnMut(&World, usize, &[Flow])) {
    for place in 0..world.app.list_len() {
        press(world, "Home");
        (0..place).for_each(|_| press(world, "Down"));
        let before = (world.app.view, world.app.cursor, world.app.offset);
        let filters = world.app.active_filters().len();
        press(world, "Enter");
        let shown = shown(world);
        press(world, "Esc");
        assert_eq!((world.app.view, world.app.cursor, world.app.offset), before, "Esc restores");
        assert_eq!(world.app.active_filters().len(), filters);
        check(world, place, &shown);
    }
}

/// Numbers that are the same every time.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) % below
    }
}

#[test]
fn enter_shows_exactly_the_records_of_the_row() {
    for seed in 1..=12 {
        let mut next = numbers(seed);
        let mut one = || (next(4) as usize, next(4) as usize, next(6) as u16, next(10) as u8);
        let records: Vec<_> = (0..40).map(|_| one()).collect();
        let mut world = world(&records);
        connections(&mut world);
        top(&mut world);
        problems(&mut world);
    }
}

fn connections(world: &mut World) {
    keys::switch_view(&mut world.app, View::Connections);
    world.advance(0);
    assert!(world.app.list_len() > 3);
    each_row(world, |world, place, shown| {
        let id = world.app.shown.connections[place].id;
        let one = world.data.connections.get(id).unwrap();
        let bytes = shown.iter().map(|flow| flow.bytes).sum::<u64>();
        assert_eq!((one.records as usize, one.total().bytes), (shown.len(), bytes));
        assert!(shown.iter().all(|flow| flow.conversation.unwrap().id == id));
    });
}

fn top(world: &mut World) {
    for group in Group::ALL {
        keys::switch_view(&mut world.app, View::Top);
        world.app.group = *group;
        world.advance(0);
        each_row(world, |world, place, shown| {
            let row = &world.app.shown.top[place];
            let packets: u64 = shown.iter().map(|flow| flow.packets).sum();
            assert_eq!(row.sums.packets, packets, "{group:?}: {}", row.who);
        });
    }
}

fn problems(world: &mut World) {
    let all = kept(world);
    keys::switch_view(&mut world.app, View::Problems);
    world.advance(0);
    assert!(world.app.list_len() > 2);
    each_row(world, |world, place, shown| {
        let row = world.app.shown.problems_shown[place].clone();
        let count = |flows: &[Flow]| {
            let found = findings(flows).into_iter().filter(|finding| Which::of(finding) == row.which);
            found.map(|finding| finding.count).sum::<u64>()
        };
        assert!(!shown.is_empty(), "{row:?}");
        assert_eq!(count(shown), row.count, "all that counts is shown: {row:?}");
        let others: Vec<Flow> = all.iter().filter(|flow| !shown.contains(flow)).cloned().collect();
        assert_eq!(count(&others), 0, "nothing else counts: {row:?}");
    });
}
