//! From a frame to a key: the real kernel program, run by the kernel on frames that never touch an interface.

use std::os::fd::{AsFd, OwnedFd};

use netobserv_agent::{
    drain::Maps,
    features::{self, Switches},
    kernel,
    merge::Counted,
    sys::{self, Offload},
};
use netobserv_ebpf_common::{Counter, FLAG_FIN_ACK, FLAG_RST_ACK, FLAG_SYN_ACK, FlowCount, Key6, NO_IP, Point, mapped};
use netobserv_testkit::{Frame, require_privileged};

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];
const V4: (&str, &str) = ("10.0.0.1", "10.0.0.2");
const V6: (&str, &str) = ("fd00::1", "fd00::2");

/// The programs and their maps, on no interface.
struct Lab {
    /// For frames with an Ethernet header.
    program: OwnedFd,
    /// For frames without.
    bare: OwnedFd,
    maps: Maps,
    _ebpf: aya::Ebpf,
}

impl Lab {
    fn new(max_flows: u32) -> Self {
        let mut ebpf =
            features::load(Switches { max_flows, sampling: 1, follow_netns: true, ..Default::default() }).unwrap();
        let [program, bare] = ["flow_ingress", "flow_in_bare"].map(|name| {
            let program = kernel::load_classifier(&mut ebpf, name).unwrap().fd().unwrap().try_clone().unwrap();
            program.as_fd().try_clone_to_owned().unwrap()
        });
        Self { program, bare, maps: Maps::take(&mut ebpf).unwrap(), _ebpf: ebpf }
    }

    fn run(&self, frame: &[u8]) {
        Self::run_on(&self.program, frame, Offload::default());
    }

    fn run_on(program: &OwnedFd, frame: &[u8], offload: Offload) {
        let (verdict, _) = sys::test_run_offloaded(program.as_fd(), frame, 1, offload).unwrap();
        assert_eq!(verdict as i32, -1, "TCX_NEXT: no packet is ever held up");
    }

    /// Packets and bytes that a super-packet counts as, at either kind of link.
    #[track_caller]
    fn wire(&mut self, frame: &[u8], offload: Offload) -> [(u64, u64); 2] {
        Self::run_on(&self.program, frame, offload);
        let ethernet = self.flows().remove(0).1;
        Self::run_on(&self.bare, frame, offload);
        let bare = self.flows().remove(0).1;
        [(ethernet.packets, ethernet.bytes), (bare.packets, bare.bytes)]
    }

    /// All flows counted so far, with their addresses in the wide form.
    fn flows(&mut self) -> Vec<(Key6, FlowCount)> {
        let mut flows = vec![];
        let each = |counted: Counted<'_>| {
            flows.push(match counted {
                Counted::V4(key, count) => {
                    assert_eq!(key.at.eth_proto, 0x0800);
                    (Key6 { src: mapped(key.src), dst: mapped(key.dst), at: key.at }, *count)
                }
                Counted::V6(key, count) => (*key, *count),
            });
        };
        self.maps.drain_active(each).unwrap();
        flows
    }

    /// The one flow that a frame makes.
    #[track_caller]
    fn flow(&mut self, frame: &Frame) -> (Key6, FlowCount) {
        let bytes = frame.build();
        self.run(&bytes);
        let flows = self.flows();
        assert_eq!(flows.len(), 1, "{flows:?}");
        assert_eq!((flows[0].1.packets, flows[0].1.bytes), (1, bytes.len() as u64));
        assert_eq!((flows[0].1.src_mac, flows[0].1.dst_mac), (A, B));
        flows[0]
    }
}

fn v4() -> Frame {
    Frame::new(A, B).ipv4(V4.0, V4.1)
}

fn v6() -> Frame {
    Frame::new(A, B).ipv6(V6.0, V6.1)
}

/// EtherType, protocol and ports (or ICMP type and code).
type Tuple = (u16, u8, u16, u16);

fn tuple(at: &Point) -> Tuple {
    (at.eth_proto, at.proto, at.src_port, at.dst_port)
}

