//! From the pipeline to whoever shows flows: a queue that never makes the pipeline wait. What finds no room is counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netobserv_wire::Flow;

/// Rows that wait at most. A row is 0.4 to 1 KB.
const MOST_WAITING: usize = 65_536;

/// Rows that several threads read.
pub type Rows = Arc<Vec<Flow>>;

/// The entrance, held by the pipeline.
#[derive(Debug)]
pub struct Feed {
    sender: Mutex<Option<Sender<Rows>>>,
    waiting: Arc<AtomicUsize>,
    missed: Arc<AtomicU64>,
}

/// The exit, held by the screen or by the writer of lines.
#[derive(Debug)]
pub struct Intake {
    receiver: Receiver<Rows>,
    waiting: Arc<AtomicUsize>,
    missed: Arc<AtomicU64>,
}

/// What [`Intake::next`] brings.
#[derive(Debug)]
pub enum Next {
    /// Rows.
    Rows(Rows),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    End,
}

/// A queue.
pub fn queue() -> (Feed, Intake) {
    let (sender, receiver) = channel();
    let (waiting, missed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
    let feed = Feed { sender: Mutex::new(Some(sender)), waiting: waiting.clone(), missed: missed.clone() };
    (feed, Intake { receiver, waiting, missed })
}

impl Feed {
    /// Hands rows on, if there is room.
    pub fn offer(&self, rows: &Rows) {
        if self.waiting.load(Relaxed) >= MOST_WAITING {
            self.missed.fetch_add(rows.len() as u64, Relaxed);
            return;
        }
        if let Some(sender) = &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            self.waiting.fetch_add(rows.len(), Relaxed);
            // A reader that is gone misses nothing.
            let _ = sender.send(rows.clone());
        }
    }

    /// Nothing follows.
    pub fn close(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Intake {
    /// The next rows, waited for at most `time`.
    pub fn next(&self, time: Duration) -> Next {
        match self.receiver.recv_timeout(time) {
            Ok(rows) => {
                self.waiting.fetch_sub(rows.len(), Relaxed);
                Next::Rows(rows)
            }
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// Rows that found no room until now.
    pub fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_counts_and_never_waits() {
        let (feed, intake) = queue();
        let rows: Rows = Arc::new(vec![Flow::default(); 1_000]);
        (0..100).for_each(|_| feed.offer(&rows));
        assert_eq!(intake.missed(), 34_000, "66 batches fit");
        let mut taken = 0;
        while let Next::Rows(rows) = intake.next(Duration::ZERO) {
            taken += rows.len();
        }
        assert_eq!(taken, 66_000);
        feed.offer(&rows);
        feed.close();
        feed.offer(&rows);
        assert!(matches!(intake.next(Duration::ZERO), Next::Rows(_)), "there is room again");
        assert!(matches!(intake.next(Duration::ZERO), Next::End));
    }
}
