//! A capture in the background has started when its collector reports that it captures. What prevents that, such as a name that nothing in
//! the cluster has, is reported before the command returns.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::restart::KILLED;
use super::watch::ANSWER;
use super::{Session, SessionError};
use crate::oc::{COLLECTOR, Call, Oc, OcError, seconds};
use crate::progress::warn;
use crate::rollout::{RolloutError, own_reason};

/// How often the collector is asked.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest wait for a collector that runs: it decides within half a minute whether it can capture.
const LONGEST: Duration = Duration::from_secs(60);

/// The exit code of the collector's program, if it failed. One that was killed is started again and captures then.
fn failed(workload: &Value) -> Option<i64> {
    let items = workload["items"].as_array().into_iter().flatten();
    let pod = items.into_iter().find(|item| item["kind"] == "Pod" && item["metadata"]["name"] == COLLECTOR)?;
    let container = &pod["status"]["containerStatuses"][0];
    let codes = ["state", "lastState"].map(|state| container[state]["terminated"]["exitCode"].as_i64());
    codes.into_iter().flatten().find(|code| *code != 0 && !KILLED.iter().any(|killed| i64::from(*killed) == *code))
}

/// Waits until the collector captures.
pub(super) fn wait(session: &Session<'_>) -> Result<(), SessionError> {
    let (start, longest) = (Instant::now(), LONGEST.min(session.settings.access.timeout));
    let (quiet, namespace) = (session.oc.quiet(), session.plan.namespace.as_str());
    let call = Call::state(namespace, ANSWER);
    let mut answer = session.oc.json::<Value>(&call);
    loop {
        let error = match answer {
            Ok(status) if status.as_ref().is_some_and(|status| status["state"] != "waiting") => return Ok(()),
            Err(error @ OcError::Interrupted { .. }) => return Err(error.into()),
            answer => answer.err(),
        };
        let workload = quiet.json::<Value>(&Call::workload(namespace)).ok().flatten().unwrap_or_default();
        if let Some(code) = failed(&workload) {
            return Err(RolloutError::NotStarted(why(&quiet, namespace, code)).into());
        }
        if start.elapsed() > longest {
            let why = error.map_or_else(String::new, |error| format!(": {error}"));
            warn(&format!("warning: the capture had not started after {}{why}", seconds(longest)));
            return Ok(());
        }
        quiet.rest(PAUSE, &call.what)?;
        answer = quiet.json(&call);
    }
}

/// The collector's own reason, which is in its log.
fn why(oc: &Oc, namespace: &str, code: i64) -> String {
    let log = |previous| oc.run(&Call::last_words(namespace, COLLECTOR, previous)).unwrap_or_default();
    let text = log(false) + "\n" + &log(true);
    let reason = own_reason(text.lines());
    reason.map_or_else(|| format!("the collector ended with exit code {code}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_program_that_failed_is_known_from_one_that_was_killed() {
        let pod = |container: Value| {
            failed(&json!({"items": [{"kind": "DaemonSet", "metadata": {"name": "netobserv-cli"}},
                {"kind": "Pod", "metadata": {"name": "collector"}, "status": {"containerStatuses": [container]}}]}))
        };
        assert_eq!((failed(&json!({})), pod(json!({"state": {"running": {}}}))), (None, None));
        assert_eq!(pod(json!({"state": {"terminated": {"exitCode": 1}}})), Some(1));
        assert_eq!(pod(json!({"state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}})), Some(1));
        assert_eq!(pod(json!({"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 137}}})), None);
        assert_eq!(pod(json!({"state": {"terminated": {"exitCode": 0}}})), None);
    }
}
