//! View Problems. Where there is no room for who has a problem, that stands on a line of its own.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Canvas, Pieces, fit, fit_middle, pair, row};
use crate::human;
use crate::tui::app::App;
use crate::tui::mouse::Act;
use crate::tui::problems::ProblemRow;
use crate::tui::theme::{dim, reversed};

/// Characters of the kind.
const KIND: usize = 9;
/// Least characters of the others.
const WHAT: usize = 16;
const COUNT: usize = 5;
const AGO: usize = 4;
/// A problem that was seen this short a time ago still goes on.
const NOW: u64 = 5;

/// How wide things are.
struct Widths {
    what: usize,
    count: usize,
    ago: usize,
    who: usize,
    /// Who stands below.
    two_lines: bool,
}

impl Widths {
    fn of(problems: &[ProblemRow], width: usize) -> Self {
        let widest = |text: fn(&ProblemRow) -> String, least: usize| {
            problems.iter().map(|problem| text(problem).chars().count()).fold(least, usize::max)
        };
        let (count, ago) = (widest(count, COUNT), widest(ago, AGO));
        let (what, who) = (widest(|problem| problem.what.clone(), WHAT), widest(|problem| problem.who.clone(), AGO));
        let room = width.saturating_sub(KIND + count + ago + 3);
        if what + 1 + who <= room {
            return Self { what, count, ago, who: room - what - 1, two_lines: false };
        }
        Self { what: room, count, ago, who: width.saturating_sub(KIND + 1), two_lines: true }
    }
}

/// Lines that a problem takes.
pub(in crate::tui) fn lines(problems: &[ProblemRow], width: u16) -> usize {
    1 + usize::from(Widths::of(problems, usize::from(width)).two_lines)
}

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let widths = Widths::of(&app.shown.problems, usize::from(area.width));
    if let Some(area) = row(area, 0) {
        titles(&widths, usize::from(area.width)).draw(canvas, area);
    }
    let lines = 1 + usize::from(widths.two_lines);
    for (index, problem) in app.shown.problems.iter().skip(app.offset).take(app.height()).enumerate() {
        let selected = app.selected_line() == Some(index);
        let Some(first) = row(area, 1 + index * lines) else { break };
        line(app, problem, &widths, selected).draw(canvas, first);
        canvas.buttons.push((first, Act::Line(index)));
        if let Some(second) = row(area, 2 + index * lines).filter(|_| widths.two_lines) {
            who(problem, &widths, selected).draw(canvas, second);
            canvas.buttons.push((second, Act::Line(index)));
        }
    }
    if app.shown.problems.is_empty()
        && let Some(area) = row(area, 2)
    {
        let mut pieces = Pieces::new();
        pieces.push("  No drops, resets, unanswered connections, DNS errors or slow round trips seen", dim());
        pieces.draw(canvas, area);
    }
}

fn titles(widths: &Widths, width: usize) -> Pieces {
    let mut pieces = Pieces::new();
    let title = |text, room, right| format!("{} ", fit(text, room, right));
    pieces.push(title("Kind", KIND, false), reversed());
    let what = if widths.two_lines { "What, and below: who" } else { "What" };
    pieces.push(title(what, widths.what, false), reversed());
    pieces.push(title("Count", widths.count, true), reversed());
    pieces.push(title("Seen", widths.ago, false), reversed());
    let rest = if widths.two_lines { "" } else { "Who" };
    pieces.push(fit(rest, width.saturating_sub(pieces.at), false), reversed());
    pieces
}

fn count(problem: &ProblemRow) -> String {
    format!("{} {}", human::count(problem.count), problem.kind.unit())
}

fn ago(problem: &ProblemRow) -> String {
    let seconds = problem.ago.as_secs();
    if seconds < NOW { "now".into() } else { format!("{} ago", age(seconds)) }
}

fn line(app: &App, problem: &ProblemRow, widths: &Widths, selected: bool) -> Pieces {
    let fresh = if problem.ago.as_secs() < NOW { app.theme.alarm() } else { dim() };
    let base = if selected { reversed() } else { Style::new() };
    let fresh = if selected { reversed() } else { fresh };
    let mut pieces = Pieces::new();
    pieces.push(fit(problem.kind.title(), KIND, false), fresh);
    pieces.push(format!(" {} ", fit_middle(&problem.what, widths.what)), base);
    pieces.push(format!("{} ", fit(&count(problem), widths.count, true)), base);
    pieces.push(fit(&ago(problem), widths.ago, false), fresh);
    if !widths.two_lines {
        pieces.push(format!(" {}", pair(&problem.who, widths.who)), base);
    }
    pieces
}

fn who(problem: &ProblemRow, widths: &Widths, selected: bool) -> Pieces {
    let mut pieces = Pieces::new();
    let text = format!("{} {}", " ".repeat(KIND), pair(&problem.who, widths.who));
    pieces.push(text, if selected { reversed() } else { Style::new() });
    pieces
}

/// A time in three characters.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3_600),
    }
}
