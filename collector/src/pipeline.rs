//! From the receivers to the sinks: one queue, bounded by rows, read by one thread for each sink.
//!
//! A batch holds its places in the queue until the last sink has dropped it. So the slowest sink sets the
//! pace: receivers wait for room, and refuse when there is none in time. The screen only peeks.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netobserv_wire::Flow;
use netobserv_wire::flow::Duplicate;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout_at;

use crate::counts::Counts;
use crate::enrich::Names;
use crate::feed::Feed;
use crate::once::Once;
use crate::own::Own;
use crate::query::{Predicate, Scratch};
use crate::room::Room;
use crate::rows::Rows;
use crate::sink::{Sink, SinkError};

/// Rows in the queue. A row is 0.4 to 1 KB.
pub const ROOM: usize = 32_768;
/// How often a sink may do what is due without rows.
const TICK: Duration = Duration::from_millis(200);

/// Rows on their way to the sinks.
struct Batch {
    rows: Rows,
    _room: Room,
}

/// One for each sink.
type Senders = Vec<Sender<Arc<Batch>>>;

/// The queue's entrance.
pub struct Pipeline {
    room: Arc<Semaphore>,
    sinks: RwLock<Option<Senders>>,
    screen: Option<Feed>,
    counts: Arc<Counts>,
    names: Option<Arc<Names>>,
    query: Option<Predicate>,
    own: Option<Own>,
    once: Once,
    /// Duplicates are shown like other records.
    shows_all: bool,
}

/// The capture is over; nothing is accepted any more.
#[derive(Debug)]
pub struct Closed;

/// The sinks at work.
pub struct Sinks {
    threads: Vec<JoinHandle<Fed>>,
    failed: Arc<Notify>,
}

/// A sink that has had all its rows, and how that went.
type Fed = (Box<dyn Sink>, Result<(), SinkError>);

impl Pipeline {
    /// Starts a thread for each sink; rows are shown to `screen` as well.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start(sinks: Vec<Box<dyn Sink>>, counts: Arc<Counts>, screen: Option<Feed>) -> io::Result<(Self, Sinks)> {
        let failed = Arc::new(Notify::new());
        let (mut senders, mut threads) = (Vec::new(), Vec::new());
        for sink in sinks {
            let (sender, receiver) = channel();
            let failed = failed.clone();
            senders.push(sender);
            let thread = std::thread::Builder::new().name(sink.name().into());
            threads.push(thread.spawn(move || run(sink, &receiver, &failed))?);
        }
        let room = Arc::new(Semaphore::new(ROOM));
        Ok((
            Self {
                room,
                sinks: RwLock::new(Some(senders)),
                screen,
                once: Once::new(counts.clone(), false),
                counts,
                names: None,
                query: None,
                own: None,
                shows_all: false,
            },
            Sinks { threads, failed },
        ))
    }

    /// Rows get their names from `names`.
    #[must_use]
    pub fn with_names(mut self, names: Option<Arc<Names>>) -> Self {
        self.names = names;
        self
    }

    /// Keeps only the rows that `query` wants.
    #[must_use]
    pub fn with_query(mut self, query: Option<Predicate>) -> Self {
        self.once = Once::new(self.counts.clone(), query.is_some());
        self.query = query;
        self
    }

    /// Leaves out the capture's own traffic.
    #[must_use]
    pub fn without(mut self, own: Option<Own>) -> Self {
        self.own = own;
        self
    }

    /// Shows duplicates too.
    #[must_use]
    pub fn showing_all(mut self, shows_all: bool) -> Self {
        self.shows_all = shows_all;
        self
    }

    fn select(&self, rows: &mut Vec<Flow>) {
        if self.counts.pushed().is_shut() {
            rows.clear();
        }
        if let Some(own) = &self.own {
            let (before, mut bytes) = (rows.len(), 0);
            rows.retain(|row| {
                let is_own = own.has(row);
                bytes += if is_own { row.bytes } else { 0 };
                !is_own
            });
            self.counts.own((before - rows.len()) as u64, bytes);
        }
        let Some(query) = &self.query else { return };
        let (before, mut scratch) = (rows.len(), Scratch::default());
        rows.retain(|row| query.holds(row, &mut scratch));
        self.counts.filtered((before - rows.len()) as u64);
        // Packets that the query wants under the tuple after translation, and not under the one before it, count there.
        for row in rows.iter_mut().filter(|row| row.duplicate == Some(Duplicate::Translation)) {
            let counts_there = row.before_translation().is_some_and(|before| query.holds(&before, &mut scratch));
            row.duplicate = row.duplicate.filter(|_| counts_there);
        }
    }

    /// Waits for room for `rows` rows until `deadline`. More than [`ROOM`] rows get [`ROOM`] places.
    pub async fn reserve(&self, rows: usize, deadline: Instant) -> Option<Room> {
        timeout_at(deadline.into(), self.reserve_patiently(rows)).await.ok()?
    }

    /// Waits for room for `rows` rows as long as it takes; `None` when there will be none.
    pub async fn reserve_patiently(&self, rows: usize) -> Option<Room> {
        let places = u32::try_from(rows.min(ROOM)).ok()?;
        self.room.clone().acquire_many_owned(places).await.ok().map(Room::of)
    }

    /// The way in; the pipeline is not closed while it is held.
    pub fn entrance(&self) -> Result<Entrance<'_>, Closed> {
        let sinks = self.sinks.read().unwrap_or_else(PoisonError::into_inner);
        if sinks.is_some() { Ok(Entrance { pipeline: self, sinks }) } else { Err(Closed) }
    }

    /// Nothing is accepted from now on; the sinks finish what is in the queue and end.
    pub fn close(&self) {
        self.room.close();
        if let Ok(entrance) = self.entrance() {
            entrance.release(true);
        }
        self.counts.set_between(self.once.between());
        *self.sinks.write().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(screen) = &self.screen {
            screen.close();
        }
    }
}

