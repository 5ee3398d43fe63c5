//! One packet, one count: joins what several interfaces saw of the same flow.
//!
//! The kernel counts a flow at each interface and direction by itself. A packet that is forwarded, bridged or sent
//! back is so counted several times, under the same five-tuple. Here the places are laid side by side: they saw the
//! same packets, so the flow has as many as the place that saw most.
//!
//! Two things make that less simple than it sounds, and both are about comparing running totals instead of the
//! counts of one window. A packet may be counted at one place before the maps are switched and at the next place
//! after: with totals, the late one only catches up. And a flow may move to another path: a place that sees a flow
//! long after it began, or again after a pause, starts from the total that was reported, not from nothing.

use std::{collections::HashMap, sync::Arc};

use netobserv_ebpf_common::{FlowCount, Key6, Point, mapped};
use smallvec::SmallVec;

use crate::{
    dns::Transaction, drain::Counted, drops::Dropped, interfaces::Place, process::Process, translated::Translated,
};

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
    /// The flow of a key in its wide form.
    pub fn of(key: &Key6) -> Self {
        id(key.src, key.dst, &key.at)
    }

    /// The other direction.
    pub fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..self }
    }
}

/// Where a flow was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The interface.
    pub place: Place,
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

/// A place that joins later than this after the flow's first packet was not on its path from the beginning.
const JOIN_NS: u64 = 100_000_000;
/// A place that lags by no more than this behind the others, right after them, has yet to see packets in flight.
const MOST_IN_FLIGHT: u64 = 8;
/// Windows without a packet after which a flow is forgotten. One would do for packets in flight.
const IDLE_WINDOWS: u8 = 2;
/// More flows than this are not remembered over a window: memory before the few packets in flight.
const MOST_REMEMBERED: usize = 100_000;

/// What one place has seen of a flow.
struct Seen {
    at: Sighting,
    /// Totals, comparable with those of other places.
    packets: u64,
    bytes: u64,
    /// Of these, in this window.
    new_packets: u64,
    /// First packet of this window; 0 = none yet.
    first_ns: u64,
    /// Latest packet of this window.
    last_ns: u64,
    /// Whether it saw packets in the flow's window before this one.
    before: bool,
    /// Of what it counted; rules can sample one direction only. 0 = it counted nothing.
    sampling: u32,
}

struct Flow {
    seen: SmallVec<[Seen; 2]>,
    /// Index of the place whose totals were reported last.
    owner: usize,
    reported_packets: u64,
    reported_bytes: u64,
    /// First packet ever.
    born_ns: u64,
    /// Latest packet of the windows before this one.
    before_ns: u64,
    first_ns: u64,
    last_ns: u64,
    tcp_flags: u32,
    cookie: u64,
    sampling: u32,
    src_mac: [u8; 6],
    dst_mac: [u8; 6],
    dscp: u8,
    idle: u8,
    extra: Option<Box<Extra>>,
}

/// The flows of this window and what must be remembered of the last.
#[derive(Default)]
pub struct Merger {
    flows: HashMap<FlowId, Flow>,
    active: usize,
}

impl Merger {
    /// Adds what the kernel counted for a key.
    pub fn add(&mut self, counted: Counted<'_>) {
        match counted {
            Counted::V4(key, count) => {
                self.add_to(id(mapped(key.src), mapped(key.dst), &key.at), key.at.direction, count)
            }
            Counted::V6(key, count) => self.add_to(FlowId::of(key), key.at.direction, count),
        }
    }

    /// Flows with packets in this window.
    pub fn active(&self) -> usize {
        self.active
    }

    fn add_to(&mut self, id: FlowId, direction: u8, count: &FlowCount) {
        let at = Sighting { place: Place { netns: count.netns, ifindex: count.ifindex }, direction };
        let flow = self.flows.entry(id).or_insert_with(|| Flow::new(count));
        if flow.first_ns == 0 {
            flow.begin_window(count);
            self.active += 1;
        }
        flow.add(at, count);
    }

    /// Whether an interface has seen the flow lately.
    pub fn knows(&self, id: &FlowId) -> bool {
        self.flows.contains_key(id)
    }

