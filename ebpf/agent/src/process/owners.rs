//! The lives of this machine's sockets, and whose a socket was from the first packet of a record to its last.
//!
//! A socket has a process for as long as nothing else was seen of it: a [`Ownership`] goes from one moment to a later one, and at
//! each moment between at which it was seen, the same process had the socket. A record within it has that process's name. All
//! else has none: a socket that passed from one process to another in the meantime, and one that shares its port with another
//! process's.

use std::collections::HashMap;

use netobserv_ebpf_common::{CAME_IN, CLOSED, FAILED, MADE, SocketSeen, mapped};
use smallvec::SmallVec;

use super::{TCP, UDP};
use crate::flow::FlowId;

/// The clock of latest packets is behind by a tick (CONFIG_HZ is 100 at least).
const TICK_NS: u64 = 10_000_000;
/// Packets on their way to a socket when it closes.
const SLACK_NS: u64 = 100_000_000;
/// A connection that was not accepted in this time may have gone unseen.
const NEVER_TAKEN_NS: u64 = 60_000_000_000;
/// Spans of a socket, and ports that it had: what is older is no window's any more.
const MOST_SPANS: usize = 8;
const MOST_PORTS: usize = 2;

/// A process as the kernel knew it, or what several processes have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct ProcessIdentity {
    /// 0 = several.
    pub(super) pid: u32,
    /// CLOCK_MONOTONIC, ns; 0 = several.
    pub(super) started_ns: u64,
    /// CLOCK_BOOTTIME, ns; 0 = several.
    pub(super) started_boot_ns: u64,
    /// 0 = several.
    pub(super) cgroup: u64,
    /// Zeros = they have none in common, or it is not known.
    pub(super) name: [u8; 16],
}

impl ProcessIdentity {
    pub(super) fn of(seen: &SocketSeen) -> Self {
        let SocketSeen { pid, started_ns, started_boot_ns, cgroup, name, .. } = *seen;
        Self { pid, started_ns, started_boot_ns, cgroup, name }
    }

    /// What both have in common.
    pub(super) fn join(self, other: Self) -> Self {
        if self.name != other.name {
            return Self::default();
        }
        let cgroup = if self.cgroup == other.cgroup { self.cgroup } else { 0 };
        let same = (self.pid, self.started_ns) == (other.pid, other.started_ns);
        let one = if same { self } else { Self::default() };
        Self { cgroup, name: self.name, ..one }
    }

    fn is_somebody(&self) -> bool {
        self.name[0] != 0
    }
}

/// No other process was seen to have the socket between these moments, CLOCK_MONOTONIC in ns.
struct Ownership {
    from_ns: u64,
    to_ns: u64,
    process: ProcessIdentity,
}

/// Sockets that may get the same packets: a namespace, and a connection of TCP or a port of UDP.
type Slot = (u32, FlowId);

/// Each, and when it was last seen to listen.
type Listeners = SmallVec<[(ProcessIdentity, u64); 1]>;

struct SocketHistory {
    /// What it receives, as last seen.
    flow: FlowId,
    netns: u32,
    /// 0 = before anybody looked.
    born_ns: u64,
    /// u64::MAX = it lives.
    died_ns: u64,
    /// The kernel made it, for one of those who listen.
    came_in: bool,
    slots: SmallVec<[Slot; 1]>,
    spans: SmallVec<[Ownership; 1]>,
}

/// All that is known of them.
#[derive(Default)]
pub(super) struct SocketOwners {
    /// By their cookies.
    sockets: HashMap<u64, SocketHistory>,
    slots: HashMap<Slot, SmallVec<[u64; 1]>>,
    /// ProcessIdentity listens at a port of a namespace, and when that was last seen.
    listeners: HashMap<(u32, u16), Listeners>,
    /// Sockets that died before are not known any more.
    forgotten_ns: u64,
}

