//! Waits until every agent runs, and reports why one does not as soon as the cluster knows.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::handover::{Handover, HandoverError};
use crate::oc::{COLLECTOR, Call, Oc, OcError, seconds};
use crate::progress::{Progress, warn};

mod state;

use state::{State, Trouble};

/// Between two looks: at first short, as images may be there already.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An API server that is being replaced answers again a moment later: so often each look is tried.
const TRIES: u32 = 3;
/// Looks that find no pod at all, or a silent one, before the cluster is asked why.
const PATIENCE: u32 = 3;

/// Why the agents do not run.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// A call failed.
    #[error(transparent)]
    Oc(#[from] OcError),
    /// It will not get better.
    #[error("{what}: {trouble}{}", words(.last_words))]
    Hopeless {
        /// Of what, and how many others run.
        what: String,
        /// Which pod, and why.
        trouble: String,
        /// The end of its log.
        last_words: Vec<String>,
    },
    /// The collector's program cannot capture, and reports why.
    #[error("the capture has not started: {0}")]
    NotStarted(String),
    /// The time is over.
    #[error("{what} after {}{trouble}; raise --timeout", seconds(*.after))]
    TooLong {
        /// What failed, and how many others run.
        what: String,
        /// What is known.
        trouble: String,
        /// The time.
        after: Duration,
    },
    /// A pod has no program.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// No node takes an agent.
    #[error("Daemonset pods failed to start: no node of the cluster accepts an agent; see --node-selector")]
    NoNodes,
}

fn words(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("; end of its log: {}", lines.join(" / ")) }
}

/// Agents that there must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Least {
    /// At least one.
    One,
    /// None: the collector names their nodes later.
    None,
}

/// Gives the number of agents, all of them ready. Nodes that are not ready themselves are left out, and reported.
///
/// # Errors
///
/// They do not become ready.
pub(crate) fn wait(
    oc: &Oc,
    (namespace, session): (&str, &str),
    least: Least,
    timeout: Duration,
    progress: Progress,
    mut handover: Option<Handover<'_>>,
) -> Result<u64, RolloutError> {
    progress.step("Waiting for daemonset pods to be ready...", "Starting the agents");
    let start = Instant::now();
    let (mut pause, mut printed, mut without_pods, mut silent) = (FIRST_PAUSE, String::new(), 0, 0);
    let call = Call::rollout(namespace, session);
    loop {
        let items = probe(oc, &call, start + timeout)?;
        if let Some(handover) = &mut handover {
            handover.give(&items)?;
        }
        let state = State::of(&items);
        if state.is_done() {
            progress.step(&state.to_string(), &state.words());
            return if state.desired == 0 && least == Least::One {
                Err(RolloutError::NoNodes)
            } else {
                Ok(state.desired)
            };
        }
        without_pods = if state.has_no_pods() { without_pods + 1 } else { 0 };
        let line = state.line();
        if line != printed {
            progress.step(&line, &state.words());
            printed = line;
        }
        give_up_if_hopeless(oc, namespace, &state)?;
        if without_pods == PATIENCE {
            refused_by_cluster(oc, namespace, &state)?;
        }
        silent = if state.is_done_but_for_silent_nodes() { silent + 1 } else { 0 };
        if silent >= PATIENCE && are_broken(oc, &state.silent)? {
            progress.step(&state.to_string(), &state.words());
            warn(&format!("warning: not ready, so without an agent: {}", state.silent.join(", ")));
            return Ok(state.ready);
        }
        if start.elapsed() >= timeout {
            return Err(too_long(&state, timeout));
        }
        oc.rest(pause.min(timeout.saturating_sub(start.elapsed())), "watch the agents start")?;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// DaemonSet and pods.
fn probe(oc: &Oc, call: &Call, end: Instant) -> Result<Vec<Value>, OcError> {
    let mut tries = 1;
    let answer = loop {
        match oc.json::<Value>(call) {
            Err(OcError::Failed(_)) if tries < TRIES && Instant::now() < end => {
                oc.rest(FIRST_PAUSE * 2, "watch the agents start")?;
                tries += 1;
            }
            answer => break answer?,
        }
    };
    match answer.unwrap_or_default()["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Err(oc.garbage(call, "there is no list of items")),
    }
}

/// Whether the cluster itself calls each of these nodes not ready. A user who may not look at nodes waits.
fn are_broken(oc: &Oc, nodes: &[String]) -> Result<bool, OcError> {
    let states = match oc.run(&Call::node_states()) {
        Ok(states) => states,
        Err(error @ OcError::Interrupted { .. }) => return Err(error),
        Err(_) => return Ok(false),
    };
    let broken: Vec<&str> = states
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, ready)| *ready != "True")
        .map(|(name, _)| name)
        .collect();
    Ok(nodes.iter().all(|node| broken.contains(&node.as_str())))
}

