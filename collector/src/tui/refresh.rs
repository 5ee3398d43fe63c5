//! Brings what is shown up to date with the data. Ten times a second, less often when the terminal is slow.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use netobserv_explain::finding::Finding;
use netobserv_explain::report::Report;
use netobserv_wire::Flow;

use super::app::{App, Over, Silent, Sort};
use super::data::Data;
use super::data::connections::Connection;
use super::data::kept::Kept;
use super::detail::Detail;
use super::draw::telling;
use super::exact::Row;
use super::filter::{self, Filter};
use super::matches::{Matches, is_filtered};
use super::problems::{ProblemRow, Problems};
use super::views::View;
use super::{connections, top};
use crate::counts::{Counts, Totals};

/// Over which time the flows a second are counted.
const RATE_TIME: Duration = Duration::from_secs(2);
/// Between two looks at all conversations and findings.
const SLOW: Duration = Duration::from_secs(1);
/// A node that sent nothing for this long is silent.
const SILENCE: Duration = Duration::from_secs(5);
/// Rows of Top that can be scrolled to.
const MOST_TOP: usize = 1_000;

/// Findings are read again after this many times the time that it took.
const LOOK_FACTOR: u32 = 20;

/// What a refresh remembers from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    matches: Matches,
    /// When there were how many flows.
    marks: VecDeque<(Duration, u64)>,
    /// When a summary was made, and how.
    slow: Option<(Duration, String)>,
    /// Conversations in their order.
    order: Vec<u64>,
    problems: Problems,
    /// When the findings are read again.
    problems_due: Duration,
    entered_due: Duration,
}

impl Refresh {
    /// Summaries are made again at the next time, however little of the capture's time has passed.
    pub(super) fn hurry(&mut self) {
        (self.slow, self.problems_due, self.entered_due) = (None, Duration::ZERO, Duration::ZERO);
    }

    /// The header: counts and times.
    pub(super) fn counts(&mut self, app: &mut App, elapsed: Duration, totals: &Totals) {
        app.shown.elapsed = elapsed;
        app.shown.totals = *totals;
        self.marks.push_back((elapsed, totals.flows));
        while self.marks.get(1).is_some_and(|(at, _)| elapsed.saturating_sub(*at) >= RATE_TIME) {
            self.marks.pop_front();
        }
        let Some((at, flows)) = self.marks.front() else { return };
        let time = elapsed.saturating_sub(*at).as_secs_f64();
        app.shown.rate = if time > 0.0 { totals.flows.saturating_sub(*flows) as f64 / time } else { 0.0 };
    }

    /// What went wrong, once a second, less often where that takes long.
    pub(super) fn findings(&mut self, app: &mut App, report: impl FnOnce() -> Report) {
        let now = app.shown.elapsed;
        if now < self.problems_due || (app.view.is_summary() && app.pinned) {
            return;
        }
        let start = Instant::now();
        let Report { findings, hints, .. } = report();
        self.take_in(app, findings);
        app.shown.hints = hints;
        self.problems_due = now + SLOW.max(start.elapsed() * LOOK_FACTOR);
    }

    /// These are the findings by now.
    pub(super) fn take_in(&mut self, app: &mut App, findings: Vec<Finding>) {
        app.shown.problems = self.problems.rows(findings, app.shown.elapsed);
    }

