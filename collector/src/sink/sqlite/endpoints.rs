//! Who is at the ends of flows: each holder once in table `endpoint`, by number in the rows.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use compact_str::CompactString;
use netobserv_wire::flow::{Holder, HolderRef};
use rusqlite::{Connection, Row, params};

use super::schema::parts;

/// Holders that are remembered. One that is forgotten is written again: then two rows are equal, which does no harm.
const MOST: usize = 65_536;
/// Those that do not last have rows from here on: lasting ones have their own number, which is smaller.
const COUNTED: i64 = 1 << 32;

/// Numbers of holders.
#[derive(Default)]
pub(super) struct Endpoints {
    /// One bit for each lasting holder that has a row. Asked twice for each flow: a list of the rows' numbers would not stay in the
    /// caches.
    written: Vec<u64>,
    /// By content: a flowlogs-pipeline sends it again in every flow.
    by_content: HashMap<Content, i64>,
    /// Rows of holders that do not last.
    counted: i64,
}

impl Endpoints {
    /// The number of a holder, which is written if it is new. To be called in a transaction.
    pub(super) fn id(&mut self, db: &Connection, holder: &HolderRef) -> rusqlite::Result<i64> {
        let HolderRef::Lasting(_, number) = holder else { return self.learn(db, holder) };
        let (id, word, bit) = (i64::from(*number) + 1, *number as usize / 64, 1 << (number % 64));
        if self.written.get(word).is_none_or(|bits| bits & bit == 0) {
            write(db, id, holder)?;
            self.written.resize(self.written.len().max(word + 1), 0);
            self.written[word] |= bit;
        }
        Ok(id)
    }

    fn learn(&mut self, db: &Connection, holder: &HolderRef) -> rusqlite::Result<i64> {
        if self.by_content.len() >= MOST {
            self.by_content.clear();
        }
        let content = Content(holder.clone());
        if let Some(id) = self.by_content.get(&content) {
            return Ok(*id);
        }
        let id = COUNTED + self.counted;
        write(db, id, holder)?;
        self.counted += 1;
        self.by_content.insert(content, id);
        Ok(id)
    }
}

/// A holder that is the same when its content is.
struct Content(HolderRef);

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Content {}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The others follow from these, nearly always.
        (&self.0.name, &self.0.namespace, &self.0.kind, &self.0.host_name, &self.0.network).hash(state);
    }
}

fn write(db: &Connection, id: i64, holder: &Holder) -> rusqlite::Result<()> {
    let names: Vec<_> = parts().collect();
    let sql = format!("INSERT INTO endpoint (id, {}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", names.join(", "));
    let text = |text: &CompactString| (!text.is_empty()).then(|| text.to_string());
    let host_ip = holder.host_ip.map(|address| address.to_string());
    let values = params![
        id,
        text(&holder.name),
        text(&holder.namespace),
        text(&holder.kind),
        text(&holder.owner_name),
        text(&holder.owner_kind),
        host_ip,
        text(&holder.host_name),
        text(&holder.zone),
        text(&holder.network),
    ];
    db.prepare_cached(&sql)?.execute(values).map(drop)
}

/// All holders of a database, by number.
pub(super) fn read(db: &Connection) -> rusqlite::Result<HashMap<i64, HolderRef>> {
    let names: Vec<_> = parts().collect();
    let mut select = db.prepare(&format!("SELECT id, {} FROM endpoint", names.join(", ")))?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, holder(row)?.into())))?;
    rows.collect()
}

fn holder(row: &Row<'_>) -> rusqlite::Result<Holder> {
    let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str_or_null()?.unwrap_or_default());
    Ok(Holder {
        name: text(1)?.into(),
        namespace: text(2)?.into(),
        kind: text(3)?.into(),
        owner_name: text(4)?.into(),
        owner_kind: text(5)?.into(),
        host_ip: text(6)?.parse::<IpAddr>().ok(),
        host_name: text(7)?.into(),
        zone: text(8)?.into(),
        network: text(9)?.into(),
        ..Holder::default()
    })
}
