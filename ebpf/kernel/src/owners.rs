//! Which process a TCP connection belongs to, noted while that process is at work: most connections live for less time
//! than passes between two looks at the machine's sockets.
//!
//! `inet_sock_set_state` fires a few times in the life of a connection and never for a packet. A connecting process is
//! known when its socket begins to connect, and only then; the port is known when that ends. The other end of a
//! connection is made while packets are processed, so it is known by the process that listens.

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns,
        bpf_probe_read_kernel,
    },
    macros::map,
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use netobserv_ebpf_common::{Key6, Owner};

use crate::{packet::TCP, rtt, settings::NET_INUM};

/// Byte offset of `sock.__sk_common.skc_net.net`.
#[unsafe(no_mangle)]
pub static SK_NET: Global<u32> = Global::new(0);
/// `sock.sk_protocol`, 16 bits.
#[unsafe(no_mangle)]
pub static SK_PROTOCOL: Global<u32> = Global::new(0);
/// Byte offset of `task_struct.group_leader`: the process of a thread.
#[unsafe(no_mangle)]
pub static TASK_LEADER: Global<u32> = Global::new(0);
/// `task_struct.flags`.
#[unsafe(no_mangle)]
pub static TASK_FLAGS: Global<u32> = Global::new(0);
/// `task_struct.start_boottime`.
#[unsafe(no_mangle)]
pub static TASK_START: Global<u32> = Global::new(0);
/// `task_struct.comm`.
#[unsafe(no_mangle)]
pub static TASK_COMM: Global<u32> = Global::new(0);

/// From a flow, as its socket receives it, to the process. What listens has no other end: zeros.
#[map]
static OWNERS: LruHashMap<Key6, Owner> = LruHashMap::with_max_entries(1, 0);
/// From a socket that connects to its process.
#[map]
static CONNECTING: LruHashMap<u64, Owner> = LruHashMap::with_max_entries(1, 0);

// include/net/tcp_states.h.
const SYN_SENT: u32 = 2;
const LISTEN: u32 = 10;
/// A thread of the kernel itself (include/linux/sched.h): it connects for somebody else, nobody knows for whom.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Notes who connects and who listens.
#[inline(always)]
pub fn note(ctx: &BtfTracePointContext) {
    let sk: *const u8 = ctx.arg(0);
    let (old, new): (u32, u32) = (ctx.arg(1), ctx.arg(2));
    if read::<u16>(sk as u64, SK_PROTOCOL.load()) != u16::from(TCP) {
        return;
    }
    if old == SYN_SENT {
        connected(sk);
    } else if new == SYN_SENT {
        let owner = current(netns(sk));
        if owner.pid != 0 {
            let _ = CONNECTING.insert(sk as u64, owner, 0);
        }
    } else if new == LISTEN {
        listens(sk);
    } else if old == LISTEN
        && let Some(owner) = key(sk, netns(sk)).and_then(|key| OWNERS.get_ptr_mut(key))
    {
        unsafe { (*owner).until_ns = bpf_ktime_get_ns() };
    }
}

/// The other end answered, in whatever way: now the own port is known. A reset takes the port away before the state changes, so
/// it is seen by itself.
#[inline(always)]
pub fn connected(sk: *const u8) {
    let socket = sk as u64;
    if let Some(owner) = CONNECTING.get_ptr(socket)
        && let Some(key) = key(sk, 0)
    {
        let mut owner = unsafe { *owner };
        if let Some(before) = OWNERS.get_ptr(key) {
            owner.shared = u32::from(unsafe { (*before).netns } != owner.netns);
        }
        let _ = OWNERS.insert(key, owner, 0);
        let _ = CONNECTING.remove(socket);
    }
}

#[inline(always)]
fn listens(sk: *const u8) {
    let mut owner = current(netns(sk));
    if owner.pid == 0 {
        return;
    }
    let Some(key) = key(sk, owner.netns) else { return };
    if let Some(before) = OWNERS.get_ptr(key) {
        let before = unsafe { &*before };
        if before.until_ns == 0 && (before.pid != owner.pid || before.shared == 1) {
            owner.shared = 1;
        }
    }
    let _ = OWNERS.insert(key, owner, 0);
}

/// The flow that the socket receives.
#[inline(always)]
fn key(sk: *const u8, netns: u32) -> Option<Key6> {
    let mut key = rtt::received(sk)?;
    key.at.device = u64::from(netns);
    // What has no port receives nothing.
    (key.at.dst_port != 0).then_some(key)
}

#[inline(always)]
fn netns(sk: *const u8) -> u32 {
    read(read::<u64>(sk as u64, SK_NET.load()), NET_INUM.load())
}

/// The process that is running, with number 0 if it is the kernel's.
#[inline(always)]
fn current(netns: u32) -> Owner {
    let task = unsafe { bpf_get_current_task() };
    let leader = read::<u64>(task, TASK_LEADER.load());
    let of_kernel = read::<u32>(task, TASK_FLAGS.load()) & PF_KTHREAD != 0;
    Owner {
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        started_ns: read(leader, TASK_START.load()),
        since_ns: unsafe { bpf_ktime_get_ns() },
        until_ns: 0,
        pid: if of_kernel { 0 } else { (bpf_get_current_pid_tgid() >> 32) as u32 },
        netns,
        shared: 0,
        _pad: 0,
        name: read(leader, TASK_COMM.load()),
    }
}

#[inline(always)]
fn read<T: Copy + Default>(base: u64, offset: u32) -> T {
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.unwrap_or_default()
}
