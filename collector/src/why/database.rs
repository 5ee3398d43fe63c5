//! A capture's database: its records as observations, and table `finding`.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, bail};
use chrono::DateTime;
use netobserv_explain::finding::Finding;
use netobserv_explain::observe::{Dns, Drops, Observation, Seen};
use netobserv_explain::report::Report;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::RESPONSE;

/// The columns that are read, in the order of [`RowValues::read`].
const COLUMNS: [&str; 34] = [
    "TimeFlowStartMs",
    "TimeFlowEndMs",
    "SrcAddr",
    "SrcPort",
    "DstAddr",
    "DstPort",
    "Proto",
    "IcmpType",
    "IcmpCode",
    "Packets",
    "Flags",
    "TimeFlowRttNs",
    "Sampling",
    "DnsErrno",
    "DnsFlags",
    "DnsFlagsResponseCode",
    "DnsName",
    "coalesce(DnsLatencyUs, DnsLatencyMs * 1000)",
    "PktDropPackets",
    "PktDropLatestFlags",
    "PktDropLatestDropCause",
    "PktDropCauses",
    "Duplicate",
    "ConversationId",
    "FromClient",
    "SrcK8S_Type",
    "SrcK8S_Namespace",
    "SrcK8S_Name",
    "SrcK8S_OwnerName",
    "DstK8S_Type",
    "DstK8S_Namespace",
    "DstK8S_Name",
    "DstK8S_OwnerName",
    "coalesce(SrcComm, '') || char(10) || coalesce(DstComm, '')",
];

/// Reads the records of a capture one after the other; returns when it ended, milliseconds since 1970.
///
/// # Errors
/// When the file is no capture of flows, or cannot be read.
pub(super) fn read(path: &Path, each: impl FnMut(&Observation<'_>)) -> anyhow::Result<u64> {
    let cannot = || format!("cannot read {}", path.display());
    // SQLite would report only that it cannot open it.
    std::fs::File::open(path).with_context(cannot)?;
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let there = columns(&db).with_context(cannot)?;
    if !there.contains("SrcAddr") {
        bail!("{} is no capture of flows: it has no table flow", path.display());
    }
    read_from(&db, each).with_context(cannot)
}

/// The same, of an open database with table or view `flow`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_from(db: &Connection, mut each: impl FnMut(&Observation<'_>)) -> anyhow::Result<u64> {
    let there = columns(db)?;
    let is_there = |column: &str| {
        let names = column.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        names.filter(|name| name.starts_with(char::is_uppercase)).all(|name| there.contains(name))
    };
    // Captures of earlier versions lack some.
    let columns = COLUMNS.map(|column| if is_there(column) { column } else { "NULL" });
    let sql = format!("SELECT {} FROM flow ORDER BY TimeFlowStartMs", columns.join(", "));
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(&RowValues::read(row)?.observation());
    }
    Ok(end(db))
}

/// When the capture ended, milliseconds since 1970; 0 when that is not known.
fn end(db: &Connection) -> u64 {
    let text: rusqlite::Result<String> =
        db.query_row("SELECT value FROM capture WHERE name = 'end'", [], |row| row.get(0));
    let time = text.ok().and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    time.and_then(|time| u64::try_from(time.timestamp_millis()).ok()).unwrap_or_default()
}

