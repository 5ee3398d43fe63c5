//! Which interface a packet is seen at, distinguished across network namespaces.

use aya_ebpf::{EbpfContext, macros::map, maps::Array, programs::TcContext};
use netobserv_ebpf_common::INDEX_WORDS;

use crate::{
    bpf::{read, skb},
    settings::{DEV_NET, FOLLOW_NETNS, NET_INUM, SKB_CSUM, SKB_DATA, SKB_DEV, SKB_HEAD, SKB_NETWORK_HEADER},
};

/// A bit for each ifindex that interfaces of several namespaces share. The agent keeps it.
#[map]
static SHARED_INDEX: Array<u64> = Array::with_max_entries(INDEX_WORDS, 0);

/// A number that no two watched interfaces share: the ifindex, or the address of the `net_device` if another
/// namespace has the same index. That address costs a call for each packet, so it is read only then.
#[inline(always)]
pub(crate) fn of(ctx: &TcContext) -> u64 {
    let ifindex = skb::ifindex(ctx.skb.skb);
    if FOLLOW_NETNS.load() == 0 || !shared(ifindex) {
        return u64::from(ifindex);
    }
    address(ctx)
}

/// Index of the interface, and the number of its namespace if other interfaces have the same index, else 0.
#[inline(always)]
pub(crate) fn place(ctx: &TcContext) -> (u32, u32) {
    let ifindex = skb::ifindex(ctx.skb.skb);
    (ifindex, if FOLLOW_NETNS.load() != 0 && shared(ifindex) { netns(ctx) } else { 0 })
}

#[inline(always)]
fn shared(ifindex: u32) -> bool {
    SHARED_INDEX.get(ifindex / 64).is_none_or(|word| word >> (ifindex % 64) & 1 == 1)
}

/// The context of a tc program is the kernel's own struct sk_buff.
#[inline(always)]
fn address(ctx: &TcContext) -> u64 {
    read(ctx.as_ptr() as u64, SKB_DEV.load())
}

/// The number of the namespace that the packet is seen in, 0 if only one is followed.
#[inline(always)]
pub(crate) fn netns(ctx: &TcContext) -> u32 {
    if FOLLOW_NETNS.load() == 0 {
        return 0;
    }
    read(read(address(ctx), DEV_NET.load()), NET_INUM.load())
}

/// Where the network header begins, counted from the packet's first byte as programs see it. That is not 0 everywhere on links
/// without an Ethernet header: some drivers leave there what they took the packet out of.
#[inline(always)]
pub(crate) fn network(ctx: &TcContext) -> u32 {
    let at = from_data(ctx, read::<u16>(ctx.as_ptr() as u64, SKB_NETWORK_HEADER.load()));
    if at < ctx.len() { at } else { 0 }
}

/// Where the checksum that is still to be made begins, counted from the packet's first byte, and where it goes from there. In a
/// super-packet that is the innermost transport header. What is there otherwise is without meaning.
#[inline(always)]
pub(crate) fn checksum(ctx: &TcContext) -> (u32, u16) {
    let [start, to]: [u16; 2] = read(ctx.as_ptr() as u64, SKB_CSUM.load());
    (from_data(ctx, start), to)
}

/// An offset that the kernel counts from the beginning of the buffer.
#[inline(always)]
fn from_data(ctx: &TcContext, offset: u16) -> u32 {
    let skb = ctx.as_ptr() as u64;
    let (head, data): (u64, u64) = (read(skb, SKB_HEAD.load()), read(skb, SKB_DATA.load()));
    (head + u64::from(offset)).wrapping_sub(data) as u32
}
