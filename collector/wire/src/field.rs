//! THE table of fields: every name that can stand in a flow file, what it means, how to read it from a
//! record and how to put it there. The JSON and SQLite writers, and the reader of flowlogs-pipeline
//! records, all go through it, so that a field is added in one place.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value as Json;

use crate::flow::Flow;
pub use crate::flow::Side;
use crate::value::Value;

pub use table::FIELDS;
use table::{PRESENT, SIZES};

mod table;
mod write;

/// One field of a flow record.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON, and of the SQLite column.
    pub name: &'static str,
    /// Unit of a number, or "".
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
    get: fn(&Flow) -> Value<'_>,
    set: Set,
}

/// How a field's values look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Int,
    /// A text.
    Text,
    /// A list of numbers or texts.
    List,
    /// A JSON value of its own.
    Json,
}

/// Puts a value into a record; `false` when the value does not fit the field.
#[derive(Debug)]
enum Set {
    Int(fn(&mut Flow, i64) -> bool),
    Text(fn(&mut Flow, &str) -> bool),
    List(fn(&mut Flow, &[Json]) -> bool),
    Json(fn(&mut Flow, &Json) -> bool),
}

impl Field {
    /// The field's value in `flow`.
    pub fn get<'a>(&self, flow: &'a Flow) -> Value<'a> {
        (self.get)(flow)
    }

    /// Puts `value` into `flow`; `false`, and no change, when it is not of the field's kind or out of range.
    pub fn set(&self, flow: &mut Flow, value: &Json) -> bool {
        match (&self.set, value) {
            (Set::Int(set), Json::Number(number)) => write::whole(number).is_some_and(|number| set(flow, number)),
            (Set::Text(set), Json::String(text)) => set(flow, text),
            (Set::List(set), Json::Array(list)) => set(flow, list),
            (Set::Json(set), value) => set(flow, value),
            _ => false,
        }
    }

    /// For a field that tells who holds an address ([`crate::flow::Holder`]): at which end, and the name without that.
    pub fn of_holder(&self) -> Option<(Side, &'static str)> {
        let src = self.name.strip_prefix("SrcK8S_").map(|part| (Side::Src, part));
        src.or_else(|| Some((Side::Dst, self.name.strip_prefix("DstK8S_")?)))
    }

    /// How the values look.
    pub fn kind(&self) -> Kind {
        match self.set {
            Set::Int(_) => Kind::Int,
            Set::Text(_) => Kind::Text,
            Set::List(_) => Kind::List,
            Set::Json(_) => Kind::Json,
        }
    }
}

/// The field of this name.
pub fn by_name(name: &str) -> Option<&'static Field> {
    static INDEX: LazyLock<HashMap<&str, &Field>> =
        LazyLock::new(|| FIELDS.iter().map(|field| (field.name, field)).collect());
    INDEX.get(name).copied()
}

/// Fields that a record has together, or not at all.
pub struct Group {
    /// Whether a record has some of them.
    pub present: fn(&Flow) -> bool,
    /// Index of the first one in [`FIELDS`].
    pub first: usize,
    /// The fields.
    pub fields: &'static [Field],
}

/// The fields by group: a writer that asks each group first looks at a third of the fields of a usual record.
pub static GROUPS: LazyLock<Vec<Group>> = LazyLock::new(|| {
    let mut first = 0;
    let group = |(size, present): (&usize, &fn(&Flow) -> bool)| {
        let group = Group { present: *present, first, fields: &FIELDS[first..first + size] };
        first += size;
        group
    };
    SIZES.iter().zip(PRESENT).map(group).collect()
});

#[cfg(test)]
mod tests;
