//! The nodes on which agents run, where that is not all of them.

use std::collections::BTreeSet;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::cluster::{self, Trouble};

/// A DaemonSet for no node has the name of one that cannot be.
const NO_NODE: &str = "none.invalid";

/// Has agents run on these nodes and no others. The DaemonSet is one that replaces no pod when its template changes, so that agents
/// on nodes that stay continue.
///
/// # Errors
/// The API server does not answer, or refuses.
pub(crate) async fn run_on(namespace: &str, nodes: &BTreeSet<String>) -> Result<(), String> {
    let set = async { cluster::open()?.change_agents(namespace, &placement(nodes)).await };
    set.await.map_err(|trouble| match trouble {
        Trouble::Passing(why) | Trouble::Forbidden(why) => why,
    })
}

/// The part of the DaemonSet that names the nodes. Terms are alternatives, and each may have one name only.
fn placement(nodes: &BTreeSet<String>) -> Value {
    let none = [NO_NODE.to_owned()].into();
    let nodes = if nodes.is_empty() { &none } else { nodes };
    let term = |node: &String| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    let terms: Vec<Value> = nodes.iter().map(term).collect();
    let affinity =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    json!({"spec": {"template": {"spec": {"affinity": affinity}}}})
}

impl cluster::Cluster {
    /// Changes the DaemonSet.
    async fn change_agents(&self, namespace: &str, change: &Value) -> Result<(), Trouble> {
        let agents = self.agents(namespace);
        let patched = agents.patch(cluster::NAME, &PatchParams::default(), &Patch::Merge(change)).await;
        patched.map(drop).map_err(|error| cluster::agents_trouble(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_a_term_and_no_node_is_one_that_cannot_be() {
        let values = |nodes: &[&str]| {
            let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
            let affinity = placement(&nodes)["spec"]["template"]["spec"]["affinity"]["nodeAffinity"].take();
            let terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone();
            let value = |term: &Value| term["matchFields"][0]["values"].to_string();
            terms.as_array().unwrap().iter().map(value).collect::<Vec<_>>()
        };
        assert_eq!(values(&["b", "a"]), [r#"["a"]"#, r#"["b"]"#]);
        assert_eq!(values(&[]), [r#"["none.invalid"]"#]);
    }
}
