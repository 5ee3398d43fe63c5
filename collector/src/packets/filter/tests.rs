//! The verdicts of filters on packets are those of tcpdump, and what the kernel is asked for has all of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use netobserv_query::{Condition, Network, Query, Rule, split};
use netobserv_testkit::proc::Run;
use netobserv_testkit::{Dice, Frame};
use netobserv_wire::Packet;

use super::*;
use crate::packets::places::{Places, Source};

const FRAMES: usize = 10_000;
const V4: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.1.2.3", "192.168.1.9", "192.168.2.1", "172.16.0.5"];
const V6: [&str; 4] = ["fd00::1", "fd00::2", "fd00:1::7", "2001:db8::9"];
const PORTS: [u16; 9] = [0, 22, 53, 80, 81, 443, 1024, 8080, 65_535];
const TAGS: [u16; 3] = [5, 7, 4_095];

/// Single conditions; each alone, and with others.
const CONDITIONS: [&str; 44] = [
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "ip",
    "ip6",
    "arp",
    "host 10.0.0.1",
    "host fd00::1",
    "src host 10.0.0.2",
    "dst host 192.168.1.9",
    "ip host 10.1.2.3",
    "ip6 host fd00::2",
    "dst fd00:1::7",
    "src 10.0.0.1",
    "host 10.0.0.2 or 10.1.2.3",
    "net 10.0.0.0/8",
    "net 10.0",
    "src net 192.168.1",
    "dst net 172.16.0.0/12",
    "ip6 net fd00::/16",
    "net 192.168.0.0/16",
    "port 80",
    "src port 53",
    "dst port 443",
    "tcp port 80",
    "udp port 53",
    "udp src port 53",
    "tcp dst port 8080",
    "sctp port 22",
    "portrange 80-90",
    "src portrange 0-53",
    "dst portrange 1024-65535",
    "tcp portrange 443-8080",
    "port 0",
    "src or dst port 81",
    "ip proto 47",
    "ip6 proto 17",
    "proto 2",
    "ether host 02:00:00:00:00:01",
    "ether src 02:00:00:00:00:02",
    "ether dst 02:00:00:00:00:03",
    "port 80 or 443",
];
/// Of which tags and lengths are part: they are asked of the frames as they are.
const AS_THEY_ARE: [&str; 12] = [
    "vlan",
    "vlan 5",
    "not vlan",
    "not vlan 7",
    "vlan and tcp",
    "vlan 5 and udp port 53",
    "vlan 7 and host 10.0.0.1",
    "vlan and net 10.0.0.0/8 and not port 80",
    "vlan 5 and (icmp or icmp6)",
    "less 100",
    "greater 300",
    "vlan and greater 200 and tcp",
];

/// The number of the test below: frames and pairs are the same in each run.
fn dice() -> Dice {
    Dice::seeded(21)
}

fn pick<T: Copy>(dice: &mut Dice, from: &[T]) -> T {
    from[dice.number(0..=from.len() as u64 - 1) as usize]
}

/// A frame, and whether it has a tag.
fn frame(dice: &mut Dice) -> (Vec<u8>, bool) {
    let mac = |last: u64| [2, 0, 0, 0, 0, last as u8];
    let (src, dst) = (mac(dice.number(1..=4)), mac(dice.number(1..=4)));
    let mut frame = Frame::new(src, dst);
    let tagged = dice.number(0..=4) == 0;
    if tagged {
        frame = frame.vlan(0x8100, pick(dice, &TAGS));
    }
    let v6 = match dice.number(0..=20) {
        0 => {
            // From 192.0.2.1 to 192.0.2.2, which no condition asks for.
            let body =
                [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[9; 6], &[192, 0, 2, 1], &[0; 6], &[192, 0, 2, 2], &[0; 18]].concat();
            return (frame.other(0x0806, &body).build(), tagged);
        }
        1 => return (frame.other(0x88cc, &[7; 60]).build(), tagged),
        kind => kind > 14,
    };
    if v6 {
        frame = frame.ipv6(pick(dice, &V6), pick(dice, &V6));
    } else {
        frame = frame.ipv4(pick(dice, &V4), pick(dice, &V4));
        frame = if dice.number(0..=9) == 0 { frame.options(&[1; 8]) } else { frame };
    }
    // First fragments of IPv6 are the one case in which this program sees ports and tcpdump does not.
    match dice.number(0..=14) {
        0 => frame = frame.fragment(7, 64, true),
        1 if !v6 => frame = frame.fragment(7, 0, true),
        _ => {}
    }
    let (src, dst, payload) = (pick(dice, &PORTS), pick(dice, &PORTS), dice.number(0..=400) as usize);
    let frame = match dice.number(0..=9) {
        0..=3 => frame.tcp(src, dst, dice.number(0..=63) as u8),
        4..=6 => frame.udp(src, dst),
        7 => frame.sctp(src, dst),
        8 => frame.icmp(pick(dice, &[0, 3, 8, 128]), 0),
        _ => frame.protocol(pick(dice, &[2, 47, 50])),
    };
    (frame.payload(payload).build(), tagged)
}

