//! The pod's keeper: waits beside a capture, keeps its files for a while, and then removes what the session made, so that nothing
//! outlives a user who is gone. It is what `sleep infinity` does in a session's pod, and what a capture in the background becomes.

mod cluster;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::control::Control;
use crate::signals::Signals;
use cluster::{Cluster, Trouble};
use watch::{Due, Watch};

/// How often the capture is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Between attempts to remove something: at first, and at most.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(30);
/// How long files are kept when the capture did not say.
const KEEP: Duration = Duration::from_secs(3600);
/// Without a lease in the state: that of the plugin.
const LEASE: Duration = Duration::from_secs(60);

/// Whose pod this is.
#[derive(Clone, Debug)]
pub struct Pod {
    /// NETOBSERV_SESSION.
    pub session: String,
    /// NETOBSERV_NAMESPACE.
    pub namespace: String,
    /// Folder of the files.
    pub output: PathBuf,
}

impl Pod {
    /// What the environment says; `None` outside a session's pod.
    pub fn of_this_process(output: &Path) -> Option<Self> {
        let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(Self {
            session: named("NETOBSERV_SESSION")?,
            namespace: named("NETOBSERV_NAMESPACE")?,
            output: output.to_owned(),
        })
    }
}

/// Keeps watch until everything is removed, or until a signal.
///
/// # Errors
/// When signals cannot be listened to.
pub async fn keep(pod: Pod) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        () = work(&pod) => {}
        _ = signals.next() => {}
    }
    Ok(())
}

async fn work(pod: &Pod) {
    let control = Control::of(&pod.output);
    let (mut watch, mut looks) = (Watch::default(), interval(LOOK));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // A state that cannot be read is one that does not change.
        let Ok(status) = control.status() else { continue };
        match watch.look(&status, control.renewed(), Instant::now()) {
            Due::Nothing => {}
            Due::Agents => {
                info!("the capture has ended: removing its agents");
                persist("the agents", async || cluster::open()?.remove_agents(pod).await).await;
            }
            Due::Everything => {
                info!("nobody fetched the files in time: removing the session {}", pod.session);
                return persist("the session", async || remove(pod).await).await;
            }
        }
    }
}

async fn remove(pod: &Pod) -> Result<(), Trouble> {
    let cluster: Cluster = cluster::open()?;
    cluster.remove_agents(pod).await?;
    cluster.remove_rest(pod).await
}

/// Tries until it works, or is forbidden.
async fn persist(what: &str, mut attempt: impl AsyncFnMut() -> Result<(), Trouble>) {
    let mut pause = SOON;
    loop {
        match attempt().await {
            Ok(()) => return info!("removed {what}"),
            Err(Trouble::Forbidden(why)) => return warn!("may not remove {what}: {why}"),
            Err(Trouble::Passing(why)) => warn!("cannot remove {what} yet: {why}"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LATER);
    }
}
