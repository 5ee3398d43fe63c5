//! From a frame to the key of its flow.
//!
//! Two ways lead there. The plain frame (untagged, no options, no fragment, TCP or UDP) is read through packet
//! pointers at constant offsets. Everything else goes through `bpf_skb_load_bytes`, which copes with
//! variable offsets and with headers outside the linear part of the buffer.
//!
//! Links without an Ethernet header (tun, WireGuard, GRE, PPP and others) have programs of their own, so that distinguishing the two
//! apart costs a packet nothing.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use netobserv_ebpf_common::{
    ETH_IPV4, ETH_IPV6, FLAG_FIN_ACK, FLAG_RST_ACK, FLAG_SYN_ACK, FragmentKey, Key4, Key6, NO_IP, Point, mapped,
};

use crate::{
    bpf, device, fragments,
    source::{Source, load},
};

// Protocol numbers: IANA "Assigned Internet Protocol Numbers".
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;

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

/// MPLS (RFC 5332): frames to one or to several receivers.
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
/// Labels that are skipped.
const MAX_LABELS: usize = 4;
/// The stage of PPPoE that carries packets (RFC 2516), and what its PPP frames carry (IANA "PPP DLL Protocol Numbers").
const PPPOE: u16 = 0x8864;
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const PPP_MPLS: u16 = 0x0281;

/// Length of the Ethernet header.
const ETH: usize = 14;

/// Which map the flow belongs to.
pub(crate) enum Key {
    V4(Key4),
    V6(Key6),
}

/// What the headers of a frame hold.
pub(crate) struct Header {
    pub(crate) key: Key,
    pub(crate) dscp: u8,
    pub(crate) tcp_flags: u32,
    /// Where the transport header begins; 0 = there is none in this frame.
    pub(crate) l4: u32,
    /// Where the frame begins. Not 0 only without an Ethernet header: GRE has its outer header in front on the way in.
    pub(crate) start: u32,
}

impl Header {
    /// What both kinds of keys have.
    #[inline(always)]
    pub(crate) fn at(&self) -> &Point {
        match &self.key {
            Key::V4(key) => &key.at,
            Key::V6(key) => &key.at,
        }
    }
}

/// Reads the headers of a frame seen at `device` in `direction`; `BARE` frames have no Ethernet header. Frames that carry no
/// readable IP are named by their EtherType and MAC addresses, so every frame has a key.
#[inline(always)]
pub(crate) fn read<const BARE: bool>(ctx: &TcContext, device: u64, direction: u8) -> Header {
    if BARE {
        let mut found = Found::default();
        let start = device::network(ctx);
        let begin = bare_link(ctx.skb.skb, start, &mut found);
        rest(ctx, begin, &mut found);
        return header(&found, device, direction, start);
    }
    if let Some(header) = plain_v4(ctx, device, direction) {
        return header;
    }
    if let Some(header) = plain_v6(ctx, device, direction) {
        return header;
    }
    // Not before: to clear it costs a plain frame 35 ns.
    let mut found = Found::default();
    // Stack frames of their own: the verifier walks them once, and the plain way keeps its registers.
    let begin = link(ctx.skb.skb, &mut found);
    rest(ctx, begin, &mut found);
    header(&found, device, direction, 0)
}

#[inline(always)]
fn header(found: &Found, device: u64, direction: u8, start: u32) -> Header {
    let at = Point {
        src_port: found.ports[0],
        dst_port: found.ports[1],
        eth_proto: found.eth_proto,
        proto: found.proto,
        direction,
        device,
    };
    // A protocol with ports, which may be as large as that, is never number 0.
    let key = if found.eth_proto == ETH_IPV4 && found.has_ip() {
        Key::V4(Key4 { src: word(&found.src), dst: word(&found.dst), at })
    } else {
        Key::V6(Key6 { src: found.src, dst: found.dst, at })
    };
    Header { key, dscp: found.dscp, tcp_flags: found.tcp_flags, l4: found.l4, start }
}

