//! Reads a capture as far as the clock of a replay is, a little ahead of what is shown.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use netobserv_wire::Flow;

use super::clock::Goal;
use super::{Open, Shared};
use crate::tui::problems::Problems;
use crate::tui::scene::locked;
use crate::why::observation;

/// Flows that are handed over at once, and how many times as many may wait.
const BATCH: usize = 512;
const BATCHES: usize = 8;
/// Flows that are shown at once: of this much time of the capture at most.
const STEP: usize = 256;
const STEP_MS: u64 = 500;
/// Real time of one look at the clock, and between two of them.
const SLICE: Duration = Duration::from_millis(40);
const TICK: Duration = Duration::from_millis(20);
/// Looking for problems takes at most this part of the time.
const LOOK_FACTOR: u32 = 4;

type Batch = anyhow::Result<Vec<Flow>>;

/// What is read.
struct Reader {
    rows: Receiver<Batch>,
    waiting: VecDeque<Flow>,
    /// Time of the latest flow that was taken.
    read: u64,
}

/// What comes next.
enum Next {
    Rows(Vec<Flow>),
    /// Nothing until the time that was asked for.
    Nothing,
    /// It is not read yet.
    Later,
    Failed(anyhow::Error),
}

fn start(open: &Open) -> Receiver<Batch> {
    let (send, rows) = sync_channel(BATCHES);
    let open = open.clone();
    // Without a thread nothing comes, as at the end of the capture.
    let _ = std::thread::Builder::new().name("replay".into()).spawn(move || read_all(&open, &send));
    rows
}

fn read_all(open: &Open, send: &SyncSender<Batch>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut gone = false;
    let result = open(&mut |flow| {
        batch.push(flow);
        if batch.len() == BATCH {
            gone = send.send(Ok(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)))).is_err();
        }
        anyhow::ensure!(!gone, "not wanted any more");
        Ok(())
    });
    let _ = send.send(Ok(batch));
    if let Err(error) = result {
        let _ = send.send(Err(error));
    }
}

impl Reader {
    fn new(open: &Open) -> Self {
        Self { rows: start(open), waiting: VecDeque::new(), read: 0 }
    }

    /// Flows until `target`, in the order in which they were written: the time of the capture never goes back.
    fn next(&mut self, target: u64) -> Next {
        if self.waiting.is_empty() {
            match self.rows.recv_timeout(TICK) {
                Ok(Ok(rows)) => self.waiting.extend(rows),
                Ok(Err(error)) => return Next::Failed(error),
                Err(RecvTimeoutError::Timeout) => return Next::Later,
                Err(RecvTimeoutError::Disconnected) => return Next::Nothing,
            }
        }
        let (mut rows, mut last) = (Vec::new(), None);
        while let Some(flow) = self.waiting.front()
            && rows.len() < STEP
        {
            let time = flow.end_ms.max(self.read);
            if time > target || last.is_some_and(|last| time > last) {
                break;
            }
            last = last.or(Some(time + STEP_MS));
            self.read = time;
            rows.extend(self.waiting.pop_front());
        }
        match rows.is_empty() {
            true if self.waiting.is_empty() => Next::Later,
            true => Next::Nothing,
            false => Next::Rows(rows),
        }
    }
}

/// Notices problems when they come.
#[derive(Default)]
struct Finder {
    known: HashSet<String>,
    due: Option<Instant>,
    looked: u64,
}

impl Finder {
    /// Finds problems that are new at this time; returns whether the clock was sent for one.
    fn look(&mut self, shared: &Shared, at: u64) -> bool {
        let begun = Instant::now();
        // A user who asks for the next problem wants to see where it began, however long that takes.
        let hurries = locked(&shared.clock).goal != Some(Goal::Problem);
        if at < self.looked.saturating_add(STEP_MS) || hurries && self.due.is_some_and(|due| begun < due) {
            return false;
        }
        self.looked = at;
        let findings = {
            let mut watch = locked(&shared.watch);
            watch.until(at);
            watch.findings()
        };
        let mut rows = Problems::default().rows(findings, Duration::ZERO);
        rows.retain(|row| row.is_grave());
        self.due = Some(Instant::now() + begun.elapsed() * LOOK_FACTOR);
        let mut wanted = false;
        for row in rows {
            let which = &row.which;
            let key = format!("{:?} {:?} {:?} {:?}", which.kind, which.client, which.server, which.port);
            if self.known.insert(key) {
                wanted |= locked(&shared.clock).found(at, row.word().to_owned());
            }
        }
        wanted
    }
}

/// Works until `stop`.
pub(super) fn run(open: &Open, shared: &Arc<Shared>, stop: &AtomicBool) {
    let (mut reader, mut finder) = (Reader::new(open), Finder::default());
    let mut before = Instant::now();
    while !stop.load(Relaxed) {
        let real = before.elapsed();
        before = Instant::now();
        let (target, again) = locked(&shared.clock).advance(real);
        if again {
            reader = Reader::new(open);
            finder.looked = 0;
            shared.begin_again();
        }
        let all = step(&mut reader, &mut finder, shared, target);
        let at = if all { target } else { reader.read };
        locked(&shared.data).idle(shared.offset(at));
        let stopped = all && finder.look(shared, target);
        if !stopped {
            locked(&shared.clock).reached(reader.read, target, all);
        }
        if all {
            std::thread::sleep(TICK);
        }
    }
}

/// Reads for a while; returns whether all until `target` is read.
fn step(reader: &mut Reader, finder: &mut Finder, shared: &Shared, target: u64) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < SLICE {
        match reader.next(target) {
            Next::Rows(rows) => {
                shared.add(rows, reader.read);
                if finder.look(shared, reader.read) {
                    return false;
                }
            }
            Next::Nothing => return true,
            Next::Later => return false,
            Next::Failed(error) => {
                shared.fail(error);
                return true;
            }
        }
    }
    false
}

impl Shared {
    fn add(&self, rows: Vec<Flow>, at: u64) {
        let mut watch = locked(&self.watch);
        rows.iter().for_each(|flow| watch.add(&observation(flow)));
        drop(watch);
        locked(&self.data).add(rows.into(), self.offset(at));
    }
}
