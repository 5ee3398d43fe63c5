//! A million frames that are right, damaged, cut off or noise: the kernel program counts each one, under the key that a
//! plain parser finds.

mod lab;
mod plain_frame;

use std::collections::HashMap;

use lab::{Lab, Random};
use netobserv_agent::features::Switches;
use netobserv_ebpf_common::{EGRESS, INGRESS, Key6};
use netobserv_testkit::{Frame, require_privileged};
use plain_frame::Parser;

const FRAMES: usize = 1_000_000;
/// Frames between two looks into the maps.
const ROUND: usize = 50_000;
/// Room for the flows of one round.
const MOST_FLOWS: u32 = 65_536;
/// The program remembers 8,192 first fragments; beyond some of them it is loaded afresh.
const MOST_FRAGMENTS: usize = 4_000;
/// Valid frames that the others are made of.
const MODELS: usize = 5_000;

/// What is compared of a flow: packets, bytes, flags, and the latest code point.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Tally {
    packets: u64,
    bytes: u64,
    tcp_flags: u32,
    dscp: u8,
}

#[test]
fn every_frame_is_counted_under_its_key() {
    require_privileged!();
    let seed = 0x0b5e_55ed_f4a3_e5ff;
    let mut random = Random::new(seed);
    let models: Vec<Vec<u8>> = (0..MODELS).map(|_| model(&mut random)).collect();
    let (mut lab, mut parser) = (load(), Parser::default());
    let (mut run, mut refused, mut flows) = (0, 0, 0);
    while run < FRAMES {
        if parser.remembered() > MOST_FRAGMENTS {
            (lab, parser) = (load(), Parser::default());
        }
        let mut expected: HashMap<Key6, Tally> = HashMap::new();
        for _ in 0..ROUND {
            let frame = frame(&mut random, &models);
            let direction = random.pick(&[INGRESS, EGRESS]);
            if !lab.try_run(direction, &frame) {
                assert!(is_too_short(&frame), "seed {seed:#x}: the kernel refuses {frame:02x?}");
                refused += 1;
                continue;
            }
            let parsed = parser.parse(&frame, direction);
            let tally = expected.entry(parsed.key).or_default();
            tally.packets += 1;
            tally.bytes += frame.len() as u64;
            tally.tcp_flags |= parsed.tcp_flags;
            tally.dscp = parsed.dscp;
            run += 1;
        }
        flows += expected.len();
        compare(&mut lab, expected, seed);
    }
    println!("{run} frames, {flows} flows, {refused} frames that the kernel does not take");
    assert!(refused < run / 10, "most frames reach the program");
}

/// With the features that look into packets switched on.
fn load() -> Lab {
    Lab::with(Switches { max_flows: MOST_FLOWS, sampling: 1, dns_port: 53, ..Default::default() })
}

#[track_caller]
fn compare(lab: &mut Lab, mut expected: HashMap<Key6, Tally>, seed: u64) {
    for (key, count) in lab.flows() {
        let counted =
            Tally { packets: count.packets, bytes: count.bytes, tcp_flags: count.tcp_flags, dscp: count.dscp };
        assert_eq!(expected.remove(&key), Some(counted), "seed {seed:#x}: expected and counted of {key:?}");
    }
    assert!(expected.is_empty(), "seed {seed:#x}: not counted: {expected:?}");
}

/// The kernel makes no test run of a frame with the EtherType of IP and less than its header.
fn is_too_short(frame: &[u8]) -> bool {
    let header = match (frame[12], frame[13]) {
        (0x08, 0x00) => 20,
        (0x86, 0xdd) => 40,
        _ => 0,
    };
    frame.len() < 14 + header
}

