//! Which processes talk: names for both ends of a flow, as far as they are on this machine. Only for a lone host
//! (ENABLE_PROCESS); in a cluster the pods have better names.
//!
//! The kernel reports which socket sends a flow, once a flow and window, and which process owns a socket when it is made, comes in and is
//! closed (`sockets.rs`). A walk over all open files at the end of each window shows which has it in between. A name is given if all
//! of that agrees (`owners.rs`), else none.
//!
//! All this is done on a thread of its own, between the draining of the maps and the queue to the collector.

use std::{
    fs,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    time::Duration,
};

use crate::flow::{FlowRecord, Process};

mod attribution;
mod cgroup;
mod owners;
pub mod sockets;

use attribution::ProcessAttribution;
use cgroup::Cgroups;
use owners::ProcessIdentity;
use sockets::Sockets;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// Windows that wait for names; further ones are passed on without.
const WAITING: usize = 2;
/// How often events are read.
const LISTEN: Duration = Duration::from_millis(100);
/// Nanoseconds of the unit in which /proc has the start of a process: USER_HZ is 100 on every machine that Linux runs on
/// but Alpha and IA-64.
const TICK_NS: u64 = 10_000_000;

/// What the kernel reported of a process, and what can still be read of it.
fn describe(process: &ProcessIdentity, cgroups: &Cgroups) -> Process {
    let length = process.name.iter().position(|byte| *byte == 0).unwrap_or(process.name.len());
    let cgroup = cgroups.path(process.cgroup).filter(|path| !path.is_empty() || process.pid == 0);
    let cgroup = cgroup.or_else(|| cgroup_now(process)).unwrap_or_default();
    Process {
        pid: process.pid,
        name: String::from_utf8_lossy(&process.name[..length]).into_owned(),
        container: cgroup::container(&cgroup).to_owned(),
        cgroup,
    }
}

/// The control group of a process by /proc, which may be one of a hierarchy that is not unified.
fn cgroup_now(process: &ProcessIdentity) -> Option<String> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", process.pid)).ok();
    let group = read("cgroup")?;
    // After the group was read it is still the same process, so it was before.
    (started(&read("stat")?)? == process.started_boot_ns / TICK_NS).then(|| cgroup::path(&group))
}

/// When a process started, from /proc/PID/stat (proc_pid_stat(5), field 22). Its name, before that, may hold parentheses.
fn started(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

enum Message {
    Window(Vec<FlowRecord>),
    /// Answered when all that came before has gone on.
    Flush(SyncSender<()>),
}

/// The thread that gives names. It ends when this is dropped.
pub struct AttributionThread(SyncSender<Message>);

impl AttributionThread {
    /// Starts it; records are passed on to `next`, in their order. When this returns, it knows the sockets that there are.
    pub fn start(sockets: Sockets, mut next: impl FnMut(Vec<FlowRecord>) + Send + 'static) -> Self {
        let (sender, messages): (_, Receiver<Message>) = sync_channel(WAITING);
        let mut attribution = ProcessAttribution::new(sockets);
        std::thread::spawn(move || {
            loop {
                match messages.recv_timeout(LISTEN) {
                    Ok(Message::Window(mut records)) => {
                        attribution.name(&mut records);
                        next(records);
                    }
                    Ok(Message::Flush(done)) => drop(done),
                    Err(RecvTimeoutError::Timeout) => attribution.listen(),
                    Err(RecvTimeoutError::Disconnected) => break,
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

    fn identity(name: &str) -> ProcessIdentity {
        let mut process = ProcessIdentity { pid: std::process::id(), ..ProcessIdentity::default() };
        process.name[..name.len()].copy_from_slice(name.as_bytes());
        process
    }

    #[test]
    fn a_process_that_has_gone_keeps_what_the_kernel_said() {
        // No process and no group has the largest number.
        let gone = ProcessIdentity { pid: u32::MAX, cgroup: u64::MAX, ..identity("curl") };
        let wanted = Process { pid: u32::MAX, name: "curl".into(), ..Process::default() };
        assert_eq!(describe(&gone, &Cgroups::find()), wanted);
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_mistaken() {
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        let started_boot_ns = started(&own).unwrap() * TICK_NS + 7;
        assert!(
            started_boot_ns > TICK_NS && cgroup_now(&ProcessIdentity { started_boot_ns, ..identity("x") }).is_some()
        );
        assert_eq!(cgroup_now(&ProcessIdentity { started_boot_ns: 1, ..identity("x") }), None);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let text = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 200\n";
        assert_eq!((started(text), started("42 (a) S 1")), (Some(98765), None));
    }
}