    /// What other features know of a flow, to be added to. None for a flow that no interface has seen lately.
    pub fn extra(&mut self, id: &FlowId) -> Option<&mut Extra> {
        let flow = self.flows.get_mut(id)?;
        Some(flow.extra.get_or_insert_default())
    }

    /// The same; a flow that no interface has seen is made from `count`, whose packets do not count. `at` is where
    /// the feature saw it, if it knows.
    pub fn extra_or_new(&mut self, id: FlowId, count: &FlowCount, at: Option<Sighting>) -> &mut Extra {
        let flow = self.flows.entry(id).or_insert_with(|| Flow::new(count));
        if flow.first_ns == 0 {
            flow.begin_window(count);
            (flow.first_ns, flow.last_ns) = (count.first_ns, count.last_ns);
            self.active += 1;
        }
        if flow.seen.is_empty()
            && let Some(at) = at
        {
            flow.seen.push(Seen { first_ns: count.first_ns, last_ns: count.last_ns, ..Seen::new(at) });
        }
        flow.extra.get_or_insert_default()
    }

    /// Ends the window: hands out a record for each flow that had packets in it.
    pub fn end_window(&mut self) -> Vec<FlowRecord> {
        let mut records = Vec::with_capacity(self.active);
        self.flows.retain(|id, flow| {
            if flow.first_ns == 0 {
                flow.idle += 1;
                return flow.idle < IDLE_WINDOWS;
            }
            records.extend(flow.report(*id));
            flow.end_window();
            true
        });
        self.active = 0;
        if self.flows.len() > MOST_REMEMBERED {
            self.flows.clear();
            self.flows.shrink_to(MOST_REMEMBERED / 4);
        }
        records
    }
}

fn id(src: [u8; 16], dst: [u8; 16], at: &Point) -> FlowId {
    let Point { src_port, dst_port, eth_proto, proto, .. } = *at;
    FlowId { src, dst, src_port, dst_port, eth_proto, proto }
}

impl Flow {
    fn new(count: &FlowCount) -> Self {
        Self {
            seen: SmallVec::new(),
            owner: 0,
            reported_packets: 0,
            reported_bytes: 0,
            born_ns: count.first_ns,
            before_ns: 0,
            first_ns: 0,
            last_ns: 0,
            tcp_flags: 0,
            cookie: 0,
            sampling: count.sampling,
            src_mac: count.src_mac,
            dst_mac: count.dst_mac,
            dscp: count.dscp,
            idle: 0,
            extra: None,
        }
    }

    fn begin_window(&mut self, count: &FlowCount) {
        (self.first_ns, self.last_ns, self.tcp_flags, self.cookie, self.idle) = (u64::MAX, 0, 0, 0, 0);
        self.sampling = count.sampling;
    }

    fn add(&mut self, at: Sighting, count: &FlowCount) {
        self.born_ns = self.born_ns.min(count.first_ns);
        if count.first_ns < self.first_ns {
            self.first_ns = count.first_ns;
            (self.src_mac, self.dst_mac) = (count.src_mac, count.dst_mac);
        }
        if count.last_ns >= self.last_ns {
            self.last_ns = count.last_ns;
            self.dscp = count.dscp;
        }
        self.tcp_flags |= count.tcp_flags;
        self.cookie = match (self.cookie, count.cookie) {
            (known, 0) => known,
            (0, new) => new,
            (known, new) if known == new => known,
            _ => SEVERAL,
        };
        let index = self.seen.iter().position(|seen| seen.at == at).unwrap_or_else(|| {
            self.seen.push(Seen::new(at));
            self.seen.len() - 1
        });
        let late = count.first_ns.saturating_sub(self.born_ns) > JOIN_NS;
        let seen = &mut self.seen[index];
        if seen.first_ns == 0 {
            let lag = self.reported_packets.saturating_sub(seen.packets);
            let in_flight = lag <= count.packets.min(MOST_IN_FLIGHT) && count.first_ns < self.before_ns + JOIN_NS;
            if late && !seen.before && !in_flight {
                (seen.packets, seen.bytes) = (self.reported_packets, self.reported_bytes.max(seen.bytes));
            }
            seen.first_ns = count.first_ns;
        }
        seen.first_ns = seen.first_ns.min(count.first_ns);
        seen.last_ns = seen.last_ns.max(count.last_ns).max(count.first_ns);
        seen.packets += count.packets;
        seen.bytes += count.bytes;
        seen.new_packets += count.packets;
        seen.sampling = count.sampling;
    }

