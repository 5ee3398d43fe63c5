//! Gives names to the ends of flows, and to none the name of another process:
//!
//! - An end is looked for only in the network namespaces that have its address.
//! - A process that began, or took the port, after the flow's first packet is not the flow's; a record that has packets of two
//!   connections of the same ports names neither.
//! - What is remembered from one window to the next is checked in each: a connection that begins anew is asked for anew, and so
//!   is an end whose process, or whose socket of UDP, has gone.
//! - Where several processes listen, only what all of them have in common is told.
//!
//! A look at /proc is taken when ends of own addresses are without a name (and others, as addresses come and go, once in
//! [`STALE`]), and only so often that it takes one part in [`REST`] of a CPU.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    sync::Arc,
    time::{Duration, Instant},
};

use netobserv_ebpf_common::{FLAG_SYN_ACK, Owner};
use nix::time::{ClockId, clock_gettime};
use smallvec::SmallVec;

use super::{
    Process, TICK_NS,
    cgroup::Cgroups,
    owners::Owners,
    sockets::{Held, Sockets},
    text,
};
use crate::merge::{FlowId, FlowRecord};

const TCP: u8 = 6;
const UDP: u8 = 17;
const FLAG_SYN: u32 = 2;
/// Time between looks, as a multiple of the CPU's time that the last one took.
const REST: u32 = 20;
/// Least time between looks.
const LEAST_REST: Duration = Duration::from_millis(200);
/// Age of a look after which an end that seems to be another machine's is a reason for a new one.
const STALE: Duration = Duration::from_secs(5);
/// Ends that are remembered from one window to the next; beyond that, all is asked again.
const MOST_REMEMBERED: usize = 100_000;
/// Windows after which an end that nobody has is asked for again.
const ASK_AGAIN: u32 = 10;
/// Packets on their way when a socket closes.
const SLACK_NS: u64 = 20_000_000;

/// What is asked of an end.
struct Asked<'a> {
    /// The flow that it receives.
    flow: FlowId,
    role: Role,
    first_ns: u64,
    /// Namespaces where the flow was seen.
    seen: &'a [u32],
}

/// What an end did in this window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// Began a connection.
    Began,
    /// Took one.
    Answered,
    /// A connection began, and the flags do not say by whom.
    Either,
    /// Went on.
    WentOn,
}

impl Role {
    fn of(sent: u32, received: u32) -> Self {
        let began = sent & FLAG_SYN != 0 || received & FLAG_SYN_ACK != 0;
        let answered = sent & FLAG_SYN_ACK != 0 || received & FLAG_SYN != 0;
        match (began, answered) {
            (true, false) => Self::Began,
            (false, true) => Self::Answered,
            (true, true) => Self::Either,
            (false, false) => Self::WentOn,
        }
    }
}

/// The process of an end.
#[derive(Clone)]
struct Found {
    process: Arc<Process>,
    /// The socket, if it was seen.
    held: Option<Held>,
    /// It is the end's own, and not one that listens for many.
    own: bool,
}

/// What came of asking.
enum Answer {
    Found(Found),
    /// The same, but a look could tell better.
    Perhaps(Found),
    /// It is another machine's, or that is not to be told.
    Nobody,
    /// A look could tell.
    Unknown,
    /// There is a socket, too young to be sure of.
    NotYet,
}

/// What is known of an end.
struct Known {
    found: Option<Found>,
    /// Window in which it was last asked for in vain.
    asked: u32,
    /// Window in which it was last seen.
    seen: u32,
}

/// What was asked of /proc in this window.
#[derive(Default)]
struct Memory {
    processes: HashMap<u32, Option<Arc<Process>>>,
    noted: HashMap<(u32, u64, [u8; 16]), Arc<Process>>,
    open: HashMap<u64, bool>,
}

impl Memory {
    fn process(&mut self, pid: u32) -> Option<&Arc<Process>> {
        self.processes.entry(pid).or_insert_with(|| Process::of(pid).map(Arc::new)).as_ref()
    }

