//! One interface at a time: on, off, and a look whether the programs are still at the head.

use std::{io, os::fd::AsFd, os::fd::OwnedFd};

use aya::Ebpf;
use tracing::{debug, warn};

use super::{
    AttachError, Hook, Program,
    clsact::{Clsact, Filter},
    is_of_a_capture,
    owner::{self, Owner},
    tcx,
};
use crate::{
    kernel::{self, KernelError, Programs},
    settings::{AttachMode, Direction},
};

/// How often our programs are put back to the head of one interface. Who keeps coming before them wants to be there as much.
const MOST_RETAKEN: u32 = 3;

/// How the programs sit on an interface.
pub(super) enum Held {
    /// TCX.
    Links(Vec<(Hook, OwnedFd)>),
    /// clsact.
    Filters {
        hooks: Vec<(Hook, u32)>,
        /// The qdisc is ours: it goes when we go, if no other program put a filter there since.
        made_qdisc: bool,
    },
}

/// What a look at an interface finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Our programs are where they were put, or the interface is gone.
    Fine,
    /// Another program was in front of ours; it is not any more.
    Retaken,
    /// Another program is in front of ours and stays there.
    Hidden,
    /// Another program had removed ours; they are back.
    PutBack,
    /// Another program has removed ours, and they could not be put back.
    Removed,
}

/// What is put on interfaces, and how.
pub(super) struct Gear {
    mode: AttachMode,
    programs: Vec<(Hook, Program)>,
    /// The same for frames without an Ethernet header; empty until they are needed.
    bare: Vec<(Hook, Program)>,
    bare_names: [&'static str; 2],
    directions: Direction,
    /// Sits in the place of one of the others while that moves.
    pass: Program,
    owner: Owner,
}

impl Gear {
    pub(super) fn new(
        ebpf: &mut Ebpf,
        programs: Programs,
        mode: AttachMode,
        directions: Direction,
    ) -> Result<Self, KernelError> {
        kernel::classifier(ebpf, "pass")?.load().map_err(|error| kernel::classify(&error))?;
        Ok(Self {
            mode,
            programs: take(ebpf, programs.ethernet, directions)?,
            bare: vec![],
            bare_names: programs.bare,
            directions,
            pass: Program::take(ebpf, "pass")?,
            owner: Owner::new(),
        })
    }

    /// Loads the programs for interfaces whose frames have no Ethernet header: few machines have one.
    pub(super) fn load_bare(&mut self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        if self.bare.is_empty() {
            for name in self.bare_names {
                kernel::load_classifier(ebpf, name)?;
            }
            self.bare = take(ebpf, self.bare_names, self.directions)?;
        }
        Ok(())
    }

    fn programs(&self, bare: bool) -> &[(Hook, Program)] {
        if bare { &self.bare } else { &self.programs }
    }

    /// Work in the namespace of this thread.
    pub(super) fn at_work(&self) -> AtWork<'_> {
        AtWork { gear: self, clsact: None }
    }
}

/// At the ingress, at the egress, or at both.
fn take(
    ebpf: &mut Ebpf,
    [ingress, egress]: [&'static str; 2],
    directions: Direction,
) -> Result<Vec<(Hook, Program)>, KernelError> {
    let mut programs = vec![];
    if directions != Direction::Egress {
        programs.push((Hook::Ingress, Program::take(ebpf, ingress)?));
    }
    if directions != Direction::Ingress {
        programs.push((Hook::Egress, Program::take(ebpf, egress)?));
    }
    Ok(programs)
}

/// Index of an interface in its namespace, and whether its frames have no Ethernet header.
type At = (u32, bool);

/// The gear in one network namespace.
pub(super) struct AtWork<'a> {
    gear: &'a Gear,
    /// Opened when it is first needed.
    clsact: Option<Clsact>,
}

