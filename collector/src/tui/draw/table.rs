//! The table of flows, and the raw rows.

use netobserv_wire::{FIELDS, Flow, Value};
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::layout::{Place, lay_out};
use super::{Canvas, Pieces, fit, row};
use crate::human;
use crate::tui::app::App;
use crate::tui::columns::shown;
use crate::tui::filter::advice;
use crate::tui::mouse::Act;
use crate::tui::theme::{dim, reversed};
use crate::tui::views::View;

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let places = if app.view == View::Raw { Vec::new() } else { lay_out(app, usize::from(area.width)) };
    if let Some(area) = row(area, 0) {
        titles(canvas, app, &places, area);
    }
    for (index, flow) in app.shown.rows.iter().enumerate() {
        let Some(area) = row(area, index + 1) else { break };
        let selected = app.selected_line() == Some(index);
        let line = match app.view {
            View::Raw => raw(flow, app.scroll, usize::from(area.width), selected),
            _ => cells(app, flow, &places, selected),
        };
        line.draw(canvas, area);
        canvas.buttons.push((area, Act::Line(index)));
    }
    if app.shown.rows.is_empty() {
        nothing(canvas, app, area);
    }
}

/// Explains why the table is empty.
fn nothing(canvas: &mut Canvas, app: &App, area: Rect) {
    let filtered = !app.active_filters().is_empty();
    let why = match (app.shown.kept, app.shown.totals.agents) {
        _ if app.facts.lacks(app.view).is_some() && !app.shown.present.contains(&app.view) => {
            let option = app.facts.lacks(app.view).unwrap_or_default();
            format!("{} not captured: start with --{option}", of(app.view))
        }
        _ if lacking(app).is_some() => lacking(app).unwrap_or_default().to_owned(),
        (0, 0) => "Waiting for the agents...".into(),
        (0, _) => "Waiting for flows...".into(),
        _ if app.shown.searching => "Searching...".into(),
        _ if !filtered => format!("None of the {} latest records has one", human::count(app.shown.kept as u64)),
        _ => format!("No flow passes the filters; {}", advice(&app.active_filters())),
    };
    if let Some(area) = row(area, 2) {
        let mut pieces = Pieces::new();
        pieces.push(format!("  {why}"), dim());
        pieces.draw(canvas, area);
    }
}

/// That a kernel cannot do what this view is of.
fn lacking(app: &App) -> Option<&str> {
    let feature = match app.view {
        View::Drops => "dropped packets",
        View::Rtt => "round-trip times",
        _ => return None,
    };
    app.shown.lacking.iter().map(String::as_str).find(|line| line.contains(feature))
}

/// What a view of a feature is of.
fn of(view: View) -> &'static str {
    match view {
        View::Drops => "Drops are",
        View::Dns => "DNS is",
        _ => "Round-trip times are",
    }
}

fn titles(canvas: &mut Canvas, app: &App, places: &[Place], area: Rect) {
    let mut pieces = Pieces::new();
    for place in places {
        let sort = app.sort.filter(|sort| std::ptr::eq(sort.column, place.column));
        let arrow = sort.map_or("", |sort| if sort.descending { "▼" } else { "▲" });
        let title = fit(&format!("{}{arrow}", place.title), place.width, place.column.is_right());
        pieces.button(canvas, area, title, reversed(), Act::Sort(place.column.field));
        pieces.push(" ", reversed());
    }
    let note = if app.view == View::Raw { "Fields; Shift-Left/Right scrolls" } else { "" };
    let room = usize::from(area.width).saturating_sub(pieces.at);
    pieces.push(fit(note, room, false), reversed());
    pieces.draw(canvas, area);
}

fn cells(app: &App, flow: &Flow, places: &[Place], selected: bool) -> Pieces {
    let mut pieces = Pieces::new();
    for place in places {
        let text = place.column.fit(&place.column.text(flow), place.width);
        let style = match () {
            () if selected => reversed(),
            () if place.column.is_alarm(flow) => app.theme.alarm(),
            () if text.trim() == crate::tui::columns::ABSENT => dim(),
            () => Style::new(),
        };
        pieces.push(text, style);
        pieces.push(" ", if selected { reversed() } else { Style::new() });
    }
    pieces
}

/// Every field with its name.
fn raw(flow: &Flow, scroll: usize, width: usize, selected: bool) -> Pieces {
    let mut text = String::new();
    for field in FIELDS {
        let value = field.get(flow);
        if value != Value::Absent {
            text.push_str(&format!("{}:{} ", field.name, shown(&value)));
        }
    }
    let part: String = text.chars().skip(scroll).take(width).collect();
    let mut pieces = Pieces::new();
    pieces.push(fit(&part, width, false), if selected { reversed() } else { Style::new() });
    pieces
}
