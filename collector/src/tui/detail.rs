//! Everything about one record: what matters first, what both directions of its conversation did in the last minute, all fields.

use chrono::DateTime;
use netobserv_wire::{FIELDS, Flow, Value};

use super::columns::{ABSENT, by_field, shown};
use super::data::Data;
use super::data::connections::{Key, Sums, number};
use super::data::kept::Kept;
use super::names;

mod matters;

/// Seconds of history.
pub(super) const HISTORY: usize = 60;

/// One direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Side {
    pub(super) title: String,
    /// Since the start of the capture.
    pub(super) sums: Sums,
    /// By second, the oldest first.
    pub(super) bytes: Vec<u64>,
    pub(super) packets: Vec<u64>,
    pub(super) drops: Vec<u64>,
    pub(super) rtt_us: Vec<u64>,
}

/// A line of what matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line {
    pub(super) title: &'static str,
    pub(super) text: String,
    /// Something went wrong.
    pub(super) alarm: bool,
}

/// What the detail shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Detail {
    /// What matters most, first what went wrong.
    pub(super) matters: Vec<Line>,
    /// Name, value, and unit of each field that the flow has.
    pub(super) fields: Vec<(&'static str, String)>,
    /// The direction of the selected row, and the other one.
    pub(super) sides: [Side; 2],
}

impl Detail {
    pub(super) fn of(flow: &Flow, kept: &Kept, data: &Data) -> Self {
        let key = Key::of(flow);
        let last = kept.newest_first().map(|(_, row)| row).filter(|row| is_of(row, key)).map(|row| row.end_ms).max();
        let end = last.unwrap_or(flow.end_ms) / 1_000;
        let one = data.connections.get(number(flow));
        let sums = one.map_or_else(Default::default, |one| {
            if one.key == key.reversed() { [one.sums[1], one.sums[0]] } else { one.sums }
        });
        let sides = [(key, sums[0]), (key.reversed(), sums[1])];
        Self {
            matters: matters::of(flow, data),
            fields: fields(flow),
            sides: sides.map(|(key, sums)| Side::of(key, sums, end, kept, data)),
        }
    }
}

/// Whether a row belongs to the conversation.
fn is_of(row: &Flow, key: Key) -> bool {
    let own = Key::of(row);
    own == key || own == key.reversed()
}

impl Side {
    fn of(key: Key, sums: Sums, end: u64, kept: &Kept, data: &Data) -> Self {
        let empty = || vec![0; HISTORY];
        let name = |address: Option<std::net::IpAddr>, port: u16| {
            let name = address.map_or_else(|| "?".into(), |address| names::of_address(&data.connections, address));
            if port == 0 { name } else { format!("{name}:{port}") }
        };
        let mut side = Side {
            title: format!("{} → {}", name(key.src, key.src_port), name(key.dst, key.dst_port)),
            sums,
            bytes: empty(),
            packets: empty(),
            drops: empty(),
            rtt_us: empty(),
        };
        for (_, row) in kept.newest_first().filter(|(_, row)| Key::of(row) == key) {
            side.add(row, end);
        }
        side
    }

    fn add(&mut self, row: &Flow, end: u64) {
        let age = end.saturating_sub(row.end_ms / 1_000) as usize;
        let Some(second) = (HISTORY - 1).checked_sub(age) else { return };
        let drops = row.drops.as_ref().map_or(0, |drops| drops.packets);
        let (bytes, packets) = if row.duplicate.is_none() { (row.bytes, row.packets) } else { (0, 0) };
        let sums = [(&mut self.bytes, bytes), (&mut self.packets, packets), (&mut self.drops, drops)];
        for (sum, more) in sums {
            sum[second] = sum[second].saturating_add(more);
        }
        self.rtt_us[second] = self.rtt_us[second].max(row.rtt_ns / 1_000);
    }
}

/// Date and time, UTC.
fn day(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| ABSENT.into(), |time| time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string())
}

/// Every field that the flow has, as it is, and as it is read.
fn fields(flow: &Flow) -> Vec<(&'static str, String)> {
    let line = |field: &'static netobserv_wire::Field| {
        let value = field.get(flow);
        if value == Value::Absent {
            return None;
        }
        let plain = shown(&value);
        let read = match (field.name, &value) {
            ("TimeFlowStartMs" | "TimeFlowEndMs", Value::Int(ms)) => return Some((field.name, day(ms.unsigned_abs()))),
            ("TimeReceived", Value::Int(s)) => return Some((field.name, day(s.unsigned_abs() * 1_000))),
            // The table above has them.
            ("PktDropCauses", _) => return None,
            ("Flags", Value::Int(flags)) => Some(super::columns::tcp_flags(flags.unsigned_abs())),
            (name, _) => by_field(name).map(|column| column.text(flow)).filter(|text| *text != plain),
        };
        let unit = if field.unit.is_empty() { String::new() } else { format!(" {}", field.unit) };
        Some((field.name, read.map_or(format!("{plain}{unit}"), |read| format!("{plain}{unit} ({read})"))))
    };
    let other = flow.other.iter().flat_map(|other| other.iter());
    let other: Vec<_> = other.map(|(name, value)| format!("{name}: {value}")).collect();
    let other = (!other.is_empty()).then(|| ("others", other.join(", ")));
    FIELDS.iter().filter_map(line).chain(other).collect()
}