/// One of the models, most often with some damage; or noise.
fn frame(random: &mut Random, models: &[Vec<u8>]) -> Vec<u8> {
    if random.one_in(10) {
        return noise(random);
    }
    let mut frame = models[random.below(models.len())].clone();
    let damage = random.below(10);
    if damage < 6 {
        for _ in 0..=random.below(4) {
            let at = random.below(frame.len());
            frame[at] = if random.one_in(2) { frame[at] ^ (1 << random.below(8)) } else { random.next() as u8 };
        }
    }
    if (4..8).contains(&damage) {
        frame.truncate(14 + random.below(frame.len() - 13));
    }
    frame
}

/// Bytes by chance behind an EtherType that makes the program look at them.
fn noise(random: &mut Random) -> Vec<u8> {
    let length = 14 + random.below(140);
    let mut frame: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    let any = random.next() as u16;
    let ethertype: u16 = random.pick(&[0x0800, 0x86dd, 0x8100, 0x88a8, 0x8847, 0x8864, 0x0806, any]);
    frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
    if length > 14 && random.one_in(2) {
        frame[14] = random.pick(&[0x45, 0x46, 0x4f, 0x60, 0x44]);
    }
    frame
}

/// A frame as it should be: tags, options or extension headers, perhaps a fragment, a transport.
fn model(random: &mut Random) -> Vec<u8> {
    let mut frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).dscp(random.below(64) as u8);
    for _ in 0..random.pick(&[0, 0, 0, 1, 2, 3, 4]) {
        frame = frame.vlan(random.pick(&[0x8100, 0x88a8, 0x9100]), 5);
    }
    frame = if random.one_in(2) {
        let frame = frame.ipv4(random.pick(&["10.0.0.1", "10.0.0.2"]), random.pick(&["10.0.0.3", "192.0.2.1"]));
        frame.options(&vec![1; random.pick(&[0, 0, 0, 4, 12, 40])])
    } else {
        let mut frame = frame.ipv6(random.pick(&["fd00::1", "fd00::2"]), random.pick(&["fd00::3", "2001:db8::1"]));
        for _ in 0..random.pick(&[0, 0, 0, 1, 2, 3, 7, 8, 9]) {
            frame = frame.extension(random.pick(&[0, 43, 60, 135, 139]), &vec![0; random.pick(&[6, 14, 22])]);
        }
        frame
    };
    if random.one_in(4) {
        frame = frame.fragment(random.below(20) as u32, random.pick(&[0, 0, 8, 1480]), random.one_in(2));
    }
    let (src, dst) = (random.pick(&[1, 53, 40000, 65535]), random.pick(&[53, 80, 443]));
    let frame = match random.below(8) {
        0..3 => frame.tcp(src, dst, random.next() as u8),
        3..5 => frame.udp(src, dst),
        5 => frame.sctp(src, dst),
        6 => frame.icmp(random.next() as u8, random.below(4) as u8),
        _ => frame.protocol(random.pick(&[0, 47, 51, 59])),
    };
    let frame = frame.payload(random.pick(&[0, 0, 1, 8, 32, 200])).build();
    wrap(random, frame)
}

/// Now and then, puts the packet of an untagged frame into a PPPoE session or behind MPLS labels.
fn wrap(random: &mut Random, frame: Vec<u8>) -> Vec<u8> {
    let ppp: u16 = match (frame[12], frame[13]) {
        (0x08, 0x00) => 0x0021,
        (0x86, 0xdd) => 0x0057,
        _ => return frame,
    };
    let labels = random.pick(&[1, 2, 4, 5]);
    let labels = || (0..labels).flat_map(|n| [0, 16 + n, u8::from(n == labels - 1), 64]);
    let (ethertype, headers): (u16, Vec<u8>) = match random.below(8) {
        0 => (0x8864, [&[0x11, 0, 0, 1, 0, 9][..], &ppp.to_be_bytes()].concat()),
        1 => (0x8864, [0x11, 0, 0, 1, 0, 9, 0x02, 0x81].into_iter().chain(labels()).collect()),
        2 => (0x8847, labels().collect()),
        _ => return frame,
    };
    [&frame[..12], &ethertype.to_be_bytes(), &headers, &frame[14..]].concat()
}
