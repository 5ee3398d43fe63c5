//! The cluster, by the one program that knows the way to it: `oc` or `kubectl`. Each call has a purpose, a limit
//! of time, and quotes itself when it fails.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use netobserv_contract::plain;

use crate::options::Access;
use crate::process::job::{self, Cut, Done, Job, Streams};
use crate::process::{Ending, ProcessError, Program};
use crate::progress;
use crate::signal::Interrupts;

mod call;
mod canned;
mod document;
mod node;

pub use call::Call;
pub(crate) use call::{COLLECTOR, DASHBOARDS, SESSION};
pub use document::{Document, Stage};

/// Names the program to use, as a path or along PATH.
const VARIABLE: &str = "NETOBSERV_K8S_CLI";
/// A call that takes longer has lost its way; shorter when `--timeout` is.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// A signal is noticed within this time.
const TICK: Duration = Duration::from_millis(25);
/// Between the death of a program by a signal and our own hearing of that signal.
const SETTLING: Duration = Duration::from_millis(250);

/// Why a call did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum OcError {
    /// Neither program is there.
    #[error("neither oc nor kubectl is in PATH: install one of them, or set {VARIABLE} to its path")]
    Missing,
    /// The variable names something that is not there.
    #[error("{VARIABLE}={}: there is no such program", .0.to_string_lossy())]
    Misnamed(OsString),
    /// It could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Box<FailedCall>),
    /// It succeeded, and what it wrote makes no sense.
    #[error("cannot {what}: `{line}` returned unexpected output: {text}")]
    Garbage {
        /// What it was for.
        what: String,
        /// As it could be typed.
        line: String,
        /// What is wrong with it.
        text: String,
    },
    /// The user wanted to stop.
    #[error("interrupted while trying to {what}")]
    Interrupted {
        /// What was being done.
        what: String,
    },
}

/// A call that ended badly.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: `{line}` {how}{}{}", output(.text), hint(.advice))]
pub struct FailedCall {
    /// What it was for.
    what: String,
    /// As it could be typed.
    line: String,
    /// How it ended.
    how: String,
    /// Its standard error, in one line.
    pub(crate) text: String,
    /// What to do.
    advice: &'static str,
}

fn output(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn hint(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("; {text}") }
}

/// Lines in one, without those that are empty.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ")
}

/// The way to a cluster.
#[derive(Debug, Clone)]
pub struct Oc {
    program: Program,
    /// `oc` or `kubectl`, as messages call it.
    name: &'static str,
    globals: Vec<OsString>,
    verbose: bool,
    dry_run: bool,
    limit: Duration,
    interrupts: Interrupts,
    /// Interrupts that have been heard: calls made from now on continue in spite of them, out of reach of Ctrl-C.
    heard: Option<u32>,
    /// Set when what the calls are for is over.
    over: Option<Arc<AtomicBool>>,
}