fn columns(db: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut statement = db.prepare("SELECT name FROM pragma_table_info('flow')")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// A row, with the texts that an observation borrows.
struct RowValues {
    numbers: [Option<i64>; COLUMNS.len()],
    texts: [Option<String>; COLUMNS.len()],
}

impl RowValues {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut values = Self { numbers: [None; COLUMNS.len()], texts: [const { None }; COLUMNS.len()] };
        for at in 0..COLUMNS.len() {
            match row.get_ref(at)? {
                rusqlite::types::ValueRef::Integer(number) => values.numbers[at] = Some(number),
                rusqlite::types::ValueRef::Text(text) => {
                    values.texts[at] = Some(String::from_utf8_lossy(text).into_owned());
                }
                _ => {}
            }
        }
        Ok(values)
    }

    fn number<T: TryFrom<i64>>(&self, at: usize) -> Option<T> {
        self.numbers[at].and_then(|number| T::try_from(number).ok())
    }

    fn text(&self, at: usize) -> &str {
        self.texts[at].as_deref().unwrap_or_default()
    }

    fn observation(&self) -> Observation<'_> {
        let (src_process, dst_process) = self.text(33).split_once('\n').unwrap_or_default();
        let end = |address: usize, holder: usize, process| Seen {
            address: self.text(address).parse().ok(),
            port: self.number(address + 1),
            kind: self.text(holder),
            namespace: self.text(holder + 1),
            name: self.text(holder + 2),
            owner: self.text(holder + 3),
            process,
        };
        let dns = || Dns {
            errno: self.number(13).unwrap_or_default(),
            answered: self.number::<u16>(14).is_some_and(|flags| flags & RESPONSE != 0),
            rcode: self.text(15),
            name: self.text(16),
            latency_us: self.number(17).unwrap_or_default(),
        };
        let drops = || Drops {
            packets: self.number(18).unwrap_or_default(),
            flags: self.number(19).unwrap_or_default(),
            cause: self.text(20),
            causes: self.text(21),
        };
        Observation {
            start_ms: self.number(0).unwrap_or_default(),
            end_ms: self.number(1).unwrap_or_default(),
            src: end(2, 25, src_process),
            dst: end(4, 29, dst_process),
            protocol: self.number(6),
            icmp: self.number(7).map(|kind| (kind, self.number(8).unwrap_or_default())),
            packets: self.number(9).unwrap_or_default(),
            flags: self.number(10).unwrap_or_default(),
            rtt_ns: self.number(11).unwrap_or_default(),
            sampling: self.number(12).unwrap_or_default(),
            dns: (self.numbers[13].is_some() || self.numbers[14].is_some()).then(dns),
            drops: self.numbers[18].is_some().then(drops),
            duplicate: self.texts[22].is_some(),
            conversation: self.number(23).unwrap_or_default(),
            from_client: self.numbers[24].map(|is| is != 0),
        }
    }
}

/// The findings as the capture itself reported them, and what it did not know; nothing where it reported none.
pub(super) fn reported(path: &Path) -> (Vec<Finding>, Option<String>) {
    let read = || -> rusqlite::Result<(Vec<Finding>, Option<String>)> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut statement = db.prepare("SELECT whole FROM finding ORDER BY number")?;
        let texts = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let unknown = db.query_row("SELECT value FROM capture WHERE name = 'not_known'", [], |row| row.get(0)).ok();
        Ok((texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect(), unknown))
    };
    // Captures of earlier versions have no such table.
    read().unwrap_or_default()
}

/// Writes table `finding`.
///
/// # Errors
/// When the database cannot be written.
pub(super) fn save(path: &Path, report: &Report) -> anyhow::Result<()> {
    let save = || -> rusqlite::Result<()> {
        let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let transaction = db.transaction()?;
        transaction.execute_batch(
            "CREATE TABLE IF NOT EXISTS finding (number INTEGER PRIMARY KEY, kind TEXT, sentence TEXT, evidence TEXT, certainty TEXT,
                remedy TEXT, change TEXT, client TEXT, server TEXT, protocol INTEGER, port INTEGER, count INTEGER, first_ms INTEGER,
                last_ms INTEGER, records TEXT, whole TEXT);
             DELETE FROM finding;",
        )?;
        for (number, one) in (1_i64..).zip(&report.findings) {
            let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            transaction
                .prepare_cached("INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
                .execute(params![
                    number,
                    one.kind.name(),
                    one.sentence,
                    one.evidence.join("; "),
                    one.certainty.words(),
                    one.remedy,
                    text(&one.change),
                    one.client.to_string(),
                    one.server.to_string(),
                    one.protocol,
                    one.port,
                    whole(one.count),
                    whole(one.first_ms),
                    whole(one.last_ms),
                    text(&one.records),
                    serde_json::to_string(one).unwrap_or_default(),
                ])?;
        }
        if !report.unknown.is_empty() {
            let value = report.unknown.join("; ");
            transaction.execute("INSERT INTO capture (name, value) VALUES ('not_known', ?)", [value])?;
        }
        transaction.commit()
    };
    save().with_context(|| format!("cannot write the findings into {}", path.display()))
}
