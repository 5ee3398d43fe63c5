//! The SQLite database.
//!
//! - `flow`: one row a flow, one column for each field of the field table, lists as JSON text, `Other`: the JSON object of
//!   what a flowlogs-pipeline sent and the table has no field for, and `rowid`: its number. It is a view of the tables
//!   `flow_data` and `endpoint` (`schema.rs`).
//! - `capture`: `name` and `value` of what is known of the capture as a whole, counts of every stage included. Kept up to
//!   date about once a second, so that it is there after a kill too; `end` is empty then.
//! - `agent`: one row for each agent, with its own counts.
//!
//! Written in WAL mode with synchronous=OFF: a killed process loses at most the last second and the file stays whole, as the kernel
//! has the pages; only a machine that loses power could spoil it, and waiting for the disk at every commit is not worth that here.

mod endpoints;
pub(crate) mod import;
mod insert;
mod late;
mod schema;
pub(crate) mod views;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use netobserv_wire::Flow;
use rusqlite::{Connection, InterruptHandle, OpenFlags};

use self::insert::Inserts;
use self::schema::INDICES;
use super::{LATE_TIME, Sink, SinkError};
use crate::counts::Counts;
use crate::enrich::Names;
use crate::record::{CaptureInfo, Record};

/// Rows of one transaction.
const COMMIT_ROWS: u64 = 4_096;
/// Longest time of one transaction.
const COMMIT_TIME: Duration = Duration::from_millis(500);
/// No index is begun after this time: a plugin waits a minute for all. A million rows take some four seconds.
const INDEX_TIME: Duration = Duration::from_secs(20);
/// How long to wait for a reader or writer from outside.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the database.
pub struct SqliteSink {
    db: Connection,
    path: PathBuf,
    inserts: Inserts,
    counts: Arc<Counts>,
    info: Arc<CaptureInfo>,
    record: Record,
    hurry: Arc<Hurry>,
    /// When the open transaction began.
    since: Option<Instant>,
    uncommitted: u64,
    names: Option<Arc<Names>>,
}

/// Cuts the making of indices short.
pub struct Hurry {
    handle: InterruptHandle,
    indexing: AtomicBool,
    asked: AtomicBool,
}

impl Hurry {
    /// The rest of the indices is not made.
    pub fn up(&self) {
        self.asked.store(true, Relaxed);
        if self.indexing.load(Relaxed) {
            self.handle.interrupt();
        }
    }
}

impl SqliteSink {
    /// Creates the database.
    pub fn create(path: &Path, counts: Arc<Counts>, info: Arc<CaptureInfo>) -> Result<Self, SinkError> {
        let db = open(path).map_err(SinkError::database(path))?;
        let hurry = Hurry { handle: db.get_interrupt_handle(), indexing: false.into(), asked: false.into() };
        let mut sink = Self {
            db,
            path: path.to_owned(),
            inserts: Inserts::default(),
            counts,
            info,
            record: Record::default(),
            hurry: Arc::new(hurry),
            since: None,
            uncommitted: 0,
            names: None,
        };
        sink.begin().and_then(|()| sink.commit()).map_err(SinkError::database(path))?;
        Ok(sink)
    }

    /// Fills in at the end what `names` learnt too late.
    #[must_use]
    pub fn with_names(mut self, names: Option<Arc<Names>>) -> Self {
        self.names = names;
        self
    }

    fn fill_names(&mut self) -> rusqlite::Result<()> {
        let Some(names) = self.names.as_ref().filter(|names| names.late()) else { return Ok(()) };
        let transaction = self.db.unchecked_transaction()?;
        let filled = late::fill(&transaction, self.inserts.endpoints(), names, Instant::now() + LATE_TIME)?;
        tracing::debug!("{}: names of {} flows came late", self.path.display(), filled.rows);
        self.counts.sqlite().unnamed.store(filled.left, Relaxed);
        self.record.save(&transaction, &self.info, &self.counts)?;
        transaction.commit()
    }

    /// What ends the making of indices.
    pub fn hurry(&self) -> Arc<Hurry> {
        self.hurry.clone()
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if self.since.is_none() {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
            self.since = Some(Instant::now());
        }
        Ok(())
    }

    fn insert_rows(&mut self, rows: &[Flow]) -> rusqlite::Result<()> {
        self.begin()?;
        let (inserted, result) = self.inserts.run(&self.db, rows);
        self.uncommitted += inserted;
        result
    }

