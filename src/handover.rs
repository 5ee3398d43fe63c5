//! Hands our programs over to pods whose image does not hold them (`--no-registry`).
//!
//! Each pod begins with a container that waits for a file in a volume; the plugin writes our program there, and the pod's own
//! container has it mounted where our image has it. From then on nothing differs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::oc::{Call, Oc, OcError};
use crate::programs::{Programs, ProgramsError};
use crate::progress::Progress;

/// The collector's file, as its pod calls it.
pub(crate) const COLLECTOR: &str = "network-observability-cli";
/// The agent's file.
pub(crate) const AGENT: &str = "netobserv-agent";
/// Name of the container that waits, and of the volume.
const WAITING: &str = "programs";
/// Programs on their way at the same time.
const AT_ONCE: usize = 8;
/// A pod that has just started may not answer at once.
const ATTEMPTS: u32 = 3;
/// The first process of a container hears SIGTERM only when it asks to.
const WAIT: &str = r#"trap 'exit 143' TERM; until [ -x "/programs/$1" ]; do sleep 1; done"#;
/// A connection that breaks off looks like the end of the file: the size shows the difference.
const RECEIVE: &str = r#"cat >"/programs/.$1" && [ $(wc -c <"/programs/.$1") -eq "$2" ] && chmod 755 "/programs/.$1" && mv "/programs/.$1" "/programs/$1""#;

/// Why a pod has no program.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// A call failed.
    #[error(transparent)]
    Oc(#[from] OcError),
    /// There is no such program.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
}

/// The command of the container that waits.
pub(crate) fn wait_for(program: &str) -> Vec<String> {
    shell(WAIT, [program.to_owned()])
}

fn shell(script: &str, words: impl IntoIterator<Item = String>) -> Vec<String> {
    ["/bin/sh", "-c", script, "sh"].map(str::to_owned).into_iter().chain(words).collect()
}

/// What has been handed over.
pub(crate) struct Handover<'a> {
    oc: &'a Oc,
    namespace: &'a str,
    programs: &'a Programs,
    progress: Progress,
    /// Pods that have their program, by uid.
    done: HashSet<String>,
    failures: HashMap<String, u32>,
    /// What was unpacked already, by machine and program.
    unpacked: Mutex<Unpacked>,
}

type Unpacked = BTreeMap<(String, &'static str), Arc<Vec<u8>>>;

/// A pod that waits.
struct Pod {
    uid: String,
    name: String,
    program: &'static str,
}

impl<'a> Handover<'a> {
    /// Nothing yet.
    pub(crate) fn new(oc: &'a Oc, namespace: &'a str, programs: &'a Programs, progress: Progress) -> Self {
        let (done, failures, unpacked) = (HashSet::new(), HashMap::new(), Mutex::default());
        Self { oc, namespace, programs, progress, done, failures, unpacked }
    }

    /// Gives their program to those of these pods that wait for it.
    ///
    /// # Errors
    ///
    /// One does not take it, more than once.
    pub(crate) fn give(&mut self, pods: &[Value]) -> Result<(), HandoverError> {
        let waiting: Vec<Pod> = pods.iter().filter_map(waiting).filter(|pod| !self.done.contains(&pod.uid)).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        self.progress.print(&format!("copying our program to {}", names(&waiting)));
        for some in waiting.chunks(AT_ONCE) {
            let given = thread::scope(|scope| {
                let under_way: Vec<_> = some.iter().map(|pod| scope.spawn(|| self.give_one(pod))).collect();
                under_way.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
            });
            for (pod, given) in some.iter().zip(given) {
                self.note(pod, given)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, pod: &Pod, given: Result<(), HandoverError>) -> Result<(), HandoverError> {
        match given {
            Ok(()) => drop(self.done.insert(pod.uid.clone())),
            Err(HandoverError::Oc(OcError::Failed(call))) => {
                let failures = self.failures.entry(pod.uid.clone()).or_default();
                *failures += 1;
                if *failures >= ATTEMPTS {
                    return Err(OcError::Failed(call).into());
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn give_one(&self, pod: &Pod) -> Result<(), HandoverError> {
        let machine = Call::machine(self.namespace, &pod.name, WAITING).canned(self.programs.machine());
        let machine = self.oc.run(&machine)?;
        let bytes = self.unpacked(machine.trim(), pod.program)?;
        Ok(self.oc.run(&call(self.namespace, &pod.name, pod.program, &bytes)).map(drop)?)
    }

    fn unpacked(&self, machine: &str, program: &'static str) -> Result<Arc<Vec<u8>>, ProgramsError> {
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (machine.to_owned(), program);
        if let Some(bytes) = unpacked.get(&key) {
            return Ok(bytes.clone());
        }
        let file = if program == COLLECTOR { "netobserv-collector" } else { AGENT };
        let bytes = Arc::new(self.programs.get(machine, file)?);
        unpacked.insert(key, bytes.clone());
        Ok(bytes)
    }
}

fn call(namespace: &str, pod: &str, program: &str, bytes: &[u8]) -> Call {
    let script = shell(RECEIVE, [program.to_owned(), bytes.len().to_string()]);
    Call::hand_over(namespace, pod, WAITING, &script, bytes)
}

fn names(pods: &[Pod]) -> String {
    match pods {
        [one] => one.name.clone(),
        more => format!("{} pods", more.len()),
    }
}

fn waiting(pod: &Value) -> Option<Pod> {
    let containers = pod["status"]["initContainerStatuses"].as_array()?;
    containers.iter().find(|container| container["name"] == WAITING && container["state"]["running"].is_object())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let name = text(&pod["metadata"]["name"])?;
    let program = if name == crate::oc::COLLECTOR { COLLECTOR } else { AGENT };
    Some(Pod { uid: text(&pod["metadata"]["uid"])?, name, program })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_who_waits_is_given_something() {
        let pod = |name: &str, container: &str, state: &str| {
            let status = json!({"initContainerStatuses": [{"name": container, "state": {state: {}}}]});
            json!({"metadata": {"name": name, "uid": "u"}, "status": status})
        };
        let found = |value: Value| waiting(&value).map(|pod| pod.program);
        assert_eq!(found(pod("netobserv-cli-x", WAITING, "running")), Some(AGENT));
        assert_eq!(found(pod("collector", WAITING, "running")), Some(COLLECTOR));
        assert_eq!(found(pod("collector", WAITING, "waiting")), None);
        assert_eq!(found(pod("collector", "other", "running")), None);
        assert_eq!(found(json!({"kind": "DaemonSet"})), None);
    }
}