#[test]
fn every_kind_of_frame_has_its_key() {
    require_privileged!();
    let arp = Frame::new(A, B).other(0x0806, &[0; 28]);
    let options = [1u8; 12];
    let cases: Vec<(&str, Frame, Tuple)> = vec![
        ("tcp", v4().tcp(1000, 80, 0x10), (0x0800, 6, 1000, 80)),
        ("udp", v4().udp(1000, 53), (0x0800, 17, 1000, 53)),
        ("udp with nothing in it", v4().udp(1000, 53).payload(0), (0x0800, 17, 1000, 53)),
        ("sctp", v4().sctp(1000, 38412), (0x0800, 132, 1000, 38412)),
        ("icmp echo reply", v4().icmp(0, 0), (0x0800, 1, 0, 0)),
        ("icmp port unreachable", v4().icmp(3, 3), (0x0800, 1, 3, 3)),
        ("gre", v4().protocol(47).payload(20), (0x0800, 47, 0, 0)),
        ("options", v4().options(&options).tcp(1000, 80, 0x10), (0x0800, 6, 1000, 80)),
        ("most options", v4().options(&[1; 40]).udp(1000, 53), (0x0800, 17, 1000, 53)),
        ("one tag", v4().vlan(0x8100, 5).tcp(1000, 80, 0x10), (0x0800, 6, 1000, 80)),
        ("two tags", v4().vlan(0x88a8, 5).vlan(0x8100, 6).tcp(1000, 80, 0x10), (0x0800, 6, 1000, 80)),
        ("v6 tcp", v6().tcp(1000, 80, 0x10), (0x86dd, 6, 1000, 80)),
        ("v6 udp", v6().udp(1000, 53), (0x86dd, 17, 1000, 53)),
        ("v6 tags", v6().vlan(0x88a8, 5).vlan(0x8100, 6).udp(1000, 53), (0x86dd, 17, 1000, 53)),
        ("icmpv6 echo", v6().icmp(128, 0), (0x86dd, 58, 128, 0)),
        ("hop by hop", v6().extension(0, &[0; 6]).udp(1000, 53), (0x86dd, 17, 1000, 53)),
        ("routing", v6().extension(43, &[0; 14]).udp(1000, 53), (0x86dd, 17, 1000, 53)),
        (
            "many",
            v6().extension(0, &[0; 6]).extension(60, &[0; 22]).extension(43, &[0; 6]).tcp(7, 8, 2),
            (0x86dd, 6, 7, 8),
        ),
        ("no next header", v6().protocol(59), (0x86dd, 59, 0, 0)),
        ("arp", arp, (0x0806, 0, NO_IP, 0)),
    ];
    let mut lab = Lab::new(64);
    for (title, frame, expected) in cases {
        let (key, _) = lab.flow(&frame);
        assert_eq!(tuple(&key.at), expected, "{title}");
        if expected.0 == 0x0800 {
            assert_eq!((key.src, key.dst), (mapped(ip4(V4.0)), mapped(ip4(V4.1))), "{title}");
        }
    }
}

/// Puts the packet of a frame behind other headers, under their EtherType.
fn behind(ethertype: u16, headers: &[u8], frame: &Frame) -> Frame {
    Frame::new(A, B).other(ethertype, &[headers, &frame.build()[14..]].concat())
}

/// An MPLS label (RFC 3032), the last one or not.
fn label(number: u32, last: bool) -> [u8; 4] {
    (number << 12 | u32::from(last) << 8 | 64).to_be_bytes()
}

/// The headers of PPPoE (RFC 2516) and PPP.
fn session(protocol: u16) -> Vec<u8> {
    [&[0x11, 0, 0, 7, 0, 50][..], &protocol.to_be_bytes()].concat()
}

#[test]
fn ip_is_found_in_mpls_and_pppoe() {
    require_privileged!();
    let stack = [label(16, false), label(17, false), label(18, true)].concat();
    let (one, in_session) = (label(3, true), [session(0x0281), label(5, true).to_vec()].concat());
    let too_deep: Vec<u8> = (0..5).flat_map(|n| label(16 + n, n == 4)).collect();
    let (tcp, udp) = (v4().tcp(1000, 80, 0x12), v6().udp(1000, 53));
    let cases: Vec<(&str, Frame, Tuple)> = vec![
        ("mpls", behind(0x8847, &one, &tcp), (0x0800, 6, 1000, 80)),
        ("mpls stack", behind(0x8847, &stack, &udp), (0x86dd, 17, 1000, 53)),
        ("mpls to several", behind(0x8848, &one, &v4().options(&[1; 4]).udp(7, 8)), (0x0800, 17, 7, 8)),
        ("mpls behind a tag", behind(0x8847, &one, &udp).vlan(0x8100, 5), (0x86dd, 17, 1000, 53)),
        ("pppoe", behind(0x8864, &session(0x0021), &tcp), (0x0800, 6, 1000, 80)),
        ("pppoe v6", behind(0x8864, &session(0x0057), &udp), (0x86dd, 17, 1000, 53)),
        ("pppoe behind a tag", behind(0x8864, &session(0x0021), &tcp).vlan(0x8100, 5), (0x0800, 6, 1000, 80)),
        ("mpls in pppoe", behind(0x8864, &in_session, &tcp), (0x0800, 6, 1000, 80)),
        // What is no IP keeps the outer EtherType.
        ("pppoe control", behind(0x8864, &session(0xc021), &tcp), (0x8864, 0, NO_IP, 0)),
        ("pppoe discovery", behind(0x8863, &[0x11, 9, 0, 0, 0, 0], &tcp), (0x8863, 0, NO_IP, 0)),
        ("pppoe version", behind(0x8864, &[0x21, 0, 0, 7, 0, 50, 0, 0x21], &tcp), (0x8864, 0, NO_IP, 0)),
        ("pseudowire", behind(0x8847, &[&one[..], &[0; 4]].concat(), &tcp), (0x8847, 0, NO_IP, 0)),
        ("too many labels", behind(0x8847, &too_deep, &tcp), (0x8847, 0, NO_IP, 0)),
        ("no last label", Frame::new(A, B).other(0x8847, &label(16, false)), (0x8847, 0, NO_IP, 0)),
        ("nothing behind the label", Frame::new(A, B).other(0x8847, &label(16, true)), (0x8847, 0, NO_IP, 0)),
    ];
    let mut lab = Lab::new(64);
    for (title, frame, expected) in cases {
        let (key, count) = lab.flow(&frame);
        assert_eq!(tuple(&key.at), expected, "{title}");
        let expected_flags = if expected.1 == 6 { 0x12 | FLAG_SYN_ACK } else { 0 };
        assert_eq!(count.tcp_flags, expected_flags, "{title}");
    }
}

