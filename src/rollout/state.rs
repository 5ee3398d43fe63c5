//! How far the objects of a session are, read from their status.

use std::fmt;

use serde_json::Value;

use super::is_collector;

/// Reasons for which a container waits, and which no waiting will change.
const HOPELESS: [&str; 7] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];
/// Reasons that belong to a good start.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// How far everything is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The DaemonSet has been looked at by its controller.
    observed: bool,
    /// Agents that there should be.
    pub(super) desired: u64,
    /// Agents that work.
    pub(super) ready: u64,
    /// Agents that there are, working or not.
    pods: usize,
    /// The collector works.
    collector: bool,
    /// Nodes whose agent neither works nor reports why not.
    pub(super) silent: Vec<String>,
    /// What keeps the others.
    pub(super) troubles: Vec<Trouble>,
}

/// Why a pod does not run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Its name.
    pub(super) pod: String,
    node: String,
    reason: String,
    message: String,
    /// Waiting does not help.
    pub(super) hopeless: bool,
    /// Its log may have more.
    pub(super) crashed: bool,
}

impl State {
    /// Reads DaemonSet and pods.
    pub(super) fn of(items: &[Value]) -> Self {
        let mut state = Self::default();
        for item in items {
            match item["kind"].as_str() {
                Some("DaemonSet") => {
                    let (status, generation) = (&item["status"], &item["metadata"]["generation"]);
                    state.observed = status["observedGeneration"].as_u64() >= generation.as_u64();
                    state.desired = status["desiredNumberScheduled"].as_u64().unwrap_or(0);
                    state.ready = status["numberReady"].as_u64().unwrap_or(0);
                }
                Some("Pod") => {
                    let name = item["metadata"]["name"].as_str().unwrap_or_default();
                    state.pods += usize::from(!is_collector(name));
                    state.collector |= is_collector(name) && is_ready(item);
                    match trouble(item) {
                        Some(trouble) => state.troubles.push(trouble),
                        None if is_collector(name) || is_ready(item) => {}
                        None => state.silent.extend(item["spec"]["nodeName"].as_str().map(str::to_owned)),
                    }
                }
                _ => {}
            }
        }
        state.observed &= state.desired > 0 || items.iter().any(|item| item["status"]["observedGeneration"].is_u64());
        state
    }

    /// Nothing is missing.
    pub(super) fn is_done(&self) -> bool {
        self.observed
            && self.collector
            && self.ready >= self.desired
            && !self.troubles.iter().any(|trouble| trouble.hopeless)
    }

    /// Nothing is missing but the agents of nodes that are silent.
    pub(super) fn is_done_but_for_silent_nodes(&self) -> bool {
        let silent = self.silent.len() as u64;
        self.collector
            && self.ready > 0
            && silent > 0
            && self.ready + silent >= self.desired
            && self.troubles.is_empty()
    }

    /// All agents work, and the collector does not.
    pub(super) fn lacks_only_the_collector(&self) -> bool {
        self.observed && self.ready >= self.desired && !self.collector
    }

    /// There should be agents, and there is none.
    pub(super) fn has_no_pods(&self) -> bool {
        self.observed && self.desired > 0 && self.pods == 0
    }

    /// The state with its reasons, as the original wrote it.
    pub(super) fn line(&self) -> String {
        let mut reasons: Vec<String> = self.troubles.iter().map(Trouble::to_string).collect();
        reasons.dedup();
        reasons.truncate(3);
        if reasons.is_empty() { self.to_string() } else { format!("{self}. Reason(s): {}", reasons.join("; ")) }
    }
}

