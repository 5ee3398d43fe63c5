//! How far a capture is that outlives its limit on the screen: its files are finished while the screen keeps answering, and the user
//! may continue for another period.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum At {
    /// It captures.
    #[default]
    Capturing,
    /// It has ended for this reason, and its files are being finished.
    Finishing(String),
    /// The same with finished files.
    Finished(String),
}

/// Makes the lines for the end, with those about problems in their place.
type Report = Box<dyn Fn(Vec<String>) -> Vec<String> + Send>;

/// Shared by the capture and its screen.
#[derive(Clone, Default)]
pub struct Stage(Arc<Shared>);

#[derive(Default)]
struct Shared {
    at: Mutex<At>,
    periods: Mutex<Periods>,
    chosen: Notify,
    report: Mutex<Option<Report>>,
}

/// The times of a capture that continues after its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Periods {
    /// How long it can continue now.
    pub(super) more: Option<Duration>,
    /// Its limit, once it continued.
    pub(super) limit: Option<Duration>,
    /// How long it rested at its limits.
    pub(super) rested: Duration,
    goes_on: bool,
}

/// What the user wants of a capture that has reached its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The end.
    Leave,
    /// Another period.
    GoOn,
}

impl fmt::Debug for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Stage").field(&*lock(&self.0.at)).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// The capture has ended for a reason; its files are not finished yet.
    pub fn ends(&self, reason: String) {
        *lock(&self.0.at) = At::Finishing(reason);
    }

    /// The files are finished, and the capture can continue for this much `more`.
    pub fn finished(&self, more: Option<Duration>) {
        lock(&self.0.periods).more = more;
        let mut at = lock(&self.0.at);
        if let At::Finishing(reason) = &mut *at {
            *at = At::Finished(std::mem::take(reason));
        }
    }

    /// Returns what the user wants at the limit.
    pub async fn chosen(&self) -> Choice {
        self.0.chosen.notified().await;
        let goes_on = std::mem::take(&mut lock(&self.0.periods).goes_on);
        if goes_on { Choice::GoOn } else { Choice::Leave }
    }

    /// The capture continues until `limit`, after it has rested this long.
    pub fn goes_on(&self, limit: Duration, rested: Duration) {
        *lock(&self.0.periods) = Periods { limit: Some(limit), rested, ..Periods::default() };
        *lock(&self.0.at) = At::Capturing;
    }

    /// How long the capture rested at its limits.
    pub fn rested(&self) -> Duration {
        self.periods().rested
    }

    /// What is reported at the end: of a screen the conversations with the most bytes and what was dropped, around `problems`.
    pub fn report(&self, problems: Vec<String>) -> Vec<String> {
        match &*lock(&self.0.report) {
            Some(report) => report(problems),
            None => problems,
        }
    }

    pub(super) fn at(&self) -> At {
        lock(&self.0.at).clone()
    }

    pub(super) fn periods(&self) -> Periods {
        *lock(&self.0.periods)
    }

    pub(super) fn leave(&self) {
        self.0.chosen.notify_one();
    }

    /// The user wants another period.
    pub(super) fn go_on(&self) {
        lock(&self.0.periods).goes_on = true;
        self.0.chosen.notify_one();
    }

    pub(super) fn reports(&self, report: Report) {
        *lock(&self.0.report) = Some(report);
    }
}
