//! Flows and what is recorded of them: plain values that all parts of the agent share.

use std::sync::Arc;

use netobserv_ebpf_common::{DropCount, FlowCount, Key6, Point};
use smallvec::SmallVec;

use crate::{interfaces::InterfaceId, translated::Translated};

/// A flow: the five-tuple, the same at all places. IPv4 addresses are mapped. For frames without IP see
/// [`netobserv_ebpf_common::Key6`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowId {
    /// Network order.
    pub src: [u8; 16],
    /// Network order.
    pub dst: [u8; 16],
    /// Or ICMP type.
    pub src_port: u16,
    /// Or ICMP code.
    pub dst_port: u16,
    /// EtherType.
    pub eth_proto: u16,
    /// IP protocol number.
    pub proto: u8,
}

impl FlowId {
    /// The flow of these addresses, and of the rest of a key.
    pub fn new(src: [u8; 16], dst: [u8; 16], at: &Point) -> Self {
        let Point { src_port, dst_port, eth_proto, proto, .. } = *at;
        Self { src, dst, src_port, dst_port, eth_proto, proto }
    }

    /// The flow of a key in its wide form.
    pub fn of(key: &Key6) -> Self {
        Self::new(key.src, key.dst, &key.at)
    }

    /// The other direction.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..self }
    }
}

/// Where a flow was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The interface.
    pub place: InterfaceId,
    /// [`netobserv_ebpf_common::INGRESS`] or EGRESS.
    pub direction: u8,
}

/// What is reported of a flow for one window.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// Which flow.
    pub id: FlowId,
    /// CLOCK_MONOTONIC, ns.
    pub first_ns: u64,
    /// CLOCK_MONOTONIC, ns.
    pub last_ns: u64,
    /// On the wire.
    pub packets: u64,
    /// With link-layer headers.
    pub bytes: u64,
    /// OR of all packets' flags.
    pub tcp_flags: u32,
    /// Of the socket that sent the first packet; 0 = not known, [`SEVERAL`] = not the same at all places.
    pub cookie: u64,
    /// 1 in so many packets was counted.
    pub sampling: u32,
    /// As first seen.
    pub src_mac: [u8; 6],
    /// As first seen.
    pub dst_mac: [u8; 6],
    /// Latest.
    pub dscp: u8,
    /// Who counted, then the others in the order of their first packet.
    pub sightings: SmallVec<[Sighting; 2]>,
    /// What other features know of the flow.
    pub extra: Option<Box<Extra>>,
    /// What the flow's addresses are translated to, or from.
    pub translated: Option<Box<Translated>>,
}

/// Stands for the cookies of several sockets.
pub const SEVERAL: u64 = u64::MAX;

/// What features beyond counting found out in one window.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Largest smoothed round-trip time, ns; 0 = not known.
    pub rtt_ns: u64,
    /// DNS transactions that ended in this window.
    pub dns: Vec<Transaction>,
    /// Packets that were dropped, each cause once.
    pub drops: Vec<Dropped>,
    /// Who sends.
    pub src: Option<Arc<Process>>,
    /// Who receives.
    pub dst: Option<Arc<Process>>,
}

/// What is reported of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The flow of the answer; of the query if there was none.
    pub flow: FlowId,
    /// Where it was seen.
    pub at: Sighting,
    /// As in the message.
    pub id: u16,
    /// Of the answer; of the query if there was none.
    pub flags: u16,
    /// From the query to the answer; None if not both were seen.
    pub latency: Option<Latency>,
    /// How often it was asked; 0 = the query was not seen.
    pub queries: u32,
    /// 0 = answered, or none was to be expected.
    pub errno: u32,
    /// The name that was asked for; None if it cannot be read.
    pub name: Option<Box<str>>,
    /// Length of the answer's frame; 0 if there was none.
    pub frame_bytes: u32,
    /// CLOCK_MONOTONIC, ns, of the answer, or of the latest query.
    pub time_ns: u64,
}

/// How long an answer took, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// From the first query.
    pub first_ns: u64,
    /// From the latest query; the same if it was asked once.
    pub last_ns: u64,
}

impl Transaction {
    /// A count for the flow in case no interface has counted it in this window: no packets.
    pub fn count(&self) -> FlowCount {
        let InterfaceId { netns, ifindex } = self.at.place;
        let (first_ns, last_ns) = (self.time_ns, self.time_ns);
        FlowCount { first_ns, last_ns, ifindex, netns, sampling: 1, ..FlowCount::default() }
    }
}

/// Packets of a flow that were dropped for one cause in one window.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// Number in the running kernel.
    pub reason: u32,
    /// Its name.
    pub cause: Arc<str>,
    /// How many, and what the latest one was like.
    pub count: DropCount,
}

/// A process of this machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Process {
    /// As the whole machine counts; 0 if several of one name share the end.
    pub pid: u32,
    /// Its name, at most 15 characters.
    pub name: String,
    /// Path of its control group; empty if it is in none, or not known any more.
    pub cgroup: String,
    /// Number of its container; empty if it is in none.
    pub container: String,
}