impl AtWork<'_> {
    /// Puts the programs on an interface, one of `many`.
    pub(super) fn attach(&mut self, at: At, many: bool) -> Result<Held, AttachError> {
        let (mode, ifindex) = (self.gear.mode, at.0);
        // What is left costs a little and counts nothing: not to be rid of it is no fault of this capture.
        if let Err(error) = self.with_clsact(|clsact| sweep(clsact, ifindex)) {
            debug!("interface {ifindex}: {error}");
        }
        let held = match mode {
            AttachMode::Tcx => self.links(at),
            AttachMode::Tc => self.filters(at),
            AttachMode::Any if many && self.is_free(ifindex) => {
                self.filters(at).or_else(|error| self.other(at, &error, Self::links))
            }
            AttachMode::Any => self.links(at).or_else(|error| self.other(at, &error, Self::filters)),
        };
        held.map_err(|error| AttachError::of(error, AttachError::Refused))
    }

    fn other(
        &mut self,
        at: At,
        error: &io::Error,
        other: impl FnOnce(&mut Self, At) -> io::Result<Held>,
    ) -> io::Result<Held> {
        debug!("interface {}: {error}, trying the other way", at.0);
        other(self, at)
    }

    /// Whether no program is on the interface that could hide packets from a filter of ours.
    fn is_free(&mut self, ifindex: u32) -> bool {
        Hook::BOTH.into_iter().all(|hook| {
            // Where the kernel has no TCX, there is no program.
            let none = tcx::programs(ifindex, hook).map_or(true, |programs| programs.is_empty());
            let filters = |clsact: &mut Clsact| clsact.filters(ifindex, hook);
            none && self.with_clsact(filters).is_ok_and(|filters| filters.iter().all(Filter::is_of_a_capture))
        })
    }

    fn with_clsact<T>(&mut self, work: impl FnOnce(&mut Clsact) -> io::Result<T>) -> io::Result<T> {
        if self.clsact.is_none() {
            self.clsact = Some(Clsact::here()?);
        }
        work(self.clsact.as_mut().expect("made above"))
    }

    fn links(&mut self, (ifindex, bare): At) -> io::Result<Held> {
        let programs = self.gear.programs(bare).iter();
        let links = programs.map(|(hook, program)| Ok((*hook, tcx::attach_first(program.fd.as_fd(), ifindex, *hook)?)));
        links.collect::<io::Result<_>>().map(Held::Links)
    }

    fn filters(&mut self, (ifindex, bare): At) -> io::Result<Held> {
        let gear = self.gear;
        self.with_clsact(|clsact| {
            let mut made_qdisc = clsact.add_qdisc(ifindex)?;
            if !made_qdisc {
                // One that only captures use goes with the last of them.
                let of_captures = |hook| {
                    let filters = clsact.filters(ifindex, hook)?;
                    Ok::<_, io::Error>((!filters.is_empty(), filters.iter().all(Filter::is_of_a_capture)))
                };
                let [ingress, egress] = Hook::BOTH.map(of_captures);
                let (ingress, egress) = (ingress?, egress?);
                made_qdisc = (ingress.0 || egress.0) && ingress.1 && egress.1;
            }
            let mut hooks = vec![];
            for (hook, program) in gear.programs(bare) {
                match add_filter(clsact, (ifindex, *hook), &gear.owner, program) {
                    Ok(handle) => hooks.push((*hook, handle)),
                    Err(error) => {
                        take_off(clsact, ifindex, &hooks, made_qdisc);
                        return Err(error);
                    }
                }
            }
            Ok(Held::Filters { hooks, made_qdisc })
        })
    }

    /// Takes the programs off an interface, which may be gone.
    pub(super) fn remove(&mut self, ifindex: u32, held: Held) {
        let Held::Filters { hooks, made_qdisc } = held else { return };
        let removed = self.with_clsact(|clsact| {
            take_off(clsact, ifindex, &hooks, made_qdisc);
            Ok(())
        });
        if let Err(error) = removed {
            warn!("the filters of interface {ifindex} stay: {error}");
        }
    }

    /// Looks at an interface, and puts the programs back to the head if they are not there.
    pub(super) fn check(&mut self, at: At, held: &mut Held, retaken: &mut u32) -> Seen {
        match held {
            Held::Links(links) => self.look_at_links(at, links, retaken),
            Held::Filters { .. } => self.look_at_filters(at, held, retaken),
        }
    }

    fn look_at_links(&mut self, (ifindex, bare): At, links: &mut [(Hook, OwnedFd)], retaken: &mut u32) -> Seen {
        let gear = self.gear;
        let mut worst = Seen::Fine;
        for ((hook, link), (_, program)) in links.iter_mut().zip(gear.programs(bare)) {
            let Ok(ids) = tcx::programs(ifindex, *hook) else { continue };
            let before = ids.iter().position(|id| *id == program.id);
            let seen = match before {
                Some(before) if ids[..before].iter().all(|id| is_harmless(*id)) => continue,
                Some(_) if *retaken >= MOST_RETAKEN => Seen::Hidden,
                Some(_) => {
                    *retaken += 1;
                    self.retake(ifindex, *hook, link, program).map_or(Seen::Hidden, |()| Seen::Retaken)
                }
                None => match tcx::attach_first(program.fd.as_fd(), ifindex, *hook) {
                    Ok(new) => {
                        *link = new;
                        Seen::PutBack
                    }
                    Err(error) if error.raw_os_error() == Some(libc::ENODEV) => continue,
                    Err(_) => Seen::Removed,
                },
            };
            worst = worst.or(seen);
        }
        worst
    }

    /// Moves a program to the head. Counting stops for the moment between the two steps, and nothing is counted twice.
    fn retake(&self, ifindex: u32, hook: Hook, link: &mut OwnedFd, program: &Program) -> io::Result<()> {
        tcx::replace(link.as_fd(), self.gear.pass.fd.as_fd())?;
        match tcx::attach_first(program.fd.as_fd(), ifindex, hook) {
            Ok(new) => {
                *link = new;
                Ok(())
            }
            Err(error) => {
                tcx::replace(link.as_fd(), program.fd.as_fd())?;
                Err(error)
            }
        }
    }

    fn look_at_filters(&mut self, (ifindex, bare): At, held: &mut Held, retaken: &mut u32) -> Seen {
        let Held::Filters { hooks, made_qdisc } = held else { return Seen::Fine };
        let (hooks, made_qdisc) = (hooks.clone(), *made_qdisc);
        let mut found = Seen::Fine;
        for (hook, _) in self.gear.programs(bare) {
            let handle = hooks.iter().find(|(at, _)| at == hook).map(|(_, handle)| *handle);
            let programs = tcx::programs(ifindex, *hook).unwrap_or_default();
            let Ok(filters) = self.with_clsact(|clsact| clsact.filters(ifindex, *hook)) else { return Seen::Fine };
            let harmless = Filter::is_of_a_capture;
            found = found.or(match filters.iter().position(|filter| handle.is_some_and(|handle| filter.is(handle))) {
                None => Seen::PutBack,
                Some(before)
                    if programs.iter().all(|id| is_harmless(*id)) && filters[..before].iter().all(harmless) =>
                {
                    Seen::Fine
                }
                Some(_) => Seen::Retaken,
            });
        }
        if found == Seen::Fine || nix::net::if_::if_indextoname(ifindex).is_err() {
            return Seen::Fine;
        }
        if self.gear.mode == AttachMode::Tc && found == Seen::Retaken || *retaken >= MOST_RETAKEN {
            return Seen::Hidden;
        }
        *retaken += 1;
        // Off first: with both, a packet could be counted twice.
        let _ = self.with_clsact(|clsact| {
            take_off(clsact, ifindex, &hooks, made_qdisc);
            Ok(())
        });
        let again = match self.gear.mode {
            AttachMode::Any => self.links((ifindex, bare)).or_else(|_| self.filters((ifindex, bare))),
            _ => self.filters((ifindex, bare)),
        };
        match again {
            Ok(again) => {
                *held = again;
                found
            }
            Err(error) => {
                debug!("interface {ifindex}: {error}");
                *held = Held::Filters { hooks: vec![], made_qdisc: false };
                Seen::Removed
            }
        }
    }
}

