//! Hands DNS messages to the agent, which reads them: names of up to 253 bytes are no work for a kernel program. Over TCP all
//! that a segment carries goes to the agent, in pieces: only there is it known where a message begins.

use aya_ebpf::{
    Global,
    bindings::__sk_buff,
    macros::map,
    maps::{PerCpuArray, RingBuf},
    programs::TcContext,
};
use netobserv_ebpf_common::{Counter, DNS_MOST, DNS_PIECE, DnsHead, Point};

use crate::{
    bpf,
    counters::counter,
    device,
    packet::{Header, Key, TCP, UDP},
    source::load,
};

/// Port to watch in addition to 53; 0 = DNS is not watched at all.
#[unsafe(no_mangle)]
pub(crate) static DNS_PORT: Global<u32> = Global::new(0);

/// The agent makes it one page small when DNS is not watched.
#[map]
static DNS_MESSAGES: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// What is known of a packet before its content is copied: a record of it would not fit on the stack.
#[map]
static HEAD: PerCpuArray<DnsHead> = PerCpuArray::with_max_entries(1, 0);

/// IANA "Service Name and Transport Protocol Port Number Registry".
const DOMAIN: u16 = 53;
/// Length of the header (RFC 1035, 4.1.1): shorter is no message.
const SHORTEST: u32 = 12;
/// Super-packets of 256 KiB: before they are cut for the device they have more than the 64 KiB of an IP packet. The rest of a
/// longer one counts as lost.
const MOST_PIECES: u32 = (256 << 10) / DNS_PIECE as u32 + 1;
/// Up to this length a frame may have been filled up (60 bytes, and a tag).
const PADDED: u32 = 64;

// RFC 9293, 3.1.
const FIN: u32 = 1;
const SYN: u32 = 2;

/// Hands the packet on if it may carry DNS.
#[inline(always)]
pub(crate) fn watch(ctx: &TcContext, header: &Header) {
    let port = DNS_PORT.load();
    if port == 0 || header.l4 == 0 {
        return;
    }
    let at = point(header);
    let wanted = |number: u16| number == DOMAIN || u32::from(number) == port;
    if (at.proto == UDP || at.proto == TCP) && (wanted(at.src_port) || wanted(at.dst_port)) {
        hand_on(ctx.skb.skb, header);
    }
}

#[inline(always)]
fn point(header: &Header) -> &Point {
    match &header.key {
        Key::V4(key) => &key.at,
        Key::V6(key) => &key.at,
    }
}

#[inline(never)]
fn hand_on(skb: *mut __sk_buff, header: &Header) {
    let Some(head) = HEAD.get_ptr_mut(0) else { return };
    let Some(content) = content(skb, header) else { return };
    let udp = point(header).proto == UDP;
    let least = match content.tcp_flags & (SYN | FIN) {
        _ if udp => SHORTEST,
        0 => 1,
        _ => 0,
    };
    if content.length < least {
        return;
    }
    let ctx = TcContext::new(skb);
    // SAFETY: this CPU's own value of the map.
    unsafe {
        write_key(header, (&raw mut (*head).key).cast());
        (*head).time_ns = bpf::now_ns();
        (*head).ifindex = bpf::skb::ifindex(skb);
        (*head).netns = device::netns(&ctx);
        (*head).frame_bytes = ctx.len();
        (*head).length = content.length;
        (*head).seq = content.seq;
        (*head).tcp_flags = content.tcp_flags;
    }
    if udp || content.length <= DNS_MOST as u32 {
        piece::<DNS_MOST>(skb, head, content.at, 0);
    } else {
        pieces(skb, head, content.at);
    }
}

/// A message may begin anywhere in a segment, and a super-packet holds many: the agent reads all of it. The length comes from the
/// map in each round: the verifier would follow each value that it may have, and what was before, through all rounds.
#[inline(never)]
fn pieces(skb: *mut __sk_buff, head: *mut DnsHead, at: u32) {
    let mut done = 0;
    for _ in 0..MOST_PIECES {
        let handed_on = piece::<DNS_PIECE>(skb, head, at, done);
        done += DNS_PIECE as u32;
        // SAFETY: as in `hand_on`.
        if !handed_on || done >= unsafe { (&raw const (*head).length).read_volatile() } {
            return;
        }
    }
    counter(Counter::LostDns, 1);
}

/// What the agent reads.
#[repr(C)]
struct Record<const N: usize> {
    head: DnsHead,
    data: [u8; N],
}

