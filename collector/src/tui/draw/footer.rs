//! The two lines at the bottom: the filters, and the keys of the moment.

use ratatui::layout::Rect;

use super::{Canvas, Pieces, fit};
use crate::tui::app::{App, Over};
use crate::tui::filter::Filter;
use crate::tui::mouse::Act;
use crate::tui::theme::{bold, dim, reversed};
use crate::tui::views::View;

/// What is typed, and the filters.
pub(super) fn filters(canvas: &mut Canvas, app: &App, area: Rect) {
    let mut pieces = Pieces::new();
    pieces.push("Filter: ", bold());
    let typed = Filter::parse(&app.input);
    let style = if typed.error().is_some() { app.theme.alarm().patch(reversed()) } else { app.theme.accent() };
    let room = usize::from(area.width / 2);
    let from = app.input.chars().count().saturating_sub(room);
    pieces.push(app.input.chars().skip(from).collect::<String>(), style);
    pieces.push(" ", reversed());
    if let Some(why) = typed.error() {
        pieces.push(format!(" not valid: {why}"), app.theme.alarm());
    }
    for (index, filter) in app.filters.iter().enumerate() {
        pieces.plain("  ");
        pieces.button(canvas, area, format!("[{} ×]", filter.text), app.theme.accent(), Act::RemoveFilter(index));
    }
    let hint = match (app.input.is_empty(), app.filters.is_empty()) {
        (true, true) => "  Type anything to filter: word  field:value  !not  /regex/",
        (true, false) => "  Backspace removes the last one",
        (false, _) => "  Enter keeps it and begins another",
    };
    pieces.push(hint, dim());
    pieces.draw(canvas, area);
}

/// The last log line, or else keys and files.
pub(super) fn keys(canvas: &mut Canvas, app: &App, area: Rect) {
    let mut pieces = Pieces::new();
    if let Some(log) = &app.shown.log {
        pieces.push(fit(log, usize::from(area.width), false), app.theme.second());
        return pieces.draw(canvas, area);
    }
    for (key, what) in shown_keys(app) {
        pieces.push(*key, bold());
        pieces.plain(format!(" {what}  "));
    }
    let at = pieces.at;
    pieces.push("?", bold());
    pieces.plain(" help  ");
    canvas.button(area, at, 6, Act::Help);
    let room = usize::from(area.width).saturating_sub(pieces.at);
    if room >= 24 {
        pieces.push(fit(&app.facts.files, room, false), dim());
    }
    pieces.draw(canvas, area);
}

fn shown_keys(app: &App) -> &'static [(&'static str, &'static str)] {
    match app.view {
        _ if app.over == Over::Detail => &[("Enter", "back"), ("Up/Down", "scroll"), ("Ctrl-C", "end")],
        View::Top => {
            &[("Left/Right", "view"), ("PgUp/PgDn", "by"), ("< >", "sort"), ("Enter", "flows"), ("Ctrl-C", "end")]
        }
        View::Problems => &[("Left/Right", "view"), ("Up/Down", "select"), ("Enter", "flows"), ("Ctrl-C", "end")],
        View::Graph => &[("Left/Right", "view"), ("Space", "pause"), ("Ctrl-C", "end")],
        _ if app.cursor.is_some() => {
            &[("Up/Down", "select"), ("Enter", "detail"), ("Esc", "live"), ("< >", "sort"), ("Ctrl-C", "end")]
        }
        _ => &[
            ("Left/Right", "view"),
            ("PgUp/PgDn", "names"),
            ("Up/Down", "select"),
            ("< >", "sort"),
            ("Space", "pause"),
            ("Ctrl-C", "end"),
        ],
    }
}
