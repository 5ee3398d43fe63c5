//! What keys do to the state. Letters and digits are typed into the filter; so commands are other keys, or work while nothing is typed.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, FEWEST_ROWS, Over, Sort, Step};
use super::data::Data;
use super::data::kept::Kept;
use super::exact::{Exact, Row};
use super::filter::Filter;
use super::stage::{At, Choice};
use super::views::View;

/// Longest filter, and most filters: what fits on a line.
pub(super) const LONGEST_INPUT: usize = 200;
pub(super) const MOST_FILTERS: usize = 16;

/// What is to be done outside of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// End the capture.
    Quit,
    /// Redraw everything.
    Redraw,
    /// Give the terminal to the shell for a while.
    Suspend,
    /// Put the filters into the kernels, or take back those that are there.
    Kernel,
    /// Take back the filters that are in the kernels.
    TakeBack,
    /// Leave the screen of a capture that has ended.
    Leave,
    /// Capture for another period.
    GoOn,
}

/// Applies a key. A pause holds on to what `data` has kept, and a row that is entered finds its records there.
pub(super) fn press(app: &mut App, key: KeyEvent, data: &Data) -> Effect {
    let kept = &data.kept;
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    app.notice = None;
    if std::mem::take(&mut app.asks) && matches!(key.code, KeyCode::Enter | KeyCode::Char('y' | 'Y' | 'q')) {
        return Effect::Quit;
    }
    match (key.code, control) {
        (KeyCode::Char('q' | 'c'), true) => return Effect::Quit,
        (KeyCode::Char('l'), true) => return Effect::Redraw,
        (KeyCode::Char('z'), true) => return Effect::Suspend,
        _ if app.over == Over::Help => app.over = Over::Nothing,
        (KeyCode::Esc, _) => escape(app),
        (KeyCode::F(1), _) => app.over = Over::Help,
        _ if app.over == Over::Detail => in_detail(app, key.code),
        (KeyCode::Char(' ' | '@'), true) | (KeyCode::Null, _) => toggle_pause(app, kept),
        (KeyCode::Char('d'), true) => switch_view(app, app.view.step(1)),
        (KeyCode::Char('e'), true) => next_names(app, 1),
        (KeyCode::Char('r'), true) => reverse(app),
        (KeyCode::Char('u'), true) => clear_input(app),
        (KeyCode::Char('f'), true) => return Effect::Kernel,
        (KeyCode::Char('F'), false) if app.input.is_empty() && !alt => return Effect::Kernel,
        (KeyCode::Char(number @ '0'..='9'), _) if alt => view_number(app, number),
        (KeyCode::Enter, _) => enter(app, data),
        (KeyCode::Char(letter), false) if !alt => typed(app, letter, kept),
        (code, _) => move_about(app, code, key.modifiers, kept),
    }
    if let Some(choice) = app.choice.take() {
        return if choice == Choice::Leave { Effect::Leave } else { Effect::GoOn };
    }
    let removed = matches!(key.code, KeyCode::Backspace | KeyCode::Delete) && app.over == Over::Nothing;
    if removed { without_filters(app) } else { Effect::None }
}

/// The last filter that goes takes those of the kernels with it.
fn without_filters(app: &App) -> Effect {
    let none = app.filters.is_empty() && app.input.is_empty();
    let pushed = app.shown.kernel.as_ref().is_some_and(|kernel| kernel.wanted);
    if none && pushed { Effect::TakeBack } else { Effect::None }
}

fn in_detail(app: &mut App, code: KeyCode) {
    match code {
        KeyCode::Enter | KeyCode::Backspace => app.over = Over::Nothing,
        KeyCode::Up => app.detail_scroll = app.detail_scroll.saturating_sub(1),
        KeyCode::Down => app.detail_scroll = app.detail_scroll.saturating_add(1),
        KeyCode::PageUp => app.detail_scroll = app.detail_scroll.saturating_sub(10),
        KeyCode::PageDown => app.detail_scroll = app.detail_scroll.saturating_add(10),
        KeyCode::Char('?') => app.over = Over::Help,
        _ => {}
    }
}

