//! One picture of the state, and nothing else:
//!
//! ```text
//! Packet capture 00:01:02 ██░░░░ 3m58s left   1.23MB █░░░░ 48.8MB left   97 packets/s   3 of 3 nodes       header
//! Lost: nothing                                                                                           header
//! Conversations › nodejs:48752 → postgresql-0:5432 TCP › packet 17                                        where one is
//! 120 conversations  ▶ live  Sort: Bytes ▼                                                                choices
//! Client → server                      Proto     Packets ...                                              table
//! ...
//! Filter: nod▏  [tcp ×]                                                                                   footer
//! Up/Down select  Enter packets  Space pause  ...                                                         footer
//! ```

mod packet;
mod packets;
mod stream;
mod talks;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use super::app::{App, Level};
use super::columns;
use crate::human;
use crate::summary::attaching;
use crate::tui::draw::footer::{Filters, Keys};
use crate::tui::draw::header::Head;
use crate::tui::draw::{Canvas, Pieces, fit, footer, header, help, row};
use crate::tui::filter::Filter;
use crate::tui::mouse::{Act, Buttons};
use crate::tui::stage::At;
use crate::tui::theme::{bold, dim};

/// Lines of what is scrolled.
pub(super) fn lines(app: &App) -> usize {
    if matches!(app.level, Level::Stream(..)) { app.shown.stream.len() } else { packet::lines(app) }
}

/// All keys.
pub(in crate::tui) const KEYS: &[(&str, &str)] = &[
    ("Up Down, PgUp PgDn", "select: the list holds still, nothing is lost"),
    ("Enter, Right", "a conversation's packets; a packet's layers and bytes"),
    ("Esc, Left", "back (in a packet Left, Right: the one before, next)"),
    ("Ctrl-T", "what both ends sent, as text"),
    ("Space", "pause and resume"),
    ("< >, click on a title", "sort by another column; Ctrl-R the other way round"),
    ("Tab", "addresses instead of names"),
    ("", ""),
    ("any text", "filter by what is shown, at once; no case"),
    ("field:value", "such as port:443, ns:shop, if:eth0, cause:netfilter"),
    ("!text   /text/", "not this; a regular expression"),
    ("Enter, Backspace", "keep the filter and begin another; remove the last"),
    ("Ctrl-U, Delete", "clear what is typed; remove all filters"),
    ("", ""),
    ("Ctrl-C, Ctrl-Q", "end the capture; the file is kept"),
    ("Ctrl-Z, Ctrl-L", "suspend; redraw. Times are UTC"),
];

/// Draws `app` on the whole frame.
pub(super) fn draw(frame: &mut Frame, app: &App) -> Buttons {
    let area = frame.area();
    let line = Constraint::Length(1);
    let [counts, losses, place, choices, body, filters, keys] =
        Layout::vertical([line, line, line, line, Constraint::Min(1), line, line]).areas(area);
    let mut canvas = Canvas::new(frame);
    let head = head(app);
    header::counts(&mut canvas, &head, counts);
    header::losses(&mut canvas, &head, losses);
    where_one_is(&mut canvas, app, place);
    choose(&mut canvas, app, choices);
    match &app.level {
        Level::Talks => talks::draw(&mut canvas, app, body),
        Level::Packets(_) => packets::draw(&mut canvas, app, body),
        Level::Packet(_, kept, offset) => packet::draw(&mut canvas, app, (kept, *offset), body),
        Level::Stream(_, offset) => stream::draw(&mut canvas, app, *offset, body),
    }
    let filter = (!app.input.is_empty()).then(|| Filter::parse(&app.input));
    let typed =
        Filters { input: &app.input, typed: filter, filters: app.kept_filters(), kernel: None, theme: app.theme };
    footer::filters(&mut canvas, &typed, filters);
    let (log, files) = (app.shown.log.as_deref(), app.facts.files.as_str());
    let line = Keys { keys: keys_of(app), notice: None, log, files, theme: app.theme };
    footer::keys(&mut canvas, &line, keys);
    if app.help {
        help::draw(&mut canvas, KEYS, &app.facts.files, area);
    }
    canvas.finish(app.theme)
}

fn head(app: &App) -> Head<'_> {
    let shown = &app.shown;
    Head {
        stage: &At::Capturing,
        more: None,
        title: "Packet capture",
        facts: &app.facts,
        theme: app.theme,
        elapsed: shown.elapsed,
        bytes: shown.file_bytes,
        rate: (shown.rate, "packets/s"),
        nodes: shown.totals.agents,
        attaching: attaching(&shown.totals),
        lost: shown.lost.clone(),
        refused: 0,
        silent: &shown.silent,
        selected: &shown.selected,
        kernel: None,
    }
}