/// The way in.
pub struct Entrance<'a> {
    pipeline: &'a Pipeline,
    sinks: RwLockReadGuard<'a, Option<Senders>>,
}

impl Entrance<'_> {
    /// Hands rows of a node's agent to every sink. `room` must hold at least as many places. A row may be handed on later: until it
    /// is known whether it counts.
    pub fn push(&self, mut rows: Vec<Flow>, mut room: Room, node: &str) {
        if let Some(names) = &self.pipeline.names {
            names.name(&mut rows);
        }
        self.pipeline.once.identify(&mut rows);
        self.pipeline.select(&mut rows);
        self.pipeline.once.mark(&mut rows, &mut room, node, Instant::now());
        self.hand_on(rows, room);
    }

    /// Hands on the rows of earlier calls of which it is known now whether they count; all of them at the `end`.
    pub fn release(&self, end: bool) {
        let (mut rows, mut room) = (Vec::new(), Room::default());
        self.pipeline.once.release(&mut rows, &mut room, Instant::now(), end);
        self.hand_on(rows, room);
    }

    fn hand_on(&self, rows: Vec<Flow>, room: Room) {
        if rows.is_empty() {
            return;
        }
        let rows = Rows::new(rows, self.pipeline.shows_all);
        self.pipeline.counts.accepted(rows.all());
        if let Some(screen) = &self.pipeline.screen {
            screen.offer(&rows);
        }
        let batch = Arc::new(Batch { rows, _room: room });
        for sink in self.sinks.iter().flatten() {
            // A sink's thread ends only after the sender is gone.
            let _ = sink.send(batch.clone());
        }
    }
}

impl Sinks {
    /// Returns when a sink has failed.
    pub async fn failed(&self) {
        self.failed.notified().await;
    }

    /// Waits until every sink has written what is in the queue, lets one after the other finish its file, and
    /// returns the first failure. Blocks.
    pub fn join(self) -> Result<(), SinkError> {
        let fed: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        let finished = fed.into_iter().map(|thread| {
            let (mut sink, result) = thread.map_err(|_| SinkError::Panicked)?;
            let finished = sink.finish(result.is_ok());
            result.and(finished)
        });
        finished.collect::<Vec<_>>().into_iter().collect()
    }
}

