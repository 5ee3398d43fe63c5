//! The meaning of filter rules once more, as plainly as can be: rule by rule, condition by condition, without masks or
//! tables. And random rules and packets that meet often enough to show a difference.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{net::IpAddr, num::NonZeroU32};

use netobserv_agent::rules::{Action, ICMP, ICMPV6, Prefix, Rule, SCTP, TCP, UDP, holds};
use netobserv_ebpf_common::{EGRESS, INGRESS, Key6};
use netobserv_testkit::Frame;

use crate::lab::Random;

/// A packet, not yet a frame.
pub struct Packet {
    pub direction: u8,
    src: &'static str,
    dst: &'static str,
    protocol: u8,
    /// Or ICMP type and code.
    ports: (u16, u16),
    flags: u8,
}

/// Elements of sets: number of the set, address, and protocol and port if it is not all of the address.
pub type Members = Vec<(u32, IpAddr, Option<(u8, u16)>)>;

/// Whether a packet is kept.
pub fn keeps(rules: &[Rule], packet: &Packet) -> bool {
    keeps_with(rules, &Members::new(), packet)
}

/// Whether a packet is kept by rules that name these sets.
pub fn keeps_with(rules: &[Rule], sets: &Members, packet: &Packet) -> bool {
    for rule in rules {
        if matches(rule, sets, packet) {
            return rule.action == Action::Accept;
        }
    }
    rules.iter().all(|rule| rule.action == Action::Reject)
}

fn matches(rule: &Rule, sets: &Members, packet: &Packet) -> bool {
    let (src, dst): (IpAddr, IpAddr) = (packet.src.parse().unwrap(), packet.dst.parse().unwrap());
    let (sport, dport) = packet.ports;
    let has_ports = [TCP, UDP, SCTP].contains(&packet.protocol);
    let has_icmp = [ICMP, ICMPV6].contains(&packet.protocol);
    if rule.drops {
        return false;
    }
    if rule.protocol.is_some_and(|protocol| protocol != packet.protocol) {
        return false;
    }
    if rule.direction.is_some_and(|direction| direction != packet.direction) {
        return false;
    }
    let member = |set: u32, address: IpAddr, port: u16| {
        let end = Some((packet.protocol, port)).filter(|_| has_ports);
        sets.iter().any(|(number, its, port)| *number == set && *its == address && (port.is_none() || *port == end))
    };
    let fits = |prefix, set: Option<NonZeroU32>, address, port| {
        inside(prefix, address) && set.is_none_or(|set| member(set.get(), address, port))
    };
    let this = |address, port| fits(rule.cidr, rule.set, address, port);
    let peer = |address, port| fits(rule.peer, rule.peer_set, address, port);
    if !(this(src, sport) && peer(dst, dport) || this(dst, dport) && peer(src, sport)) {
        return false;
    }
    if rule.not_set.is_some_and(|set| member(set.get(), src, sport) || member(set.get(), dst, dport)) {
        return false;
    }
    if let Some(ports) = &rule.source_port
        && !(has_ports && holds(ports, sport))
    {
        return false;
    }
    if let Some(ports) = &rule.destination_port
        && !(has_ports && holds(ports, dport))
    {
        return false;
    }
    if let Some(ports) = &rule.port
        && !(has_ports && (holds(ports, sport) || holds(ports, dport)))
    {
        return false;
    }
    if rule.icmp_type.is_some_and(|kind| !has_icmp || u16::from(kind) != sport) {
        return false;
    }
    if rule.icmp_code.is_some_and(|code| !has_icmp || u16::from(code) != dport) {
        return false;
    }
    !rule.tcp_flags.is_some_and(|wanted| packet.protocol != TCP || packet.flags & wanted.mask != wanted.set)
}

/// Bit by bit from the left.
fn inside(prefix: Option<Prefix>, address: IpAddr) -> bool {
    let Some(prefix) = prefix else { return true };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => format!("{:032b}", v4.to_bits()),
        IpAddr::V6(v6) => format!("{:0128b}", v6.to_bits()),
    };
    let length = usize::from(prefix.length());
    prefix.address().is_ipv4() == address.is_ipv4() && bits(prefix.address())[..length] == bits(address)[..length]
}

const V4: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.1.0.1", "192.0.2.9", "172.16.5.5", "255.255.255.255"];
const V6: [&str; 5] = ["a00::1", "fd00::1", "fd00::2", "fd00:0:0:1::1", "::ffff:10.0.0.1"];
const PORTS: [u16; 6] = [1, 53, 80, 443, 8080, 65535];
const FLAGS: [u8; 9] = [0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0xc2, 0x30];
const WORDS: [&str; 11] = ["SYN", "SYN-ACK", "ACK", "FIN", "RST", "PUSH", "URG", "ECE", "CWR", "FIN-ACK", "RST-ACK"];

impl Packet {
    pub fn random(random: &mut Random) -> Self {
        let (addresses, icmp) = if random.one_in(3) { (&V6[..], ICMPV6) } else { (&V4[..], ICMP) };
        let protocol = random.pick(&[TCP, TCP, TCP, UDP, UDP, SCTP, icmp, 47]);
        let ports = match protocol {
            ICMP | ICMPV6 => (random.pick(&[0, 3, 8, 128]), random.pick(&[0, 1, 3])),
            47 => (0, 0),
            _ => (random.pick(&PORTS), random.pick(&PORTS)),
        };
        Self {
            direction: random.pick(&[INGRESS, EGRESS]),
            src: random.pick(addresses),
            dst: random.pick(addresses),
            protocol,
            ports,
            flags: random.pick(&FLAGS),
        }
    }

