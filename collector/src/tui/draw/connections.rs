//! View Connections: what is wrong now, and a line for each conversation.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::bars::sparkline;
use super::{Canvas, Pieces, fit, fit_middle, problems, row};
use crate::human;
use crate::tui::app::App;
use crate::tui::columns::{micros, short};
use crate::tui::connections::ConnectionRow;
use crate::tui::filter::advice;
use crate::tui::mouse::Act;
use crate::tui::theme::{dim, reversed};
use crate::tui::views::Order;

const LEAST_STATE: usize = 7;
const ARROW: &str = " → ";
/// Widths of the sparkline: what is wanted, and what there is at least.
const MINUTE: usize = 20;
const LEAST_MINUTE: usize = 8;

/// A column after the names.
#[derive(Clone, Copy)]
struct Place {
    title: &'static str,
    width: usize,
    right: bool,
    order: Option<Order>,
    /// Columns of a higher rank go first when names need the room; those of rank 0 stay.
    rank: u8,
    text: fn(&ConnectionRow) -> String,
}

const fn place(title: &'static str, width: usize, rank: u8, text: fn(&ConnectionRow) -> String) -> Place {
    Place { title, width, right: false, order: None, rank, text }
}

const fn number(title: &'static str, width: usize, order: Order, text: fn(&ConnectionRow) -> String) -> Place {
    Place { title, width, right: true, order: Some(order), rank: 0, text }
}

const DOWN: &str = "Down/s";
const LAST_MINUTE: &str = "Last minute";
static PLACES: [Place; 10] = [
    place("Service", 9, 3, |row| row.service.clone()),
    place("Proto", 5, 4, |row| row.protocol.clone()),
    number("Up/s", 7, Order::Rate, |row| rate(row.rates[0])),
    number(DOWN, 6, Order::Rate, |row| rate(row.rates[1])),
    place(LAST_MINUTE, MINUTE, 2, |_| String::new()),
    Place { rank: 3, ..number("Total", 6, Order::Total, |row| human::bytes(row.total)) },
    number("RTT", 7, Order::Rtt, |row| if row.rtt_us == 0 { String::new() } else { micros(row.rtt_us) }),
    number("Drops", 6, Order::Drops, |row| if row.drops == 0 { String::new() } else { short(row.drops) }),
    place("State", 10, 0, |row| row.state.clone()),
    Place { rank: 1, ..number("Age", 4, Order::Newest, |row| super::age(row.age.as_secs())) },
];

fn rate(bytes: u64) -> String {
    if bytes == 0 { "·".into() } else { human::bytes(bytes) }
}

/// Titles of the columns that show something: those whose values are empty, or equal in all rows, do not.
pub(in crate::tui) fn telling(rows: &[ConnectionRow]) -> impl Iterator<Item = &'static str> {
    let tells = |place: &&Place| {
        let always =
            matches!(place.order, Some(Order::Rate | Order::Newest | Order::Total)) || place.title == LAST_MINUTE;
        let first = rows.first().map(place.text).unwrap_or_default();
        let differ = rows.iter().skip(1).any(|row| (place.text)(row) != first);
        always
            || differ
            || (matches!(place.order, Some(Order::Rtt | Order::Drops)) && !first.is_empty())
            || (place.title == "State" && rows.iter().any(|row| row.state != "open"))
    };
    PLACES.iter().filter(tells).map(|place| place.title)
}

/// Where everything stands.
struct Places {
    client: usize,
    server: usize,
    /// Names without their namespaces.
    short: bool,
    columns: Vec<Place>,
}

/// Columns from this rank on go before names lose their namespaces.
const LESS: u8 = 3;

/// The name of an object without its namespace.
fn name(text: &str, short: bool) -> &str {
    text.split_once('/').filter(|_| short).map_or(text, |(_, name)| name)
}

impl Places {
    fn of(app: &App, width: usize) -> Self {
        let filled = PLACES.iter().filter(|place| app.shown.filled.contains(place.title));
        let mut columns: Vec<Place> = filled.copied().collect();
        if let Some(state) = columns.iter_mut().find(|place| place.title == "State") {
            let widths = app.shown.connections.iter().map(|row| row.state.chars().count());
            state.width = widths.fold(LEAST_STATE, usize::max);
        }
        // A long name is cut before columns go.
        let most = width / 4;
        let cut = |(client, server): (usize, usize)| (client.min(most), server.min(most));
        let long = cut(Self::names(app, false));
        let short = !shrink(&mut columns, width, long, LESS);
        let names = if short { cut(Self::names(app, true)) } else { long };
        shrink(&mut columns, width, names, 0);
        let (client, server) = Self::names(app, short);
        let left = room(&columns, width).saturating_sub(names.0 + names.1);
        if let Some(minute) = columns.iter_mut().find(|place| place.title == LAST_MINUTE) {
            minute.width += left.min(MINUTE.saturating_sub(minute.width));
        }
        let left = room(&columns, width);
        let client = client.min((left / 2).max(left.saturating_sub(server)));
        Self { client, server: left - client, short, columns }
    }

    /// The widest client and the widest server.
    fn names(app: &App, short: bool) -> (usize, usize) {
        let widest = |text: fn(&ConnectionRow) -> &str| {
            app.shown.connections.iter().map(|row| name(text(row), short).chars().count()).fold(6, usize::max)
        };
        (widest(|row| &row.client), widest(|row| &row.server))
    }
}