/// Test runs put the network header behind an Ethernet header: so does GRE on the way in, with its own headers.
#[test]
fn frames_without_ethernet_header_begin_where_the_kernel_says() {
    require_privileged!();
    let mut lab = Lab::new(64);
    let cases: Vec<(&str, Frame, Tuple)> = vec![
        ("tcp", v4().tcp(1000, 80, 0x10), (0x0800, 6, 1000, 80)),
        ("options", v4().options(&[1; 12]).udp(1000, 53), (0x0800, 17, 1000, 53)),
        ("v6", v6().extension(0, &[0; 6]).udp(1000, 53), (0x86dd, 17, 1000, 53)),
        ("icmpv6", v6().icmp(128, 0), (0x86dd, 58, 128, 0)),
        ("mpls", behind(0x8847, &label(16, true), &v4().udp(7, 8)), (0x0800, 17, 7, 8)),
        ("something else", Frame::new(A, B).other(0x88b5, &[0; 40]), (0x88b5, 0, NO_IP, 0)),
    ];
    for (title, frame, expected) in cases {
        let bytes = frame.build();
        Lab::run_on(&lab.bare, &bytes, Offload::default());
        let flows = lab.flows();
        assert_eq!(flows.len(), 1, "{title}: {flows:?}");
        let (key, count) = flows[0];
        assert_eq!(tuple(&key.at), expected, "{title}");
        assert_eq!((count.packets, count.bytes), (1, bytes.len() as u64 - 14), "{title}");
        assert_eq!((count.src_mac, count.dst_mac), ([0; 6], [0; 6]), "{title}");
        if expected.1 == 0 {
            assert_eq!((key.src, key.dst), ([0; 16], [0; 16]), "{title}: it has no MAC addresses");
        }
    }
}

/// Each segment has its headers on the wire.
#[test]
fn super_packets_count_as_they_are_on_the_wire() {
    require_privileged!();
    let mut lab = Lab::new(64);
    // Each with the length of its headers.
    let cases = [
        ("tcp", v4().tcp(1, 2, 0x10), 54),
        ("tcp behind options", v4().options(&[1; 12]).tcp(1, 2, 0x10), 66),
        ("tcp v6", v6().tcp(1, 2, 0x10), 74),
        ("tcp v6 behind an extension", v6().extension(0, &[0; 6]).tcp(1, 2, 0x10), 82),
        ("udp", v4().udp(1, 2), 42),
        ("udp v6", v6().udp(1, 2), 62),
    ];
    for (title, frame, headers) in cases {
        for (payload, segments) in [(3000, 3), (2001, 3), (2000, 2), (1000, 1)] {
            let bytes = frame.clone().payload(payload).build();
            let total = (bytes.len() + (segments - 1) * headers) as u64;
            let without = total - 14 * segments as u64;
            let expected = [(segments as u64, total), (segments as u64, without)];
            // A virtual machine, or a program at a tun, leaves the counting to the kernel.
            for given in [segments as u32, 0] {
                let offload = Offload { size: 1000, segments: given };
                assert_eq!(lab.wire(&bytes, offload), expected, "{title}, {payload} bytes, {given} segments given");
            }
        }
    }
    let tagged = v4().vlan(0x8100, 5).tcp(1, 2, 0x10).payload(3000).build();
    let expected = (3, (tagged.len() + 2 * 58) as u64);
    assert_eq!(lab.wire(&tagged, Offload { size: 1000, segments: 3 })[0], expected, "tcp behind a tag");
    // Where the length of the headers is not known, only what is there counts.
    let unknown = v4().protocol(47).payload(3000).build();
    let whole = unknown.len() as u64;
    assert_eq!(lab.wire(&unknown, Offload { size: 1000, segments: 3 }), [(3, whole), (3, whole - 14)]);
}

