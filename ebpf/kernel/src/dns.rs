//! Hands DNS messages to the agent, which reads them: names of up to 253 bytes are no work for a kernel program.

use aya_ebpf::{
    Global,
    bindings::__sk_buff,
    helpers::{bpf_ktime_get_ns, generated::bpf_skb_load_bytes},
    macros::map,
    maps::RingBuf,
    programs::TcContext,
};
use netobserv_ebpf_common::{Counter, DNS_MOST, DnsMessage, Point, mapped};

use crate::{
    device,
    flows::counter,
    packet::{Header, Key, TCP, UDP},
};

/// Port to watch beside 53; 0 = DNS is not watched at all.
#[unsafe(no_mangle)]
pub static DNS_PORT: Global<u32> = Global::new(0);

/// The agent makes it one page small when DNS is not watched.
#[map]
static DNS_MESSAGES: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// IANA "Service Name and Transport Protocol Port Number Registry".
const DOMAIN: u16 = 53;
/// Length of the header (RFC 1035, 4.1.1): shorter is no message.
const SHORTEST: u32 = 12;

/// Hands the packet on if it may carry DNS.
#[inline(always)]
pub fn watch(ctx: &TcContext, header: &Header) {
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
    let ctx = TcContext::new(skb);
    let Some(payload) = payload(skb, header) else { return };
    let length = ctx.len();
    if length < payload + SHORTEST {
        return;
    }
    let Some(mut entry) = DNS_MESSAGES.reserve::<DnsMessage>(0) else {
        return counter(Counter::LostDns, 1);
    };
    let message = entry.as_mut_ptr();
    unsafe {
        // Field by field: a key in its wide form on the stack would not fit.
        let wide = &raw mut (*message).key;
        match &header.key {
            Key::V4(key) => {
                (&raw mut (*wide).src).write(mapped(key.src));
                (&raw mut (*wide).dst).write(mapped(key.dst));
                (&raw mut (*wide).at).write(key.at);
            }
            Key::V6(key) => wide.write(*key),
        }
        (*message).time_ns = bpf_ktime_get_ns();
        (*message).ifindex = (*skb).ifindex;
        (*message).netns = device::netns(&ctx);
        (*message).frame_bytes = length;
        (*message).length = copy(skb, payload, length - payload, (&raw mut (*message).data).cast());
    }
    entry.submit(0);
}

/// Where the transport header ends.
#[inline(always)]
fn payload(skb: *mut __sk_buff, header: &Header) -> Option<u32> {
    let l4 = header.l4;
    if point(header).proto == UDP {
        return Some(l4 + 8);
    }
    let mut words = 0u8;
    let rc = unsafe { bpf_skb_load_bytes(skb.cast(), l4 + 12, (&raw mut words).cast(), 1) };
    // RFC 9293: the data offset counts words of four bytes.
    (rc == 0).then_some(l4 + u32::from(words >> 4) * 4)
}

/// Copies at most [`DNS_MOST`] bytes; returns how many.
#[inline(always)]
unsafe fn copy(skb: *mut __sk_buff, from: u32, length: u32, to: *mut u8) -> u32 {
    // The verifier wants 1..=DNS_MOST proven, on a 64-bit value, in two comparisons that the compiler does not
    // melt into one: hence the two black boxes.
    let length = core::hint::black_box(u64::from(length.min(DNS_MOST as u32)));
    if length >= 1 {
        let length = core::hint::black_box(length);
        if length <= DNS_MOST as u64 && unsafe { bpf_skb_load_bytes(skb.cast(), from, to.cast(), length as u32) } == 0 {
            return length as u32;
        }
    }
    0
}
