//! From the pipeline to the screen or the printed lines, and from the writer of packets to their screen: a queue that never makes the sender
//! wait. What finds no room is counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use crate::rows::Rows;

/// Rows that wait at most. A row is 0.4 to 1 KB.
const MOST_WAITING: usize = 65_536;

/// The entrance, held by the sender.
#[derive(Debug)]
pub struct Feed<T = Rows> {
    sender: Mutex<Option<Sender<(T, usize)>>>,
    waiting: Arc<AtomicUsize>,
    missed: Arc<AtomicU64>,
    most: usize,
}

/// The exit, held by the screen or by the writer of lines.
#[derive(Debug)]
pub struct Intake<T = Rows> {
    receiver: Receiver<(T, usize)>,
    waiting: Arc<AtomicUsize>,
    missed: Arc<AtomicU64>,
}

/// What [`Intake::next`] brings.
#[derive(Debug)]
pub enum Next<T = Rows> {
    /// Rows.
    Rows(T),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    End,
}

/// A queue of rows.
pub fn queue() -> (Feed, Intake) {
    queue_of(MOST_WAITING)
}

/// A queue of things that weigh so much together, at most.
pub(crate) fn queue_of<T>(most: usize) -> (Feed<T>, Intake<T>) {
    let (sender, receiver) = channel();
    let (waiting, missed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
    let feed = Feed { sender: Mutex::new(Some(sender)), waiting: waiting.clone(), missed: missed.clone(), most };
    (feed, Intake { receiver, waiting, missed })
}

impl Feed {
    /// Hands rows on, if there is room.
    pub fn offer(&self, rows: &Rows) {
        self.put(rows.all().len(), rows.len(), || rows.clone());
    }
}

impl<T> Feed<T> {
    /// Hands a thing of this weight on, if there is room; else counts it as so many.
    pub fn put(&self, weight: usize, number: usize, thing: impl FnOnce() -> T) {
        if self.waiting.load(Relaxed) >= self.most {
            self.missed.fetch_add(number as u64, Relaxed);
            return;
        }
        if let Some(sender) = &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            self.waiting.fetch_add(weight, Relaxed);
            // A reader that is gone misses nothing.
            let _ = sender.send((thing(), weight));
        }
    }

    /// Nothing follows.
    pub fn close(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<T> Intake<T> {
    /// What is next, waited for at most `time`.
    pub fn next(&self, time: Duration) -> Next<T> {
        match self.receiver.recv_timeout(time) {
            Ok((rows, weight)) => {
                self.waiting.fetch_sub(weight, Relaxed);
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
    use netobserv_wire::Flow;

    #[test]
    fn a_full_queue_counts_and_never_waits() {
        let (feed, intake) = queue();
        let rows: Rows = vec![Flow::default(); 1_000].into();
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
