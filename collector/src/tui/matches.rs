//! Which of the kept rows pass the filters. Work is done in slices: a frame never waits for a hundred thousand rows.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use netobserv_wire::Flow;

use super::columns::Column;
use super::data::kept::Kept;
use super::filter::Filter;
use super::views::View;
use crate::query::Scratch;

/// Time for one slice, and rows between two looks at the clock.
const SLICE: Duration = Duration::from_millis(8);
const STEP: usize = 64;

/// The numbers of the rows that pass, oldest first.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// What the rows were tested with.
    tested_with: String,
    /// Rows from here to there have been tested, but for those that came too fast.
    low: u64,
    high: u64,
    found: VecDeque<u64>,
    /// Rows that were not tested, because they came too fast.
    pub(super) skipped: u64,
    /// Older rows remain to be tested.
    pub(super) searching: bool,
}

impl Matches {
    /// Tests what is new, then what is old, for a slice of time.
    pub(super) fn update(&mut self, kept: &Kept, filters: &[Filter], view: View, columns: &[&Column]) {
        if !is_filtered(filters, view) {
            *self = Self::default();
            return;
        }
        let with = signature(filters, view, columns);
        if self.tested_with != with || kept.end() < self.high {
            *self = Self { tested_with: with, low: kept.end(), high: kept.end(), ..Self::default() };
        }
        let start = Instant::now();
        let reads_rows = filters.iter().any(Filter::reads_rows);
        let mut test = Test { filters, view, columns, reads_rows, scratch: Scratch::default() };
        self.test_new(kept, &mut test, start);
        self.test_old(kept, &mut test, start);
        let oldest = kept.start();
        while self.found.front().is_some_and(|number| *number < oldest) {
            self.found.pop_front();
        }
        self.low = self.low.max(oldest);
        self.searching = self.low > oldest;
    }

    fn test_new(&mut self, kept: &Kept, test: &mut Test<'_>, start: Instant) {
        let mut new = Vec::new();
        for (number, flow) in kept.newest_first().take_while(|(number, _)| *number >= self.high) {
            if number.is_multiple_of(STEP as u64) && start.elapsed() > SLICE {
                self.skipped += number - self.high;
                break;
            }
            if test.passes(flow) {
                new.push(number);
            }
        }
        self.found.extend(new.into_iter().rev());
        self.high = kept.end();
    }

    fn test_old(&mut self, kept: &Kept, test: &mut Test<'_>, start: Instant) {
        while self.low > kept.start() {
            if self.low.is_multiple_of(STEP as u64) && start.elapsed() > SLICE {
                return;
            }
            self.low -= 1;
            if kept.get(self.low).is_some_and(|flow| test.passes(flow)) {
                self.found.push_front(self.low);
            }
        }
    }

    /// The row that is `place` from the newest on.
    pub(super) fn nth_newest(&self, kept: &Kept, filtered: bool, place: usize) -> Option<u64> {
        if filtered {
            return self.found.len().checked_sub(place + 1).map(|index| self.found[index]);
        }
        let number = kept.end().checked_sub(place as u64 + 1)?;
        (number >= kept.start()).then_some(number)
    }

    /// How many rows pass.
    pub(super) fn count(&self, kept: &Kept, filtered: bool) -> usize {
        if filtered { self.found.len() } else { kept.len() }
    }
}

/// Filters, and the row that they test.
struct Test<'a> {
    filters: &'a [Filter],
    view: View,
    columns: &'a [&'a Column],
    reads_rows: bool,
    scratch: Scratch,
}

impl Test<'_> {
    fn passes(&mut self, flow: &Flow) -> bool {
        if !self.view.shows(flow) || self.filters.is_empty() {
            return self.view.shows(flow);
        }
        self.scratch.row.clear();
        for column in self.columns.iter().filter(|_| self.reads_rows) {
            let _ = write!(self.scratch.row, "{} ", column.text(flow));
        }
        self.filters.iter().all(|filter| filter.passes(&mut self.scratch, flow))
    }
}

/// Whether not all rows are shown.
pub(super) fn is_filtered(filters: &[Filter], view: View) -> bool {
    !filters.is_empty() || view.is_selective()
}

fn signature(filters: &[Filter], view: View, columns: &[&Column]) -> String {
    let filters: Vec<_> = filters.iter().map(Filter::signature).collect();
    let columns: Vec<_> = columns.iter().map(|column| column.field).collect();
    format!("{view:?}\0{}\0{}", filters.join("\0"), columns.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::views::{Names, columns};

    fn kept(rows: std::ops::Range<u64>, kept: &mut Kept) {
        let flow = |number: u64| Flow {
            proto: Some(if number.is_multiple_of(10) { 17 } else { 6 }),
            bytes: number,
            ..Flow::default()
        };
        kept.push(rows.map(flow).collect::<Vec<_>>().into());
    }

    #[test]
    fn old_and_new_rows_are_found_and_those_let_go_are_forgotten() {
        let (mut rows, mut matches) = (Kept::new(100), Matches::default());
        let columns = columns(View::Records, Names::Ports);
        let udp = [Filter::parse("udp")];
        kept(0..80, &mut rows);
        matches.update(&rows, &udp, View::Records, &columns);
        while matches.searching {
            matches.update(&rows, &udp, View::Records, &columns);
        }
        assert_eq!((matches.count(&rows, true), matches.nth_newest(&rows, true, 0)), (8, Some(70)));
        kept(80..130, &mut rows);
        matches.update(&rows, &udp, View::Records, &columns);
        assert_eq!(matches.nth_newest(&rows, true, 0), Some(120));
        assert_eq!((matches.nth_newest(&rows, true, 9), matches.nth_newest(&rows, true, 10)), (Some(30), None));
        matches.update(&rows, &[], View::Records, &columns);
        assert_eq!((matches.count(&rows, false), matches.nth_newest(&rows, false, 99)), (100, Some(30)));
        assert_eq!(matches.nth_newest(&rows, false, 100), None);
    }
}
