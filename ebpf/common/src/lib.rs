//! Records, keys and settings that the kernel programs and the agent share.
//!
//! Every record is `repr(C)` without implicit padding: keys are compared byte by byte, and the verifier
//! refuses to copy bytes of the stack that were never written.
#![no_std]

pub mod filter;
pub mod packets;

/// Seen as it came in.
pub const INGRESS: u8 = 0;
/// Seen as it went out.
pub const EGRESS: u8 = 1;

/// EtherType of IPv4 (IEEE 802 numbers, RFC 894).
pub const ETH_IPV4: u16 = 0x0800;
/// EtherType of IPv6 (RFC 2464).
pub const ETH_IPV6: u16 = 0x86dd;

/// `Point::src_port` of frames that carry no readable IP header: no ICMP type is that large, and a
/// protocol with ports never has protocol number 0.
pub const NO_IP: u16 = 0xffff;

/// SYN and ACK in one packet; the bits above the header's own eight are NetObserv's.
pub const FLAG_SYN_ACK: u32 = 0x100;
/// FIN and ACK in one packet.
pub const FLAG_FIN_ACK: u32 = 0x200;
/// RST and ACK in one packet.
pub const FLAG_RST_ACK: u32 = 0x400;

/// What both keys end with: ports, protocol, and where the packet was seen.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Point {
    /// Host order. ICMP and ICMPv6: the type.
    pub src_port: u16,
    /// Host order. ICMP and ICMPv6: the code.
    pub dst_port: u16,
    /// EtherType behind VLAN tags, and behind MPLS labels and the headers of a PPPoE session if there is IP.
    pub eth_proto: u16,
    /// IP protocol number; 0 for frames that carry no IP.
    pub proto: u8,
    /// [`INGRESS`] or [`EGRESS`].
    pub direction: u8,
    /// Which interface: its ifindex, or its kernel address where another network namespace that is followed
    /// has the same index (2 exists in each of them).
    pub device: u64,
}

/// An IPv4 flow at one interface and direction. Small, because its hash is the largest cost of a packet.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key4 {
    /// Network order.
    pub src: u32,
    /// Network order.
    pub dst: u32,
    /// Ports, protocol and place.
    pub at: Point,
}

/// An IPv6 flow at one interface and direction, or frames without IP: then the first six bytes of
/// `src` and `dst` are the MAC addresses.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key6 {
    /// Network order.
    pub src: [u8; 16],
    /// Network order.
    pub dst: [u8; 16],
    /// Ports, protocol and place.
    pub at: Point,
}

/// What is counted for a key.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowCount {
    /// Time of the first packet, CLOCK_MONOTONIC in ns, exact.
    pub first_ns: u64,
    /// Time of the latest packet, CLOCK_MONOTONIC in ns, of the last tick before it (1 to 4 ms): so it may
    /// lie before `first_ns`.
    pub last_ns: u64,
    /// Sum of the frames' lengths on the wire, link-layer header and VLAN tags included: each segment of a GSO or GRO
    /// super-packet with headers of its own.
    pub bytes: u64,
    /// Packets on the wire: a GSO or GRO super-packet counts its segments.
    pub packets: u64,
    /// Of the socket that sent the first packet; 0 = unknown, or not asked for.
    pub cookie: u64,
    /// Interface index, valid in its namespace.
    pub ifindex: u32,
    /// Inode number of the network namespace, 0 when only one is followed.
    pub netns: u32,
    /// OR of the TCP flags of all packets.
    pub tcp_flags: u32,
    /// 1 in `sampling` packets was counted; 1 = all.
    pub sampling: u32,
    /// Of the first packet.
    pub src_mac: [u8; 6],
    /// Of the first packet.
    pub dst_mac: [u8; 6],
    /// Differentiated services code point of the latest packet.
    pub dscp: u8,
    /// Keeps the size a multiple of 8.
    pub _pad: [u8; 3],
}

/// A packet whose flow found no room in the map.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Overflow {
    /// IPv4 addresses are mapped (::ffff:a.b.c.d).
    pub key: Key6,
    /// The count of this one packet.
    pub count: FlowCount,
}

