//! How far the watch has come with each kind of objects, and what prevents it from going further.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::facts::Kind;

/// Why objects of a kind cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The collector may not read them.
    Forbidden,
    /// The API server does not answer, or not as it should.
    Unreachable(String),
}

/// Where a kind stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// All its objects were known once.
    synced: bool,
    trouble: Option<Trouble>,
    /// The trouble was reported.
    told: bool,
}

/// Progress of all kinds that are followed.
#[derive(Debug, Default)]
pub(super) struct State {
    kinds: Mutex<BTreeMap<Kind, Progress>>,
    /// There is no watch at all, and why.
    nothing: Mutex<Option<String>>,
    changed: Notify,
}

impl State {
    /// A kind will be followed.
    pub(super) fn expect(&self, kind: Kind) {
        self.kinds().insert(kind, Progress::default());
    }

    /// Nothing will be followed.
    pub(super) fn nothing(&self, why: String) {
        warn!("flows get no names of the cluster: {why}");
        *self.nothing.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// All objects of a kind are known.
    pub(super) fn synced(&self, kind: Kind) {
        let before = self.kinds().insert(kind, Progress { synced: true, ..Progress::default() });
        if before.is_some_and(|before| before.told) {
            info!("{} are known again", subject(kind));
        }
        self.changed.notify_waiters();
    }

    /// The watch of a kind continues.
    pub(super) fn well(&self, kind: Kind) {
        let mut kinds = self.kinds();
        let progress = kinds.entry(kind).or_default();
        if progress.trouble.take().is_some() && progress.synced && std::mem::take(&mut progress.told) {
            info!("{} are known again", subject(kind));
        }
    }

    /// Something prevents the watch of a kind; reported once.
    pub(super) fn trouble(&self, kind: Kind, trouble: Trouble) {
        let mut kinds = self.kinds();
        let progress = kinds.entry(kind).or_default();
        if !std::mem::replace(&mut progress.told, true) {
            warn!("{} may be missing: {}", subject(kind), trouble.words(kind));
        }
        progress.trouble = Some(trouble);
        drop(kinds);
        self.changed.notify_waiters();
    }

    /// Waits until each kind is known or forbidden, for at most this long.
    pub(super) async fn ready(&self, at_most: Duration) {
        if !self.known(at_most).await {
            warn!("the API server is slow: the first flows come without names, which are filled in at the end");
        }
    }

    /// The same, and returns whether that is so.
    pub(super) async fn known(&self, at_most: Duration) -> bool {
        self.known_of(Kind::is_named, at_most).await
    }

    /// The same, of some kinds only.
    pub(super) async fn known_of(&self, wanted: fn(Kind) -> bool, at_most: Duration) -> bool {
        let all = async {
            loop {
                let changed = self.changed.notified();
                if self.is_ready(wanted) {
                    return;
                }
                changed.await;
            }
        };
        timeout(at_most, all).await.is_ok()
    }

    /// Whether all objects of a kind are known, those of this moment too.
    pub(super) fn is_current(&self, kind: Kind) -> bool {
        self.kinds().get(&kind).is_some_and(|progress| progress.synced && progress.trouble.is_none())
    }

    /// The API server does not have such objects.
    pub(super) fn absent(&self, kind: Kind) {
        self.kinds().entry(kind).or_default().synced = true;
        self.changed.notify_waiters();
    }

    fn is_ready(&self, wanted: fn(Kind) -> bool) -> bool {
        let is_settled = |progress: &Progress| progress.synced || progress.trouble == Some(Trouble::Forbidden);
        self.kinds().iter().all(|(kind, progress)| !wanted(*kind) || is_settled(progress))
    }

    /// Whose names are missing and why, in words.
    pub(super) fn missing(&self) -> Vec<String> {
        self.missing_of(Kind::is_named)
    }

    /// Whether all objects of a kind were known once.
    pub(super) fn is_synced(&self, kind: Kind) -> bool {
        self.kinds().get(&kind).is_some_and(|progress| progress.synced)
    }

    /// The same, of some kinds only.
    pub(super) fn missing_of(&self, wanted: impl Fn(Kind) -> bool) -> Vec<String> {
        let nothing = self.nothing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let kinds = self.kinds();
        let missing = kinds.iter().filter(|(kind, _)| wanted(**kind)).filter_map(|(kind, progress)| {
            let why = match &progress.trouble {
                Some(trouble) => trouble.words(*kind),
                None if progress.synced => return None,
                None => "the API server did not answer in time".into(),
            };
            let since = if progress.synced { "changes of " } else { "" };
            Some(format!("{since}{}: {why}", words(*kind)))
        });
        nothing.map(|why| format!("all: {why}")).into_iter().chain(missing).collect()
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<Kind, Progress>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    fn words(&self, kind: Kind) -> String {
        match self {
            Self::Forbidden => format!("the collector may not list {}", words(kind)),
            Self::Unreachable(why) => why.clone(),
        }
    }
}

fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::Pods => "pods",
        Kind::Nodes => "nodes",
        Kind::Services => "services",
        Kind::ReplicaSets => "replicasets.apps",
        Kind::Jobs => "jobs.batch",
        Kind::EndpointSlices => "endpointslices.discovery.k8s.io",
        Kind::Hosts => "addresses of nodes",
        Kind::Namespaces => "namespaces",
        Kind::NetworkPolicies => "networkpolicies.networking.k8s.io",
        Kind::AdminPolicies => "adminnetworkpolicies.policy.networking.k8s.io",
        Kind::BaselinePolicies => "baselineadminnetworkpolicies.policy.networking.k8s.io",
        Kind::ClusterPolicies | Kind::LaterClusterPolicies => "clusternetworkpolicies.policy.networking.k8s.io",
    }
}

/// What is missing without a kind.
fn subject(kind: Kind) -> String {
    if kind.is_named() { format!("names of {}", words(kind)) } else { format!("causes that {} show", words(kind)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_missing_is_told_with_its_reason() {
        let state = State::default();
        [Kind::Pods, Kind::Nodes, Kind::Services].into_iter().for_each(|kind| state.expect(kind));
        state.synced(Kind::Pods);
        state.trouble(Kind::Nodes, Trouble::Forbidden);
        assert!(!state.is_ready(Kind::is_named));
        state.ready(Duration::from_millis(1)).await;
        state.synced(Kind::Services);
        state.ready(Duration::from_secs(60)).await;
        assert_eq!(state.missing(), ["nodes: the collector may not list nodes"]);
        state.trouble(Kind::Services, Trouble::Unreachable("no route".into()));
        assert_eq!(state.missing()[1], "changes of services: no route");
        state.well(Kind::Services);
        assert_eq!(state.missing().len(), 1);
    }
}
