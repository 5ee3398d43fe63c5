//! What a dry run takes for the answers of the cluster: those of OpenShift to an administrator, for whom all goes well. The session
//! runs on them unchanged, so that what is printed are its own calls.

use serde_json::json;

/// The groups of the API.
pub(super) const OPENSHIFT: &str = r#"{"groups":[{"name":"config.openshift.io"},
    {"name":"monitoring.coreos.com"},{"name":"security.openshift.io"}]}"#;
/// A version that is new enough for everything.
pub(super) const VERSION: &str = r#"{"status":{"history":[{"state":"Completed","version":"4.999.0"}]}}"#;
/// Every right.
pub(super) const ADMINISTRATOR: &str = "*.*   []   []   [*]";
/// What `--get-subnets` finds.
pub(super) const MACHINES: &str = r#"{"networking":{"machineNetwork":[{"cidr":"CIDR"}]}}"#;
pub(super) const NETWORKS: &str = r#"{"spec":{"clusterNetwork":[{"cidr":"CIDR"}],"serviceNetwork":["CIDR"]}}"#;
/// An agent and the collector, at work, and as they are when they wait for a program.
pub(super) const READY: &str = r#"{"items":[
    {"kind":"DaemonSet","metadata":{"generation":1},
     "status":{"observedGeneration":1,"desiredNumberScheduled":1,"numberReady":1}},
    {"kind":"Pod","metadata":{"name":"POD","uid":"1"},"status":{"phase":"Running",
     "conditions":[{"type":"Ready","status":"True"}],
     "initContainerStatuses":[{"name":"programs","state":{"running":{}}}]}},
    {"kind":"Pod","metadata":{"name":"collector","uid":"2"},"status":{"phase":"Running",
     "conditions":[{"type":"Ready","status":"True"}],
     "initContainerStatuses":[{"name":"programs","state":{"running":{}}}]}}]}"#;

/// A namespace with a capture of this person.
pub(super) fn held(namespace: &str, by: &str) -> String {
    let labels = json!({ super::SESSION: "SESSION" });
    let notes = json!({"netobserv.io/by": by, "netobserv.io/started": "unknown"});
    json!({"metadata": {"name": namespace, "labels": labels, "annotations": notes}}).to_string()
}
