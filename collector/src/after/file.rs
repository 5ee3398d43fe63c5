//! Opens a capture, whatever its form.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rusqlite::Connection;

use super::records::{self, Form};
use crate::sink::sqlite::import::Import;

/// Where captures of flows are, unless `--output-dir` named another folder.
pub(super) const FOLDER: &str = "./output/flow";
/// Columns of the view `flow` that came last: a file without them is of an earlier version.
const NEWEST: [&str; 3] = ["ConversationId", "FromClient", "OrigDstAddr"];

/// An open capture.
pub(super) struct Capture {
    /// With table or view `flow`, `flow_once`, `conversation` and `capture`.
    pub(super) db: Connection,
    /// Its file.
    pub(super) path: PathBuf,
}

impl Capture {
    /// Makes the view `conversation` a table of this connection: it groups all flows, and several questions follow.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn group_once(&self) -> rusqlite::Result<()> {
        self.db.execute_batch("CREATE TEMP TABLE conversation AS SELECT * FROM main.conversation")
    }
}

/// Opens this file; without one the newest in the usual folder.
///
/// # Errors
/// When there is none, or it is not a capture of flows.
pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Capture> {
    let path = path.map_or_else(newest, |path| Ok(path.to_owned()))?;
    let db = read(&path)?;
    Ok(Capture { db, path })
}

/// The captures in the usual folder, oldest first: they are named after the time of their start.
pub(super) fn all() -> Vec<PathBuf> {
    let files = std::fs::read_dir(FOLDER).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut databases: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "db")).collect();
    databases.sort();
    databases
}

/// The newest capture in the usual folder, whose name is printed.
///
/// # Errors
/// When there is none.
pub(super) fn newest() -> anyhow::Result<PathBuf> {
    let newest = all().pop().with_context(|| format!("no FILE is given, and {FOLDER} has no capture"))?;
    let _ = netobserv_stdio::stderr().write(format!("{} is the newest capture\n", newest.display()));
    Ok(newest)
}

fn read(path: &Path) -> anyhow::Result<Connection> {
    match Form::of(path)? {
        Form::Database => database(path).with_context(|| format!("cannot read {}", path.display())),
        Form::Json => {
            let mut import = Import::new()?;
            records::of_json(path, |flow| import.add(flow).context("cannot write a temporary database"))?;
            Ok(import.finish()?)
        }
        Form::Pcapng | Form::Pcap => {
            bail!("{} holds packets, not flows: open it with Wireshark or tshark", path.display())
        }
    }
}

/// A database of this version as it is; another one is imported.
fn database(path: &Path) -> anyhow::Result<Connection> {
    let db = records::open(path)?;
    let columns = records::columns(&db, "flow")?;
    if NEWEST.iter().all(|name| columns.iter().any(|column| column == name)) {
        return Ok(db);
    }
    let mut import = Import::new()?;
    records::of_database(&db, |flow| Ok(import.add(flow)?))?;
    let old: Vec<(String, rusqlite::types::Value)> = match db.prepare("SELECT name, value FROM capture") {
        Ok(mut facts) => facts.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?,
        Err(_) => Vec::new(),
    };
    let db = import.finish()?;
    for fact in old {
        db.execute("INSERT OR REPLACE INTO capture (name, value) VALUES (?1, ?2)", [fact.0.into(), fact.1])?;
    }
    Ok(db)
}
