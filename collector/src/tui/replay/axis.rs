//! The lines of a replay: where it is, the time axis, and the keys.

use std::time::Duration;

use chrono::DateTime;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::clock::{Clock, Goal};
use crate::human;
use crate::summary::clock as written;
use crate::tui::app::App;
use crate::tui::draw::{Canvas, Pieces, fit};
use crate::tui::theme::{Theme, bold, dim};

/// Hours, minutes and seconds.
const CLOCK: usize = 8;
/// What stands for a problem on the axis.
const PROBLEM: char = '!';

/// Keys, for the help.
pub(super) const AXIS: &[(&str, &str)] = &[
    ("Space", "play and pause; at the end: from the beginning"),
    ("+ -", "faster and slower"),
    ("[ ]", "back and forward by a twentieth"),
    ("Ctrl-N Ctrl-P", "to the next problem, and to the one before"),
    ("Ctrl-Home Ctrl-End", "to the beginning and to the end"),
    ("click on the time axis", "to this time"),
    ("", ""),
    ("1-9 0, Left Right, Tab", "view"),
    ("PgUp PgDn", "names of both ends; in Top: group by"),
    ("Up Down Home End", "select a row"),
    ("Enter", "the records of exactly this row; of a record, all of it"),
    ("Esc", "back to where the row was entered; else to what is new"),
    ("< >, click on a title", "sort by another column; Ctrl-R the other way round"),
    ("/ or any letter", "filter by what is shown, at once; no case"),
    ("field:value", "such as port:443, ns:shop, proc:curl, cause:netfilter"),
    ("bytes>1M or rtt>5ms", "the language of --filter: and, or, not, ( ), dst port 53"),
    ("Enter, Backspace", "keep the filter and begin another; remove the last"),
    ("q, Ctrl-C", "leave"),
];

/// The same, at the bottom.
const SHORT: [(&str, &str); 7] = [
    ("Space", "play"),
    ("+ -", "speed"),
    ("[ ]", "jump"),
    ("Ctrl-N", "next problem"),
    ("1-0", "view"),
    ("/", "filter"),
    ("q", "leave"),
];

fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map(|time| time.format("%H:%M:%S").to_string()).unwrap_or_default()
}

/// What it does now.
fn doing(clock: &Clock) -> String {
    let speed = clock.speed();
    match clock.goal {
        Some(Goal::Problem) => "looking for a problem".into(),
        Some(Goal::Time(goal)) => format!("reading until {}", time(goal)),
        None if clock.playing => format!("playing x{speed}"),
        None if clock.no_more => "end, no further problem".into(),
        None if clock.at() >= clock.to => "end".into(),
        None => format!("paused x{speed}"),
    }
}

/// The first line.
pub(super) fn place(canvas: &mut Canvas, clock: &Clock, app: &App, area: Rect) {
    let length = Duration::from_millis(clock.to - clock.from);
    let mut pieces = Pieces::new();
    pieces.push("Replay  ", bold());
    pieces.push(time(clock.at()), bold());
    pieces.plain(format!("  {} of {}  ", written(clock.elapsed()), written(length)));
    let style = if clock.no_more { app.theme.alarm() } else { app.theme.accent() };
    pieces.push(doing(clock), style.patch(bold()));
    pieces.plain(format!("  {} flows  ", human::count(app.shown.totals.flows)));
    let room = usize::from(area.width).saturating_sub(pieces.at);
    pieces.push(fit(&app.facts.files, room.min(app.facts.files.chars().count()), false), dim());
    canvas.empty(area);
    pieces.draw(canvas, area);
}

/// Where the bar is: its first column and its width.
fn bar(width: usize, problems: &str) -> Option<(usize, usize)> {
    let used = 2 * (CLOCK + 1) + problems.len();
    width.checked_sub(used).filter(|bar| *bar > 1).map(|bar| (CLOCK + 1, bar))
}

fn problems(clock: &Clock) -> String {
    match clock.marks.len() {
        0 => String::new(),
        1 => "  1 problem".into(),
        number => format!("  {number} problems"),
    }
}

/// The time axis, with the problems that are known.
pub(super) fn axis(canvas: &mut Canvas, clock: &Clock, theme: Theme, area: Rect) {
    canvas.empty(area);
    let problems = problems(clock);
    let Some((_, width)) = bar(area.width.into(), &problems) else { return };
    let column = |ms: u64| {
        let share = ms.saturating_sub(clock.from) as f64 / (clock.to - clock.from).max(1) as f64;
        ((share * width as f64) as usize).min(width - 1)
    };
    let done = if clock.at() >= clock.to { width } else { column(clock.at()) };
    let marks: Vec<usize> = clock.marks.iter().map(|mark| column(mark.at)).collect();
    let mut pieces = Pieces::new();
    pieces.plain(format!("{} ", time(clock.from)));
    for at in 0..width {
        let (text, style) = match () {
            () if marks.contains(&at) => (PROBLEM, theme.alarm()),
            () if at < done => ('█', theme.accent()),
            () => ('░', Style::new()),
        };
        pieces.push(text, style);
    }
    pieces.plain(format!(" {}", time(clock.to)));
    pieces.push(problems, theme.alarm());
    pieces.draw(canvas, area);
}

/// The time at a column of a line of this width.
pub(super) fn time_at(clock: &Clock, column: usize, width: usize) -> Option<u64> {
    let (first, bar) = bar(width, &problems(clock))?;
    let at = column.checked_sub(first).filter(|at| *at < bar)?;
    Some(clock.from + ((clock.to - clock.from) as f64 * at as f64 / (bar - 1) as f64) as u64)
}

/// The last line.
pub(super) fn keys(canvas: &mut Canvas, app: &App, area: Rect) {
    let mut pieces = Pieces::new();
    pieces.push("?", bold());
    pieces.plain(" help  ");
    for (key, what) in SHORT {
        pieces.push(key, bold());
        pieces.plain(format!(" {what}  "));
    }
    let room = usize::from(area.width).saturating_sub(pieces.at);
    if let Some(log) = app.shown.log.as_deref() {
        pieces.push(fit(log, room, false), app.theme.alarm());
    }
    canvas.empty(area);
    pieces.draw(canvas, area);
}
