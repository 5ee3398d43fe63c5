//! One picture of the state, and nothing else:
//!
//! ```text
//! Flow capture 00:01:02 ██░░░░░░ 3m58s left   1.23MB █░░░░░░░ 48.8MB left   97 flows/s   3 of 3 nodes     header
//! Lost: nothing                                                                                           header
//!  1 Standard  2 Packet drops  3 DNS ...                                                                  choices
//! Enrichment: ‹ Resource ›  Rows: - 30 +  ...                                                             choices
//! End Time     Src Name              Dst Name              ...                                            table, top, ...
//! ...
//! Filter: nod▏  [tcp ×]                                                                                   footer
//! Up/Down select  Enter detail  Space pause  ...                                                          footer
//! ```

mod bars;
mod choices;
mod connections;
mod detail;
pub(in crate::tui) mod footer;
mod graph;
pub(in crate::tui) mod header;
pub(in crate::tui) mod help;
mod layout;
mod problems;
mod table;
mod top;

pub(in crate::tui) use connections::{banner_lines, telling};
pub(in crate::tui) use problems::{explanation_lines, lines};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Clear;

use super::app::{App, Over};
use super::mouse::{Act, Buttons};
use super::theme::Theme;
use super::views::View;
pub(in crate::tui) use unicode::{fit, fit_middle, pair};

/// Where things are drawn, and the buttons that were drawn.
pub(in crate::tui) struct Canvas<'a, 'b> {
    frame: &'a mut Frame<'b>,
    pub(super) buttons: Buttons,
}

/// Draws `app` on the whole frame.
pub(super) fn draw(frame: &mut Frame, app: &App) -> Buttons {
    let area = frame.area();
    let line = Constraint::Length(1);
    let [counts, losses, views, choices, body, filters, keys] =
        Layout::vertical([line, line, line, line, Constraint::Min(1), line, line]).areas(area);
    let mut canvas = Canvas::new(frame);
    let head = header::Head::of(app);
    header::counts(&mut canvas, &head, counts);
    header::losses(&mut canvas, &head, losses);
    choices::views(&mut canvas, app, views);
    choices::choices(&mut canvas, app, choices);
    match app.view {
        _ if app.over == Over::Detail && app.shown.detail.is_some() => detail::draw(&mut canvas, app, body),
        View::Connections => connections::draw(&mut canvas, app, body),
        View::Top => top::draw(&mut canvas, app, body),
        View::Problems => problems::draw(&mut canvas, app, body),
        View::Graph => graph::draw(&mut canvas, app, body),
        _ => table::draw(&mut canvas, app, body),
    }
    footer::filters(&mut canvas, &footer::Filters::of(app), filters);
    footer::keys(&mut canvas, &footer::Keys::of(app), keys);
    if app.over == Over::Help {
        help::draw(&mut canvas, help::KEYS, &app.facts.files, area);
    }
    canvas.finish(app.theme)
}

impl<'a, 'b> Canvas<'a, 'b> {
    pub(in crate::tui) fn new(frame: &'a mut Frame<'b>) -> Self {
        Self { frame, buttons: Vec::new() }
    }

    /// Fits the picture to the terminal.
    pub(in crate::tui) fn finish(self, theme: Theme) -> Buttons {
        theme.fit(self.frame.buffer_mut());
        self.buttons
    }

    /// Takes away what was drawn here.
    pub(in crate::tui) fn empty(&mut self, area: Rect) {
        self.frame.render_widget(Clear, area);
    }

    fn line(&mut self, line: Line<'_>, area: Rect) {
        self.frame.render_widget(line, area);
    }

    /// A button from character `at` of a line on.
    fn button(&mut self, area: Rect, at: usize, width: usize, act: Act) {
        let x = area.x.saturating_add(u16::try_from(at).unwrap_or(u16::MAX));
        if x < area.right() {
            let width = u16::try_from(width).unwrap_or(u16::MAX).min(area.right() - x);
            self.buttons.push((Rect { x, width, ..area }, act));
        }
    }
}