    /// Whether the process that has this number started then.
    fn is_alive(&mut self, pid: u32, started: u64) -> bool {
        self.process(pid).is_some_and(|process| process.started == started)
    }

    fn is_open(&mut self, held: &Held) -> bool {
        *self.open.entry(held.inode).or_insert_with(|| held.is_open())
    }
}

pub(super) struct Namer {
    owners: Option<Owners>,
    cgroups: Cgroups,
    sockets: Sockets,
    memory: Memory,
    /// By the flow that the end receives.
    ends: HashMap<FlowId, Known>,
    window: u32,
    looked: Instant,
    next_look: Instant,
    /// The sockets are those of this moment.
    just_looked: bool,
    /// Inode number of the own network namespace.
    own_netns: u32,
    /// Ports that the kernel gives to whoever asks for any.
    any_ports: (u16, u16),
}

impl Namer {
    pub(super) fn new(owners: Option<Owners>) -> Self {
        let now = Instant::now();
        let mut namer = Self {
            owners,
            cgroups: Cgroups::find(),
            sockets: Sockets::default(),
            memory: Memory::default(),
            ends: HashMap::new(),
            window: ASK_AGAIN,
            looked: now,
            next_look: now,
            just_looked: false,
            own_netns: fs::metadata("/proc/self/ns/net").map_or(0, |netns| netns.ino() as u32),
            any_ports: any_ports(),
        };
        namer.look();
        namer
    }

    /// Names the ends of the flows of a window.
    pub(super) fn name(&mut self, records: &mut [FlowRecord]) {
        self.window += 1;
        self.memory = Memory::default();
        let wanting = records.iter_mut().map(|record| self.name_record(record)).sum::<u32>();
        let may_look = Instant::now() >= self.next_look;
        if wanting > 0 && !may_look {
            // Asked, and not looked: that was not in vain.
            self.ends
                .values_mut()
                .filter(|known| known.asked == self.window)
                .for_each(|known| known.asked -= ASK_AGAIN);
        }
        if wanting > 0 && may_look {
            self.look();
            self.just_looked = true;
            // Ends that nobody had are asked for once more, and then no more for a while.
            self.ends.retain(|_, known| known.found.is_some());
            records.iter_mut().for_each(|record| _ = self.name_record(record));
            self.just_looked = false;
        }
        self.forget();
    }

    fn look(&mut self) {
        let start = time(ClockId::CLOCK_THREAD_CPUTIME_ID);
        let now_ns = time(ClockId::CLOCK_MONOTONIC).as_nanos() as u64;
        self.sockets = Sockets::look(&self.sockets, now_ns);
        let took = time(ClockId::CLOCK_THREAD_CPUTIME_ID).saturating_sub(start);
        self.memory = Memory::default();
        self.looked = Instant::now();
        self.next_look = self.looked + (took * REST).max(LEAST_REST);
    }

    /// Names both ends. Returns how many of them a look could tell more about.
    fn name_record(&mut self, record: &mut FlowRecord) -> u32 {
        let id = record.id;
        if !matches!(id.proto, TCP | UDP) {
            return 0;
        }
        let netns = |netns: u32| if netns == 0 { self.own_netns } else { netns };
        let seen: SmallVec<[u32; 2]> = record.sightings.iter().map(|at| netns(at.place.netns)).collect();
        let (first_ns, flags, seen) = (record.first_ns, record.tcp_flags, &seen[..]);
        let (src, src_wants) = self.end(&Asked { flow: id.reversed(), role: Role::of(flags, 0), first_ns, seen });
        let (dst, dst_wants) = self.end(&Asked { flow: id, role: Role::of(0, flags), first_ns, seen });
        if src.is_some() || dst.is_some() {
            let extra = record.extra.get_or_insert_default();
            (extra.src, extra.dst) = (src, dst);
        }
        u32::from(src_wants) + u32::from(dst_wants)
    }

