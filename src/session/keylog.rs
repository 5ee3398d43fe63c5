//! Secrets of TLS connections on their way to the collector: what is new in a file, here or in a pod, is handed over again and
//! again while the capture runs. They go through standard input, never through a command line.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::oc::{Call, Oc, OcError};
use crate::options::Keylog;

/// Between two looks at a file of this machine, and at one in a pod. The collector holds packets back for 10 s.
const LOOK: Duration = Duration::from_millis(250);
const LOOK_INTO_POD: Duration = Duration::from_millis(500);
/// Bytes that are handed over at once, and all that the collector takes.
const MOST_AT_ONCE: u64 = 1 << 20;
const MOST: u64 = 16 << 20;

/// A key log that is read as it grows.
pub(super) struct Reader<'a> {
    keylog: &'a Keylog,
    /// Bytes of it that were handed over: whole lines.
    passed_on: u64,
}

impl<'a> Reader<'a> {
    /// Reads from the beginning.
    pub(super) fn new(keylog: &'a Keylog) -> Self {
        Self { keylog, passed_on: 0 }
    }

    /// Hands secrets over until `over` is closed. Gives what went wrong at last, if secrets may be missing.
    pub(super) fn run(mut self, oc: &Oc, namespace: &str, over: &Receiver<()>) -> Option<OcError> {
        let pause = if matches!(self.keylog, Keylog::File(_)) { LOOK } else { LOOK_INTO_POD };
        let mut failed = None;
        while over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) && self.passed_on < MOST {
            failed = match self.hand_over(oc, namespace) {
                // The end of the capture is near.
                Err(OcError::Interrupted { .. }) => break,
                Err(error @ OcError::Garbage { .. }) => return Some(error),
                tried => tried.err(),
            };
        }
        failed
    }

    fn hand_over(&mut self, oc: &Oc, namespace: &str) -> Result<(), OcError> {
        let mut lines = self.news(oc)?;
        lines.truncate(lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        if !lines.is_empty() {
            let length = lines.len() as u64;
            oc.run(&Call::add_secrets(namespace, lines))?;
            self.passed_on += length;
        }
        Ok(())
    }

    /// What follows the bytes that were handed over. A file that became shorter is another one.
    fn news(&mut self, oc: &Oc) -> Result<Vec<u8>, OcError> {
        match self.keylog {
            // Missing for now: there may be one later.
            Keylog::File(path) => Ok(news_of(path, &mut self.passed_on).unwrap_or_default()),
            Keylog::Pod { namespace, pod, path } => {
                let news = oc.run_up_to(&Call::read_secrets(namespace, pod, path, self.passed_on), MOST)?;
                Ok(news.into_bytes())
            }
        }
    }
}

fn news_of(path: &Path, passed_on: &mut u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < *passed_on {
        *passed_on = 0;
    }
    file.seek(SeekFrom::Start(*passed_on))?;
    let mut news = Vec::new();
    file.take(MOST_AT_ONCE).read_to_end(&mut news)?;
    Ok(news)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_grows_and_anew_when_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let mut passed_on = 0;
        assert!(news_of(&path, &mut passed_on).is_err(), "it comes later");
        std::fs::write(&path, "A 01 02\nB 0").unwrap();
        assert_eq!(news_of(&path, &mut passed_on).unwrap(), b"A 01 02\nB 0");
        passed_on = 8;
        std::fs::write(&path, "A 01 02\nB 03 04\n").unwrap();
        assert_eq!(news_of(&path, &mut passed_on).unwrap(), b"B 03 04\n");
        std::fs::write(&path, "C 0\n").unwrap();
        assert_eq!((news_of(&path, &mut passed_on).unwrap().as_slice(), passed_on), (b"C 0\n".as_slice(), 0));
    }
}
