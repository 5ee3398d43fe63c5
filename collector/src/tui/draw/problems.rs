//! View Problems: what is wrong, worst first, and below it what is known of the selected row and what to do.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Canvas, Pieces, age, fit, fit_middle, pair, row};
use crate::human;
use crate::tui::app::App;
use crate::tui::filter::advice;
use crate::tui::mouse::Act;
use crate::tui::problems::ProblemRow;
use crate::tui::theme::{bold, dim, reversed};

/// Characters of the kind.
const KIND: usize = 10;
/// Least characters of the others.
const COUNT: usize = 5;
const AGO: usize = 4;
/// What happened may be cut to this.
const LEAST_WHAT: usize = 32;
/// A problem that was seen this short a time ago is seen now.
const NOW: u64 = 5;
/// Most lines of what is known of a row.
const EXPLANATION: usize = 8;

/// How wide things are.
struct Widths {
    who: usize,
    count: usize,
    ago: usize,
    what: usize,
    /// What happened stands below.
    two_lines: bool,
}

impl Widths {
    fn of(problems: &[ProblemRow], width: usize) -> Self {
        let widest = |text: fn(&ProblemRow) -> String, least: usize| {
            problems.iter().map(|problem| text(problem).chars().count()).fold(least, usize::max)
        };
        let (count, ago) = (widest(count, COUNT), widest(ago, AGO));
        let (who, what) = (widest(|problem| problem.who.clone(), AGO), widest(|problem| problem.what.clone(), AGO));
        let room = width.saturating_sub(KIND + count + ago + 3);
        if who + 1 + what.min(LEAST_WHAT) <= room {
            return Self { who, what: room - who - 1, count, ago, two_lines: false };
        }
        Self { who: room, what: width.saturating_sub(KIND + 1), count, ago, two_lines: true }
    }
}

/// Lines that a problem takes.
pub(in crate::tui) fn lines(problems: &[ProblemRow], width: u16) -> usize {
    1 + usize::from(Widths::of(problems, usize::from(width)).two_lines)
}

/// Lines of what is known of a row.
pub(in crate::tui) fn explanation_lines(app: &App) -> usize {
    if app.shown.problems_shown.is_empty() { 0 } else { EXPLANATION.min(app.page() / 2) }
}

/// A problem in a line, or in two where there is no room.
pub(super) fn sentence(app: &App, problem: &ProblemRow, width: usize) -> Vec<Pieces> {
    let style = if problem.is_alarm() { app.theme.alarm() } else { app.theme.second().patch(bold()) };
    let what = format!("{}, {}", problem.what, count(problem));
    let mut first = Pieces::new();
    first.push(format!("{} ", problem.word()), style);
    let room = width.saturating_sub(first.at);
    if problem.who.chars().count() + 2 + what.chars().count() <= room {
        first.push(format!("{}  {what}", problem.who), style);
        return vec![first];
    }
    first.push(pair(&problem.who, room.min(problem.who.chars().count())), style);
    let mut second = Pieces::new();
    second.push(format!("  {}", fit_middle(&what, width.saturating_sub(2)).trim_end()), style);
    vec![first, second]
}

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let problems = &app.shown.problems_shown;
    let widths = Widths::of(problems, usize::from(area.width));
    if let Some(area) = row(area, 0) {
        titles(&widths, usize::from(area.width)).draw(canvas, area);
    }
    let lines = 1 + usize::from(widths.two_lines);
    for (index, problem) in problems.iter().skip(app.offset).take(app.height()).enumerate() {
        let selected = app.selected_line() == Some(index);
        let Some(first) = row(area, 1 + index * lines) else { break };
        line(app, problem, &widths, selected).draw(canvas, first);
        canvas.buttons.push((first, Act::Line(index)));
        if let Some(second) = row(area, 2 + index * lines).filter(|_| widths.two_lines) {
            what(problem, &widths, selected).draw(canvas, second);
            canvas.buttons.push((second, Act::Line(index)));
        }
    }
    hints(canvas, app, area, 1 + problems.len().saturating_sub(app.offset) * lines);
    match problems.get(app.cursor.unwrap_or(app.offset)) {
        Some(problem) => explanation(canvas, app, problem, area),
        None => {
            let Some(area) = row(area, 2) else { return };
            let mut pieces = Pieces::new();
            pieces.push(format!("  {}", nothing(app)), dim());
            pieces.draw(canvas, area);
        }
    }
}

