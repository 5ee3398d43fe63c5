//! Packets that the kernel gave up, with its reason.
//!
//! `kfree_skb` fires wherever a packet ends before its way does: at an interface, in a firewall, at a socket. So the
//! packet may have lost its link-layer header or its interface by then, or never have had them. What names its flow is
//! its network header, to which the kernel keeps an offset all the way.
//!
//! Not every packet that ends here was dropped: reasons below `DROP_LEAST` mean "no drop" or nothing at all, and the
//! two of `DROP_NOT_OF_FLOW` are about what was delivered already.

use core::{ffi::c_void, mem::offset_of};

use aya_ebpf::{Global, bindings::BPF_NOEXIST, macros::map, maps::HashMap, programs::BtfTracePointContext};
use netobserv_ebpf_common::{
    Counter, DropCount, DropKey, DropOffsets, EGRESS, ETH_IPV4, ETH_IPV6, Key6, Point, filter::DIRECTION_UNKNOWN,
    mapped,
};

use crate::{
    bpf::{self, member, read, read_bytes},
    counters::{atomic_add, counter, second},
    filter,
    packet::{self, Found},
    source::{Source, load},
};

/// Where members stand in the running kernel's structs.
#[unsafe(no_mangle)]
pub(crate) static DROP_OFFSETS: Global<DropOffsets> = Global::new(DropOffsets::ZERO);
/// The least reason that means a drop.
#[unsafe(no_mangle)]
pub(crate) static DROP_LEAST: Global<u32> = Global::new(0);
/// Reasons that take no packet from its flow; u32::MAX where the kernel has no such reason.
#[unsafe(no_mangle)]
pub(crate) static DROP_NOT_OF_FLOW: Global<[u32; 2]> = Global::new([u32::MAX; 2]);
/// Whether the tracepoint has a fourth argument, the receiving socket (kernel 6.11).
#[unsafe(no_mangle)]
pub(crate) static DROP_RX_SK: Global<u32> = Global::new(0);

/// One of them, as a constant to the verifier.
macro_rules! offset {
    ($member:ident) => {
        // SAFETY: a member of a constant; volatile, as the agent sets it when the object is loaded.
        unsafe {
            let all = (&raw const DROP_OFFSETS).cast::<u8>();
            all.add(offset_of!(DropOffsets, $member)).cast::<u32>().read_volatile()
        }
    };
}

// Two maps that take turns, as those of the flows do.
#[map]
static DROPS_A: HashMap<DropKey, DropCount> = HashMap::with_max_entries(1, 0);
#[map]
static DROPS_B: HashMap<DropKey, DropCount> = HashMap::with_max_entries(1, 0);

/// Length of the Ethernet header that a packet has on the wire.
const ETH: u64 = 14;
/// Least EtherType (IEEE 802.3, 3.2.6); what sockets that are no network's exchange has none.
const LEAST_ETHERTYPE: u16 = 0x0600;
/// Ethernet header and two tags.
const LONGEST_LINK: u32 = 22;
/// `sk_buff.mac_header` of packets without one.
const NO_MAC: u16 = 0xffff;

/// The part of a packet that lies in one piece.
#[derive(Clone, Copy)]
struct Linear {
    head: u64,
    tail: u32,
}

impl Source for Linear {
    #[inline(always)]
    fn copy(self, offset: u32, to: *mut c_void, len: u32) -> bool {
        offset + len <= self.tail
            // SAFETY: the one caller, `load`, has an array of so many bytes.
            && unsafe { read_bytes(self.head + u64::from(offset), to, len) }
    }
}

#[inline(always)]
fn linear(skb: *const u8) -> Linear {
    Linear { head: member(skb, offset!(head)), tail: member(skb, offset!(tail)) }
}

/// A dropped packet that the rules want.
pub(crate) struct Wanted {
    pub(crate) skb: *const u8,
    pub(crate) flow: Key6,
    pub(crate) reason: u32,
    pub(crate) tcp_flags: u32,
    pub(crate) sampling: u32,
    /// Where its transport header begins, counted from `head`; 0 = there is none.
    l4: u32,
}

