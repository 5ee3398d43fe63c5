//! The two lines of what was chosen: the view; the enrichment, the number of rows, the order.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Canvas, Pieces, fit_middle};
use crate::human;
use crate::tui::app::App;
use crate::tui::mouse::Act;
use crate::tui::problems::ProblemRow;
use crate::tui::theme::{bold, dim, reversed};
use crate::tui::views::View;

/// The views as tabs.
pub(super) fn views(canvas: &mut Canvas, app: &App, area: Rect) {
    let mut pieces = Pieces::new();
    let (gap, behind) = if area.width >= 120 { ("   ", " ") } else { (" ", "") };
    for view in View::ALL {
        let style = match () {
            () if *view == app.view => reversed().patch(bold()),
            () if app.facts.lacks(*view).is_some() && !app.shown.present.contains(view) => dim(),
            () => Style::new(),
        };
        let red = *view == View::Problems && app.shown.problems.iter().any(ProblemRow::is_alarm);
        let style = if red { style.patch(app.theme.alarm()) } else { style };
        let number = if *view == View::Problems && !app.shown.problems.is_empty() {
            format!("{behind}({})", app.shown.problems.len())
        } else {
            String::new()
        };
        let text = format!("{}{behind}{}{number}", view.digit(), view.title());
        pieces.button(canvas, area, text, style, Act::View(*view));
        pieces.plain(gap);
    }
    pieces.draw(canvas, area);
}

/// What there is to choose in this view.
pub(super) fn choices(canvas: &mut Canvas, app: &App, area: Rect) {
    let mut pieces = Pieces::new();
    path(&mut pieces, canvas, app, area);
    match app.view {
        View::Connections => pieces.plain(connections(app)),
        View::Top => {
            circle(&mut pieces, canvas, area, "By:", app.group.title());
            pieces.plain(format!("  Sorted by: {}", app.metric.title()));
        }
        View::Problems => pieces.plain(match app.shown.problems_shown.len() {
            1 => "1 problem".to_owned(),
            number => format!("{number} problems, worst first"),
        }),
        View::Graph => pieces.plain("The last minutes, the present at the right"),
        View::Raw => pieces.push("Enrichment: n/a", dim()),
        _ => circle(&mut pieces, canvas, area, "Enrichment:", app.names().title()),
    }
    if app.view.is_table() {
        rows(&mut pieces, canvas, app, area);
    }
    pause(&mut pieces, canvas, app, area);
    hidden(&mut pieces, app, area);
    if app.shown.missed > 0 {
        let seen = 100.0 * app.shown.seen as f64 / (app.shown.seen + app.shown.missed) as f64;
        pieces.push(format!("  views show {seen:.1}% of the flows"), app.theme.alarm());
    }
    pieces.draw(canvas, area);
}

/// The rows that were entered: `Connections › curl → 10.0.0.1:80`.
fn path(pieces: &mut Pieces, canvas: &mut Canvas, app: &App, area: Rect) {
    let Some(first) = app.path.first() else { return };
    let rows: Vec<_> = app.path.iter().map(|step| step.filter.text.as_str()).collect();
    let text = format!("{} › {}", first.view.title(), rows.join(" › "));
    let room = usize::from(area.width / 2);
    pieces.button(canvas, area, fit_middle(&text, room.min(text.chars().count())), app.theme.accent(), Act::Back);
    pieces.plain("  ");
}

fn connections(app: &App) -> String {
    let shown = human::count(app.shown.all_connections as u64);
    let let_go = match app.shown.let_go {
        0 => String::new(),
        gone => format!(", {} had no room", human::count(gone)),
    };
    format!("{shown} connections{let_go}, sorted by: {}", app.order.title())
}

fn circle(pieces: &mut Pieces, canvas: &mut Canvas, area: Rect, name: &str, value: &str) {
    pieces.plain(format!("{name} "));
    pieces.button(canvas, area, "‹", bold(), Act::Names(-1));
    pieces.push(format!(" {value} "), bold());
    pieces.button(canvas, area, "›", bold(), Act::Names(1));
}

fn rows(pieces: &mut Pieces, canvas: &mut Canvas, app: &App, area: Rect) {
    pieces.plain("  Rows: ");
    pieces.button(canvas, area, "-", bold(), Act::Rows(-1));
    pieces.plain(format!(" {} ", app.height()));
    pieces.button(canvas, area, "+", bold(), Act::Rows(1));
    let (matching, kept) = (app.shown.matching as u64, app.shown.kept as u64);
    let of = if matching == kept {
        human::count(kept)
    } else {
        format!("{} of {}", human::count(matching), human::count(kept))
    };
    pieces.plain(format!(" of {of}{}", if app.shown.searching { "..." } else { "" }));
    if let Some(sort) = app.sort {
        pieces.push(
            format!("  Sort: {} {}", sort.column.title, if sort.descending { "▼" } else { "▲" }),
            app.theme.accent(),
        );
    }
}

/// Shows that there are more columns.
fn hidden(pieces: &mut Pieces, app: &App, area: Rect) {
    if !app.view.is_table() || app.view == View::Raw {
        return;
    }
    let said = match super::layout::hidden(app, area.width) {
        (0, 0) => return,
        (0, more) => format!("  +{more} columns: Shift-→"),
        (left, more) => format!("  ‹{left} {more}›: Shift-←→"),
    };
    pieces.push(said, dim());
}

fn pause(pieces: &mut Pieces, canvas: &mut Canvas, app: &App, area: Rect) {
    pieces.plain("  ");
    if app.paused.is_some() || app.pinned {
        let text = format!("PAUSED, {} new", human::count(app.shown.news));
        pieces.button(canvas, area, text, app.theme.second().patch(bold()), Act::Pause);
    } else {
        pieces.button(canvas, area, "▶ live", app.theme.good(), Act::Pause);
    }
}
