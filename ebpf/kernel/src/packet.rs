//! From a frame to the key of its flow.
//!
//! Two ways lead there. The plain frame (untagged, no options, no fragment, TCP or UDP) is read through packet
//! pointers at constant offsets. Everything else goes through `bpf_skb_load_bytes`, which copes with
//! variable offsets and with headers outside the linear part of the buffer.

use core::ffi::c_void;

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes, programs::TcContext};
use netobserv_ebpf_common::{
    ETH_IPV4, ETH_IPV6, FLAG_FIN_ACK, FLAG_RST_ACK, FLAG_SYN_ACK, FragmentKey, Key4, Key6, NO_IP, Point, mapped,
};

use crate::fragments;

// Protocol numbers: IANA "Assigned Internet Protocol Numbers".
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
pub const SCTP: u8 = 132;

// IPv6 extension headers (RFC 8200, 4; RFC 4302 for AH; RFC 6275 and 7401 for the last two).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTH: u8 = 51;
const DEST_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
/// Longest chain that is followed; RFC 8200 names seven kinds.
const MAX_EXTENSIONS: usize = 8;

// Tag protocols: IEEE 802.1Q, 802.1ad, and the older 0x9100 for the outer tag.
const VLAN: u16 = 0x8100;
const VLAN_OUTER: u16 = 0x88a8;
const VLAN_QINQ: u16 = 0x9100;
/// Tags that are skipped; the driver may have taken one off before.
const MAX_TAGS: usize = 3;

/// Length of the Ethernet header.
const ETH: usize = 14;

/// Which map the flow belongs to.
pub enum Key {
    V4(Key4),
    V6(Key6),
}

/// What a frame says of itself.
pub struct Header {
    pub key: Key,
    pub dscp: u8,
    pub tcp_flags: u32,
    /// Where the transport header begins; 0 = there is none in this frame.
    pub l4: u32,
}

/// Reads the headers of a frame seen at `device` in `direction`. Frames that carry no readable IP are named by
/// their EtherType and MAC addresses, so every frame has a key.
#[inline(always)]
pub fn read(ctx: &TcContext, device: u64, direction: u8) -> Header {
    if let Some(header) = plain_v4(ctx, device, direction) {
        return header;
    }
    if let Some(header) = plain_v6(ctx, device, direction) {
        return header;
    }
    let mut found = Found::default();
    // Its own stack frame: the verifier walks it once, and the plain way keeps its registers.
    slow(ctx.skb.skb, &mut found);
    let at = Point {
        src_port: found.ports[0],
        dst_port: found.ports[1],
        eth_proto: found.eth_proto,
        proto: found.proto,
        direction,
        device,
    };
    // A protocol with ports, which may be as large as that, is never number 0.
    let key = if found.eth_proto == ETH_IPV4 && (found.proto != 0 || found.ports[0] != NO_IP) {
        Key::V4(Key4 { src: word(&found.src), dst: word(&found.dst), at })
    } else {
        Key::V6(Key6 { src: found.src, dst: found.dst, at })
    };
    Header { key, dscp: found.dscp, tcp_flags: found.tcp_flags, l4: found.l4 }
}

/// The MAC addresses: destination, source.
#[inline(always)]
pub fn macs(ctx: &TcContext) -> ([u8; 6], [u8; 6]) {
    head::<ETH>(ctx)
        .map_or(([0; 6], [0; 6]), |p| unsafe { (p.cast::<[u8; 6]>().read(), p.add(6).cast::<[u8; 6]>().read()) })
}

/// The flags byte of the TCP header, and the pairs that NetObserv counts as flags of their own.
#[inline(always)]
fn flags(bits: u8) -> u32 {
    let mut all = u32::from(bits);
    if bits & 0x10 != 0 {
        if bits & 0x02 != 0 {
            all |= FLAG_SYN_ACK;
        }
        if bits & 0x01 != 0 {
            all |= FLAG_FIN_ACK;
        }
        if bits & 0x04 != 0 {
            all |= FLAG_RST_ACK;
        }
    }
    all
}

/// The first N bytes if they lie in the linear part. Constant offsets behind ONE check: with a variable offset
/// the compiler makes two pointers, and the verifier cannot tell that the check on one covers the other.
#[inline(always)]
fn head<const N: usize>(ctx: &TcContext) -> Option<*const u8> {
    let p = ctx.data();
    (p + N <= ctx.data_end()).then_some(p as *const u8)
}

