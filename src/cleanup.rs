//! Removes what a session has made, and nothing else: every deletion names the label of the session. Safe to repeat, and
//! safe to begin with half of it gone.

use std::time::Duration;

use crate::oc::{Call, Oc, OcError};
use crate::say::{self, Steps};

mod command;

pub use command::{CommandError, cleanup};

const CLUSTER_ROLES: &str = "clusterrolebinding,clusterrole";
const SCC: &str = "securitycontextconstraints";

/// Something is left.
#[derive(Debug, thiserror::Error)]
#[error(
    "left in the cluster: {}; '{cli} netobserv cleanup{option}' removes it when the cluster answers. {reason}",
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
    scc: bool,
    timeout: Duration,
    steps: Steps,
) -> Result<(), CleanupError> {
    steps.say("Cleaning up... ");
    let delete = |kinds, namespace| Call::delete(kinds, namespace, session, timeout);
    let mut all = vec![
        ("Deleting daemonset... ", delete("daemonset", Some(namespace)), "the agents"),
        ("Deleting pod... ", delete("pod", Some(namespace)), "the collector"),
        ("Deleting cluster roles... ", delete(CLUSTER_ROLES, None), "cluster roles"),
    ];
    if scc {
        all.push(("Deleting security context constraints... ", delete(SCC, None), "security context constraints"));
    }
    all.push(("Deleting namespace... ", delete("namespace", None), "the namespace"));
    let mut left = Vec::new();
    let mut reason = None;
    for (line, call, what) in all {
        if let Err(error) = one(oc, line, &call, steps) {
            left.push(if what == "the namespace" { format!("namespace {namespace}") } else { what.to_owned() });
            reason.get_or_insert(error);
        }
    }
    let option = if namespace == crate::plan::DEFAULT_NAMESPACE { String::new() } else { format!(" -n {namespace}") };
    reason.map_or(Ok(()), |reason| Err(CleanupError { left, cli: oc.name(), option, reason: Box::new(reason) }))
}

fn one(oc: &Oc, line: &str, call: &Call, steps: Steps) -> Result<(), OcError> {
    steps.say(line);
    let bar = say::spinner(line.trim_end());
    let answer = oc.run(call);
    bar.finish_and_clear();
    steps.answer(answer.as_deref().unwrap_or_default());
    answer.map(drop)
}