fn move_about(app: &mut App, code: KeyCode, modifiers: KeyModifiers, kept: &Kept) {
    let sideways = modifiers.intersects(KeyModifiers::SHIFT | KeyModifiers::CONTROL);
    match code {
        KeyCode::Right if sideways => app.scroll = (app.scroll + scroll_step(app)).min(scroll_end(app)),
        KeyCode::Left if sideways => app.scroll = app.scroll.saturating_sub(scroll_step(app)),
        KeyCode::Right | KeyCode::Tab => switch_view(app, app.view.step(1)),
        KeyCode::Left | KeyCode::BackTab => switch_view(app, app.view.step(-1)),
        KeyCode::PageDown => next_names(app, 1),
        KeyCode::PageUp => next_names(app, -1),
        KeyCode::Up => move_cursor(app, -1, kept),
        KeyCode::Down => move_cursor(app, 1, kept),
        KeyCode::Home => go(app, true, kept),
        KeyCode::End => go(app, false, kept),
        KeyCode::Backspace => backspace(app),
        KeyCode::Delete => app.filters.clear(),
        _ => {}
    }
}

/// A letter of the filter, or, while nothing is typed, a command.
fn typed(app: &mut App, letter: char, kept: &Kept) {
    let is_over = matches!(app.shown.stage, At::Finished(_));
    if app.input.is_empty() && !app.begun {
        match letter {
            '?' => return app.over = Over::Help,
            ' ' => return toggle_pause(app, kept),
            '+' if is_over && app.shown.periods.more.is_some() => return app.choice = Some(Choice::GoOn),
            '+' => return more_rows(app, 1),
            '-' => return more_rows(app, -1),
            '<' => return sort_by(app, -1),
            '>' => return sort_by(app, 1),
            '/' => return app.begun = true,
            'q' if is_over => return app.choice = Some(Choice::Leave),
            'q' => return app.asks = true,
            '0'..='9' => return view_number(app, letter),
            _ => {}
        }
    }
    if app.input.chars().count() < LONGEST_INPUT && !letter.is_control() {
        app.input.push(letter);
        list_changed(app);
    }
}

fn clear_input(app: &mut App) {
    app.input.clear();
    app.begun = false;
    list_changed(app);
}

fn escape(app: &mut App) {
    if app.over != Over::Nothing {
        app.over = Over::Nothing;
    } else if !app.input.is_empty() || app.begun {
        clear_input(app);
    } else if app.cursor.is_some() || app.paused.is_some() || app.pinned {
        (app.cursor, app.offset, app.paused, app.pinned) = (None, 0, None, false);
    } else if let Some(step) = app.path.pop() {
        switch_view(app, step.view);
        (app.cursor, app.offset, app.back) = (step.cursor, step.offset, Some(step.row));
    }
}

fn enter(app: &mut App, data: &Data) {
    if let Some(filter) = app.typed() {
        if filter.error().is_none() && app.filters.len() < MOST_FILTERS {
            app.filters.push(filter);
            clear_input(app);
        }
    } else if app.begun {
        app.begun = false;
    } else if app.view.is_table() && app.list_len() > 0 {
        if app.cursor.is_none() {
            select(app, 0, &data.kept);
        }
        app.over = Over::Detail;
        app.detail_scroll = 0;
    } else if app.view.is_summary() && app.list_len() > 0 && app.path.len() < MOST_FILTERS {
        if app.cursor.is_none() {
            select(app, app.offset, &data.kept);
        }
        enter_row(app, data);
    }
}

/// Shows the records of the selected row of a summary.
fn enter_row(app: &mut App, data: &Data) {
    let Some((row, title)) = app.selected_line().and_then(|line| row_at(app, line)) else { return };
    let filter = Filter::exactly(&title, Exact::new(row.clone(), data));
    app.path.push(Step { view: app.view, row, cursor: app.cursor, offset: app.offset, filter });
    switch_view(app, View::Records);
}

/// The row of a summary at a line of the screen, and its title.
fn row_at(app: &App, line: usize) -> Option<(Row, String)> {
    let index = app.offset + line;
    match app.view {
        View::Connections => app
            .shown
            .connections
            .get(line)
            .map(|row| (Row::Connection(row.id), format!("{} → {}", row.client, row.server))),
        View::Top => app.shown.top.get(index).map(|row| (Row::Top(app.group, row.member.clone()), row.who.clone())),
        View::Problems => {
            let problem = app.shown.problems_shown.get(index);
            problem.map(|row| (Row::problem(row), format!("{} {}", row.word(), row.who)))
        }
        _ => None,
    }
}

fn backspace(app: &mut App) {
    if app.input.pop().is_none() && !std::mem::take(&mut app.begun) {
        app.filters.pop();
    }
    list_changed(app);
}

/// Takes one of the filters away.
pub(super) fn remove_filter(app: &mut App, index: usize) -> Effect {
    if index < app.filters.len() {
        app.filters.remove(index);
        list_changed(app);
    }
    without_filters(app)
}

