//! What the terminal can show: colours or not, Unicode or ASCII. Colours are the terminal's own sixteen on its own background, so
//! that light and dark ones work alike.

use netobserv_contract::plain;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// The abilities of a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) colours: bool,
    pub(super) unicode: bool,
}

/// What the user's terminal is said to be. A pod has none of the user's variables, so it is told on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// No colours are wanted (<https://no-color.org>).
    pub no_color: bool,
    /// Its name, as in TERM.
    pub term: Option<String>,
    /// The locale, which names the character set, as in LC_ALL.
    pub locale: Option<String>,
}

impl Look {
    /// What is not said on the command line is taken from the environment.
    pub fn or_environment(self) -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            no_color: self.no_color || set("NO_COLOR").is_some(),
            // Empty is an answer: a terminal that understands nothing.
            term: self.term.or_else(|| std::env::var("TERM").ok()),
            locale: self.locale.or_else(|| set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"))),
        }
    }

    /// Whether it shows colours, and the user wants them.
    pub fn colours(&self) -> bool {
        let colourless =
            |term: &str| is_dumb(term) || term.starts_with("vt") || term.ends_with("-mono") || term.ends_with("-m");
        !self.no_color && !self.term.as_deref().is_some_and(colourless)
    }

    /// Whether it can be drawn on: a dumb terminal, as that of an editor, prints escape sequences as text.
    pub fn has_screen(&self) -> bool {
        !self.term.as_deref().is_some_and(is_dumb)
    }

    /// Whether it shows more than ASCII. Without any locale it is taken for UTF-8: every terminal in front of a container is.
    fn unicode(&self) -> bool {
        let plain = |term: &str| term == "linux" || is_dumb(term) || term.starts_with("vt");
        !self.term.as_deref().is_some_and(plain) && self.locale.as_deref().is_none_or(is_utf8)
    }
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

fn is_dumb(term: &str) -> bool {
    term.is_empty() || term == "dumb"
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
    fn terminals_are_told_apart() {
        for (no_color, term, locale, colours, unicode) in [
            (false, "xterm-256color", "de_DE.UTF-8", true, true),
            (true, "xterm-256color", "en_US.utf8", false, true),
            (false, "screen", "C", true, false),
            (false, "linux", "C.UTF-8", true, false),
            (false, "vt220", "C.UTF-8", false, false),
            (false, "dumb", "C.UTF-8", false, false),
            (false, "xterm-mono", "C.UTF-8", false, true),
        ] {
            let look = Look { no_color, term: Some(term.into()), locale: Some(locale.into()) };
            assert_eq!((look.colours(), look.unicode()), (colours, unicode), "{look:?}");
        }
        assert!(Look::default().unicode() && Look::default().colours() && Look::default().has_screen());
        for (term, has_screen) in [("dumb", false), ("", false), ("xterm", true), ("linux", true), ("vt100", true)] {
            let look = Look { term: Some(term.into()), ..Look::default() };
            assert_eq!(look.has_screen(), has_screen, "{term:?}");
        }
    }

    #[test]
    fn locales_are_told_apart() {
        for (locale, utf8) in [("C", false), ("POSIX", false), ("C.UTF-8", true), ("de_DE.utf8", true)] {
            assert_eq!(is_utf8(locale), utf8, "{locale}");
        }
    }
}
