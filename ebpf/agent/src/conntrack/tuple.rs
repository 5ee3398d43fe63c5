//! Both ends of a connection, as the connection tracking of the kernel and as records have them.

use netobserv_ebpf_common::{ETH_IPV4, ETH_IPV6};

use crate::{flow::FlowId, translated::Tuple};

const ICMP: u8 = 1;
const ICMP6: u8 = 58;
/// Echo requests and replies of both families, and whether they are requests.
const ECHOES: [((u8, u16), bool); 4] =
    [((ICMP, 8), true), ((ICMP, 0), false), ((ICMP6, 128), true), ((ICMP6, 129), false)];
/// TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

pub(super) fn has_ports(proto: u8) -> bool {
    WITH_PORTS.contains(&proto)
}

pub(super) fn is_icmp(proto: u8) -> bool {
    proto == ICMP || proto == ICMP6
}

impl Tuple {
    /// That of a flow, and whether its packets are known to be requests or replies; None for what is never translated by itself.
    pub(super) fn of(flow: &FlowId) -> Option<(Self, Option<bool>)> {
        let FlowId { src, dst, src_port, dst_port, eth_proto, proto } = *flow;
        if ![ETH_IPV4, ETH_IPV6].contains(&eth_proto) {
            return None;
        }
        if is_icmp(proto) {
            let request = ECHOES.iter().find(|(echo, _)| *echo == (proto, src_port))?.1;
            return Some((Self { src, dst, ..Self::default() }, Some(request)));
        }
        let (src_port, dst_port) = if has_ports(proto) { (src_port, dst_port) } else { (0, 0) };
        Some((Self { src, dst, src_port, dst_port }, None))
    }

    /// The other direction.
    pub(super) fn reversed(self, proto: u8) -> Self {
        let Self { src, dst, src_port, dst_port } = self;
        if is_icmp(proto) {
            return Self { src: dst, dst: src, ..self };
        }
        Self { src: dst, dst: src, src_port: dst_port, dst_port: src_port }
    }

    /// What both directions have in common.
    pub(super) fn key(&self, proto: u8) -> Key {
        let (src_port, dst_port) = if is_icmp(proto) { (0, 0) } else { (self.src_port, self.dst_port) };
        let (a, b) = ((self.src, src_port), (self.dst, dst_port));
        Key { low: a.min(b), high: a.max(b), proto }
    }

    /// Whether it has the direction of another tuple with the same key.
    pub(super) fn goes_with(&self, other: &Self, proto: u8) -> bool {
        self.src == other.src && (is_icmp(proto) || self.src_port == other.src_port)
    }
}

/// Both ends, whichever sends. Echoes between two hosts have one key, as their flows are one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    low: ([u8; 16], u16),
    high: ([u8; 16], u16),
    proto: u8,
}

/// A connection whose addresses are translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Translation {
    /// As its first packet was before.
    pub(super) origin: Tuple,
    /// As it was after.
    pub(super) target: Tuple,
    pub(super) proto: u8,
    pub(super) zone: u16,
    /// The kernel's number of it, lest another one of the same ends is meant.
    pub(super) id: u32,
}
