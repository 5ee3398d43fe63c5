//! Standard output and standard error, each written by a thread of its own: a reader that is slow, stands still or has gone
//! never keeps the program from ending.
//!
//! A pipe that nobody reads is nothing unusual: after `oc exec` has died, a container runtime keeps the pipe of the program
//! in the pod open without reading it, and a write to it blocks for ever.

mod place;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use place::Place;

/// A reader that took nothing for this long is not waited for when the program wants to go on.
pub const STALLED: Duration = Duration::from_secs(5);
/// Longest time at the end for a reader that is slow.
pub const LONGEST: Duration = Duration::from_secs(60);
/// How often an idle pipe is asked whether its reader is still there.
const LOOK: Duration = Duration::from_millis(200);
/// Written at once: progress is seen after each piece.
const PIECE: usize = 64 << 10;
/// Bytes that wait at most while nobody waits for them.
const MOST: usize = 1 << 20;

static STDOUT: LazyLock<Stream> = LazyLock::new(|| Stream::start(Place::stdout()));
static STDERR: LazyLock<Stream> = LazyLock::new(|| Stream::start(Place::stderr()));

/// Standard output.
pub fn stdout() -> &'static Stream {
    &STDOUT
}

/// Standard error.
pub fn stderr() -> &'static Stream {
    &STDERR
}

/// Waits for what is still to be written, for a bounded time: the last call of a program.
///
/// # Errors
/// When standard output could not be written, which a reader that has gone or stands still is no case of.
pub fn finish() -> io::Result<()> {
    let written = stdout().finish();
    // There is no other place to complain at.
    let _ = stderr().finish();
    match written {
        Err(Broken::Failed(why)) => Err(why.error()),
        _ => Ok(()),
    }
}

/// Why a stream takes no more.
#[derive(Clone, Debug)]
pub enum Broken {
    /// The reader has closed its end: it has seen enough.
    Gone,
    /// The reader takes nothing.
    Stalled,
    /// The system refuses.
    Failed(Why),
}

/// What the system says.
#[derive(Clone, Debug)]
pub struct Why(Arc<io::Error>);

impl Why {
    fn error(&self) -> io::Error {
        match self.0.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::new(self.0.kind(), self.0.to_string()),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Gone } else { Self::Failed(Why(Arc::new(error))) }
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Gone => io::ErrorKind::BrokenPipe.into(),
            Broken::Stalled => io::ErrorKind::TimedOut.into(),
            Broken::Failed(why) => why.error(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("its reader has gone"),
            Self::Stalled => write!(f, "its reader took nothing for {} s", STALLED.as_secs()),
            Self::Failed(why) => why.0.fmt(f),
        }
    }
}

/// One of the two streams.
#[derive(Debug)]
pub struct Stream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Vec<u8>>,
    /// Bytes in the queue and in the write that is under way.
    waiting: usize,
    /// Pieces handed over and pieces written, since the beginning.
    put: u64,
    written: u64,
    /// When the reader last took something, or had nothing to take.
    progress: Instant,
    broken: Option<Broken>,
    /// Since when the program wants to end.
    hurried: Option<Instant>,
}

impl State {
    fn is_stalled(&self) -> bool {
        let too_long = self.hurried.is_some_and(|since| since.elapsed() >= LONGEST);
        self.written < self.put && (too_long || self.progress.elapsed() >= STALLED)
    }
}

impl Stream {
    fn start(place: io::Result<Place>) -> Self {
        let state = State {
            queue: VecDeque::new(),
            waiting: 0,
            put: 0,
            written: 0,
            progress: Instant::now(),
            broken: None,
            hurried: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let writer = shared.clone();
        let started = place.and_then(|place| {
            thread::Builder::new().name("output".into()).spawn(move || {
                let broken = work(&writer, place).into();
                writer.break_off(broken);
            })
        });
        if let Err(error) = started {
            shared.break_off(error.into());
        }
        Self(shared)
    }

    /// Why it takes no more; none as long as it does. A reader that has closed its end of a pipe is noticed within a moment, also
    /// when there is nothing to write.
    pub fn broken(&self) -> Option<Broken> {
        self.0.lock().broken.clone()
    }

    /// Hands bytes over without waiting. When too much waits already, they are left out.
    pub fn put(&self, bytes: impl Into<Vec<u8>>) {
        let mut state = self.0.lock();
        if state.waiting < MOST {
            self.0.put(&mut state, bytes.into());
        }
    }

    /// Writes bytes. For a reader that takes nothing there is a short wait; the bytes then still go out when it takes up again.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn write(&self, bytes: impl Into<Vec<u8>>) -> Result<(), Broken> {
        let mut state = self.0.lock();
        if state.waiting >= MOST && state.is_stalled() {
            return Err(state.broken.clone().unwrap_or(Broken::Stalled));
        }
        let number = self.0.put(&mut state, bytes.into());
        self.0.wait(state, number, false)
    }

