//! Puts the programs on interfaces and takes them off again.
//!
//! There are two ways. TCX links end with the process, whatever ends it, but the kernel takes 10 to 30 ms for each interface, one
//! after the other. Filters on the clsact qdisc take a hundredth of that, and stay when the process is killed. So few interfaces
//! get links, and many get filters, unless other programs are on the interface already: these might hide packets from a filter.
//! A qdisc that was there before stays, and so do other programs' filters.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::Arc,
};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use tracing::{debug, warn};

use crate::{
    descriptors,
    interfaces::{InterfaceId, Link},
    kernel::{self, KernelError, Programs},
    netns::Netns,
    settings::{AttachMode, Direction},
    tracepoint::Hooks,
    watch::Interface,
};

mod clsact;
mod gear;
mod owner;
mod tcx;

pub use gear::Seen;
use gear::{Gear, Held};

/// Most interfaces that get TCX links, where filters would do as well: half a second to attach, and as much to detach.
const MOST_TCX: usize = 20;

/// Names of our programs at interfaces begin so: those that count flows, and those that copy packets.
const OURS: [&str; 2] = ["flow_", "packet_"];

/// Whether a program with this name hides no packets from ours, being one of a capture: of this one or of another.
fn is_of_a_capture(name: &str) -> bool {
    OURS.iter().any(|ours| name.starts_with(ours))
}

/// Where a program sees packets of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hook {
    Ingress,
    Egress,
}

impl Hook {
    const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];
}

/// Why an interface is not watched.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is no such interface any more.
    #[error("it is gone")]
    Gone,
    /// The process may open no more files.
    #[error("no file descriptor is left (the limit is {0})")]
    Descriptors(u64),
    /// The kernel refused the program.
    #[error("the kernel refused the program: {0}")]
    Refused(io::Error),
    /// Its frames begin with a header that the programs do not know.
    #[error("frames of its link type (number {0} in linux/if_arp.h) cannot be read")]
    LinkType(u16),
    /// The program for it could not be loaded.
    #[error("{0}")]
    Program(String),
    /// The namespace could not be entered.
    #[error("cannot enter its network namespace: {0}")]
    Netns(io::Error),
}

impl AttachError {
    fn of(error: io::Error, other: impl FnOnce(io::Error) -> Self) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::Descriptors(descriptors::limit()),
            Some(libc::ENODEV) => Self::Gone,
            _ => other(error),
        }
    }
}

/// What holds the programs on one interface.
struct Watched {
    netns: Arc<Netns>,
    held: Held,
    /// Its frames have no Ethernet header.
    bare: bool,
    /// How often our programs were put back to the head.
    retaken: u32,
}

/// The programs, and the interfaces they are on.
pub struct Probes {
    ebpf: Ebpf,
    gear: Gear,
    watched: HashMap<InterfaceId, Watched>,
    shared: SharedIndexes,
}

impl Probes {
    /// Programs, by their names, that are loaded and on no interface yet.
    ///
    /// # Errors
    /// If the object is not ours.
    pub fn new(
        mut ebpf: Ebpf,
        programs: Programs,
        mode: AttachMode,
        directions: Direction,
    ) -> Result<Self, KernelError> {
        let shared = SharedIndexes { users: HashMap::new(), map: kernel::take_map(&mut ebpf, "SHARED_INDEX")? };
        let gear = Gear::new(&mut ebpf, programs, mode, directions)?;
        Ok(Self { ebpf, gear, watched: HashMap::new(), shared })
    }

    /// How many interfaces are watched now.
    pub fn count(&self) -> usize {
        self.watched.len()
    }

    /// Whether an interface is watched.
    pub fn is_watched(&self, place: InterfaceId) -> bool {
        self.watched.contains_key(&place)
    }

