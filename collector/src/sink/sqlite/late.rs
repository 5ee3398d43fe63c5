//! Names that became known only after their flows were written: the rows that lack them get the names of their ends.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Instant;

use netobserv_wire::field::{Side, by_name};
use netobserv_wire::flow::{HolderRef, Layer};
use netobserv_wire::{Field, Flow};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use super::endpoints::{self, Endpoints};
use crate::enrich::Names;
use crate::sink::Filled;

/// Rows that are read together.
const ROWS: usize = 4_096;

/// What names are found by, and what is found with them in addition to the holders.
const READ: [&str; 14] = [
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
    "SrcSubnetLabel",
    "DstSubnetLabel",
    "FlowDirection",
    "K8S_FlowLayer",
];

static FIELDS: LazyLock<Vec<&Field>> = LazyLock::new(|| READ.iter().filter_map(|name| by_name(name)).collect());

/// A row as it is read.
struct Old {
    rowid: i64,
    flow: Flow,
    ends: [Option<i64>; 2],
}

/// Fills in the names of the rows, as far as it gets until `deadline`. To be called in a transaction.
pub(super) fn fill(
    db: &Connection,
    endpoints: &mut Endpoints,
    names: &Names,
    deadline: Instant,
) -> rusqlite::Result<Filled> {
    let columns: Vec<_> = READ.iter().map(|name| format!("\"{name}\"")).collect();
    let mut select = db.prepare(&format!(
        "SELECT rowid, SrcEnd, DstEnd, {} FROM flow_data WHERE rowid > ? ORDER BY rowid LIMIT {ROWS}",
        columns.join(", ")
    ))?;
    let mut update = db.prepare(
        "UPDATE flow_data SET SrcEnd = ?, DstEnd = ?, SrcSubnetLabel = ?, DstSubnetLabel = ?, FlowDirection = ?, K8S_FlowLayer = ?
         WHERE rowid = ?",
    )?;
    let holders = endpoints::read(db)?;
    let (mut last, mut filled) = (0, Filled::default());
    loop {
        if Instant::now() >= deadline || names.hurried() {
            let left = "SELECT count(*) FROM flow_data WHERE rowid > ? AND (SrcEnd IS NULL OR DstEnd IS NULL)";
            filled.left = db.query_row(left, [last], |row| row.get::<_, i64>(0))?.cast_unsigned();
            return Ok(filled);
        }
        // What is read is not changed meanwhile: SQLite does not define what one would see.
        let rows = select.query_map([last], |row| old(row, &holders))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let Some(newest) = rows.last() else { return Ok(filled) };
        last = newest.rowid;
        for mut row in rows {
            if !names.name_late(&mut row.flow) {
                continue;
            }
            let [src, dst] = [Side::Src, Side::Dst].map(|side| row.flow.holder(side));
            let same = |holder: &HolderRef, id: &i64| holders.get(id).is_some_and(|known| known.is(holder));
            let mut id = |holder: Option<&HolderRef>, before: Option<i64>| match (holder, before) {
                (None, _) => Ok(None),
                (Some(holder), Some(before)) if same(holder, &before) => Ok(Some(before)),
                (Some(holder), _) => endpoints.id(db, holder).map(Some),
            };
            let (src, dst) = (id(src, row.ends[0])?, id(dst, row.ends[1])?);
            let k8s = row.flow.k8s.unwrap_or_default();
            let subnets = [&k8s.src, &k8s.dst].map(|end| end.subnet.as_ref().map(|label| label.as_str()));
            let layer = k8s.layer.map(Layer::name);
            update.execute(params![src, dst, subnets[0], subnets[1], k8s.flow_direction, layer, row.rowid])?;
            filled.rows += 1;
        }
    }
}

fn old(row: &Row<'_>, holders: &HashMap<i64, HolderRef>) -> rusqlite::Result<Old> {
    let mut flow = Flow::default();
    for (column, field) in FIELDS.iter().enumerate() {
        let json = match row.get_ref(column + 3)? {
            ValueRef::Integer(number) => number.into(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
            _ => continue,
        };
        field.set(&mut flow, &json);
    }
    let ends: [Option<i64>; 2] = [row.get(1)?, row.get(2)?];
    for (side, end) in [Side::Src, Side::Dst].into_iter().zip(ends) {
        if let Some(holder) = end.and_then(|id| holders.get(&id)) {
            flow.set_holder(side, holder.clone());
        }
    }
    Ok(Old { rowid: row.get(0)?, flow, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_one_of_the_table() {
        assert_eq!(FIELDS.len(), READ.len());
        assert!(FIELDS.iter().all(|field| field.of_holder().is_none()));
    }
}
