//! Round-trip times of TCP connections that end on this machine, as their own stack measures them.
//!
//! `tcp_probe` fires for every segment that an established socket receives, before the segment changes anything: so
//! the time read is the one smoothed over the segments before.

use aya_ebpf::{Global, bindings::BPF_NOEXIST, macros::map, maps::HashMap, programs::BtfTracePointContext};
use netobserv_ebpf_common::{Counter, ETH_IPV4, ETH_IPV6, Key6, Point, filter::DIRECTION_UNKNOWN, mapped};

use crate::{
    bpf::{member, read},
    counters::{counter, second},
    filter::chance,
    packet::TCP,
    settings::SAMPLING,
};

/// Byte offset of `sock.__sk_common.skc_family`; the next ones are of the same struct.
#[unsafe(no_mangle)]
pub(crate) static SK_FAMILY: Global<u32> = Global::new(0);
/// `skc_daddr`: the other end, as IPv4.
#[unsafe(no_mangle)]
pub(crate) static SK_DADDR: Global<u32> = Global::new(0);
/// `skc_rcv_saddr`: this end.
#[unsafe(no_mangle)]
pub(crate) static SK_SADDR: Global<u32> = Global::new(0);
/// `skc_v6_daddr`.
#[unsafe(no_mangle)]
pub(crate) static SK_DADDR6: Global<u32> = Global::new(0);
/// `skc_v6_rcv_saddr`.
#[unsafe(no_mangle)]
pub(crate) static SK_SADDR6: Global<u32> = Global::new(0);
/// `skc_dport`, in network order.
#[unsafe(no_mangle)]
pub(crate) static SK_DPORT: Global<u32> = Global::new(0);
/// `skc_num`: the own port, in host order.
#[unsafe(no_mangle)]
pub(crate) static SK_SPORT: Global<u32> = Global::new(0);
/// `tcp_sock.srtt_us`: the smoothed time in eighths of a microsecond.
#[unsafe(no_mangle)]
pub(crate) static TCP_SRTT: Global<u32> = Global::new(0);

// Two maps that take turns, as those of the flows do: from a flow to its largest smoothed time, ns.
#[map]
static RTT_A: HashMap<Key6, u64> = HashMap::with_max_entries(1, 0);
#[map]
static RTT_B: HashMap<Key6, u64> = HashMap::with_max_entries(1, 0);

// include/linux/socket.h.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Keeps the time of the socket that received this segment, if it is the largest of the window.
#[inline(always)]
pub(crate) fn sample(ctx: &BtfTracePointContext) {
    if !chance(SAMPLING.load()) {
        return;
    }
    let sk: *const u8 = ctx.arg(0);
    // A member of tcp_sock, behind the sock that the verifier knows: read with a helper.
    let srtt: u32 = read(sk as u64, TCP_SRTT.load());
    let ns = u64::from(srtt >> 3) * 1000;
    if ns == 0 {
        return;
    }
    let Some(flow) = received(sk) else { return };
    if second() { keep(&RTT_B, &flow, ns) } else { keep(&RTT_A, &flow, ns) }
}

/// The flow that this socket receives: from the other end to this one.
#[inline(always)]
fn received(sk: *const u8) -> Option<Key6> {
    let (src, dst) = match member::<u16>(sk, SK_FAMILY.load()) {
        AF_INET => (mapped(member(sk, SK_DADDR.load())), mapped(member(sk, SK_SADDR.load()))),
        AF_INET6 => (wide(sk, &SK_DADDR6), wide(sk, &SK_SADDR6)),
        _ => return None,
    };
    // A socket for both families has IPv4 connections under mapped addresses.
    let v4 = dst[..10] == [0; 10] && dst[10] == 0xff && dst[11] == 0xff;
    let at = Point {
        src_port: u16::from_be(member(sk, SK_DPORT.load())),
        dst_port: member(sk, SK_SPORT.load()),
        eth_proto: if v4 { ETH_IPV4 } else { ETH_IPV6 },
        proto: TCP,
        direction: DIRECTION_UNKNOWN,
        device: 0,
    };
    Some(Key6 { src, dst, at })
}

#[inline(always)]
fn wide(sk: *const u8, offset: &Global<u32>) -> [u8; 16] {
    let words: [u32; 4] =
        // SAFETY: as in `member`; one pointer for all four, or the compiler spills more.
        core::array::from_fn(|i| unsafe { sk.add(offset.load() as usize).cast::<u32>().add(i).read() });
    // SAFETY: numbers of the same size.
    unsafe { core::mem::transmute(words) }
}

#[inline(always)]
fn keep(map: &HashMap<Key6, u64>, flow: &Key6, ns: u64) {
    // Between the look and the write another CPU may write a larger one, which is then lost: it was of the same
    // moment, and the next segment brings another.
    match map.get_ptr_mut(flow) {
        // SAFETY: the value stays valid while the program runs.
        Some(most) => unsafe {
            if *most < ns {
                *most = ns;
            }
        },
        None => {
            if map.insert(flow, ns, u64::from(BPF_NOEXIST)).is_ok() {
                counter(Counter::Created, 1);
            }
        }
    }
}
