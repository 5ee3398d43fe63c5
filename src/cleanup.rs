//! Removes what a session has made, and nothing else: every deletion names the label of the session. Safe to repeat, and
//! safe to begin with half of it gone.

use std::time::Duration;

use crate::oc::{Call, DASHBOARDS, Oc, OcError};
use crate::progress::{self, Progress};

mod command;
mod stuck;

use stuck::Pods;

pub use command::{CommandError, cleanup};

const CLUSTER_ROLES: &str = "clusterrolebinding,clusterrole";
const SCC: &str = "securitycontextconstraints";
const DASHBOARD: &str = "configmap";
/// Longest wait for pods: more than the time that the collector's has to end.
const PODS: Duration = Duration::from_secs(75);
/// Longest wait for a namespace whose pods have been waited for.
const AFTER_STUCK_PODS: Duration = Duration::from_secs(2);

/// What a session may have made outside its namespace, besides cluster roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// Security context constraints.
    pub scc: bool,
    /// A dashboard in the console.
    pub dashboard: bool,
}

/// Something is left.
#[derive(Debug, thiserror::Error)]
#[error(
    "left in the cluster: {}; '{cli} netobserv cleanup{option}' removes it when the cluster responds. {reason}",
    left.join(", ")
)]
pub struct CleanupError {
    left: Vec<String>,
    cli: &'static str,
    /// ` -n NAMESPACE` when it is not the usual one.
    option: String,
    reason: Box<OcError>,
}

/// Removes everything of one session. What fails does not keep the rest from going.
///
/// # Errors
///
/// Something is left.
pub fn session(
    oc: &Oc,
    namespace: &str,
    session: &str,
    kinds: Kinds,
    timeout: Duration,
    progress: Progress,
) -> Result<(), CleanupError> {
    progress.print("Cleaning up... ");
    let delete = |kinds, namespace, time| Call::delete(kinds, namespace, session, time);
    let mut left = Left::default();
    let daemonset = delete("daemonset", Some(namespace), timeout);
    left.note(one(oc, "Deleting daemonset... ", &daemonset, progress), "the agents");
    let mut rest = timeout;
    if let Err(error) = one(oc, "Deleting pod... ", &delete("pod", Some(namespace), timeout.min(PODS)), progress) {
        match stuck::free(oc, namespace, session, progress) {
            Pods::Freed => {}
            Pods::Stuck(what) => {
                // A namespace goes with its pods, and those have been waited for.
                rest = timeout.min(AFTER_STUCK_PODS);
                left.note(Err(error), &what);
            }
            Pods::Unknown => left.note(Err(error), "the collector"),
        }
    }
    left.note(one(oc, "Deleting cluster roles... ", &delete(CLUSTER_ROLES, None, timeout), progress), "cluster roles");
    if kinds.dashboard {
        let done = one(oc, "Deleting dashboard... ", &delete(DASHBOARD, Some(DASHBOARDS), timeout), progress);
        left.note(done, "the dashboard in the console");
    }
    if kinds.scc {
        let call = delete(SCC, None, timeout);
        let done = one(oc, "Deleting security context constraints... ", &call, progress);
        left.note(done, "security context constraints");
    }
    let done = one(oc, "Deleting namespace... ", &delete("namespace", None, rest), progress);
    left.note(done, &format!("namespace {namespace}"));
    left.outcome(oc.name(), namespace)
}

/// What could not be removed, and the first reason.
#[derive(Default)]
struct Left {
    what: Vec<String>,
    reason: Option<OcError>,
}

impl Left {
    fn note(&mut self, done: Result<(), OcError>, what: &str) {
        if let Err(error) = done {
            self.what.push(what.to_owned());
            self.reason.get_or_insert(error);
        }
    }

    fn outcome(self, cli: &'static str, namespace: &str) -> Result<(), CleanupError> {
        let Some(reason) = self.reason else { return Ok(()) };
        let usual = namespace == crate::plan::DEFAULT_NAMESPACE;
        let option = if usual { String::new() } else { format!(" -n {namespace}") };
        Err(CleanupError { left: self.what, cli, option, reason: Box::new(reason) })
    }
}

fn one(oc: &Oc, line: &str, call: &Call, progress: Progress) -> Result<(), OcError> {
    progress.print(line);
    let bar = progress::spinner(line.trim_end());
    let answer = oc.run(call);
    bar.finish_and_clear();
    progress.answer(answer.as_deref().unwrap_or_default());
    answer.map(drop)
}
