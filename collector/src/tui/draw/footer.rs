//! The two lines at the bottom: the filters, and the keys of the moment.

use ratatui::layout::Rect;

use super::{Canvas, Pieces, fit};
use crate::tui::app::{App, Over};
use crate::tui::filter::Filter;
use crate::tui::mouse::Act;
use crate::tui::theme::{Theme, bold, dim, reversed};
use crate::tui::views::View;

/// What is typed, and the filters.
pub(in crate::tui) struct Filters<'a> {
    pub(in crate::tui) input: &'a str,
    /// What it means.
    pub(in crate::tui) typed: Option<Filter>,
    pub(in crate::tui) filters: &'a [Filter],
    /// What more `F` could do, if there is something.
    pub(in crate::tui) kernel: Option<&'static str>,
    pub(in crate::tui) theme: Theme,
}

impl<'a> Filters<'a> {
    pub(super) fn of(app: &'a App) -> Self {
        let kernel = match () {
            () if is_pushed(app) => Some("F: out of the kernel again; "),
            () if can_be_pushed(app) => Some("F: in the kernel too; "),
            () => None,
        };
        Self { input: &app.input, typed: app.typed(), filters: &app.filters, kernel, theme: app.theme }
    }
}

pub(in crate::tui) fn filters(canvas: &mut Canvas, line: &Filters, area: Rect) {
    let Filters { input, filters, kernel, theme, .. } = *line;
    let mut pieces = Pieces::new();
    pieces.push("Filter: ", bold());
    let error = line.typed.as_ref().and_then(Filter::error);
    let room = usize::from(area.width / 2);
    let from = input.chars().count().saturating_sub(room);
    let shown = input.char_indices().nth(from).map_or(input.len(), |(at, _)| at);
    let wrong = line.typed.as_ref().map_or(0..0, |typed| wrong(typed, input));
    let (start, end) = (wrong.start.max(shown), wrong.end.max(shown));
    pieces.push(&input[shown..start], theme.accent());
    pieces.push(&input[start..end], theme.alarm().patch(reversed()));
    pieces.push(&input[end..], theme.accent());
    pieces.push(" ", reversed());
    if let Some((why, _)) = error {
        pieces.push(format!(" not valid: {why}"), theme.alarm());
    }
    for (index, filter) in filters.iter().enumerate() {
        pieces.plain("  ");
        pieces.button(canvas, area, format!("[{} ×]", filter.text), theme.accent(), Act::RemoveFilter(index));
    }
    let hint = match (input.is_empty(), filters.is_empty()) {
        (true, true) => "  Type to filter: word  field:value  bytes>1M  !not  /regex/".to_owned(),
        (true, false) => format!("  {}Backspace removes the last one", kernel.unwrap_or_default()),
        (false, _) => "  Enter keeps it and begins another".to_owned(),
    };
    pieces.push(hint, dim());
    pieces.draw(canvas, area);
}

/// The part of what is typed that is wrong. A `/` that began it does not stand there.
fn wrong(typed: &Filter, input: &str) -> std::ops::Range<usize> {
    let before = typed.text.len().saturating_sub(input.len());
    let place = |at: usize| at.saturating_sub(before).min(input.len());
    let at = typed.error().map_or(0..0, |(_, at)| place(at.start)..place(at.end));
    if input.is_char_boundary(at.start) && input.is_char_boundary(at.end) { at } else { 0..0 }
}

/// The last line.
pub(in crate::tui) struct Keys<'a> {
    /// Keys of the moment, and what they do.
    pub(in crate::tui) keys: &'static [(&'static str, &'static str)],
    /// What the last key came to.
    pub(in crate::tui) notice: Option<&'a str>,
    pub(in crate::tui) log: Option<&'a str>,
    pub(in crate::tui) files: &'a str,
    pub(in crate::tui) theme: Theme,
}

const ASKS: &str = "End the capture and write its files? Enter or y ends it, any other key continues";

impl<'a> Keys<'a> {
    pub(super) fn of(app: &'a App) -> Self {
        Self {
            keys: shown_keys(app),
            notice: app.notice.as_deref().or(app.asks.then_some(ASKS)),
            log: app.shown.log.as_deref(),
            files: &app.facts.files,
            theme: app.theme,
        }
    }
}

/// Fewest characters of a log line, or of the files, that are of use.
const LEAST_LOG: usize = 16;

/// The keys, and where there is room the last log line, else the files.
pub(in crate::tui) fn keys(canvas: &mut Canvas, line: &Keys, area: Rect) {
    let mut pieces = Pieces::new();
    if let Some(notice) = line.notice {
        pieces.push(fit(notice, usize::from(area.width), false), line.theme.alarm());
        return pieces.draw(canvas, area);
    }
    canvas.button(area, 0, 6, Act::Help);
    pieces.push("?", bold());
    pieces.plain(" help  ");
    for (key, what) in line.keys {
        let text = format!(" {what}  ");
        if pieces.at + key.len() + text.trim_end().len() <= usize::from(area.width) {
            pieces.push(*key, bold());
            pieces.plain(text);
        }
    }
    let room = usize::from(area.width).saturating_sub(pieces.at);
    match line.log {
        Some(log) if room >= LEAST_LOG => pieces.push(fit(log, room, false), line.theme.second()),
        None if room >= LEAST_LOG => pieces.push(fit(line.files, room, false), dim()),
        _ => {}
    }
    pieces.draw(canvas, area);
}

fn is_pushed(app: &App) -> bool {
    app.shown.kernel.as_ref().is_some_and(|kernel| kernel.wanted)
}

/// Whether `F` would do something for what is filtered now.
fn can_be_pushed(app: &App) -> bool {
    app.shown.kernel.is_none() && app.filters.iter().all(|filter| filter.kernel_rules(|_| Some(1)).is_ok())
}

fn shown_keys(app: &App) -> &'static [(&'static str, &'static str)] {
    match app.view {
        _ if app.over == Over::Detail => &[("Enter", "back"), ("Up/Down", "scroll"), ("Ctrl-C", "end")],
        View::Connections => &[
            ("1-0", "view"),
            ("Up/Down", "select"),
            ("Enter", "records"),
            ("< >", "sort"),
            ("/", "filter"),
            ("q", "end"),
        ],
        View::Top => &[
            ("1-0", "view"),
            ("PgUp/PgDn", "by"),
            ("< >", "sort"),
            ("Enter", "records"),
            ("Esc", "back"),
            ("/", "filter"),
            ("q", "end"),
        ],
        View::Problems => &[
            ("1-0", "view"),
            ("Up/Down", "select"),
            ("Enter", "records"),
            ("Esc", "back"),
            ("/", "filter"),
            ("q", "end"),
        ],
        View::Graph => &[("1-0", "view"), ("Space", "pause"), ("q", "end")],
        _ if app.cursor.is_some() => {
            &[("Up/Down", "select"), ("Enter", "detail"), ("Esc", "live"), ("< >", "sort"), ("q", "end")]
        }
        _ if !app.path.is_empty() => {
            &[("Esc", "back"), ("1-0", "view"), ("PgUp/PgDn", "names"), ("Enter", "detail"), ("q", "end")]
        }
        _ => &[
            ("1-0", "view"),
            ("PgUp/PgDn", "names"),
            ("Up/Down", "select"),
            ("< >", "sort"),
            ("Space", "pause"),
            ("q", "end"),
        ],
    }
}
