//! What became of a collector whose program was killed: in a pod that is still there, the capture is started once more and continues;
//! of one that is not, the cluster knows why.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Session;
use crate::oc::{COLLECTOR, Call, Oc, OcError};
use crate::plan::Kind;
use crate::process::Ending;
use crate::process::job::Done;
use crate::progress::warn;

/// A collector that is killed more often than this would be killed again.
const MOST: u32 = 5;
/// Longest time until a container runs again: the cluster puts it off for longer each time.
const LONGEST: Duration = Duration::from_secs(60);
/// How often the pod is checked.
const LOOK: Duration = Duration::from_millis(500);
/// How a shell reports a program that a signal ended that no user sends: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV.
pub(super) const KILLED: [i32; 7] = [132, 133, 134, 135, 136, 137, 139];
/// As the collector reports it.
const KILLED_REASON: &str = "the collector was killed";

/// What the cluster reports of the collector's pod.
#[derive(Debug, PartialEq, Eq)]
enum Pod {
    /// It is deleted, or being deleted.
    Deleted,
    /// It has ended: why.
    Ended(String),
    /// Its container runs. The one before was killed for want of memory.
    Runs { out_of_memory: bool },
    /// It does not run now.
    Waits,
}

impl Pod {
    fn of(workload: &Value) -> Self {
        let items = workload["items"].as_array().into_iter().flatten();
        let is_it = |item: &&Value| item["metadata"]["name"] == COLLECTOR && item["kind"] != "DaemonSet";
        let Some(pod) = items.into_iter().find(is_it) else { return Self::Deleted };
        if pod["metadata"]["deletionTimestamp"].is_string() {
            return Self::Deleted;
        }
        let (status, container) = (&pod["status"], &pod["status"]["containerStatuses"][0]);
        if matches!(status["phase"].as_str(), Some("Failed" | "Succeeded")) {
            let reasons = [&status["reason"], &status["message"], &container["state"]["terminated"]["reason"]];
            let reasons: Vec<&str> =
                reasons.into_iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).collect();
            return Self::Ended(reasons.join(": "));
        }
        let ended = |state: &str| container[state]["terminated"]["reason"] == "OOMKilled";
        match container["ready"] == false {
            true => Self::Waits,
            false => Self::Runs { out_of_memory: ended("lastState") || ended("state") },
        }
    }
}

/// Whether the capture is to be started once more: its program was killed, and its pod is there with the files.
pub(super) fn restart(session: &Session<'_>, done: &Done, kills: &mut u32) -> bool {
    let killed = matches!(done.ending, Ending::Code(code) if KILLED.contains(&code));
    // A stream of packets that has begun cannot begin again.
    let is_stream = session.settings.data_on_stdout && session.plan.command == Kind::Packets;
    if !killed || is_stream || *kills >= MOST || !is_there(session) {
        return false;
    }
    *kills += 1;
    warn("warning: the collector was killed; restarting it: flows and packets may be missing");
    true
}

/// Waits until the pod runs, and asks it for the capture.
fn is_there(session: &Session<'_>) -> bool {
    let (oc, namespace, start) = (session.oc.quiet(), session.plan.namespace.as_str(), Instant::now());
    let longest = LONGEST.min(session.settings.access.timeout);
    let renew = Call::collector("renew the session", namespace, &["renew"]);
    loop {
        match probe(&oc, namespace) {
            Some(Pod::Deleted | Pod::Ended(_)) | None => return false,
            Some(Pod::Waits) => {}
            Some(Pod::Runs { .. }) => match oc.json::<Value>(&renew) {
                Ok(status) => return status.is_some_and(|status| status["reason"] == KILLED_REASON),
                // The cluster hears of a container's end a moment later.
                Err(OcError::Failed(_)) => {}
                Err(_) => return false,
            },
        }
        if start.elapsed() > longest || oc.rest(LOOK, "check whether the collector runs again").is_err() {
            return false;
        }
    }
}

fn probe(oc: &Oc, namespace: &str) -> Option<Pod> {
    let workload: Option<Value> = oc.json(&Call::workload(namespace)).ok()?;
    workload.as_ref().map(Pod::of)
}

/// Why a collector was killed, as far as the cluster knows.
pub(super) fn why(session: &Session<'_>) -> String {
    match probe(&session.oc.quiet(), &session.plan.namespace) {
        Some(Pod::Deleted) => "the pod of the collector was deleted".to_owned(),
        Some(Pod::Ended(why)) if !why.is_empty() => format!("the pod of the collector was ended: {why}"),
        Some(Pod::Runs { out_of_memory: true }) => "killed, because it ran out of memory".to_owned(),
        _ => "killed, often because it ran out of memory".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_pod_says_what_became_of_it() {
        let pod = |metadata: Value, status: Value| {
            let mut metadata = metadata;
            metadata["name"] = "collector".into();
            Pod::of(&json!({"items": [{"kind": "Pod", "metadata": metadata, "status": status}]}))
        };
        assert_eq!(Pod::of(&json!({"items": []})), Pod::Deleted);
        assert_eq!(
            pod(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), json!({"phase": "Running"})),
            Pod::Deleted
        );
        let evicted =
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
        let wanted = Pod::Ended("Evicted: The node was low on resource: memory.".to_owned());
        assert_eq!(pod(json!({}), evicted), wanted);
        let container = |container: Value| json!({"phase": "Running", "containerStatuses": [container]});
        assert_eq!(pod(json!({}), container(json!({"ready": false}))), Pod::Waits);
        let again = json!({"ready": true, "lastState": {"terminated": {"reason": "OOMKilled"}}});
        assert_eq!(pod(json!({}), container(again)), Pod::Runs { out_of_memory: true });
        assert_eq!(pod(json!({}), json!({"phase": "Running"})), Pod::Runs { out_of_memory: false });
    }
}