    /// Who has this end, and whether a look could tell more.
    fn end(&mut self, asked: &Asked<'_>) -> (Option<Arc<Process>>, bool) {
        let (window, goes_on) = (self.window, asked.role == Role::WentOn);
        let (mut old, mut asked_at, mut waits) = (None, window - ASK_AGAIN, false);
        if let Some(known) = self.ends.get_mut(&asked.flow).filter(|_| goes_on) {
            known.seen = window;
            match &known.found {
                None if window - known.asked < ASK_AGAIN => return (None, false),
                Some(found) if self.memory.has_still(asked.flow.proto, found) => {
                    return (Some(found.process.clone()), false);
                }
                found => (old, asked_at, waits) = (found.clone(), known.asked, window - known.asked < ASK_AGAIN),
            }
        }
        let (new, wants) = match self.find(asked) {
            Answer::Found(found) => (Some(found), false),
            Answer::Perhaps(found) => (Some(found), !waits),
            Answer::Nobody => (None, false),
            Answer::Unknown => (None, true),
            Answer::NotYet => {
                // Some packets may have been of who had the port before.
                self.ends.remove(&asked.flow);
                return (None, true);
            }
        };
        let (process, found) = settle(asked.flow.proto, old, new, self.just_looked);
        if wants || found.is_none() {
            asked_at = window;
        }
        self.ends.insert(asked.flow, Known { found, asked: asked_at, seen: window });
        (process, wants)
    }

    fn find(&mut self, asked: &Asked<'_>) -> Answer {
        let homes = self.sockets.homes(&asked.flow.dst, asked.seen);
        if homes.is_empty() {
            return self.find_in_new_namespace(asked);
        }
        if asked.flow.proto == TCP { self.find_tcp(asked, &homes) } else { self.find_udp(asked, &homes) }
    }

    /// Nobody that is known has the address. It may be that of a namespace that came after the last look.
    fn find_in_new_namespace(&mut self, asked: &Asked<'_>) -> Answer {
        let owner = self.began(asked).filter(|owner| owner.shared == 0 && !self.sockets.knows(owner.netns));
        match owner {
            Some(owner) if owner.since_ns <= asked.first_ns => Answer::Perhaps(self.noted(&owner)),
            Some(_) => Answer::Nobody,
            None if self.looked.elapsed() > STALE || asked.seen.iter().any(|netns| !self.sockets.knows(*netns)) => {
                Answer::Unknown
            }
            None => Answer::Nobody,
        }
    }

    /// Who began the connection, if this end did.
    fn began(&self, asked: &Asked<'_>) -> Option<Owner> {
        let may_be = asked.flow.proto == TCP && asked.role != Role::Answered;
        self.owners.as_ref().filter(|_| may_be)?.connected(&asked.flow)
    }

    /// First what is of this connection alone, then what listens.
    fn find_tcp(&mut self, asked: &Asked<'_>, homes: &[u32]) -> Answer {
        let Asked { flow, role, first_ns, .. } = asked;
        let first_ns = *first_ns;
        let mut gone = None;
        if let Some(owner) = self.began(asked).filter(|owner| homes.contains(&owner.netns)) {
            if owner.since_ns > first_ns {
                return Answer::Nobody;
            }
            if self.memory.is_alive(owner.pid, owner.started_ns / TICK_NS) {
                return Answer::Found(self.noted(&owner));
            }
            gone = Some(owner);
        }
        let own = self.sockets.connected(flow, homes);
        if let Some(found) = self.agreed(&own, first_ns) {
            return Answer::Found(found);
        }
        match (gone, role) {
            // It may have handed the connection to a child.
            (Some(owner), Role::WentOn) => return Answer::Perhaps(self.noted(&owner)),
            (Some(owner), _) => return Answer::Found(self.noted(&owner)),
            (None, Role::Began) => return Answer::Unknown,
            (None, _) => {}
        }
        let listener = self.owners.as_ref().and_then(|owners| owners.listening(flow, homes));
        let listener = listener.filter(|owner| {
            let over = owner.until_ns != 0 && owner.until_ns + SLACK_NS < first_ns;
            owner.shared == 0 && owner.since_ns <= first_ns && !over
        });
        if let Some(owner) = listener
            && self.memory.is_alive(owner.pid, owner.started_ns / TICK_NS)
        {
            return stands_in(self.noted(&owner), *role);
        }
        let bound = self.sockets.bound(flow, homes);
        match (self.agreed(&bound, first_ns), listener) {
            (Some(found), _) => stands_in(found, *role),
            (None, Some(owner)) => Answer::Perhaps(Found { own: false, ..self.noted(&owner) }),
            (None, None) => Answer::Unknown,
        }
    }

