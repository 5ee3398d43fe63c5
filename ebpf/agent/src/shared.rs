//! What the parts of a running agent share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use crate::{conntrack::Translations, interfaces::Names, losses::KernelLosses, scope::Scope, watching::Watching};

/// What the threads and tasks of an agent share.
pub(crate) struct Shared {
    /// Whether other network namespaces are followed.
    pub(crate) follow_netns: bool,
    /// The kernel programs report which processes own sockets.
    pub(crate) knows_sockets: bool,
    pub(crate) names: Names,
    pub(crate) scope: Scope,
    pub(crate) watching: Watching,
    /// For how long none was watched for want of a collector, in milliseconds.
    pub(crate) unwatched_ms: Arc<AtomicU64>,
    pub(crate) losses: Arc<KernelLosses>,
    /// None if they are not followed.
    pub(crate) translations: Option<Translations>,
}

impl Shared {
    pub(crate) fn new(
        scope: Scope,
        follow_netns: bool,
        knows_sockets: bool,
        translations: Option<Translations>,
    ) -> Self {
        Self {
            follow_netns,
            knows_sockets,
            names: Names::default(),
            scope,
            watching: Watching::default(),
            unwatched_ms: Arc::default(),
            losses: Arc::default(),
            translations,
        }
    }

    /// Counts a time off all interfaces, which ends now.
    pub(crate) fn unwatched_since(&self, since: Option<Instant>) {
        let time = since.map(|since| since.elapsed()).unwrap_or_default();
        self.unwatched_ms.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}