/// What is left for the names.
fn room(columns: &[Place], width: usize) -> usize {
    let taken: usize = columns.iter().map(|place| place.width + 1).sum();
    width.saturating_sub(taken + ARROW.chars().count())
}

/// Takes what names lack from the columns that matter least, as far as those of a rank above `rank`; whether that is enough.
fn shrink(columns: &mut Vec<Place>, width: usize, (client, server): (usize, usize), rank: u8) -> bool {
    let fits = |columns: &[Place]| room(columns, width) >= client + server;
    while !fits(columns) {
        let worst = columns.iter().map(|place| place.rank).max().filter(|worst| *worst > 0 && *worst >= rank);
        let Some(worst) = worst else { return false };
        let minute = columns.iter_mut().find(|place| place.title == LAST_MINUTE && place.width > LEAST_MINUTE);
        match minute.filter(|_| worst < LESS) {
            Some(minute) => minute.width -= 1,
            None => columns.retain(|place| place.rank != worst),
        }
    }
    true
}

/// Lines of what is wrong now.
pub(in crate::tui) fn banner_lines(app: &App) -> usize {
    banner(app, usize::from(app.size.0)).len()
}

/// The worst problems that continue, as many as there is room for.
fn banner(app: &App, width: usize) -> Vec<Pieces> {
    let most = if app.size.1 < 30 { 2 } else { 6 };
    let grave = app.shown.problems.iter().filter(|problem| problem.is_now && problem.is_grave());
    let number = grave.clone().count();
    let mut lines: Vec<Pieces> = Vec::new();
    for problem in grave {
        let more = problems::sentence(app, problem, width);
        if !lines.is_empty() && lines.len() + more.len() > most {
            break;
        }
        lines.extend(more);
    }
    if let (Some(first), true) = (lines.first_mut(), number > 1) {
        let note = format!("  (1 of {number}, 2 shows all)");
        if first.at + note.chars().count() <= width {
            first.push(note, dim());
        }
    }
    lines
}

pub(super) fn draw(canvas: &mut Canvas, app: &App, area: Rect) {
    let mut at = 0;
    for line in banner(app, usize::from(area.width)) {
        if let Some(area) = row(area, at) {
            line.draw(canvas, area);
            canvas.buttons.push((area, Act::View(crate::tui::views::View::Problems)));
        }
        at += 1;
    }
    let places = Places::of(app, usize::from(area.width));
    if let Some(area) = row(area, at) {
        titles(canvas, app, &places, area);
    }
    for (index, connection) in app.shown.connections.iter().enumerate() {
        let Some(area) = row(area, at + index + 1) else { break };
        line(app, connection, &places, app.selected_line() == Some(index)).draw(canvas, area);
        canvas.buttons.push((area, Act::Line(index)));
    }
    if app.shown.connections.is_empty()
        && let Some(area) = row(area, at + 2)
    {
        let mut pieces = Pieces::new();
        pieces.push(format!("  {}", nothing(app)), dim());
        pieces.draw(canvas, area);
    }
}

fn nothing(app: &App) -> String {
    match (app.shown.seen, app.shown.totals.agents) {
        (0, 0) => "Waiting for the agents...".into(),
        (0, _) => "Waiting for connections...".into(),
        _ if !app.active_filters().is_empty() => {
            format!("No connection passes the filters; {}", advice(&app.active_filters()))
        }
        _ => "No connection now. 8 shows the records of those that were".into(),
    }
}

fn titles(canvas: &mut Canvas, app: &App, places: &Places, area: Rect) {
    let mut pieces = Pieces::new();
    pieces.push(fit("Client", places.client + 3, false), reversed());
    pieces.push(fit("Server", places.server, false), reversed());
    for place in &places.columns {
        let arrow = if place.order == Some(app.order) && place.title != DOWN { "▼" } else { "" };
        let title = fit(&format!("{arrow}{}", place.title), place.width, place.right);
        pieces.push(" ", reversed());
        match place.order {
            Some(order) => pieces.button(canvas, area, title, reversed(), Act::Order(order)),
            None => pieces.push(title, reversed()),
        }
    }
    pieces.push(" ".repeat(usize::from(area.width).saturating_sub(pieces.at)), reversed());
    pieces.draw(canvas, area);
}

fn line(app: &App, connection: &ConnectionRow, places: &Places, selected: bool) -> Pieces {
    let base = match () {
        () if selected => reversed(),
        () if connection.fades => dim(),
        () => Style::new(),
    };
    let styled = |style: Style| if selected || connection.fades { base } else { style };
    let mut pieces = Pieces::new();
    pieces.push(fit_middle(name(&connection.client, places.short), places.client), base);
    pieces.push(ARROW, base);
    pieces.push(fit_middle(name(&connection.server, places.short), places.server), base);
    for place in &places.columns {
        pieces.push(" ", base);
        let text = if place.title == LAST_MINUTE {
            sparkline(&connection.history, place.width)
        } else {
            (place.text)(connection)
        };
        let style = match place.title {
            LAST_MINUTE => app.theme.accent(),
            "Drops" | "State" if connection.alarm => app.theme.alarm(),
            _ => base,
        };
        pieces.push(fit(&text, place.width, place.right), styled(style));
    }
    pieces
}
