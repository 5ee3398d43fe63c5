//! What the mouse does: everything that was drawn as a button comes with what it is for.

use crossterm::event::{KeyCode, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::app::{App, Over};
use super::data::Data;
use super::keys::{self, Effect};
use super::views::{Metric, Order, View};

/// What a click does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    View(View),
    Names(isize),
    Pause,
    Rows(isize),
    Sort(&'static str),
    Metric(Metric),
    Order(Order),
    RemoveFilter(usize),
    Kernel,
    Line(usize),
    Help,
    Close,
    /// As Esc.
    Back,
}

/// Buttons, the topmost last.
pub(super) type Buttons = Vec<(Rect, Act)>;

/// Applies what the mouse did.
pub(super) fn apply(app: &mut App, event: MouseEvent, buttons: &Buttons, data: &Data) -> Effect {
    match event.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            let place = Position::new(event.column, event.row);
            let hit = buttons.iter().rev().find(|(area, _)| area.contains(place));
            if let Some((_, act)) = hit {
                app.notice = None;
                return click(app, act.clone(), data);
            }
        }
        MouseEventKind::ScrollUp if app.over == Over::Detail => app.detail_scroll = app.detail_scroll.saturating_sub(3),
        MouseEventKind::ScrollDown if app.over == Over::Detail => app.detail_scroll += 3,
        MouseEventKind::ScrollUp => keys::move_cursor(app, -3, &data.kept),
        MouseEventKind::ScrollDown => keys::move_cursor(app, 3, &data.kept),
        _ => {}
    }
    Effect::None
}

fn click(app: &mut App, act: Act, data: &Data) -> Effect {
    match act {
        Act::View(view) => keys::switch_view(app, view),
        Act::Names(steps) => keys::next_names(app, steps),
        Act::Pause => keys::toggle_pause(app, &data.kept),
        Act::Rows(rows) => keys::more_rows(app, rows),
        Act::Sort(field) => keys::sort_by_field(app, field),
        Act::Metric(metric) => app.metric = metric,
        Act::Order(order) => app.order = order,
        Act::RemoveFilter(index) => return keys::remove_filter(app, index),
        Act::Kernel => return Effect::Kernel,
        Act::Line(line) => click_line(app, line, data),
        Act::Help => app.over = Over::Help,
        Act::Close => app.over = Over::Nothing,
        Act::Back => drop(keys::press(app, KeyCode::Esc.into(), data)),
    }
    Effect::None
}

/// The first click selects a line, the second one opens it.
fn click_line(app: &mut App, line: usize, data: &Data) {
    if app.selected_line() == Some(line) {
        let enter = crossterm::event::KeyEvent::from(crossterm::event::KeyCode::Enter);
        keys::press(app, enter, data);
        return;
    }
    let lines = app.list_len().saturating_sub(app.offset).min(app.height());
    let place = if app.is_top_down() { Some(line) } else { lines.checked_sub(line + 1) };
    if let Some(place) = place.filter(|_| line < lines) {
        keys::select(app, app.offset + place, &data.kept);
    }
}