impl Seen {
    /// The worse of two.
    fn or(self, other: Self) -> Self {
        let rank = |seen| {
            [Self::Fine, Self::Retaken, Self::PutBack, Self::Hidden, Self::Removed].iter().position(|s| *s == seen)
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// A capture's program hides nothing. Where programs cannot be asked for their names, each one counts as another's.
fn is_harmless(id: u32) -> bool {
    tcx::name(id).is_ok_and(|name| is_of_a_capture(&name))
}

fn add_filter(clsact: &mut Clsact, at: (u32, Hook), owner: &Owner, program: &Program) -> io::Result<u32> {
    let mut taken = io::Error::from_raw_os_error(libc::EEXIST);
    for handle in owner.handles() {
        match clsact.add(at, handle, program.fd.as_fd(), program.name) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => taken = error,
            added => return added.map(|()| handle),
        }
    }
    Err(taken)
}

/// Removes the filters that killed agents left on an interface.
fn sweep(clsact: &mut Clsact, ifindex: u32) -> io::Result<()> {
    let mut swept = false;
    for hook in Hook::BOTH {
        for handle in clsact.filters(ifindex, hook)?.iter().filter_map(Filter::handle_of_a_capture) {
            if owner::is_left(handle) {
                clsact.remove(ifindex, hook, handle)?;
                swept = true;
            }
        }
    }
    if swept { clsact.remove_qdisc_if_empty(ifindex) } else { Ok(()) }
}

fn take_off(clsact: &mut Clsact, ifindex: u32, hooks: &[(Hook, u32)], made_qdisc: bool) {
    // What is gone already, with its interface or by another program, counts as removed.
    let gone = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::EINVAL));
    for (hook, handle) in hooks {
        if let Err(error) = clsact.remove(ifindex, *hook, *handle)
            && !gone(&error)
        {
            warn!("a filter of interface {ifindex} stays: {error}");
        }
    }
    if made_qdisc
        && let Err(error) = clsact.remove_qdisc_if_empty(ifindex)
        && !gone(&error)
    {
        warn!("the clsact qdisc of interface {ifindex} stays: {error}");
    }
}
