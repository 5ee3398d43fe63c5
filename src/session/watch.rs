//! Looks after a capture while it runs: renews the session, ends it when the user wants that or its output is no longer read, and
//! notices a collector that does not answer, which no `oc exec` reports: a node that stops leaves its connections hanging.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use netobserv_stdio as stdio;
use serde_json::Value;

use super::Session;
use crate::oc::{COLLECTOR, Call, Oc, OcError, seconds};
use crate::progress::warn;

/// Longest time between renewals.
pub(super) const RENEWAL: Duration = Duration::from_secs(15);
/// From the moment the files are finished until the program in the pod has ended, too.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Longest time to finish the files: a large database is indexed at the end.
pub(super) const FINISH: Duration = Duration::from_secs(300);
/// A capture that continues for this long after its end is asked whether it is still there.
const OVERDUE: Duration = Duration::from_secs(15);
/// Longest time for an answer of a collector that has nothing to do for it.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// A collector that has not finished after this time is asked whether it is still there.
const FINISHING: Duration = Duration::from_secs(5);
/// Longest wait for a collector that does not answer on a node that is called ready: the cluster hears of a node that has
/// stopped within a minute.
const SEARCH: Duration = Duration::from_secs(60);
/// Between two searches for it.
const LOOK: Duration = Duration::from_secs(2);

/// How the collector stands when the capture is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finished {
    /// Its files are whole.
    Yes,
    /// The capture never began.
    NeverBegan,
    /// Not known.
    Unknown,
    /// It is out of reach, and its files with it; why.
    Lost(String),
}

/// The renewals of a session, and what they show.
pub(super) struct Renewals {
    pause: Duration,
    lease: Duration,
    answered: Mutex<Instant>,
}

impl Renewals {
    pub(super) fn new(pause: Duration, lease: Duration) -> Self {
        Self { pause, lease, answered: Mutex::new(Instant::now()) }
    }

    /// Renews the session at the collector, until `over` is closed. A renewal that fails is reported and tried again
    /// next time: when they all do, the collector ends the capture by itself, as it should.
    pub(super) fn run(&self, oc: &Oc, namespace: &str, over: &Receiver<()>, report: &dyn Fn(&str)) {
        let call = Call::renew(namespace, self.pause, ANSWER.min((self.lease / 2).max(LOOK)));
        let mut failed = false;
        while over.recv_timeout(self.pause) == Err(RecvTimeoutError::Timeout) {
            match oc.run(&call) {
                Ok(_) => {
                    self.answered();
                    if std::mem::take(&mut failed) {
                        report("the session is being renewed again");
                    }
                }
                Err(OcError::Interrupted { .. }) => {}
                Err(error) => {
                    failed = true;
                    let lease = seconds(self.lease);
                    report(&format!("warning: {error}; the capture ends by itself after {lease} without a renewal"));
                }
            }
        }
    }

    fn answered(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The collector has not answered for longer than it continues without a renewal.
    fn are_overdue(&self) -> bool {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > self.lease.saturating_add(OVERDUE)
    }
}

/// Decides when the call that captures is to be ended.
pub(super) struct Watch<'a, 'b> {
    session: &'a Session<'b>,
    renewals: &'a Renewals,
    /// What is captured goes to standard output, through this program.
    relayed: bool,
    start: Instant,
    /// How long the capture may take: its user may extend it at its limit.
    max_time: Duration,
    /// When a capture that continues is asked whether it is still there.
    due: Instant,
    finished: Option<(Finished, Instant)>,
}

impl<'a, 'b> Watch<'a, 'b> {
    pub(super) fn new(session: &'a Session<'b>, renewals: &'a Renewals, relayed: bool) -> Self {
        let start = Instant::now();
        let max_time = session.settings.max_time;
        let due = start + max_time.saturating_add(OVERDUE);
        Self { session, renewals, relayed, start, max_time, due, finished: None }
    }

    /// The collector is out of reach.
    pub(super) fn has_lost_it(&self) -> bool {
        matches!(self.finished, Some((Finished::Lost(_), _)))
    }

    /// Whether the collector was asked to end.
    pub(super) fn has_asked(&self) -> bool {
        self.finished.is_some()
    }

    /// How the collector stood when it was asked to end, if it was.
    pub(super) fn finished(self) -> Option<Finished> {
        self.finished.map(|(finished, _)| finished)
    }

    /// True when the call is to be ended: its files are written, or waiting for them is useless.
    pub(super) fn is_over(&mut self) -> bool {
        if self.finished.is_none() {
            self.finished = self.probe().map(|finished| (finished, Instant::now()));
        }
        match &self.finished {
            None => false,
            Some((Finished::Yes, since)) => since.elapsed() > LAST_WORDS,
            Some(_) => true,
        }
    }

