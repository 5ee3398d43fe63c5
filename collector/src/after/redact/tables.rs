//! The tables of a database besides the flows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::pseudonym::Pseudonyms;
use crate::after::records::columns;

/// What becomes of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Numbers, times and words of this program.
    Keep,
    /// A name is replaced.
    Name,
    /// An address is replaced.
    Address,
    /// The number of a conversation is replaced.
    Conversation,
}

/// A table with the columns that are kept. Tables and columns that are not here are left out.
type Table = (&'static str, &'static [(&'static str, Rule)]);

const TABLES: [Table; 3] = [
    (
        "agent",
        &[
            ("node", Rule::Name),
            ("version", Rule::Keep),
            ("interfaces", Rule::Keep),
            ("interfaces_unwatched", Rule::Keep),
            ("flows", Rule::Keep),
            ("overflow_packets", Rule::Keep),
            ("lost_kernel_packets", Rule::Keep),
            ("lost_kernel_bytes", Rule::Keep),
            ("lost_drop_events", Rule::Keep),
            ("lost_dns_messages", Rule::Keep),
            ("lost_export_flows", Rule::Keep),
            ("lost_export_packets", Rule::Keep),
            ("lost_export_bytes", Rule::Keep),
        ],
    ),
    (
        "member",
        &[
            ("id", Rule::Keep),
            ("kind", Rule::Keep),
            ("namespace", Rule::Name),
            ("name", Rule::Name),
            ("node", Rule::Name),
            ("address", Rule::Address),
            ("protocol", Rule::Keep),
            ("port", Rule::Keep),
            ("since", Rule::Keep),
            ("until", Rule::Keep),
        ],
    ),
    (
        "between_nodes",
        &[
            ("ConversationId", Rule::Conversation),
            ("ToServer", Rule::Keep),
            ("FromNode", Rule::Name),
            ("ToNode", Rule::Name),
            ("Sent", Rule::Keep),
            ("Arrived", Rule::Keep),
            ("Unsure", Rule::Keep),
        ],
    ),
];
/// Texts of table `capture` that are kept; numbers are too.
const FACTS: [&str; 4] = ["version", "plugin_version", "start", "end"];
/// The table whose sentences have names in them. They are found again in the flows of the copy.
const FINDINGS: &str = "finding";

/// Copies what may be kept; returns what was left out.
///
/// # Errors
/// When a table cannot be read or written.
pub(super) fn copy(
    source: &Connection,
    target: &Connection,
    names: &mut Pseudonyms,
) -> rusqlite::Result<BTreeSet<String>> {
    let mut left_out = facts(source, target, names)?;
    target.execute_batch("BEGIN")?;
    for (table, rules) in TABLES {
        let there = columns(source, table)?;
        let shared: Vec<_> = rules.iter().filter(|(name, _)| there.iter().any(|column| column == name)).collect();
        if !shared.is_empty() {
            copy_table(source, target, table, &shared, names)?;
        }
    }
    target.execute_batch("COMMIT")?;
    if !columns(source, FINDINGS)?.is_empty() {
        left_out.insert("the findings, which are found again in the flows".into());
    }
    Ok(left_out)
}

fn copy_table(
    source: &Connection,
    target: &Connection,
    table: &str,
    rules: &[&(&str, Rule)],
    names: &mut Pseudonyms,
) -> rusqlite::Result<()> {
    let list: Vec<_> = rules.iter().map(|(name, _)| *name).collect();
    let (list, marks) = (list.join(", "), vec!["?"; rules.len()].join(", "));
    let mut insert = target.prepare(&format!("INSERT OR REPLACE INTO {table} ({list}) VALUES ({marks})"))?;
    let mut select = source.prepare(&format!("SELECT {list} FROM {table}"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let values = rules.iter().enumerate().map(|(at, (_, rule))| Ok(replaced(row.get_ref(at)?, *rule, names)));
        insert.execute(params_from_iter(values.collect::<rusqlite::Result<Vec<_>>>()?))?;
    }
    Ok(())
}

fn replaced(value: ValueRef<'_>, rule: Rule, names: &mut Pseudonyms) -> Value {
    match (value, rule) {
        (ValueRef::Integer(id), Rule::Conversation) => {
            Value::Integer(names.conversation(id.cast_unsigned()).cast_signed())
        }
        (ValueRef::Integer(number), _) => Value::Integer(number),
        (ValueRef::Real(number), Rule::Keep) => Value::Real(number),
        (ValueRef::Text(text), rule) => {
            let text = String::from_utf8_lossy(text);
            match (rule, text.parse::<IpAddr>()) {
                (Rule::Keep, _) => Value::Text(text.into_owned()),
                (Rule::Address, Ok(address)) => Value::Text(names.address(address).to_string()),
                _ => Value::Text(names.name(&text).into()),
            }
        }
        _ => Value::Null,
    }
}

/// Numbers, and the texts that name nothing. Of the options of the capture their names stay.
fn facts(source: &Connection, target: &Connection, names: &mut Pseudonyms) -> rusqlite::Result<BTreeSet<String>> {
    let mut left_out = BTreeSet::new();
    if columns(source, "capture")?.is_empty() {
        return Ok(left_out);
    }
    let mut insert = target.prepare("INSERT OR REPLACE INTO capture (name, value) VALUES (?1, ?2)")?;
    let mut select = source.prepare("SELECT name, value FROM capture")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let value = match (name.as_str(), row.get::<_, Value>(1)?) {
            (_, value @ (Value::Null | Value::Integer(_) | Value::Real(_))) => value,
            (_, Value::Text(text)) if text.is_empty() => Value::Text(text),
            (name, Value::Text(text)) if FACTS.contains(&name) => Value::Text(text),
            ("namespace", Value::Text(text)) => Value::Text(names.name(&text).into()),
            ("options", Value::Text(text)) => Value::Text(options(&text)),
            (name, _) => {
                left_out.insert(format!("{name} of the capture"));
                continue;
            }
        };
        insert.execute((name, value))?;
    }
    insert.execute(("redacted", "addresses and names"))?;
    Ok(left_out)
}

/// The names of options, without their values.
fn options(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| word.starts_with('-'));
    let names = words.map(|word| match word.split_once('=') {
        Some((name, _)) => format!("{name}=..."),
        None => word.to_owned(),
    });
    names.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_options_are_not_kept() {
        assert_eq!(
            options("--pod=shop/web --enable_dns --filter='pod:a or b' -n x"),
            "--pod=... --enable_dns --filter=... -n"
        );
    }
}