    /// Commits, with the counts as they are now.
    fn commit(&mut self) -> rusqlite::Result<()> {
        let rows = std::mem::take(&mut self.uncommitted);
        self.counts.sqlite().rows.fetch_add(rows, Relaxed);
        let saved = self.record.save(&self.db, &self.info, &self.counts);
        let result = saved.and_then(|()| self.db.execute_batch("COMMIT"));
        if result.is_err() {
            self.counts.sqlite().rows.fetch_sub(rows, Relaxed);
            self.uncommitted = rows;
        }
        self.since = None;
        result
    }

    fn commit_if_due(&mut self) -> rusqlite::Result<()> {
        let due = self.since.is_some_and(|since| self.uncommitted >= COMMIT_ROWS || since.elapsed() >= COMMIT_TIME);
        if due { self.commit() } else { Ok(()) }
    }

    /// A failed transaction is taken back; its rows and the others of the batch are lost.
    fn failed(&mut self, unwritten: u64, error: rusqlite::Error) -> SinkError {
        self.counts.sqlite().lost.fetch_add(std::mem::take(&mut self.uncommitted) + unwritten, Relaxed);
        let _ = self.db.execute_batch("ROLLBACK");
        self.since = None;
        SinkError::database(&self.path)(error)
    }

    fn make_indices(&self) -> rusqlite::Result<()> {
        self.hurry.indexing.store(true, Relaxed);
        let start = Instant::now();
        let made = INDICES.iter().try_for_each(|(name, on, of)| {
            let empty = format!("SELECT NOT EXISTS (SELECT 1 FROM {of})");
            if self.db.query_row(&empty, [], |row| row.get(0))? {
                return Ok(());
            }
            if self.hurry.asked.load(Relaxed) || start.elapsed() > INDEX_TIME {
                tracing::warn!("{}: index {name} is not made", self.path.display());
                return Ok(());
            }
            self.db.execute_batch(&format!("CREATE INDEX {name} ON {on}"))
        });
        self.hurry.indexing.store(false, Relaxed);
        made
    }

    /// From here on there is one file. A reader that holds it open keeps the log next to it, which does no harm.
    fn merge_log(&self) -> rusqlite::Result<()> {
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
    }
}

impl Sink for SqliteSink {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn write(&mut self, rows: &[Flow]) -> Result<(), SinkError> {
        let before = self.uncommitted;
        if let Err(error) = self.insert_rows(rows) {
            let unwritten = rows.len() as u64 - (self.uncommitted - before);
            return Err(self.failed(unwritten, error));
        }
        self.commit_if_due().map_err(|error| self.failed(0, error))
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        let changed = self.record.is_due(&self.info, &self.counts);
        let begun = if changed { self.begin() } else { Ok(()) };
        begun.and_then(|()| self.commit_if_due()).map_err(|error| self.failed(0, error))
    }

    fn finish(&mut self, well: bool) -> Result<(), SinkError> {
        let committed = self.begin().and_then(|()| self.commit());
        if !well {
            let _ = committed.and_then(|()| self.merge_log());
            return Ok(());
        }
        committed.map_err(|error| self.failed(0, error))?;
        // What follows makes the file handier; the flows are in it.
        if let Err(error) = self.fill_names() {
            tracing::warn!("{}: names that came late are not in it: {error}", self.path.display());
        }
        if let Err(error) = self.merge_log() {
            tracing::warn!("{}: the write-ahead log stays next to it: {error}", self.path.display());
        }
        if let Err(error) = self.make_indices() {
            tracing::warn!("{}: not all indices were made: {error}", self.path.display());
        }
        Ok(())
    }

    fn lost(&mut self, rows: usize) {
        self.counts.sqlite().lost.fetch_add(rows as u64, Relaxed);
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(insert::STATEMENTS);
    db.execute_batch(
        "PRAGMA page_size = 16384;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = OFF;
         PRAGMA wal_autocheckpoint = 1000;
         PRAGMA cache_size = -16000;",
    )?;
    db.execute_batch(&schema::statements())?;
    db.execute_batch(Record::SCHEMA)?;
    db.execute_batch(&views::statements())?;
    Ok(db)
}

#[cfg(test)]
mod tests;
