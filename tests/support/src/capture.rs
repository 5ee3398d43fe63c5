//! Reads the files of a capture back, the JSON as a user's script would and the SQLite database as such.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use crate::proc::Run;
use crate::wait::wait_for;

/// No write to a file takes longer.
const A_WRITE: Duration = Duration::from_secs(5);

/// Packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer header included.
    pub bytes: u64,
}

impl std::ops::Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }
}

/// The two files of one capture.
#[derive(Debug, Clone)]
pub struct Files {
    /// `<output>/flow/<time>.json`.
    pub json: PathBuf,
    /// `<output>/flow/<time>.db`.
    pub db: PathBuf,
}

impl Files {
    /// Finds them below an output folder.
    ///
    /// # Panics
    /// When there is not exactly one of each.
    #[track_caller]
    pub fn of(output: &Path) -> Self {
        let flow = output.join("flow");
        Self { json: only(&flow, "json"), db: only(&flow, "db") }
    }

    /// The JSON array, as it is between two writes.
    ///
    /// # Panics
    /// When it is not one.
    #[track_caller]
    pub fn flows(&self) -> Vec<Value> {
        let mut flows = Err(String::new());
        // Whoever reads while the last page is written sees a part of it, and neither size nor time of the file say so.
        let _ = wait_for(A_WRITE, || {
            flows = serde_json::from_slice(&self.text()).map_err(|error| error.to_string());
            flows.is_ok()
        });
        flows.unwrap_or_else(|error| panic!("{}: {error}", self.json.display()))
    }

    fn text(&self) -> Vec<u8> {
        let state =
            || fs::metadata(&self.json).and_then(|file| Ok((file.len(), file.modified()?))).expect("the JSON file");
        let mut before = state();
        loop {
            // A reader that takes several reads sees a part of the next write.
            let text = fs::read(&self.json).expect("the JSON file");
            let after = state();
            if std::mem::replace(&mut before, after) == after {
                break text;
            }
        }
    }

    /// Opens the database, which also recovers what a killed writer left in its write-ahead log.
    #[track_caller]
    pub fn database(&self) -> Connection {
        Connection::open(&self.db).unwrap_or_else(|error| panic!("{}: {error}", self.db.display()))
    }

    /// Rows of table `flow`.
    #[track_caller]
    pub fn rows(&self) -> u64 {
        self.number("SELECT count(*) FROM flow")
    }

    /// The one number that a query gives; NULL is 0.
    #[track_caller]
    pub fn number(&self, sql: &str) -> u64 {
        let row = self.database().query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
        row.unwrap_or_else(|error| panic!("{sql}: {error}")).unwrap_or(0).cast_unsigned()
    }

    /// Packets and bytes of the rows for which `condition` (SQL) holds.
    #[track_caller]
    pub fn sum(&self, condition: &str) -> Sum {
        let of = |column| self.number(&format!("SELECT sum({column}) FROM flow WHERE {condition}"));
        Sum { packets: of("Packets"), bytes: of("Bytes") }
    }

    /// What table `capture` says was lost, in the kernel, in the agent and in the collector.
    #[track_caller]
    pub fn lost(&self) -> Sum {
        let of = |what| self.number(&format!("SELECT sum(value) FROM capture WHERE name LIKE 'lost%{what}'"));
        Sum { packets: of("packets"), bytes: of("bytes") }
    }

    /// Both files are whole: the JSON by our parser and by Python's, the database by its own check.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn assert_whole(&self) {
        self.flows();
        let python = Run::new("python3").args(["-m", "json.tool"]).arg(&self.json).arg("/dev/null").finish();
        assert!(python.success(), "{python}");
        let check = self.database().query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        assert_eq!(check.expect("integrity check"), "ok", "{}", self.db.display());
    }
}

/// Packets and bytes of JSON records for which `wanted` holds.
pub fn sum(flows: &[Value], wanted: impl Fn(&Value) -> bool) -> Sum {
    let mut sum = Sum::default();
    for flow in flows.iter().filter(|flow| wanted(flow)) {
        sum.packets += flow["Packets"].as_u64().unwrap_or(0);
        sum.bytes += flow["Bytes"].as_u64().unwrap_or(0);
    }
    sum
}

#[track_caller]
fn only(dir: &Path, extension: &str) -> PathBuf {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|other| other == extension));
    assert_eq!(found.len(), 1, "one .{extension} file in {}: {found:?}", dir.display());
    found.remove(0)
}
