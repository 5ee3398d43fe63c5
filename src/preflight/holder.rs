//! Who has the namespace: nobody, a session that is over, a session that is alive, or something else altogether.

use serde_json::Value;

use super::PreflightError;
use crate::oc::{Call, Oc, OcError, SESSION};
use crate::options::Settings;

/// The session that a namespace was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub session: String,
    /// user@host.
    pub by: String,
    /// RFC 3339.
    pub since: String,
    /// The namespace is on its way out.
    pub going: bool,
}

impl Holder {
    /// The holder of a namespace; `None` when this program did not make it.
    #[must_use]
    pub fn of(namespace: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
        let notes = &namespace["metadata"]["annotations"];
        Some(Self {
            session: namespace["metadata"]["labels"][SESSION].as_str()?.to_owned(),
            by: text(&notes["netobserv.io/by"]),
            since: text(&notes["netobserv.io/started"]),
            going: namespace["metadata"]["deletionTimestamp"].is_string(),
        })
    }

    /// For messages.
    #[must_use]
    pub fn told(&self) -> String {
        format!("It holds session {} of {}, since {}", self.session, self.by, self.since)
    }

    /// Something of it still works: agents, or a collector with files.
    ///
    /// # Errors
    ///
    /// The cluster does not say.
    pub fn is_alive(&self, oc: &Oc, namespace: &str) -> Result<bool, OcError> {
        let workload: Option<Value> = oc.json(&Call::workload(namespace))?;
        let items = workload.as_ref().and_then(|list| list["items"].as_array());
        let over = |item: &Value| matches!(item["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        Ok(items.is_some_and(|items| items.iter().any(|item| !over(item))))
    }
}

/// What is left of a session that is over, if anything is there at all.
pub(super) fn judge(oc: &Oc, settings: &Settings, namespace: Option<Value>) -> Result<Option<Holder>, PreflightError> {
    let name = settings.access.namespace.as_str();
    let Some(namespace) = namespace else { return Ok(None) };
    if namespace["metadata"]["name"].as_str() != Some(name) {
        return Err(oc.garbage(&Call::namespace(name), "this is not the namespace").into());
    }
    let holder = Holder::of(&namespace).ok_or_else(|| PreflightError::Foreign(name.to_owned()))?;
    if !holder.going && holder.is_alive(oc, name)? {
        let told = holder.told();
        return Err(PreflightError::Held { namespace: name.to_owned(), cli: oc.name(), holder: told });
    }
    Ok(Some(holder))
}
