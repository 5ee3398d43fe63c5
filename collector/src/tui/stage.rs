//! How far a capture is that outlives its limit on the screen: its files are finished while the screen goes on answering.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Makes lines for the end.
type Report = Box<dyn Fn() -> Vec<String> + Send>;

/// Shared by the capture and its screen.
#[derive(Clone, Default)]
pub struct Stage(Arc<Shared>);

#[derive(Default)]
struct Shared {
    at: Mutex<At>,
    left: Notify,
    report: Mutex<Option<Report>>,
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

    /// The files are finished.
    pub fn finished(&self) {
        let mut at = lock(&self.0.at);
        if let At::Finishing(reason) = &mut *at {
            *at = At::Finished(std::mem::take(reason));
        }
    }

    /// Returns when the user leaves the screen.
    pub async fn left(&self) {
        self.0.left.notified().await;
    }

    /// What the screen has to report at the end: the conversations with the most bytes.
    pub fn report(&self) -> Vec<String> {
        lock(&self.0.report).as_ref().map(|report| report()).unwrap_or_default()
    }

    pub(super) fn at(&self) -> At {
        lock(&self.0.at).clone()
    }

    pub(super) fn leave(&self) {
        self.0.left.notify_one();
    }

    pub(super) fn reports(&self, report: Report) {
        *lock(&self.0.report) = Some(report);
    }
}
