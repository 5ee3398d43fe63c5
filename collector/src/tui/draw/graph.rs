//! View Graph: six graphs of the last minutes.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;

use super::bars::Braille;
use super::{Canvas, Pieces, fit, row};
use crate::human;
use crate::tui::app::App;
use crate::tui::columns::{micros, short};
use crate::tui::data::seconds::Second;
use crate::tui::theme::bold;

/// One or two lines over time.
struct Series {
    title: &'static str,
    values: [Vec<u64>; 2],
    text: fn(u64) -> String,
    alarm: bool,
}

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let seconds = &app.shown.seconds;
    let one = |title, get: fn(&Second) -> u64, text| Series {
        title,
        values: [seconds.iter().map(get).collect(), Vec::new()],
        text,
        alarm: false,
    };
    let two = |title, get: fn(&Second) -> [u64; 2]| Series {
        title,
        values: [0, 1].map(|index| seconds.iter().map(|second| get(second)[index]).collect()),
        text: micros,
        alarm: false,
    };
    let graphs = [
        one("Bytes/s", |second| second.bytes, human::bytes),
        one("Packets/s", |second| second.packets, short),
        one("Flows/s", |second| second.flows, short),
        Series { alarm: true, ..one("Drops/s", |second| second.drops, short) },
        two("DNS latency", |second| second.dns_us),
        two("Round trip", |second| second.rtt_us),
    ];
    let third = Constraint::Ratio(1, 3);
    let rows = Layout::vertical([third, third, third]).split(area);
    for (index, series) in graphs.iter().enumerate() {
        let half = Constraint::Ratio(1, 2);
        let [left, right] = Layout::horizontal([half, half]).spacing(2).areas(rows[index / 2]);
        graph(canvas, app, series, if index % 2 == 0 { left } else { right });
    }
}

fn graph(canvas: &mut Canvas, app: &App, series: &Series, area: Rect) {
    let (width, height) = (usize::from(area.width), usize::from(area.height.saturating_sub(1)));
    let visible = |values: &Vec<u64>| values[values.len().saturating_sub(width * 2)..].iter().copied().max();
    let most = series.values.iter().filter_map(visible).max().unwrap_or(0);
    title(canvas, app, series, most, area);
    if height == 0 || width == 0 {
        return;
    }
    let double = !series.values[1].is_empty();
    let lower = Braille::new(&series.values[0], most, width, height, true);
    let upper = Braille::new(&series.values[1], most, width, height, false);
    let colour = if series.alarm { app.theme.alarm() } else { app.theme.accent() };
    for y in 0..height {
        let Some(area) = row(area, y + 1) else { break };
        for x in 0..width {
            let (dots, style) = match (lower.at(x, y), upper.at(x, y)) {
                (_, Some(dots)) if double => (dots, app.theme.second()),
                (Some(dots), _) => (dots, colour),
                _ => continue,
            };
            canvas.frame.buffer_mut()[(area.x + x as u16, area.y)].set_char(dots).set_style(style);
        }
    }
}

fn title(canvas: &mut Canvas, app: &App, series: &Series, most: u64, area: Rect) {
    let now = series.values.each_ref().map(|values| values.last().copied().unwrap_or(0));
    let text = |value: u64| if value == 0 { "-".to_owned() } else { (series.text)(value) };
    let mut pieces = Pieces::new();
    pieces.push(series.title, bold());
    if series.values[1].is_empty() && series.title.ends_with("/s") {
        pieces.plain(format!("  {}", text(now[0])));
    } else {
        pieces.push(format!("  p50 {}", text(now[0])), app.theme.accent());
        pieces.push(format!("  p95 {}", text(now[1])), app.theme.second());
    }
    pieces.plain(format!("  top {}", text(most)));
    let room = usize::from(area.width).saturating_sub(pieces.at + 1);
    pieces.push(format!(" {}", fit("", room, false).replace(' ', "─")), Style::new());
    if let Some(area) = row(area, 0) {
        pieces.draw(canvas, area);
    }
}