impl Oc {
    /// Finds the program: the one that `NETOBSERV_K8S_CLI` names, else the one this plugin belongs to by its name
    /// (`called_as`), else the other one.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn find(called_as: &OsStr, access: &Access, interrupts: Interrupts) -> Result<Self, OcError> {
        let (program, name) = find(called_as)?;
        let mut globals = Vec::new();
        for (option, value) in [("--kubeconfig=", &access.kubeconfig), ("--context=", &access.context)] {
            if let Some(value) = value {
                let mut word = OsString::from(option);
                word.push(value);
                globals.push(word);
            }
        }
        Ok(Self {
            program,
            name,
            globals,
            verbose: access.verbose,
            dry_run: access.dry_run,
            limit: access.timeout.min(LONGEST_CALL),
            interrupts,
            heard: None,
            over: None,
        })
    }

    /// What messages call the program.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// No call is made, only printed, and answered as on a cluster where all goes well.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.dry_run
    }

    /// From now on only another interrupt counts.
    pub fn shield(&mut self) {
        self.heard = Some(self.interrupts.number());
    }

    /// The user wants to stop what is being done now.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        let is_over = self.over.as_ref().is_some_and(|over| over.load(Relaxed));
        is_over || self.interrupts.beyond(self.heard.unwrap_or(0))
    }

    /// The same way for calls that are interrupted, too, when this is set.
    #[must_use]
    pub fn until(self, over: &Arc<AtomicBool>) -> Self {
        Self { over: Some(over.clone()), ..self }
    }

    /// The interrupts themselves, for waiting for something else than a call.
    #[must_use]
    pub fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// The same way, without output: for calls during a screen.
    #[must_use]
    pub fn quiet(&self) -> Self {
        Self { verbose: false, ..self.clone() }
    }

    /// A call as a person could type it.
    #[must_use]
    pub fn line(&self, call: &Call) -> String {
        job::line(Path::new(self.name), &self.words(call))
    }

    /// Makes a call, and gives what it wrote.
    ///
    /// # Errors
    ///
    /// It fails, takes too long, or is interrupted.
    pub fn run(&self, call: &Call) -> Result<String, OcError> {
        let mut done = self.done(call, Streams::Kept, &mut |_| false)?;
        self.check(call, &done)?;
        Ok(done.text())
    }

    /// As [`Oc::run`], for a call that could write far more than it should: more than `most` bytes are garbage.
    ///
    /// # Errors
    ///
    /// It fails, takes too long, is interrupted, or writes too much.
    pub fn run_up_to(&self, call: &Call, most: u64) -> Result<String, OcError> {
        let mut too_much = false;
        let mut look = |file: &File| {
            too_much |= file.metadata().is_ok_and(|metadata| metadata.len() > most);
            too_much
        };
        let mut done = self.done(call, Streams::Kept, &mut look)?;
        if too_much {
            return Err(self.garbage(call, format!("more than {most} bytes")));
        }
        self.check(call, &done)?;
        Ok(done.text())
    }

    /// Makes a call whose streams the user follows, and gives its exit code. `stop` may end it.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn attend(&self, call: &Call, streams: Streams, stop: &mut dyn FnMut() -> bool) -> Result<Done, OcError> {
        if self.dry_run {
            return self.printed(call);
        }
        self.print(call);
        let shielded = streams != Streams::Terminal || self.heard.is_some();
        let job = Job { args: self.words(call), input: None, streams, shielded, limit: None };
        let done = job::run(&self.program, &job, &mut |_| stop())?;
        self.settle(done.ending);
        Ok(done)
    }

    /// Ctrl-C reaches a program that is not shielded at the same time as us: when it dies of it, our own handler has run
    /// or will do so in a moment. A program that was killed for another reason costs that moment.
    fn settle(&self, ending: Ending) {
        if !matches!(ending, Ending::Signal(1 | 2 | 15) | Ending::Code(129 | 130 | 143)) {
            return;
        }
        let start = Instant::now();
        while !self.is_interrupted() && start.elapsed() < SETTLING {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits, unless the user wants to stop; `what` is what the waiting is for.
    ///
    /// # Errors
    ///
    /// The user wants to stop.
    pub fn rest(&self, time: Duration, what: &str) -> Result<(), OcError> {
        let start = Instant::now();
        while start.elapsed() < time {
            if self.is_interrupted() {
                return Err(OcError::Interrupted { what: what.to_owned() });
            }
            std::thread::sleep(TICK.min(time));
        }
        Ok(())
    }

    /// Makes a call whose output is kept in a file; `progress` gets the number of bytes so far.
    ///
    /// # Errors
    ///
    /// It cannot be started. How it ended is for the caller to judge.
    pub fn fetch(&self, call: &Call, progress: &mut dyn FnMut(u64)) -> Result<Done, OcError> {
        self.done(call, Streams::Kept, &mut |file| {
            progress(file.metadata().map_or(0, |metadata| metadata.len()));
            false
        })
    }

    /// The error of a call that ended badly.
    ///
    /// # Errors
    ///
    /// It did.
    pub fn check(&self, call: &Call, done: &Done) -> Result<(), OcError> {
        let how = match done.cut {
            Some(Cut::Interrupted) => return Err(OcError::Interrupted { what: call.what.clone() }),
            Some(Cut::TimedOut(limit)) => format!("did not end within {}", seconds(limit)),
            None if done.ending.is_good() => return Ok(()),
            None => done.ending.to_string(),
        };
        let (what, line, text) = (call.what.clone(), self.line(call), one_line(&done.errors));
        Err(Box::new(FailedCall { what, line, how, text, advice: call.advice }).into())
    }

    /// The error of a call that answered with something that makes no sense.
    #[must_use]
    pub fn garbage(&self, call: &Call, text: impl std::fmt::Display) -> OcError {
        OcError::Garbage { what: call.what.clone(), line: self.line(call), text: text.to_string() }
    }

    /// Makes a call that answers with JSON.
    ///
    /// # Errors
    ///
    /// It fails, or answers with something else. An empty answer is `None`.
    pub fn json<T: serde::de::DeserializeOwned>(&self, call: &Call) -> Result<Option<T>, OcError> {
        let text = self.run(call)?;
        self.parsed(call, &text)
    }

    /// The same, and `stop` may interrupt it.
    ///
    /// # Errors
    ///
    /// As [`Oc::json`], or it is interrupted.
    pub fn json_unless<T: serde::de::DeserializeOwned>(
        &self,
        call: &Call,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Option<T>, OcError> {
        let mut done = self.done(call, Streams::Kept, &mut |_| stop())?;
        self.check(call, &done)?;
        self.parsed(call, &done.text())
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, call: &Call, text: &str) -> Result<Option<T>, OcError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(text).map(Some).map_err(|error| self.garbage(call, error))
    }

    /// Makes a call that answers yes or no.
    ///
    /// # Errors
    ///
    /// It answers with something else.
    pub fn yes_or_no(&self, call: &Call) -> Result<bool, OcError> {
        let mut done = self.done(call, Streams::Kept, &mut |_| false)?;
        let text = done.text();
        match text.split_whitespace().next() {
            Some("yes") => Ok(true),
            Some("no") => Ok(false),
            _ => Err(self.check(call, &done).err().unwrap_or_else(|| self.garbage(call, text.trim()))),
        }
    }

    fn done(&self, call: &Call, streams: Streams, look: &mut dyn FnMut(&File) -> bool) -> Result<Done, OcError> {
        if self.is_interrupted() {
            return Err(OcError::Interrupted { what: call.what.clone() });
        }
        if self.dry_run {
            return self.printed(call);
        }
        self.print(call);
        let limit = Some(call.limit.unwrap_or(self.limit));
        let job = Job {
            args: self.words(call),
            input: call.input.as_deref(),
            streams,
            shielded: self.heard.is_some(),
            limit,
        };
        let done = job::run(&self.program, &job, &mut |file| look(file) || self.is_interrupted())?;
        self.settle(done.ending);
        if self.is_interrupted() && !done.ending.is_good() {
            return Err(OcError::Interrupted { what: call.what.clone() });
        }
        Ok(done)
    }

    /// In a dry run a call is printed, and its canned answer is taken for the cluster's.
    fn printed(&self, call: &Call) -> Result<Done, OcError> {
        call.print(&self.line(call));
        call.implied.iter().for_each(|call| call.print(&self.line(call)));
        let refused = |source| ProcessError::Refused { path: std::env::temp_dir(), source };
        let mut output = tempfile::tempfile().map_err(refused)?;
        output.write_all(call.canned.as_bytes()).and_then(|()| output.rewind()).map_err(refused)?;
        Ok(Done { ending: Ending::Code(0), cut: None, output, errors: String::new() })
    }

    fn print(&self, call: &Call) {
        if self.verbose {
            progress::warn(&format!("+ {}", plain::line(&self.line(call))));
        }
    }

    fn words(&self, call: &Call) -> Vec<OsString> {
        self.globals.iter().chain(&call.args).cloned().collect()
    }
}

/// A time for messages.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{} s", (time.as_millis() as f64 / 100.0).round() / 10.0)
}

/// How a program ended, when it did not end well.
pub(crate) fn exit_code(ending: Ending) -> u8 {
    match ending {
        Ending::Code(code) => u8::try_from(code).unwrap_or(1),
        Ending::Signal(number) => u8::try_from(128 + number).unwrap_or(1),
    }
}

fn find(called_as: &OsStr) -> Result<(Program, &'static str), OcError> {
    if let Some(named) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        let program = Program::along_path("oc", &named).ok_or_else(|| OcError::Misnamed(named.clone()))?;
        return Ok((program, title(&named)));
    }
    let names = if title(called_as) == "kubectl" { ["kubectl", "oc"] } else { ["oc", "kubectl"] };
    let mut found = names.into_iter().filter_map(|name| Some((Program::along_path(name, name.as_ref())?, name)));
    found.next().ok_or(OcError::Missing)
}

/// `kubectl` for `/x/kubectl-netobserv` and the like.
fn title(path: &OsStr) -> &'static str {
    let file = Path::new(path).file_name().unwrap_or(path).to_string_lossy();
    if file.starts_with("kubectl") { "kubectl" } else { "oc" }
}

#[cfg(test)]
mod tests;
