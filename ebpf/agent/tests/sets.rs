//! Sets of addresses that rules name: what they keep, also while they are replaced under packets, and what they cost in memory.

mod lab;
mod plain_rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use lab::{Lab, Random};
use netobserv_agent::{
    rules::{Rule, narrow::narrow, parse::parse, sets::Sets},
    sys,
};
use netobserv_ebpf_common::INGRESS;
use netobserv_testkit::{Frame, require_privileged};
use netobserv_wire::pbflow::{AddressPort, AddressSet, Ip, ip::IpFamily};
use plain_rules::{Members, Packet, name};

const ACK: u8 = 0x10;

fn frame(src: &str, dst: &str) -> Frame {
    let frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    if src.contains(':') { frame.ipv6(src, dst) } else { frame.ipv4(src, dst) }
}

fn rules(json: &str) -> Vec<Rule> {
    parse(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// As the collector sends them.
fn sets(members: &Members) -> Sets {
    let numbers = members.iter().map(|(number, ..)| *number).collect::<BTreeSet<_>>();
    let of = |number: u32| {
        let mut set = AddressSet { number, ..AddressSet::default() };
        for (_, address, port) in members.iter().filter(|(its, ..)| *its == number) {
            match (address, port) {
                (IpAddr::V4(v4), None) => set.ipv4.extend(v4.octets()),
                (IpAddr::V6(v6), None) => set.ipv6.extend(v6.octets()),
                (address, Some((protocol, port))) => {
                    let family = match address {
                        IpAddr::V4(v4) => IpFamily::Ipv4((*v4).into()),
                        IpAddr::V6(v6) => IpFamily::Ipv6(v6.octets().to_vec()),
                    };
                    let address = Some(Ip { ip_family: Some(family) });
                    set.ports.push(AddressPort { address, protocol: (*protocol).into(), port: (*port).into() });
                }
            }
        }
        set
    };
    Sets::read(&numbers.into_iter().map(of).collect::<Vec<_>>()).expect("sets")
}

fn member(number: u32, address: &str) -> (u32, IpAddr, Option<(u8, u16)>) {
    (number, address.parse().unwrap(), None)
}

#[test]
fn members_are_kept_at_their_end() {
    require_privileged!();
    let mut lab = Lab::new(64, 1);
    let members: Members = vec![
        member(1, "10.0.0.1"),
        member(1, "fd00::1"),
        member(2, "10.0.0.9"),
        (3, "10.0.0.5".parse().unwrap(), Some((6, 30080))),
    ];
    let web = frame("10.0.0.1", "10.0.0.9").tcp(40000, 80, ACK);
    let node_port = |port| frame("10.0.0.7", "10.0.0.5").tcp(40000, port, ACK);
    for (json, packet, kept) in [
        (r#"[{"set":1}]"#, &web, true),
        (r#"[{"set":1}]"#, &frame("10.0.0.9", "10.0.0.1").tcp(80, 40000, ACK), true),
        (r#"[{"set":1}]"#, &frame("10.0.0.9", "10.0.0.2").tcp(80, 40000, ACK), false),
        (r#"[{"set":1}]"#, &frame("fd00::1", "fd00::9").udp(1, 2), true),
        (r#"[{"set":1}]"#, &frame("fd00::2", "fd00::9").udp(1, 2), false),
        (r#"[{"set":1,"port":443}]"#, &web, false),
        (r#"[{"set":1,"peer_set":2}]"#, &web, true),
        (r#"[{"set":1,"peer_set":2}]"#, &frame("10.0.0.1", "10.0.0.8").udp(1, 2), false),
        (r#"[{"set":1,"peer_cidr":"10.0.0.8/29"}]"#, &web, true),
        (r#"[{"set":1,"ip_cidr":"10.0.0.8/29"}]"#, &web, false),
        (r#"[{"set":1,"not_set":2}]"#, &web, false),
        (r#"[{"not_set":2}]"#, &web, false),
        (r#"[{"not_set":2}]"#, &frame("10.0.0.1", "10.0.0.8").udp(1, 2), true),
        (r#"[{"set":1,"action":"Reject"}]"#, &web, false),
        (r#"[{"set":7}]"#, &web, false),
        (r#"[{"set":3}]"#, &node_port(30080), true),
        (r#"[{"set":3}]"#, &node_port(30081), false),
        (r#"[{"set":3}]"#, &frame("10.0.0.5", "10.0.0.7").tcp(30080, 40000, ACK), true),
        (r#"[{"set":3}]"#, &frame("10.0.0.7", "10.0.0.5").udp(40000, 30080), false),
        // ARP has no address.
        (r#"[{"set":1}]"#, &Frame::new([2; 6], [4; 6]).other(0x0806, &[10; 28]), false),
    ] {
        lab.put_sets(&rules(json), &sets(&members));
        // Once more, when the program remembers the verdict.
        lab.run(INGRESS, &packet.build(), 2);
        assert_eq!(lab.packets(), if kept { 2 } else { 0 }, "{json}");
    }
}

#[test]
fn an_address_that_is_taken_out_is_not_counted_one_packet_longer() {
    require_privileged!();
    let mut lab = Lab::new(64, 1);
    let rules = rules(r#"[{"set":1}]"#);
    let packet = frame("10.0.0.1", "10.0.0.9").tcp(40000, 80, ACK).build();
    lab.put_sets(&rules, &sets(&vec![member(1, "10.0.0.1")]));
    lab.run(INGRESS, &packet, 3);
    lab.put_sets(&rules, &sets(&vec![member(1, "10.0.0.2")]));
    // Its flow is in the map still.
    lab.run(INGRESS, &packet, 5);
    lab.put_sets(&rules, &sets(&vec![member(1, "10.0.0.9")]));
    lab.run(INGRESS, &packet, 2);
    assert_eq!(lab.packets(), 5);
}

/// Lists of rules with sets, and packets for each.
const LISTS: usize = 400;
const PACKETS: usize = 60;

#[test]
fn the_kernel_and_a_plain_evaluator_agree_on_sets() {
    require_privileged!();
    let seed = 0x5eed_05e7_5000_0001;
    println!("seed {seed:#x}");
    let (mut random, mut lab) = (Random::new(seed), Lab::new(1024, 1));
    let (mut kept, mut all) = (0, 0);
    for _ in 0..LISTS {
        let json = plain_rules::random_list_with(&mut random, true);
        let list = rules(&json);
        let other = rules(&plain_rules::random_list(&mut random));
        let narrowed = random.one_in(2).then(|| narrow(&[list.clone(), other.clone()]));
        let in_force = match &narrowed {
            Some(Ok(rules)) => rules,
            Some(Err(_)) => continue,
            None => &list,
        };
        let members = plain_rules::random_sets(&mut random);
        lab.put_sets(in_force, &sets(&members));
        let (mut expected, mut counted) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..PACKETS {
            let packet = Packet::random(&mut random);
            let wanted = plain_rules::keeps_with(&list, &members, &packet)
                && (narrowed.is_none() || plain_rules::keeps(&other, &packet));
            // The second time the program remembers the verdict.
            lab.run(packet.direction, &packet.frame().build(), 2);
            if wanted {
                *expected.entry(packet.name()).or_insert(0) += 2;
            }
            (kept, all) = (kept + usize::from(wanted), all + 1);
        }
        lab.flows().iter().for_each(|(key, count)| *counted.entry(name(key)).or_insert(0) += count.packets);
        assert_eq!(counted, expected, "{json} {members:?}");
    }
    println!("{kept} of {all} packets kept");
    assert!((all / 8..all * 7 / 8).contains(&kept), "cases of both kinds: {kept} of {all}");
}

/// Addresses of 10.x.y.z with this x.
fn many(number: u32, network: u8, count: u16) -> Members {
    (0..count).map(|n| (number, [10, network, (n >> 8) as u8, n as u8].into(), None)).collect()
}

#[test]
fn no_packet_is_judged_by_half_a_set() {
    require_privileged!();
    const TURNS: u32 = 60;
    let mut lab = Lab::new(1024, 1);
    // A is in both, B in the first, C in the second: so a packet from A is always kept, and one between B and C never is.
    let rules = rules(r#"[{"set":1,"peer_set":1},{"set":2}]"#);
    let turn = |member_of_turn: &str, network| {
        let own = [member(1, member_of_turn), member(2, "192.0.2.1")];
        sets(&own.into_iter().chain(many(1, network, 3_000)).collect())
    };
    let (first, second) = (turn("192.0.2.2", 1), turn("192.0.2.3", 2));
    lab.put_sets(&rules, &first);
    lab.flows();
    let (program, end) = (lab.program(INGRESS), AtomicBool::new(false));
    let always = frame("192.0.2.1", "198.51.100.1").udp(1, 2).build();
    let never = frame("192.0.2.2", "192.0.2.3").udp(1, 2).build();
    let run = std::thread::scope(|scope| {
        let runner = scope.spawn(|| {
            let mut run = 0_u64;
            while !end.load(Relaxed) {
                for frame in [&always, &never] {
                    sys::test_run(program.as_fd(), frame, 100).expect("a test run");
                }
                run += 100;
            }
            run
        });
        for number in 0..TURNS {
            lab.put_sets(&rules, if number % 2 == 0 { &second } else { &first });
        }
        end.store(true, Relaxed);
        runner.join().expect("it does not panic")
    });
    let flows = lab.flows();
    assert_eq!(flows.len(), 1, "{flows:?}");
    assert_eq!(flows[0].1.packets, run, "each packet of a member");
    println!("{run} packets of each kind in {TURNS} changes");
}

#[test]
fn a_hundred_thousand_addresses_take_their_turn() {
    require_privileged!();
    let mut lab = Lab::new(1024, 1);
    let rules = rules(r#"[{"set":1}]"#);
    let all = |first: u8| (first..first + 2).flat_map(|network| many(1, network, 50_000)).collect::<Members>();
    let kept = |lab: &mut Lab, address: &str| {
        lab.run(INGRESS, &frame(address, "192.0.2.1").udp(1, 2).build(), 1);
        lab.packets() == 1
    };
    for first in [1, 3, 5, 1] {
        lab.put_sets(&rules, &sets(&all(first)));
        for network in 1..=6 {
            let here = (first..first + 2).contains(&network);
            assert_eq!(kept(&mut lab, &format!("10.{network}.195.79")), here, "the last of network {network}");
            assert!(!kept(&mut lab, &format!("10.{network}.195.80")), "one more");
        }
    }
    // One is changed among them.
    let mut members = all(1);
    members[77].1 = "172.16.0.1".parse().unwrap();
    lab.put_sets(&rules, &sets(&members));
    assert!(!kept(&mut lab, "10.1.0.77") && kept(&mut lab, "172.16.0.1") && kept(&mut lab, "10.1.0.78"));
    lab.put_sets(&rules, &Sets::default());
    assert!(!kept(&mut lab, "172.16.0.1"));
}
