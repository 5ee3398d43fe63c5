//! Brings what is shown up to date with the data.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::app::{App, Level, Sort};
use super::columns::searched;
use super::data::{Data, Kept, Talk};
use super::stream;
use crate::counts::Counts;
use crate::packets::headers::Ends;
use crate::packets::tally::Tally;
use crate::tui::filter::{self, Filter};
use crate::tui::push::selected;
use crate::tui::refresh::silent;

/// Over which time the packets a second are counted.
const RATE_TIME: Duration = Duration::from_secs(2);

/// When there were how many packets.
pub(super) type Marks = VecDeque<(Duration, u64)>;

/// The header: counts and times.
pub(super) fn counts(app: &mut App, marks: &mut Marks, now: Duration, (counts, tally): (&Counts, &Tally)) {
    let packets = tally.packets.load(Relaxed);
    let shown = &mut app.shown;
    shown.elapsed = now;
    shown.totals = counts.totals();
    shown.lost = tally.lost(&shown.totals);
    shown.file_bytes = tally.file_bytes.load(Relaxed);
    shown.silent = silent(counts, Instant::now());
    shown.selected = selected(counts);
    marks.push_back((now, packets));
    while marks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= RATE_TIME) {
        marks.pop_front();
    }
    let Some((at, before)) = marks.front() else { return };
    let time = now.saturating_sub(*at).as_secs_f64();
    shown.rate = if time > 0.0 { packets.saturating_sub(*before) as f64 / time } else { 0.0 };
}

/// Everything else.
pub(super) fn data(app: &mut App, data: &Data) {
    app.shown.seen = data.seen;
    app.shown.missed = data.missed;
    app.shown.let_go = data.let_go;
    app.shown.news = app.paused.as_ref().map_or(0, |paused| data.seen - paused.seen);
    list(app, Some(data));
}

/// The list that is shown: of the data at the pause, else of `live`.
pub(super) fn list(app: &mut App, live: Option<&Data>) {
    let paused = app.paused.take();
    if let Some(data) = paused.as_deref().or(live) {
        match app.level {
            Level::Talks => talks(app, data),
            Level::Packets(key) | Level::Packet(key, ..) => packets(app, data, key),
            Level::Stream(key, _) => {
                app.shown.open = data.talk(&key).cloned().or(app.shown.open.take());
                app.shown.stream = stream::lines(data.packets(key));
            }
        }
    }
    app.paused = paused;
}

fn talks(app: &mut App, data: &Data) {
    let (filters, page) = (app.active_filters(), app.page());
    let mut found: Vec<(&Ends, &Talk)> = data.talks().collect();
    app.shown.kept = found.len();
    if !filters.is_empty() {
        found.retain(|(_, talk)| passes(&filters, talk));
    }
    app.list_mut().resize(found.len(), page);
    let offset = app.list().offset;
    let shown = sorted(found, app.sort, offset, offset + page);
    app.shown.keys = shown.iter().map(|(key, _)| **key).collect();
    app.shown.talks = shown.into_iter().map(|(_, talk)| talk.clone()).collect();
}

fn passes(filters: &[Filter], talk: &Talk) -> bool {
    filter::pass(filters, searched(talk), &talk.flow)
}

/// The places `from` to `to` of the conversations in order.
fn sorted<'a>(mut talks: Vec<(&'a Ends, &'a Talk)>, sort: Sort, from: usize, to: usize) -> Vec<(&'a Ends, &'a Talk)> {
    let order = |a: &(&Ends, &Talk), b: &(&Ends, &Talk)| {
        let order = sort.column.compare(a.1, b.1);
        let order = if sort.descending { order.reverse() } else { order };
        // What is equal must not jump about: the address of the client decides, then its port.
        order
            .then_with(|| (a.1.flow.src_addr, a.1.flow.src_port).cmp(&(b.1.flow.src_addr, b.1.flow.src_port)))
            .then_with(|| a.0.addresses.cmp(&b.0.addresses))
            .then_with(|| a.0.ports.cmp(&b.0.ports))
    };
    if to < talks.len() {
        talks.select_nth_unstable_by(to, order);
        talks.truncate(to);
    }
    talks.sort_unstable_by(order);
    talks.drain(..from.min(talks.len()));
    talks
}

fn packets(app: &mut App, data: &Data, key: Ends) {
    let (filters, page) = (app.active_filters(), app.page());
    app.shown.open = data.talk(&key).cloned().or(app.shown.open.take());
    let talk = app.shown.open.as_ref().map(|talk| talk.flow.clone()).unwrap_or_default();
    let mut found: Vec<&Arc<Kept>> = data.packets(key).collect();
    app.shown.kept = found.len();
    if !filters.is_empty() {
        found.retain(|kept| filter::pass(&filters, line(kept), &talk));
    }
    let list = app.list_mut();
    list.resize(found.len(), page);
    if list.cursor.is_none() {
        // The newest stand at the bottom.
        list.offset = found.len().saturating_sub(page);
    }
    let offset = app.list().offset;
    app.shown.packets = found.into_iter().skip(offset).take(page).cloned().collect();
}

/// What a filter of packets looks at.
fn line(kept: &Kept) -> String {
    let (protocol, info) = kept.summary();
    let cause = kept.cause.as_deref().unwrap_or_default();
    format!("{} {} {protocol} {info} {cause}", kept.place, kept.original)
}
