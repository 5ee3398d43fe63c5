//! What the plugin says while it works. The lines that scripts match go to standard output, as they always have, unless
//! the capture itself is written there. Nothing that others wrote reaches the terminal as it is: see [`plain`].

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netobserv_contract::plain;

/// Redraws of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// Where the lines go.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// Standard output carries data.
    pub on_stderr: bool,
}

impl Steps {
    /// A line of the session. A terminal that is gone is no reason to stop.
    pub fn say(self, line: &str) {
        let line = plain::lines(line);
        let _ = if self.on_stderr { writeln!(io::stderr(), "{line}") } else { writeln!(io::stdout(), "{line}") };
    }

    /// What a program answered, line by line.
    pub fn answer(self, text: &str) {
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).for_each(|line| self.say(line));
    }
}

/// A line about something that does not stop the session.
pub fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "{}", plain::lines(line));
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
    if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}
