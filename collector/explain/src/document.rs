//! Objects of a cluster as text: JSON or YAML, one document or several.

use serde_json::Value;

/// Objects that are not those of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The text is no JSON or YAML.
    #[error("it is neither JSON nor YAML: {0}")]
    Unreadable(String),
    /// An object is not as its kind has to be.
    #[error("{kind} {name}: {why}")]
    Malformed {
        /// Its kind.
        kind: String,
        /// Its namespace and name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The documents of a text.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, ClusterError> {
    // YAML contains JSON, but a list of a large cluster is read ten times as fast as what it is.
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map(|one| vec![one]).map_err(|e| ClusterError::Unreadable(e.to_string()));
    }
    serde_saphyr::from_multiple(text).map_err(|error| ClusterError::Unreadable(error.to_string()))
}

/// An object of a known kind.
pub(crate) fn read<T: serde::de::DeserializeOwned>(object: Value) -> Result<T, ClusterError> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let part = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
    let name = [part("namespace"), part("name")].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
    let name = name.join("/");
    serde_json::from_value(object).map_err(|why| ClusterError::Malformed { kind, name, why: why.to_string() })
}
