//! Puts the programs on interfaces and takes them off again.
//!
//! TCX first: its links end with the process, whatever ends it. Where the kernel has no TCX, or refuses, a filter
//! on the clsact qdisc; a qdisc that was there before stays, and so do other programs' filters.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions},
    },
};
use tracing::{debug, warn};

use crate::{
    interfaces::{Link, Place},
    kernel::{self, KernelError, Programs},
    netns::Netns,
    settings::{AttachMode, Direction},
    tracepoint::Hooks,
};

/// Why an interface is not watched.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel refused the program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The program is not in the object.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The namespace could not be entered.
    #[error("cannot enter its network namespace: {0}")]
    Netns(#[from] std::io::Error),
    /// Its frames begin with a header that the programs do not know.
    #[error("frames of its link type (number {0} in linux/if_arp.h) cannot be read")]
    LinkType(u16),
}

/// What holds the programs on one interface.
struct Watched {
    netns: Arc<Netns>,
    name: String,
    links: Vec<SchedClassifierLink>,
    /// The clsact qdisc is ours: it goes when we go, if nobody else put a filter there since.
    made_clsact: bool,
}

/// The programs, and the interfaces they are on.
pub struct Probes {
    ebpf: Ebpf,
    mode: AttachMode,
    directions: Direction,
    programs: Programs,
    watched: HashMap<Place, Watched>,
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
        Ok(Self { ebpf, mode, directions, programs, watched: HashMap::new(), shared })
    }

    /// How many interfaces are watched now.
    pub fn count(&self) -> usize {
        self.watched.len()
    }

    /// Watches an interface of `netns`. Doing it twice is the same as once.
    pub fn attach(&mut self, place: Place, name: &str, link: Link, netns: &Arc<Netns>) -> Result<(), AttachError> {
        if self.watched.contains_key(&place) {
            return Ok(());
        }
        let programs = match link {
            Link::Ethernet => self.programs.ethernet,
            Link::Bare => self.programs.bare,
            Link::Unknown(number) => return Err(AttachError::LinkType(number)),
        };
        let mut watched = Watched { netns: netns.clone(), name: name.to_owned(), links: vec![], made_clsact: false };
        let (how, ebpf) = ((self.mode, self.directions, programs), &mut self.ebpf);
        // Before the first packet of a second interface with this index can be counted.
        self.shared.add(place);
        netns.run(|| attach_all(ebpf, how, name, &mut watched))??;
        debug!("watching {name} ({place:?})");
        self.watched.insert(place, watched);
        Ok(())
    }

    /// Stops watching an interface. Nothing happens if it was not watched.
    pub fn detach(&mut self, place: Place) {
        if let Some(watched) = self.watched.remove(&place) {
            watched.remove();
        }
    }

    /// Watched interfaces of a namespace whose index is not among those `present`.
    pub fn missing(&self, netns: u32, present: &HashSet<u32>) -> Vec<Place> {
        let gone = |place: &Place| place.netns == netns && !present.contains(&place.ifindex);
        self.watched.keys().copied().filter(gone).collect()
    }

    /// Stops watching all interfaces of a namespace, and lets go of the namespace.
    pub fn detach_netns(&mut self, inode: u32) {
        let (gone, kept) = self.watched.drain().partition(|(_, watched)| watched.netns.inode == inode);
        self.watched = kept;
        let gone: HashMap<_, Watched> = gone;
        gone.into_values().for_each(Watched::remove);
    }

    /// Switches on what sits at no interface.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn hook(&mut self, hooks: &mut Hooks) -> Result<(), KernelError> {
        hooks.attach(&mut self.ebpf)
    }

    /// Stops watching everything.
    pub fn detach_all(&mut self) {
        self.watched.drain().for_each(|(_, watched)| watched.remove());
    }
}

/// Tells the programs which interface indexes are used in several namespaces. Once shared, an index stays so.
struct SharedIndexes {
    /// By index: the namespaces that have it, as far as needed.
    users: HashMap<u32, Vec<u32>>,
    map: Array<MapData, u64>,
}

impl SharedIndexes {
    fn add(&mut self, Place { netns, ifindex }: Place) {
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
            warn!("interfaces with index {ifindex} cannot be told apart: {error}");
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.detach_all();
    }
}

impl Watched {
    fn remove(self) {
        let Self { netns, name, links, made_clsact } = self;
        // A netlink link must be dropped inside its namespace; a TCX link does not mind.
        let removed = netns.run(move || {
            drop(links);
            if made_clsact {
                remove_unused_clsact(&name);
            }
        });
        if let Err(error) = removed {
            debug!("{}: {error}", netns.path.display());
        }
    }
}

fn attach_all(
    ebpf: &mut Ebpf,
    (mode, directions, [ingress, egress]): (AttachMode, Direction, [&'static str; 2]),
    name: &str,
    watched: &mut Watched,
) -> Result<(), AttachError> {
    let hooks =
        [(Direction::Ingress, ingress, TcAttachType::Ingress), (Direction::Egress, egress, TcAttachType::Egress)];
    for (direction, program, hook) in hooks {
        if directions != Direction::Both && directions != direction {
            continue;
        }
        let program = kernel::load_classifier(ebpf, program)?;
        let link = match mode {
            AttachMode::Tcx => tcx(program, name, hook)?,
            AttachMode::Tc => clsact(program, name, hook, watched)?,
            AttachMode::Any => match tcx(program, name, hook) {
                Ok(link) => link,
                Err(error) => {
                    debug!("{name}: no TCX ({error}), trying clsact");
                    clsact(program, name, hook, watched)?
                }
            },
        };
        watched.links.push(link);
    }
    Ok(())
}

/// At the head of the chain: a program before ours that redirects (Cilium's does) would hide its packets.
fn tcx(program: &mut SchedClassifier, name: &str, hook: TcAttachType) -> Result<SchedClassifierLink, ProgramError> {
    let id = program.attach_with_options(name, hook, TcAttachOptions::TcxOrder(LinkOrder::first()))?;
    // aya files links under their interface's index, which another namespace may use too: take it out at once.
    program.take_link(id)
}

fn clsact(
    program: &mut SchedClassifier,
    name: &str,
    hook: TcAttachType,
    watched: &mut Watched,
) -> Result<SchedClassifierLink, ProgramError> {
    // Fails when the qdisc exists, which is as good; what is really wrong shows in the next step.
    watched.made_clsact |= tc::qdisc_add_clsact(name).is_ok();
    let id = program.attach_with_options(name, hook, TcAttachOptions::Netlink(NlOptions::default()))?;
    program.take_link(id)
}

/// Removes the clsact qdisc of an interface if no filter is on it.
fn remove_unused_clsact(name: &str) {
    if let Err(error) = crate::watch::remove_clsact_if_empty(name) {
        warn!("{name}: the clsact qdisc stays: {error}");
    }
}
