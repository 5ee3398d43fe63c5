//! The latest rows, as many as `--keep-rows` allows. Rows are shared with the sinks, not copied; a clone is cheap, which is
//! what a paused table holds on to.

use std::collections::VecDeque;

use netobserv_wire::Flow;

use crate::feed::Rows;

/// Numbered rows, oldest first. Numbers count from the start of the capture and never change.
#[derive(Clone, Debug, Default)]
pub(in crate::tui) struct Kept {
    chunks: VecDeque<Chunk>,
    most: usize,
    /// Number of the row that comes next.
    next: u64,
}

#[derive(Clone, Debug)]
struct Chunk {
    first: u64,
    rows: Rows,
}

impl Kept {
    pub(in crate::tui) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    pub(in crate::tui) fn push(&mut self, rows: Rows) {
        if rows.is_empty() {
            return;
        }
        self.chunks.push_back(Chunk { first: self.next, rows });
        self.next += self.chunks.back().map_or(0, |chunk| chunk.rows.len()) as u64;
        // The oldest chunk goes as soon as the others are enough.
        while self.chunks.len() > 1 && (self.next - self.chunks[1].first) as usize >= self.most {
            self.chunks.pop_front();
        }
    }

    /// Number of the oldest row.
    pub(in crate::tui) fn start(&self) -> u64 {
        let first = self.chunks.front().map_or(self.next, |chunk| chunk.first);
        first.max(self.next.saturating_sub(self.most as u64))
    }

    /// Number of the row that comes next.
    pub(in crate::tui) fn end(&self) -> u64 {
        self.next
    }

    pub(in crate::tui) fn len(&self) -> usize {
        (self.end() - self.start()) as usize
    }

    pub(in crate::tui) fn get(&self, number: u64) -> Option<&Flow> {
        if number < self.start() {
            return None;
        }
        let chunk = self.chunks.partition_point(|chunk| chunk.first <= number).checked_sub(1)?;
        let chunk = &self.chunks[chunk];
        chunk.rows.get((number - chunk.first) as usize)
    }

    /// All rows with their numbers, newest first.
    pub(in crate::tui) fn newest_first(&self) -> impl Iterator<Item = (u64, &Flow)> {
        let start = self.start();
        let numbered = |chunk: &'_ Chunk| {
            let first = chunk.first;
            move |(index, flow)| (first + index as u64, flow)
        };
        let rows =
            self.chunks.iter().rev().flat_map(move |chunk| chunk.rows.iter().enumerate().rev().map(numbered(chunk)));
        rows.take_while(move |(number, _)| *number >= start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(first: u64, count: u64) -> Rows {
        (first..first + count).map(|bytes| Flow { bytes, ..Flow::default() }).collect::<Vec<_>>().into()
    }

    #[test]
    fn rows_keep_their_numbers_and_the_oldest_go() {
        let mut kept = Kept::new(10);
        for first in [0, 4, 8, 12] {
            kept.push(rows(first, 4));
        }
        assert_eq!((kept.start(), kept.end(), kept.len()), (6, 16, 10));
        assert_eq!(kept.get(6).map(|flow| flow.bytes), Some(6));
        assert!(kept.get(5).is_none() && kept.get(16).is_none());
        let all: Vec<_> = kept.newest_first().map(|(number, flow)| (number, flow.bytes)).collect();
        assert_eq!(all, (6..16).rev().map(|number| (number, number)).collect::<Vec<_>>());
        assert_eq!(kept.chunks.len(), 3, "rows that no view shows are dropped");
    }

    #[test]
    fn a_large_batch_does_not_break_the_limit() {
        let mut kept = Kept::new(3);
        kept.push(rows(0, 9));
        assert_eq!((kept.start(), kept.len(), kept.newest_first().count()), (6, 3, 3));
        kept.push(rows(9, 0));
        assert_eq!(Kept::new(3).newest_first().count() + Kept::new(3).len(), 0);
    }
}