    pub fn frame(&self) -> Frame {
        let frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let frame = if self.is_v4() { frame.ipv4(self.src, self.dst) } else { frame.ipv6(self.src, self.dst) };
        let (src, dst) = self.ports;
        match self.protocol {
            TCP => frame.tcp(src, dst, self.flags),
            UDP => frame.udp(src, dst),
            SCTP => frame.sctp(src, dst),
            ICMP | ICMPV6 => frame.icmp(src as u8, dst as u8),
            other => frame.protocol(other).payload(16),
        }
    }

    /// The same text for the same flow.
    pub fn name(&self) -> String {
        let wide = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let (ethertype, (src, dst)) = (if self.is_v4() { 0x800 } else { 0x86dd }, (wide(self.src), wide(self.dst)));
        let (sport, dport) = self.ports;
        format!("{ethertype:x} {src} {dst} {} {sport} {dport} {}", self.protocol, self.direction)
    }

    fn is_v4(&self) -> bool {
        self.src.contains('.') && !self.src.contains(':')
    }
}

/// The same text as [`Packet::name`].
pub fn name(key: &Key6) -> String {
    let at = &key.at;
    let address = |bytes: [u8; 16]| std::net::Ipv6Addr::from(bytes);
    let (src, dst) = (address(key.src), address(key.dst));
    format!("{:x} {src} {dst} {} {} {} {}", at.eth_proto, at.proto, at.src_port, at.dst_port, at.direction)
}

/// Three sets of some of the addresses, or of ports of them; most of them with few elements.
pub fn random_sets(random: &mut Random) -> Members {
    let addresses = V4.iter().chain(&V6).map(|text| text.parse::<IpAddr>().unwrap());
    let mut members = Members::new();
    for address in addresses.collect::<Vec<_>>() {
        for set in 1..=3 {
            if random.one_in(3) {
                let port = (random.pick(&[TCP, UDP, SCTP]), random.pick(&PORTS));
                members.push((set, address, random.one_in(3).then_some(port)));
            }
        }
    }
    members
}

/// One to 64 rules as JSON, most of them with few conditions, so that packets match now and then.
pub fn random_list(random: &mut Random) -> String {
    random_list_with(random, false)
}

/// The same, and rules that name the sets 1 to 3 if asked for.
pub fn random_list_with(random: &mut Random, sets: bool) -> String {
    let count = if random.one_in(8) { 64 } else { 1 + random.below(6) };
    let only_reject = random.one_in(4);
    let rules: Vec<String> = (0..count).map(|_| random_rule(random, only_reject, sets)).collect();
    format!("[{}]", rules.join(","))
}

fn random_rule(random: &mut Random, only_reject: bool, with_sets: bool) -> String {
    let mut keys = vec![];
    if only_reject || random.one_in(3) {
        keys.push(r#""action":"Reject""#.to_owned());
    }
    let family = random.pick(&[&V4[..], &V4[..], &V6[..]]);
    let network = |random: &mut Random| {
        let most = if family.len() == V4.len() { 32 } else { 128 };
        format!("{}/{}", random.pick(family), random.pick(&[0, 1, 7, 8, 9, 15, 16, 31, most - 1, most]))
    };
    if random.one_in(2) {
        keys.push(format!(r#""ip_cidr":"{}""#, network(random)));
    }
    match random.below(5) {
        0 => keys.push(format!(r#""peer_cidr":"{}""#, network(random))),
        1 => keys.push(format!(r#""peer_ip":"{}""#, random.pick(family))),
        _ => {}
    }
    if with_sets {
        for key in ["set", "peer_set", "not_set"] {
            if random.one_in(3) {
                keys.push(format!(r#""{key}":{}"#, 1 + random.below(3)));
            }
        }
    }
    if random.one_in(4) {
        keys.push(format!(r#""direction":"{}""#, random.pick(&["Ingress", "Egress"])));
    }
    transport(random, &mut keys);
    if random.one_in(16) {
        keys.push(r#""drops":true"#.to_owned());
    }
    format!("{{{}}}", keys.join(","))
}

fn transport(random: &mut Random, keys: &mut Vec<String>) {
    match random.below(6) {
        0 => keys.push(format!(r#""protocol":"{}""#, random.pick(&["tcp", "UDP", "SCTP", "ICMP", "ICMPv6"]))),
        1 => {
            if random.one_in(2) {
                keys.push(format!(r#""protocol":"{}""#, random.pick(&["TCP", "UDP", "SCTP"])));
            }
            ["source_port", "destination_port", "port"].iter().for_each(|key| {
                if random.one_in(2) {
                    keys.push(ports(random, key));
                }
            });
        }
        2 => {
            keys.push(format!(r#""icmp_type":{}"#, random.pick(&[0, 3, 8, 128])));
            if random.one_in(2) {
                keys.push(format!(r#""icmp_code":{}"#, random.pick(&[0, 1, 3])));
            }
        }
        3 => keys.push(format!(r#""tcp_flags":"{}""#, random.pick(&WORDS))),
        _ => {}
    }
}

fn ports(random: &mut Random, key: &str) -> String {
    let (a, b) = (random.pick(&PORTS), random.pick(&PORTS));
    match random.below(3) {
        0 => format!(r#""{key}":{a}"#),
        1 => format!(r#""{key}_range":"{}-{}""#, a.min(b), a.max(b)),
        _ => format!(r#""{key}s":"{a},{b}""#),
    }
}
