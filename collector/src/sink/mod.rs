//! A sink is one file format. Each runs on a thread of its own, so it may block.

mod atomic;
mod findings;
pub mod json;
pub mod output_file;
pub mod pcap;
pub mod pcapng;
pub mod sqlite;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netobserv_wire::Flow;

/// Longest time for filling in the names that came late: a plugin waits a minute for all.
const LATE_TIME: Duration = Duration::from_secs(10);

/// How far the filling in of late names came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Filled {
    /// Rows that have something new.
    rows: u64,
    /// Rows with an end that has no name, for which there was no time.
    left: u64,
}

/// One file format.
pub trait Sink: Send {
    /// What the format is called.
    fn name(&self) -> &'static str;

    /// Writes rows. After it the file on disk is whole, with these rows or with some rows that are still to be committed.
    fn write(&mut self, rows: &[Flow]) -> Result<(), SinkError>;

    /// Does what is due without rows. Called a few times a second.
    fn tick(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// The last call. `well` is false after an error: then it leaves what is there, whole.
    fn finish(&mut self, well: bool) -> Result<(), SinkError>;

    /// Counts rows that came after an error.
    fn lost(&mut self, rows: usize);
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The system refused.
    #[error("cannot write {}: {why}{}", path.display(), advice(why.raw_os_error() == Some(nix::libc::ENOSPC)))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// SQLite refused.
    #[error("cannot write {}: {why}{}", path.display(), advice(why.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)))]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: rusqlite::Error,
    },
    /// The user did not wait.
    #[error("stopped at once on a second signal: the last packets may be missing")]
    Hurried,
    /// A fault of this program.
    #[error("a writer stopped: this is a fault of netobserv-collector, please report it with what stands above")]
    Panicked,
}

impl SinkError {
    /// The system refused to write to `path`.
    pub fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        move |why| Self::Write { path: path.to_owned(), why }
    }

    /// SQLite refused to write to `path`.
    pub fn database(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |why| Self::Database { path: path.to_owned(), why }
    }
}

fn advice(full: bool) -> &'static str {
    if full { "; free some space, or choose another --output-dir" } else { "" }
}
