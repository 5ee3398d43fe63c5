//! A capture as one HTML file that needs nothing from elsewhere: what went wrong, traffic over time, who talks to whom, and conversations
//! that can be sorted and filtered.
//!
//! The page is `report.html`; the data are JSON in it. Names come from the network: `<` never appears in the data, and the page sets them
//! as text only.

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use super::file::Capture;
use super::questions::find;
use super::summary;
use super::table::Answer;

const PAGE: &str = include_str!("report.html");
/// Replaced by the data.
const DATA: &str = "@DATA@";
/// Conversations in a report, the largest: some 100 bytes each.
const CONVERSATIONS: usize = 5_000;
/// Bars of the time line.
const BARS: i64 = 240;
/// Lines between clients and servers.
const EDGES: usize = 40;
/// Rows of the other tables.
const ROWS: usize = 200;

/// The report.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn of(capture: &Capture) -> anyhow::Result<String> {
    let db = &capture.db;
    let summary = summary::of(capture)?;
    let (step, time) = time(db)?;
    let conversations = Answer::of(db, CONVERSATION, Some(CONVERSATIONS))?;
    let all: i64 = db.query_row("SELECT count(*) FROM conversation", [], |row| row.get(0))?;
    let left_out = usize::try_from(all)?.saturating_sub(conversations.len());
    let mut table = conversations.columns_and_rows();
    table["left_out"] = json!(left_out);
    let answer =
        |name| find(name).map_or_else(|| Ok(Answer::default()), |question| Answer::of(db, question.sql, Some(ROWS)));
    // Not the folder: the page is sent to others.
    let name = capture.path.file_name().unwrap_or_default().to_string_lossy();
    let data = json!({
        "file": name, "about": format!("{}; {}", summary.period(), summary.amounts()), "lost": summary.losses(), "findings": summary.findings(),
        "capture": summary.facts(), "time": time, "step_ms": step, "edges": edges(db)?, "pairs": pairs(db)?, "conversations": table,
        "drops": answer("drops")?.columns_and_rows(), "dns": answer("dns")?.columns_and_rows(),
    });
    Ok(PAGE.replace(DATA, &data.to_string().replace('<', "\\u003c")))
}

/// The order of the columns is known to the page: texts first, then `start`.
const CONVERSATION: &str = "SELECT client, service, server, port, protocol,
        CAST(strftime('%s', start) AS INTEGER) * 1000 AS start,
        CAST((CAST(strftime('%s', start) AS INTEGER) + duration_s) * 1000 AS INTEGER) AS end,
        bytes_to_server AS up, bytes_to_client AS down, packets_to_server + packets_to_client AS packets, rtt_ms, drops
    FROM conversation ORDER BY drops > 0 DESC, up + down DESC";

/// Milliseconds of a bar, and the bars: start, bytes, dropped packets.
fn time(db: &Connection) -> anyhow::Result<(i64, Vec<Json>)> {
    let range = "SELECT min(TimeFlowEndMs), max(TimeFlowEndMs) FROM flow WHERE TimeFlowEndMs > 0";
    let (Some(first), Some(last)) =
        db.query_row(range, [], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)))?
    else {
        return Ok((1_000, Vec::new()));
    };
    // Records are of a second or more.
    let step = ((last - first) / BARS / 1_000 + 1) * 1_000;
    let sql = format!(
        "SELECT TimeFlowEndMs / {step} * {step}, sum(CASE WHEN Duplicate IS NULL THEN Bytes ELSE 0 END), sum(coalesce(PktDropPackets, 0))
         FROM flow WHERE TimeFlowEndMs > 0 GROUP BY 1 ORDER BY 1"
    );
    let mut select = db.prepare(&sql)?;
    let bars =
        select.query_map([], |row| Ok(json!([row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?])))?;
    Ok((step, bars.collect::<Result<_, _>>()?))
}

/// Client, server and port, bytes, dropped packets; the largest, and all with drops before them.
fn edges(db: &Connection) -> anyhow::Result<Vec<Json>> {
    let sql = format!(
        "SELECT client, coalesce(service, server) || coalesce(':' || port, ''), sum(bytes_to_server + bytes_to_client), sum(drops)
         FROM conversation GROUP BY 1, 2 ORDER BY sum(drops) > 0 DESC, 3 DESC LIMIT {EDGES}"
    );
    let mut select = db.prepare(&sql)?;
    let text = |row: &rusqlite::Row<'_>, at| row.get::<_, Option<String>>(at).map(Option::unwrap_or_default);
    let edges = select
        .query_map([], |row| Ok(json!([text(row, 0)?, text(row, 1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?])))?;
    Ok(edges.collect::<Result<_, rusqlite::Error>>()?)
}

/// How many pairs there are, drawn or not.
fn pairs(db: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM (SELECT DISTINCT client, coalesce(service, server) || coalesce(':' || port, '') FROM conversation)";
    db.query_row(sql, [], |row| row.get(0))
}
