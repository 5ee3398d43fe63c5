//! What two captures saw at the same time counts once: in the one that saw most of the conversation's packets.

use rusqlite::Connection;

/// The rows of a file: numbers, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: i64,
    pub(super) last: i64,
}

/// A conversation in a file, for as long as it lasted there.
#[derive(Clone, Copy, Debug)]
struct Seen {
    id: i64,
    part: u32,
    start: i64,
    end: i64,
}

/// Marks the records that another file counts, as those of a node on the way are marked; returns how many there are. A conversation
/// that one file has after the other counts in both: these are other packets.
///
/// # Errors
/// When the database cannot be written.
pub(super) fn count(db: &Connection, parts: &[Part]) -> rusqlite::Result<u64> {
    let shared = shared(db, parts)?;
    if shared.is_empty() {
        return Ok(0);
    }
    db.execute_batch("CREATE INDEX merged ON flow_data (ConversationId); BEGIN")?;
    let mut marked = 0;
    for conversation in shared.chunk_by(|one, other| one.id == other.id) {
        marked += mark(db, parts, conversation)?;
    }
    db.execute_batch("COMMIT; DROP INDEX merged")?;
    Ok(marked)
}

/// The conversations that several files have, by number, that with the most packets first.
fn shared(db: &Connection, parts: &[Part]) -> rusqlite::Result<Vec<Seen>> {
    db.execute_batch("CREATE TEMP TABLE seen (id INTEGER, part INTEGER, start INTEGER, end INTEGER, packets INTEGER)")?;
    for (number, part) in (0_u32..).zip(parts) {
        db.execute(
            "INSERT INTO seen SELECT ConversationId, ?1, min(TimeFlowStartMs), max(TimeFlowEndMs), sum(Packets) FROM flow_data
             WHERE rowid BETWEEN ?2 AND ?3 AND Duplicate IS NULL AND ConversationId IS NOT NULL AND TimeFlowEndMs > 0
             GROUP BY ConversationId",
            (number, part.first, part.last),
        )?;
    }
    let mut select = db.prepare(
        "SELECT id, part, start, end FROM seen WHERE id IN (SELECT id FROM seen GROUP BY id HAVING count(*) > 1)
         ORDER BY id, packets DESC, part",
    )?;
    let seen = select
        .query_map([], |row| Ok(Seen { id: row.get(0)?, part: row.get(1)?, start: row.get(2)?, end: row.get(3)? }))?;
    seen.collect()
}

fn mark(db: &Connection, parts: &[Part], conversation: &[Seen]) -> rusqlite::Result<u64> {
    let mut update = db.prepare_cached(
        "UPDATE flow_data SET Duplicate = 'forwarder' WHERE ConversationId = ?1 AND rowid BETWEEN ?2 AND ?3
            AND Duplicate IS NULL AND TimeFlowEndMs >= ?4 AND TimeFlowStartMs <= ?5",
    )?;
    let mut marked = 0;
    for (at, one) in conversation.iter().enumerate() {
        for counts in &conversation[..at] {
            let Part { first, last } = parts[one.part as usize];
            marked += update.execute((one.id, first, last, counts.start, counts.end))? as u64;
        }
    }
    Ok(marked)
}
