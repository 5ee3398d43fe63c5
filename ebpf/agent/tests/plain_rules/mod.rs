//! The meaning of filter rules once more, as plainly as can be: rule by rule, condition by condition, without masks or
//! tables. And random rules and packets that meet often enough to tell.
#![allow(unreachable_pub, reason = "a module of one test")]

use std::net::IpAddr;

use netobserv_agent::rules::{Action, ICMP, ICMPV6, Prefix, Rule, SCTP, TCP, UDP, holds};
use netobserv_ebpf_common::{EGRESS, INGRESS};
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

/// Whether a packet is kept.
pub fn keeps(rules: &[Rule], packet: &Packet) -> bool {
    for rule in rules {
        if matches(rule, packet) {
            return rule.action == Action::Accept;
        }
    }
    rules.iter().all(|rule| rule.action == Action::Reject)
}

fn matches(rule: &Rule, packet: &Packet) -> bool {
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
    if !(inside(rule.cidr, src) && inside(rule.peer, dst) || inside(rule.cidr, dst) && inside(rule.peer, src)) {
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

/// One to 64 rules as JSON, most of them with few conditions, so that packets match now and then.
pub fn random_list(random: &mut Random) -> String {
    let count = if random.one_in(8) { 64 } else { 1 + random.below(6) };
    let only_reject = random.one_in(4);
    let rules: Vec<String> = (0..count).map(|_| random_rule(random, only_reject)).collect();
    format!("[{}]", rules.join(","))
}

fn random_rule(random: &mut Random, only_reject: bool) -> String {
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