/// Longest piece of a DNS message that is copied: the header (12), a name (255), type and class (4), and the length
/// that goes before a message over TCP (2), rounded up (RFC 1035, 2.3.4 and 4.2.2).
pub const DNS_MOST: usize = 288;
/// Longest piece of what a longer segment of TCP carries: what fits on Ethernet, rounded up. The others follow.
pub const DNS_PIECE: usize = 1536;

/// A packet that may carry DNS. Behind it are bytes of what the transport carries: of UDP the first, of TCP all, in pieces.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DnsHead {
    /// IPv4 addresses are mapped.
    pub key: Key6,
    /// CLOCK_MONOTONIC, ns, exact.
    pub time_ns: u64,
    /// Interface index, valid in its namespace.
    pub ifindex: u32,
    /// As in [`FlowCount::netns`].
    pub netns: u32,
    /// Length of the frame.
    pub frame_bytes: u32,
    /// How many bytes are behind it.
    pub length: u32,
    /// TCP: sequence number of the first of them.
    pub seq: u32,
    /// TCP: the flags of the segment's header; SYN with the first piece only.
    pub tcp_flags: u32,
}

/// Packets of a flow that were dropped for one reason.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DropKey {
    /// The flow: IPv4 mapped, no device, [`filter::DIRECTION_UNKNOWN`].
    pub flow: Key6,
    /// Number in the running kernel's `enum skb_drop_reason`, or of a subsystem of it.
    pub reason: u32,
    /// Keeps the size a multiple of 8.
    pub _pad: u32,
}

/// What is counted for a [`DropKey`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DropCount {
    /// Frames, a super-packet as its segments.
    pub packets: u64,
    /// Their lengths with an Ethernet header.
    pub bytes: u64,
    /// Time of the first one, CLOCK_MONOTONIC in ns, exact.
    pub first_ns: u64,
    /// Time of the latest one, exact.
    pub last_ns: u64,
    /// Interface of the latest one; 0 = not known.
    pub ifindex: u32,
    /// Inode number of its network namespace; 0 = not known.
    pub netns: u32,
    /// TCP flags of the latest one.
    pub tcp_flags: u32,
    /// State of its socket, as in the kernel's `enum` in `include/net/tcp_states.h`; 0 = no socket.
    pub state: u32,
    /// 1 in `sampling` drops was counted.
    pub sampling: u32,
    /// [`INGRESS`] or [`EGRESS`], of the latest one at its interface.
    pub direction: u32,
}

/// Byte offsets of what is read of a dropped packet, from the kernel's BTF.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DropOffsets {
    /// `sk_buff.dev`; as all of the first ones.
    pub dev: u32,
    /// `sk`.
    pub sk: u32,
    /// `_skb_refdst`: the route, with a flag in its lowest bit.
    pub dst: u32,
    /// `skb_iif`: the interface that it came in by.
    pub iif: u32,
    /// `protocol`: the EtherType, in network order.
    pub protocol: u32,
    /// `network_header`, counted from `head`.
    pub network_header: u32,
    /// `mac_header`, counted from `head`.
    pub mac_header: u32,
    /// `len`, counted from `data`.
    pub len: u32,
    /// `head`.
    pub head: u32,
    /// `data`.
    pub data: u32,
    /// `tail`, counted from `head`.
    pub tail: u32,
    /// `end`, counted from `head`: where the `skb_shared_info` lies.
    pub end: u32,
    /// `skb_shared_info.gso_segs`.
    pub gso_segs: u32,
    /// `dst_entry.dev`.
    pub dst_dev: u32,
    /// `net_device.ifindex`.
    pub ifindex: u32,
    /// `net_device.nd_net.net`.
    pub dev_net: u32,
    /// `sock.__sk_common.skc_net.net`.
    pub sk_net: u32,
    /// `sock.__sk_common.skc_state`.
    pub sk_state: u32,
    /// `net.ns.inum`.
    pub inum: u32,
    /// Keeps the size a multiple of 8.
    pub _pad: u32,
}

