//! What the user sees while a capture runs: the screen, or lines. Either reads a queue that never makes the capture wait.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use netobserv_stdio as stdio;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::{Format, Options};
use crate::lines::Lines;
use crate::output::Paths;
use crate::summary;
use crate::tui::{MetricsSource, PacketSource, Screen, Source};

const NO_TERMINAL: &str = "cannot take the terminal for the screen (--no-tui does without)";

/// A view at work.
pub enum View {
    /// On a terminal.
    Screen(Screen),
    /// Without one: flows on standard output, progress on standard error.
    Lines {
        /// The flows.
        lines: Lines,
        /// The progress.
        progress: JoinHandle<()>,
    },
    /// The progress only.
    Progress(JoinHandle<()>),
}

impl View {
    /// Starts what was asked for, or else what there is a terminal for.
    ///
    /// # Errors
    /// When the terminal cannot be taken.
    pub fn start(options: &Options, paths: &Paths, source: Source) -> anyhow::Result<Self> {
        if has_screen(options) {
            return Screen::flows(options, paths, source).map(Self::Screen).context(NO_TERMINAL);
        }
        let (started, counts) = (source.started, source.counts);
        let quiet = options.quiet;
        let tell = move || {
            if !quiet {
                stdio::stderr().put(format!("{}\n", summary::line(started.elapsed(), &counts.totals())));
            }
        };
        let progress = tokio::spawn(each_second(tell));
        let unasked = if options.background { Format::None } else { Format::Text };
        let lines = Lines::start(source.intake, options.lines.unwrap_or(unasked)).context("cannot start a thread")?;
        Ok(Self::Lines { lines, progress })
    }

    /// Starts the screen of a capture of packets into this file.
    ///
    /// # Errors
    /// When the terminal cannot be taken.
    pub fn packets(options: &Options, file: &Path, source: PacketSource) -> anyhow::Result<Self> {
        Screen::packets(options, file, source).map(Self::Screen).context(NO_TERMINAL)
    }

    /// Starts the screen of a capture of metrics.
    ///
    /// # Errors
    /// When the terminal cannot be taken.
    pub fn metrics(options: &Options, source: MetricsSource) -> anyhow::Result<Self> {
        Screen::metrics(options, source).map(Self::Screen).context(NO_TERMINAL)
    }

    /// Gives the terminal back. Lines continue until the pipeline is closed.
    pub fn stop(self) -> Option<Lines> {
        match self {
            Self::Screen(screen) => {
                screen.stop();
                None
            }
            Self::Lines { lines, progress } => {
                progress.abort();
                Some(lines)
            }
            Self::Progress(progress) => {
                progress.abort();
                None
            }
        }
    }
}

/// Whether there is a terminal for a screen, and nothing else was asked for.
pub(crate) fn has_screen(options: &Options) -> bool {
    options.lines.is_none() && !options.background && options.look.has_screen() && std::io::stdout().is_terminal()
}

/// Prints what ends a capture: on standard output, unless that is for the flows that were asked for.
pub fn say(options: &Options, line: &str) {
    match options.lines {
        _ if options.quiet => {}
        Some(Format::Json | Format::Text) => summary::complain(line),
        _ => summary::say(line),
    }
}

/// Reports the state of the capture, once a second.
pub(crate) async fn each_second(tell: impl Fn()) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        tell();
    }
}
