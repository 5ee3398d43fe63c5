//! Rows on their way to the sinks and the screen.

use std::ops::Deref;
use std::sync::Arc;

use netobserv_wire::Flow;

/// Rows that several threads read: those that are shown, and after them the duplicates that are only kept.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    all: Arc<Vec<Flow>>,
    /// Number of rows that are shown.
    shown: usize,
}

impl Rows {
    /// Hides duplicates, unless `all` are to be shown. Records with drops are shown: a drop happens at one node only.
    pub fn new(mut rows: Vec<Flow>, all: bool) -> Self {
        let is_hidden = |row: &Flow| row.duplicate.is_some() && row.drops.is_none();
        if all || !rows.iter().any(is_hidden) {
            return Self { shown: rows.len(), all: Arc::new(rows) };
        }
        // Stable: rows stay in the order in which they came.
        rows.sort_by_key(is_hidden);
        Self { shown: rows.partition_point(|row| !is_hidden(row)), all: Arc::new(rows) }
    }

    /// The hidden ones too.
    pub fn all(&self) -> &[Flow] {
        &self.all
    }
}

impl From<Vec<Flow>> for Rows {
    fn from(rows: Vec<Flow>) -> Self {
        Self::new(rows, false)
    }
}

/// The rows that are shown.
impl Deref for Rows {
    type Target = [Flow];

    fn deref(&self) -> &[Flow] {
        &self.all[..self.shown]
    }
}