impl DropOffsets {
    /// Before the agent has filled it in.
    pub const ZERO: Self = Self {
        dev: 0,
        sk: 0,
        dst: 0,
        iif: 0,
        protocol: 0,
        network_header: 0,
        mac_header: 0,
        len: 0,
        head: 0,
        data: 0,
        tail: 0,
        end: 0,
        gso_segs: 0,
        dst_dev: 0,
        ifindex: 0,
        dev_net: 0,
        sk_net: 0,
        sk_state: 0,
        inum: 0,
        _pad: 0,
    };
}

/// [`SocketSeen::what`]: a process made the socket.
pub const MADE: u32 = 1;
/// The kernel made it: a connection came in.
pub const CAME_IN: u32 = 2;
/// A connection that a process began came to nothing: the last moment at which its flow is known.
pub const FAILED: u32 = 3;
/// A process has it open.
pub const HELD: u32 = 4;
/// A process, the last that had it open, closed it.
pub const CLOSED: u32 = 5;

/// What was seen of a socket of TCP or UDP, and of the process that made, has or closed it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketSeen {
    /// The flow that it receives; zeros for what it does not have. The device is the inode number of its network namespace.
    pub flow: Key6,
    /// No two sockets have the same one.
    pub cookie: u64,
    /// CLOCK_MONOTONIC, ns.
    pub time_ns: u64,
    /// When the process started, CLOCK_MONOTONIC in ns: with its number, that names it for good.
    pub started_ns: u64,
    /// The same, CLOCK_BOOTTIME.
    pub started_boot_ns: u64,
    /// Number of the process's control group in the unified hierarchy: the inode of the folder.
    pub cgroup: u64,
    /// Number of the process, as the whole machine counts; 0 = none, or the kernel.
    pub pid: u32,
    /// [`MADE`], [`CAME_IN`], [`FAILED`], [`HELD`] or [`CLOSED`].
    pub what: u32,
    /// Name of the process, zeros behind it (TASK_COMM_LEN).
    pub name: [u8; 16],
}

/// Names the fragments of one IP packet (RFC 791, RFC 8200: addresses, protocol, identification).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentKey {
    /// Network order; IPv4 mapped.
    pub src: [u8; 16],
    /// Network order; IPv4 mapped.
    pub dst: [u8; 16],
    /// Identification, as in the packet.
    pub id: u32,
    /// IP protocol number.
    pub proto: u32,
}

/// Slots of the per-CPU array `COUNTERS`.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counter {
    /// Keys created in the flow maps.
    Created = 0,
    /// Packets that went through the overflow ring buffer.
    OverflowPackets = 1,
    /// Packets that found no room in the ring buffer either.
    LostPackets = 2,
    /// Bytes of those.
    LostBytes = 3,
    /// DNS messages over UDP, and pieces of segments of TCP, that found no room in their ring buffer.
    LostDns = 4,
    /// Dropped packets that found no room in their map.
    LostDrops = 5,
    /// Later fragments of packets whose first fragment was not seen: their ports are not known. Not lost.
    PortlessFragments = 6,
}
/// Number of slots of `COUNTERS`.
pub const COUNTERS: u32 = 7;

/// Words of the map `SHARED_INDEX`, with a bit for each ifindex below 65,536. Higher ones count as shared.
pub const INDEX_WORDS: u32 = 1024;

/// The IPv4 address as IPv6 writes it (RFC 4291, 2.5.5.2).
#[inline(always)]
pub fn mapped(v4: u32) -> [u8; 16] {
    let b = v4.to_ne_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3]]
}

const _: () = {
    assert!(size_of::<Point>() == 16);
    assert!(size_of::<Key4>() == 24);
    assert!(size_of::<Key6>() == 48);
    assert!(size_of::<FlowCount>() == 72);
    assert!(size_of::<Overflow>() == 120);
    assert!(size_of::<DnsHead>() == 80);
    assert!(size_of::<DropKey>() == 56);
    assert!(size_of::<DropCount>() == 56);
    assert!(size_of::<FragmentKey>() == 40);
    assert!(size_of::<SocketSeen>() == 112);
};

#[cfg(feature = "user")]
mod pod {
    // SAFETY: all are repr(C), Copy, without padding, and any bit pattern is a valid value.
    unsafe impl aya::Pod for super::Key4 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Key6 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FlowCount {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::DropKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::DropCount {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::DropOffsets {}
}
