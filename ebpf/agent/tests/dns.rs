//! What the flow programs hand on of DNS, frame by frame, without any interface.

use std::os::fd::AsFd;

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use netobserv_agent::{
    features::{self, Switches},
    kernel, sys,
};
use netobserv_ebpf_common::{DNS_MOST, DNS_PIECE, DnsHead};
use netobserv_testkit::{Frame, require_privileged};

const SYN: u8 = 2;
const ACK: u8 = 16;
const FIN: u8 = 1;

/// The program at the ingress, and the ring buffer that it writes to.
struct Bench {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
}

impl Bench {
    fn new() -> Self {
        let switches = Switches { max_flows: 1024, sampling: 1, dns_port: 5454, ..Default::default() };
        let mut ebpf = features::load(switches).expect("the programs load");
        let ring = kernel::take_map(&mut ebpf, "DNS_MESSAGES").expect("the ring buffer");
        Self { ebpf, ring }
    }

    /// What is handed on of a frame.
    #[track_caller]
    fn hand_on(&mut self, frame: &[u8]) -> Vec<(DnsHead, Vec<u8>)> {
        let program = kernel::classifier(&mut self.ebpf, "flow_ingress").expect("the program");
        let program = program.fd().expect("a loaded program").try_clone().expect("a descriptor");
        let (verdict, _) = sys::test_run(program.as_fd(), frame, 1).expect("a run");
        assert_eq!(verdict as i32, -1, "carry on");
        let mut found = vec![];
        while let Some(item) = self.ring.next() {
            let (head, data) = item.split_at(size_of::<DnsHead>());
            // SAFETY: the kernel program wrote exactly this; read_unaligned asks no alignment.
            let head = unsafe { head.as_ptr().cast::<DnsHead>().read_unaligned() };
            found.push((head, data[..head.length as usize].to_vec()));
        }
        found
    }
}

fn v4() -> Frame {
    Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4("10.0.0.1", "10.0.0.2")
}

/// As a network card fills a short frame up.
fn padded(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.build();
    bytes.resize(60.max(bytes.len()), 0xee);
    bytes
}

fn lengths(pieces: &[(DnsHead, Vec<u8>)]) -> Vec<usize> {
    pieces.iter().map(|(_, data)| data.len()).collect()
}

#[test]
fn a_segment_is_handed_on_whole_in_pieces_with_their_numbers() {
    require_privileged!();
    let mut bench = Bench::new();
    let frames =
        [v4(), Frame::new([2; 6], [4; 6]).ipv6("fd00::1", "fd00::2"), v4().options(&[1; 4]), v4().vlan(0x8100, 5)];
    for frame in frames {
        for length in [1, 12, DNS_MOST, DNS_MOST + 1, DNS_PIECE, DNS_PIECE + 1, 3_000] {
            let bytes = frame.clone().tcp(53, 4000, ACK).payload(length).build();
            let pieces = bench.hand_on(&bytes);
            assert_eq!(pieces.len(), length.div_ceil(DNS_PIECE), "{length} bytes");
            let content: Vec<u8> = pieces.iter().flat_map(|(_, data)| data).copied().collect();
            assert_eq!(content, bytes[bytes.len() - length..], "{length} bytes");
            for (number, (head, _)) in pieces.iter().enumerate() {
                assert_eq!((head.seq as usize, head.tcp_flags), (1 + number * DNS_PIECE, u32::from(ACK)));
                assert_eq!((head.frame_bytes as usize, head.key.at.src_port), (bytes.len(), 53));
            }
        }
    }
}

#[test]
fn what_fills_a_short_frame_up_is_not_content() {
    require_privileged!();
    let mut bench = Bench::new();
    for length in 1..=6 {
        let pieces = bench.hand_on(&padded(&v4().tcp(4000, 5454, ACK).payload(length)));
        assert_eq!(lengths(&pieces), [length]);
    }
    assert!(bench.hand_on(&padded(&v4().tcp(4000, 53, ACK))).is_empty(), "nothing but an acknowledgment");
    let pieces = bench.hand_on(&padded(&v4().udp(4000, 53).payload(13)));
    assert_eq!(lengths(&pieces), [13]);
    assert!(bench.hand_on(&padded(&v4().udp(4000, 53).payload(11))).is_empty(), "shorter than a header");
}

#[test]
fn beginning_and_end_of_a_connection_are_handed_on_and_other_ports_are_not() {
    require_privileged!();
    let mut bench = Bench::new();
    for (flags, seq) in [(SYN, 2), (SYN | ACK, 2), (FIN | ACK, 1)] {
        let pieces = bench.hand_on(&padded(&v4().tcp(4000, 53, flags)));
        let found: Vec<_> = pieces.iter().map(|(head, _)| (head.length, head.seq, head.tcp_flags)).collect();
        assert_eq!(found, [(0, seq, u32::from(flags))], "a SYN takes a number");
    }
    assert!(bench.hand_on(&v4().tcp(4000, 54, SYN).payload(100).build()).is_empty());
    assert!(bench.hand_on(&v4().sctp(4000, 53).payload(100).build()).is_empty());
}