fn too_long(state: &State, after: Duration) -> RolloutError {
    let what = match state.lacks_only_the_collector() {
        true => "The pod of the collector failed to start within timeout: not Ready".to_owned(),
        false => format!("Daemonset pods failed to start within timeout: {state}"),
    };
    let trouble = state.troubles.first().map(|trouble| format!(": {trouble}")).unwrap_or_default();
    RolloutError::TooLong { what, trouble, after }
}

/// What failed to start.
fn what_failed(state: &State, collector: bool) -> String {
    if collector {
        "The pod of the collector failed to start".to_owned()
    } else {
        format!("Daemonset pods failed to start: {state}")
    }
}

fn give_up_if_hopeless(oc: &Oc, namespace: &str, state: &State) -> Result<(), RolloutError> {
    let Some(trouble) = state.troubles.iter().find(|trouble| trouble.hopeless) else { return Ok(()) };
    let last_words = if trouble.crashed { last_words(oc, namespace, trouble) } else { Vec::new() };
    if let Some(reason) = own_reason(last_words.iter().map(String::as_str)).filter(|_| is_collector(&trouble.pod)) {
        return Err(RolloutError::NotStarted(reason.to_owned()));
    }
    let what = what_failed(state, is_collector(&trouble.pod));
    Err(RolloutError::Hopeless { what, trouble: trouble.to_string(), last_words })
}

/// The error that a program of ours ended with, in the lines of its log.
pub(crate) fn own_reason<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    lines.find_map(|line| line.trim().strip_prefix("error: "))
}

/// The log of the program that crashed, or of the one that is there now.
fn last_words(oc: &Oc, namespace: &str, trouble: &Trouble) -> Vec<String> {
    let log = |previous| oc.run(&Call::last_words(namespace, &trouble.pod, previous)).ok();
    let text = log(true).filter(|text| !text.trim().is_empty()).or_else(|| log(false)).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// There is no pod at all: the cluster refuses to make them, and reports that in events only.
fn refused_by_cluster(oc: &Oc, namespace: &str, state: &State) -> Result<(), RolloutError> {
    let events: Value = match oc.json(&Call::events(namespace)) {
        Ok(events) => events.unwrap_or_default(),
        Err(error @ OcError::Interrupted { .. }) => return Err(error.into()),
        Err(error) => {
            warn(&format!("warning: {error}"));
            return Ok(());
        }
    };
    let failed = |event: &&Value| event["reason"] == "FailedCreate";
    let event = events["items"].as_array().and_then(|events| events.iter().rfind(failed));
    match event.and_then(|event| event["message"].as_str()) {
        Some(message) => Err(RolloutError::Hopeless {
            what: what_failed(state, false),
            trouble: message.to_owned(),
            last_words: Vec::new(),
        }),
        None => Ok(()),
    }
}

/// The collector, not an agent.
fn is_collector(name: &str) -> bool {
    name == COLLECTOR
}