    fn find_udp(&mut self, asked: &Asked<'_>, homes: &[u32]) -> Answer {
        let own = self.sockets.connected(&asked.flow, homes);
        if let Some(found) = self.agreed(&own, asked.first_ns) {
            return Answer::Found(found);
        }
        let mut bound = self.sockets.bound(&asked.flow, homes);
        let some = own.iter().chain(&bound).any(|held| self.memory.is_open(held));
        // A port that anybody may be given could have been another's a moment ago.
        let of_anybody = (self.any_ports.0..=self.any_ports.1).contains(&asked.flow.dst_port);
        bound.retain(|held| !of_anybody || held.since_ns <= asked.first_ns);
        match self.agreed(&bound, asked.first_ns) {
            Some(found) => Answer::Found(found),
            None if some => Answer::NotYet,
            None => Answer::Unknown,
        }
    }

    fn noted(&mut self, owner: &Owner) -> Found {
        let key = (owner.pid, owner.started_ns, owner.name);
        let process = self.memory.noted.entry(key).or_insert_with(|| Arc::new(Process::noted(owner, &self.cgroups)));
        Found { process: process.clone(), held: None, own: true }
    }

    /// The process that has these sockets; of several, what they have in common. Only open ones count, and only processes that
    /// had started before `first_ns`, and not in the same tick.
    fn agreed(&mut self, sockets: &[Held], first_ns: u64) -> Option<Found> {
        let first = ticks(first_ns);
        let mut found: Option<Found> = None;
        for held in sockets {
            if !self.memory.is_open(held) {
                continue;
            }
            let Some(process) = self.memory.process(held.pid).filter(|process| process.started < first) else {
                continue;
            };
            found = Some(match found {
                None => Found { process: process.clone(), held: Some(*held), own: true },
                Some(first) if first.process == *process => first,
                Some(first) => Found { process: common(&first.process, process)?, ..first },
            });
        }
        found
    }

    /// Connections end, and their ports go to others: what was not seen for two windows is asked again.
    fn forget(&mut self) {
        let window = self.window;
        self.ends
            .retain(|_, known| window - known.seen < 2 || (known.found.is_none() && window - known.asked < ASK_AGAIN));
        if self.ends.len() > MOST_REMEMBERED {
            self.ends = HashMap::new();
        }
    }
}

impl Memory {
    /// Whether what was found before holds: a connection stays with its process, a socket of UDP may go.
    fn has_still(&mut self, proto: u8, found: &Found) -> bool {
        match &found.held {
            _ if !found.own || found.process.pid == 0 => false,
            Some(held) if proto == UDP => self.is_open(held),
            _ => self.is_alive(found.process.pid, found.process.started),
        }
    }
}

/// What listens stands for a connection until it is known who took that; for one that lasts it is worth a look.
fn stands_in(found: Found, role: Role) -> Answer {
    let found = Found { own: false, ..found };
    if role == Role::WentOn { Answer::Perhaps(found) } else { Answer::Found(found) }
}

/// What is told of an end now, and remembered: `old` has gone since the last window, and `new` is what is to be found now, with a
/// look or without.
fn settle(
    proto: u8,
    old: Option<Found>,
    new: Option<Found>,
    just_looked: bool,
) -> (Option<Arc<Process>>, Option<Found>) {
    let told = |found: &Option<Found>| found.as_ref().map(|found| found.process.clone());
    match (old, new) {
        // The connection is the same one: only who has it now is better than who had it.
        (Some(old), new) if proto == TCP => {
            let now = Some(new.filter(|new| new.own).unwrap_or(old));
            (told(&now), now)
        }
        // Its last packets, if nobody else has the port now.
        (Some(old), None) if just_looked => (Some(old.process), None),
        (Some(old), None) => (None, Some(old)),
        // Some packets are of the one, some of the other.
        (Some(old), Some(new)) if old.process != new.process => (None, Some(new)),
        (_, new) => (told(&new), new),
    }
}

