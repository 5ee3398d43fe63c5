//! Counts each packet under its flow.
//!
//! The counts live in two sets of maps. Programs write to the active one; the agent makes the other one active,
//! waits until no program can still be at work on the first, and drains that. So no count is taken away from
//! under a program, and no packet is lost between reading an entry and deleting it.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{HashMap, RingBuf},
    programs::TcContext,
};
use netobserv_ebpf_common::{Counter, FlowCount, Key4, Key6, Overflow, mapped};

use crate::{
    bpf,
    counters::{atomic_add, atomic_or, counter, second},
    device, dns,
    filter::{self, Rules, chance},
    packet::{self, Key},
    segments::{self, Wire},
    settings::SAMPLING,
    sockets,
    verdicts::{CacheSlot, Words},
};

// The agent sets the sizes (CACHE_MAX_FLOWS).
#[map]
static FLOWS4_A: HashMap<Key4, FlowCount> = HashMap::with_max_entries(1024, 0);
#[map]
static FLOWS4_B: HashMap<Key4, FlowCount> = HashMap::with_max_entries(1024, 0);
#[map]
static FLOWS6_A: HashMap<Key6, FlowCount> = HashMap::with_max_entries(1024, 0);
#[map]
static FLOWS6_B: HashMap<Key6, FlowCount> = HashMap::with_max_entries(1024, 0);

/// Packets whose flow found no room in the active map.
#[map]
static OVERFLOW: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// What one packet adds to its flow.
struct Packet<'a> {
    ctx: &'a TcContext,
    /// It has no MAC addresses.
    bare: bool,
    rules: Option<Rules>,
    bytes: u64,
    packets: u64,
    tcp_flags: u32,
    dscp: u8,
}

/// A key of either family.
pub(crate) trait FlowKey: Words {
    /// As IPv6.
    fn wide(&self) -> Key6;
}

impl FlowKey for Key4 {
    #[inline(always)]
    fn wide(&self) -> Key6 {
        Key6 { src: mapped(self.src), dst: mapped(self.dst), at: self.at }
    }
}

impl FlowKey for Key6 {
    #[inline(always)]
    fn wide(&self) -> Key6 {
        *self
    }
}

/// Counts one packet, which begins with an Ethernet header unless it is `BARE`.
#[inline(always)]
pub(crate) fn account<const BARE: bool>(ctx: &TcContext, direction: u8) {
    let rules = Rules::in_force();
    if !rules.is_some_and(|rules| rules.sample()) && !chance(SAMPLING.load()) {
        return;
    }
    let device = device::of(ctx);
    let header = packet::read::<BARE>(ctx, device, direction);
    let Wire { packets, bytes } = segments::wire(ctx, &header);
    let packet = Packet { ctx, bare: BARE, rules, bytes, packets, tcp_flags: header.tcp_flags, dscp: header.dscp };
    let second = second();
    // A branch for each map: one call with "either map" could not be inlined by the verifier.
    let counted = match (&header.key, second) {
        (Key::V4(key), false) => count(&FLOWS4_A, key, &packet),
        (Key::V4(key), true) => count(&FLOWS4_B, key, &packet),
        (Key::V6(key), false) => count(&FLOWS6_A, key, &packet),
        (Key::V6(key), true) => count(&FLOWS6_B, key, &packet),
    };
    if counted {
        dns::watch(ctx, &header);
    }
}

/// Counts the packet unless the rules do not want it. Returns whether they did.
#[inline(always)]
fn count<K: FlowKey>(flows: &HashMap<K, FlowCount>, key: &K, packet: &Packet) -> bool {
    let place = packet.rules.map(|rules| rules.place(key, packet.tcp_flags));
    let mut verdict = place.as_ref().and_then(CacheSlot::recall);
    if verdict.is_none() && packet.rules.is_some_and(|rules| rules.look_at_each_packet()) {
        verdict = Some(judge(key, packet, place.as_ref()));
    }
    if verdict == Some(0) {
        return false;
    }
    if let Some(flow) = flows.get_ptr_mut(key) {
        // The verdict on the flow's first packet holds for this one.
        return add(flow, packet);
    }
    let sampling = verdict.unwrap_or_else(|| judge(key, packet, place.as_ref()));
    if sampling == 0 || packet.rules.is_some_and(|rules| rules.sample()) && !chance(sampling) {
        return false;
    }
    let first = first(packet, sampling);
    if flows.insert(key, &first, u64::from(BPF_NOEXIST)).is_ok() {
        counter(Counter::Created, 1);
        return true;
    }
    // Another CPU was faster, or the map is full.
    match flows.get_ptr_mut(key) {
        Some(flow) => add_to(flow, packet),
        None => overflow(key, &first),
    }
    true
}

/// Asks the rules, and remembers their verdict.
#[inline(always)]
fn judge<K: FlowKey>(key: &K, packet: &Packet, place: Option<&CacheSlot>) -> u32 {
    let sampling = filter::sampling(&key.wide(), packet.tcp_flags, false);
    if let Some(place) = place {
        place.remember(sampling);
    }
    sampling
}

#[inline(always)]
fn add(flow: *mut FlowCount, packet: &Packet) -> bool {
    // SAFETY: the value of a map, which stays valid while the program runs.
    if packet.rules.is_some_and(|rules| rules.sample()) && !chance(unsafe { (*flow).sampling }) {
        return false;
    }
    add_to(flow, packet);
    true
}

#[inline(always)]
fn add_to(flow: *mut FlowCount, packet: &Packet) {
    // One tick (1 to 4 ms) is fine enough for flow times, and half the price of the exact clock.
    let now = bpf::tick_ns();
    // SAFETY: the value of a map, which stays valid while the program runs.
    unsafe {
        atomic_add(&raw mut (*flow).bytes, packet.bytes);
        atomic_add(&raw mut (*flow).packets, packet.packets);
        (*flow).last_ns = now;
        (*flow).dscp = packet.dscp;
        if packet.tcp_flags & !(*flow).tcp_flags != 0 {
            atomic_or(&raw mut (*flow).tcp_flags, packet.tcp_flags);
        }
    }
}

#[inline(always)]
fn first(packet: &Packet, sampling: u32) -> FlowCount {
    let (dst_mac, src_mac) = if packet.bare { ([0; 6], [0; 6]) } else { packet::macs(packet.ctx) };
    // The exact clock, once a flow: it shows which interface saw the flow first, even within one tick.
    let now = bpf::now_ns();
    FlowCount {
        first_ns: now,
        last_ns: now,
        bytes: packet.bytes,
        packets: packet.packets,
        cookie: sockets::cookie(packet.ctx.skb.skb),
        ifindex: bpf::skb::ifindex(packet.ctx.skb.skb),
        netns: device::netns(packet.ctx),
        tcp_flags: packet.tcp_flags,
        sampling,
        src_mac,
        dst_mac,
        dscp: packet.dscp,
        _pad: [0; 3],
    }
}

#[inline(always)]
fn overflow<K: FlowKey>(key: &K, count: &FlowCount) {
    if let Some(mut event) = OVERFLOW.reserve::<Overflow>(0) {
        // In place: a copy on the stack would not fit.
        let record = event.as_mut_ptr();
        // SAFETY: the room that was reserved.
        unsafe {
            (&raw mut (*record).key).write(key.wide());
            (&raw mut (*record).count).write(*count);
        }
        event.submit(0);
        counter(Counter::OverflowPackets, count.packets);
    } else {
        counter(Counter::LostPackets, count.packets);
        counter(Counter::LostBytes, count.bytes);
    }
}
