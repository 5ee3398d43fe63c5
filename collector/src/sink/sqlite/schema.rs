//! The tables, the view `flow` that people query, and the indices.
//!
//! What is known of a holder is a dozen texts, the same in each of its flows. Written into every row they make it twice as large
//! and as slow; so they stand once in `endpoint`, rows of `flow_data` have its number, and `flow` shows both as one. Its last
//! column is the number of the row, `rowid`, which a view has not by itself.

use std::sync::LazyLock;

use netobserv_wire::field::{Group, Kind, Side};
use netobserv_wire::{FIELDS, Field, GROUPS};

/// A column of `flow_data`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// A field of the flow.
    Field(&'static Field),
    /// Who is at this end: a row of `endpoint`.
    End(Side),
}

/// The columns of each of [`GROUPS`].
pub(super) static COLUMNS: LazyLock<Vec<Vec<Column>>> = LazyLock::new(|| GROUPS.iter().map(columns).collect());

fn columns(group: &Group) -> Vec<Column> {
    let mut columns = Vec::new();
    for field in group.fields {
        match (field.of_holder(), columns.last()) {
            (Some((side, _)), Some(Column::End(last))) if *last == side => {}
            (Some((side, _)), _) => columns.push(Column::End(side)),
            (None, _) => columns.push(Column::Field(field)),
        }
    }
    columns
}

impl Column {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Field(field) => field.name,
            Self::End(Side::Src) => "SrcEnd",
            Self::End(Side::Dst) => "DstEnd",
        }
    }
}

/// The columns of `endpoint` behind `id`, in the order of the field table.
pub(super) fn parts() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().filter_map(Field::of_holder).filter(|(side, _)| *side == Side::Src).map(|(_, part)| part)
}

/// The statements that make the tables and the view.
pub(super) fn statements() -> String {
    let kind = |column: &Column| match column {
        Column::Field(field) if field.kind() != Kind::Int => "TEXT",
        _ => "INTEGER",
    };
    let columns = COLUMNS.iter().flatten().map(|column| format!("\"{}\" {}", column.name(), kind(column)));
    let columns: Vec<_> = columns.chain(["\"Other\" TEXT".into()]).collect();
    let parts: Vec<_> = parts().map(|part| format!("\"{part}\" TEXT")).collect();
    let shown = FIELDS.iter().map(|field| match field.of_holder() {
        Some((Side::Src, part)) => format!("src.\"{part}\" AS \"{}\"", field.name),
        Some((Side::Dst, part)) => format!("dst.\"{part}\" AS \"{}\"", field.name),
        None => format!("flow_data.\"{0}\" AS \"{0}\"", field.name),
    });
    let shown: Vec<_> = shown.chain(["Other", "rowid"].map(|name| format!("flow_data.{name} AS {name}"))).collect();
    format!(
        "CREATE TABLE endpoint (id INTEGER PRIMARY KEY, {});
         CREATE TABLE flow_data ({});
         CREATE VIEW flow AS SELECT {} FROM flow_data
            LEFT JOIN endpoint AS src ON src.id = flow_data.SrcEnd LEFT JOIN endpoint AS dst ON dst.id = flow_data.DstEnd;",
        parts.join(", "),
        columns.join(", "),
        shown.join(", ")
    )
}

/// An index: its name, what it is on, and what must be there for it to be of use.
pub(super) type Index = (&'static str, &'static str, &'static str);

/// The indices. Those for names are not partial: SQLite would take few rows to be in them, and go the wrong way.
pub(super) const INDICES: [Index; 8] = [
    ("flow_start", "flow_data (TimeFlowStartMs)", "flow_data"),
    ("flow_end", "flow_data (TimeFlowEndMs)", "flow_data"),
    ("flow_src", "flow_data (SrcAddr, SrcPort)", "flow_data"),
    ("flow_dst", "flow_data (DstAddr, DstPort)", "flow_data"),
    ("endpoint_name", "endpoint (Name, Namespace)", "endpoint"),
    ("flow_src_name", "flow_data (SrcEnd)", "endpoint"),
    ("flow_dst_name", "flow_data (DstEnd)", "endpoint"),
    ("flow_dns_name", "flow_data (DnsName) WHERE DnsName IS NOT NULL", "flow_data"),
];
