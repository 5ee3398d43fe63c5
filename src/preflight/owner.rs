//! What has the namespace: nothing, a session that is over, a session that is alive, or something else altogether.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use netobserv_contract::plain;
use serde_json::Value;

use super::PreflightError;
use crate::oc::{Call, Oc, OcError, SESSION};
use crate::options::Settings;
use crate::plan::Kind;
use crate::progress::Progress;

/// From the namespace to the agents a setup takes a few calls, each of a second or more on a slow line.
const SETTING_UP: Duration = Duration::from_secs(20);
/// How often a session that may be in its setup is checked.
const LOOK: Duration = Duration::from_millis(500);
/// A session that began longer ago than this is not in its setup. Clocks of two users may differ by less.
const YOUNG: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

/// The session that a namespace was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceOwner {
    /// Its id.
    pub session: String,
    /// user@host.
    pub by: String,
    /// RFC 3339.
    pub since: String,
    /// The namespace is being deleted.
    pub going: bool,
    /// It is a capture of metrics.
    pub of_metrics: bool,
}

impl NamespaceOwner {
    /// The holder of a namespace; `None` when this program did not make it.
    #[must_use]
    pub fn of(namespace: &Value) -> Option<Self> {
        // Anybody who may change the namespace wrote these: each stays in its line.
        let text = |value: &Value| plain::line(value.as_str().unwrap_or("unknown")).into_owned();
        let notes = &namespace["metadata"]["annotations"];
        Some(Self {
            session: plain::line(namespace["metadata"]["labels"][SESSION].as_str()?).into_owned(),
            by: text(&notes["netobserv.io/by"]),
            since: text(&notes["netobserv.io/started"]),
            going: namespace["metadata"]["deletionTimestamp"].is_string(),
            of_metrics: text(&notes["netobserv.io/command"]).starts_with(Kind::Metrics.word()),
        })
    }

    /// For messages.
    #[must_use]
    pub fn description(&self) -> String {
        format!("It contains session {} of {}, since {}", self.session, self.by, self.since)
    }

    /// It began a moment ago, as far as two clocks can show.
    #[must_use]
    pub fn is_young(&self, now: DateTime<Utc>) -> bool {
        let since = DateTime::parse_from_rfc3339(&self.since);
        since.is_ok_and(|since| (now - since.to_utc()).abs() < YOUNG)
    }

    /// Something of it still works: agents, or a collector with files.
    ///
    /// # Errors
    ///
    /// The cluster does not report it.
    pub fn is_alive(&self, oc: &Oc, namespace: &str) -> Result<bool, OcError> {
        let workload: Option<Value> = oc.json(&Call::workload(namespace))?;
        let items = workload.as_ref().and_then(|list| list["items"].as_array());
        let over = |item: &Value| matches!(item["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        Ok(items.is_some_and(|items| items.iter().any(|item| !over(item))))
    }
}

/// What is left of a session that is over, if anything is there at all. One that began a moment ago, and of which nothing works
/// yet, is checked until it does, or has not for long enough.
pub(super) fn judge(
    oc: &Oc,
    settings: &Settings,
    namespace: Option<Value>,
    progress: Progress,
) -> Result<Option<NamespaceOwner>, PreflightError> {
    let name = settings.access.namespace.as_str();
    let (mut namespace, start, mut reported) = (namespace, Instant::now(), false);
    loop {
        let Some(found) = namespace else { return Ok(None) };
        let holder = holder(oc, name, &found)?;
        if !holder.going && holder.is_alive(oc, name)? {
            let description = holder.description();
            return Err(PreflightError::Held { namespace: name.to_owned(), cli: oc.name(), holder: description });
        }
        if holder.going || !holder.is_young(Utc::now()) || start.elapsed() >= SETTING_UP {
            return Ok(Some(holder));
        }
        if !std::mem::replace(&mut reported, true) {
            progress.print(&format!(
                "session {} of {} has just started: checking whether it continues",
                holder.session, holder.by
            ));
        }
        oc.rest(LOOK, "check whether another session continues")?;
        namespace = oc.json(&Call::namespace(name))?;
    }
}

fn holder(oc: &Oc, name: &str, namespace: &Value) -> Result<NamespaceOwner, PreflightError> {
    if namespace["metadata"]["name"].as_str() != Some(name) {
        return Err(oc.garbage(&Call::namespace(name), "this is not the namespace").into());
    }
    NamespaceOwner::of(namespace).ok_or_else(|| PreflightError::Foreign(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_is_who_began_a_moment_ago_by_clocks_that_may_differ() {
        let now = "2024-03-06T16:19:22Z".parse().unwrap();
        let began = |since: &str| NamespaceOwner {
            session: String::new(),
            by: String::new(),
            since: since.into(),
            going: false,
            of_metrics: false,
        };
        for (since, young) in [
            ("2024-03-06T16:19:20Z", true),
            ("2024-03-06T16:10:00Z", true),
            ("2024-03-06T16:25:00Z", true),
            ("2024-03-06T15:19:20Z", false),
            ("2024-03-07T16:19:20Z", false),
            ("unknown", false),
        ] {
            assert_eq!(began(since).is_young(now), young, "{since}");
        }
    }
}
