//! All keys.

use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear};

use super::{Canvas, Pieces, fit, row};
use crate::tui::mouse::Act;
use crate::tui::theme::{bold, dim};

/// Those of flows.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("1-9 0, Left Right, Tab", "view"),
    ("PgUp PgDn", "names of both ends; in Top: group by"),
    ("Up Down Home End", "select a row: it holds still, nothing is lost"),
    ("Enter", "the records of this row; of a record, all of it"),
    ("Esc", "back to where the row was entered; else to live"),
    ("Space", "pause and resume"),
    ("< >, click on a title", "sort by another column; Ctrl-R the other way round"),
    ("Shift-Left Shift-Right", "columns that have no room"),
    ("+ -", "number of rows; + at the limit: another period"),
    ("", ""),
    ("/ or any letter", "filter by what is shown, at once; no case"),
    ("field:value", "such as port:443, ns:shop, proc:curl, cause:netfilter"),
    ("bytes>1M or rtt>5ms", "as --filter has it: and, or, not, ( ), dst port 53"),
    ("!text   /text/", "not this; a regular expression"),
    ("Enter, Backspace", "keep the filter and begin another; remove the last"),
    ("Ctrl-U, Delete", "clear what is typed; remove all filters"),
    ("F (typing: Ctrl-F)", "address, port, protocol into all nodes' kernels:"),
    ("", "the files get nothing else; F again takes them back"),
    ("", ""),
    ("q, Ctrl-C", "end the capture; the files are kept"),
    ("Ctrl-Z, Ctrl-L", "suspend; redraw. Times are UTC"),
];

/// Width of the keys and of the whole.
const KEY: usize = 24;
const WIDTH: u16 = 80;

pub(in crate::tui) fn draw(canvas: &mut Canvas, keys: &[(&'static str, &'static str)], files: &str, area: Rect) {
    let (width, height) = (WIDTH.min(area.width), (keys.len() as u16 + 3).min(area.height));
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    canvas.frame.render_widget(Clear, place);
    let block = Block::bordered().title(" Keys (any key closes) ");
    let inner = block.inner(place);
    canvas.frame.render_widget(block, place);
    for (index, (key, what)) in keys.iter().enumerate() {
        let Some(area) = row(inner, index) else { break };
        let mut pieces = Pieces::new();
        pieces.push(fit(key, KEY, false), bold());
        pieces.plain(*what);
        pieces.draw(canvas, area);
    }
    if let Some(area) = row(inner, keys.len()) {
        let mut pieces = Pieces::new();
        pieces.push(fit(files, usize::from(area.width), false), dim());
        pieces.draw(canvas, area);
    }
    canvas.buttons.push((area, Act::Close));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_cut() {
        let room = usize::from(WIDTH) - 2 - KEY;
        for (key, what) in KEYS.iter().chain(crate::tui::packets::KEYS) {
            assert!(key.chars().count() < KEY && what.chars().count() <= room, "{key}: {what}");
        }
    }
}
