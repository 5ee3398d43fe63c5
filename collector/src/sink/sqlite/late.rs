//! Names that became known only after their flows were written: columns of the rows that lack them are set.

use std::sync::LazyLock;
use std::time::Instant;

use netobserv_wire::field::by_name;
use netobserv_wire::{Field, Flow, Value};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql};

use crate::enrich::Names;

/// What names are found by.
const KNOWN: [&str; 10] = [
    "TimeFlowStartMs",
    "TimeReceived",
    "SrcAddr",
    "SrcPort",
    "DstAddr",
    "DstPort",
    "Proto",
    "SrcMac",
    "DstMac",
    "AgentIP",
];

/// What names are found by, and the names that were not found.
static READ: LazyLock<Vec<&Field>> = LazyLock::new(|| {
    let known = KNOWN.iter().filter_map(|name| by_name(name));
    known.chain(NAMES.iter().copied()).collect()
});

/// The columns of names.
static NAMES: LazyLock<Vec<&Field>> = LazyLock::new(|| {
    let mut ends = Vec::new();
    for end in ["Src", "Dst"] {
        let parts =
            ["Name", "Namespace", "Type", "OwnerName", "OwnerType", "HostIP", "HostName", "Zone", "NetworkName"];
        ends.extend(parts.map(|part| format!("{end}K8S_{part}")));
        ends.push(format!("{end}SubnetLabel"));
    }
    ends.extend(["FlowDirection", "K8S_FlowLayer"].map(str::to_owned));
    ends.iter().filter_map(|name| by_name(name)).collect()
});

/// Fills in the names of the rows, as far as it gets until `deadline`, and returns how many rows have something new.
/// To be called in a transaction.
pub(super) fn fill(db: &Connection, names: &Names, deadline: Instant) -> rusqlite::Result<u64> {
    let columns = |fields: &[&Field], sign: &str| {
        fields.iter().map(|field| format!("\"{}\"{sign}", field.name)).collect::<Vec<_>>().join(",")
    };
    let mut select = db.prepare(&format!(
        "SELECT rowid, {} FROM flow WHERE rowid > ? ORDER BY rowid LIMIT 4096",
        columns(&READ, "")
    ))?;
    let mut update = db.prepare(&format!("UPDATE flow SET {} WHERE rowid = ?", columns(&NAMES, " = ?")))?;
    let (mut last, mut changed) = (0, 0);
    while Instant::now() < deadline && !names.hurried() {
        let rows = select.query_map([last], |row| Ok((row.get::<_, i64>(0)?, flow(row)?)))?;
        // What is read is not changed meanwhile: SQLite does not say what one would see.
        let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let Some((newest, _)) = rows.last() else { break };
        last = *newest;
        for (rowid, mut flow) in rows {
            if names.name_late(&mut flow) {
                let values: Vec<_> =
                    NAMES.iter().map(|field| value(field.get(&flow))).chain([Some(Box::new(rowid) as _)]).collect();
                update.execute(rusqlite::params_from_iter(values))?;
                changed += 1;
            }
        }
    }
    Ok(changed)
}

fn flow(row: &Row<'_>) -> rusqlite::Result<Flow> {
    let mut flow = Flow::default();
    for (column, field) in READ.iter().enumerate() {
        let json = match row.get_ref(column + 1)? {
            ValueRef::Integer(number) => number.into(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
            _ => continue,
        };
        field.set(&mut flow, &json);
    }
    Ok(flow)
}

fn value(value: Value<'_>) -> Option<Box<dyn ToSql>> {
    match value {
        Value::Absent => None,
        Value::Int(number) => Some(Box::new(number)),
        value => {
            let mut text = Vec::new();
            value.append_text(&mut text);
            Some(Box::new(String::from_utf8_lossy(&text).into_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::field::Kind;

    #[test]
    fn every_column_is_one_of_the_table() {
        assert_eq!((READ.len(), NAMES.len()), (KNOWN.len() + 22, 22));
        assert!(NAMES.iter().all(|field| field.kind() != Kind::List));
    }
}
