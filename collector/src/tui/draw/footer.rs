//! The two lines at the bottom: the filters, and the keys of the moment.

use ratatui::layout::Rect;

use super::{Canvas, Pieces, fit};
use crate::tui::app::{App, Over};
use crate::tui::filter::Filter;
use crate::tui::mouse::Act;
use crate::tui::theme::{Theme, bold, dim, reversed};
use crate::tui::views::View;

/// What is typed, and the filters.
pub(in crate::tui) fn filters(canvas: &mut Canvas, (input, filters, theme): (&str, &[Filter], Theme), area: Rect) {
    let mut pieces = Pieces::new();
    pieces.push("Filter: ", bold());
    let typed = Filter::parse(input);
    let style = if typed.error().is_some() { theme.alarm().patch(reversed()) } else { theme.accent() };
    let room = usize::from(area.width / 2);
    let from = input.chars().count().saturating_sub(room);
    pieces.push(input.chars().skip(from).collect::<String>(), style);
    pieces.push(" ", reversed());
    if let Some(why) = typed.error() {
        pieces.push(format!(" not valid: {why}"), theme.alarm());
    }
    for (index, filter) in filters.iter().enumerate() {
        pieces.plain("  ");
        pieces.button(canvas, area, format!("[{} ×]", filter.text), theme.accent(), Act::RemoveFilter(index));
    }
    let hint = match (input.is_empty(), filters.is_empty()) {
        (true, true) => "  Type anything to filter: word  field:value  !not  /regex/",
        (true, false) => "  Backspace removes the last one",
        (false, _) => "  Enter keeps it and begins another",
    };
    pieces.push(hint, dim());
    pieces.draw(canvas, area);
}

/// The last line.
pub(in crate::tui) struct Keys<'a> {
    /// Keys of the moment, and what they do.
    pub(in crate::tui) keys: &'static [(&'static str, &'static str)],
    pub(in crate::tui) log: Option<&'a str>,
    pub(in crate::tui) files: &'a str,
    pub(in crate::tui) theme: Theme,
}

impl<'a> Keys<'a> {
    pub(super) fn of(app: &'a App) -> Self {
        Self { keys: shown_keys(app), log: app.shown.log.as_deref(), files: &app.facts.files, theme: app.theme }
    }
}

/// The last log line, or else keys and files.
pub(in crate::tui) fn keys(canvas: &mut Canvas, line: &Keys, area: Rect) {
    let mut pieces = Pieces::new();
    if let Some(log) = line.log {
        pieces.push(fit(log, usize::from(area.width), false), line.theme.second());
        return pieces.draw(canvas, area);
    }
    for (key, what) in line.keys {
        pieces.push(*key, bold());
        pieces.plain(format!(" {what}  "));
    }
    let at = pieces.at;
    pieces.push("?", bold());
    pieces.plain(" help  ");
    canvas.button(area, at, 6, Act::Help);
    let room = usize::from(area.width).saturating_sub(pieces.at);
    if room >= 24 {
        pieces.push(fit(line.files, room, false), dim());
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
