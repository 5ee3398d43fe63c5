//! One record: what matters about it, both directions over the last minute, and all its fields.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::bars::sparkline;
use super::problems::wrap;
use super::{Canvas, Pieces, fit, row};
use crate::human;
use crate::tui::app::App;
use crate::tui::columns::{micros, short};
use crate::tui::detail::{HISTORY, Line, Side};
use crate::tui::mouse::Act;
use crate::tui::theme::{bold, dim, reversed};

/// Width of the titles of what matters.
const TITLE: usize = 12;
/// Width of the names of fields.
const NAME: usize = 24;

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let Some(detail) = &app.shown.detail else { return };
    let width = usize::from(area.width);
    let mut lines: Vec<Pieces> = detail.matters.iter().flat_map(|line| matter(app, line, width)).collect();
    for side in &detail.sides {
        lines.extend(history(app, side, usize::from(area.width)));
    }
    let columns = if area.width >= 120 { 2 } else { 1 };
    lines.push(heading("Fields of this record", usize::from(area.width)));
    lines.extend(fields(&detail.fields, usize::from(area.width), columns));
    let most = lines.len().saturating_sub(usize::from(area.height));
    let scroll = usize::from(app.detail_scroll).min(most);
    for (index, pieces) in lines.into_iter().skip(scroll).enumerate() {
        let Some(area) = row(area, index) else { break };
        pieces.draw(canvas, area);
    }
    if let Some(area) = row(area, 0) {
        canvas.buttons.push((area, Act::Close));
    }
}

fn matter(app: &App, line: &Line, width: usize) -> Vec<Pieces> {
    let style = if line.alarm { app.theme.alarm() } else { Style::new() };
    let wrapped = wrap(&line.text, width.saturating_sub(TITLE)).into_iter().enumerate();
    let pieces = wrapped.map(|(index, text)| {
        let mut pieces = Pieces::new();
        pieces.push(format!("{:<TITLE$}", if index == 0 { line.title } else { "" }), bold());
        pieces.push(text, style);
        pieces
    });
    pieces.collect()
}

fn heading(text: &str, width: usize) -> Pieces {
    let mut pieces = Pieces::new();
    pieces.push(fit(text, width, false), reversed());
    pieces
}

/// Its name, its value in each second, and how one is written.
type Quantity<'a> = (&'a str, &'a [u64], fn(u64) -> String);

/// A direction: its sums, and a line for each quantity that it has.
fn history(app: &App, side: &Side, width: usize) -> Vec<Pieces> {
    let sums = &side.sums;
    let drops = if sums.drops > 0 { format!(", {} dropped", human::count(sums.drops)) } else { String::new() };
    let total = format!("{} in {} packets{drops}", human::bytes(sums.bytes), human::count(sums.packets));
    let title = fit(&side.title, width.saturating_sub(total.chars().count() + 2), false);
    let mut lines = vec![heading(&format!("{title}  {total}"), width)];
    let quantities: [Quantity<'_>; 4] = [
        ("bytes/s", &side.bytes, human::bytes),
        ("packets/s", &side.packets, short),
        ("drops/s", &side.drops, short),
        ("round trip", &side.rtt_us, micros),
    ];
    for (name, values, text) in quantities {
        let most = values.iter().copied().max().unwrap_or(0);
        if most > 0 {
            lines.push(quantity(app, name, values, &text(most), width));
        }
    }
    if lines.len() == 1 {
        let mut pieces = Pieces::new();
        pieces.push("  nothing in this direction in the last minute", dim());
        lines.push(pieces);
    }
    lines
}

fn quantity(app: &App, name: &str, values: &[u64], most: &str, width: usize) -> Pieces {
    let mut pieces = Pieces::new();
    pieces.plain(format!("  {name:<11}"));
    let room = width.saturating_sub(pieces.at + 14).min(HISTORY);
    let style = if name.starts_with("drops") { app.theme.alarm() } else { app.theme.accent() };
    pieces.push(sparkline(values, room), style);
    pieces.plain(format!("  top {most}"));
    pieces
}

fn fields(fields: &[(&'static str, String)], width: usize, columns: usize) -> Vec<Pieces> {
    let lines = fields.len().div_ceil(columns);
    let room = (width / columns).saturating_sub(NAME + 1);
    let line = |index: usize| {
        let mut pieces = Pieces::new();
        for (name, value) in (0..columns).filter_map(|column| fields.get(column * lines + index)) {
            pieces.push(fit(name, NAME, false), bold());
            pieces.plain(fit(value, room, false));
            pieces.plain(" ");
        }
        pieces
    };
    (0..lines).map(line).collect()
}
