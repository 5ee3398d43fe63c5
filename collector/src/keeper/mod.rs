//! The pod's keeper: waits next to a capture, keeps its files for a while, and then removes what the session made, so that nothing
//! outlives a user who is gone. It is what `sleep infinity` does in a session's pod, and what a capture in the background becomes.

pub(crate) mod agents;
mod cluster;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::control::{Control, Phase};
use crate::files;
use crate::signals::Signals;
use cluster::{Cluster, Trouble};
use watch::{Due, Watch};

/// How often the capture is checked.
const LOOK: Duration = Duration::from_secs(1);
/// Between attempts to remove something: at first, and at most.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(30);
/// How long files are kept when the capture did not set it.
const KEEP: Duration = Duration::from_secs(3600);
/// Longest times to finish the files, to ask for them, and to fetch them, when the pod is being removed: it has a minute.
const FINISHING: Duration = Duration::from_secs(20);
const ASKING: Duration = Duration::from_secs(5);
const FETCHING: Duration = Duration::from_secs(30);
const SHORT_LOOK: Duration = Duration::from_millis(100);
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
    /// The settings in the environment; `None` outside a session's pod.
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
        _ = signals.next() => tokio::select! {
            () = leave(&pod) => {}
            _ = signals.next() => {}
        },
    }
    Ok(())
}

/// The pod is being removed, and with it the files: a capture that runs is finished, and its user has a moment to fetch them.
async fn leave(pod: &Pod) {
    let control = Control::of(&pod.output);
    let captures = || control.status().is_ok_and(|status| status.state == Phase::Capturing);
    if !captures() {
        return;
    }
    warn!("the pod is being removed: finishing the capture");
    if let Err(error) = control.ask_to_finish_with_the_pod() {
        return warn!("cannot finish the capture: {error}");
    }
    if !wait_while(FINISHING, captures).await {
        return warn!("the capture still writes its files, which go with the pod");
    }
    last_fetch(pod).await;
}

/// The pod of a finished capture in the background is being removed: its agents go, and its user has a moment to fetch the files.
pub async fn keep_for_the_last_fetch(pod: Pod) {
    tokio::select! {
        () = work(&pod) => {}
        () = last_fetch(&pod) => {}
    }
}

async fn last_fetch(pod: &Pod) {
    let control = Control::of(&pod.output);
    let files: BTreeSet<String> = match files::list(&pod.output, false) {
        Ok(files) => files.into_iter().map(|file| file.path).collect(),
        Err(error) => return warn!("{error}"),
    };
    // A user who is there asks for the list at once.
    let asked = wait_while(ASKING, || control.fetched().is_none()).await;
    let missing = || !control.fetched().is_some_and(|fetched| fetched.is_superset(&files));
    if !asked || !wait_while(FETCHING, missing).await {
        warn!("the files were not fetched and are removed with the pod");
    }
}

/// Waits while something is so; false when it still is after this time.
async fn wait_while(longest: Duration, is_so: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while is_so() {
        if start.elapsed() > longest {
            return false;
        }
        sleep(SHORT_LOOK).await;
    }
    true
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
                info!("the files were not fetched in time: removing the session {}", pod.session);
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
