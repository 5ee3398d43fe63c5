//! The entry points, which the agent finds by their names.

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC,
    macros::{btf_tracepoint, cgroup_sock, classifier},
    programs::{BtfTracePointContext, SockContext, TcContext},
};
use netobserv_ebpf_common::{EGRESS, INGRESS};

use crate::{drops, ended, flows, packets, rtt, sockets};

/// Accounts what an interface receives. The verdict means "carry on" to TCX (TCX_NEXT) and to clsact alike.
#[classifier]
fn flow_ingress(ctx: TcContext) -> i32 {
    if !ended::capture() {
        flows::account::<false>(&ctx, INGRESS);
    }
    TC_ACT_UNSPEC
}

/// Accounts what an interface sends.
#[classifier]
fn flow_egress(ctx: TcContext) -> i32 {
    if !ended::capture() {
        flows::account::<false>(&ctx, EGRESS);
    }
    TC_ACT_UNSPEC
}

/// Does nothing, in place of one of the others while that moves to another place on the same interface.
#[classifier]
fn pass(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Copies what an interface receives.
#[classifier]
fn packet_ingress(ctx: TcContext) -> i32 {
    if !ended::capture() {
        packets::capture::<false>(&ctx, INGRESS);
    }
    TC_ACT_UNSPEC
}

/// Copies what an interface sends.
#[classifier]
fn packet_egress(ctx: TcContext) -> i32 {
    if !ended::capture() {
        packets::capture::<false>(&ctx, EGRESS);
    }
    TC_ACT_UNSPEC
}

/// As the first two, at an interface whose frames have no Ethernet header.
#[classifier]
fn flow_in_bare(ctx: TcContext) -> i32 {
    if !ended::capture() {
        flows::account::<true>(&ctx, INGRESS);
    }
    TC_ACT_UNSPEC
}

/// As the first two, at an interface whose frames have no Ethernet header.
#[classifier]
fn flow_out_bare(ctx: TcContext) -> i32 {
    if !ended::capture() {
        flows::account::<true>(&ctx, EGRESS);
    }
    TC_ACT_UNSPEC
}

/// As the second two, at an interface whose frames have no Ethernet header.
#[classifier]
fn packet_in_bare(ctx: TcContext) -> i32 {
    if !ended::capture() {
        packets::capture::<true>(&ctx, INGRESS);
    }
    TC_ACT_UNSPEC
}

/// As the second two, at an interface whose frames have no Ethernet header.
#[classifier]
fn packet_out_bare(ctx: TcContext) -> i32 {
    if !ended::capture() {
        packets::capture::<true>(&ctx, EGRESS);
    }
    TC_ACT_UNSPEC
}

/// Copies each packet that the kernel gives up, in all network namespaces.
#[btf_tracepoint(function = "kfree_skb")]
fn packet_dropped(ctx: BtfTracePointContext) -> i32 {
    if !ended::capture() {
        packets::dropped(&ctx);
    }
    0
}

/// Sees each segment that an established TCP socket receives.
#[btf_tracepoint(function = "tcp_probe")]
fn rtt_received(ctx: BtfTracePointContext) -> i32 {
    if !ended::capture() {
        rtt::sample(&ctx);
    }
    0
}

/// Sees each packet that the kernel gives up, in all network namespaces.
#[btf_tracepoint(function = "kfree_skb")]
fn drop_seen(ctx: BtfTracePointContext) -> i32 {
    if !ended::capture() {
        drops::record(&ctx);
    }
    0
}

/// Sees each TCP socket that changes its state, in all network namespaces.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn socket_changed(ctx: BtfTracePointContext) -> i32 {
    sockets::changed(&ctx);
    0
}

/// Sees each socket that a process makes. The verdict allows it.
#[cgroup_sock(sock_create)]
fn socket_made(ctx: SockContext) -> i32 {
    sockets::made(&ctx);
    1
}

/// Sees each socket that a process closes.
#[cgroup_sock(sock_release)]
fn socket_closed(ctx: SockContext) -> i32 {
    sockets::closed(&ctx);
    1
}

/// Sees each open file of each process, when the agent asks. aya has no macro for iterators.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn socket_open(at: *mut sockets::OpenFile) -> i32 {
    // SAFETY: the kernel hands over a valid context.
    sockets::open(unsafe { &*at });
    0
}
