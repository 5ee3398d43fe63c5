//! What the terminal can show: colours or not, Unicode or ASCII. Colours are the terminal's own sixteen on its own background, so
//! that light and dark ones work alike.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// The abilities of a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) colours: bool,
    pub(super) unicode: bool,
}

/// Whether colours are wanted (<https://no-color.org>).
pub fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Theme {
    /// As the environment says. A container without any locale is taken for UTF-8: every terminal in front of one is.
    pub(super) fn of_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let dumb = set("TERM").is_some_and(|term| term == "linux" || term == "dumb");
        Self { colours: colours(), unicode: !dumb && locale.is_none_or(|locale| is_utf8(&locale)) }
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

    /// Puts ASCII in the place of everything else, where the terminal has no more.
    pub(super) fn fit(self, buffer: &mut Buffer) {
        if self.unicode {
            return;
        }
        for cell in &mut buffer.content {
            if !cell.symbol().is_ascii() {
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

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
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
        let text: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
        assert_eq!(text.trim_end(), "a|# *~u>?");
    }

    #[test]
    fn locales_are_told_apart() {
        for (locale, utf8) in [("C", false), ("POSIX", false), ("C.UTF-8", true), ("de_DE.utf8", true)] {
            assert_eq!(is_utf8(locale), utf8, "{locale}");
        }
    }
}