    /// Watches interfaces; those that are watched already stay so. `each` hears of every one of the others how that went, and of how
    /// many are watched then; when it returns false, the rest is left.
    pub fn attach(
        &mut self,
        interfaces: Vec<Interface>,
        mut each: impl FnMut(&Interface, Result<(), AttachError>, usize) -> bool + Send,
    ) {
        let mut new = interfaces;
        new.retain(|interface| !self.is_watched(interface.place));
        for unreadable in new.extract_if(.., |interface| matches!(interface.link, Link::Unknown(_))) {
            let Link::Unknown(number) = unreadable.link else { continue };
            if !each(&unreadable, Err(AttachError::LinkType(number)), self.watched.len()) {
                return;
            }
        }
        if new.iter().any(|interface| interface.link == Link::Bare)
            && let Err(error) = self.gear.load_bare(&mut self.ebpf)
        {
            for bare in new.extract_if(.., |interface| interface.link == Link::Bare) {
                each(&bare, Err(AttachError::Program(error.to_string())), self.watched.len());
            }
        }
        let many = self.links() + new.len() > MOST_TCX.min(descriptors::spare() / Hook::BOTH.len());
        let mut by_netns: HashMap<u32, Vec<Interface>> = HashMap::new();
        for interface in new {
            // Before the first packet of a second interface with this index can be counted.
            self.shared.add(interface.place);
            by_netns.entry(interface.netns.inode).or_default().push(interface);
        }
        for group in by_netns.into_values() {
            let netns = group[0].netns.clone();
            let (gear, watched) = (&self.gear, &mut self.watched);
            let went = netns.run(|| {
                let mut place = gear.at_work();
                for interface in &group {
                    let bare = interface.link == Link::Bare;
                    let held = place.attach((interface.place.ifindex, bare), many);
                    let went = held.map(|held| {
                        let (netns, retaken) = (netns.clone(), 0);
                        watched.insert(interface.place, Watched { netns, held, bare, retaken });
                    });
                    if !each(interface, went, watched.len()) {
                        return false;
                    }
                }
                true
            });
            match went {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    for interface in &group {
                        let copy = error
                            .raw_os_error()
                            .map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error);
                        each(interface, Err(AttachError::of(copy, AttachError::Netns)), self.watched.len());
                    }
                }
            }
        }
    }

    fn links(&self) -> usize {
        self.watched.values().filter(|watched| matches!(watched.held, Held::Links(_))).count()
    }

    /// Checks that our programs are still where they were put, at the head, and puts them back. `each` hears of every interface where
    /// they were not.
    pub fn check(&mut self, mut each: impl FnMut(InterfaceId, Seen)) {
        let mut by_netns: HashMap<u32, Vec<(InterfaceId, &mut Watched)>> = HashMap::new();
        for (place, watched) in &mut self.watched {
            by_netns.entry(watched.netns.inode).or_default().push((*place, watched));
        }
        for mut group in by_netns.into_values() {
            let netns = group[0].1.netns.clone();
            let gear = &self.gear;
            let seen = netns.run(|| {
                let mut at_work = gear.at_work();
                let looked = group.iter_mut().map(|(place, watched)| {
                    (*place, at_work.check((place.ifindex, watched.bare), &mut watched.held, &mut watched.retaken))
                });
                looked.filter(|(_, seen)| *seen != Seen::Fine).collect::<Vec<_>>()
            });
            match seen {
                Ok(seen) => seen.into_iter().for_each(|(place, seen)| each(place, seen)),
                Err(error) => debug!("{}: {error}", netns.path.display()),
            }
        }
    }

    /// Stops watching an interface. Nothing happens if it was not watched.
    pub fn detach(&mut self, place: InterfaceId) {
        let removed = self.watched.remove(&place).map(|watched| (place, watched));
        self.remove(removed.into_iter().collect());
    }

    /// Watched interfaces of a namespace whose index is not among those `present`.
    pub fn missing(&self, netns: u32, present: &HashSet<u32>) -> Vec<InterfaceId> {
        let gone = |place: &InterfaceId| place.netns == netns && !present.contains(&place.ifindex);
        self.watched.keys().copied().filter(gone).collect()
    }

    /// Stops watching all interfaces of a namespace, and lets go of the namespace. Returns which they were.
    pub fn detach_netns(&mut self, inode: u32) -> Vec<InterfaceId> {
        let (gone, kept) = self.watched.drain().partition(|(_, watched)| watched.netns.inode == inode);
        self.watched = kept;
        let gone: HashMap<_, Watched> = gone;
        let places = gone.keys().copied().collect();
        self.remove(gone.into_iter().collect());
        places
    }

    /// Switches on what sits at no interface.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn hook(&mut self, hooks: &mut Hooks) -> Result<(), KernelError> {
        hooks.attach(&mut self.ebpf)
    }

    /// Stops watching everything.
    pub fn detach_all(&mut self) {
        let all = self.watched.drain().collect();
        self.remove(all);
    }

    fn remove(&self, watched: Vec<(InterfaceId, Watched)>) {
        let mut by_netns: HashMap<u32, Vec<(InterfaceId, Watched)>> = HashMap::new();
        for (place, watched) in watched {
            by_netns.entry(watched.netns.inode).or_default().push((place, watched));
        }
        for group in by_netns.into_values() {
            let netns = group[0].1.netns.clone();
            let removed = netns.run(move || {
                let mut at_work = self.gear.at_work();
                group.into_iter().for_each(|(place, watched)| at_work.remove(place.ifindex, watched.held));
            });
            if let Err(error) = removed {
                debug!("{}: {error}", netns.path.display());
            }
        }
    }
}

/// The switch that ends a capture at one moment for all programs, wherever they are.
pub struct EndSwitch(Array<MapData, u32>);

impl EndSwitch {
    /// Of these programs.
    ///
    /// # Errors
    /// If the object is not ours.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        kernel::take_map(ebpf, "ENDED").map(Self)
    }

    /// From now on packets are counted, or not. Programs that run already may end first.
    pub fn set(&mut self, ended: bool) {
        if let Err(error) = self.0.set(0, u32::from(ended), 0) {
            warn!("the capture ends one interface after the other: {error}");
        }
    }
}

/// Shows the programs which interface indexes are used in several namespaces. Once shared, an index stays so.
struct SharedIndexes {
    /// By index: the namespaces that have it, as far as needed.
    users: HashMap<u32, Vec<u32>>,
    map: Array<MapData, u64>,
}

impl SharedIndexes {
    fn add(&mut self, InterfaceId { netns, ifindex }: InterfaceId) {
        let users = self.users.entry(ifindex).or_default();
        if users.len() == 2 || users.contains(&netns) {
            return;
        }
        users.push(netns);
        // Indexes beyond the map count as shared anyway.
        if users.len() == 2
            && let Ok(word) = self.map.get(&(ifindex / 64), 0)
            && let Err(error) = self.map.set(ifindex / 64, word | 1 << (ifindex % 64), 0)
        {
            warn!("interfaces with index {ifindex} cannot be distinguished: {error}");
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.detach_all();
    }
}

/// A program of the object: its descriptor and the kernel's number for it.
struct Program {
    name: &'static str,
    fd: OwnedFd,
    id: u32,
}

impl Program {
    fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, KernelError> {
        let program = kernel::classifier(ebpf, name)?;
        let fd = program.fd().map_err(|error| kernel::classify(&error))?.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| KernelError::Load(error.to_string()))?;
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default();
        let id = info.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
        Ok(Self { name, fd, id: id.unwrap_or(0) })
    }
}
