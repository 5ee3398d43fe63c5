//! Which interface a packet is seen at, told apart across network namespaces.

use aya_ebpf::{EbpfContext, helpers::bpf_probe_read_kernel, programs::TcContext};

use crate::settings::{DEV_NET, FOLLOW_NETNS, NET_INUM, SKB_DEV};

/// A number that no two interfaces share: the ifindex, or the address of the `net_device` where several
/// namespaces are followed. One read a packet, instead of three for the namespace's number.
#[inline(always)]
pub fn of(ctx: &TcContext) -> u64 {
    if FOLLOW_NETNS.load() == 0 {
        return u64::from(unsafe { (*ctx.skb.skb).ifindex });
    }
    // The context of a tc program is the kernel's own struct sk_buff.
    read(ctx.as_ptr() as u64, SKB_DEV.load())
}

/// The namespace's number for a `device`, 0 if only one namespace is followed.
#[inline(always)]
pub fn netns(device: u64) -> u32 {
    if FOLLOW_NETNS.load() == 0 {
        return 0;
    }
    read(read(device, DEV_NET.load()), NET_INUM.load()) as u32
}

#[inline(always)]
fn read(base: u64, offset: u32) -> u64 {
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const u64) }.unwrap_or(0)
}
