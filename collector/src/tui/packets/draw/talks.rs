//! The table of conversations.

use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::tui::draw::{Canvas, Pieces, fit, row};
use crate::tui::mouse::Act;
use crate::tui::packets::app::App;
use crate::tui::packets::columns::Column;
use crate::tui::packets::data::Talk;
use crate::tui::theme::reversed;

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let places = lay_out(area.width);
    if let Some(area) = row(area, 0) {
        titles(canvas, app, &places, area);
    }
    for (index, talk) in app.shown.talks.iter().enumerate() {
        let Some(area) = row(area, index + 1) else { break };
        cells(app, talk, &places, app.selected_line() == Some(index)).draw(canvas, area);
        canvas.buttons.push((area, Act::Line(index)));
    }
    if app.shown.talks.is_empty() {
        super::nothing(canvas, app, area, "packets");
    }
}

/// The columns for which there is room, with their widths: the ends take what the others leave.
fn lay_out(width: u16) -> Vec<(Column, usize)> {
    let shown: Vec<Column> = Column::ALL.into_iter().filter(|column| width >= column.least_screen()).collect();
    let others: usize = shown.iter().map(|column| column.width() + 1).sum();
    let ends = usize::from(width).saturating_sub(others);
    let width = |column: Column| if column == Column::Ends { ends } else { column.width() };
    shown.into_iter().map(|column| (column, width(column))).collect()
}

fn titles(canvas: &mut Canvas, app: &App, places: &[(Column, usize)], area: Rect) {
    let mut pieces = Pieces::new();
    for (column, width) in places {
        let arrow = match (*column == app.sort.column, app.sort.descending) {
            (false, _) => "",
            (true, true) => "▼",
            (true, false) => "▲",
        };
        let title = fit(&format!("{}{arrow}", column.title()), *width, column.is_right());
        pieces.button(canvas, area, title, reversed(), Act::Sort(column.title()));
        pieces.push(" ", reversed());
    }
    pieces.draw(canvas, area);
}

fn cells(app: &App, talk: &Talk, places: &[(Column, usize)], selected: bool) -> Pieces {
    let base = if selected { reversed() } else { Style::new() };
    let mut pieces = Pieces::new();
    for (column, width) in places {
        let style = if !selected && column.is_alarm(talk) { app.theme.alarm() } else { base };
        pieces.push(fit(&column.text(talk, app.addresses), *width, column.is_right()), style);
        pieces.push(" ", base);
    }
    pieces
}