#[inline(always)]
unsafe fn be16(p: *const u8, at: usize) -> u16 {
    u16::from_be(unsafe { p.add(at).cast::<u16>().read_unaligned() })
}

#[inline(always)]
pub fn word(b: &[u8; 16]) -> u32 {
    u32::from_ne_bytes([b[0], b[1], b[2], b[3]])
}

#[inline(always)]
fn plain_v4(ctx: &TcContext, device: u64, direction: u8) -> Option<Header> {
    let p = head::<42>(ctx)?;
    unsafe {
        // Version 4, five words of header, offset 0 and no more fragments.
        if be16(p, 12) != ETH_IPV4 || *p.add(14) != 0x45 || be16(p, 20) & 0x3fff != 0 {
            return None;
        }
        let proto = *p.add(23);
        let mut tcp_flags = 0;
        if proto == TCP {
            tcp_flags = flags(*head::<48>(ctx)?.add(47));
        } else if proto != UDP {
            return None;
        }
        let at = Point { src_port: be16(p, 34), dst_port: be16(p, 36), eth_proto: ETH_IPV4, proto, direction, device };
        let src = p.add(26).cast::<u32>().read_unaligned();
        let dst = p.add(30).cast::<u32>().read_unaligned();
        Some(Header { key: Key::V4(Key4 { src, dst, at }), dscp: *p.add(15) >> 2, tcp_flags, l4: 34 })
    }
}

#[inline(always)]
fn plain_v6(ctx: &TcContext, device: u64, direction: u8) -> Option<Header> {
    let p = head::<62>(ctx)?;
    unsafe {
        if be16(p, 12) != ETH_IPV6 || *p.add(14) >> 4 != 6 {
            return None;
        }
        let proto = *p.add(20);
        let mut tcp_flags = 0;
        if proto == TCP {
            tcp_flags = flags(*head::<68>(ctx)?.add(67));
        } else if proto != UDP {
            return None;
        }
        let at = Point { src_port: be16(p, 54), dst_port: be16(p, 56), eth_proto: ETH_IPV6, proto, direction, device };
        let src = p.add(22).cast::<[u8; 16]>().read_unaligned();
        let dst = p.add(38).cast::<[u8; 16]>().read_unaligned();
        let dscp = (be16(p, 14) >> 6) as u8 & 0x3f;
        Some(Header { key: Key::V6(Key6 { src, dst, at }), dscp, tcp_flags, l4: 54 })
    }
}

/// What the slow way has found so far.
pub struct Found {
    pub src: [u8; 16],
    pub dst: [u8; 16],
    pub tcp_flags: u32,
    l4: u32,
    pub ports: [u16; 2],
    pub eth_proto: u16,
    pub proto: u8,
    dscp: u8,
}

impl Default for Found {
    #[inline(always)]
    fn default() -> Self {
        Self { src: [0; 16], dst: [0; 16], tcp_flags: 0, l4: 0, ports: [NO_IP, 0], eth_proto: 0, proto: 0, dscp: 0 }
    }
}

/// Where the bytes of a packet are read from.
pub trait Source: Copy {
    /// Copies `len` bytes at `offset`; false if the packet ends before.
    fn copy(self, offset: u32, to: *mut c_void, len: u32) -> bool;
}

impl Source for *mut __sk_buff {
    #[inline(always)]
    fn copy(self, offset: u32, to: *mut c_void, len: u32) -> bool {
        (unsafe { bpf_skb_load_bytes(self.cast(), offset, to, len) }) == 0
    }
}

/// N bytes at `offset`, or None if the packet ends before.
#[inline(always)]
pub fn load<const N: usize>(from: impl Source, offset: usize) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    from.copy(offset as u32, bytes.as_mut_ptr().cast(), N as u32).then_some(bytes)
}

#[inline(never)]
fn slow(skb: *mut __sk_buff, found: &mut Found) {
    let Some(eth) = load::<ETH>(skb, 0) else { return };
    found.dst[..6].copy_from_slice(&eth[..6]);
    found.src[..6].copy_from_slice(&eth[6..12]);
    found.eth_proto = u16::from_be_bytes([eth[12], eth[13]]);
    let mut offset = ETH;
    for _ in 0..MAX_TAGS {
        if !matches!(found.eth_proto, VLAN | VLAN_OUTER | VLAN_QINQ) {
            break;
        }
        let Some(tag) = load::<4>(skb, offset) else { return };
        found.eth_proto = u16::from_be_bytes([tag[2], tag[3]]);
        offset += 4;
    }
    match found.eth_proto {
        ETH_IPV4 => v4(skb, offset, found),
        ETH_IPV6 => v6(skb, offset, found),
        _ => {}
    }
}

