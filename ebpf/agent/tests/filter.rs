//! What the filter rules keep: packets through the real kernel programs, against cases written by hand and against
//! a plain evaluator.

mod lab;
mod plain_rules;

use std::collections::BTreeMap;

use lab::{Lab, Random};
use netobserv_agent::rules::{
    narrow::{NarrowError, narrow},
    parse::parse,
};
use netobserv_ebpf_common::{EGRESS, INGRESS};
use netobserv_testkit::{Frame, require_privileged};
use plain_rules::{Packet, name};

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn v4(src: &str, dst: &str) -> Frame {
    Frame::new(A, B).ipv4(src, dst)
}

fn v6(src: &str, dst: &str) -> Frame {
    Frame::new(A, B).ipv6(src, dst)
}

/// From 10.0.0.1 to 10.0.0.2.
fn ten() -> Frame {
    v4("10.0.0.1", "10.0.0.2")
}

fn tcp(flags: u8) -> Frame {
    ten().tcp(40000, 80, flags)
}

/// Runs one frame under one list of rules.
struct Bench(Lab);

impl Bench {
    #[track_caller]
    fn seen(&mut self, title: &str, direction: u8, rules: &str, frame: &Frame, kept: bool) {
        self.0.rules(rules);
        self.0.run(direction, &frame.build(), 1);
        assert_eq!(self.0.packets(), u64::from(kept), "{title}: {rules}");
    }

    #[track_caller]
    fn keeps(&mut self, rules: &str, frame: &Frame) {
        self.seen("is kept", INGRESS, rules, frame, true);
    }

    #[track_caller]
    fn leaves(&mut self, rules: &str, frame: &Frame) {
        self.seen("is not kept", INGRESS, rules, frame, false);
    }
}