    /// Writes bytes, and waits for the reader for as long as it takes; after [`Stream::hurry`] only for a while.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn write_patiently(&self, bytes: impl Into<Vec<u8>>) -> Result<(), Broken> {
        let mut state = self.0.lock();
        if state.hurried.is_some() && state.is_stalled() {
            return Err(Broken::Stalled);
        }
        let number = self.0.put(&mut state, bytes.into());
        self.0.wait(state, number, true)
    }

    /// From now on nothing waits long for the reader: the program wants to end.
    pub fn hurry(&self) {
        self.0.lock().hurried.get_or_insert_with(Instant::now);
        self.0.changed.notify_all();
    }

    /// Nothing is still to be written.
    pub fn is_idle(&self) -> bool {
        let state = self.0.lock();
        state.broken.is_some() || state.written == state.put
    }

    /// Waits for what is still to be written, for a bounded time.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn finish(&self) -> Result<(), Broken> {
        self.hurry();
        let state = self.0.lock();
        let number = state.put;
        self.0.wait(state, number, false)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, state: &mut State, bytes: Vec<u8>) -> u64 {
        if state.broken.is_none() {
            if state.written == state.put {
                state.progress = Instant::now();
            }
            state.waiting += bytes.len();
            state.queue.push_back(bytes);
            state.put += 1;
            self.changed.notify_all();
        }
        state.put
    }

    /// Waits until so much is written. A patient wait has an end only when the program is in a hurry.
    fn wait(&self, mut state: MutexGuard<'_, State>, number: u64, patient: bool) -> Result<(), Broken> {
        loop {
            if let Some(broken) = &state.broken {
                return Err(broken.clone());
            }
            if state.written >= number {
                return Ok(());
            }
            if (!patient || state.hurried.is_some()) && state.is_stalled() {
                return Err(Broken::Stalled);
            }
            state = self.pause(state);
        }
    }

    fn pause<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0
    }

    fn break_off(&self, broken: Broken) {
        let mut state = self.lock();
        state.broken = Some(broken);
        state.queue.clear();
        drop(state);
        self.changed.notify_all();
    }
}

/// Writes what is handed over until that fails; gives the reason.
fn work(shared: &Shared, mut place: Place) -> io::Error {
    loop {
        let mut state = shared.lock();
        let Some(bytes) = state.queue.pop_front() else {
            drop(shared.pause(state));
            if place.has_lost_its_reader() {
                return io::ErrorKind::BrokenPipe.into();
            }
            continue;
        };
        drop(state);
        for piece in bytes.chunks(PIECE) {
            if let Err(error) = place.write(piece) {
                return error;
            }
            shared.lock().progress = Instant::now();
        }
        let mut state = shared.lock();
        state.written += 1;
        state.waiting -= bytes.len();
        drop(state);
        shared.changed.notify_all();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read as _};

    /// More than a pipe holds, and less than may wait.
    const MUCH: usize = MOST / 2;

    fn stream() -> (Stream, PipeReader) {
        let (from, to) = io::pipe().unwrap();
        (Stream::start(Ok(Place::of(std::fs::File::from(std::os::fd::OwnedFd::from(to))))), from)
    }

    fn wait_until(condition: impl FnMut() -> bool) {
        assert!(netobserv_testkit::wait_for(Duration::from_secs(30), condition));
    }

    #[test]
    fn what_is_written_is_there_and_in_order() {
        let (stream, mut from) = stream();
        stream.put("a");
        stream.write("b").unwrap();
        stream.write_patiently("c").unwrap();
        assert!(stream.is_idle() && stream.finish().is_ok());
        let mut text = [0; 3];
        from.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"abc");
    }

    #[test]
    fn a_reader_that_has_gone_is_noticed_without_a_write() {
        let (stream, from) = stream();
        stream.write("a").unwrap();
        assert!(stream.broken().is_none());
        drop(from);
        wait_until(|| matches!(stream.broken(), Some(Broken::Gone)));
        assert!(matches!(stream.write("b"), Err(Broken::Gone)) && stream.is_idle());
    }

    #[test]
    fn a_reader_that_stands_still_is_waited_for_until_the_program_wants_to_end() {
        let (stream, mut from) = stream();
        thread::scope(|scope| {
            let patient = scope.spawn(|| stream.write_patiently(vec![b'x'; MUCH]));
            wait_until(|| stream.0.lock().progress.elapsed() > STALLED);
            assert!(!patient.is_finished(), "nobody wants to end");
            assert!(matches!(stream.write("a line"), Err(Broken::Stalled)), "a line is not worth a wait");
            stream.hurry();
            assert!(matches!(patient.join().unwrap(), Err(Broken::Stalled)));
            assert!(matches!(stream.finish(), Err(Broken::Stalled)));
        });
        // It takes up again: nothing was lost on the way.
        let mut all = vec![0; MUCH + 6];
        from.read_exact(&mut all).unwrap();
        assert!(all.ends_with(b"xa line"));
        wait_until(|| stream.is_idle());
    }

    #[test]
    fn what_nobody_waits_for_takes_little_memory() {
        let (stream, _from) = stream();
        (0..10_000).for_each(|_| stream.put(vec![b'x'; 1 << 10]));
        assert!(stream.0.lock().waiting <= MOST + (1 << 10));
    }

    #[test]
    fn what_the_system_refuses_is_an_error() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let stream = Stream::start(Ok(Place::of(full)));
        let Err(Broken::Failed(why)) = stream.write("a") else { panic!("it was written") };
        assert_eq!(why.error().kind(), io::ErrorKind::StorageFull);
    }
}