impl SocketOwners {
    /// Takes in what the kernel reported when it happened.
    pub(super) fn event(&mut self, seen: &SocketSeen) {
        let history = self.history(seen);
        let (process, time) = (ProcessIdentity::of(seen), seen.time_ns);
        match seen.what {
            MADE => {
                history.born_ns = time;
                // A walk may have met it before this was read.
                match history.spans.first_mut().filter(|first| first.process == process) {
                    Some(first) => first.from_ns = time,
                    None => history.spans.insert(0, Ownership { from_ns: time, to_ns: time, process }),
                }
            }
            CAME_IN => {
                if history.born_ns == 0 {
                    (history.born_ns, history.came_in) = (time, true);
                }
                self.settle(seen);
            }
            CLOSED => {
                history.observe(time, time, process);
                history.died_ns = time;
                self.settle(seen);
            }
            FAILED => self.settle(seen),
            _ => {}
        }
    }

    /// Takes in process was seen to have which sockets by a walk over all of them, between two moments.
    pub(super) fn walk(&mut self, begin_ns: u64, end_ns: u64, rows: &[SocketSeen]) {
        let mut held: HashMap<u64, (&SocketSeen, ProcessIdentity)> = HashMap::new();
        for row in rows {
            let all = held.entry(row.cookie).or_insert((row, ProcessIdentity::of(row)));
            all.1 = all.1.join(ProcessIdentity::of(row));
            self.settle(row);
        }
        for (row, process) in held.into_values() {
            self.history(row).observe(end_ns, begin_ns, process);
        }
    }

    fn history(&mut self, seen: &SocketSeen) -> &mut SocketHistory {
        self.sockets.entry(seen.cookie).or_insert_with(|| SocketHistory {
            flow: FlowId::of(&seen.flow),
            netns: seen.flow.at.device as u32,
            born_ns: 0,
            died_ns: u64::MAX,
            came_in: false,
            slots: SmallVec::new(),
            spans: SmallVec::new(),
        })
    }

    /// Notes at which place the socket was seen.
    fn settle(&mut self, seen: &SocketSeen) {
        let (flow, netns) = (FlowId::of(&seen.flow), seen.flow.at.device as u32);
        if flow.proto == TCP && flow.src_port == 0 && flow.dst_port != 0 {
            let at = self.listeners.entry((netns, flow.dst_port)).or_default();
            let process = ProcessIdentity::of(seen);
            at.retain(|(known, _)| *known != process);
            at.push((process, seen.time_ns));
        }
        let history = self.history(seen);
        let Some(slot) = slot(netns, &flow) else { return };
        history.flow = flow;
        if history.slots.contains(&slot) {
            return;
        }
        history.slots.push(slot);
        let left = (history.slots.len() > MOST_PORTS).then(|| history.slots.remove(0));
        self.slots.entry(slot).or_default().push(seen.cookie);
        left.iter().for_each(|left| vacate(&mut self.slots, left, seen.cookie));
    }

    /// ProcessIdentity had the socket with this cookie, which is to receive `flow`, from `first_ns` to `last_ns`. None if that is not certain.
    pub(super) fn owner(&self, cookie: u64, flow: &FlowId, first_ns: u64, last_ns: u64) -> Option<ProcessIdentity> {
        let history = self.sockets.get(&cookie)?;
        let slot = slot(history.netns, flow)?;
        if !history.slots.contains(&slot) || !history.takes(flow) || first_ns < self.forgotten_ns + SLACK_NS {
            return None;
        }
        let mut process = self.held(history, first_ns, last_ns)?;
        for other in self.slots.get(&slot)?.iter().filter(|other| **other != cookie) {
            let other = self.sockets.get(other)?;
            let over = other.died_ns.saturating_add(SLACK_NS) < first_ns || last_ns + TICK_NS < other.born_ns;
            if other.takes(flow) && !over {
                // A connection that waits to be accepted has no owner yet.
                other.spans.first()?;
                process = other.spans.iter().fold(process, |process, span| process.join(span.process));
            }
        }
        process.is_somebody().then_some(process)
    }