/// The packet at hand, unless it was not really dropped, or the rules reject it.
#[inline(always)]
pub(crate) fn wanted(ctx: &BtfTracePointContext) -> Option<Wanted> {
    let reason: u32 = ctx.arg(2);
    let [purged, copied] = DROP_NOT_OF_FLOW.load();
    if reason < DROP_LEAST.load() || reason == purged || reason == copied {
        return None;
    }
    let skb: *const u8 = ctx.arg(0);
    let mut found = Found::default();
    if name(skb, &mut found) == 0 {
        return None;
    }
    let flow = flow(&found);
    let sampling = filter::sampling(&flow, found.tcp_flags, true);
    let wanted = sampling != 0 && filter::chance(sampling);
    wanted.then_some(Wanted { skb, flow, reason, tcp_flags: found.tcp_flags, sampling, l4: found.l4 })
}

/// Counts the packet under its flow and reason.
#[inline(always)]
pub(crate) fn record(ctx: &BtfTracePointContext) {
    let Some(wanted) = wanted(ctx) else { return };
    let Wanted { skb, flow, reason, tcp_flags, sampling, .. } = wanted;
    let mut count = DropCount { sampling, tcp_flags, ..Default::default() };
    measure(&wanted, &mut count);
    place(skb, rx_sk(ctx), &mut count);
    let key = DropKey { flow, reason, _pad: 0 };
    if second() { add(&DROPS_B, &key, &count) } else { add(&DROPS_A, &key, &count) }
}

/// Address of the receiving socket, or 0.
#[inline(always)]
pub(crate) fn rx_sk(ctx: &BtfTracePointContext) -> u64 {
    if DROP_RX_SK.load() == 0 { 0 } else { ctx.arg::<*const u8>(3) as u64 }
}

/// Where the bytes of a dropped packet lie.
pub(crate) struct Bytes {
    /// Address of the first one.
    pub(crate) from: u64,
    /// How many there are in one piece; what lies in other pages cannot be read from here.
    pub(crate) readable: u32,
    /// How many there are.
    pub(crate) length: u32,
    /// Whether they begin with the IP header.
    pub(crate) bare: bool,
}

/// The frame of a dropped packet, with the Ethernet header if it has one.
#[inline(always)]
pub(crate) fn bytes(skb: *const u8) -> Bytes {
    // By helper calls: what a plain load gives is a pointer to the verifier, which cannot be reckoned with in 32 bits.
    let (head, data): (u64, u64) = (read(skb as u64, offset!(head)), read(skb as u64, offset!(data)));
    let tail: u32 = member(skb, offset!(tail));
    let network = u32::from(member::<u16>(skb, offset!(network_header)));
    let mac = u32::from(member::<u16>(skb, offset!(mac_header)));
    // Before the egress, and in some tunnels, a packet has none, or one of another life.
    let bare = mac >= network || network - mac < ETH as u32 || network - mac > LONGEST_LINK;
    let start = if bare { network } else { mac };
    let from = head + u64::from(start);
    let length = u64::from(member::<u32>(skb, offset!(len))).wrapping_add(data);
    Bytes { from, readable: tail.saturating_sub(start), length: length.wrapping_sub(from) as u32, bare }
}

/// Reads what names the flow; 0 when nothing does. A number, as the register for the result of a function without one
/// may be left with a pointer to its stack, which the verifier refuses.
#[inline(never)]
fn name(skb: *const u8, found: &mut Found) -> u32 {
    let eth_proto = protocol(skb);
    found.eth_proto = eth_proto;
    let packet = linear(skb);
    let network = usize::from(member::<u16>(skb, offset!(network_header)));
    match eth_proto {
        ETH_IPV4 => packet::v4(packet, network, found),
        ETH_IPV6 => packet::v6(packet, network, found),
        _ => {}
    }
    let mac = member::<u16>(skb, offset!(mac_header));
    if !found.has_ip() {
        // As at an interface: a frame without readable IP goes by its MAC addresses.
        if mac == NO_MAC || eth_proto < LEAST_ETHERTYPE {
            return 0;
        }
        let Some(macs) = load::<12>(packet, usize::from(mac)) else { return 0 };
        found.dst[..6].copy_from_slice(&macs[..6]);
        found.src[..6].copy_from_slice(&macs[6..]);
    }
    1
}

/// The packet's EtherType.
#[inline(always)]
pub(crate) fn protocol(skb: *const u8) -> u16 {
    u16::from_be(member(skb, offset!(protocol)))
}

