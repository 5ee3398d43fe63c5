//! Captured frames as they lie in the ring buffer.

/// Most bytes of a frame: the largest IP packet that a frame can hold (65,535), an Ethernet header and two VLAN tags, rounded
/// up to eight.
pub const MOST: usize = 65_560;

/// Room for the bytes of a frame behind its [`PacketHead`]: the smallest one that is large enough is taken. A reservation must
/// be of a size that the verifier knows, so what is left of it is wasted: never much more than half.
pub const SIZES: [usize; 10] = [96, 208, 464, 976, 1_560, 4_096, 9_240, 20_000, 40_000, MOST];

/// What goes before the bytes of a frame.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PacketHead {
    /// CLOCK_MONOTONIC, ns, exact.
    pub time_ns: u64,
    /// Interface index; 0 = a dropped packet that was at none.
    pub ifindex: u32,
    /// Inode number of the network namespace, if interfaces of several have this index, or the packet was dropped; else 0.
    pub netns: u32,
    /// Length of the frame, without what `tag` and `bare` describe.
    pub length: u32,
    /// Bytes of it that follow.
    pub captured: u32,
    /// 1 in `sampling` packets was kept.
    pub sampling: u32,
    /// The outer VLAN tag, which the kernel keeps next to the frame: protocol in the upper half, control information in the
    /// lower; 0 = none.
    pub tag: u32,
    /// Number in the running kernel's `enum skb_drop_reason`; 0 = was not dropped.
    pub reason: u32,
    /// [`crate::INGRESS`], [`crate::EGRESS`] or [`crate::filter::DIRECTION_UNKNOWN`].
    pub direction: u8,
    /// 1 = the frame has no Ethernet header any more, or not yet: it begins with its IP header.
    pub bare: u8,
    /// EtherType of a bare one.
    pub eth_proto: u16,
}

/// Bytes of frames that lie ready for the reader in [`Hot::data`], a power of two. As small as that, the memory stays in the
/// CPU's cache: frames copied to memory that is in no cache cost twice as much.
pub const HOT: usize = 1 << 19;
/// Most CPUs that have a [`Hot`] of their own, so that memory is bounded on large machines.
pub const HOT_CPUS: u32 = 64;

/// A ring of frames that one CPU writes and the agent reads, without a lock. It is used first; the ring buffer, which all CPUs
/// share, takes what finds no room here.
#[repr(C)]
pub struct Hot {
    /// Bytes written since the start. The programs' own.
    pub head: u64,
    /// Not 0 while a program writes: one that interrupts it goes to the ring buffer.
    pub busy: u64,
    /// Keeps what the two sides write in cache lines of their own.
    pub _pad: [u64; 14],
    /// Bytes read since the start. The agent's own.
    pub tail: u64,
    /// As above.
    pub _pad2: [u64; 15],
    /// An entry is a [`PacketHead`] and the captured bytes, at the number of bytes before it modulo [`HOT`]. The last one may
    /// continue after the end, up to the largest frame.
    pub data: [u8; HOT + size_of::<PacketHead>() + MOST],
}

/// Bytes that an entry of [`Hot`] takes.
#[inline(always)]
pub const fn entry_size(captured: u32) -> u64 {
    (size_of::<PacketHead>() as u64 + captured as u64 + 7) & !7
}

/// Packets of an interface that found no room in the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LostAt {
    /// How many.
    pub packets: u64,
    /// Their lengths.
    pub bytes: u64,
}

/// Stands for all dropped packets in the keys of the map of losses, which are made of `ifindex` and, in the upper half,
/// `netns` as in [`PacketHead`].
pub const DROPPED: u64 = u64::MAX;

const _: () = {
    assert!(size_of::<PacketHead>() == 40);
    assert!(size_of::<LostAt>() == 16);
    assert!(size_of::<Hot>().is_multiple_of(8) && core::mem::offset_of!(Hot, data) == 256);
    // The kernel's own record header is 8 bytes.
    let mut at = 0;
    while at < SIZES.len() {
        assert!(SIZES[at].is_multiple_of(8));
        at += 1;
    }
};

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), Copy, without padding, and any bit pattern is a valid value.
    unsafe impl aya::Pod for super::LostAt {}
}
