//! What the screen knows: fed by a thread of its own, so that every row is counted however slow the terminal is.

pub(super) mod kept;
pub(super) mod problems;
pub(super) mod seconds;
pub(super) mod talkers;

use std::time::Duration;

use super::feed::Rows;
use kept::Kept;
use problems::Problems;
use seconds::Seconds;
use talkers::Talkers;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) kept: Kept,
    pub(super) talkers: Talkers,
    pub(super) problems: Problems,
    pub(super) seconds: Seconds,
    /// Rows that were looked at, and rows that came too fast for that.
    pub(super) seen: u64,
    pub(super) missed: u64,
    /// Some flow had names of the cluster.
    pub(super) has_names: bool,
}

impl Data {
    pub(super) fn new(keep_rows: usize) -> Self {
        Self { kept: Kept::new(keep_rows), ..Self::default() }
    }

    /// Takes in rows that came at `now` after the start.
    pub(super) fn add(&mut self, rows: Rows, now: Duration) {
        self.seconds.advance(now);
        for flow in rows.iter() {
            self.talkers.add(flow, now);
            self.problems.add(flow, now);
            self.seconds.add(flow);
            self.has_names |= flow.k8s.as_ref().is_some_and(|k8s| k8s.src.holder.is_some() || k8s.dst.holder.is_some());
        }
        self.seen += rows.len() as u64;
        self.kept.push(rows);
    }

    /// Nothing came until `now`.
    pub(super) fn idle(&mut self, now: Duration) {
        self.seconds.advance(now);
    }
}
