//! The capture itself: the collector's program in its pod, with the user's terminal when there is one. While it runs, the
//! session is renewed; when it ends in another way than by itself, it is asked to write what it has.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::keylog::Reader;
use super::{Session, SessionError, look};
use crate::oc::{Call, Oc, OcError, exit_code};
use crate::options::Keylog;
use crate::process::Ending;
use crate::process::job::{Done, Streams};
use crate::process::terminal::Terminal;
use crate::say::{self, warn};

/// Longest time between renewals.
const RENEWAL: Duration = Duration::from_secs(15);
/// From the moment the files are finished until the program in the pod has ended, too.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Longest time to finish the files: a large database is indexed at the end.
const FINISH: Duration = Duration::from_secs(300);

/// How the collector stands when it is asked to finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finished {
    /// Its files are whole.
    Yes,
    /// The capture never began.
    NeverBegan,
    /// Nobody knows.
    Unknown,
}

/// Captures until the capture ends. A capture that never began has no files, which `session` remembers.
pub(super) fn run(session: &mut Session<'_>, nodes: u64) -> Result<(), SessionError> {
    session.steps.say("Executing collector command... ");
    let terminal = say::has_terminal() && !session.settings.data_on_stdout;
    let call = session.capture_call(terminal, nodes);
    if session.oc.is_dry() {
        return rehearse(session, &call);
    }
    let streams = if terminal { Streams::Terminal } else { Streams::Heard };
    let before = if terminal { Terminal::look() } else { Terminal::default() };
    let quiet = session.oc.quiet();
    let namespace = session.plan.namespace.clone();
    let keylog = session.settings.keylog.as_ref();
    // Secrets of the last moments are still wanted when the user has asked for the end.
    let mut steady = session.oc.quiet();
    steady.shield();
    let renewal = (Call::renew(&namespace, session.renewal()), session.renewal());
    let (end_renewals, over) = channel::<()>();
    let (end_secrets, no_more) = channel::<()>();
    let (mut finished, mut secrets_missing) = (None, None);
    let done = thread::scope(|scope| {
        let (quiet, steady, namespace) = (&quiet, &steady, namespace.as_str());
        scope.spawn(move || renew(quiet, &renewal.0, renewal.1, &over));
        let secrets = keylog.map(|keylog| scope.spawn(move || Reader::new(keylog).run(steady, namespace, &no_more)));
        let mut watch = Watch { session, finished: &mut finished, since: None };
        let done = watch.session.oc.attend(&call, streams, &mut || watch.is_over());
        drop((end_renewals, end_secrets));
        secrets_missing = secrets.and_then(|reader| reader.join().ok().flatten());
        done
    })?;
    if terminal && !done.ending.is_good() {
        before.give_back();
    }
    if let Some(why) = secrets_missing {
        warn(&format!("warning: secrets of TLS connections may be missing: {why}"));
    }
    judge(session, &call, &done, finished)
}

/// In a dry run no time passes: what is called in the course of a capture, and when it is interrupted, is called once.
fn rehearse(session: &Session<'_>, call: &Call) -> Result<(), SessionError> {
    let (oc, namespace) = (&session.oc, session.plan.namespace.as_str());
    oc.run(call)?;
    oc.run(&Call::renew(namespace, session.renewal()))?;
    if let Some(keylog) = &session.settings.keylog {
        if let Keylog::Pod { namespace, pod, path } = keylog {
            oc.run(&Call::read_secrets(namespace, pod, path, 0))?;
        }
        oc.run(&Call::add_secrets(namespace, Vec::new()))?;
    }
    oc.run(&Call::finish(namespace, FINISH).note("when it is interrupted"))?;
    Ok(())
}

/// Looks after a capture that the user wants to end.
struct Watch<'a, 'b> {
    session: &'a Session<'b>,
    finished: &'a mut Option<Finished>,
    since: Option<Instant>,
}

impl Watch<'_, '_> {
    /// True when the call is to be ended: its files are written, or nobody can wait for them.
    fn is_over(&mut self) -> bool {
        if !self.session.oc.is_interrupted() {
            return false;
        }
        if self.since.is_none() {
            warn("stopping: waiting for the last records, Ctrl-C again ends at once");
            *self.finished = Some(finish(self.session));
            self.since = Some(Instant::now());
        }
        self.since.is_some_and(|since| since.elapsed() > LAST_WORDS)
            || self.finished.is_some_and(|finished| finished != Finished::Yes)
    }
}

/// Asks the capture to end in good order.
fn finish(session: &Session<'_>) -> Finished {
    let mut oc = session.oc.quiet();
    oc.shield();
    let call = Call::finish(&session.plan.namespace, FINISH.min(session.settings.access.timeout));
    match oc.json::<Value>(&call) {
        Ok(Some(answer)) if answer["state"] == "waiting" => Finished::NeverBegan,
        Ok(_) => Finished::Yes,
        Err(error) => {
            warn(&format!("warning: {error}"));
            Finished::Unknown
        }
    }
}

/// What the capture comes to. One that broke off is asked to finish its files first.
fn judge(session: &mut Session<'_>, call: &Call, done: &Done, finished: Option<Finished>) -> Result<(), SessionError> {
    if done.ending.is_good() {
        return Ok(());
    }
    let interrupted = session.oc.is_interrupted();
    let finished = finished.unwrap_or_else(|| finish(session));
    session.has_files = finished != Finished::NeverBegan;
    if interrupted && finished != Finished::Unknown {
        return Ok(());
    }
    if interrupted {
        return Err(OcError::Interrupted { what: call.what.clone() }.into());
    }
    let said = match session.oc.check(call, done) {
        Err(OcError::Failed(call)) if !call.text.is_empty() => format!(": {}", call.text),
        _ => String::new(),
    };
    let tail = if finished == Finished::Yes { "; what it had captured until then was kept" } else { "" };
    let how = match done.ending {
        Ending::Code(137) => "ended with exit code 137 (killed, often because its memory was used up)".to_owned(),
        ending => ending.to_string(),
    };
    Err(SessionError::Capture { how, said: format!("{said}{tail}"), code: exit_code(done.ending) })
}

/// Tells the collector that somebody is still there, until `over` is closed. A renewal that fails is tried again next
/// time: when they all do, the collector ends the capture by itself, as it should.
fn renew(oc: &Oc, call: &Call, pause: Duration, over: &Receiver<()>) {
    while over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let _ = oc.run(call);
    }
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
        args.extend(terminal.then(look::words).into_iter().flatten());
        Call::capture(&self.plan.namespace, terminal, &args)
    }
}