#[test]
fn actions_and_their_order() {
    require_privileged!();
    let mut b = Bench(Lab::new(64, 1));
    let packet = tcp(ACK);
    b.keeps("[]", &packet);
    b.keeps("[{}]", &packet);
    b.leaves(r#"[{"action":"Reject"}]"#, &packet);
    b.keeps(r#"[{"protocol":"TCP"}]"#, &packet);
    b.leaves(r#"[{"protocol":"UDP"}]"#, &packet);
    // Nothing matches: kept only when every rule is Reject.
    b.keeps(r#"[{"protocol":"UDP","action":"Reject"}]"#, &packet);
    b.keeps(r#"[{"protocol":"UDP","action":"Reject"},{"port":443,"action":"Reject"}]"#, &packet);
    b.leaves(r#"[{"protocol":"UDP","action":"Reject"},{"port":443}]"#, &packet);
    // The first match decides, also when a later rule is narrower.
    b.keeps(r#"[{"protocol":"TCP"},{"port":80,"action":"Reject"}]"#, &packet);
    b.leaves(r#"[{"port":80,"action":"Reject"},{"protocol":"TCP"}]"#, &packet);
    b.keeps(r#"[{"port":81,"action":"Reject"},{"protocol":"TCP"}]"#, &packet);
    // Both of the example that the original keeps only one of.
    let example = r#"[{"protocol":"TCP","port":8080},{"protocol":"UDP"}]"#;
    b.keeps(example, &ten().tcp(1, 8080, ACK));
    b.keeps(example, &ten().udp(1, 2));
    b.leaves(example, &packet);
    b.leaves(example, &ten().icmp(8, 0));
    // 64 rules, of which the last one matches.
    let many = (1..64).map(|port| format!(r#"{{"port":{port}}}"#)).collect::<Vec<_>>().join(",");
    b.keeps(&format!(r#"[{many},{{"port":80}}]"#), &packet);
    b.leaves(&format!(r#"[{many},{{"port":81}}]"#), &packet);
}

#[test]
fn addresses_and_peers() {
    require_privileged!();
    let mut b = Bench(Lab::new(64, 1));
    let there = v4("10.0.0.1", "192.0.2.9").udp(1, 2);
    let back = v4("192.0.2.9", "10.0.0.1").udp(2, 1);
    for packet in [&there, &back] {
        b.keeps(r#"[{"ip_cidr":"10.0.0.0/8"}]"#, packet);
        b.keeps(r#"[{"ip_cidr":"192.0.2.9/32"}]"#, packet);
        b.keeps(r#"[{"ip_cidr":"0.0.0.0/0"}]"#, packet);
        b.leaves(r#"[{"ip_cidr":"10.0.0.2/32"}]"#, packet);
        // A rejected host is rejected in both directions, whatever comes after.
        b.leaves(r#"[{"ip_cidr":"192.0.2.9/32","action":"Reject"},{"ip_cidr":"0.0.0.0/0"}]"#, packet);
        // Outside the rejected network everything is kept, and so is inside what the rule does not match.
        b.keeps(r#"[{"ip_cidr":"172.16.0.0/12","action":"Reject"}]"#, packet);
        b.keeps(r#"[{"ip_cidr":"10.0.0.0/8","protocol":"TCP","action":"Reject"}]"#, packet);
        // The longest prefix is no better than the first rule.
        b.keeps(r#"[{"ip_cidr":"10.0.0.0/8"},{"ip_cidr":"10.0.0.1/32","action":"Reject"}]"#, packet);
        // A longer prefix that does not match in full does not hide the shorter one.
        b.keeps(r#"[{"ip_cidr":"10.0.0.1/32","protocol":"TCP"},{"ip_cidr":"10.0.0.0/8"}]"#, packet);
        // The same prefix twice.
        b.keeps(r#"[{"ip_cidr":"10.0.0.0/8","protocol":"UDP"},{"ip_cidr":"10.0.0.0/8","protocol":"TCP"}]"#, packet);
        // Peers: the other end, by address and by network.
        b.keeps(r#"[{"ip_cidr":"10.0.0.0/8","peer_ip":"192.0.2.9"}]"#, packet);
        b.keeps(r#"[{"ip_cidr":"192.0.2.0/24","peer_cidr":"10.0.0.0/8"}]"#, packet);
        b.leaves(r#"[{"ip_cidr":"10.0.0.0/8","peer_ip":"192.0.2.8"}]"#, packet);
        b.leaves(r#"[{"ip_cidr":"10.0.0.0/8","peer_cidr":"10.0.0.0/8"}]"#, packet);
        b.keeps(r#"[{"peer_ip":"192.0.2.9"}]"#, packet);
        // Another rule's peer is no help.
        b.leaves(r#"[{"ip_cidr":"10.0.0.0/8","peer_ip":"192.0.2.8"},{"port":99,"peer_ip":"192.0.2.9"}]"#, packet);
    }
    // One family's prefixes mean nothing for the other, not even where the bytes are the same.
    let six = v6("a00::1", "a00::2").udp(1, 2);
    let mapped = v6("::ffff:10.0.0.1", "::ffff:10.0.0.2").udp(1, 2);
    b.leaves(r#"[{"ip_cidr":"10.0.0.0/8"}]"#, &six);
    b.leaves(r#"[{"ip_cidr":"10.0.0.0/8"}]"#, &mapped);
    b.leaves(r#"[{"ip_cidr":"0.0.0.0/0"}]"#, &six);
    b.leaves(r#"[{"ip_cidr":"a00::/8"}]"#, &ten().udp(1, 2));
    b.leaves(r#"[{"ip_cidr":"::/0"}]"#, &ten().udp(1, 2));
    b.leaves(r#"[{"ip_cidr":"::ffff:0:0/96"}]"#, &ten().udp(1, 2));
    b.keeps(r#"[{"ip_cidr":"::/0"}]"#, &six);
    b.keeps(r#"[{"ip_cidr":"a00::2/128","peer_ip":"a00::1"}]"#, &six);
    b.leaves(r#"[{"ip_cidr":"a00::3/128"}]"#, &six);
    // ARP has no address and no protocol: only a rule without conditions keeps it.
    let arp = Frame::new(A, B).other(0x0806, &[10; 28]);
    b.keeps("[{}]", &arp);
    b.leaves(r#"[{"ip_cidr":"0.0.0.0/0"}]"#, &arp);
    b.leaves(r#"[{"ip_cidr":"::/0"}]"#, &arp);
    b.leaves(r#"[{"protocol":"TCP"}]"#, &arp);
    b.keeps(r#"[{"protocol":"TCP","action":"Reject"}]"#, &arp);
}

#[test]
fn ports_and_directions() {
    require_privileged!();
    let mut b = Bench(Lab::new(64, 1));
    for packet in [&tcp(ACK), &ten().udp(40000, 80), &ten().sctp(40000, 80), &v6("fd00::1", "fd00::2").udp(40000, 80)] {
        b.keeps(r#"[{"port":80}]"#, packet);
        b.keeps(r#"[{"port":40000}]"#, packet);
        b.keeps(r#"[{"destination_port":80}]"#, packet);
        b.leaves(r#"[{"source_port":80}]"#, packet);
        b.keeps(r#"[{"source_port":40000,"destination_port":80}]"#, packet);
        b.leaves(r#"[{"source_port":40000,"destination_port":81}]"#, packet);
    }
    let packet = tcp(ACK);
    b.keeps(r#"[{"port_range":"80-90"}]"#, &packet);
    b.keeps(r#"[{"destination_port_range":"70-80"}]"#, &packet);
    b.leaves(r#"[{"destination_port_range":"81-65535"}]"#, &packet);
    b.keeps(r#"[{"source_port_range":"1-65535"}]"#, &packet);
    b.keeps(r#"[{"ports":"443,8080,80"}]"#, &packet);
    b.leaves(r#"[{"source_ports":"443,80"}]"#, &packet);
    b.keeps(r#"[{"destination_ports":"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,80"}]"#, &packet);
    // Two conditions, one for each end: `port` is another one in addition to them.
    b.keeps(r#"[{"port":40000,"destination_port":80}]"#, &packet);
    b.leaves(r#"[{"port":443,"destination_port":80}]"#, &packet);
    // What has no ports is not let in by a condition on them.
    b.leaves(r#"[{"port":80}]"#, &ten().icmp(8, 0));
    b.leaves(r#"[{"port_range":"1-65535"}]"#, &ten().protocol(47).payload(20));
    b.keeps(r#"[{"port_range":"1-65535","action":"Reject"}]"#, &ten().icmp(8, 0));
    b.seen("in", INGRESS, r#"[{"direction":"Ingress"}]"#, &packet, true);
    b.seen("out", EGRESS, r#"[{"direction":"Ingress"}]"#, &packet, false);
    b.seen("out", EGRESS, r#"[{"direction":"Egress","protocol":"TCP"}]"#, &packet, true);
    b.seen("in", INGRESS, r#"[{"direction":"Egress","action":"Reject"}]"#, &packet, true);
}

#[test]
fn flags_icmp_and_drops() {
    require_privileged!();
    let mut b = Bench(Lab::new(64, 1));
    for (word, fit, misfit) in [
        ("SYN", &[0x02, 0xc2][..], &[0x12, 0x10][..]),
        ("SYN-ACK", &[0x12], &[0x02, 0x10]),
        ("ACK", &[0x10, 0x18, 0x30], &[0x11, 0x12, 0x14, 0x02]),
        ("FIN", &[0x01], &[0x11, 0x10]),
        ("FIN-ACK", &[0x11, 0x19], &[0x01, 0x10]),
        ("RST", &[0x04], &[0x14]),
        ("RST-ACK", &[0x14], &[0x04, 0x10]),
        ("PSH", &[0x18, 0x08], &[0x10]),
        ("push", &[0x18, 0x08], &[0x10]),
        ("URG", &[0x30], &[0x10]),
        ("ECE", &[0x42, 0x50], &[0x10]),
        ("CWR", &[0x82, 0x90], &[0x10]),
    ] {
        let rules = format!(r#"[{{"tcp_flags":"{word}"}}]"#);
        fit.iter().for_each(|flags| b.keeps(&rules, &tcp(*flags)));
        misfit.iter().for_each(|flags| b.leaves(&rules, &tcp(*flags)));
        // No flags, no match: the condition holds for TCP only.
        b.leaves(&rules, &ten().udp(1, 2));
    }
    b.keeps(r#"[{"protocol":"icmp","icmp_type":0}]"#, &ten().icmp(0, 0));
    b.leaves(r#"[{"protocol":"ICMP","icmp_type":0}]"#, &ten().icmp(8, 0));
    b.keeps(r#"[{"icmp_type":3,"icmp_code":3}]"#, &ten().icmp(3, 3));
    b.leaves(r#"[{"icmp_type":3,"icmp_code":0}]"#, &ten().icmp(3, 3));
    b.keeps(r#"[{"protocol":"ICMPv6","icmp_type":128}]"#, &v6("fd00::1", "fd00::2").icmp(128, 0));
    b.leaves(r#"[{"protocol":"ICMP","icmp_type":128}]"#, &v6("fd00::1", "fd00::2").icmp(128, 0));
    b.leaves(r#"[{"icmp_type":0}]"#, &ten().udp(1, 2));
    // Nothing was dropped here.
    b.leaves(r#"[{"drops":true}]"#, &tcp(ACK));
    b.keeps(r#"[{"drops":true,"action":"Reject"}]"#, &tcp(ACK));
    b.keeps(r#"[{"drops":true},{"protocol":"TCP"}]"#, &tcp(ACK));
    // The rule that the original's command line writes, with one key set.
    let original = r#"[{"direction":"","ip_cidr":"0.0.0.0/0","protocol":"ICMP","source_port":0,"destination_port":0,
        "port":0,"source_port_range":"","source_ports":"","destination_port_range":"","destination_ports":"",
        "port_range":"","ports":"","icmp_type":0,"icmp_code":0,"peer_ip":"","peer_cidr":"","action":"Accept",
        "tcp_flags":"","drops":false}]"#;
    b.keeps(original, &ten().icmp(8, 0));
    b.leaves(original, &tcp(ACK));
}

#[test]
fn a_flow_with_flag_rules_counts_only_what_fits() {
    require_privileged!();
    let mut lab = Lab::new(64, 1);
    lab.rules(r#"[{"tcp_flags":"SYN"},{"protocol":"UDP"}]"#);
    for flags in [SYN, SYN | ACK, ACK, ACK, SYN, 0x11] {
        lab.run(INGRESS, &tcp(flags).build(), 1);
    }
    let flows = lab.flows();
    assert_eq!((flows.len(), flows[0].1.packets, flows[0].1.tcp_flags), (1, 2, u32::from(SYN)));
}

#[test]
fn rules_are_replaced_while_flows_go_on() {
    require_privileged!();
    let mut lab = Lab::new(64, 1);
    let (web, dns) = (tcp(ACK).build(), ten().udp(1, 53).build());
    for (rules, kept) in [
        (r#"[{"port":80}]"#, [3, 0]),
        (r#"[{"port":53,"ip_cidr":"10.0.0.0/8"}]"#, [0, 3]),
        (r#"[{"ip_cidr":"10.0.0.0/9","port":80},{"port_range":"1-65535","action":"Reject"}]"#, [3, 0]),
        (r#"[{"ip_cidr":"10.0.0.0/9","action":"Reject"}]"#, [0, 0]),
        ("[]", [3, 3]),
        (r#"[{"protocol":"UDP"}]"#, [0, 3]),
    ] {
        lab.rules(rules);
        lab.flows();
        lab.run(INGRESS, &web, 3);
        lab.run(INGRESS, &dns, 3);
        let flows = lab.flows();
        let packets =
            |port| flows.iter().filter(|(key, _)| key.at.dst_port == port).map(|(_, c)| c.packets).sum::<u64>();
        assert_eq!([packets(80), packets(53)], kept, "{rules}");
    }
}

#[test]
fn a_rule_samples_what_it_matches() {
    require_privileged!();
    const RUNS: u32 = 50_000;
    let mut lab = Lab::new(64, 4);
    // Five standard deviations of a binomial distribution.
    let near = |packets: u64, sampling: u32| {
        let p = 1.0 / f64::from(sampling);
        let (mean, sigma) = (f64::from(RUNS) * p, (f64::from(RUNS) * p * (1.0 - p)).sqrt());
        assert!((packets as f64 - mean).abs() <= 5.0 * sigma, "{packets} packets, 1 in {sampling} of {RUNS}");
    };
    for (rules, samplings) in [
        ("[]", [Some(4), Some(4)]),
        (r#"[{"port":80}]"#, [Some(4), None]),
        (r#"[{"port":80,"sample":20},{"protocol":"UDP"}]"#, [Some(20), Some(4)]),
        (r#"[{"port":80,"sample":1},{"protocol":"UDP","sample":100}]"#, [Some(1), Some(100)]),
        (r#"[{"tcp_flags":"ACK","sample":50}]"#, [Some(50), None]),
    ] {
        lab.rules(rules);
        lab.flows();
        lab.run(INGRESS, &tcp(ACK).build(), RUNS);
        lab.run(INGRESS, &ten().udp(1, 53).build(), RUNS);
        let flows = lab.flows();
        for (port, sampling) in [80, 53].into_iter().zip(samplings) {
            let flow = flows.iter().find(|(key, _)| key.at.dst_port == port).map(|(_, count)| count);
            assert_eq!(flow.map(|count| count.sampling), sampling, "{rules}");
            if let (Some(count), Some(sampling)) = (flow, sampling) {
                near(count.packets, sampling);
            }
        }
    }
}

#[test]
fn more_flows_than_verdicts_are_remembered() {
    require_privileged!();
    const FLOWS: u16 = 12_000;
    let mut lab = Lab::new(65_536, 1);
    for rules in
        [r#"[{"destination_port_range":"1-6000"}]"#, r#"[{"tcp_flags":"ACK","destination_port_range":"1-6000"}]"#]
    {
        lab.rules(rules);
        lab.flows();
        for port in (1..=FLOWS).chain(1..=FLOWS) {
            lab.run(INGRESS, &ten().tcp(1, port, ACK).build(), 1);
            lab.run(INGRESS, &v6("fd00::1", "fd00::2").tcp(1, port, ACK).build(), 1);
        }
        let flows = lab.flows();
        assert_eq!(flows.len(), 12_000, "{rules}: 6,000 of each family");
        assert!(flows.iter().all(|(key, count)| key.at.dst_port <= 6000 && count.packets == 2), "{rules}");
    }
}

/// Lists of rules, and packets for each.
const LISTS: usize = 400;
const PACKETS: usize = 60;

#[test]
fn the_kernel_and_a_plain_evaluator_agree() {
    require_privileged!();
    let seed = 0x5eed_f117_e400_0001;
    println!("seed {seed:#x}, {} cases", LISTS * PACKETS);
    let mut random = Random::new(seed);
    let mut lab = Lab::new(1024, 1);
    let mut kept = 0;
    for _ in 0..LISTS {
        let json = plain_rules::random_list(&mut random);
        let rules = lab.rules(&json);
        let mut expected = BTreeMap::new();
        let packets: Vec<Packet> = (0..PACKETS).map(|_| Packet::random(&mut random)).collect();
        // Once more, when the program remembers the verdict.
        for packet in packets.iter().chain(&packets) {
            lab.run(packet.direction, &packet.frame().build(), 1);
            if plain_rules::keeps(&rules, packet) {
                *expected.entry(packet.name()).or_insert(0) += 1;
            }
        }
        let mut counted = BTreeMap::new();
        lab.flows().iter().for_each(|(key, count)| *counted.entry(name(key)).or_insert(0) += count.packets);
        kept += expected.values().sum::<u64>();
        let differ: Vec<_> = expected
            .keys()
            .chain(counted.keys())
            .map(|name| (name, expected.get(name), counted.get(name)))
            .filter(|(_, expected, counted)| expected != counted)
            .collect();
        assert!(differ.is_empty(), "{json}: flow, expected packets, counted packets: {differ:?}");
    }
    println!("{kept} packets kept");
    assert!((LISTS * PACKETS / 5..LISTS * PACKETS * 9 / 5).contains(&(kept as usize)), "cases of both kinds: {kept}");
}

#[test]
fn a_narrowed_list_keeps_what_all_of_its_lists_keep() {
    require_privileged!();
    let seed = 0x5eed_0a88_0117_e401;
    println!("seed {seed:#x}");
    let mut random = Random::new(seed);
    let mut lab = Lab::new(1024, 1);
    let (mut kept, mut put, mut nothing) = (0, 0, 0);
    for _ in 0..LISTS {
        let texts = [(); 3].map(|()| plain_rules::random_list(&mut random));
        let lists: Vec<_> = texts.iter().map(|text| parse(text).expect("rules")).collect();
        let lists = &lists[..2 + random.below(2)];
        let packets: Vec<Packet> = (0..PACKETS).map(|_| Packet::random(&mut random)).collect();
        let wanted = |packet: &&Packet| lists.iter().all(|rules| plain_rules::keeps(rules, packet));
        let expected = packets.iter().filter(wanted).count() as u64;
        match narrow(lists) {
            Ok(rules) => {
                lab.put(&rules);
                packets.iter().for_each(|packet| lab.run(packet.direction, &packet.frame().build(), 1));
                assert_eq!(lab.packets(), expected, "{texts:?}");
                (kept, put) = (kept + expected, put + 1);
            }
            Err(NarrowError::Nothing) => {
                assert_eq!(expected, 0, "{texts:?}");
                nothing += 1;
            }
            Err(NarrowError::TooMany(_) | NarrowError::Sets) => {}
        }
    }
    println!("{put} lists in the kernel, {kept} packets kept; {nothing} lists keep nothing");
    assert!(put > LISTS / 3 && kept > 1000, "{put} lists, {kept} packets");
}

#[test]
fn no_rules_keep_everything_and_what_was_remembered_is_void() {
    require_privileged!();
    let mut lab = Lab::new(64, 1);
    for (rules, kept) in
        [("[]", 2), (r#"[{"port":81}]"#, 0), ("[]", 2), (r#"[{"port":80}]"#, 2), (r#"[{"port":81}]"#, 0)]
    {
        lab.rules(rules);
        lab.flows();
        lab.run(INGRESS, &tcp(ACK).build(), 2);
        assert_eq!(lab.packets(), kept, "{rules}");
    }
}