/// The MAC addresses: destination, source.
#[inline(always)]
pub(crate) fn macs(ctx: &TcContext) -> ([u8; 6], [u8; 6]) {
    // SAFETY: `head` has checked so many bytes.
    let read = |p: *const u8| unsafe { (p.cast::<[u8; 6]>().read(), p.add(6).cast::<[u8; 6]>().read()) };
    head::<ETH>(ctx).map_or(([0; 6], [0; 6]), read)
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
/// the compiler makes two pointers, and the verifier cannot see that the check on one covers the other.
#[inline(always)]
fn head<const N: usize>(ctx: &TcContext) -> Option<*const u8> {
    let p = ctx.data();
    (p + N <= ctx.data_end()).then_some(p as *const u8)
}

/// A number in network order.
///
/// # Safety
/// [`head`] has checked the bytes up to there.
#[inline(always)]
unsafe fn be16(p: *const u8, at: usize) -> u16 {
    // SAFETY: the caller has checked them.
    u16::from_be(unsafe { p.add(at).cast::<u16>().read_unaligned() })
}

#[inline(always)]
pub(crate) fn word(b: &[u8; 16]) -> u32 {
    u32::from_ne_bytes([b[0], b[1], b[2], b[3]])
}

#[inline(always)]
fn plain_v4(ctx: &TcContext, device: u64, direction: u8) -> Option<Header> {
    let p = head::<42>(ctx)?;
    // SAFETY: `head` has checked so many bytes, and the verifier follows each access.
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
        Some(Header { key: Key::V4(Key4 { src, dst, at }), dscp: *p.add(15) >> 2, tcp_flags, l4: 34, start: 0 })
    }
}

#[inline(always)]
fn plain_v6(ctx: &TcContext, device: u64, direction: u8) -> Option<Header> {
    let p = head::<62>(ctx)?;
    // SAFETY: as in `plain_v4`.
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
        Some(Header { key: Key::V6(Key6 { src, dst, at }), dscp, tcp_flags, l4: 54, start: 0 })
    }
}

/// What the slow way has found so far.
pub(crate) struct Found {
    pub(crate) src: [u8; 16],
    pub(crate) dst: [u8; 16],
    pub(crate) tcp_flags: u32,
    pub(crate) l4: u32,
    pub(crate) ports: [u16; 2],
    pub(crate) eth_proto: u16,
    pub(crate) proto: u8,
    dscp: u8,
}

impl Found {
    #[inline(always)]
    pub(crate) fn has_ip(&self) -> bool {
        self.ports[0] != NO_IP || self.proto != 0
    }
}

impl Default for Found {
    #[inline(always)]
    fn default() -> Self {
        Self { src: [0; 16], dst: [0; 16], tcp_flags: 0, l4: 0, ports: [NO_IP, 0], eth_proto: 0, proto: 0, dscp: 0 }
    }
}

/// Where the transport header that begins at `l4` ends; 0 = not known.
#[inline(always)]
pub(crate) fn transport_end(from: impl Source, l4: u32, proto: u8) -> u32 {
    match proto {
        _ if l4 == 0 => 0,
        // RFC 9293: the data offset counts words of four bytes.
        TCP => load::<1>(from, l4 as usize + 12).map_or(0, |[words]| l4 + u32::from(words >> 4) * 4),
        UDP => l4 + 8,
        SCTP => l4 + 12,
        _ => 0,
    }
}

/// Reads the Ethernet header and what may stand between it and IP. Returns where the packet begins, and the EtherType of the whole
/// in the upper half; `found` has that of the packet. 0: the frame ends before.
///
/// This and [`ip`] have stack frames of their own, one after the other, as all that are active at once must fit into 512 bytes.
#[inline(never)]
fn link(skb: *mut __sk_buff, found: &mut Found) -> u64 {
    let Some(eth) = load::<ETH>(skb, 0) else { return 0 };
    found.dst[..6].copy_from_slice(&eth[..6]);
    found.src[..6].copy_from_slice(&eth[6..12]);
    found.eth_proto = u16::from_be_bytes([eth[12], eth[13]]);
    let mut offset = ETH;
    for _ in 0..MAX_TAGS {
        if !matches!(found.eth_proto, VLAN | VLAN_OUTER | VLAN_QINQ) {
            break;
        }
        let Some(tag) = load::<4>(skb, offset) else { return 0 };
        found.eth_proto = u16::from_be_bytes([tag[2], tag[3]]);
        offset += 4;
    }
    u64::from(found.eth_proto) << 32 | unwrap(skb, offset, found) as u64
}