/// Hints below the last problem, where there is room.
fn hints(canvas: &mut Canvas, app: &App, area: Rect, from: usize) {
    let end = usize::from(area.height).saturating_sub(explanation_lines(app));
    // The line that reports that there is no problem is above them.
    let from = if app.shown.problems_shown.is_empty() { 4 } else { from + 1 };
    for (index, hint) in app.shown.hints.iter().enumerate().filter(|(index, _)| from + index < end) {
        let Some(area) = row(area, from + index) else { break };
        let mut pieces = Pieces::new();
        pieces.push(fit_middle(&format!("  Hint: {hint}"), usize::from(area.width)), dim());
        pieces.draw(canvas, area);
    }
}

fn nothing(app: &App) -> String {
    if app.shown.problems.is_empty() {
        "Nothing is blocked, unanswered, refused or slow, and DNS answers".into()
    } else {
        format!("No problem passes the filters; {}", advice(&app.typed_filters()))
    }
}

fn titles(widths: &Widths, width: usize) -> Pieces {
    let mut pieces = Pieces::new();
    let title = |text, room, right| format!("{} ", fit(text, room, right));
    pieces.push(title("Kind", KIND, false), reversed());
    let who = if widths.two_lines { "Client → server, and below: what happened" } else { "Client → server" };
    pieces.push(title(who, widths.who, false), reversed());
    if !widths.two_lines {
        pieces.push(title("What happened", widths.what, false), reversed());
    }
    pieces.push(title("Count", widths.count, true), reversed());
    pieces.push(fit("Seen", width.saturating_sub(pieces.at), false), reversed());
    pieces
}

fn count(problem: &ProblemRow) -> String {
    let unit = problem.unit();
    let unit = if problem.count == 1 { super::one(unit) } else { unit };
    format!("{} {unit}", human::count(problem.count))
}

fn ago(problem: &ProblemRow) -> String {
    let seconds = problem.ago.as_secs();
    if seconds < NOW { "now".into() } else { format!("{} ago", age(seconds)) }
}

fn line(app: &App, problem: &ProblemRow, widths: &Widths, selected: bool) -> Pieces {
    let base = match () {
        () if selected => reversed(),
        () if problem.is_now => Style::new(),
        () => dim(),
    };
    let kind = if problem.is_alarm() && !selected { app.theme.alarm() } else { base };
    let mut pieces = Pieces::new();
    pieces.push(fit(problem.word(), KIND, false), kind);
    pieces.push(format!(" {} ", pair(&problem.who, widths.who)), base);
    if !widths.two_lines {
        pieces.push(format!("{} ", fit_middle(&problem.what, widths.what)), base);
    }
    pieces.push(format!("{} ", fit(&count(problem), widths.count, true)), base);
    pieces.push(fit(&ago(problem), widths.ago, false), kind);
    pieces
}

fn what(problem: &ProblemRow, widths: &Widths, selected: bool) -> Pieces {
    let mut pieces = Pieces::new();
    let text = format!("{} {}", " ".repeat(KIND), fit_middle(&problem.what, widths.what));
    let style = if problem.is_now { Style::new() } else { dim() };
    pieces.push(text, if selected { reversed() } else { style });
    pieces
}

/// The sentence, what was seen, and what to do.
fn explanation(canvas: &mut Canvas, app: &App, problem: &ProblemRow, area: Rect) {
    let (width, most) = (usize::from(area.width), explanation_lines(app));
    let finding = &problem.finding;
    let parts = [
        (finding.sentence.clone(), bold()),
        (format!("Seen: {}", finding.evidence.join("; ")), Style::new()),
        (format!("What to do: {}", finding.remedy), app.theme.accent()),
        (finding.change.clone(), Style::new()),
    ];
    let wrapped = parts.iter().flat_map(|(text, style)| wrap(text, width).into_iter().map(move |line| (line, *style)));
    let mut lines = vec![("─".repeat(width), dim())];
    lines.extend(wrapped);
    let top = usize::from(area.height).saturating_sub(most);
    for (index, (text, style)) in lines.into_iter().take(most).enumerate() {
        let Some(area) = row(area, top + index) else { break };
        let mut pieces = Pieces::new();
        pieces.push(text, style);
        pieces.draw(canvas, area);
    }
}

/// Text in lines of a width.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}
