//! What keys and the mouse do to the state. Letters are typed into the filter; so commands are other keys, or work while nothing
//! is typed, as on the screen of flows.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::app::{App, Level, Sort};
use super::columns::Column;
use super::data::Data;
use crate::tui::filter::Filter;
use crate::tui::keys::Effect;
use crate::tui::keys::{LONGEST_INPUT, MOST_FILTERS};
use crate::tui::mouse::{Act, Buttons};

/// Lines that the wheel of the mouse moves.
const WHEEL: isize = 3;

/// Applies a key. `data` is what a pause holds on to.
pub(super) fn press(app: &mut App, key: KeyEvent, data: &Data) -> Effect {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match (key.code, control) {
        (KeyCode::Char('q' | 'c'), true) => return Effect::Quit,
        (KeyCode::Char('l'), true) => return Effect::Redraw,
        (KeyCode::Char('z'), true) => return Effect::Suspend,
        _ if app.help => app.help = false,
        (KeyCode::F(1), _) => app.help = true,
        (KeyCode::Esc, _) => escape(app),
        (KeyCode::Char(' ' | '@'), true) | (KeyCode::Null, _) => toggle_pause(app, data),
        (KeyCode::Char('r'), true) => app.sort.descending = !app.sort.descending,
        (KeyCode::Char('u'), true) => app.input.clear(),
        (KeyCode::Char('t'), true) => follow(app, data),
        (KeyCode::Char(letter), false) => typed(app, letter, data),
        (KeyCode::Tab | KeyCode::BackTab, _) => app.addresses = !app.addresses,
        (code, _) if matches!(app.level, Level::Packet(..) | Level::Stream(..)) => in_packet(app, code),
        (code, _) => in_list(app, code, data),
    }
    Effect::None
}

fn in_packet(app: &mut App, code: KeyCode) {
    match code {
        KeyCode::Enter | KeyCode::Backspace => escape(app),
        KeyCode::Up => scroll(app, -1),
        KeyCode::Down => scroll(app, 1),
        KeyCode::PageUp => scroll(app, -10),
        KeyCode::PageDown => scroll(app, 10),
        KeyCode::Home => scroll(app, isize::MIN),
        KeyCode::Left => next_packet(app, -1),
        KeyCode::Right => next_packet(app, 1),
        _ => {}
    }
}

fn scroll(app: &mut App, lines: isize) {
    let most = super::draw::lines(app).saturating_sub(app.page());
    if let Level::Packet(_, _, offset) | Level::Stream(_, offset) = &mut app.level {
        *offset = offset.saturating_add_signed(lines).min(most);
    }
}

/// The packet before or behind the one that is shown, in its list.
fn next_packet(app: &mut App, step: isize) {
    let page = app.page();
    let list = app.list_mut();
    if let Some(cursor) = list.cursor {
        list.select(cursor.saturating_add_signed(step), page);
        if let Level::Packet(key, ..) = app.level {
            app.level = Level::Packets(key);
            super::refresh::list(app, None);
            open_packet(app);
        }
    }
}

fn in_list(app: &mut App, code: KeyCode, data: &Data) {
    let page = app.page() as isize;
    match code {
        KeyCode::Up => move_cursor(app, -1, data),
        KeyCode::Down => move_cursor(app, 1, data),
        KeyCode::PageUp => move_cursor(app, -page, data),
        KeyCode::PageDown => move_cursor(app, page, data),
        KeyCode::Home => move_cursor(app, isize::MIN, data),
        KeyCode::End => move_cursor(app, isize::MAX, data),
        KeyCode::Enter => enter(app, data),
        KeyCode::Left if matches!(app.level, Level::Packets(_)) => escape(app),
        KeyCode::Right => enter(app, data),
        KeyCode::Backspace => backspace(app),
        KeyCode::Delete => app.kept_filters_mut().clear(),
        _ => {}
    }
}

/// A letter of the filter, or, while nothing is typed, a command.
fn typed(app: &mut App, letter: char, data: &Data) {
    if app.input.is_empty() {
        match letter {
            '?' => return app.help = true,
            ' ' => return toggle_pause(app, data),
            '<' => return sort_by(app, -1),
            '>' => return sort_by(app, 1),
            _ => {}
        }
    }
    let is_list = !matches!(app.level, Level::Packet(..) | Level::Stream(..));
    if is_list && app.input.chars().count() < LONGEST_INPUT && !letter.is_control() {
        app.input.push(letter);
        list_changed(app);
    }
}

fn list_changed(app: &mut App) {
    let list = app.list_mut();
    (list.cursor, list.offset) = (None, 0);
}

/// Back: what is typed, the level, the selection, the pause.
fn escape(app: &mut App) {
    if !app.input.is_empty() {
        app.input.clear();
        return list_changed(app);
    }
    match app.level {
        Level::Packet(key, ..) | Level::Stream(key, _) => app.level = Level::Packets(key),
        Level::Packets(_) => {
            list_changed(app);
            app.kept_filters_mut().clear();
            app.level = Level::Talks;
            go_on(app);
        }
        Level::Talks => {
            list_changed(app);
            app.paused = None;
        }
    }
}

