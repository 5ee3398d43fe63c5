//! Copies whole frames to the agent.
//!
//! The rules are those of the flows, and their verdict is remembered in the same way. A frame is copied once, from the packet
//! into a ring of this CPU alone or, if that is full, into the ring buffer; the reader looks there all the time, so no thread is
//! woken up for it.

use core::{arch::asm, ffi::c_void, hint::black_box};

use aya_ebpf::{
    Global,
    bindings::{__sk_buff, BPF_F_MMAPABLE, BPF_NOEXIST, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{Array, HashMap, RingBuf},
    programs::{BtfTracePointContext, TcContext},
};
use netobserv_ebpf_common::{
    Counter, DropCount,
    filter::DIRECTION_UNKNOWN,
    packets::{DROPPED, HOT, Hot, LostAt, MOST, PacketHead, SIZES, entry_size},
};

use crate::{
    bpf,
    counters::{atomic_add, counter},
    device, drops,
    filter::{self, Rules, chance},
    flows::FlowKey,
    packet::{self, Key},
    settings::SAMPLING,
};

/// Most bytes of a frame to be copied.
#[unsafe(no_mangle)]
pub(crate) static SNAPLEN: Global<u32> = Global::new(MOST as u32);

/// The agent makes it one page when no packets are captured.
#[map]
static PACKETS: RingBuf = RingBuf::with_byte_size(32 << 20, 0);

/// One for each CPU; the agent sets the number.
#[map]
static PACKETS_HOT: Array<Hot> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What found no room there, by interface.
#[map]
static PACKETS_LOST: HashMap<u64, LostAt> = HashMap::with_max_entries(4096, 0);

/// What one frame takes in the ring buffer.
#[repr(C)]
struct Slot<const N: usize> {
    head: PacketHead,
    data: [u8; N],
}

/// Where the bytes of a frame come from.
trait Bytes: Copy {
    /// Copies its first `length` bytes; false if that cannot be.
    ///
    /// # Safety
    /// There is room for them at `to`.
    unsafe fn copy(self, to: *mut c_void, length: u32) -> bool;
}

/// A packet, from this byte on.
#[derive(Clone, Copy)]
struct From(*mut __sk_buff, u32);

impl Bytes for From {
    #[inline(always)]
    unsafe fn copy(self, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the caller has the room.
        unsafe { bpf::load_bytes(self.0, self.1, to, length) }
    }
}

/// An address of the kernel.
#[derive(Clone, Copy)]
struct Address(u64);

impl Bytes for Address {
    #[inline(always)]
    unsafe fn copy(self, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the caller has the room.
        unsafe { bpf::read_bytes(self.0, to, length) }
    }
}

/// Copies a frame at an interface, if the rules want it. It begins with an Ethernet header unless it is `BARE`.
#[inline(always)]
pub(crate) fn capture<const BARE: bool>(ctx: &TcContext, direction: u8) {
    let rules = Rules::in_force();
    let sampled_by_rule = rules.is_some_and(|rules| rules.sample());
    if !sampled_by_rule && !chance(SAMPLING.load()) {
        return;
    }
    let header = packet::read::<BARE>(ctx, 0, direction);
    let sampling = match &header.key {
        Key::V4(key) => judge(key, header.tcp_flags, rules),
        Key::V6(key) => judge(key, header.tcp_flags, rules),
    };
    if sampling == 0 || sampled_by_rule && !chance(sampling) {
        return;
    }
    hand_on::<BARE>(ctx.skb.skb, direction, sampling);
}

#[inline(always)]
fn judge<K: FlowKey>(key: &K, tcp_flags: u32, rules: Option<Rules>) -> u32 {
    let Some(rules) = rules else { return SAMPLING.load() };
    let place = rules.place(key, tcp_flags);
    if let Some(sampling) = place.recall() {
        return sampling;
    }
    let sampling = filter::sampling(&key.wide(), tcp_flags, false);
    place.remember(sampling);
    sampling
}

/// Its own stack frame, so that reading the headers keeps its registers.
#[inline(never)]
fn hand_on<const BARE: bool>(skb: *mut __sk_buff, direction: u8, sampling: u32) {
    let ctx = TcContext::new(skb);
    let (ifindex, netns) = device::place(&ctx);
    let start = if BARE { device::network(&ctx) } else { 0 };
    let length = ctx.len() - start;
    let tag =
        if bpf::skb::vlan_present(skb) == 0 { 0 } else { tag(bpf::skb::vlan_proto(skb), bpf::skb::vlan_tci(skb)) };
    let head = PacketHead {
        time_ns: bpf::now_ns(),
        ifindex,
        netns,
        length,
        captured: length.min(SNAPLEN.load()),
        sampling,
        tag,
        reason: 0,
        direction,
        bare: u8::from(BARE),
        eth_proto: if BARE { packet::protocol(skb) } else { 0 },
    };
    let frame = From(skb, start);
    if !put_hot(frame, &head) && !put(frame, &head) {
        lost(u64::from(ifindex) | u64::from(netns) << 32, length);
    }
}

/// The kernel has the protocol in network order.
#[inline(always)]
fn tag(proto: u32, control: u32) -> u32 {
    u32::from(u16::from_be(proto as u16)) << 16 | control & 0xffff
}

/// Copies a packet that is being dropped, as far as it lies in one piece.
#[inline(always)]
pub(crate) fn dropped(ctx: &BtfTracePointContext) {
    let Some(wanted) = drops::wanted(ctx) else { return };
    let mut count = DropCount::default();
    drops::measure(&wanted, &mut count);
    drops::place(wanted.skb, drops::rx_sk(ctx), &mut count);
    let bytes = drops::bytes(wanted.skb);
    let head = PacketHead {
        time_ns: count.first_ns,
        ifindex: count.ifindex,
        netns: count.netns,
        length: bytes.length,
        captured: bytes.readable.min(bytes.length).min(SNAPLEN.load()),
        sampling: wanted.sampling,
        tag: 0,
        reason: wanted.reason,
        direction: DIRECTION_UNKNOWN,
        bare: u8::from(bytes.bare),
        eth_proto: drops::protocol(wanted.skb),
    };
    if !put(Address(bytes.from), &head) {
        lost(DROPPED, bytes.length);
    }
}

/// Puts a frame into the ring of this CPU. False if it has none, or no room.
#[inline(always)]
fn put_hot(frame: From, head: &PacketHead) -> bool {
    let Some(hot) = PACKETS_HOT.get_ptr_mut(bpf::cpu()) else { return false };
    // SAFETY: the value of this CPU, which programs of other CPUs do not use. A program that interrupts this one sees that it is busy.
    unsafe {
        let busy = &raw mut (*hot).busy;
        if busy.read_volatile() != 0 {
            return false;
        }
        busy.write_volatile(1);
        let done = write(hot, frame, head);
        busy.write_volatile(0);
        done
    }
}

/// Writes an entry. False if there is no room.
///
/// # Safety
/// The ring is this CPU's, and marked as busy.
#[inline(always)]
unsafe fn write(hot: *mut Hot, frame: From, head: &PacketHead) -> bool {
    // SAFETY: the mask and the room behind the data keep an entry of any length inside the ring.
    unsafe {
        let at = (&raw const (*hot).head).read_volatile();
        let end = at + entry_size(head.captured);
        if end - (&raw const (*hot).tail).read_volatile() > HOT as u64 {
            return false;
        }
        let entry = (&raw mut (*hot).data).cast::<u8>().add(black_box(at as usize) & (HOT - 1));
        entry.cast::<PacketHead>().write_unaligned(*head);
        // As in `put_sized`.
        let length = black_box(u64::from(head.captured));
        if length < 1 {
            return false;
        }
        let length = black_box(length);
        if length > MOST as u64 || !frame.copy(entry.add(size_of::<PacketHead>()).cast(), length as u32) {
            return false;
        }
        publish(&raw mut (*hot).head, end);
        true
    }
}

/// Shows the reader what was written before. An exchange, as that is the one instruction with a barrier.
///
/// # Safety
/// `head` is in a map's value.
#[inline(always)]
unsafe fn publish(head: *mut u64, end: u64) {
    // SAFETY: one instruction, on a value that the verifier has checked.
    unsafe { asm!("{end} = xchg_64({head} + 0, {end})", head = in(reg) head, end = inout(reg) end => _) }
}

/// Puts a frame into the smallest room that is large enough. False if there is none.
#[inline(always)]
fn put(bytes: impl Bytes, head: &PacketHead) -> bool {
    macro_rules! by_size {
        ($($index:literal)*) => {
            $(if head.captured <= SIZES[$index] as u32 {
                return put_sized::<{ SIZES[$index] }>(bytes, head);
            })*
        };
    }
    by_size!(0 1 2 3 4 5 6 7 8 9);
    false
}

#[inline(always)]
fn put_sized<const N: usize>(bytes: impl Bytes, head: &PacketHead) -> bool {
    let Some(mut entry) = PACKETS.reserve::<Slot<N>>(0) else { return false };
    let slot = entry.as_mut_ptr();
    // The verifier wants 1..=N proven, on a 64-bit value, in two comparisons that the compiler does not melt into one.
    let length = black_box(u64::from(head.captured));
    if length >= 1 {
        let length = black_box(length);
        // SAFETY: the room that was reserved, and no more than it has.
        unsafe {
            (&raw mut (*slot).head).write(*head);
            if length > N as u64 || !bytes.copy((&raw mut (*slot).data).cast(), length as u32) {
                (*slot).head.captured = 0;
            }
        }
        entry.submit(u64::from(BPF_RB_NO_WAKEUP));
        return true;
    }
    // SAFETY: the room that was reserved.
    unsafe { (&raw mut (*slot).head).write(*head) };
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    true
}

#[inline(never)]
fn lost(place: u64, bytes: u32) -> u32 {
    counter(Counter::LostPackets, 1);
    counter(Counter::LostBytes, u64::from(bytes));
    let one = LostAt { packets: 1, bytes: u64::from(bytes) };
    if PACKETS_LOST.get_ptr_mut(&place).is_none() && PACKETS_LOST.insert(&place, &one, u64::from(BPF_NOEXIST)).is_ok() {
        return 0;
    }
    if let Some(sum) = PACKETS_LOST.get_ptr_mut(&place) {
        // SAFETY: the value of a map, which stays valid while the program runs.
        unsafe {
            atomic_add(&raw mut (*sum).packets, 1);
            atomic_add(&raw mut (*sum).bytes, u64::from(bytes));
        }
    }
    0
}