/// Hands on what begins `done` bytes into the content, which is `at` in the frame. False, and counted, if there is no room for it.
#[inline(always)]
fn piece<const N: usize>(skb: *mut __sk_buff, head: *const DnsHead, at: u32, done: u32) -> bool {
    let Some(mut entry) = DNS_MESSAGES.reserve::<Record<N>>(0) else {
        counter(Counter::LostDns, 1);
        return false;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the room that was reserved, and the value of `hand_on`; both are whole words of 8 bytes.
    unsafe {
        let (to, from) = ((&raw mut (*record).head).cast::<u64>(), head.cast::<u64>());
        for word in 0..size_of::<DnsHead>() / 8 {
            to.add(word).write(from.add(word).read());
        }
        let to = &raw mut (*record).head;
        if done > 0 {
            (*to).seq = (*head).seq.wrapping_add(done);
            (*to).tcp_flags = (*head).tcp_flags & !SYN;
        }
        let length = (&raw const (*head).length).read_volatile().saturating_sub(done);
        (*to).length = copy::<N>(skb, at + done, length, (&raw mut (*record).data).cast());
    }
    entry.submit(0);
    true
}

/// Writes a key in its wide form, word by word: the compiler's own way is a loop over bytes, and the verifier walks each round.
///
/// # Safety
/// There is room for a [`DnsHead`]'s key at `to`.
#[inline(always)]
unsafe fn write_key(header: &Header, to: *mut u64) {
    let (src, dst, at): (_, _, *const u64) = match &header.key {
        Key::V4(key) => (mapped_words(key.src), mapped_words(key.dst), (&raw const key.at).cast()),
        // SAFETY: a wide key is six words of 8 bytes.
        Key::V6(key) => unsafe {
            let words: *const u64 = (&raw const *key).cast();
            ([words.read(), words.add(1).read()], [words.add(2).read(), words.add(3).read()], words.add(4))
        },
    };
    // SAFETY: the caller has the room, and a point is two words of 8 bytes.
    unsafe {
        to.write(src[0]);
        to.add(1).write(src[1]);
        to.add(2).write(dst[0]);
        to.add(3).write(dst[1]);
        to.add(4).cast::<u32>().write(at.cast::<u32>().read());
        to.add(4).cast::<u32>().add(1).write(at.cast::<u32>().add(1).read());
        to.add(5).write(at.add(1).read());
    }
}

/// An IPv4 address as IPv6 (RFC 4291, 2.5.5.2), as the two words of its bytes on this machine, whose lowest byte comes first.
#[inline(always)]
fn mapped_words(address: u32) -> [u64; 2] {
    [0, u64::from(address) << 32 | 0xffff_0000]
}

/// What the transport carries.
struct Content {
    /// Where it begins in the frame.
    at: u32,
    length: u32,
    /// TCP: sequence number of its first byte.
    seq: u32,
    /// TCP: the header's flags.
    tcp_flags: u32,
}

#[inline(always)]
fn content(skb: *mut __sk_buff, header: &Header) -> Option<Content> {
    let l4 = header.l4;
    let mut content = Content { at: l4 + 8, length: 0, seq: 0, tcp_flags: 0 };
    if point(header).proto == TCP {
        // RFC 9293, 3.1: the sequence number at 4, the data offset in words of four bytes at 12, the flags at 13.
        let tcp = load::<10>(skb, l4 as usize + 4)?;
        content.at = l4 + u32::from(tcp[8] >> 4) * 4;
        content.tcp_flags = u32::from(tcp[9]);
        // A SYN takes a number of its own, before what it carries.
        let syn = u32::from(content.tcp_flags & SYN != 0);
        content.seq = u32::from_be_bytes([tcp[0], tcp[1], tcp[2], tcp[3]]).wrapping_add(syn);
    }
    let frame = bpf::skb::len(skb);
    content.length = frame.checked_sub(content.at)?;
    // Ethernet fills short frames up: there the length is that of the IP header. It lies right before the transport's, since
    // options leave no room for content in a frame this short. IPv6 and its transports make a frame long enough.
    if frame <= PADDED
        && let Key::V4(_) = header.key
        && let Some(ip) = load::<4>(skb, l4.wrapping_sub(20) as usize)
        && ip[0] == 0x45
    {
        let total = u32::from(u16::from_be_bytes([ip[2], ip[3]]));
        content.length = content.length.min(total.saturating_sub(20 + content.at - l4));
    }
    Some(content)
}

/// Copies at most N bytes; returns how many.
///
/// # Safety
/// There is room for N bytes at `to`.
#[inline(always)]
unsafe fn copy<const N: usize>(skb: *mut __sk_buff, from: u32, length: u32, to: *mut u8) -> u32 {
    // The verifier wants 1..=N proven, on a 64-bit value, in two comparisons that the compiler does not
    // melt into one: hence the two black boxes.
    let length = core::hint::black_box(u64::from(length.min(N as u32)));
    if length >= 1 {
        let length = core::hint::black_box(length);
        // SAFETY: no more than the room that the caller has.
        if length <= N as u64 && unsafe { bpf::load_bytes(skb, from, to.cast(), length as u32) } {
            return length as u32;
        }
    }
    0
}
