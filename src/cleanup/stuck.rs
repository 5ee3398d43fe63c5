//! Pods that do not end: their node has stopped, and the cluster keeps them until a user confirms that they are not coming back.

use serde_json::Value;

use crate::oc::{Call, Oc};
use crate::progress::{Progress, warn};

/// What became of pods that did not end in time.
pub(super) enum Pods {
    /// They are gone from the cluster.
    Freed,
    /// They stay; which, and why.
    Stuck(String),
    /// The cluster does not report it.
    Unknown,
}

/// Removes the pods of a session from the cluster when their nodes are out of reach. That is safe: none of them has a name or a
/// volume that another would take over, and what still runs on such a node ends by itself, or with the node's return.
pub(super) fn free(oc: &Oc, namespace: &str, session: &str, progress: Progress) -> Pods {
    let pods = match oc.json::<Value>(&Call::rollout(namespace, session)) {
        Ok(list) => stuck_pods(&list.unwrap_or_default()),
        Err(_) => return Pods::Unknown,
    };
    if pods.is_empty() {
        return Pods::Unknown;
    }
    let mut all = Vec::new();
    for (pod, node) in &pods {
        let Some(trouble) = oc.node_trouble(node) else {
            return Pods::Stuck(format!("pod {pod} on node {node}, which does not terminate"));
        };
        all.push(format!("pod {pod}: {trouble}"));
    }
    let all = all.join(", ");
    warn(&format!("warning: {all}; anything still running there ends by itself, or when the node is back"));
    match oc.run(&Call::forget_pods(namespace, session)) {
        Ok(answer) => {
            progress.answer(&answer);
            Pods::Freed
        }
        Err(error) => {
            warn(&format!("warning: {error}"));
            Pods::Stuck(all)
        }
    }
}

/// Names and nodes of the pods that were asked to end.
fn stuck_pods(list: &Value) -> Vec<(String, String)> {
    let items = list["items"].as_array().into_iter().flatten();
    let stuck = items.filter(|item| item["kind"] == "Pod" && item["metadata"]["deletionTimestamp"].is_string());
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    stuck.map(|pod| (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]))).collect()
}
