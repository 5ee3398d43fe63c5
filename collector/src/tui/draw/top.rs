//! View Top.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::bars::bar;
use super::{Canvas, Pieces, fit, row};
use crate::human;
use crate::tui::app::App;
use crate::tui::columns::short;
use crate::tui::mouse::Act;
use crate::tui::theme::{dim, reversed};
use crate::tui::top::TopRow;
use crate::tui::views::{Group, Metric};

/// Characters of the numbers and of the bar.
const NUMBERS: [(&str, usize); 5] = [("Sent", 7), ("Received", 9), ("Packets", 8), ("Drops", 7), ("DNS errors", 11)];
const BAR: usize = 10;

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let bar_width = if area.width >= 100 { BAR } else { 0 };
    let numbers: usize = NUMBERS.iter().map(|(_, width)| width + 1).sum();
    let who = usize::from(area.width).saturating_sub(numbers + bar_width + usize::from(bar_width > 0));
    if let Some(area) = row(area, 0) {
        titles(canvas, app, who, area);
    }
    let most = app.shown.top.first().map_or(0, |first| first.metric(app.metric)).max(1);
    let room = usize::from(area.height.saturating_sub(1 + u16::from(app.shown.let_go > 0)));
    for (index, top) in app.shown.top.iter().skip(app.offset).take(room.min(app.height())).enumerate() {
        let Some(area) = row(area, index + 1) else { break };
        let selected = app.selected_line() == Some(index);
        let mut pieces = line(app, top, who, selected);
        if bar_width > 0 {
            let share = top.metric(app.metric) as f64 / most as f64;
            pieces.push(format!(" {}", bar(share, bar_width)), app.theme.accent());
        }
        pieces.draw(canvas, area);
        canvas.buttons.push((area, Act::Line(index)));
    }
    notes(canvas, app, area);
}

fn titles(canvas: &mut Canvas, app: &App, who: usize, area: Rect) {
    let mut pieces = Pieces::new();
    let title = match app.group {
        Group::Flow => "Client → server, both directions",
        group => group.title(),
    };
    pieces.push(fit(title, who, false), reversed());
    for (index, (title, width)) in NUMBERS.into_iter().enumerate() {
        let metric = [Metric::Bytes, Metric::Bytes, Metric::Packets, Metric::Drops, Metric::DnsErrors][index];
        let arrow = if metric == app.metric { "▼" } else { "" };
        pieces.push(" ", reversed());
        pieces.push(fit(&format!("{arrow}{title}"), width, true), reversed());
    }
    pieces.push(" ".repeat(usize::from(area.width).saturating_sub(pieces.at)), reversed());
    pieces.draw(canvas, area);
}

fn line(app: &App, top: &TopRow, who: usize, selected: bool) -> Pieces {
    let base = if selected { reversed() } else { Style::new() };
    let alarm = |number: u64| if number > 0 && !selected { app.theme.alarm() } else { base };
    let texts = [
        (human::bytes(top.sent), base),
        (human::bytes(top.received), base),
        (short(top.sums.packets), base),
        (short(top.sums.drops), alarm(top.sums.drops)),
        (short(top.sums.dns_errors), alarm(top.sums.dns_errors)),
    ];
    let mut pieces = Pieces::new();
    pieces.push(fit(&top.who, who, false), base);
    for ((text, style), (_, width)) in texts.into_iter().zip(NUMBERS) {
        pieces.push(" ", base);
        pieces.push(fit(&text, width, true), style);
    }
    pieces
}

fn notes(canvas: &mut Canvas, app: &App, area: Rect) {
    let note = match (app.shown.top.is_empty(), app.shown.let_go) {
        (true, _) => format!("  Nothing yet ({})", app.metric.title()),
        (false, 0) => return,
        (false, gone) => format!("{} small flows had no room here; their bytes are in no row", human::count(gone)),
    };
    let at = if app.shown.top.is_empty() { 2 } else { usize::from(area.height.saturating_sub(1)) };
    if let Some(area) = row(area, at) {
        let mut pieces = Pieces::new();
        pieces.push(note, dim());
        pieces.draw(canvas, area);
    }
}