/// What two processes have in common: a name, or nothing.
fn common(a: &Process, b: &Process) -> Option<Arc<Process>> {
    let same = |a: &String, b: &String| if a == b { a.clone() } else { String::new() };
    (a.name == b.name).then(|| {
        let (cgroup, container) = (same(&a.cgroup, &b.cgroup), same(&a.container, &b.container));
        Arc::new(Process { pid: 0, name: a.name.clone(), cgroup, container, started: 0 })
    })
}

/// A time of CLOCK_MONOTONIC in ns, as /proc tells when a process started.
fn ticks(mono_ns: u64) -> u64 {
    let asleep = time(ClockId::CLOCK_BOOTTIME).saturating_sub(time(ClockId::CLOCK_MONOTONIC));
    (mono_ns + asleep.as_nanos() as u64) / TICK_NS
}

fn time(clock: ClockId) -> Duration {
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

fn any_ports() -> (u16, u16) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    // The kernel's own choice (Documentation/networking/ip-sysctl.rst).
    text::pair(&text).unwrap_or((32_768, 60_999))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, name: &str, cgroup: &str) -> Arc<Process> {
        Arc::new(Process { pid, name: name.into(), cgroup: cgroup.into(), ..Process::default() })
    }

    fn found(pid: u32, own: bool) -> Found {
        let held = Held { netns: 1, pid, fd: 3, inode: 7, since_ns: 0 };
        Found { process: process(pid, "a", ""), held: own.then_some(held), own }
    }

    #[test]
    fn flags_tell_who_began() {
        assert_eq!([Role::of(FLAG_SYN, 0), Role::of(0, FLAG_SYN_ACK | 0x10)], [Role::Began; 2]);
        assert_eq!([Role::of(FLAG_SYN_ACK, 0), Role::of(0, FLAG_SYN)], [Role::Answered; 2]);
        assert_eq!([Role::of(0x10, 0), Role::of(FLAG_SYN | FLAG_SYN_ACK, 0)], [Role::WentOn, Role::Either]);
    }

    #[test]
    fn a_connection_keeps_its_process_and_a_datagram_socket_does_not() {
        let pids = |proto, old: Option<Found>, new: Option<Found>| {
            let (told, kept) = settle(proto, old, new, true);
            (told.map(|process| process.pid), kept.map(|found| found.process.pid))
        };
        // What listens is no better than who had the connection; who has it now is.
        assert_eq!(pids(TCP, Some(found(1, false)), Some(found(2, false))), (Some(1), Some(1)));
        assert_eq!(pids(TCP, Some(found(1, false)), Some(found(2, true))), (Some(2), Some(2)));
        assert_eq!(pids(UDP, Some(found(1, true)), None), (Some(1), None));
        assert_eq!(pids(UDP, Some(found(1, true)), Some(found(2, true))), (None, Some(2)));
        assert_eq!(pids(UDP, None, Some(found(2, true))), (Some(2), Some(2)));
        let (told, kept) = settle(UDP, Some(found(1, true)), None, false);
        assert!(told.is_none() && kept.is_some(), "it may be another's by now");
    }

    #[test]
    fn several_processes_have_only_what_all_of_them_have() {
        let workers = common(&process(1, "worker", "/a"), &process(2, "worker", "/b")).unwrap();
        assert_eq!((workers.pid, workers.name.as_str(), workers.cgroup.as_str()), (0, "worker", ""));
        assert_eq!(common(&process(1, "worker", "/a"), &process(2, "other", "/a")), None);
    }

    #[test]
    fn time_is_counted_as_proc_counts() {
        let now = time(ClockId::CLOCK_MONOTONIC).as_nanos() as u64;
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.started <= ticks(now), "{} {}", own.started, ticks(now));
        assert!(ticks(now) - own.started < 100 * 600, "a test does not take ten minutes");
    }
}
