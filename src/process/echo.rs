//! Standard error of a program that runs for long: repeated line by line, with its end kept for the message of a failure.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, PipeReader};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use netobserv_contract::plain;

use crate::progress;

/// Lines that are kept: the last words of the program, and of those who ran it.
const KEPT: usize = 4;
/// From the end of the program until its last line was read. A process that it left behind may hold the pipe open.
const LAST_LINE: Duration = Duration::from_millis(500);

/// The reader at work.
pub(super) struct Echo {
    kept: Arc<Mutex<VecDeque<String>>>,
    over: Receiver<()>,
}

impl Echo {
    /// Reads until the last writer is gone.
    pub(super) fn start(from: PipeReader) -> Self {
        let kept = Arc::<Mutex<VecDeque<String>>>::default();
        let (done, over) = channel();
        let last = kept.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                let line = plain::line(line.trim_end_matches('\r')).into_owned();
                progress::warn(&line);
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.len() == KEPT {
                    last.pop_front();
                }
                last.push_back(line);
            }
            drop(done);
        });
        Self { kept, over }
    }

    /// The last lines.
    pub(super) fn finish(self) -> String {
        // The other end is dropped when the thread ends.
        let _ = self.over.recv_timeout(LAST_LINE);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_harmless() {
        let (from, mut to) = std::io::pipe().unwrap();
        let echo = Echo::start(from);
        (0..9).for_each(|line| writeln!(to, "line {line}\r").unwrap());
        to.write_all(b"\x1b[2Jgone").unwrap();
        drop(to);
        assert_eq!(echo.finish(), "line 6\nline 7\nline 8\n?[2Jgone\n");
    }

    #[test]
    fn a_writer_that_stays_holds_nobody_up() {
        let (from, mut to) = std::io::pipe().unwrap();
        let echo = Echo::start(from);
        to.write_all(b"begun\n").unwrap();
        assert_eq!(echo.finish(), "begun\n");
    }
}