    fn held(&self, history: &SocketHistory, first_ns: u64, last_ns: u64) -> Option<ProcessIdentity> {
        // What happens after a connection was closed, the kernel does for the process that closed it.
        let outlives = history.flow.proto == TCP && history.died_ns != u64::MAX;
        let (first, last) = (history.spans.first()?, history.spans.last()?);
        let span = if outlives && last.from_ns <= first_ns {
            last
        } else if self.took(history, first) && (first.to_ns >= last_ns || (outlives && history.spans.len() == 1)) {
            first
        } else {
            history.spans.iter().find(|span| span.from_ns <= first_ns && span.to_ns >= last_ns)?
        };
        Some(span.process)
    }

    /// Whether the first that was seen to have a connection is process took it: it could do so when the connection came. A child
    /// that was made for it could not, nor could process was handed it.
    fn took(&self, history: &SocketHistory, first: &Ownership) -> bool {
        let at = self.listeners.get(&(history.netns, history.flow.dst_port));
        let same = |process: &ProcessIdentity| {
            (process.pid, process.started_ns) == (first.process.pid, first.process.started_ns)
        };
        let listens = || at.is_some_and(|at| at.iter().any(|(process, _)| same(process)));
        history.came_in && first.process.pid != 0 && first.process.started_ns <= history.born_ns && listens()
    }

    /// Forgets what does not matter to records that begin at `oldest_ns` or later. Others have no names from now on.
    pub(super) fn forget(&mut self, oldest_ns: u64) {
        let before_ns = oldest_ns.saturating_sub(SLACK_NS).max(self.forgotten_ns);
        self.forgotten_ns = before_ns;
        let slots = &mut self.slots;
        self.sockets.retain(|cookie, history| {
            let untaken = history.came_in && history.spans.is_empty() && history.born_ns + NEVER_TAKEN_NS < before_ns;
            let gone = history.died_ns < before_ns || untaken;
            if gone {
                history.slots.iter().for_each(|slot| vacate(slots, slot, *cookie));
            }
            !gone
        });
        self.listeners.retain(|_, at| {
            at.retain(|(_, seen_ns)| *seen_ns >= before_ns);
            !at.is_empty()
        });
    }
}

impl SocketHistory {
    fn observe(&mut self, from_ns: u64, to_ns: u64, process: ProcessIdentity) {
        match self.spans.last_mut().filter(|last| last.process == process) {
            Some(last) => last.to_ns = last.to_ns.max(to_ns),
            None => self.spans.push(Ownership { from_ns, to_ns, process }),
        }
        if self.spans.len() > MOST_SPANS {
            self.spans.remove(0);
            // What is first now is not process was first.
            self.came_in = false;
        }
    }

    /// Whether what is sent to this address may be for the socket: it has that address, or all.
    fn takes(&self, flow: &FlowId) -> bool {
        let own = self.flow.dst;
        own == flow.dst || own == [0; 16] || own == mapped(0)
    }
}

fn slot(netns: u32, flow: &FlowId) -> Option<Slot> {
    match flow.proto {
        TCP if flow.src_port != 0 && flow.dst_port != 0 => Some((netns, *flow)),
        UDP if flow.dst_port != 0 => {
            Some((netns, FlowId { src: [0; 16], dst: [0; 16], src_port: 0, eth_proto: 0, ..*flow }))
        }
        _ => None,
    }
}

fn vacate(slots: &mut HashMap<Slot, SmallVec<[u64; 1]>>, slot: &Slot, cookie: u64) {
    if let Some(at) = slots.get_mut(slot) {
        at.retain(|other| *other != cookie);
        if at.is_empty() {
            slots.remove(slot);
        }
    }
}

#[cfg(test)]
mod tests;