impl State {
    /// The state for a person: how many nodes are ready, and the first one that is not.
    pub(super) fn words(&self) -> String {
        let ready = format!("Starting the agents: {} of {} nodes ready", self.ready, self.desired);
        let of_agent = |trouble: &&Trouble| !is_collector(&trouble.pod);
        match (self.troubles.iter().find(of_agent), self.silent.first()) {
            (Some(trouble), _) => format!("{ready}, waiting for {trouble}"),
            (None, Some(node)) => format!("{ready}, waiting for {node}"),
            (None, None) if self.lacks_only_the_collector() => format!("{ready}, waiting for the collector"),
            (None, None) => ready,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} Ready", self.ready, self.desired)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.node.is_empty() { self.pod.clone() } else { format!("{} on {}", self.pod, self.node) };
        write!(f, "{place}: {}", self.reason)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, " ({})", self.message) }
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// What keeps a pod from running, if anything does.
fn trouble(pod: &Value) -> Option<Trouble> {
    let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
    let made = |reason: &Value, message: &Value, hopeless, crashed| {
        let (pod, node) = (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]));
        Some(Trouble { pod, node, reason: text(reason), message: text(message), hopeless, crashed })
    };
    let status = &pod["status"];
    let containers = |list: &str, first| status[list].as_array().into_iter().flatten().map(move |one| (one, first));
    for (container, is_first) in containers("initContainerStatuses", true).chain(containers("containerStatuses", false))
    {
        let (waiting, ended) = (&container["state"]["waiting"], &container["state"]["terminated"]);
        let last = &container["lastState"]["terminated"];
        let reason = waiting["reason"].as_str().unwrap_or_default();
        if reason == "CrashLoopBackOff" {
            let message = if last["message"].is_string() { &last["message"] } else { &waiting["message"] };
            return made(&waiting["reason"], message, true, true);
        }
        if !reason.is_empty() && !USUAL.contains(&reason) {
            return made(&waiting["reason"], &waiting["message"], HOPELESS.contains(&reason), false);
        }
        // A container that prepares the pod is to end.
        if ended.is_object() && !(is_first && ended["exitCode"] == 0) {
            return made(&ended["reason"], &ended["message"], true, true);
        }
    }
    if status["phase"] == "Failed" {
        return made(&status["reason"], &status["message"], true, true);
    }
    let conditions = status["conditions"].as_array();
    let unscheduled = |condition: &&Value| condition["type"] == "PodScheduled" && condition["status"] == "False";
    conditions?
        .iter()
        .find(unscheduled)
        .and_then(|condition| made(&condition["reason"], &condition["message"], false, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(desired: u64, ready: u64) -> Value {
        json!({"kind": "DaemonSet", "metadata": {"generation": 1},
               "status": {"observedGeneration": 1, "desiredNumberScheduled": desired, "numberReady": ready}})
    }

    fn collector() -> Value {
        json!({"kind": "Pod", "metadata": {"name": "collector"},
               "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    }

    fn pod(status: &Value) -> Value {
        json!({"kind": "Pod", "metadata": {"name": "netobserv-cli-x"}, "spec": {"nodeName": "worker-1"}, "status": status})
    }

    #[test]
    fn a_person_reads_which_node_is_slow() {
        let slow = pod(&json!({"conditions": [{"type": "Ready", "status": "False"}]}));
        let words = |items: &[Value]| State::of(items).words();
        assert_eq!(words(&[set(3, 2), slow]), "Starting the agents: 2 of 3 nodes ready, waiting for worker-1");
        let pull =
            "Starting the agents: 2 of 3 nodes ready, waiting for netobserv-cli-x on worker-1: ImagePullBackOff (why)";
        assert_eq!(words(&[set(3, 2), waiting("ImagePullBackOff")]), pull);
        assert_eq!(words(&[set(3, 3)]), "Starting the agents: 3 of 3 nodes ready, waiting for the collector");
        assert_eq!(words(&[set(3, 3), collector()]), "Starting the agents: 3 of 3 nodes ready");
    }

    fn waiting(reason: &str) -> Value {
        pod(&json!({"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "why"}}}]}))
    }

    #[test]
    fn a_set_that_nobody_has_looked_at_is_not_done() {
        let fresh =
            json!({"kind": "DaemonSet", "metadata": {"generation": 1}, "status": {"desiredNumberScheduled": 0}});
        assert!(!State::of(&[fresh]).is_done());
        assert!(!State::of(&[]).is_done());
        assert!(State::of(&[set(0, 0), collector()]).is_done());
        assert!(!State::of(&[set(2, 1), collector()]).is_done());
        assert!(!State::of(&[set(2, 2)]).is_done());
        assert!(State::of(&[set(2, 2), collector()]).is_done());
    }

    #[test]
    fn a_silent_node_is_known() {
        let silent = pod(&json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}));
        let state = State::of(&[set(2, 1), collector(), silent.clone()]);
        assert!(!state.is_done() && state.is_done_but_for_silent_nodes());
        assert_eq!(state.silent, ["worker-1"]);
        assert!(!State::of(&[set(1, 0), collector(), silent.clone()]).is_done_but_for_silent_nodes());
        assert!(!State::of(&[set(3, 1), collector(), silent.clone()]).is_done_but_for_silent_nodes());
        assert!(!State::of(&[set(2, 1), silent]).is_done_but_for_silent_nodes());
        assert!(!State::of(&[set(2, 1), collector(), waiting("ErrImagePull")]).is_done_but_for_silent_nodes());
    }

    #[test]
    fn reasons_are_told_and_judged() {
        for (reason, hopeless) in [("ImagePullBackOff", true), ("ErrImagePull", false), ("CrashLoopBackOff", true)] {
            let state = State::of(&[set(2, 1), waiting(reason)]);
            assert_eq!(state.line(), format!("1/2 Ready. Reason(s): netobserv-cli-x on worker-1: {reason} (why)"));
            assert_eq!(state.troubles[0].hopeless, hopeless, "{reason}");
        }
        assert_eq!(State::of(&[set(2, 1), waiting("ContainerCreating")]).line(), "1/2 Ready");
    }

    #[test]
    fn a_pod_without_a_node_says_why() {
        let conditions = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                                "message": "0/3 nodes are available"}]});
        let line = State::of(&[set(1, 0), pod(&conditions)]).line();
        assert!(line.ends_with("Unschedulable (0/3 nodes are available)"), "{line}");
    }

    #[test]
    fn a_program_that_ended_is_a_crash() {
        let ended = pod(&json!({"containerStatuses": [{"state": {"terminated": {"reason": "Error", "exitCode": 1}}}]}));
        let state = State::of(&[set(1, 0), ended]);
        assert!(state.troubles[0].hopeless && state.troubles[0].crashed);
    }

    #[test]
    fn a_container_before_the_others_may_fail_and_is_to_end() {
        let first = |state: Value| State::of(&[set(1, 0), pod(&json!({"initContainerStatuses": [{"state": state}]}))]);
        assert!(first(json!({"terminated": {"reason": "Completed", "exitCode": 0}})).troubles.is_empty());
        assert!(first(json!({"running": {}})).troubles.is_empty());
        let failed = first(json!({"waiting": {"reason": "RunContainerError", "message": "/bin/sh: not found"}}));
        assert!(failed.troubles[0].hopeless, "{failed:?}");
    }

    #[test]
    fn a_refused_set_has_no_pods() {
        assert!(State::of(&[set(2, 0)]).has_no_pods());
        assert!(!State::of(&[set(2, 0), waiting("ContainerCreating")]).has_no_pods());
    }
}
