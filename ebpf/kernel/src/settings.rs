//! Constants that the agent writes before loading. The map that holds them is frozen by then, so the
//! verifier knows their values and removes what is switched off.

use aya_ebpf::Global;

/// Keep 1 in so many packets; 0 and 1 keep all.
#[unsafe(no_mangle)]
pub(crate) static SAMPLING: Global<u32> = Global::new(1);

/// Whether interfaces of several network namespaces are watched.
#[unsafe(no_mangle)]
pub(crate) static FOLLOW_NETNS: Global<u32> = Global::new(0);

/// Byte offset of `sk_buff.dev`, from the kernel's BTF.
#[unsafe(no_mangle)]
pub(crate) static SKB_DEV: Global<u32> = Global::new(0);

/// Byte offset of `net_device.nd_net.net`.
#[unsafe(no_mangle)]
pub(crate) static DEV_NET: Global<u32> = Global::new(0);

/// Byte offset of `net.ns.inum`.
#[unsafe(no_mangle)]
pub(crate) static NET_INUM: Global<u32> = Global::new(0);

/// Byte offset of `sk_buff.head`.
#[unsafe(no_mangle)]
pub(crate) static SKB_HEAD: Global<u32> = Global::new(0);

/// Byte offset of `sk_buff.data`.
#[unsafe(no_mangle)]
pub(crate) static SKB_DATA: Global<u32> = Global::new(0);

/// Byte offset of `sk_buff.network_header`.
#[unsafe(no_mangle)]
pub(crate) static SKB_NETWORK_HEADER: Global<u32> = Global::new(0);

/// Byte offset of `sk_buff.csum_start`, which `csum_offset` follows.
#[unsafe(no_mangle)]
pub(crate) static SKB_CSUM: Global<u32> = Global::new(0);
