//! Which columns of a table are shown, and how wide: those that matter most keep what they hold, and what is cut is cut in
//! its middle.

use crate::tui::app::App;
use crate::tui::columns::Column;

/// A column with its place.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) column: &'static Column,
    pub(super) width: usize,
    pub(super) title: &'static str,
}

/// Columns for which there is no room, to the left and to the right or in between.
pub(super) fn hidden(app: &App, width: u16) -> (usize, usize) {
    let columns = app.columns();
    let left =
        if needed(&places(app, &columns, false)) <= usize::from(width) { 0 } else { scrolled(app, columns.len()) };
    (left, columns.len() - left - lay_out(app, usize::from(width)).len())
}

/// Columns that are scrolled away: the time stays, and so does one other.
fn scrolled(app: &App, columns: usize) -> usize {
    app.scroll.min(columns.saturating_sub(2))
}

/// The columns that are shown.
pub(super) fn lay_out(app: &App, width: usize) -> Vec<Place> {
    let mut columns = app.columns();
    let natural = places(app, &columns, false);
    if needed(&natural) <= width {
        return natural;
    }
    let scroll = scrolled(app, columns.len());
    if scroll > 0 {
        columns.drain(1..=scroll);
        return cut(places(app, &columns, true), width);
    }
    loop {
        let wanted = places(app, &columns, true);
        let least: Vec<Place> = wanted.iter().map(|place| Place { width: least(app, place), ..*place }).collect();
        let Some(dispensable) = dispensable(app, &columns) else { return cut(shrink(least, width), width) };
        if needed(&least) <= width {
            return grow(least, &wanted, width);
        }
        columns.remove(dispensable);
    }
}

/// The column that goes first: one that never had a value, else of the highest rank the last one. `None` when all that are
/// left must stay.
fn dispensable(app: &App, columns: &[&'static Column]) -> Option<usize> {
    let last = columns.iter().enumerate().filter(|(_, column)| column.rank > 0);
    let order = |index: usize, column: &Column| (!app.shown.filled.contains(column.field), column.rank, index);
    last.max_by_key(|(index, column)| order(*index, column)).map(|(index, _)| index)
}

fn places(app: &App, columns: &[&'static Column], short: bool) -> Vec<Place> {
    let place = |column: &&'static Column| {
        let title = if short { column.short } else { column.title };
        let content = app.shown.widths.get(column.field).copied().unwrap_or(0);
        Place { column, width: usize::from(content).max(title_width(app, column, title)), title }
    };
    columns.iter().map(place).collect()
}

/// One more for the arrow of the order.
fn title_width(app: &App, column: &'static Column, title: &str) -> usize {
    title.chars().count() + usize::from(app.sort.is_some_and(|sort| std::ptr::eq(sort.column, column)))
}

/// The width below which other columns go.
fn least(app: &App, place: &Place) -> usize {
    let title = title_width(app, place.column, place.title);
    place.width.min(usize::from(place.column.wanted()).max(title))
}

fn needed(places: &[Place]) -> usize {
    places.iter().map(|place| place.width + 1).sum::<usize>().saturating_sub(1)
}

/// Shares out what is left: first to columns that matter, and of these to the one that lacks least.
fn grow(mut places: Vec<Place>, wanted: &[Place], width: usize) -> Vec<Place> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|index| {
        let (place, wanted) = (&places[*index], &wanted[*index]);
        (place.column.rank > 1, place.column.is_time(), wanted.width - place.width)
    });
    for index in order {
        let room = width.saturating_sub(needed(&places));
        places[index].width += room.min(wanted[index].width - places[index].width);
    }
    places
}

/// Takes from the widest columns until they fit, or have their least width.
fn shrink(mut places: Vec<Place>, width: usize) -> Vec<Place> {
    let mut surplus = needed(&places).saturating_sub(width);
    while surplus > 0 {
        let spare = |place: &&mut Place| place.width > usize::from(place.column.least).max(place.title.len());
        let Some(widest) = places.iter_mut().filter(spare).max_by_key(|place| place.width) else { break };
        widest.width -= 1;
        surplus -= 1;
    }
    places
}

/// As many columns as there is room for; the last one may be cut.
fn cut(places: Vec<Place>, width: usize) -> Vec<Place> {
    let mut at = 0;
    let mut kept = Vec::new();
    for mut place in places {
        let room = width.saturating_sub(at);
        if room < place.width.min(4) || room == 0 {
            break;
        }
        place.width = place.width.min(room);
        at += place.width + 1;
        kept.push(place);
    }
    kept
}