/// The way down to what is shown; a click goes back up.
fn where_one_is(canvas: &mut Canvas, app: &App, area: Rect) {
    let mut pieces = Pieces::new();
    if matches!(app.level, Level::Talks) {
        pieces.push("Conversations", bold());
        return pieces.draw(canvas, area);
    }
    pieces.button(canvas, area, "‹ Conversations", dim(), Act::Close);
    if let Some(talk) = &app.shown.open {
        let ends = format!("{} {}", columns::ends(talk, app.addresses), columns::protocol(talk));
        let room = usize::from(area.width).saturating_sub(pieces.at + 20);
        pieces.plain(" › ");
        pieces.push(fit(&ends, room.min(ends.chars().count()), false), bold());
    }
    if let Level::Packet(_, kept, _) = &app.level {
        pieces.plain(" › ");
        pieces.push(format!("packet {}", kept.number), bold());
    }
    if matches!(app.level, Level::Stream(..)) {
        pieces.plain(" › ");
        pieces.push("text", bold());
    }
    pieces.draw(canvas, area);
}

/// How many there are, whether they move, and in which order they stand.
fn choose(canvas: &mut Canvas, app: &App, area: Rect) {
    let mut pieces = Pieces::new();
    let (len, kept) = (app.list().len as u64, app.shown.kept as u64);
    let of = if len == kept { human::count(kept) } else { format!("{} of {}", human::count(len), human::count(kept)) };
    match &app.level {
        Level::Talks => pieces.plain(format!("{of} conversations  ")),
        Level::Stream(..) => pieces.plain(format!("{} lines  ", human::count(app.shown.stream.len() as u64))),
        _ => {
            let all = app.shown.open.as_ref().map_or(0, |talk| talk.flow.packets);
            pieces.plain(format!("{of} packets of {} captured  ", human::count(all)));
        }
    }
    if app.paused.is_some() {
        let text = format!("PAUSED, {} new packets", human::count(app.shown.news));
        pieces.button(canvas, area, text, app.theme.second().patch(bold()), Act::Pause);
    } else {
        pieces.button(canvas, area, "▶ live", app.theme.good(), Act::Pause);
    }
    if matches!(app.level, Level::Talks) {
        let arrow = if app.sort.descending { "▼" } else { "▲" };
        pieces.push(format!("  Sort: {} {arrow}", app.sort.column.title()), app.theme.accent());
    }
    if app.shown.missed > 0 {
        let seen = 100.0 * app.shown.seen as f64 / (app.shown.seen + app.shown.missed) as f64;
        pieces.push(format!("  the screen shows {seen:.1}% of the packets"), app.theme.alarm());
    }
    if app.shown.let_go > 0 {
        pieces.push(format!("  {} silent ones forgotten", human::count(app.shown.let_go)), dim());
    }
    pieces.draw(canvas, area);
}

fn keys_of(app: &App) -> &'static [(&'static str, &'static str)] {
    match app.level {
        Level::Talks if app.list().cursor.is_some() => {
            &[("Up/Down", "select"), ("Enter", "packets"), ("Esc", "live"), ("< >", "sort"), ("Ctrl-C", "end")]
        }
        Level::Talks => &[
            ("Up/Down", "select"),
            ("Enter", "packets"),
            ("< >", "sort"),
            ("Space", "pause"),
            ("Tab", "addresses"),
            ("Ctrl-C", "end"),
        ],
        Level::Packets(_) => {
            &[("Up/Down", "select"), ("Enter", "layers"), ("Ctrl-T", "text"), ("Esc", "back"), ("Ctrl-C", "end")]
        }
        Level::Stream(..) => &[("Up/Down", "scroll"), ("Esc", "back"), ("Ctrl-C", "end")],
        Level::Packet(..) => &[("Up/Down", "scroll"), ("Left/Right", "packet"), ("Esc", "back"), ("Ctrl-C", "end")],
    }
}

/// A line in the place of a list that is empty.
fn nothing(canvas: &mut Canvas, app: &App, area: Rect, what: &str) {
    let why = match (app.shown.kept, app.shown.totals.agents) {
        (0, 0) => "Waiting for the agents...".to_owned(),
        (0, _) => format!("Waiting for {what}..."),
        _ => format!("None of the {what} passes the filters; Backspace removes one"),
    };
    if let Some(area) = row(area, 2) {
        let mut pieces = Pieces::new();
        pieces.push(format!("  {why}"), dim());
        pieces.draw(canvas, area);
    }
}
