//! Which processes talk: names for both ends of a flow, as far as they are on this machine. Only for a lone host
//! (ENABLE_PROCESS); in a cluster the pods have better names.
//!
//! Two sources, and none of them costs a packet anything. The kernel program notes who connects and who listens
//! ([`owners`]), which names connections however short they are. A look at /proc ([`sockets`]) names what was there
//! before, UDP, and workers that accept for a listener. What could be wrong is left out: see [`namer`].
//!
//! All this is done on a thread of its own, between the draining of the maps and the queue to the collector.

use std::{
    fs,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use netobserv_ebpf_common::Owner;

use crate::merge::FlowRecord;

mod cgroup;
mod namer;
pub mod owners;
mod sockets;
mod text;

use cgroup::Cgroups;
use namer::Namer;
use owners::Owners;

/// Windows that wait for names; further ones go on without.
const WAITING: usize = 2;
/// Nanoseconds of the unit in which /proc tells when a process started: USER_HZ is 100 on every machine that Linux runs on
/// but Alpha and IA-64.
const TICK_NS: u64 = 10_000_000;

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
    /// When it started, in [`TICK_NS`] since the machine did: with its number, that names it for good.
    started: u64,
}

impl Process {
    /// The process that has this number now.
    fn of(pid: u32) -> Option<Self> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let (name, started) = text::stat(&read("stat")?)?;
        let cgroup = cgroup::path(&read("cgroup").unwrap_or_default());
        Some(Self { pid, name, container: cgroup::container(&cgroup).to_owned(), cgroup, started })
    }

    /// What the kernel noted, and what is still to be seen of it.
    fn noted(owner: &Owner, cgroups: &Cgroups) -> Self {
        let length = owner.name.iter().position(|byte| *byte == 0).unwrap_or(owner.name.len());
        let name = String::from_utf8_lossy(&owner.name[..length]).into_owned();
        let started = owner.started_ns / TICK_NS;
        let here = Self::of(owner.pid).filter(|process| process.started == started);
        let cgroup = here.map_or_else(|| cgroups.path(owner.cgroup).unwrap_or_default(), |process| process.cgroup);
        Self { pid: owner.pid, name, container: cgroup::container(&cgroup).to_owned(), cgroup, started }
    }
}

enum Message {
    Window(Vec<FlowRecord>),
    /// Answered when all that came before has gone on.
    Flush(SyncSender<()>),
}

/// The thread that gives names. It ends when this is dropped.
pub struct Naming(SyncSender<Message>);

impl Naming {
    /// Starts it; records go on to `next`, in their order.
    pub fn start(owners: Option<Owners>, mut next: impl FnMut(Vec<FlowRecord>) + Send + 'static) -> Self {
        let (sender, messages): (_, Receiver<Message>) = sync_channel(WAITING);
        std::thread::spawn(move || {
            let mut namer = Namer::new(owners);
            for message in messages {
                match message {
                    Message::Window(mut records) => {
                        namer.name(&mut records);
                        next(records);
                    }
                    Message::Flush(done) => drop(done),
                }
            }
        });
        Self(sender)
    }

    /// Hands records over. Those that would have to wait for long are given back: to be without names is better than to
    /// be lost.
    ///
    /// # Errors
    /// The records.
    pub fn pass(&self, records: Vec<FlowRecord>) -> Result<(), Vec<FlowRecord>> {
        match self.0.try_send(Message::Window(records)) {
            Err(
                TrySendError::Full(Message::Window(records)) | TrySendError::Disconnected(Message::Window(records)),
            ) => Err(records),
            _ => Ok(()),
        }
    }

    /// Returns when all records have gone on.
    pub fn flush(&self) {
        let (done, wait) = sync_channel::<()>(0);
        if self.0.send(Message::Flush(done)).is_ok() {
            // Nothing is ever sent: the other end is let go of.
            let _ = wait.recv();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_gone_keeps_what_was_noted() {
        let mut name = [0; 16];
        name[..4].copy_from_slice(b"curl");
        // No process has the largest number.
        let owner = Owner { cgroup: u64::MAX, pid: u32::MAX, started_ns: 7 * TICK_NS, name, ..Owner::default() };
        let gone = Process::noted(&owner, &Cgroups::find());
        assert_eq!(gone, Process { pid: u32::MAX, name: "curl".into(), started: 7, ..Process::default() });
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_mistaken() {
        let here = Process::of(std::process::id()).unwrap();
        assert!(here.started > 0 && !here.name.is_empty());
        let owner = Owner { pid: here.pid, started_ns: 1, cgroup: u64::MAX, ..Owner::default() };
        assert_eq!(Process::noted(&owner, &Cgroups::find()).cgroup, "");
    }
}
