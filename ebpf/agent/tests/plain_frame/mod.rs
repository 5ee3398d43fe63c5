//! What is in a frame, read as plainly as can be: from left to right, with slices, from the RFCs' pictures of the headers.
//! What the kernel program makes of a frame is compared with this.
#![allow(unreachable_pub, reason = "a module of one test")]

use std::collections::HashMap;

use netobserv_ebpf_common::{FLAG_FIN_ACK, FLAG_RST_ACK, FLAG_SYN_ACK, Key6, NO_IP, Point};

/// The flow of a frame, and what else is noted of it.
pub struct Parsed {
    pub key: Key6,
    pub dscp: u8,
    pub tcp_flags: u32,
}

/// Addresses, identification and protocol of a packet that comes in fragments.
type FragmentOf = ([u8; 16], [u8; 16], u32, u8);

/// Remembers first fragments, as the program has to.
#[derive(Default)]
pub struct Parser {
    fragments: HashMap<FragmentOf, (u16, u16)>,
}

/// The fragment a packet is.
#[derive(Clone, Copy)]
struct Fragment {
    id: u32,
    first: bool,
    last: bool,
}

const WHOLE: Fragment = Fragment { id: 0, first: true, last: true };

impl Parser {
    /// First fragments that it remembers.
    pub fn remembered(&self) -> usize {
        self.fragments.len()
    }

    /// Reads a frame of at least 14 bytes, seen in `direction` at the interface that test runs use.
    pub fn parse(&mut self, frame: &[u8], direction: u8) -> Parsed {
        let (mut eth_proto, mut rest) = (be16(&frame[12..]), &frame[14..]);
        let mut tags = 0;
        while tags < 3 && [0x8100, 0x88a8, 0x9100].contains(&eth_proto) && rest.len() >= 4 {
            eth_proto = be16(&rest[2..]);
            rest = &rest[4..];
            tags += 1;
        }
        let (inner, packet) = unwrap(eth_proto, rest);
        let ip = match inner {
            0x0800 => self.v4(packet),
            0x86dd => self.v6(packet),
            _ => None,
        };
        let eth_proto = if ip.is_some() { inner } else { eth_proto };
        let at = Point { src_port: NO_IP, dst_port: 0, eth_proto, proto: 0, direction, device: 1 };
        let mac = |at: usize| std::array::from_fn(|n| if n < 6 { frame[at + n] } else { 0 });
        let mut parsed = ip.unwrap_or(Parsed { key: Key6 { src: mac(6), dst: mac(0), at }, dscp: 0, tcp_flags: 0 });
        let Point { src_port, dst_port, proto, .. } = parsed.key.at;
        parsed.key.at = Point { src_port, dst_port, proto, ..at };
        parsed
    }

    /// RFC 791, 3.1.
    fn v4(&mut self, ip: &[u8]) -> Option<Parsed> {
        if ip.len() < 20 || ip[0] >> 4 != 4 || ip[0] & 15 < 5 {
            return None;
        }
        let mapped = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(|b| std::net::Ipv4Addr::from(b).to_ipv6_mapped());
        let (src, dst) = (mapped(&ip[12..16]).ok()?.octets(), mapped(&ip[16..20]).ok()?.octets());
        let words = be16(&ip[6..]);
        let id = u32::from(be16(&ip[4..]));
        let fragment = Fragment { id, first: words & 0x1fff == 0, last: words & 0x2000 == 0 };
        let payload = ip.get(usize::from(ip[0] & 15) * 4..).unwrap_or_default();
        Some(self.transport(src, dst, ip[1] >> 2, ip[9], payload, fragment))
    }

    /// RFC 8200, 3 and 4.
    fn v6(&mut self, ip: &[u8]) -> Option<Parsed> {
        if ip.len() < 40 || ip[0] >> 4 != 6 {
            return None;
        }
        let (src, dst) = (ip[8..24].try_into().ok()?, ip[24..40].try_into().ok()?);
        let dscp = (ip[0] & 15) << 2 | ip[1] >> 6;
        let (mut next, mut rest, mut fragment) = (ip[6], &ip[40..], WHOLE);
        for _ in 0..8 {
            if ![0, 43, 44, 51, 60, 135, 139].contains(&next) || !fragment.first {
                break;
            }
            if rest.len() < 8 {
                return Some(self.transport(src, dst, dscp, next, &[], WHOLE));
            }
            let length = match next {
                44 => {
                    let words = be16(&rest[2..]);
                    let id = u32::from(be16(&rest[4..])) << 16 | u32::from(be16(&rest[6..]));
                    fragment = Fragment { id, first: words >> 3 == 0, last: words & 1 == 0 };
                    8
                }
                51 => (usize::from(rest[1]) + 2) * 4,
                _ => (usize::from(rest[1]) + 1) * 8,
            };
            next = rest[0];
            rest = rest.get(length..).unwrap_or_default();
        }
        Some(self.transport(src, dst, dscp, next, rest, fragment))
    }

    fn transport(
        &mut self,
        src: [u8; 16],
        dst: [u8; 16],
        dscp: u8,
        proto: u8,
        payload: &[u8],
        fragment: Fragment,
    ) -> Parsed {
        let of = (src, dst, fragment.id, proto);
        let mut ports = (0, 0);
        let mut tcp_flags = 0;
        if !fragment.first {
            ports = self.fragments.get(&of).copied().unwrap_or_default();
        } else if payload.len() >= 4 && [1, 6, 17, 58, 132].contains(&proto) {
            let icmp = [1, 58].contains(&proto);
            ports = if icmp { (payload[0].into(), payload[1].into()) } else { (be16(payload), be16(&payload[2..])) };
            tcp_flags = payload.get(13).filter(|_| proto == 6).map_or(0, |bits| flags(*bits));
            if !fragment.last {
                self.fragments.insert(of, ports);
            }
        }
        let at = Point { src_port: ports.0, dst_port: ports.1, eth_proto: 0, proto, direction: 0, device: 0 };
        Parsed { key: Key6 { src, dst, at }, dscp, tcp_flags }
    }
}

/// EtherType and bytes of what PPPoE sessions (RFC 2516, 4) and MPLS labels (RFC 3032, 2.1) carry.
fn unwrap(mut eth_proto: u16, mut rest: &[u8]) -> (u16, &[u8]) {
    if eth_proto == 0x8864 && rest.len() >= 8 && rest[..2] == [0x11, 0] {
        eth_proto = match be16(&rest[6..]) {
            0x0021 => 0x0800,
            0x0057 => 0x86dd,
            0x0281 => 0x8847,
            _ => return (eth_proto, rest),
        };
        rest = &rest[8..];
    }
    if ![0x8847, 0x8848].contains(&eth_proto) {
        return (eth_proto, rest);
    }
    let last = rest.chunks_exact(4).take(4).position(|label| label[2] & 1 == 1);
    let Some(last) = last else { return (eth_proto, rest) };
    let packet = &rest[4 * (last + 1)..];
    match packet.first().map(|first| first >> 4) {
        Some(4) => (0x0800, packet),
        Some(6) => (0x86dd, packet),
        _ => (eth_proto, rest),
    }
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// The header's own flags, and one more for each pair with ACK.
fn flags(bits: u8) -> u32 {
    let pair = |with: u8, flag| if bits & (with | 0x10) == with | 0x10 { flag } else { 0 };
    u32::from(bits) | pair(0x02, FLAG_SYN_ACK) | pair(0x01, FLAG_FIN_ACK) | pair(0x04, FLAG_RST_ACK)
}
