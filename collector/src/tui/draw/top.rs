//! View Top.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::bars::bar;
use super::{Canvas, Pieces, fit, fit_middle, pair, row};
use crate::human;
use crate::tui::app::App;
use crate::tui::columns::short;
use crate::tui::filter::advice;
use crate::tui::mouse::Act;
use crate::tui::theme::{dim, reversed};
use crate::tui::top::TopRow;
use crate::tui::views::{Group, Metric};

/// A column of numbers: its title, its width, what it sorts by.
type Number = (&'static str, usize, Metric);

const NUMBERS: [Number; 6] = [
    ("Now/s", 7, Metric::Rate),
    ("Sent", 7, Metric::Bytes),
    ("Received", 9, Metric::Bytes),
    ("Packets", 8, Metric::Packets),
    ("Drops", 7, Metric::Drops),
    ("DNS errors", 11, Metric::DnsErrors),
];
/// The same where names need the room.
const NARROW: [Number; 6] = [
    ("Now/s", 6, Metric::Rate),
    ("Sent", 6, Metric::Bytes),
    ("Recv", 6, Metric::Bytes),
    ("Pkts", 5, Metric::Packets),
    ("Drops", 6, Metric::Drops),
    ("DNSerr", 7, Metric::DnsErrors),
];
const BAR: usize = 10;

/// What there is room for after the names.
struct Places {
    who: usize,
    bar: usize,
    /// Which of them, and how they look.
    numbers: Vec<(usize, Number)>,
}

impl Places {
    /// Names come first: before they are cut the bar goes, numbers get narrow, and those go that are zero everywhere.
    fn of(app: &App, width: usize) -> Self {
        let widest = app.shown.top.iter().map(|top| top.who.chars().count()).max().unwrap_or(0);
        let mut numbers: Vec<(usize, Number)> = NUMBERS.into_iter().enumerate().collect();
        let mut bar = if width >= 100 { BAR } else { 0 };
        let who = |numbers: &[(usize, Number)], bar: usize| {
            let taken: usize = numbers.iter().map(|(_, (_, width, _))| width + 1).sum();
            width.saturating_sub(taken + bar + usize::from(bar > 0))
        };
        if who(&numbers, bar) < widest {
            bar = 0;
        }
        if who(&numbers, bar) < widest {
            numbers = NARROW.into_iter().enumerate().collect();
        }
        for metric in [Metric::DnsErrors, Metric::Drops] {
            let nothing = app.metric != metric && app.shown.top.iter().all(|top| top.metric(metric) == 0);
            if nothing && who(&numbers, bar) < widest {
                numbers.retain(|(_, (.., of))| *of != metric);
            }
        }
        Self { who: who(&numbers, bar), bar, numbers }
    }
}

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let places = Places::of(app, usize::from(area.width));
    if let Some(area) = row(area, 0) {
        titles(canvas, app, &places, area);
    }
    let most = app.shown.top.first().map_or(0, |first| first.metric(app.metric)).max(1);
    let room = usize::from(area.height.saturating_sub(1 + u16::from(app.shown.let_go > 0)));
    for (index, top) in app.shown.top.iter().skip(app.offset).take(room.min(app.height())).enumerate() {
        let Some(area) = row(area, index + 1) else { break };
        let selected = app.selected_line() == Some(index);
        let mut pieces = line(app, top, &places, selected);
        if places.bar > 0 {
            let share = top.metric(app.metric) as f64 / most as f64;
            pieces.push(format!(" {}", bar(share, places.bar)), app.theme.accent());
        }
        pieces.draw(canvas, area);
        canvas.buttons.push((area, Act::Line(index)));
    }
    notes(canvas, app, area);
}

fn titles(canvas: &mut Canvas, app: &App, places: &Places, area: Rect) {
    let mut pieces = Pieces::new();
    let title = match app.group {
        Group::Server | Group::Conversation => "Client → server, both directions",
        group => group.title(),
    };
    pieces.push(fit(title, places.who, false), reversed());
    for (_, (title, width, metric)) in places.numbers.iter().copied() {
        let arrow = if metric == app.metric { "▼" } else { "" };
        pieces.push(" ", reversed());
        pieces.button(canvas, area, fit(&format!("{arrow}{title}"), width, true), reversed(), Act::Metric(metric));
    }
    pieces.push(" ".repeat(usize::from(area.width).saturating_sub(pieces.at)), reversed());
    pieces.draw(canvas, area);
}

fn line(app: &App, top: &TopRow, places: &Places, selected: bool) -> Pieces {
    let base = if selected { reversed() } else { Style::new() };
    let alarm = |number: u64| if number > 0 && !selected { app.theme.alarm() } else { base };
    let rate = if top.rate == 0 { "·".into() } else { human::bytes(top.rate) };
    let texts = [
        (rate, base),
        (human::bytes(top.sent), base),
        (human::bytes(top.received), base),
        (short(top.sums.packets), base),
        (short(top.sums.drops), alarm(top.sums.drops)),
        (short(top.sums.dns_errors), alarm(top.sums.dns_errors)),
    ];
    let mut pieces = Pieces::new();
    let who = if matches!(app.group, Group::Server | Group::Conversation) {
        pair(&top.who, places.who)
    } else {
        fit_middle(&top.who, places.who)
    };
    pieces.push(who, base);
    for (index, (_, width, _)) in &places.numbers {
        let (text, style) = &texts[*index];
        pieces.push(" ", base);
        pieces.push(fit(text, *width, true), *style);
    }
    pieces
}

fn notes(canvas: &mut Canvas, app: &App, area: Rect) {
    let note = match (app.shown.top.is_empty(), app.shown.let_go) {
        (true, _) if !app.typed_filters().is_empty() => {
            format!("  No conversation passes the filters; {}", advice(&app.typed_filters()))
        }
        (true, _) => format!("  Nothing yet ({})", app.metric.title()),
        (false, 0) => return,
        (false, gone) => {
            format!("{} small conversations had no room here; their bytes are in no row", human::count(gone))
        }
    };
    let at = if app.shown.top.is_empty() { 2 } else { usize::from(area.height.saturating_sub(1)) };
    if let Some(area) = row(area, at) {
        let mut pieces = Pieces::new();
        pieces.push(note, dim());
        pieces.draw(canvas, area);
    }
}
