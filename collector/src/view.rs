//! What somebody sees while a capture runs: the screen, or lines. Either reads a queue that never makes the capture wait.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::{Format, Options};
use crate::counts::Counts;
use crate::lines::Lines;
use crate::output::Paths;
use crate::summary;
use crate::tui::{Screen, Source};

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
        if options.lines.is_none() && !options.background && std::io::stdout().is_terminal() {
            let screen = Screen::start(options, paths, source);
            return screen.map(Self::Screen).context("cannot take the terminal for the screen (--no-tui does without)");
        }
        let progress = tokio::spawn(tell_progress(source.started, source.counts));
        let unasked = if options.background { Format::None } else { Format::Text };
        let lines = Lines::start(source.intake, options.lines.unwrap_or(unasked)).context("cannot start a thread")?;
        Ok(Self::Lines { lines, progress })
    }

    /// Gives the terminal back. Lines go on until the pipeline is closed.
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

/// Prints what ends a capture: on standard output, unless that is for JSON only.
pub fn say(options: &Options, line: &str) {
    match options.lines {
        Some(Format::Json) => eprintln!("{line}"),
        _ => summary::say(line),
    }
}

async fn tell_progress(started: Instant, counts: Arc<Counts>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        eprintln!("{}", summary::line(started.elapsed(), &counts.totals()));
    }
}
