//! Text that others wrote and a person reads on a terminal: names, labels, error messages of other programs. Nothing in it may steer the
//! terminal, or show something else than it holds.

use std::borrow::Cow;

/// What replaces a character that may not be printed.
const REPLACED: char = '?';

/// Text for one line, in which every character is visible or a space. One that is not becomes a question mark, a tab a space.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    clean(text, |_| false)
}

/// As [`line()`], for text of several lines: their ends stay.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    clean(text, |c| c == '\n')
}

/// Whether a character may not be printed.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

fn clean(text: &str, stays: fn(char) -> bool) -> Cow<'_, str> {
    let wrong = |c: char| is_hidden(c) && !stays(c);
    if !text.contains(wrong) {
        return Cow::Borrowed(text);
    }
    let replaced = |c| match c {
        '\t' => ' ',
        c if wrong(c) => REPLACED,
        c => c,
    };
    Cow::Owned(text.chars().map(replaced).collect())
}

/// Characters that take no place, or change the order of those around them: of Unicode's `Default_Ignorable_Code_Point`, and the two
/// separators that some terminals take for the end of a line.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_becomes_visible() {
        for (text, shown) in [
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "?[2J?]0;title?"),
            ("a\u{9b}2Jb\u{7f}\u{85}", "a?2Jb??"),
            ("abc\rxyz\u{8}\n", "abc?xyz??"),
            ("one\ttwo", "one two"),
            ("a\u{202e}gpj.exe\u{202c}", "a?gpj.exe?"),
            ("a\u{2066}b\u{2069}c\u{61c}d\u{200f}", "a?b?c?d?"),
            ("pay\u{200b}pal\u{feff}\u{2060}\u{ad}\u{3164}", "pay?pal????"),
            ("tag\u{e0041}\u{e007f}", "tag??"),
            ("first\u{2028}second\u{2029}", "first?second?"),
        ] {
            assert_eq!(line(text), shown, "{text:?}");
            assert!(!line(text).contains(is_hidden));
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in ["", "pod-1 (10.0.0.1)", "Größe → 5µs", "日本語", "\u{1f980}", "e\u{301}"] {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn several_lines_stay_several() {
        assert_eq!(lines("a\r\n\u{1b}[1mb\n"), "a?\n?[1mb\n");
    }
}
