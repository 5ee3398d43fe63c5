//! The lives of this machine's sockets, and whose a socket was from the first packet of a record to its last.
//!
//! A socket has a process for as long as nothing else was seen of it: a [`Span`] goes from one moment to a later one, and at
//! each moment between at which somebody looked, the same process had the socket. A record within it has that process's name. All
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
/// A connection that nobody took for so long may have gone unseen.
const NEVER_TAKEN_NS: u64 = 60_000_000_000;
/// Spans of a socket, and ports that it had: what is older is no window's any more.
const MOST_SPANS: usize = 8;
const MOST_PORTS: usize = 2;

/// A process as the kernel knew it, or what several processes have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Who {
    /// 0 = several.
    pub(super) pid: u32,
    /// CLOCK_MONOTONIC, ns; 0 = several.
    pub(super) started_ns: u64,
    /// CLOCK_BOOTTIME, ns; 0 = several.
    pub(super) started_boot_ns: u64,
    /// 0 = several.
    pub(super) cgroup: u64,
    /// Zeros = they have none in common, or nobody knows.
    pub(super) name: [u8; 16],
}

impl Who {
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

/// Nobody else was seen to have the socket between these moments, CLOCK_MONOTONIC in ns.
struct Span {
    from_ns: u64,
    to_ns: u64,
    who: Who,
}

/// Sockets that may get the same packets: a namespace, and a connection of TCP or a port of UDP.
type Slot = (u32, FlowId);

/// Each, and when it was last seen to listen.
type Listeners = SmallVec<[(Who, u64); 1]>;

struct Life {
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
    spans: SmallVec<[Span; 1]>,
}

/// All that is known of them.
#[derive(Default)]
pub(super) struct Lives {
    /// By their cookies.
    lives: HashMap<u64, Life>,
    slots: HashMap<Slot, SmallVec<[u64; 1]>>,
    /// Who listens at a port of a namespace, and when that was last seen.
    listeners: HashMap<(u32, u16), Listeners>,
    /// Sockets that died before are not known any more.
    forgotten_ns: u64,
}

impl Lives {
    /// Takes in what the kernel told when it happened.
    pub(super) fn event(&mut self, seen: &SocketSeen) {
        let life = self.life(seen);
        let (who, time) = (Who::of(seen), seen.time_ns);
        match seen.what {
            MADE => {
                life.born_ns = time;
                // A walk may have met it before this was read.
                match life.spans.first_mut().filter(|first| first.who == who) {
                    Some(first) => first.from_ns = time,
                    None => life.spans.insert(0, Span { from_ns: time, to_ns: time, who }),
                }
            }
            CAME_IN => {
                if life.born_ns == 0 {
                    (life.born_ns, life.came_in) = (time, true);
                }
                self.settle(seen);
            }
            CLOSED => {
                life.observe(time, time, who);
                life.died_ns = time;
                self.settle(seen);
            }
            FAILED => self.settle(seen),
            _ => {}
        }
    }

    /// Takes in who was seen to have which sockets by a walk over all of them, between two moments.
    pub(super) fn walk(&mut self, begin_ns: u64, end_ns: u64, rows: &[SocketSeen]) {
        let mut held: HashMap<u64, (&SocketSeen, Who)> = HashMap::new();
        for row in rows {
            let all = held.entry(row.cookie).or_insert((row, Who::of(row)));
            all.1 = all.1.join(Who::of(row));
            self.settle(row);
        }
        for (row, who) in held.into_values() {
            self.life(row).observe(end_ns, begin_ns, who);
        }
    }