    /// The view.
    pub(super) fn data(&mut self, app: &mut App, data: &mut Data) {
        app.shown.seen = data.seen;
        app.shown.missed = data.not_shown();
        app.shown.has_names |= data.has_names;
        app.shown.has_processes |= data.has_processes;
        let features = [View::Drops, View::Dns, View::Rtt].into_iter().zip(data.has);
        app.shown.present = features.filter(|(_, has)| *has).map(|(view, _)| view).collect();
        app.shown.news = app.paused.as_ref().map_or(0, |paused| data.kept.end() - paused.end());
        self.entered(app, data);
        match app.view {
            View::Connections => {
                self.slowly(app, data);
                self.connections(app, data);
            }
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

    /// Rows that were entered take in the conversations that have come to belong to them.
    fn entered(&mut self, app: &mut App, data: &Data) {
        let now = app.shown.elapsed;
        if app.path.is_empty() || now < self.entered_due {
            return;
        }
        let start = Instant::now();
        app.path.iter_mut().filter_map(|step| step.filter.exact_mut()).for_each(|exact| exact.update(data));
        self.entered_due = now + SLOW.max(start.elapsed() * LOOK_FACTOR);
    }

    /// The conversations on the screen, as they are now.
    fn connections(&mut self, app: &mut App, data: &Data) {
        let now = app.shown.elapsed;
        app.shown.all_connections = self.order.len();
        if app.pinned && !app.shown.connections.is_empty() && app.cursor.is_none() {
            return;
        }
        let seen = self.order.iter().skip(app.offset).take(app.height());
        let found = seen.filter_map(|id| data.connections.get(*id));
        let rows = found.map(|one| connections::row(&data.connections, one, &app.shown.problems, now)).collect();
        app.shown.connections = rows;
        // A column stays once it has shown something.
        let telling: Vec<_> = telling(&app.shown.connections).collect();
        app.shown.filled.extend(telling);
    }

    fn rows(&mut self, app: &mut App, data: &Data) {
        let filters = app.active_filters();
        let columns = app.columns();
        let kept = app.paused.as_ref().unwrap_or(&data.kept);
        let filtered = is_filtered(&filters, app.view);
        self.matches.update(kept, &filters, app.view, &columns);
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

    /// Summaries look at everything: once a second, and at once when something else is wanted of them.
    fn slowly(&mut self, app: &mut App, data: &mut Data) {
        let filters = app.active_filters();
        let texts: Vec<_> = filters.iter().map(Filter::signature).collect();
        let how = format!("{:?} {:?} {:?} {:?} {}", app.view, app.group, app.metric, app.order, texts.join("\0"));
        let now = app.shown.elapsed;
        let is_same = self.slow.as_ref().is_some_and(|(_, made)| *made == how);
        let is_fresh = self.slow.as_ref().is_some_and(|(at, _)| now.saturating_sub(*at) < SLOW);
        // Rows of Connections keep their order while one is selected.
        let holds = app.pinned || (app.view == View::Connections && app.cursor.is_some());
        if is_same && (is_fresh || holds) {
            return;
        }
        self.slow = Some((now, how));
        app.shown.let_go = data.connections.let_go.0;
        let selected = app.back.take().or_else(|| self.selected(app));
        match app.view {
            View::Connections => {
                self.order = connections::order(&mut data.connections, app.order, &filters, now);
                app.shown.all_connections = self.order.len();
            }
            View::Top => {
                app.shown.groups = top::offered(&data.connections);
                let connections = &data.connections;
                let typed: Vec<_> = filters.into_iter().filter(Filter::is_typed).collect();
                let passes = |one: &Connection| typed.is_empty() || connections::passes(connections, one, &typed);
                let mut rows = top::rows_of(connections, app.group, app.metric, now, passes);
                rows.truncate(MOST_TOP);
                app.shown.top = rows;
            }
            _ => {
                let rows = app.shown.problems.iter().cloned();
                let passes = |row: &ProblemRow| {
                    let typed = filters.iter().filter(|filter| filter.is_typed());
                    filter::pass(typed, row.text(), &row.as_record(&data.connections))
                };
                app.shown.problems_shown = rows.filter(passes).collect();
            }
        }
        self.follow(app, selected);
    }

    /// The row at the cursor.
    pub(super) fn selected(&self, app: &App) -> Option<Row> {
        let place = app.cursor?;
        match app.view {
            View::Connections => self.order.get(place).map(|id| Row::Connection(*id)),
            View::Top => app.shown.top.get(place).map(|row| Row::Top(app.group, row.member.clone())),
            View::Problems => app.shown.problems_shown.get(place).map(Row::problem),
            _ => None,
        }
    }

    /// Moves the cursor to where the selected row is now.
    fn follow(&self, app: &mut App, selected: Option<Row>) {
        let place = selected.and_then(|row| match &row {
            Row::Connection(id) => self.order.iter().position(|other| other == id),
            Row::Top(_, member) => app.shown.top.iter().position(|other| other.member == *member),
            Row::Problem(which, _) => app.shown.problems_shown.iter().position(|other| other.which == *which),
        });
        let end = app.list_len().checked_sub(1);
        app.cursor = place.or(app.cursor).and_then(|place| end.map(|end| place.min(end)));
        let (low, high) = app.cursor.map_or((0, usize::MAX), |place| ((place + 1).saturating_sub(app.height()), place));
        app.offset = app.offset.clamp(low, high).min(end.unwrap_or(0));
    }
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

/// Nodes that were silent for a while, and had not ended.
pub(super) fn silent(counts: &Counts, now: Instant) -> Vec<Silent> {
    let silent = counts.agents().into_iter().filter_map(|(node, agent)| {
        let time = agent.silent_for(now)?;
        (time >= SILENCE).then_some(Silent { node, time })
    });
    silent.collect()
}
