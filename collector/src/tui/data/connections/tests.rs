use super::*;
use netobserv_wire::flow::{Conversation, Holder, Process};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn flow(client: u32, ports: (u16, u16), bytes: u64) -> Flow {
    Flow {
        src_addr: Some(IpAddr::from((0x0a00_0000 + client).to_be_bytes())),
        dst_addr: "10.255.0.1".parse().ok(),
        src_port: Some(ports.0),
        dst_port: Some(ports.1),
        proto: Some(TCP),
        bytes,
        packets: 1,
        ..Flow::default()
    }
}

fn answer(to: &Flow, flags: u32) -> Flow {
    Flow {
        src_addr: to.dst_addr,
        dst_addr: to.src_addr,
        src_port: to.dst_port,
        dst_port: to.src_port,
        flags: Some(flags),
        ..to.clone()
    }
}

#[test]
fn sums_are_exact_also_when_quiet_and_small_conversations_are_let_go() {
    let mut connections = Connections::default();
    let many = MOST as u32 * 2;
    for number in 0..many {
        let bytes = if number % 1_000 == 0 { 1_000_000 } else { 60 };
        connections.add(&flow(number, (40_000, 80), bytes), at(0));
    }
    let mut sums = connections.let_go.1;
    connections.iter().for_each(|one| sums.add(one.total()));
    assert_eq!(sums.packets, u64::from(many));
    assert!(connections.iter().count() <= MOST && connections.let_go.0 > 0, "bounded");
    assert!(connections.get(number(&flow(0, (40_000, 80), 0))).is_some(), "the large ones stay");
    assert!(connections.iter().all(|one| connections.get(one.id).is_some_and(|found| found.key == one.key)));
}

#[test]
fn a_hundred_thousand_conversations_take_less_than_100_mib() {
    assert!(size_of::<Connection>() * MOST.next_power_of_two() < 48 << 20, "{} bytes", size_of::<Connection>());
    assert!(size_of::<End>() <= 96);
}

#[test]
fn both_directions_are_one_line_whichever_is_seen_first() {
    for answer_first in [false, true] {
        let mut connections = Connections::default();
        let asks = Flow { flags: Some(SYN), ..flow(1, (50_051, 40_000), 100) };
        let numbered =
            |flow: Flow, from_client| Flow { conversation: Some(Conversation { id: 7, from_client }), ..flow };
        let back = Flow { bytes: 900, ..numbered(answer(&asks, SYN_ACK | ACK), Some(false)) };
        let (first, second) = if answer_first { (back, asks) } else { (asks, back) };
        connections.add(&numbered(first, Some(!answer_first)), at(1));
        connections.add(&numbered(second, Some(answer_first)), at(1));
        let one = connections.get(7).unwrap();
        assert_eq!((one.sums[0].bytes, one.sums[1].bytes, one.key.dst_port), (100, 900, 40_000), "{answer_first}");
        assert_eq!(one.state(), State::Open);
    }
}

#[test]
fn a_guess_that_was_wrong_is_corrected() {
    let mut connections = Connections::default();
    let numbered = |flow: Flow, from_client| Flow { conversation: Some(Conversation { id: 7, from_client }), ..flow };
    let asks = flow(1, (1_000, 2_000), 100);
    connections.add(&numbered(asks.clone(), None), at(1));
    assert_eq!(connections.get(7).unwrap().key.dst_port, 1_000, "a server has the lower port");
    connections.add(&numbered(asks, Some(true)), at(2));
    let one = connections.get(7).unwrap();
    assert_eq!((one.key.dst_port, one.sums[0].bytes, one.sums[1].bytes), (2_000, 200, 0));
}

#[test]
fn a_state_is_what_the_packets_show() {
    let asks = |flags| Flow { flags: Some(flags), ..flow(1, (40_000, 80), 60) };
    let nothing: &[Flow] = &[];
    for (to, from, state) in [
        (asks(SYN), nothing, State::Asking),
        (asks(SYN), &[answer(&asks(0), RST | ACK)], State::Refused),
        (asks(SYN | ACK), &[answer(&asks(0), SYN_ACK | ACK)], State::Open),
        (asks(SYN | ACK | FIN), &[answer(&asks(0), SYN_ACK | ACK | FIN)], State::Closed),
        (asks(SYN | ACK), &[answer(&asks(0), SYN_ACK | ACK | RST)], State::Reset),
        (asks(ACK), nothing, State::Open),
        (Flow { proto: Some(17), ..asks(0) }, nothing, State::OneWay),
    ] {
        let mut connections = Connections::default();
        [&to].into_iter().chain(from).for_each(|flow| connections.add(flow, at(1)));
        assert_eq!(connections.iter().next().unwrap().state(), state, "{to:?}");
    }
}

#[test]
fn names_that_come_late_are_taken_and_processes_keep_addresses_apart() {
    let mut connections = Connections::default();
    connections.add(&flow(1, (40_000, 80), 5), at(0));
    let mut named = flow(1, (40_000, 80), 6);
    named.set_holder(Side::Src, Holder { name: "web".into(), ..Holder::default() }.into());
    connections.add(&named, at(1));
    let one = *connections.get(number(&named)).unwrap();
    assert_eq!((one.total().bytes, one.age(at(1)), one.last(), one.records), (11, at(1), at(1), 2));
    let [client, server] = connections.ends_of(&one);
    assert_eq!(client.unwrap().holder().unwrap().name, "web");
    assert!(server.unwrap().holder().is_none());

    for (port, comm) in [(1, "curl"), (2, "wget")] {
        let src = Process { comm: comm.into(), ..Process::default() };
        let processes = Some(Box::new(Processes { src, ..Processes::default() }));
        connections.add(&Flow { processes, ..flow(9, (port, 80), 1) }, at(2));
    }
    let mut names: Vec<_> = connections.ends.iter().map(|end| end.process.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names[names.len() - 2..], ["curl", "wget"]);
}

#[test]
fn records_without_a_number_find_their_conversation() {
    let asks = flow(1, (40_000, 80), 5);
    assert_eq!(number(&asks), number(&answer(&asks, 0)));
    assert_ne!(number(&asks), number(&flow(1, (40_001, 80), 5)));
    let arp = |mac| Flow { src_mac: Some([mac; 6]), etype: 0x0806, ..Flow::default() };
    assert_ne!(number(&arp(1)), number(&arp(2)));
}
