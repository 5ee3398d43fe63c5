//! Whose a socket is, noted at the few moments of its life at which the kernel knows: a process makes it, a connection comes
//! in for a process that listens, the last process that has it closes it. And a walk over all open files, at the agent's
//! request, shows which process has which socket at that moment. None of this happens for a packet.
//!
//! The socket's cookie ties all of that together, and a flow to its socket: see `flows.rs`. No two sockets have the same one
//! until the machine starts again.

use core::{ffi::c_void, mem::size_of};

use aya_ebpf::{
    EbpfContext, Global,
    bindings::__sk_buff,
    helpers::generated,
    macros::map,
    maps::{Array, RingBuf},
    programs::{BtfTracePointContext, SockContext},
};
use netobserv_ebpf_common::{
    CAME_IN, CLOSED, ETH_IPV4, ETH_IPV6, FAILED, HELD, Key6, MADE, Point, SocketSeen, filter::DIRECTION_UNKNOWN, mapped,
};

use crate::{
    bpf::{self, member, read},
    counters::atomic_add,
    rtt::{SK_DADDR, SK_DADDR6, SK_DPORT, SK_FAMILY, SK_SADDR, SK_SADDR6},
    settings::NET_INUM,
};

/// Whether flows have the cookies of their sockets.
#[unsafe(no_mangle)]
pub(crate) static COOKIES: Global<u32> = Global::new(0);
/// Byte offset of `socket.sk`.
#[unsafe(no_mangle)]
pub(crate) static SOCKET_SK: Global<u32> = Global::new(0);
/// `sock.__sk_common.skc_net.net`.
#[unsafe(no_mangle)]
pub(crate) static SK_NET: Global<u32> = Global::new(0);
/// `sock.sk_protocol`, 16 bits.
#[unsafe(no_mangle)]
pub(crate) static SK_PROTOCOL: Global<u32> = Global::new(0);
/// `inet_sock.inet_sport`, in network order: unlike `skc_num` it outlives the end of a connection.
#[unsafe(no_mangle)]
pub(crate) static INET_SPORT: Global<u32> = Global::new(0);
/// `task_struct.tgid`: the number of the process.
#[unsafe(no_mangle)]
pub(crate) static TASK_TGID: Global<u32> = Global::new(0);
/// `task_struct.group_leader`: the first thread of the process.
#[unsafe(no_mangle)]
pub(crate) static TASK_LEADER: Global<u32> = Global::new(0);
/// `task_struct.flags`.
#[unsafe(no_mangle)]
pub(crate) static TASK_FLAGS: Global<u32> = Global::new(0);
/// `task_struct.start_time`, CLOCK_MONOTONIC.
#[unsafe(no_mangle)]
pub(crate) static TASK_START: Global<u32> = Global::new(0);
/// `task_struct.start_boottime`.
#[unsafe(no_mangle)]
pub(crate) static TASK_BOOT: Global<u32> = Global::new(0);
/// `task_struct.comm`.
#[unsafe(no_mangle)]
pub(crate) static TASK_COMM: Global<u32> = Global::new(0);
/// `task_struct.cgroups`, `css_set.dfl_cgrp`, `cgroup.kn` and `kernfs_node.id`.
#[unsafe(no_mangle)]
pub(crate) static TASK_CGROUPS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static CSS_CGROUP: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static CGROUP_NODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static NODE_ID: Global<u32> = Global::new(0);

// The agent sets the size.
#[map]
static SOCKETS: RingBuf = RingBuf::with_byte_size(4096, 0);
/// How many found no room there.
#[map]
static SOCKETS_LOST: Array<u64> = Array::with_max_entries(1, 0);

// include/linux/socket.h, include/net/tcp_states.h.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const ESTABLISHED: u32 = 1;
const SYN_SENT: u32 = 2;
const SYN_RECV: u32 = 3;
const CLOSE: u32 = 7;
const TCP: u16 = 6;
const UDP: u16 = 17;
const MPTCP: u16 = 262;
/// A thread of the kernel itself (include/linux/sched.h): it is not known which process it works for.
const PF_KTHREAD: u32 = 0x0020_0000;

/// `struct bpf_iter__task_file`: each member begins at eight bytes.
#[repr(C)]
pub(crate) struct OpenFile {
    meta: *const *mut c_void,
    task: *const u8,
    fd: u64,
    file: *mut c_void,
}

/// The cookie of the socket that sends this packet, 0 if none of this machine does, or if that is not wanted. A function of its
/// own: in line, the compiler runs out of registers and keeps halves of pointers, which the verifier refuses.
#[inline(never)]
pub(crate) fn cookie(skb: *mut __sk_buff) -> u64 {
    if COOKIES.load() == 0 { 0 } else { bpf::cookie(skb.cast()) }
}