    /// A place that saw its first packet well after another had seen its last is the flow's new way: it goes on from
    /// the other's total.
    fn follow_moves(&mut self) {
        let mut order: SmallVec<[usize; 2]> = (0..self.seen.len()).filter(|i| self.seen[*i].first_ns != 0).collect();
        order.sort_by_key(|i| self.seen[*i].first_ns);
        for i in order {
            let Seen { before, first_ns, packets, new_packets, .. } = self.seen[i];
            let left = self.seen.iter().filter(|other| other.last_ns != 0 && other.last_ns + JOIN_NS < first_ns);
            let Some((total, bytes)) = left.map(|other| (other.packets, other.bytes)).max() else { continue };
            let base = packets - new_packets;
            if !before && total > base {
                self.seen[i].packets += total - base;
                self.seen[i].bytes += bytes.saturating_sub(self.reported_bytes);
            }
        }
    }

    /// The record of this window; None if all of it has been reported before (packets that were in flight).
    fn report(&mut self, id: FlowId) -> Option<FlowRecord> {
        if self.seen.len() > 1 {
            self.follow_moves();
        }
        let most = (0..self.seen.len()).max_by_key(|i| {
            let seen = &self.seen[*i];
            // Among equals the one that counted so far, else the one that saw the flow first.
            (seen.packets, *i == self.owner && self.reported_packets > 0, std::cmp::Reverse(seen.first_or_never()))
        });
        // A flow that no interface saw has nothing but extras.
        let (packets, bytes) = most.map_or((0, 0), |most| (self.seen[most].packets, self.seen[most].bytes));
        self.owner = most.unwrap_or_default();
        let new_packets = packets - self.reported_packets.min(packets);
        let extra = self.extra.take();
        if new_packets == 0 && extra.is_none() {
            return None;
        }
        let new_bytes = bytes.saturating_sub(self.reported_bytes);
        (self.reported_packets, self.reported_bytes) = (packets, bytes);
        Some(FlowRecord {
            id,
            first_ns: self.first_ns,
            // The clock of latest packets ticks, that of first ones is exact.
            last_ns: self.last_ns.max(self.first_ns),
            packets: new_packets,
            bytes: new_bytes,
            tcp_flags: self.tcp_flags,
            cookie: self.cookie,
            sampling: most.map(|most| self.seen[most].sampling).filter(|s| *s > 0).unwrap_or(self.sampling),
            src_mac: self.src_mac,
            dst_mac: self.dst_mac,
            dscp: self.dscp,
            sightings: self.sightings(self.owner),
            extra,
            translated: None,
        })
    }

    fn sightings(&self, owner: usize) -> SmallVec<[Sighting; 2]> {
        let mut order: SmallVec<[usize; 2]> = (0..self.seen.len()).filter(|i| self.seen[*i].first_ns != 0).collect();
        if order.is_empty() {
            // Nothing but extras in this window: the flow's interfaces are those of before.
            order = (0..self.seen.len()).collect();
        }
        order.sort_by_key(|i| (*i != owner, self.seen[*i].first_ns));
        order.into_iter().map(|i| self.seen[i].at).collect()
    }

    fn end_window(&mut self) {
        self.before_ns = self.last_ns;
        self.first_ns = 0;
        for seen in &mut self.seen {
            seen.before = seen.first_ns != 0;
            (seen.first_ns, seen.last_ns, seen.new_packets) = (0, 0, 0);
        }
    }
}

impl Seen {
    fn new(at: Sighting) -> Self {
        Self { at, packets: 0, bytes: 0, new_packets: 0, first_ns: 0, last_ns: 0, before: false, sampling: 0 }
    }

    fn first_or_never(&self) -> u64 {
        if self.first_ns == 0 { u64::MAX } else { self.first_ns }
    }
}

#[cfg(test)]
mod tests;