/// The same of a frame without an Ethernet header. What it carries is known to the kernel alone.
#[inline(never)]
fn bare_link(skb: *mut __sk_buff, start: u32, found: &mut Found) -> u64 {
    found.eth_proto = protocol(skb);
    u64::from(found.eth_proto) << 32 | unwrap(skb, start as usize, found) as u64
}

/// Reads the packet at `begin`.
#[inline(always)]
fn rest(ctx: &TcContext, begin: u64, found: &mut Found) {
    if begin != 0 && ip(ctx.skb.skb, begin as u32, found) == 0 {
        found.eth_proto = (begin >> 32) as u16;
    }
}

/// Whether there is an IP header, as a number: for a function without a result, the compiler takes the register of it for what the
/// caller had there, which the verifier refuses.
#[inline(never)]
fn ip(skb: *mut __sk_buff, offset: u32, found: &mut Found) -> u32 {
    match found.eth_proto {
        ETH_IPV4 => v4(skb, offset as usize, found),
        ETH_IPV6 => v6(skb, offset as usize, found),
        _ => {}
    }
    u32::from(found.has_ip())
}

/// The EtherType as the kernel has it: behind the tags that it took off.
#[inline(always)]
pub(crate) fn protocol(skb: *mut __sk_buff) -> u16 {
    u16::from_be(bpf::skb::protocol(skb) as u16)
}

/// Goes behind the headers of a PPPoE session and MPLS labels: IP in them counts as IP, as it does behind VLAN tags.
#[inline(always)]
fn unwrap(skb: impl Source, offset: usize, found: &mut Found) -> usize {
    let offset = if found.eth_proto == PPPOE { pppoe(skb, offset, found) } else { offset };
    if matches!(found.eth_proto, MPLS | MPLS_MULTICAST) { mpls(skb, offset, found) } else { offset }
}

/// Goes behind the headers of PPPoE and PPP; sets `found.eth_proto` to what is there, if that is known.
#[inline(always)]
fn pppoe(skb: impl Source, offset: usize, found: &mut Found) -> usize {
    // Version and type 1, code 0, session, length; then PPP's protocol.
    let Some([0x11, 0, _, _, _, _, high, low]) = load::<8>(skb, offset) else { return offset };
    found.eth_proto = match u16::from_be_bytes([high, low]) {
        PPP_IPV4 => ETH_IPV4,
        PPP_IPV6 => ETH_IPV6,
        PPP_MPLS => MPLS,
        _ => return offset,
    };
    offset + 8
}

/// Goes behind the labels. No field names what follows the last one, but IP has its version there, and what else there is keeps
/// clear of these two numbers (RFC 4928, 3).
#[inline(always)]
fn mpls(skb: impl Source, mut offset: usize, found: &mut Found) -> usize {
    for _ in 0..MAX_LABELS {
        let Some(label) = load::<4>(skb, offset) else { return offset };
        offset += 4;
        if label[2] & 1 != 0 {
            match load::<1>(skb, offset).map_or(0, |[first]| first >> 4) {
                4 => found.eth_proto = ETH_IPV4,
                6 => found.eth_proto = ETH_IPV6,
                _ => {}
            }
            break;
        }
    }
    offset
}

#[inline(always)]
pub(crate) fn v4(skb: impl Source, offset: usize, found: &mut Found) {
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
pub(crate) fn v6(skb: impl Source, offset: usize, found: &mut Found) {
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
