//! Records of other files, in a database like that of a capture, so that the same questions can be asked.

use std::path::Path;

use netobserv_wire::Flow;
use rusqlite::Connection;

use super::insert::{Inserts, STATEMENTS};
use super::{Record, schema, views};

/// Rows of one transaction.
const ROWS: usize = 4_096;

/// A database on disk.
pub(crate) struct Import {
    db: Connection,
    inserts: Inserts,
    waiting: Vec<Flow>,
}

impl Import {
    /// Makes the tables and views in a private database, which is gone with the process.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub(crate) fn new() -> rusqlite::Result<Self> {
        // A database without a name: SQLite keeps it in memory while it is small, then in a file that it has removed already.
        Self::with(Connection::open("")?)
    }

    /// The same in this file, which is empty.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn at(path: &Path) -> rusqlite::Result<Self> {
        let db = Connection::open(path)?;
        db.execute_batch("PRAGMA page_size = 16384;")?;
        Self::with(db)
    }

    fn with(db: Connection) -> rusqlite::Result<Self> {
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000;")?;
        db.execute_batch(&schema::statements())?;
        db.execute_batch(Record::SCHEMA)?;
        db.execute_batch(&views::statements())?;
        Ok(Self { db, inserts: Inserts::default(), waiting: Vec::new() })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn add(&mut self, flow: Flow) -> rusqlite::Result<()> {
        self.waiting.push(flow);
        if self.waiting.len() < ROWS { Ok(()) } else { self.write() }
    }

    /// The database with all records.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn finish(mut self) -> rusqlite::Result<Connection> {
        self.write()?;
        Ok(self.db)
    }

    fn write(&mut self) -> rusqlite::Result<()> {
        self.db.execute_batch("BEGIN")?;
        self.inserts.run(&self.db, &self.waiting).1?;
        self.waiting.clear();
        self.db.execute_batch("COMMIT")
    }
}
