//! Standard output of a program that runs for long, handed on to ours as it comes: what becomes of ours is then known here, and
//! the program itself never waits for a reader that has gone.

use std::io::{PipeReader, Read as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use netobserv_stdio as stdio;

/// Read at once: what a pipe holds.
const PIECE: usize = 64 << 10;
/// From the end of the program until its last bytes were read. A process that it left behind may hold the pipe open.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// The reader at work.
pub(super) struct Relay(Receiver<()>);

impl Relay {
    /// Reads until the last writer is gone. What cannot be written is read anyway.
    pub(super) fn start(mut from: PipeReader) -> Self {
        let (done, over) = channel();
        thread::spawn(move || {
            let mut piece = vec![0; PIECE];
            while let Ok(count @ 1..) = from.read(&mut piece) {
                // The part that waits for the program checks the stream.
                let _ = stdio::stdout().write_patiently(&piece[..count]);
            }
            drop(done);
        });
        Self(over)
    }

    /// Waits until all is written, once the program has ended; for a reader that pauses only briefly.
    pub(super) fn finish(self) {
        stdio::stdout().hurry();
        // The other end is dropped when the thread ends.
        while self.0.recv_timeout(LAST_BYTES) == Err(RecvTimeoutError::Timeout) && !stdio::stdout().is_idle() {}
    }
}
