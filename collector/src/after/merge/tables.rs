//! What databases know besides flows: losses are added, agents joined, and everything else kept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::after::records;

/// Counters of an agent that are added; the others are those of the last file.
const AGENT_COUNTS: [&str; 9] = [
    "flows",
    "overflow_packets",
    "lost_kernel_packets",
    "lost_kernel_bytes",
    "lost_drop_events",
    "lost_dns_messages",
    "lost_export_flows",
    "lost_export_packets",
    "lost_export_bytes",
];
const AGENT_OTHERS: [&str; 3] = ["version", "interfaces", "interfaces_unwatched"];
/// Columns of a finding, but for its number.
const FINDING: &str = "kind, sentence, evidence, certainty, remedy, change, client, server, protocol, port, count, first_ms, last_ms, records, whole";

/// Adds the tables of all files.
///
/// # Errors
/// When one cannot be read, or the output not be written.
pub(super) fn merge(files: &[PathBuf], db: &Connection) -> anyhow::Result<()> {
    let mut facts = BTreeMap::new();
    for file in files {
        let source = records::open(file)?;
        read_facts(&source, &mut facts)?;
        let has = |table: &str| records::columns(&source, table).map(|columns| !columns.is_empty());
        let tables = [has("agent")?, has("member")?, has("between_nodes")?, has("finding")?];
        drop(source);
        db.execute("ATTACH ?1 AS source", [file.to_string_lossy()])?;
        let [agent, member, between, finding] = tables;
        if agent {
            db.execute_batch(&agents())?;
        }
        if member {
            db.execute_batch("INSERT INTO member SELECT (SELECT coalesce(max(id), 0) FROM main.member) + id + 1, selection, kind, namespace,
                name, node, address, protocol, port, since, until FROM source.member")?;
        }
        if between {
            // Of two counts of one conversation that with more packets.
            db.execute_batch(
                "INSERT INTO between_nodes SELECT * FROM source.between_nodes WHERE true
                ON CONFLICT DO UPDATE SET Sent = excluded.Sent, Arrived = excluded.Arrived, Unsure = excluded.Unsure,
                    FromNode = excluded.FromNode, ToNode = excluded.ToNode WHERE excluded.Sent > Sent",
            )?;
        }
        if finding {
            db.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS finding (number INTEGER PRIMARY KEY, {FINDING});
                 INSERT INTO finding ({FINDING}) SELECT {FINDING} FROM source.finding AS new
                    WHERE NOT EXISTS (SELECT 1 FROM main.finding AS old WHERE old.sentence = new.sentence) ORDER BY number"
            ))?;
        }
        db.execute_batch("DETACH source")?;
    }
    write_facts(files, db, facts)?;
    Ok(())
}

fn agents() -> String {
    let columns = [&["node"], &AGENT_OTHERS[..], &AGENT_COUNTS[..]].concat().join(", ");
    let added = AGENT_COUNTS.iter().map(|name| format!("{name} = coalesce({name}, 0) + coalesce(excluded.{name}, 0)"));
    let others = AGENT_OTHERS.iter().map(|name| format!("{name} = excluded.{name}"));
    let set = added.chain(others).collect::<Vec<_>>().join(", ");
    format!(
        "INSERT INTO agent ({columns}) SELECT {columns} FROM source.agent WHERE true ON CONFLICT (node) DO UPDATE SET {set}"
    )
}

/// The values of each name, in the order of the files.
type Facts = BTreeMap<String, Vec<Value>>;

fn read_facts(source: &Connection, facts: &mut Facts) -> rusqlite::Result<()> {
    if records::columns(source, "capture")?.is_empty() {
        return Ok(());
    }
    let mut select = source.prepare("SELECT name, value FROM capture")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        facts.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    Ok(())
}

/// Numbers are added; the time begins with the first and ends with the last; different texts are put one after the other.
fn write_facts(files: &[PathBuf], db: &Connection, facts: Facts) -> rusqlite::Result<()> {
    for (name, values) in facts {
        let is_number = values.iter().all(|value| matches!(value, Value::Integer(_) | Value::Null));
        let texts = values.iter().filter_map(|value| match value {
            Value::Text(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        });
        let value = match name.as_str() {
            "start" => texts.min().map(Value::Text),
            // One that has no end was killed or still runs, and so is the whole.
            "end" if values.contains(&Value::Null) => None,
            "end" => texts.max().map(Value::Text),
            _ if is_number => values.iter().filter_map(integer).reduce(i64::saturating_add).map(Value::Integer),
            _ => joined(texts).map(Value::Text),
        };
        db.execute("INSERT OR REPLACE INTO capture VALUES (?1, ?2)", (&name, value))?;
    }
    // The same node may be in several files.
    db.execute_batch(
        "UPDATE capture SET value = (SELECT count(*) FROM agent) WHERE name = 'agents' AND EXISTS (SELECT 1 FROM agent);
         UPDATE capture SET value = (SELECT sum(interfaces) FROM agent) WHERE name = 'interfaces' AND EXISTS (SELECT 1 FROM agent)",
    )?;
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    db.execute("INSERT OR REPLACE INTO capture VALUES ('merged', ?1)", [names.join(", ")])?;
    Ok(())
}

fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value { Some(*number) } else { None }
}

fn joined(texts: impl Iterator<Item = String>) -> Option<String> {
    let different = texts.fold(Vec::new(), |mut different, text| {
        if !different.contains(&text) {
            different.push(text);
        }
        different
    });
    (!different.is_empty()).then(|| different.join("; "))
}
