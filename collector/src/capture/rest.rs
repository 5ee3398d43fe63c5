//! The time between a limit and what the user of the screen makes of it: agents keep nothing, the rows that came are in the files, and
//! the screen answers until the user leaves it, or continues for another period.

use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::time::sleep;
use tracing::warn;

use super::{Period, stdout_broken};
use crate::cli::Options;
use crate::control::Running;
use crate::counts::{Agent, Counts};
use crate::signals::Signals;
use crate::tui::{Choice, Stage};

/// Longest time until agents keep nothing and what they had is in the files.
const SETTLE: Duration = Duration::from_secs(5);
/// How often that is checked.
const LOOK: Duration = Duration::from_millis(20);
/// Windows after which an agent that keeps nothing has sent what it had.
const WINDOWS: u32 = 2;
/// An agent that was silent for this long is not waited for.
const ALIVE: Duration = Duration::from_secs(5);

/// What rests.
pub(super) struct Resting<'a> {
    pub(super) options: &'a Options,
    pub(super) counts: &'a Counts,
    pub(super) stage: &'a Stage,
}

impl Resting<'_> {
    /// Rests until the user leaves the screen, or is gone; returns the next period when the user continues instead, which ends what is
    /// limited by time.
    pub(super) async fn until_chosen(
        &self,
        (reason, period): (String, Option<Period>),
        signals: &mut Signals,
        running: &mut Option<Running>,
    ) -> Option<Period> {
        let Self { counts, stage, .. } = self;
        let since = Instant::now();
        let more = period.and_then(|period| self.more(period, running.is_some()));
        stage.ends(reason);
        counts.pushed().pause(Utc::now());
        let asked = async {
            match running {
                Some(running) => drop(running.asked().await),
                None => std::future::pending().await,
            }
        };
        let choice = async {
            settle(counts).await;
            stage.finished(more);
            stage.chosen().await
        };
        let choice = tokio::select! {
            choice = choice => choice,
            _ = signals.next() => Choice::Leave,
            () = asked => Choice::Leave,
            _ = stdout_broken() => Choice::Leave,
        };
        let more = more.filter(|_| choice == Choice::GoOn)?;
        counts.pushed().resume(Utc::now());
        let period = Period { limit: period?.limit + more, rested: stage.rested() + since.elapsed() };
        stage.goes_on(period.limit, period.rested);
        if let Some(Err(error)) = running.as_mut().map(|running| running.lasts(period.limit + period.rested)) {
            warn!("cannot record that the capture continues: {error}");
        }
        Some(period)
    }

    /// How long a capture can continue after this period. The pod of a collector, and its certificates, outlast the time that was asked for by
    /// the time for which files are kept; half of it is left for that.
    fn more(&self, period: Period, in_pod: bool) -> Option<Duration> {
        let more = self.options.max_time?;
        let latest = more + self.options.keep / 2;
        (!in_pod || period.limit + period.rested + more <= latest).then_some(more)
    }
}

/// Waits until agents keep nothing, and what they had is in the files. From then on nothing else gets there.
async fn settle(counts: &Counts) {
    let start = Instant::now();
    let mut quiet: Option<Instant> = None;
    while start.elapsed() < SETTLE {
        let number = counts.pushed().number();
        let agents = counts.agents();
        let heard = |agent: &&Agent| agent.silent_for(start).is_some_and(|silent| silent < ALIVE);
        let mut alive = agents.values().filter(heard).peekable();
        let window = agents.values().map(|agent| Duration::from_millis(agent.window_ms.into())).max();
        let grace = if alive.peek().is_some() { window.unwrap_or_default() * WINDOWS } else { Duration::ZERO };
        if alive.all(|agent| agent.filter == number && agent.filter_error.is_empty()) {
            let is_over = quiet.get_or_insert_with(Instant::now).elapsed() >= grace;
            if is_over && is_written(counts) {
                break;
            }
        } else {
            quiet = None;
        }
        sleep(LOOK).await;
    }
    counts.pushed().shut();
}

/// All rows that came are in both files.
fn is_written(counts: &Counts) -> bool {
    let totals = counts.totals();
    let rows = totals.flows + totals.duplicates;
    totals.json_rows + totals.json_lost >= rows && totals.sqlite_rows + totals.sqlite_lost >= rows
}