    fn life(&mut self, seen: &SocketSeen) -> &mut Life {
        self.lives.entry(seen.cookie).or_insert_with(|| Life {
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
            let who = Who::of(seen);
            at.retain(|(known, _)| *known != who);
            at.push((who, seen.time_ns));
        }
        let life = self.life(seen);
        let Some(slot) = slot(netns, &flow) else { return };
        life.flow = flow;
        if life.slots.contains(&slot) {
            return;
        }
        life.slots.push(slot);
        let left = (life.slots.len() > MOST_PORTS).then(|| life.slots.remove(0));
        self.slots.entry(slot).or_default().push(seen.cookie);
        left.iter().for_each(|left| vacate(&mut self.slots, left, seen.cookie));
    }

    /// Who had the socket with this cookie, which is to receive `flow`, from `first_ns` to `last_ns`. None if that is not certain.
    pub(super) fn owner(&self, cookie: u64, flow: &FlowId, first_ns: u64, last_ns: u64) -> Option<Who> {
        let life = self.lives.get(&cookie)?;
        let slot = slot(life.netns, flow)?;
        if !life.slots.contains(&slot) || !life.takes(flow) || first_ns < self.forgotten_ns + SLACK_NS {
            return None;
        }
        let mut who = self.held(life, first_ns, last_ns)?;
        for other in self.slots.get(&slot)?.iter().filter(|other| **other != cookie) {
            let other = self.lives.get(other)?;
            let over = other.died_ns.saturating_add(SLACK_NS) < first_ns || last_ns + TICK_NS < other.born_ns;
            if other.takes(flow) && !over {
                // A connection that waits to be taken is nobody's yet.
                other.spans.first()?;
                who = other.spans.iter().fold(who, |who, span| who.join(span.who));
            }
        }
        who.is_somebody().then_some(who)
    }

    fn held(&self, life: &Life, first_ns: u64, last_ns: u64) -> Option<Who> {
        // What goes on after a connection was closed, the kernel does for who closed it.
        let outlives = life.flow.proto == TCP && life.died_ns != u64::MAX;
        let (first, last) = (life.spans.first()?, life.spans.last()?);
        let span = if outlives && last.from_ns <= first_ns {
            last
        } else if self.took(life, first) && (first.to_ns >= last_ns || (outlives && life.spans.len() == 1)) {
            first
        } else {
            life.spans.iter().find(|span| span.from_ns <= first_ns && span.to_ns >= last_ns)?
        };
        Some(span.who)
    }

    /// Whether the first that was seen to have a connection is who took it: it could do so when the connection came. A child
    /// that was made for it could not, nor could who was handed it.
    fn took(&self, life: &Life, first: &Span) -> bool {
        let at = self.listeners.get(&(life.netns, life.flow.dst_port));
        let same = |who: &Who| (who.pid, who.started_ns) == (first.who.pid, first.who.started_ns);
        let listens = || at.is_some_and(|at| at.iter().any(|(who, _)| same(who)));
        life.came_in && first.who.pid != 0 && first.who.started_ns <= life.born_ns && listens()
    }

    /// Forgets what does not matter to records that begin at `oldest_ns` or later. Others have no names from now on.
    pub(super) fn forget(&mut self, oldest_ns: u64) {
        let before_ns = oldest_ns.saturating_sub(SLACK_NS).max(self.forgotten_ns);
        self.forgotten_ns = before_ns;
        let slots = &mut self.slots;
        self.lives.retain(|cookie, life| {
            let untaken = life.came_in && life.spans.is_empty() && life.born_ns + NEVER_TAKEN_NS < before_ns;
            let gone = life.died_ns < before_ns || untaken;
            if gone {
                life.slots.iter().for_each(|slot| vacate(slots, slot, *cookie));
            }
            !gone
        });
        self.listeners.retain(|_, at| {
            at.retain(|(_, seen_ns)| *seen_ns >= before_ns);
            !at.is_empty()
        });
    }
}

impl Life {
    fn observe(&mut self, from_ns: u64, to_ns: u64, who: Who) {
        match self.spans.last_mut().filter(|last| last.who == who) {
            Some(last) => last.to_ns = last.to_ns.max(to_ns),
            None => self.spans.push(Span { from_ns, to_ns, who }),
        }
        if self.spans.len() > MOST_SPANS {
            self.spans.remove(0);
            // What is first now is not who was first.
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