fn list_changed(app: &mut App) {
    app.cursor = None;
    app.offset = 0;
}

fn view_number(app: &mut App, number: char) {
    if let Some(view) = View::of_digit(number) {
        switch_view(app, view);
    }
}

pub(super) fn switch_view(app: &mut App, view: View) {
    if view != app.view || !view.is_table() {
        list_changed(app);
    }
    if view != app.view && !app.pinned {
        // A row that was selected in one view does not hold up another.
        app.paused = None;
    }
    app.view = view;
    app.scroll = 0;
    app.shown.widths.clear();
    app.shown.filled.clear();
    // A sorted table stays sorted where the column is.
    let columns = app.columns();
    app.sort = app.sort.filter(|sort| columns.iter().any(|column| std::ptr::eq(*column, sort.column)));
}

/// The next enrichment, or what Top groups by.
pub(super) fn next_names(app: &mut App, steps: isize) {
    match app.view {
        View::Top => app.group = app.group.next(steps, &app.shown.groups),
        View::Connections | View::Problems | View::Graph | View::Raw => return,
        _ => app.names = Some(app.names().next(steps, app.shown.has_processes)),
    }
    switch_view(app, app.view);
}

pub(super) fn toggle_pause(app: &mut App, kept: &Kept) {
    if app.paused.take().is_some() || app.pinned {
        app.pinned = false;
        list_changed(app);
    } else {
        (app.paused, app.pinned) = (Some(kept.clone()), true);
    }
}

pub(super) fn more_rows(app: &mut App, rows: isize) {
    let wanted = app.height().saturating_add_signed(rows).max(FEWEST_ROWS);
    app.most_rows = (wanted < app.page()).then_some(wanted);
}

/// Moves the order of the table by columns; before the first column the flows stand in their own order.
fn sort_by(app: &mut App, steps: isize) {
    match app.view {
        View::Top => app.metric = app.metric.step(steps),
        View::Connections => {
            app.order = app.order.step(steps);
            list_changed(app);
        }
        View::Problems | View::Graph | View::Raw => {}
        _ => {
            let columns = app.columns();
            let here = app.sort.and_then(|sort| columns.iter().position(|column| std::ptr::eq(*column, sort.column)));
            let next = here.map_or(0, |here| here as isize + 1) + steps;
            let next = next.rem_euclid(columns.len() as isize + 1);
            app.sort = (next > 0).then(|| Sort { column: columns[next as usize - 1], descending: true });
            list_changed(app);
        }
    }
}

/// Sorts by this column; a second time, the other way round; a third time, no more.
pub(super) fn sort_by_field(app: &mut App, field: &str) {
    let Some(column) = app.columns().into_iter().find(|column| column.field == field) else { return };
    app.sort = match app.sort {
        Some(sort) if std::ptr::eq(sort.column, column) => {
            sort.descending.then_some(Sort { descending: false, ..sort })
        }
        _ => Some(Sort { column, descending: true }),
    };
    list_changed(app);
}

fn reverse(app: &mut App) {
    if let Some(sort) = &mut app.sort {
        sort.descending = !sort.descending;
        list_changed(app);
    }
}

/// How far it makes sense to scroll: the last column stays; the end of a raw row is not known.
fn scroll_end(app: &App) -> usize {
    if app.view == View::Raw { 4_000 } else { app.columns().len().saturating_sub(2) }
}

fn scroll_step(app: &App) -> usize {
    if app.view == View::Raw { 20 } else { 1 }
}

/// Moves the selection by lines of the screen. A table with a selection is paused, so that it does not run away.
pub(super) fn move_cursor(app: &mut App, lines: isize, kept: &Kept) {
    let steps = if app.is_top_down() { lines } else { -lines };
    match app.cursor {
        None if app.list_len() > 0 => select(app, app.offset, kept),
        None => {}
        Some(place) => select(app, place.saturating_add_signed(steps), kept),
    }
}

/// To the first line of the list, or to the last.
fn go(app: &mut App, to_top: bool, kept: &Kept) {
    let end = app.list_len().saturating_sub(1);
    select(app, if to_top == app.is_top_down() { 0 } else { end }, kept);
}

/// Selects a place of the list, and scrolls to it.
pub(super) fn select(app: &mut App, place: usize, kept: &Kept) {
    let Some(end) = app.list_len().checked_sub(1) else { return };
    if app.view.is_table() && app.paused.is_none() {
        app.paused = Some(kept.clone());
    }
    let place = place.min(end);
    app.cursor = Some(place);
    app.offset = app.offset.min(place).max((place + 1).saturating_sub(app.height()));
}
