//! What the terminal can show: colors or not, Unicode or ASCII. Colors are the terminal's own sixteen on its own background, so
//! that light and dark ones work alike.

use netobserv_contract::plain;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

use crate::cli::Look;

/// The abilities of a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) colours: bool,
    pub(super) unicode: bool,
}

impl Theme {
    pub(super) fn of(look: &Look) -> Self {
        Self { colours: look.colours(), unicode: look.unicode() }
    }

    pub(super) fn alarm(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn accent(self) -> Style {
        self.coloured(Color::Cyan)
    }

    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    pub(super) fn second(self) -> Style {
        self.coloured(Color::Magenta)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// Puts ASCII in the place of everything else, where the terminal has no more; and a blank in the place of what must not reach any
    /// terminal. Characters without a width are in the cell of the one before them.
    pub(super) fn fit(self, buffer: &mut Buffer) {
        for cell in &mut buffer.content {
            if cell.symbol().contains(plain::is_hidden) {
                let visible = cell.symbol().chars().find(|c| !plain::is_hidden(*c)).unwrap_or(' ');
                cell.set_char(visible);
            }
            if !self.unicode && !cell.symbol().is_ascii() {
                let plain = cell.symbol().chars().next().map_or(' ', ascii);
                cell.set_char(plain);
            }
        }
    }
}

pub(super) fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

pub(super) fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

pub(super) fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

/// The nearest ASCII character.
fn ascii(symbol: char) -> char {
    match symbol {
        '█' | '▇' | '▆' | '▅' => '#',
        '▄' | '▃' => '=',
        '▂' | '▁' => '_',
        '░' | '·' => '.',
        '─' | '━' => '-',
        '│' => '|',
        '┌' | '┐' | '└' | '┘' | '╭' | '╮' | '╰' | '╯' | '├' | '┤' | '┬' | '┴' | '┼' => '+',
        '…' => '~',
        '▲' | '↑' => '^',
        '▼' | '↓' => 'v',
        '→' | '▶' | '›' => '>',
        '←' | '‹' => '<',
        '×' => 'x',
        'µ' => 'u',
        '\u{2800}' => ' ',
        '\u{2801}'..='\u{28ff}' => '*',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;

    #[test]
    fn only_ascii_is_left_where_nothing_else_can_be_shown() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 1));
        buffer.set_string(0, 0, "a│█⠀⣿…µ→漢", Style::new());
        Theme { colours: false, unicode: true }.fit(&mut buffer);
        assert_eq!(buffer[(1, 0)].symbol(), "│");
        Theme { colours: false, unicode: false }.fit(&mut buffer);
        let text: String = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
        assert_eq!(text.trim_end(), "a|# *~u>?");
    }
}