fn enter(app: &mut App, data: &Data) {
    if !app.input.is_empty() {
        if Filter::parse(&app.input).error().is_none() && app.kept_filters().len() < MOST_FILTERS {
            let filter = Filter::parse(&std::mem::take(&mut app.input));
            app.kept_filters_mut().push(filter);
            list_changed(app);
        }
        return;
    }
    if app.list().len == 0 {
        return;
    }
    if app.selected_line().is_none() {
        let first = if matches!(app.level, Level::Talks) { 0 } else { app.list().len - 1 };
        select(app, first, data);
    }
    super::refresh::list(app, Some(data));
    match app.level {
        Level::Talks => open_talk(app),
        _ => open_packet(app),
    }
}

fn open_talk(app: &mut App) {
    if let Some(key) = app.selected_line().and_then(|line| app.shown.keys.get(line)) {
        app.level = Level::Packets(*key);
        list_changed(app);
        go_on(app);
    }
}

/// Shows what both ends of the conversation sent, as text; of conversations that of the selected one.
fn follow(app: &mut App, data: &Data) {
    if matches!(app.level, Level::Talks) {
        enter(app, data);
    }
    if let Level::Packets(key) | Level::Packet(key, ..) = app.level {
        app.level = Level::Stream(key, 0);
        super::refresh::list(app, Some(data));
    }
}

/// Ends a pause that came with a selection.
fn go_on(app: &mut App) {
    if !app.paused_by_hand {
        app.paused = None;
        list_changed(app);
    }
}

fn open_packet(app: &mut App) {
    let Level::Packets(key) = app.level else { return };
    if let Some(kept) = app.selected_line().and_then(|line| app.shown.packets.get(line)) {
        app.level = Level::Packet(key, kept.clone(), 0);
    }
}

fn backspace(app: &mut App) {
    if app.input.pop().is_none() {
        app.kept_filters_mut().pop();
    }
    list_changed(app);
}

fn toggle_pause(app: &mut App, data: &Data) {
    if app.paused.take().is_some() {
        list_changed(app);
    } else {
        app.paused = Some(Box::new(data.clone()));
        app.paused_by_hand = true;
    }
}

/// Sorts by another column.
fn sort_by(app: &mut App, steps: isize) {
    let here = Column::ALL.iter().position(|column| *column == app.sort.column).unwrap_or(0) as isize;
    let column = Column::ALL[(here + steps).rem_euclid(Column::ALL.len() as isize) as usize];
    app.sort = Sort { column, descending: true };
    list_changed(app);
}

/// Moves the selection. A list with one is paused, so that it does not run away.
fn move_cursor(app: &mut App, lines: isize, data: &Data) {
    let is_talks = matches!(app.level, Level::Talks);
    let list = *app.list();
    let place = match list.cursor {
        Some(cursor) => cursor.saturating_add_signed(lines),
        None if lines == isize::MAX || (lines < 0 && lines != isize::MIN && !is_talks) => usize::MAX,
        None if lines == isize::MIN => 0,
        None => list.offset,
    };
    select(app, place, data);
}

fn select(app: &mut App, place: usize, data: &Data) {
    if app.list().len == 0 {
        return;
    }
    if app.paused.is_none() {
        app.paused = Some(Box::new(data.clone()));
        app.paused_by_hand = false;
        super::refresh::list(app, None);
    }
    let page = app.page();
    app.list_mut().select(place, page);
}

/// Applies what the mouse did.
pub(super) fn mouse(app: &mut App, event: MouseEvent, buttons: &Buttons, data: &Data) {
    match event.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            let place = Position::new(event.column, event.row);
            let hit = buttons.iter().rev().find(|(area, _)| area.contains(place));
            if let Some((_, act)) = hit {
                click(app, act.clone(), data);
            }
        }
        MouseEventKind::ScrollUp => wheel(app, -WHEEL, data),
        MouseEventKind::ScrollDown => wheel(app, WHEEL, data),
        _ => {}
    }
}

fn wheel(app: &mut App, lines: isize, data: &Data) {
    if matches!(app.level, Level::Packet(..) | Level::Stream(..)) {
        scroll(app, lines);
    } else {
        move_cursor(app, lines, data);
    }
}

fn click(app: &mut App, act: Act, data: &Data) {
    match act {
        Act::Pause => toggle_pause(app, data),
        Act::Sort(title) => sort_by_title(app, title),
        Act::RemoveFilter(index) if index < app.kept_filters().len() => {
            app.kept_filters_mut().remove(index);
            list_changed(app);
        }
        Act::Line(line) if app.selected_line() == Some(line) => enter(app, data),
        Act::Line(line) => select(app, app.list().offset + line, data),
        Act::Help => app.help = true,
        Act::Close if app.help => app.help = false,
        Act::Close => escape(app),
        _ => {}
    }
}

/// Sorts by this column; a second time, the other way round.
fn sort_by_title(app: &mut App, title: &str) {
    let Some(column) = Column::ALL.into_iter().find(|column| column.title() == title) else { return };
    let descending = app.sort.column != column || !app.sort.descending;
    app.sort = Sort { column, descending };
    list_changed(app);
}
