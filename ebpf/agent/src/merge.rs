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

use std::collections::HashMap;

use netobserv_ebpf_common::{FlowCount, Key4, Key6, mapped};
use smallvec::SmallVec;

use crate::{
    flow::{Extra, FlowId, FlowRecord, SEVERAL, Sighting},
    interfaces::InterfaceId,
};

/// A place that joins later than this after the flow's first packet was not on its path from the beginning.
const JOIN_NS: u64 = 100_000_000;
/// A place that lags by no more than this behind the others, right after them, has yet to see packets in flight.
const MOST_IN_FLIGHT: u64 = 8;
/// Windows without a packet after which a flow is forgotten. One would do for packets in flight.
const IDLE_WINDOWS: u8 = 2;
/// More flows than this are not remembered over a window: memory before the few packets in flight.
const MOST_REMEMBERED: usize = 100_000;

/// What was read: the key in its family, and the count.
pub enum Counted<'a> {
    /// IPv4.
    V4(&'a Key4, &'a FlowCount),
    /// Everything else, and what overflowed.
    V6(&'a Key6, &'a FlowCount),
}

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
                self.add_to(FlowId::new(mapped(key.src), mapped(key.dst), &key.at), key.at.direction, count);
            }
            Counted::V6(key, count) => self.add_to(FlowId::of(key), key.at.direction, count),
        }
    }

    /// Flows with packets in this window.
    pub fn active(&self) -> usize {
        self.active
    }

    fn add_to(&mut self, id: FlowId, direction: u8, count: &FlowCount) {
        let at = Sighting { place: InterfaceId { netns: count.netns, ifindex: count.ifindex }, direction };
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

    /// A place that saw its first packet well after another had seen its last is the flow's new way: it continues from
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