    fn probe(&mut self) -> Option<Finished> {
        if self.session.oc.is_interrupted() {
            warn("stopping: waiting for the last records, Ctrl-C again ends at once");
            return Some(finish(self.session));
        }
        if self.relayed && stdio::stdout().broken().is_some() {
            self.session.oc.interrupts().expect_one();
            return Some(finish(self.session));
        }
        let is_due = Instant::now() >= self.due || self.renewals.are_overdue();
        if is_due { self.ask() } else { None }
    }

    /// Asks a capture that should be over, or could not be renewed.
    fn ask(&mut self) -> Option<Finished> {
        match state(&self.session.oc.quiet(), &self.session.plan.namespace) {
            Ok(state) => self.heard(&state),
            Err(OcError::Interrupted { .. }) => None,
            Err(error) => {
                warn(&format!("warning: {error}; looking for the collector, Ctrl-C gives up"));
                self.search()
            }
        }
    }

    fn heard(&mut self, state: &State) -> Option<Finished> {
        self.renewals.answered();
        self.due = self.due.max(Instant::now() + RENEWAL);
        self.max_time = self.max_time.max(Duration::from_secs(state.max_time_s));
        if state.state == "finished" {
            // There is no reader for its last lines.
            stdio::stdout().hurry();
            return Some(Finished::Yes);
        }
        let too_long = self.start.elapsed() > self.max_time.saturating_add(FINISH);
        too_long.then(|| finish(self.session))
    }

    /// Waits until the collector answers again, or the cluster reports why it does not.
    fn search(&mut self) -> Option<Finished> {
        let (oc, namespace, start) = (self.session.oc.quiet(), &self.session.plan.namespace, Instant::now());
        loop {
            match Whereabouts::of(&oc, namespace) {
                Whereabouts::Lost(why) => return Some(Finished::Lost(why)),
                Whereabouts::Silent(why) if start.elapsed() > SEARCH => return Some(Finished::Lost(why)),
                Whereabouts::Silent(_) => {}
                Whereabouts::Unknown => return Some(Finished::Unknown),
            }
            // The next check hears a user who does not want to wait.
            oc.rest(LOOK, "look for the collector").ok()?;
            match state(&oc, namespace) {
                Ok(state) => return self.heard(&state),
                Err(OcError::Interrupted { .. }) => return None,
                Err(_) => {}
            }
        }
    }
}

/// Asks the capture to end cleanly, also after an interrupt.
pub(super) fn finish(session: &Session<'_>) -> Finished {
    stdio::stdout().hurry();
    let (namespace, timeout) = (session.plan.namespace.as_str(), session.settings.access.timeout);
    let mut oc = session.oc.quiet();
    oc.shield();
    let (start, mut asked, mut silent) = (Instant::now(), false, false);
    let mut is_silent = || {
        if !asked && start.elapsed() > FINISHING {
            asked = true;
            silent = state(&oc, namespace).is_err();
        }
        silent
    };
    let answer = oc.json_unless::<Value>(&Call::finish(namespace, FINISH.min(timeout)), &mut is_silent);
    let error = match answer {
        Ok(Some(answer)) if answer["state"] == "waiting" => return Finished::NeverBegan,
        Ok(_) => return Finished::Yes,
        Err(error) => error,
    };
    match Whereabouts::of(&oc, namespace) {
        Whereabouts::Lost(why) => return Finished::Lost(why),
        Whereabouts::Silent(why) if silent => return Finished::Lost(why),
        _ => {}
    }
    warn(&format!("warning: {error}"));
    Finished::Unknown
}

/// What a collector reports of its capture.
struct State {
    state: String,
    /// Seconds until its end, where its user extended it at the limit.
    max_time_s: u64,
}

fn state(oc: &Oc, namespace: &str) -> Result<State, OcError> {
    let answer: Value = oc.json(&Call::renew(namespace, RENEWAL, ANSWER))?.unwrap_or_default();
    let state = answer["state"].as_str().unwrap_or_default().to_owned();
    Ok(State { state, max_time_s: answer["max_time_s"].as_u64().unwrap_or_default() })
}

/// Where a collector is that does not answer.
enum Whereabouts {
    /// On a node that is out of reach.
    Lost(String),
    /// On a node that is called ready, or of which nothing is known.
    Silent(String),
    /// The cluster does not report it, or there is no pod.
    Unknown,
}

impl Whereabouts {
    fn of(oc: &Oc, namespace: &str) -> Self {
        let workload = oc.json::<Value>(&Call::workload(namespace)).ok().flatten().unwrap_or_default();
        let pods = workload["items"].as_array().into_iter().flatten();
        let pod = pods.into_iter().find(|item| item["kind"] == "Pod" && item["metadata"]["name"] == COLLECTOR);
        let Some(node) = pod.and_then(|pod| pod["spec"]["nodeName"].as_str()) else { return Self::Unknown };
        match oc.node_trouble(node) {
            Some(trouble) => Self::Lost(trouble),
            None => Self::Silent(format!("node {node} does not answer")),
        }
    }
}
