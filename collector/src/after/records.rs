//! The records of a file, one after the other, and which kind of file it is.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use netobserv_wire::Flow;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use crate::once::conversation;

/// First bytes of a database (SQLite's file format, 1.3).
const SQLITE: &[u8] = b"SQLite format 3\0";
/// First bytes of pcapng.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// First bytes of pcap in both byte orders and resolutions.
const PCAP: [[u8; 4]; 4] =
    [[0xd4, 0xc3, 0xb2, 0xa1], [0xa1, 0xb2, 0xc3, 0xd4], [0x4d, 0x3c, 0xb2, 0xa1], [0xa1, 0xb2, 0x3c, 0x4d]];
/// Columns of the view `flow` that are no fields: what the table has no field for, as JSON, and the number of the row.
const OTHER: &str = "Other";
const ROW: &str = "rowid";

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A database of flows.
    Database,
    /// Flows in JSON: an array, several of them, or objects line by line.
    Json,
    /// Packets, with all that explains them.
    Pcapng,
    /// Packets and nothing else.
    Pcap,
}

impl Form {
    /// The kind of this file, by its first bytes.
    ///
    /// # Errors
    /// When it cannot be read, or is none of these.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let cannot = || format!("cannot read {shown}");
        if path.is_dir() {
            bail!("{shown} is a directory: name a file in it");
        }
        let mut head = Vec::new();
        File::open(path).with_context(cannot)?.take(512).read_to_end(&mut head).with_context(cannot)?;
        if head.is_empty() {
            bail!("{shown} is empty");
        }
        if head.starts_with(&PCAPNG) {
            return Ok(Self::Pcapng);
        }
        if PCAP.iter().any(|magic| head.starts_with(magic)) {
            return Ok(Self::Pcap);
        }
        if head.starts_with(SQLITE) {
            return Ok(Self::Database);
        }
        if matches!(head.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'[' | b'{')) {
            return Ok(Self::Json);
        }
        bail!("{shown} is not a capture: it is neither a database nor JSON")
    }
}

/// Opens a database for reading.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// The columns of a table or view; none: it is not there.
///
/// # Errors
/// When the file is no database.
pub(super) fn columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut names = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
    names.query_map([table], |row| row.get(0))?.collect()
}

/// Hands over each flow of a database, in the order in which they were written.
///
/// # Errors
/// When they cannot be read, or `each` fails.
pub(super) fn of_database(db: &Connection, mut each: impl FnMut(Flow) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let columns = columns(db, "flow")?;
    if !columns.iter().any(|name| name == "SrcAddr") {
        bail!("it has no table flow");
    }
    let mut select = db.prepare("SELECT * FROM flow")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        each(of_row(row, &columns)?)?;
    }
    Ok(())
}

fn of_row(row: &Row<'_>, columns: &[String]) -> rusqlite::Result<Flow> {
    let mut record = Map::new();
    for (at, name) in columns.iter().enumerate() {
        match row.get_ref(at)? {
            _ if name == ROW => {}
            ValueRef::Integer(number) => {
                record.insert(name.clone(), number.into());
            }
            ValueRef::Text(text) if name == OTHER => {
                // A column knows better, such as one that was marked later.
                for (name, value) in serde_json::from_slice::<Map<_, _>>(text).unwrap_or_default() {
                    record.entry(name).or_insert(value);
                }
            }
            ValueRef::Text(text) => {
                record.insert(name.clone(), text_value(&String::from_utf8_lossy(text)));
            }
            _ => {}
        }
    }
    Ok(flow(record))
}

/// Lists are JSON texts in a database.
fn text_value(text: &str) -> Json {
    let list = text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten();
    list.unwrap_or_else(|| text.into())
}

fn flow(record: Map<String, Json>) -> Flow {
    let mut flow = Flow::from_map(record, 0);
    conversation::name(&mut flow);
    flow
}

/// Hands over each flow of a JSON file.
///
/// # Errors
/// When it cannot be read, or `each` fails.
pub(super) fn of_json(path: &Path, each: impl FnMut(Flow) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let shown = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {shown} after 0 flows"))?;
    of_reader(file, &shown, each)
}

/// The same of bytes that are called so.
///
/// # Errors
/// When they cannot be read, or `each` fails.
pub(super) fn of_reader(
    file: impl Read,
    shown: &str,
    mut each: impl FnMut(Flow) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let cannot = |number: u64| format!("cannot read {shown} after {number} flows");
    let (mut number, mut failed) = (0_u64, None);
    let mut each = |record| {
        number += 1;
        each(flow(record)).map_err(|error| failed = Some(error)).is_ok()
    };
    let mut input = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, file));
    let mut result = Ok(());
    while result.is_ok() && input.end().is_err() {
        result = Each(&mut each).deserialize(&mut input);
    }
    match failed {
        Some(error) => Err(error),
        None => result.with_context(|| cannot(number)),
    }
}

/// Hands each object of an array over, one after the other.
struct Each<'a, F>(&'a mut F);

impl<'de, F: FnMut(Map<String, Json>) -> bool> DeserializeSeed<'de> for Each<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Map<String, Json>) -> bool> Visitor<'de> for Each<'_, F> {
    type Value = ();

    fn expecting(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        text.write_str("an array of flows, or a flow")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(record) = list.next_element()? {
            if !(self.0)(record) {
                return Err(A::Error::custom("not written"));
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut record = Map::new();
        while let Some((name, value)) = entries.next_entry()? {
            record.insert(name, value);
        }
        if (self.0)(record) { Ok(()) } else { Err(A::Error::custom("not written")) }
    }
}
