//! The packets of a conversation, the newest at the bottom.

use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::tui::columns::{cause, micros};
use crate::tui::draw::{Canvas, Pieces, fit, row};
use crate::tui::mouse::Act;
use crate::tui::packets::app::App;
use crate::tui::packets::data::Kept;
use crate::tui::theme::reversed;

/// Widths of what stands before the meaning: number, time, time since the one before, length, protocol, and, on a wide screen, the
/// interface.
const WIDTHS: [usize; 5] = [8, 15, 8, 6, 8];
const PLACE: usize = 20;
const WIDE: u16 = 110;

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    if let Some(area) = row(area, 0) {
        let titles = ["No.", "Time", "+", "Bytes", "Protocol"];
        let texts = titles.map(str::to_owned);
        line(texts, "  ", "Interface", "Info", area.width, (reversed(), reversed())).draw(canvas, area);
    }
    let mut before: Option<&Kept> = None;
    for (index, kept) in app.shown.packets.iter().enumerate() {
        let Some(area) = row(area, index + 1) else { break };
        packet(app, kept, before, area.width, app.selected_line() == Some(index)).draw(canvas, area);
        canvas.buttons.push((area, Act::Line(index)));
        before = Some(kept);
    }
    if app.shown.packets.is_empty() {
        super::nothing(canvas, app, area, "packets");
    }
}

fn packet(app: &App, kept: &Kept, before: Option<&Kept>, width: u16, selected: bool) -> Pieces {
    let (protocol, info) = kept.summary();
    let since = before.map_or_else(String::new, |before| micros(kept.time_ns.saturating_sub(before.time_ns) / 1_000));
    let texts = [kept.number.to_string(), time(kept.time_ns), since, kept.original.to_string(), (*protocol).to_owned()];
    let arrow = if kept.from_client { "→ " } else { "← " };
    let mut info = info.clone();
    if let Some(name) = &kept.cause {
        info = format!("DROPPED {} {info}", cause(name));
    }
    if kept.lost > 0 {
        info = format!("{} LOST BEFORE {info}", kept.lost);
    }
    let base = if selected { reversed() } else { Style::new() };
    let alarm = kept.cause.is_some() || kept.lost > 0;
    let style = if alarm && !selected { app.theme.alarm() } else { base };
    line(texts, arrow, &kept.place, &info, width, (base, style))
}

/// A line; the style of the meaning may be another.
fn line(texts: [String; 5], arrow: &str, place: &str, info: &str, width: u16, (base, style): (Style, Style)) -> Pieces {
    let mut pieces = Pieces::new();
    for (index, (text, width)) in texts.iter().zip(WIDTHS).enumerate() {
        let is_right = matches!(index, 0 | 2 | 3);
        pieces.push(fit(text, width, is_right), base);
        pieces.push(" ", base);
    }
    if width >= WIDE {
        pieces.push(fit(place, PLACE, false), base);
        pieces.push(" ", base);
    }
    pieces.push(arrow, base);
    let room = usize::from(width).saturating_sub(pieces.at);
    pieces.push(fit(info, room, false), style);
    pieces
}

/// The time of day to the microsecond, UTC.
pub(super) fn time(ns: u64) -> String {
    let time = i64::try_from(ns).ok().map(chrono::DateTime::from_timestamp_nanos);
    time.map_or_else(String::new, |time| time.format("%H:%M:%S%.6f").to_string())
}
