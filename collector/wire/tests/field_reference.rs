//! `docs/fields.md` is written from the table of fields. `UPDATE_DOCS=1 cargo test -p netobserv-wire` writes it.

use std::fmt::Write as _;
use std::path::Path;

use netobserv_wire::field::{FIELDS, GROUPS, Kind};

const HEAD: &str = "\
# Fields of a flow

<!-- Written from collector/wire/src/field/table.rs by its test: UPDATE_DOCS=1 cargo test -p netobserv-wire -->

The names are those of NetObserv. JSON has the fields of a flow in this order; SQLite has a column of the same name for each, NULL if the
flow does not have it, and `Other` with data from other agents that belongs to no field. `--query` accepts all of them. Times are in UTC.
Fields without information, such as a count of zero, are omitted.

Lists are arrays in JSON and their JSON text in SQLite.
";

/// What the groups have in common, in their order.
const TITLES: [&str; 13] = [
    "The flow",
    "DNS (`--enable_dns`)",
    "Dropped packets (`--enable_pkt_drop`)",
    "The conversation",
    "Packets counted elsewhere",
    "Address translation: addresses after it, for packets seen before it",
    "Address translation: addresses before it, for packets seen after it",
    "TLS (from other agents)",
    "QUIC (from other agents)",
    "IPsec (from other agents)",
    "Names of the cluster",
    "Marks of a flowlogs-pipeline",
    "Processes (on one machine)",
];

fn types(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Int => ("number", "INTEGER"),
        Kind::Text => ("text", "TEXT"),
        Kind::List => ("list", "TEXT"),
        Kind::Json => ("JSON", "TEXT"),
    }
}

fn reference() -> String {
    let mut text = HEAD.to_owned();
    assert_eq!(GROUPS.len(), TITLES.len(), "each group of fields needs a title here");
    for (group, title) in GROUPS.iter().zip(TITLES) {
        let _ = write!(text, "\n## {title}\n\n| field | JSON | SQLite | unit | meaning |\n|---|---|---|---|---|\n");
        for field in group.fields {
            let (json, sqlite) = types(field.kind());
            let unit = field.unit;
            let _ = writeln!(text, "| `{}` | {json} | {sqlite} | {unit} | {} |", field.name, field.meaning);
        }
    }
    text
}

#[test]
fn the_reference_is_that_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fields.md");
    let wanted = reference();
    assert_eq!(wanted.matches("\n| `").count(), FIELDS.len());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/fields.md can be written");
    }
    let found = std::fs::read_to_string(&path).expect("docs/fields.md can be read");
    assert!(found == wanted, "docs/fields.md is not that of the table: UPDATE_DOCS=1 cargo test -p netobserv-wire");
}