#[inline(always)]
fn flow(found: &Found) -> Key6 {
    let at = Point {
        src_port: found.ports[0],
        dst_port: found.ports[1],
        eth_proto: found.eth_proto,
        proto: found.proto,
        direction: DIRECTION_UNKNOWN,
        device: 0,
    };
    if found.eth_proto == ETH_IPV4 && found.has_ip() {
        let (src, dst) = (mapped(packet::word(&found.src)), mapped(packet::word(&found.dst)));
        return Key6 { src, dst, at };
    }
    Key6 { src: found.src, dst: found.dst, at }
}

/// Length and number of frames. The kernel's length begins wherever the packet has got to, so what lies between there
/// and the network header is added, or taken off. Each segment of a super-packet has headers of its own.
#[inline(always)]
pub(crate) fn measure(wanted: &Wanted, count: &mut DropCount) {
    let skb = wanted.skb;
    let head: u64 = member(skb, offset!(head));
    let at = member::<u16>(skb, offset!(network_header));
    let network = head + u64::from(at);
    let length = u64::from(member::<u32>(skb, offset!(len)));
    count.bytes = length.wrapping_add(member::<u64>(skb, offset!(data))).wrapping_sub(network) + ETH;
    // The shared part lies behind the linear one.
    let shared = head + u64::from(member::<u32>(skb, offset!(end)));
    count.packets = u64::from(read::<u16>(shared, offset!(gso_segs))).max(1);
    if count.packets > 1 {
        let end = packet::transport_end(linear(skb), wanted.l4, wanted.flow.at.proto);
        if end != 0 {
            count.bytes += (count.packets - 1) * (u64::from(end - u32::from(at)) + ETH);
        }
    }
    count.first_ns = bpf::now_ns();
    count.last_ns = count.first_ns;
}

/// Where it happened, as far as the packet still knows. A packet in a queue of sockets has other things in the place
/// of its interface: the agent checks the namespace that comes out of it.
#[inline(always)]
pub(crate) fn place(skb: *const u8, rx_sk: u64, count: &mut DropCount) {
    let sk = if rx_sk == 0 { pointer(skb as u64, offset!(sk)) } else { rx_sk };
    let dev = pointer(skb as u64, offset!(dev));
    // The route's interface: a packet that this machine sends knows it before it gets there.
    let out = if dev == 0 && sk != 0 { pointer(member::<u64>(skb, offset!(dst)) & !1, offset!(dst_dev)) } else { 0 };
    count.ifindex = member(skb, offset!(iif));
    if count.ifindex == 0 {
        count.ifindex = read(if dev == 0 { out } else { dev }, offset!(ifindex));
        count.direction = u32::from(EGRESS);
    }
    if sk != 0 {
        count.state = u32::from(read::<u8>(sk, offset!(sk_state)));
    }
    // Only of the receiving socket is it sure that it is of the namespace that dropped.
    for (owner, net) in
        [(rx_sk, offset!(sk_net)), (dev, offset!(dev_net)), (sk, offset!(sk_net)), (out, offset!(dev_net))]
    {
        if count.netns == 0 && owner != 0 {
            count.netns = read(pointer(owner, net), offset!(inum));
        }
    }
}

/// A pointer of the kernel's half of the addresses, else 0.
#[inline(always)]
fn pointer(base: u64, offset: u32) -> u64 {
    let pointer: u64 = read(base, offset);
    if pointer >> 48 == 0xffff { pointer } else { 0 }
}

#[inline(always)]
fn add(map: &HashMap<DropKey, DropCount>, key: &DropKey, count: &DropCount) {
    if let Some(sum) = map.get_ptr_mut(key) {
        return add_to(sum, count);
    }
    if map.insert(key, count, u64::from(BPF_NOEXIST)).is_ok() {
        return counter(Counter::Created, 1);
    }
    // Another CPU was faster, or the map is full.
    match map.get_ptr_mut(key) {
        Some(sum) => add_to(sum, count),
        None => counter(Counter::LostDrops, count.packets),
    }
}

#[inline(always)]
fn add_to(sum: *mut DropCount, count: &DropCount) {
    // SAFETY: the value of a map, which stays valid while the program runs.
    unsafe {
        atomic_add(&raw mut (*sum).packets, count.packets);
        atomic_add(&raw mut (*sum).bytes, count.bytes);
        (*sum).last_ns = count.last_ns;
        (*sum).tcp_flags = count.tcp_flags;
        (*sum).state = count.state;
        (*sum).direction = count.direction;
        (*sum).ifindex = count.ifindex;
        (*sum).netns = count.netns;
    }
}