/// Line `index` of an area, if there is one.
pub(in crate::tui) fn row(area: Rect, index: usize) -> Option<Rect> {
    let index = u16::try_from(index).ok().filter(|index| *index < area.height)?;
    Some(Rect { y: area.y + index, height: 1, ..area })
}

/// A time in three characters.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3_600),
    }
}

/// The unit of one: `packet` of `packets`.
fn one(unit: &'static str) -> &'static str {
    match unit {
        "tries" => "try",
        "queries" => "query",
        unit => unit.strip_suffix('s').unwrap_or(unit),
    }
}

/// Pieces of a line that are buttons or not, put side by side.
pub(in crate::tui) struct Pieces {
    spans: Vec<ratatui::text::Span<'static>>,
    pub(in crate::tui) at: usize,
}

impl Pieces {
    pub(in crate::tui) fn new() -> Self {
        Self { spans: Vec::new(), at: 0 }
    }

    pub(in crate::tui) fn push(&mut self, text: impl Into<String>, style: ratatui::style::Style) {
        let text = text.into();
        self.at += text.chars().count();
        self.spans.push(ratatui::text::Span::styled(text, style));
    }

    pub(in crate::tui) fn plain(&mut self, text: impl Into<String>) {
        self.push(text, ratatui::style::Style::new());
    }

    pub(in crate::tui) fn button(
        &mut self,
        canvas: &mut Canvas,
        area: Rect,
        text: impl Into<String>,
        style: ratatui::style::Style,
        act: Act,
    ) {
        let (text, at) = (text.into(), self.at);
        canvas.button(area, at, text.chars().count(), act);
        self.push(text, style);
    }

    pub(in crate::tui) fn draw(self, canvas: &mut Canvas, area: Rect) {
        canvas.line(Line::from(self.spans), area);
    }
}

/// Text in a room of characters.
mod unicode {
    /// `text` in exactly `width` characters, cut with an ellipsis, or filled up.
    pub(in crate::tui) fn fit(text: &str, width: usize, right: bool) -> String {
        let length = text.chars().count();
        if length > width {
            return text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some('…')).collect();
        }
        let fill = " ".repeat(width - length);
        if right { format!("{fill}{text}") } else { format!("{text}{fill}") }
    }

    /// The same, cut in the middle: names differ at both ends.
    pub(in crate::tui) fn fit_middle(text: &str, width: usize) -> String {
        let length = text.chars().count();
        if length <= width || width < 3 {
            return fit(text, width, false);
        }
        let (head, tail) = (width / 2, width - width / 2 - 1);
        text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).collect()
    }

    /// Two ends with an arrow between them, and what follows: where there is no room for all, each end is cut in its
    /// middle, the longer one first.
    pub(in crate::tui) fn pair(text: &str, width: usize) -> String {
        const ARROW: &str = " → ";
        let Some((left, right)) = text.split_once(ARROW).filter(|_| text.chars().count() > width) else {
            return fit(text, width, false);
        };
        // The second end goes to its first blank.
        let (right, rest) = right.split_at(right.find(' ').unwrap_or(right.len()));
        let room = width.saturating_sub(ARROW.chars().count() + rest.chars().count());
        let (a, b) = (left.chars().count(), right.chars().count());
        let a_room = a.min((room / 2).max(room.saturating_sub(b)));
        let (left, right) = (fit_middle(left, a_room), fit_middle(right, b.min(room - a_room)));
        fit(&format!("{left}{ARROW}{right}{rest}"), width, false)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_are_cut_in_the_middle() {
            assert_eq!(fit_middle("nodejs-7c9f6d5b8-x2x4p", 12), "nodejs…x2x4p");
            assert_eq!((fit_middle("short", 7), fit_middle("long", 2)), ("short  ".into(), "l…".into()));
        }

        #[test]
        fn both_ends_of_a_pair_stay() {
            let text = "shop/web-7c9f6d5b8-x2x4p → shop/db-0:5432 TCP";
            assert_eq!(pair(text, 50), format!("{text:<50}"));
            assert_eq!(pair(text, 40), "shop/web-…5b8-x2x4p → shop/db-0:5432 TCP");
            assert_eq!(pair("no ends at all, but long", 10), "no ends a…");
        }
    }
}
