//! How far watching the interfaces has come: shared by the thread that watches and by what reports.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use netobserv_wire::pbflow::{AgentStatus, UnwatchedInterfaces};
use tokio::sync::Notify;

/// Most names of interfaces that are reported for one reason; of the others the number.
const MOST_NAMES: usize = 50;
/// Most interfaces whose names are kept.
const MOST_KEPT: usize = 20_000;

/// How far it has come.
#[derive(Clone, Default)]
pub struct Watching(Arc<Inner>);

#[derive(Default)]
struct Inner {
    watched: AtomicU64,
    wanted: AtomicU64,
    attaching: AtomicBool,
    /// By name of the interface: why it was not watched, or not all the time.
    unwatched: Mutex<BTreeMap<String, String>>,
    /// Features that are not captured, with the reasons.
    lacking: Mutex<String>,
    changed: Notify,
}

impl Watching {
    /// The kernel cannot do these features.
    pub fn lacks(&self, features: Vec<String>) {
        *self.0.lacking.lock().unwrap_or_else(PoisonError::into_inner) = features.join("; ");
    }

    /// Watching begins. How many interfaces there are is not known yet.
    pub fn begin(&self) {
        self.0.wanted.store(0, Relaxed);
        self.0.attaching.store(true, Relaxed);
        self.0.changed.notify_one();
    }

    /// So many are to be watched.
    pub fn want(&self, wanted: usize) {
        self.0.wanted.store(wanted as u64, Relaxed);
        self.0.changed.notify_one();
    }

    /// So many are watched now.
    pub fn set(&self, watched: usize) {
        self.0.watched.store(watched as u64, Relaxed);
    }

    /// The collector should hear of it.
    pub fn report_now(&self) {
        self.0.changed.notify_one();
    }

    /// All interfaces that were there at the beginning are watched, or will not be.
    pub fn begun(&self) {
        self.0.attaching.store(false, Relaxed);
        self.0.changed.notify_one();
    }

    /// An interface is not watched, or was not for a while. The latest reason counts.
    pub fn miss(&self, interface: String, reason: String) {
        let mut unwatched = self.unwatched();
        if unwatched.len() < MOST_KEPT || unwatched.contains_key(&interface) {
            unwatched.insert(interface, reason);
        }
    }

    /// An interface was watched before any packet could have been missed.
    pub fn forget(&self, interface: &str) {
        self.unwatched().remove(interface);
    }

    /// Resolves when the collector should hear at once.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Writes all of it into a status.
    pub fn report(&self, status: &mut AgentStatus) {
        status.interfaces = self.0.watched.load(Relaxed) as u32;
        status.interfaces_wanted = self.0.wanted.load(Relaxed) as u32;
        status.attaching = self.0.attaching.load(Relaxed);
        status.unwatched = self.missed();
        status.lacking.clone_from(&self.0.lacking.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The interfaces that were not watched, or not all the time, by reason.
    pub fn missed(&self) -> Vec<UnwatchedInterfaces> {
        let mut by_reason: BTreeMap<String, UnwatchedInterfaces> = BTreeMap::new();
        for (name, reason) in self.unwatched().iter() {
            let group = by_reason.entry(reason.clone()).or_default();
            group.count += 1;
            if group.names.len() < MOST_NAMES {
                group.names.push(name.clone());
            }
        }
        let named = by_reason.into_iter().map(|(reason, group)| UnwatchedInterfaces { reason, ..group });
        named.collect()
    }

    fn unwatched(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.unwatched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_counted_and_named_by_reason() {
        let watching = Watching::default();
        for number in 0..60 {
            watching.miss(format!("veth{number:02}"), "no room".into());
        }
        watching.miss("tun0".into(), "link type X is not supported".into());
        watching.miss("veth59".into(), "moved".into());
        watching.forget("veth58");
        let mut status = AgentStatus::default();
        watching.report(&mut status);
        let groups: Vec<_> = status.unwatched.iter().map(|group| (group.count, group.names.len())).collect();
        assert_eq!(groups, [(1, 1), (1, 1), (58, 50)]);
        let wanted = "58 interfaces: no room: veth00, veth01, veth02, veth03, veth04 and 53 more";
        assert_eq!(status.unwatched[2].to_string(), wanted);
        assert_eq!(status.unwatched[0].to_string(), "1 interface: link type X is not supported: tun0");
    }
}
