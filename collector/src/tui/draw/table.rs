//! The table of flows, and the raw rows.

use netobserv_wire::{FIELDS, Flow, Value};
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Canvas, Pieces, fit, row};
use crate::tui::app::App;
use crate::tui::columns::{Column, shown};
use crate::tui::mouse::Act;
use crate::tui::theme::{dim, reversed};
use crate::tui::views::View;

/// From this rank on a column goes before another one is cut.
const EXPENDABLE: u8 = 3;
/// A column gives way as one that is this much wider, for each step of its rank.
const LESS: usize = 6;

/// A column with its place.
#[derive(Clone, Copy)]
struct Place {
    column: &'static Column,
    width: usize,
    title: &'static str,
}

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

/// Says why the table is empty.
fn nothing(canvas: &mut Canvas, app: &App, area: Rect) {
    let why = match (app.shown.kept, app.shown.totals.agents) {
        (0, 0) => "Waiting for the agents...",
        (0, _) => "Waiting for flows...",
        _ if app.shown.searching => "Searching...",
        _ => "No flow passes the filters; Backspace removes one",
    };
    if let Some(area) = row(area, 2) {
        let mut pieces = Pieces::new();
        pieces.push(format!("  {why}"), dim());
        pieces.draw(canvas, area);
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
        let text = fit(&place.column.text(flow), place.width, place.column.is_right());
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

/// Columns for which there is no room.
pub(super) fn hidden(app: &App, width: u16) -> usize {
    app.columns().len() - lay_out(app, usize::from(width)).len()
}

/// Which columns are shown, and how wide.
fn lay_out(app: &App, width: usize) -> Vec<Place> {
    let mut columns = app.columns();
    if app.scroll > 0 {
        // The time stays; the others go to the left.
        let scroll = app.scroll.min(columns.len().saturating_sub(2));
        columns.drain(1..=scroll);
        return cut(places(app, &columns, true), width);
    }
    let natural = places(app, &columns, false);
    if needed(&natural) <= width {
        return natural;
    }
    loop {
        let short = places(app, &columns, true);
        if needed(&short) <= width {
            return short;
        }
        let last = columns.iter().enumerate().max_by_key(|(index, column)| (column.rank, *index));
        let (index, rank) = last.map_or((0, 0), |(index, column)| (index, column.rank));
        if rank < EXPENDABLE {
            let shrunk = shrink(short, width);
            if needed(&shrunk) <= width {
                return shrunk;
            }
            if rank == 0 {
                return cut(shrunk, width);
            }
        }
        columns.remove(index);
    }
}

fn places(app: &App, columns: &[&'static Column], short: bool) -> Vec<Place> {
    let place = |column: &&'static Column| {
        let title = if short { column.short } else { column.title };
        let content = app.shown.widths.get(column.field).copied().unwrap_or(0);
        // One more for the arrow of the order.
        let sorted = usize::from(app.sort.is_some_and(|sort| std::ptr::eq(sort.column, *column)));
        Place { column, width: usize::from(content).max(title.chars().count() + sorted), title }
    };
    columns.iter().map(place).collect()
}

fn needed(places: &[Place]) -> usize {
    places.iter().map(|place| place.width + 1).sum::<usize>().saturating_sub(1)
}

/// Takes from the widest columns until they fit, or have their least width.
fn shrink(mut places: Vec<Place>, width: usize) -> Vec<Place> {
    let mut surplus = needed(&places).saturating_sub(width);
    while surplus > 0 {
        let spare = |place: &&mut Place| place.width > usize::from(place.column.least).max(place.title.len());
        let Some(widest) =
            places.iter_mut().filter(spare).max_by_key(|place| place.width + LESS * usize::from(place.column.rank))
        else {
            break;
        };
        widest.width -= 1;
        surplus -= 1;
    }
    places
}

/// As many columns as there is room for; the last one may be cut.
fn cut(places: Vec<Place>, width: usize) -> Vec<Place> {
    let mut at = 0;
    let mut kept = Vec::new();
    for mut place in places {
        let room = width.saturating_sub(at);
        if room < place.width.min(4) || room == 0 {
            break;
        }
        place.width = place.width.min(room);
        at += place.width + 1;
        kept.push(place);
    }
    kept
}
