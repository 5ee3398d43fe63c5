//! Brings what is shown up to date with the data. Ten times a second, less often when the terminal is slow.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use netobserv_wire::Flow;

use super::app::{App, Over, Silent, Sort};
use super::data::Data;
use super::data::kept::Kept;
use super::detail::Detail;
use super::filter::Filter;
use super::matches::Matches;
use super::views::View;
use super::{problems, top};
use crate::counts::{Counts, Totals};

/// Over which time the flows a second are counted.
const RATE_TIME: Duration = Duration::from_secs(2);
/// Between two looks at all flows, for Top and Problems.
const SLOW: Duration = Duration::from_secs(1);
/// A node that said nothing for this long is silent.
const SILENCE: Duration = Duration::from_secs(5);
/// Rows of Top that can be scrolled to.
const MOST_TOP: usize = 1_000;

/// What a refresh remembers from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    matches: Matches,
    /// When there were how many flows.
    marks: VecDeque<(Duration, u64)>,
    /// When Top or Problems were made, and how.
    slow: Option<(Duration, String)>,
}

impl Refresh {
    /// The header: counts and times.
    pub(super) fn counts(&mut self, app: &mut App, elapsed: Duration, totals: Totals) {
        app.shown.elapsed = elapsed;
        app.shown.totals = totals;
        self.marks.push_back((elapsed, totals.flows));
        while self.marks.get(1).is_some_and(|(at, _)| elapsed.saturating_sub(*at) >= RATE_TIME) {
            self.marks.pop_front();
        }
        let Some((at, flows)) = self.marks.front() else { return };
        let time = elapsed.saturating_sub(*at).as_secs_f64();
        app.shown.rate = if time > 0.0 { totals.flows.saturating_sub(*flows) as f64 / time } else { 0.0 };
    }

    /// The view.
    pub(super) fn data(&mut self, app: &mut App, data: &Data) {
        app.shown.seen = data.seen;
        app.shown.missed = data.not_shown();
        app.shown.has_names |= data.has_names;
        app.shown.has_processes |= data.has_processes;
        app.shown.news = app.paused.as_ref().map_or(0, |paused| data.kept.end() - paused.end());
        match app.view {
            View::Top | View::Problems => self.slowly(app, data),
            View::Graph => app.shown.seconds = data.seconds.done().copied().collect(),
            _ => self.rows(app, data),
        }
        let kept = app.paused.as_ref().unwrap_or(&data.kept);
        app.shown.detail = match app.selected() {
            Some(flow) if app.over == Over::Detail => Some(Detail::of(flow, kept, data)),
            _ => None,
        };
    }

    fn rows(&mut self, app: &mut App, data: &Data) {
        let filters = app.active_filters();
        let columns = app.columns();
        let kept = app.paused.as_ref().unwrap_or(&data.kept);
        let filtered = !filters.is_empty();
        self.matches.update(kept, &filters, &columns);
        app.shown.kept = kept.len();
        app.shown.matching = self.matches.count(kept, filtered);
        app.shown.searching = self.matches.searching;
        let (from, to) = (app.offset, (app.offset + app.height()).min(app.shown.matching));
        let numbers = (0..app.shown.matching).filter_map(|place| self.matches.nth_newest(kept, filtered, place));
        let numbers: Vec<u64> = match app.sort {
            Some(sort) => sorted(kept, numbers, sort, from, to),
            None => (from..to).rev().filter_map(|place| self.matches.nth_newest(kept, filtered, place)).collect(),
        };
        app.shown.rows = numbers.into_iter().filter_map(|number| kept.get(number).cloned()).collect();
        for column in &columns {
            let widths = app.shown.rows.iter().map(|flow| column.text(flow).chars().count() as u16);
            let widest = app.shown.widths.entry(column.field).or_default();
            *widest = widths.fold(*widest, u16::max);
            if app.shown.rows.iter().any(|flow| column.has_value(flow)) {
                app.shown.filled.insert(column.field);
            }
        }
    }

    /// Top and Problems look at every flow: once a second, and at once when something else is wanted of them.
    fn slowly(&mut self, app: &mut App, data: &Data) {
        let filters = app.active_filters();
        let texts: Vec<_> = filters.iter().map(|filter| filter.text.as_str()).collect();
        let how = format!("{:?} {:?} {:?} {}", app.view, app.group, app.metric, texts.join("\0"));
        let now = app.shown.elapsed;
        let fresh = |(at, made): &(Duration, String)| *made == how && now.saturating_sub(*at) < SLOW;
        if self.slow.as_ref().is_some_and(fresh)
            || (app.paused.is_some() && self.slow.as_ref().is_some_and(|(_, made)| *made == how))
        {
            return;
        }
        self.slow = Some((now, how));
        app.shown.let_go = data.talkers.let_go.0;
        if app.view == View::Top {
            let mut rows = top::rows(&data.talkers, app.group, app.metric);
            rows.retain(|row| pass(&filters, &row.who));
            rows.truncate(MOST_TOP);
            app.shown.top = rows;
        } else {
            let mut rows = problems::rows(data, now);
            rows.retain(|row| pass(&filters, &format!("{} {} {}", row.kind.title(), row.what, row.who)));
            app.shown.problems = rows;
        }
        let end = app.list_len().checked_sub(1);
        app.cursor = app.cursor.and_then(|place| end.map(|end| place.min(end)));
        app.offset = app.offset.min(end.unwrap_or(0));
    }
}

fn pass(filters: &[Filter], row: &str) -> bool {
    let row = row.to_lowercase();
    filters.iter().all(|filter| filter.passes_text(&row))
}

/// The places `from` to `to` of the rows in order. Rows that are equal stand as they came, the newest first.
fn sorted(kept: &Kept, numbers: impl Iterator<Item = u64>, sort: Sort, from: usize, to: usize) -> Vec<u64> {
    let mut rows: Vec<(u64, &Flow)> = numbers.filter_map(|number| Some((number, kept.get(number)?))).collect();
    let order = |a: &(u64, &Flow), b: &(u64, &Flow)| {
        let order = sort.column.compare(a.1, b.1);
        (if sort.descending { order.reverse() } else { order }).then(b.0.cmp(&a.0))
    };
    if to < rows.len() {
        rows.select_nth_unstable_by(to, order);
    }
    rows.truncate(to);
    rows.sort_unstable_by(order);
    rows.into_iter().skip(from).map(|(number, _)| number).collect()
}

/// Nodes of which nothing was heard for a while, and that did not say goodbye.
pub(super) fn silent(counts: &Counts, now: Instant) -> Vec<Silent> {
    let silent = counts.agents().into_iter().filter_map(|(node, agent)| {
        let time = agent.silent_for(now)?;
        (time >= SILENCE).then_some(Silent { node, time })
    });
    silent.collect()
}