fn ip4(text: &str) -> u32 {
    u32::from_ne_bytes(text.parse::<std::net::Ipv4Addr>().unwrap().octets())
}

#[test]
fn frames_that_end_early_are_counted_all_the_same() {
    require_privileged!();
    let mut lab = Lab::new(64);
    // The kernel makes no test run on a frame with the EtherType of IP and less than its header.
    for (shortest, frame) in [(34, v4().tcp(1, 2, 0x10)), (54, v6().extension(0, &[0; 6]).udp(1, 2))] {
        let frame = frame.build();
        for length in shortest..frame.len() {
            lab.run(&frame[..length]);
            let flows = lab.flows();
            let sum: u64 = flows.iter().map(|(_, count)| count.packets).sum();
            assert_eq!((flows.len(), sum), (1, 1), "cut to {length} bytes");
        }
    }
}

#[test]
fn later_fragments_belong_to_the_first() {
    require_privileged!();
    let mut lab = Lab::new(64);
    for base in [v4 as fn() -> Frame, v6] {
        lab.run(&base().fragment(77, 0, true).udp(1000, 53).payload(64).build());
        lab.run(&base().fragment(77, 72, true).protocol(17).payload(64).build());
        lab.run(&base().fragment(77, 136, false).protocol(17).payload(64).build());
        let flows = lab.flows();
        assert_eq!(flows.len(), 1, "{flows:?}");
        assert_eq!((flows[0].0.at.src_port, flows[0].0.at.dst_port, flows[0].1.packets), (1000, 53, 3));
        let before = lab.maps.counter(Counter::PortlessFragments);
        // The beginning of this one was not seen.
        lab.run(&base().fragment(78, 72, false).protocol(17).payload(64).build());
        let flows = lab.flows();
        assert_eq!((flows[0].0.at.src_port, flows[0].0.at.dst_port), (0, 0));
        assert_eq!(lab.maps.counter(Counter::PortlessFragments), before + 1);
    }
}

#[test]
fn tcp_flags_are_ored_and_pairs_have_bits_of_their_own() {
    require_privileged!();
    let mut lab = Lab::new(64);
    let cases = [
        (0x02, 0x02),
        (0x12, 0x12 | FLAG_SYN_ACK),
        (0x11, 0x11 | FLAG_FIN_ACK),
        (0x14, 0x14 | FLAG_RST_ACK),
        (0x18, 0x18),
        (0xc2, 0xc2),
        (0x01, 0x01),
    ];
    for (flags, expected) in cases {
        for frame in [v4().tcp(1, 2, flags), v6().tcp(1, 2, flags), v4().options(&[1; 4]).tcp(1, 2, flags)] {
            assert_eq!(lab.flow(&frame).1.tcp_flags, expected, "{flags:#x}");
        }
    }
    for flags in [0x02, 0x10, 0x18, 0x11] {
        lab.run(&v4().tcp(1, 2, flags).build());
    }
    let flows = lab.flows();
    assert_eq!((flows[0].1.packets, flows[0].1.tcp_flags), (4, 0x1b | FLAG_FIN_ACK));
}

#[test]
fn dscp_is_read_from_both_families() {
    require_privileged!();
    let mut lab = Lab::new(64);
    for frame in
        [v4().dscp(46).udp(1, 2), v6().dscp(46).udp(1, 2), v6().dscp(46).icmp(128, 0), v4().dscp(46).icmp(8, 0)]
    {
        assert_eq!(lab.flow(&frame).1.dscp, 46);
    }
}

#[test]
fn a_full_map_overflows_and_loses_nothing() {
    require_privileged!();
    let mut lab = Lab::new(16);
    let mut bytes = 0;
    for port in 0..500 {
        let frame = v4().udp(1000 + port, 53).build();
        bytes += frame.len() as u64;
        lab.run(&frame);
    }
    let mut flows = lab.flows();
    assert!(flows.len() >= 16 && flows.len() < 500, "{} flows", flows.len());
    lab.maps.read_overflow(|counted| {
        if let Counted::V6(key, count) = counted {
            flows.push((*key, *count));
        }
    });
    assert_eq!(flows.len(), 500);
    assert_eq!(flows.iter().map(|(_, count)| count.bytes).sum::<u64>(), bytes);
}