#[inline(always)]
pub fn v4(skb: impl Source, offset: usize, found: &mut Found) {
    let Some(ip) = load::<20>(skb, offset) else { return };
    if ip[0] >> 4 != 4 || ip[0] & 0xf < 5 {
        return;
    }
    found.dscp = ip[1] >> 2;
    found.proto = ip[9];
    let src = u32::from_ne_bytes([ip[12], ip[13], ip[14], ip[15]]);
    let dst = u32::from_ne_bytes([ip[16], ip[17], ip[18], ip[19]]);
    found.src = [0; 16];
    found.dst = [0; 16];
    found.src[..4].copy_from_slice(&src.to_ne_bytes());
    found.dst[..4].copy_from_slice(&dst.to_ne_bytes());
    found.ports = [0; 2];
    let l4 = offset + usize::from(ip[0] & 0xf) * 4;
    // RFC 791: three flag bits (the third is "more fragments"), then the offset in units of eight bytes.
    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    let id = u32::from(u16::from_be_bytes([ip[4], ip[5]]));
    let key = FragmentKey { src: mapped(src), dst: mapped(dst), id, proto: u32::from(found.proto) };
    transport(skb, l4, found, &key, fragment & 0x1fff != 0, fragment & 0x2000 != 0);
}

#[inline(always)]
pub fn v6(skb: impl Source, offset: usize, found: &mut Found) {
    let Some(ip) = load::<8>(skb, offset) else { return };
    let Some(src) = load::<16>(skb, offset + 8) else { return };
    let Some(dst) = load::<16>(skb, offset + 24) else { return };
    if ip[0] >> 4 != 6 {
        return;
    }
    found.dscp = (u16::from_be_bytes([ip[0], ip[1]]) >> 6) as u8 & 0x3f;
    found.proto = ip[6];
    found.src = src;
    found.dst = dst;
    found.ports = [0; 2];
    let (mut id, mut later, mut more) = (0, false, false);
    let mut at = offset + 40;
    for _ in 0..MAX_EXTENSIONS {
        let units = match found.proto {
            HOP_BY_HOP | ROUTING | DEST_OPTIONS | MOBILITY | HIP => 8,
            AUTH => 4,
            FRAGMENT => 0,
            _ => break,
        };
        let Some(ext) = load::<8>(skb, at) else { return };
        found.proto = ext[0];
        if units == 0 {
            let fragment = u16::from_be_bytes([ext[2], ext[3]]);
            (later, more) = (fragment & 0xfff8 != 0, fragment & 1 != 0);
            id = u32::from_be_bytes([ext[4], ext[5], ext[6], ext[7]]);
            at += 8;
            if later {
                break;
            }
        } else {
            // AH counts words less two, the others count eights less one.
            at += if units == 4 { (usize::from(ext[1]) + 2) * 4 } else { (usize::from(ext[1]) + 1) * 8 };
        }
    }
    let key = FragmentKey { src, dst, id, proto: u32::from(found.proto) };
    transport(skb, at, found, &key, later, more);
}

/// Ports (or ICMP type and code) of the packet itself, or of the first fragment when this is a `later` one.
#[inline(always)]
fn transport(skb: impl Source, l4: usize, found: &mut Found, key: &FragmentKey, later: bool, more: bool) {
    if later {
        found.ports = fragments::ports(key);
        return;
    }
    let Some(first) = load::<4>(skb, l4) else { return };
    found.ports = match found.proto {
        TCP | UDP | SCTP => [u16::from_be_bytes([first[0], first[1]]), u16::from_be_bytes([first[2], first[3]])],
        ICMP | ICMPV6 => [u16::from(first[0]), u16::from(first[1])],
        _ => return,
    };
    found.l4 = l4 as u32;
    if found.proto == TCP
        && let Some([bits]) = load::<1>(skb, l4 + 13)
    {
        found.tcp_flags = flags(bits);
    }
    if more {
        fragments::remember(key, found.ports);
    }
}
