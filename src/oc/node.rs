//! The state of a node.

use serde_json::Value;

use super::{Call, Oc};

impl Oc {
    /// Why a node is out of reach, if the cluster knows that it is.
    pub(crate) fn node_trouble(&self, node: &str) -> Option<String> {
        let Some(found) = self.json::<Value>(&Call::node(node)).ok()? else {
            return Some(format!("node {node} is gone"));
        };
        let mut conditions = found["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.find(|condition| condition["type"] == "Ready")?;
        (ready["status"] != "True").then(|| format!("node {node} is not ready"))
    }
}
