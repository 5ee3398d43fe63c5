//! View Problems.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Canvas, Pieces, fit, row};
use crate::human;
use crate::tui::app::App;
use crate::tui::mouse::Act;
use crate::tui::problems::ProblemRow;
use crate::tui::theme::{dim, reversed};

/// Characters of kind, count with its unit, and age.
const KIND: usize = 9;
const COUNT: usize = 14;
const AGO: usize = 8;
/// A problem that was seen this short a time ago still goes on.
const NOW: u64 = 5;

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let room = usize::from(area.width).saturating_sub(KIND + COUNT + AGO + 4);
    let widest = app.shown.problems.iter().map(|problem| problem.what.chars().count()).max().unwrap_or(0);
    let what = widest.max(16).min(room / 2);
    let widths = (what, room - what);
    if let Some(area) = row(area, 0) {
        let texts = [("Kind", KIND), ("What", what), ("Count", COUNT), ("Seen", AGO), ("Who", widths.1)];
        let mut pieces = Pieces::new();
        for (text, width) in texts {
            pieces.push(fit(text, width, text == "Count"), reversed());
            pieces.push(" ", reversed());
        }
        pieces.draw(canvas, area);
    }
    for (index, problem) in app.shown.problems.iter().skip(app.offset).take(app.height()).enumerate() {
        let Some(area) = row(area, index + 1) else { break };
        line(app, problem, widths, app.selected_line() == Some(index)).draw(canvas, area);
        canvas.buttons.push((area, Act::Line(index)));
    }
    if app.shown.problems.is_empty()
        && let Some(area) = row(area, 2)
    {
        let mut pieces = Pieces::new();
        pieces.push("  No drops, resets, unanswered connections, DNS errors or slow round trips seen", dim());
        pieces.draw(canvas, area);
    }
}

fn line(app: &App, problem: &ProblemRow, (what, who): (usize, usize), selected: bool) -> Pieces {
    let seconds = problem.ago.as_secs();
    let goes_on = seconds < NOW;
    let ago = if goes_on { "now".into() } else { format!("{} ago", age(seconds)) };
    let base = if selected { reversed() } else { Style::new() };
    let style = |style: Style| if selected { reversed() } else { style };
    let mut pieces = Pieces::new();
    pieces.push(fit(problem.kind.title(), KIND, false), style(if goes_on { app.theme.alarm() } else { dim() }));
    pieces.push(" ", base);
    pieces.push(fit(&problem.what, what, false), base);
    pieces.push(" ", base);
    pieces.push(fit(&format!("{} {}", human::count(problem.count), problem.kind.unit()), COUNT, true), base);
    pieces.push(" ", base);
    pieces.push(fit(&ago, AGO, false), style(if goes_on { app.theme.alarm() } else { dim() }));
    pieces.push(" ", base);
    pieces.push(fit(&problem.who, who, false), base);
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
