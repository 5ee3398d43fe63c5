//! What a packet comes to on the wire.
//!
//! Segmentation offload makes one super-packet of many: the kernel carries their payload behind one copy of the headers. On the
//! wire each segment has its own, so the headers are counted once a segment.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};

use crate::{
    bpf::skb,
    device,
    packet::{self, Header, SCTP, TCP, UDP},
};

/// `skb_shared_info.gso_size` of packets whose segments have different sizes (SCTP).
const BY_FRAGMENTS: u32 = 0xffff;
/// Where the checksum is in a header (RFC 9293, 3.1; RFC 768).
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;

/// A number of packets, and their length with headers and tags.
pub(crate) struct Wire {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// What the packet is on the wire.
#[inline(always)]
pub(crate) fn wire(ctx: &TcContext, header: &Header) -> Wire {
    let (size, tagged) = (skb::gso_size(ctx.skb.skb), skb::vlan_present(ctx.skb.skb) != 0);
    // The outer VLAN tag is often kept next to the frame: by the driver, or by the kernel itself before programs at the
    // ingress run.
    let tag = if tagged { 4 } else { 0 };
    let length = ctx.len() - header.start;
    if size == 0 {
        return Wire { packets: 1, bytes: u64::from(length + tag) };
    }
    let (segments, headers) = unpack(split(ctx.skb.skb, header.l4, header.at().proto.into()));
    let repeated = if headers == 0 { 0 } else { u64::from(headers - header.start + tag) };
    Wire { packets: u64::from(segments), bytes: u64::from(length + tag) + u64::from(segments - 1) * repeated }
}

/// Two numbers in one: what a function of its own can return.
#[inline(always)]
fn unpack(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}

/// How many segments there are, and where the headers end that each of them has (counted from the packet's first byte, 0 = not
/// known), in the upper and the lower half. Its own stack frame, as most packets do not come here.
#[inline(never)]
fn split(skb: *mut __sk_buff, l4: u32, proto: u32) -> u64 {
    let ctx = TcContext::new(skb);
    let whole = Super { length: ctx.len(), size: skb::gso_size(skb), segments: skb::gso_segs(skb) };
    let headers = match proto as u8 {
        TCP | SCTP => packet::transport_end(skb, l4, proto as u8),
        // What carries a tunnel has the tunnelled packet's headers in each segment too.
        _ => match innermost(&ctx, &whole) {
            0 => packet::transport_end(skb, l4, proto as u8),
            end => end,
        },
    };
    u64::from(whole.count(headers)) << 32 | u64::from(headers)
}

/// What the kernel knows of a super-packet.
struct Super {
    length: u32,
    /// Payload of each segment but the last.
    size: u32,
    /// 0 = not counted yet: so it comes from a virtual machine, or from a program by way of tun.
    segments: u32,
}

impl Super {
    #[inline(always)]
    fn count(&self, headers: u32) -> u32 {
        if self.segments != 0 {
            return self.segments;
        }
        if self.size == BY_FRAGMENTS || headers == 0 || headers >= self.length {
            return 1;
        }
        self.full(self.length - headers)
    }

    /// How many segments so much payload makes. Not `div_ceil`: its branch that panics is one that the verifier refuses.
    #[inline(always)]
    fn full(&self, payload: u32) -> u32 {
        payload.checked_sub(1).and_then(|before| before.checked_div(self.size)).map_or(1, |full| full + 1)
    }

    /// Whether the headers may end there: what follows makes as many segments as there are.
    #[inline(always)]
    fn fits(&self, headers: u32) -> bool {
        if headers >= self.length || self.size == BY_FRAGMENTS {
            return false;
        }
        self.segments == 0 || self.full(self.length - headers) == self.segments
    }
}

/// Where the innermost transport header ends, or 0.
#[inline(always)]
fn innermost(ctx: &TcContext, whole: &Super) -> u32 {
    let (start, to) = device::checksum(ctx);
    let proto = match to {
        TCP_CHECKSUM => TCP,
        UDP_CHECKSUM => UDP,
        _ => return 0,
    };
    if start >= whole.length {
        return 0;
    }
    let end = packet::transport_end(ctx.skb.skb, start, proto);
    if whole.fits(end) { end } else { 0 }
}
