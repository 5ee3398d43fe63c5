//! What the plugin prints while it works. The lines that scripts match go to standard output, as they always have, unless
//! the capture itself is written there. Nothing that others wrote reaches the terminal as it is: see [`plain`].

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netobserv_contract::plain;
use netobserv_stdio as stdio;

use crate::options::Access;

/// Redraws of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// What `oc delete` prints where there is nothing to delete: the very thing that was wanted.
const NOTHING_THERE: &str = "No resources found";

/// How much is printed, and where.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Standard output carries data.
    on_stderr: bool,
    detail: Detail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// With `-q`, and in a dry run, which prints calls and nothing else.
    Nothing,
    /// What is being done.
    Progress,
    /// Also with which values, and what was answered.
    Everything,
}

/// The line of the step under way, where it is drawn.
static STEP: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// No spinner is drawn.
static SILENT: AtomicBool = AtomicBool::new(false);

impl Progress {
    /// As these settings have it; `on_stderr` where standard output carries data.
    #[must_use]
    pub fn new(access: &Access, on_stderr: bool) -> Self {
        let detail = match access {
            access if access.quiet || access.dry_run => Detail::Nothing,
            access if access.verbose => Detail::Everything,
            _ => Detail::Progress,
        };
        SILENT.store(detail == Detail::Nothing, Relaxed);
        Self { on_stderr, detail }
    }

    /// A line of the session. Whether it could be written is asked at the end of the program.
    pub fn print(self, line: &str) {
        if self.detail == Detail::Nothing {
            return;
        }
        let stream = if self.on_stderr { stdio::stderr() } else { stdio::stdout() };
        beside_step(|| drop(stream.write(format!("{}\n", plain::lines(line)))));
    }

    /// A step of the setup: on a terminal `words` in a line that the next step overwrites, else `line`, which scripts match.
    pub fn step(self, line: &str, words: &str) {
        let target = target();
        if self.detail != Detail::Progress || !io::stdout().is_terminal() || target.is_hidden() {
            return self.print(line);
        }
        let words = plain::line(words).into_owned();
        step_bar().get_or_insert_with(|| spinner("")).set_message(words);
    }

    /// What few need to see: a value, or a line of an answer.
    pub fn detail(self, line: &str) {
        if self.detail == Detail::Everything {
            self.print(line);
        }
    }

    /// What a program answered, line by line.
    pub fn answer(self, text: &str) {
        let lines = text.lines().map(str::trim_end);
        lines.filter(|line| !line.is_empty() && !line.starts_with(NOTHING_THERE)).for_each(|line| self.detail(line));
    }
}

/// A line about something that does not stop the session.
pub fn warn(line: &str) {
    beside_step(|| drop(stdio::stderr().write(format!("{}\n", plain::lines(line)))));
}

/// Removes the line of the last step.
pub fn end_steps() {
    if let Some(bar) = step_bar().take() {
        bar.finish_and_clear();
    }
}

fn step_bar() -> MutexGuard<'static, Option<ProgressBar>> {
    STEP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes lines while the line of the step is off the terminal.
fn beside_step(write: impl FnOnce()) {
    match &*step_bar() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes what was asked for to standard output, for a reader that may take its time. Whether that worked is asked at the end of
/// the program.
pub fn print(text: &str) {
    let _ = stdio::stdout().write_patiently(text);
}

/// A person can be asked: both ends of the conversation are a terminal.
#[must_use]
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Shows on a terminal that something takes time; nowhere else.
#[must_use]
pub fn spinner(text: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target());
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message(plain::line(text).into_owned());
    bar.enable_steady_tick(TICK);
    bar
}

fn target() -> ProgressDrawTarget {
    let drawn = io::stderr().is_terminal() && !is_dumb() && !SILENT.load(Relaxed);
    if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// The user's terminal prints escape sequences as text. Without any TERM it is taken for one that does not.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term.is_empty() || term == "dumb")
}
