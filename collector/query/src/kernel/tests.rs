//! Which rules are made of conditions, and that they never keep too little.

use super::*;
use crate::Query;

fn made(text: &str, directions: bool) -> Split {
    split(&Query::parse(text).unwrap_or_else(|error| panic!("{error}")).expr, directions)
}

fn rules(text: &str, directions: bool) -> Vec<String> {
    let split = made(text, directions);
    split.rules.iter().map(Rule::to_string).collect()
}

#[test]
fn conditions_of_packets_are_rules() {
    for (text, wanted) in [
        ("tcp port 80", &["keep TCP, port 80"][..]),
        ("tcp port 80 and host 10.0.0.1", &["keep TCP, port 80, one end in 10.0.0.1/32"]),
        ("dst port 53 or src port 53", &["keep port 53"]),
        ("udp dst port 53", &["keep UDP, destination port 53"]),
        ("portrange 80-90", &["keep ports 80 to 90"]),
        ("port>1023", &["keep ports 1024 to 65535"]),
        ("sport<1024", &[]),
        ("host 10.0.0.1 and host 10.0.0.2", &["keep one end in 10.0.0.1/32, the other end in 10.0.0.2/32"]),
        ("src 10.0.0.1 and dst net 10.1.0.0/16", &["keep one end in 10.0.0.1/32, the other end in 10.1.0.0/16"]),
        ("net 10.0.0.0/8 and host 10.0.0.1", &["keep one end in 10.0.0.1/32"]),
        ("icmp or icmp6", &["keep ICMP, one end in 0.0.0.0/0", "keep ICMPv6, one end in ::/0"]),
        ("ip6 and udp", &["keep UDP, one end in ::/0"]),
        ("not port 22", &["leave out port 22"]),
        ("not port 22 and tcp", &["leave out port 22", "keep TCP"]),
        ("not (tcp and host 10.0.0.1)", &["leave out TCP, one end in 10.0.0.1/32"]),
        ("not src 10.0.0.1", &[]),
        ("tcp or bytes>1000", &[]),
        ("tcp and bytes>1000", &["keep TCP"]),
        ("vlan 5 and udp", &["keep UDP"]),
        ("proto=tcp and ip=10.0.0.0/8", &["keep TCP, one end in 10.0.0.0/8"]),
        ("pod:shop/web and port 80", &["keep port 80, one end is pod shop/web"]),
        ("src pod:web and dst svc:db", &["keep one end is pod web, the other end is service db"]),
        ("not pod:shop/web", &["keep no end is pod shop/web"]),
        ("pod:web or host 10.0.0.1", &["keep one end is pod web", "keep one end in 10.0.0.1/32"]),
        ("ip proto 47", &["keep one end in 0.0.0.0/0"]),
        ("tcp port 80 or 443", &["keep TCP, port 80", "keep TCP, port 443"]),
        ("port 0", &[]),
    ] {
        assert_eq!(rules(text, true), wanted, "{text}");
    }
}

#[test]
fn of_flows_both_directions_are_kept() {
    assert_eq!(rules("dst port 53", false), ["keep port 53"]);
    assert_eq!(rules("not dst port 53", false), [""; 0]);
    assert_eq!(rules("sport=1 and dport=2", false), ["keep port 1"]);
    assert!(made("dst port 53", false).in_kernel.is_empty());
}

#[test]
fn what_no_packet_meets_is_seen() {
    for text in [
        "tcp and udp",
        "icmp and port 80",
        "ip and host fd00::1",
        "src 10.0.0.1 and dst fd00::1",
        "port 0 and tcp and udp",
    ] {
        assert!(made(text, true).impossible, "{text}");
    }
    assert!(!made("tcp or udp", true).impossible && !made("bytes>1", true).impossible);
}

#[test]
fn each_part_is_decided_somewhere() {
    let split = made("tcp and dst net 10.0.0.0/8 and rtt>5ms and not port 22", true);
    assert_eq!(split.in_kernel, ["not (SrcPort = 22 or DstPort = 22)", "Proto = 6"]);
    assert_eq!(split.in_both, ["DstAddr = 10.0.0.0/8"]);
    assert_eq!(split.in_collector, ["TimeFlowRttNs > 5000000"]);
    let split = made("pod:web and pod:db and port 80", true);
    assert!(split.in_kernel.is_empty() && split.in_both.len() == 3, "{split:?}");
    let many = (1..200).map(|port| format!("port {}", port * 2)).collect::<Vec<_>>().join(" or ");
    let split = made(&many, true);
    assert!(split.rules.is_empty() && split.in_collector.len() == 1);
}

#[test]
fn conditions_have_the_keys_of_agents() {
    let split = made("udp and port 80 and src pod:web and dst net fd00::/8", true);
    let numbers = split.rules[0].conditions(|term| if term.text() == "web" { 3 } else { 0 });
    let text = |text: &str| Condition::Text(text.into());
    let wanted = [
        ("set", Condition::Number(3)),
        ("peer_cidr", text("fd00::/8")),
        ("protocol", text("UDP")),
        ("port", Condition::Number(80)),
    ];
    assert_eq!(numbers, wanted);
}
