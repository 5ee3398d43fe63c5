//! What users do with the files of a capture: the query of the article that made the tool known, as it stands
//! there, and the table that says what the capture was.

use netobserv_testkit::{Ended, LocalCapture, Pair, require_privileged};

const ARTICLE: &str = "SELECT DnsLatencyMs, DnsFlagsResponseCode, DnsId, DstAddr, DstPort, Interface, Proto, SrcAddr, \
                       SrcPort, Bytes, Packets FROM flow LIMIT 10;";

/// One echo request and its answer, captured.
fn captured_ping() -> (Pair, Ended) {
    let pair = Pair::addressed();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &[]);
    pair.ping();
    let ended = capture.stop();
    (pair, ended)
}

#[test]
fn the_query_of_the_article_runs() {
    require_privileged!();
    let (pair, ended) = captured_ping();
    let files = ended.files();
    let database = files.database();
    let mut statement = database.prepare(ARTICLE).expect("every column is there");
    let row = |row: &rusqlite::Row<'_>| Ok((row.get("Interface")?, row.get("Proto")?, row.get("Packets")?));
    let rows: Vec<(String, i64, i64)> =
        statement.query_map([], row).expect("rows").map(|row| row.expect("a row")).collect();
    assert_eq!(rows, vec![(pair.captured().to_owned(), 1, 1); 2]);
}

#[test]
fn every_json_field_is_a_column_with_the_same_value() {
    require_privileged!();
    let (_pair, ended) = captured_ping();
    let files = ended.files();
    let database = files.database();
    for flow in files.flows() {
        for (name, value) in flow.as_object().expect("an object") {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let sql = format!("SELECT count(*) FROM flow WHERE SrcAddr = ?1 AND CAST({name} AS TEXT) = ?2");
            let src = flow["SrcAddr"].as_str().expect("an address");
            let count = database.query_row(&sql, [src, &text], |row| row.get::<_, i64>(0));
            assert_eq!(count.unwrap_or_else(|error| panic!("{name}: {error}")), 1, "{name} = {text}");
        }
    }
}
