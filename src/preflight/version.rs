//! The version of OpenShift, and what it is too old for. Other clusters have no such number: there the agents find out.

use serde_json::Value;

use super::PreflightError;
use crate::oc::{Oc, OcError};
use crate::options::Settings;
use crate::plan::Kind;
use crate::progress::{Progress, warn};

/// Checks what the capture needs against what runs.
pub(super) fn check(
    oc: &Oc,
    settings: &Settings,
    openshift: bool,
    answer: Result<Option<Value>, OcError>,
    progress: Progress,
) -> Result<(), PreflightError> {
    if !openshift {
        progress.step("Can't check version since cluster is not OpenShift", "Checking the cluster");
        return Ok(());
    }
    if oc.is_interrupted() {
        return answer.map(drop).map_err(PreflightError::from);
    }
    let version = match &answer {
        Ok(Some(value)) => current(value),
        Ok(None) => None,
        Err(error) => {
            warn(&format!("Warning: can't read the version of OpenShift: {error}"));
            return Ok(());
        }
    };
    let Some(version) = version else {
        warn("Warning: can't find current version in the clusterversion history");
        warn("Is the cluster upgrading?");
        return Ok(());
    };
    progress.step(&format!("OpenShift version: {version}"), &format!("Checking the cluster: OpenShift {version}"));
    let reasons = too_old(&version, settings);
    if reasons.is_empty() {
        return Ok(());
    }
    Err(PreflightError::TooOld { version, reasons: reasons.join(" ") })
}

/// The version that the whole cluster has: the newest update that was completed, as a running one may end anywhere.
fn current(version: &Value) -> Option<String> {
    let updates = version["status"]["history"].as_array();
    let completed = updates.and_then(|list| list.iter().find(|update| update["state"] == "Completed"));
    let text = completed.map_or(&version["status"]["desired"]["version"], |update| &update["version"]);
    text.as_str().filter(|text| number(text).is_some()).map(str::to_owned)
}

/// The first two numbers of a version.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn too_old(version: &str, settings: &Settings) -> Vec<&'static str> {
    let features = [
        (settings.kind == Kind::Packets, (4, 16), "- Packet capture requires OpenShift 4.16 or higher"),
        (settings.drops, (4, 14), "- Packet drops requires OpenShift 4.14 or higher"),
    ];
    let older = |least| number(version).is_some_and(|number| number < least);
    features.into_iter().filter(|(wanted, least, _)| *wanted && older(*least)).map(|(.., line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_current_version_is_the_last_one_completed() {
        let version =
            |history: Value| current(&json!({"status": {"history": history, "desired": {"version": "4.20.0"}}}));
        let done = |version| json!({"state": "Completed", "version": version});
        let begun = |version| json!({"state": "Partial", "version": version});
        assert_eq!(version(json!([done("4.12.1")])).as_deref(), Some("4.12.1"));
        assert_eq!(version(json!([done("4.17.3"), done("4.12.1")])).as_deref(), Some("4.17.3"));
        assert_eq!(version(json!([begun("4.17.3"), done("4.16.1")])).as_deref(), Some("4.16.1"));
        assert_eq!(version(json!([begun("4.17.3")])).as_deref(), Some("4.20.0"));
        assert_eq!(current(&json!({"status": {}})), None);
        assert_eq!(current(&json!("text")), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(number("4.9.1") < number("4.16.0"));
        assert_eq!(number("4.16.0-rc.1"), Some((4, 16)));
        assert_eq!(number("x"), None);
    }
}
