//! What the terminal in front of the user can show.

/// The user's terminal, by its own variables. A pod has none of them, so they are on its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// No colors are wanted (<https://no-color.org>).
    pub no_color: bool,
    /// Its name, as in TERM.
    pub term: Option<String>,
    /// The locale, which names the character set, as in LC_ALL.
    pub locale: Option<String>,
}

impl Look {
    /// What is not on the command line is taken from the environment.
    #[must_use]
    pub fn or_environment(self) -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            no_color: self.no_color || set("NO_COLOR").is_some(),
            // Empty is an answer: a terminal that understands nothing.
            term: self.term.or_else(|| std::env::var("TERM").ok()),
            locale: self.locale.or_else(|| set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"))),
        }
    }

    /// Whether it shows colors, and the user wants them.
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
    pub(crate) fn unicode(&self) -> bool {
        let plain = |term: &str| term == "linux" || is_dumb(term) || term.starts_with("vt");
        !self.term.as_deref().is_some_and(plain) && self.locale.as_deref().is_none_or(is_utf8)
    }
}

fn is_dumb(term: &str) -> bool {
    term.is_empty() || term == "dumb"
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

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