/// A capture file whose times are the numbers of the frames (libpcap's format: little-endian, microseconds, Ethernet).
fn write(path: &Path, frames: &[Vec<u8>]) {
    let mut file: Vec<u8> =
        [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
    for (index, frame) in frames.iter().enumerate() {
        let length = frame.len() as u32;
        file.extend([index as u32, 0, length, length].iter().flat_map(|word| word.to_le_bytes()));
        file.extend(frame);
    }
    std::fs::write(path, file).unwrap();
}

/// The frames that tcpdump selects.
fn tcpdump(file: &Path, text: &str) -> BTreeSet<usize> {
    let run = Run::new("tcpdump").args(["-Z", "root", "-n", "-q", "-tt", "-r"]).arg(file).arg(text).finish();
    let nothing = run.stderr.contains("expression rejects all packets");
    assert!(run.status.success() || nothing, "{text}: {run}");
    let number = |line: &str| line.split_once(".000000 ")?.0.parse().ok();
    run.stdout.lines().filter_map(number).collect()
}

fn packet(frame: &[u8]) -> Packet {
    Packet { time_ns: 1, original: frame.len() as u32, data: frame.to_vec().into(), ..Packet::default() }
}

fn filter(text: &str) -> Filter {
    let query = [Query::parse(text).unwrap_or_else(|error| panic!("{error}"))];
    Filter::new(Predicate::without_names(&query), &query, None).unwrap()
}

/// Whether a packet passes rules, as the kernel judges it.
fn passes(rules: &[Rule], ends: &Ends) -> bool {
    let first = rules.iter().find(|rule| rule.conditions(|_| 0).iter().all(|(key, value)| meets(key, value, ends)));
    first.map_or_else(|| rules.iter().all(|rule| rule.reject), |rule| !rule.reject)
        && first.is_none_or(|rule| peers(rule, ends))
}

fn meets(key: &str, value: &Condition, ends: &Ends) -> bool {
    let text = match value {
        Condition::Text(text) => text.clone(),
        Condition::Number(number) => number.to_string(),
    };
    let (src, dst) = ends.ports.unzip();
    let port = |port: Option<u16>| {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        port.is_some_and(|port| (first.parse().unwrap()..=last.parse().unwrap()).contains(&port))
    };
    let network = || Network::parse(&text).unwrap();
    let addresses = ends.addresses.filter(|_| ends.etype != ARP);
    match key {
        "action" => true,
        "ip_cidr" | "peer_cidr" => addresses.is_some_and(|(src, dst)| network().holds(src) || network().holds(dst)),
        "protocol" => {
            let known = [("TCP", 6), ("UDP", 17), ("SCTP", 132), ("ICMP", 1), ("ICMPv6", 58)];
            known.iter().any(|(name, number)| *name == text && ends.proto == Some(*number))
        }
        "port" | "port_range" => port(src) || port(dst),
        "source_port" | "source_port_range" => port(src),
        "destination_port" | "destination_port_range" => port(dst),
        other => panic!("{other}"),
    }
}

/// The two networks of a rule are those of different ends.
fn peers(rule: &Rule, ends: &Ends) -> bool {
    let conditions = rule.conditions(|_| 0);
    let network = |wanted: &str| {
        conditions.iter().find_map(|(key, value)| match value {
            Condition::Text(text) if *key == wanted => Network::parse(text),
            _ => None,
        })
    };
    let Some((this, peer)) = network("ip_cidr").zip(network("peer_cidr")) else { return true };
    let both = |a: IpAddr, b: IpAddr| this.holds(a) && peer.holds(b);
    ends.addresses.is_some_and(|(src, dst)| both(src, dst) || both(dst, src))
}

/// 200 filters and more: each condition, and pairs and threes of them.
fn expressions() -> Vec<String> {
    let mut dice = dice();
    let mut all: Vec<String> = CONDITIONS.iter().chain(&AS_THEY_ARE).map(|text| (*text).to_owned()).collect();
    while all.len() < 220 {
        let [a, b, c] = [(); 3].map(|()| pick(&mut dice, &CONDITIONS));
        all.push(match dice.number(0..=6) {
            0 => format!("({a}) and ({b})"),
            1 => format!("{a} or {b}"),
            2 => format!("not ({a})"),
            3 => format!("({a} or {b}) and not ({c})"),
            4 => format!("not ({a} or {b})"),
            5 => format!("(({a}) and ({b})) or (({b}) and ({c}))"),
            _ => format!("!(({a}) && ({b})) || {c}"),
        });
    }
    all
}

#[test]
fn verdicts_are_those_of_tcpdump_and_the_kernel_keeps_all_that_is_wanted() {
    let mut dice = dice();
    let frames: Vec<(Vec<u8>, bool)> = (0..FRAMES).map(|_| frame(&mut dice)).collect();
    let as_they_are: Vec<Vec<u8>> = frames.iter().map(|(frame, _)| frame.clone()).collect();
    // tcpdump sees nothing behind a tag that it is not asked for; this program, as the rest of it, does.
    let untagged: Vec<Vec<u8>> = frames
        .iter()
        .map(|(frame, tagged)| if *tagged { [&frame[..12], &frame[16..]].concat() } else { frame.clone() })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let (whole, bare) = (folder.path().join("whole.pcap"), folder.path().join("bare.pcap"));
    write(&whole, &as_they_are);
    write(&bare, &untagged);
    let mut places = Places::default();
    let place = places.find(&Source { node: "n1".into(), instance: 1 }, 1);
    let packets: Vec<(Packet, Ends)> = as_they_are.iter().map(|frame| (packet(frame), Ends::of(frame))).collect();
    let (expressions, mut narrowed, mut some) = (expressions(), 0, 0);
    for text in &expressions {
        let reference = tcpdump(if AS_THEY_ARE.contains(&text.as_str()) { &whole } else { &bare }, text);
        let mut filter = filter(text);
        let ours: BTreeSet<usize> =
            (0..FRAMES).filter(|n| filter.keeps(&packets[*n].0, &places.all()[place])).collect();
        let differ: Vec<usize> = ours.symmetric_difference(&reference).copied().collect();
        let shown = differ.first().map(|n| format!("{n}: {:?} {:02x?}", packets[*n].1, as_they_are[*n]));
        assert!(differ.is_empty(), "{text}: {} frames are judged otherwise, such as {shown:?}", differ.len());
        let split = split(&Query::parse(text).unwrap().expr, true);
        let kept = |n: &usize| !split.impossible && (split.rules.is_empty() || passes(&split.rules, &packets[*n].1));
        let missed = ours.iter().step_by(5).find(|n| !kept(n));
        assert!(missed.is_none(), "{text}: the kernel leaves out {:?}", missed.map(|n| &packets[*n].1));
        narrowed += usize::from(!split.rules.is_empty());
        some += usize::from(!ours.is_empty() && ours.len() < FRAMES);
    }
    println!("{} filters, {some} of which select some of the frames; the kernel narrows {narrowed}", expressions.len());
    assert!(expressions.len() >= 200 && some > 150 && narrowed > 100);
}