/// Feeds a sink until the queue is closed. A sink that failed is not written to again; its rows are counted as lost.
fn run(mut sink: Box<dyn Sink>, batches: &Receiver<Arc<Batch>>, failed: &Notify) -> Fed {
    let result = feed(sink.as_mut(), batches);
    if result.is_err() {
        failed.notify_one();
        batches.iter().for_each(|batch| sink.lost(batch.rows.all().len()));
    }
    (sink, result)
}

fn feed(sink: &mut dyn Sink, batches: &Receiver<Arc<Batch>>) -> Result<(), SinkError> {
    let mut ticked = Instant::now();
    loop {
        match batches.recv_timeout(TICK) {
            Ok(batch) => sink.write(batch.rows.all())?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if ticked.elapsed() >= TICK {
            sink.tick()?;
            ticked = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Takes rows only when the test lets it.
    struct Gate {
        open: Receiver<()>,
        written: Arc<AtomicUsize>,
    }

    impl Sink for Gate {
        fn name(&self) -> &'static str {
            "gate"
        }

        fn write(&mut self, rows: &[Flow]) -> Result<(), SinkError> {
            self.open.recv().map_err(|_| SinkError::Panicked)?;
            self.written.fetch_add(rows.len(), Relaxed);
            Ok(())
        }

        fn finish(&mut self, _: bool) -> Result<(), SinkError> {
            Ok(())
        }

        fn lost(&mut self, rows: usize) {
            self.written.fetch_add(1_000_000 * rows, Relaxed);
        }
    }

    fn gated() -> (Pipeline, Sinks, Sender<()>, Arc<AtomicUsize>) {
        let ((key, open), written) = (channel(), Arc::new(AtomicUsize::new(0)));
        let sink = Box::new(Gate { open, written: written.clone() });
        let (pipeline, sinks) = Pipeline::start(vec![sink], Arc::default(), None).unwrap();
        (pipeline, sinks, key, written)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[tokio::test]
    async fn a_slow_sink_fills_the_queue_and_room_comes_back() {
        let (pipeline, sinks, key, written) = gated();
        for _ in 0..2 {
            let room = pipeline.reserve(ROOM / 2, soon()).await.unwrap();
            pipeline.entrance().unwrap().push(vec![Flow::default(); ROOM / 2], room, "");
        }
        assert!(pipeline.reserve(1, soon()).await.is_none());
        key.send(()).unwrap();
        let room = pipeline.reserve_patiently(ROOM / 2).await.unwrap();
        assert_eq!(room.places(), ROOM / 2);
        key.send(()).unwrap();
        drop(room);
        pipeline.close();
        sinks.join().unwrap();
        assert_eq!(written.load(Relaxed), ROOM);
    }

    #[tokio::test]
    async fn rows_after_a_failure_are_counted_as_lost() {
        let (pipeline, sinks, key, written) = gated();
        drop(key);
        for _ in 0..2 {
            let room = pipeline.reserve(3, soon()).await.unwrap();
            pipeline.entrance().unwrap().push(vec![Flow::default(); 3], room, "");
            sinks.failed.notify_one();
            sinks.failed().await;
        }
        pipeline.close();
        assert!(sinks.join().is_err());
        assert_eq!(written.load(Relaxed), 3_000_000);
    }

    #[tokio::test]
    async fn a_closed_pipeline_takes_nothing() {
        let (pipeline, sinks, _key, _) = gated();
        let mut room = pipeline.reserve(9, soon()).await.unwrap();
        assert_eq!((room.split(4).unwrap().places(), room.places()), (4, 5));
        pipeline.close();
        assert!(pipeline.entrance().is_err());
        assert!(pipeline.reserve_patiently(1).await.is_none());
        sinks.join().unwrap();
    }
}
