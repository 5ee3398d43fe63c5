//! One packet: what is known of it, its layers, its bytes.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;

use crate::human;
use crate::tui::columns::cause;
use crate::tui::draw::{Canvas, Pieces, fit, row};
use crate::tui::packets::app::{App, Level};
use crate::tui::packets::data::Kept;
use crate::tui::packets::decode::{Layer, layers};
use crate::tui::theme::{bold, dim, reversed};

/// Bytes on a line.
const BYTES: usize = 16;
/// Characters of a field's name.
const NAME: usize = 18;

/// Characters of a line of bytes; on a screen of this width they are next to the layers.
const DUMP: u16 = 76;
const WIDE: u16 = 130;

/// A line and whether it begins something.
enum Line {
    Title(String),
    Field(&'static str, String),
    Bytes(String),
    Note(String),
}

pub(super) fn draw(canvas: &mut Canvas, app: &App, (kept, offset): (&Kept, usize), area: Rect) {
    let (mut left, right) = (told(kept), dump(kept));
    if area.width >= WIDE {
        let [said, bytes] = Layout::horizontal([Constraint::Min(1), Constraint::Length(DUMP)]).spacing(1).areas(area);
        column(canvas, app, left, offset, said);
        column(canvas, app, right, offset, bytes);
    } else {
        left.extend(right);
        column(canvas, app, left, offset, area);
    }
}

fn column(canvas: &mut Canvas, app: &App, lines: Vec<Line>, offset: usize, area: Rect) {
    for (index, line) in lines.into_iter().skip(offset).enumerate() {
        let Some(area) = row(area, index) else { break };
        let width = usize::from(area.width);
        let mut pieces = Pieces::new();
        match line {
            Line::Title(text) => pieces.push(fit(&text, width, false), reversed()),
            Line::Field(name, value) => {
                pieces.push(format!("  {name:<NAME$}"), bold());
                let is_bad = name == "Dropped" || name == "Lost before it";
                let style = if is_bad { app.theme.alarm() } else { Style::new() };
                pieces.push(fit(&value, width.saturating_sub(NAME + 2), false), style);
            }
            Line::Bytes(text) => pieces.plain(text),
            Line::Note(text) => pieces.push(text, dim()),
        }
        pieces.draw(canvas, area);
    }
}

/// Lines of the packet that is shown.
pub(in crate::tui::packets) fn lines(app: &App) -> usize {
    let Level::Packet(_, kept, _) = &app.level else { return 0 };
    let (left, right) = (told(kept).len(), dump(kept).len());
    if app.size.0 >= WIDE { left.max(right) } else { left + right }
}

/// What is known of it, and the fields of its layers.
fn told(kept: &Kept) -> Vec<Line> {
    let mut lines = about(kept);
    for layer in layers(&kept.data, kept.base) {
        lines.push(Line::Title(format!("{}  {}", layer.name, layer.info)));
        lines.extend(layer.fields.into_iter().map(|(name, value)| Line::Field(name, value)));
    }
    lines
}

/// Its bytes, layer by layer.
fn dump(kept: &Kept) -> Vec<Line> {
    let mut lines: Vec<Line> = layers(&kept.data, kept.base).iter().flat_map(|layer| hex(kept, layer)).collect();
    if kept.data.len() < kept.captured {
        let (shown, all) = (human::count(kept.data.len() as u64), human::count(kept.captured as u64));
        lines.push(Line::Note(format!("the first {shown} of {all} bytes; the file has all of them")));
    }
    lines
}

fn about(kept: &Kept) -> Vec<Line> {
    let cut = if kept.captured < kept.original as usize {
        format!(", {} of them captured", kept.captured)
    } else {
        String::new()
    };
    let mut lines = vec![
        Line::Title(format!("Packet {}  {}", kept.number, super::packets::time(kept.time_ns))),
        Line::Field("Length", format!("{} bytes{cut}", human::count(kept.original.into()))),
        Line::Field("Seen at", kept.place.to_string()),
    ];
    lines.extend((kept.id != 0).then(|| Line::Field("Identity", format!("{:016x}", kept.id))));
    lines.extend(kept.cause.as_ref().map(|name| Line::Field("Dropped", cause(name).to_owned())));
    lines.extend((kept.lost > 0).then(|| Line::Field("Lost before it", format!("{} packets", kept.lost))));
    lines
}

/// The bytes of a layer, in hexadecimal and as text.
fn hex(kept: &Kept, layer: &Layer) -> Vec<Line> {
    let title = format!("Bytes of {}, {} to {}", layer.name, layer.bytes.start, layer.bytes.end.saturating_sub(1));
    let bytes = kept.data.get(layer.bytes.clone()).unwrap_or_default();
    let dump = bytes.chunks(BYTES).enumerate().map(|(index, chunk)| {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let left = hex.iter().take(BYTES / 2).cloned().collect::<Vec<_>>().join(" ");
        let right = hex.iter().skip(BYTES / 2).cloned().collect::<Vec<_>>().join(" ");
        let text: String =
            chunk.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' }).collect();
        Line::Bytes(format!("  {:04x}  {left:<23}  {right:<23}  {text}", layer.bytes.start + index * BYTES))
    });
    std::iter::once(Line::Title(title)).chain(dump).collect()
}
