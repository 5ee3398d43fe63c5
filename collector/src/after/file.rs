//! Opens a capture, whatever its form.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use netobserv_wire::Flow;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use crate::once::conversation;
use crate::sink::sqlite::import::Import;

/// Where captures of flows are, unless `--output-dir` named another folder.
pub(super) const FOLDER: &str = "./output/flow";
/// First bytes of a database (SQLite's file format, 1.3).
const SQLITE: &[u8] = b"SQLite format 3\0";
/// First bytes of pcapng, and of pcap in both byte orders and resolutions.
const PACKETS: [&[u8]; 5] = [
    &[0x0a, 0x0d, 0x0d, 0x0a],
    &[0xd4, 0xc3, 0xb2, 0xa1],
    &[0xa1, 0xb2, 0xc3, 0xd4],
    &[0x4d, 0x3c, 0xb2, 0xa1],
    &[0xa1, 0xb2, 0x3c, 0x4d],
];
/// Columns of the view `flow` that came last: a file without them is of an earlier version.
const NEWEST: [&str; 3] = ["ConversationId", "FromClient", "OrigDstAddr"];

/// An open capture.
pub(super) struct Capture {
    /// With table or view `flow`, `flow_once`, `conversation` and `capture`.
    pub(super) db: Connection,
    /// Its file.
    pub(super) path: PathBuf,
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

fn newest() -> anyhow::Result<PathBuf> {
    let newest = all().pop().with_context(|| format!("no FILE is given, and {FOLDER} has no capture"))?;
    let _ = netobserv_stdio::stderr().write(format!("{} is the newest capture\n", newest.display()));
    Ok(newest)
}

fn read(path: &Path) -> anyhow::Result<Connection> {
    let shown = path.display();
    let cannot = || format!("cannot read {shown}");
    if path.is_dir() {
        bail!("{shown} is a directory: name a file in it");
    }
    let mut file = File::open(path).with_context(cannot)?;
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head).with_context(cannot)?;
    if head.is_empty() {
        bail!("{shown} is empty");
    }
    if PACKETS.iter().any(|magic| head.starts_with(magic)) {
        bail!("{shown} holds packets, not flows: open it with Wireshark or tshark");
    }
    if head.starts_with(SQLITE) {
        return database(path).with_context(cannot);
    }
    if matches!(head.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'[' | b'{')) {
        file.rewind().with_context(cannot)?;
        return json(file, path);
    }
    bail!("{shown} is not a capture: it is neither a database nor JSON");
}

/// A database of this version as it is; another one is imported.
fn database(path: &Path) -> anyhow::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let columns: Vec<String> = {
        let mut names = db.prepare("SELECT name FROM pragma_table_info('flow')")?;
        names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    if !columns.iter().any(|name| name == "SrcAddr") {
        bail!("it has no table flow");
    }
    if NEWEST.iter().all(|name| columns.iter().any(|column| column == name)) {
        return Ok(db);
    }
    let mut import = Import::new()?;
    let mut select = db.prepare("SELECT * FROM flow")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let mut record = Map::new();
        for (at, name) in columns.iter().enumerate() {
            let value = match row.get_ref(at)? {
                ValueRef::Integer(number) => number.into(),
                ValueRef::Text(text) => text_value(&String::from_utf8_lossy(text)),
                _ => continue,
            };
            record.insert(name.clone(), value);
        }
        import.add(flow(record))?;
    }
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

/// Lists are JSON texts in a database.
fn text_value(text: &str) -> Json {
    let list = text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten();
    list.unwrap_or_else(|| text.into())
}

fn json(file: File, path: &Path) -> anyhow::Result<Connection> {
    let mut import = Import::new()?;
    let (mut number, mut failed) = (0_u64, None);
    let mut each = |record| {
        number += 1;
        import.add(flow(record)).map_err(|error| failed = Some(error)).is_ok()
    };
    let mut input = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, file));
    let mut result = Ok(());
    // An array, several of them, or objects line by line.
    while result.is_ok() && input.end().is_err() {
        result = Each(&mut each).deserialize(&mut input);
    }
    if let Some(error) = failed {
        return Err(error).context("cannot write a temporary database");
    }
    result.with_context(|| format!("cannot read {} after {number} flows", path.display()))?;
    Ok(import.finish()?)
}

fn flow(record: Map<String, Json>) -> Flow {
    let mut flow = Flow::from_map(record, 0);
    conversation::name(&mut flow);
    flow
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
