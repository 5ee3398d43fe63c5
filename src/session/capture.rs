//! The capture itself: the collector's program in its pod, with the user's terminal when there is one. While it runs, the
//! session is renewed; when it ends in another way than by itself, it is asked to write what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::keylog::Reader;
use super::watch::{ANSWER, FINISH, Finished, RENEWAL, Renewals, Watch, finish};
use super::{NOT_MET, Session, SessionError, appearance, restart};
use crate::oc::{Call, OcError, exit_code};
use crate::options::Keylog;
use crate::process::Ending;
use crate::process::job::{Done, Streams};
use crate::process::terminal::{self, Terminal};
use crate::progress::{self, warn};

/// Captures until the capture ends. A capture that never began has no files, which `session` remembers.
pub(super) fn run(session: &mut Session<'_>, nodes: u64) -> Result<(), SessionError> {
    session.progress.step("Executing collector command... ", "Starting the collector");
    progress::end_steps();
    let terminal = progress::has_terminal() && !session.settings.data_on_stdout;
    let call = session.capture_call(terminal, nodes);
    let streams = if terminal { Streams::Terminal } else { Streams::Heard };
    let before = if terminal { Terminal::probe() } else { Terminal::default() };
    let report: &(dyn Fn(&str) + Sync) = if terminal { &terminal::note } else { &warn };
    let namespace = session.plan.namespace.clone();
    let keylog = session.settings.keylog.as_ref();
    let (ended, lost) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let quiet = session.oc.quiet().until(&ended);
    // Secrets of the last moments are still wanted when the user has asked for the end.
    let mut steady = session.oc.quiet().until(&lost);
    steady.shield();
    let renewals = Renewals::new(session.renewal(), session.settings.lease);
    let (end_renewals, over) = channel::<()>();
    let (end_secrets, no_more) = channel::<()>();
    let (end_connections, no_connections) = channel::<()>();
    let (mut secrets_missing, mut connections) = (None, None);
    let to_connect = session.settings.connect.as_ref();
    let mut watch = Watch::new(session, &renewals, !terminal);
    let done = thread::scope(|scope| {
        let (quiet, steady, namespace, renewals) = (&quiet, &steady, namespace.as_str(), &renewals);
        scope.spawn(move || renewals.run(quiet, namespace, &over, report));
        let secrets = keylog.map(|keylog| scope.spawn(move || Reader::new(keylog).run(steady, namespace, &no_more)));
        // A dry run is over at once, and shows the calls anyway.
        let caller = if steady.is_dry() { steady } else { quiet };
        let connecting = to_connect.map(|to| scope.spawn(move || super::connect::run(to, caller, &no_connections)));
        let mut kills = 0;
        let done = loop {
            let done = session.oc.attend(&call, streams, &mut || watch.is_over());
            let Some(broken) = done.as_ref().ok().filter(|done| !done.ending.is_good()) else { break done };
            if terminal {
                before.give_back();
            }
            if watch.has_asked() || !restart::restart(session, broken, &mut kills) {
                break done;
            }
        };
        ended.store(true, Relaxed);
        lost.store(watch.has_lost_it(), Relaxed);
        drop((end_renewals, end_secrets, end_connections));
        connections = connecting.and_then(|thread| thread.join().ok().flatten());
        secrets_missing = secrets.and_then(|reader| reader.join().ok().flatten());
        done
    })?;
    let finished = watch.finished();
    connections.iter().for_each(|line: &String| warn(line));
    if let Some(why) = secrets_missing {
        warn(&format!("warning: secrets of TLS connections may be missing: {why}"));
    }
    judge(session, &call, &done, finished)
}

/// What the capture comes to. One that broke off is asked to finish its files first.
fn judge(session: &mut Session<'_>, call: &Call, done: &Done, finished: Option<Finished>) -> Result<(), SessionError> {
    if done.ending.is_good() {
        return Ok(());
    }
    if session.settings.has_demands && done.ending == Ending::Code(NOT_MET.into()) {
        return Err(SessionError::NotMet);
    }
    let interrupted = session.oc.is_interrupted();
    let was_asked = finished.is_some();
    let finished = finished.unwrap_or_else(|| finish(session));
    session.has_files = !matches!(finished, Finished::NeverBegan | Finished::Lost(_));
    if let Finished::Lost(why) = finished {
        session.is_lost = true;
        return Err(SessionError::Unreachable(why));
    }
    if finished != Finished::Unknown && (was_asked || interrupted) {
        return Ok(());
    }
    if interrupted {
        return Err(OcError::Interrupted { what: call.what.clone() }.into());
    }
    if was_asked {
        return Err(SessionError::Unreachable("the cluster does not report where it is".to_owned()));
    }
    let output = match session.oc.check(call, done) {
        Err(OcError::Failed(call)) if !call.text.is_empty() => format!(": {}", call.text),
        _ => String::new(),
    };
    let tail = if finished == Finished::Yes { "; what it had captured until then was kept" } else { "" };
    let how = match done.ending {
        Ending::Code(137) => format!("ended with exit code 137 ({})", restart::why(session)),
        ending => ending.to_string(),
    };
    Err(SessionError::Capture { how, output: format!("{output}{tail}"), code: exit_code(done.ending) })
}

impl Session<'_> {
    /// Between two renewals. A third of the lease would do; this leaves room for two that get lost.
    fn renewal(&self) -> Duration {
        RENEWAL.min(self.settings.lease / 4)
    }

    /// The call that captures.
    fn capture_call(&self, terminal: bool, nodes: u64) -> Call {
        let mut args: Vec<String> = self.plan.collector_command().into_iter().skip(1).collect();
        args.push(format!("--expect-nodes={nodes}"));
        args.extend(terminal.then(appearance::words).into_iter().flatten());
        Call::capture(&self.plan.namespace, terminal, &args).implied(self.calls_meanwhile())
    }

    /// What is called while the capture runs, and when it is interrupted.
    fn calls_meanwhile(&self) -> Vec<Call> {
        let namespace = self.plan.namespace.as_str();
        let mut calls = vec![Call::renew(namespace, self.renewal(), ANSWER)];
        if let Some(keylog) = &self.settings.keylog {
            if let Keylog::Pod { namespace, pod, path } = keylog {
                calls.push(Call::read_secrets(namespace, pod, path, 0));
            }
            calls.push(Call::add_secrets(namespace, Vec::new()));
        }
        calls.push(Call::finish(namespace, FINISH).note("when it is interrupted"));
        calls
    }
}