/// The running process makes a socket.
#[inline(always)]
pub(crate) fn made(ctx: &SockContext) {
    report(ctx.as_ptr(), MADE, bpf::task());
}

/// The running process, the last that has it, closes a socket.
#[inline(always)]
pub(crate) fn closed(ctx: &SockContext) {
    report(ctx.as_ptr(), CLOSED, bpf::task());
}

/// A connection came in, or came to nothing; the process that runs just now has nothing to do with it.
#[inline(always)]
pub(crate) fn changed(ctx: &BtfTracePointContext) {
    let what = match (ctx.arg::<u32>(1), ctx.arg::<u32>(2)) {
        (SYN_RECV, ESTABLISHED) => CAME_IN,
        (SYN_SENT, CLOSE) => FAILED,
        _ => return,
    };
    report(ctx.arg(0), what, 0);
}

/// A process has a file open, perhaps a socket.
#[inline(always)]
pub(crate) fn open(at: &OpenFile) {
    if at.file.is_null() || at.task.is_null() {
        return;
    }
    // SAFETY: the verifier knows the pointer as one to an open file.
    let socket = unsafe { generated::bpf_sock_from_file(at.file.cast()) }.cast::<u8>();
    if socket.is_null() {
        return;
    }
    // A plain load, so that the verifier knows what the pointer is of.
    let sk: *mut c_void = member(socket, SOCKET_SK.load());
    if sk.is_null() {
        return;
    }
    if let Some(mut seen) = see(sk, HELD, at.task as u64) {
        // SAFETY: the verifier knows `meta` as the iterator's, and the record is on the stack.
        unsafe {
            let out = (&raw mut seen).cast();
            generated::bpf_seq_write((*at.meta).cast(), out, size_of::<SocketSeen>() as u32);
        }
    }
}

#[inline(always)]
fn report(sk: *mut c_void, what: u32, task: u64) {
    if let Some(seen) = see(sk, what, task)
        && SOCKETS.output::<SocketSeen>(&seen, 0).is_err()
        && let Some(lost) = SOCKETS_LOST.get_ptr_mut(0)
    {
        // SAFETY: the value of a map.
        unsafe { atomic_add(lost, 1) }
    }
}

#[inline(always)]
fn see(sk: *mut c_void, what: u32, task: u64) -> Option<SocketSeen> {
    let flow = received(sk as u64)?;
    let leader = read::<u64>(task, TASK_LEADER.load());
    let nobody = task == 0 || read::<u32>(task, TASK_FLAGS.load()) & PF_KTHREAD != 0;
    let group = read::<u64>(read(task, TASK_CGROUPS.load()), CSS_CGROUP.load());
    let mut seen = SocketSeen {
        flow,
        cookie: bpf::cookie(sk),
        time_ns: bpf::now_ns(),
        started_ns: 0,
        started_boot_ns: 0,
        cgroup: 0,
        pid: 0,
        what,
        name: [0; 16],
    };
    if !nobody {
        seen.started_ns = read(leader, TASK_START.load());
        seen.started_boot_ns = read(leader, TASK_BOOT.load());
        seen.cgroup = read(read(group, CGROUP_NODE.load()), NODE_ID.load());
        seen.pid = read(task, TASK_TGID.load());
        seen.name = read(leader, TASK_COMM.load());
    }
    Some(seen)
}

/// The flow that the socket receives, with zeros for what it does not have; the namespace is the device. None if it is neither of
/// TCP nor of UDP.
#[inline(always)]
fn received(sk: u64) -> Option<Key6> {
    let (src, dst) = match read(sk, SK_FAMILY.load()) {
        AF_INET => (mapped(read(sk, SK_DADDR.load())), mapped(read(sk, SK_SADDR.load()))),
        AF_INET6 => (read(sk, SK_DADDR6.load()), read(sk, SK_SADDR6.load())),
        _ => return None,
    };
    let (src_port, mut proto) = (read::<u16>(sk, SK_DPORT.load()), read::<u16>(sk, SK_PROTOCOL.load()));
    if proto == MPTCP && src_port == 0 {
        // What listens for both gives a connection of plain TCP a plain socket.
        proto = TCP;
    }
    if proto != TCP && proto != UDP {
        return None;
    }
    // A socket for both families has IPv4 connections under mapped addresses.
    let v4 = dst[..10] == [0; 10] && dst[10] == 0xff && dst[11] == 0xff;
    let at = Point {
        src_port: u16::from_be(src_port),
        dst_port: u16::from_be(read(sk, INET_SPORT.load())),
        eth_proto: if v4 { ETH_IPV4 } else { ETH_IPV6 },
        proto: proto as u8,
        direction: DIRECTION_UNKNOWN,
        device: u64::from(read::<u32>(read(sk, SK_NET.load()), NET_INUM.load())),
    };
    Some(Key6 { src, dst, at })
}
