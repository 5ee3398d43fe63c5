//! What both ends of a conversation sent, as text: the client's lines are marked `>`, the server's `<`.

use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::tui::draw::{Canvas, Pieces, fit, row};
use crate::tui::packets::app::App;
use crate::tui::packets::stream::Sender;
use crate::tui::theme::dim;

pub(super) fn draw(canvas: &mut Canvas, app: &App, offset: usize, area: Rect) {
    if app.shown.stream.is_empty() {
        let Some(area) = row(area, 1) else { return };
        let mut pieces = Pieces::new();
        pieces.push("  No end of this conversation has sent data, as far as the screen has its packets", dim());
        return pieces.draw(canvas, area);
    }
    for (index, line) in app.shown.stream.iter().skip(offset).enumerate() {
        let Some(area) = row(area, index) else { break };
        let (mark, style) = match line.from {
            Sender::Client => ("> ", app.theme.accent()),
            Sender::Server => ("< ", Style::new()),
            Sender::Note => ("  ", app.theme.alarm()),
        };
        let mut pieces = Pieces::new();
        pieces.push(mark, dim());
        pieces.push(fit(&line.text, usize::from(area.width).saturating_sub(2), false), style);
        pieces.draw(canvas, area);
    }
}
