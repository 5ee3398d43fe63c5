//! What the user's terminal is: the collector draws on it from a pod, which has none of the user's variables.

/// The collector's options for it.
pub(super) fn words() -> Vec<String> {
    words_of(|name| std::env::var(name).ok())
}

fn words_of(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let mut words: Vec<String> = set("NO_COLOR").map(|_| "--no-color".to_owned()).into_iter().collect();
    // Empty means "dumb".
    let term = variable("TERM").map(|term| if term.is_empty() { "dumb".to_owned() } else { term });
    let term = term.filter(|value| is_name(value));
    words.extend(term.map(|term| format!("--term={term}")));
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).filter(|value| is_name(value));
    words.extend(locale.map(|locale| format!("--locale={locale}")));
    words
}

/// Names of terminals and locales look so; anything else would only confuse a reader of the call.
fn is_name(value: &str) -> bool {
    value.len() <= 64 && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_options() {
        for (variables, words) in [
            (&[][..], &[][..]),
            (
                &[("TERM", "xterm-256color"), ("LANG", "de_DE.UTF-8")],
                &["--term=xterm-256color", "--locale=de_DE.UTF-8"],
            ),
            (&[("NO_COLOR", "1"), ("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], &["--no-color", "--locale=C"]),
            (&[("NO_COLOR", ""), ("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8")], &["--locale=C.UTF-8"]),
            (&[("TERM", "$(rm -rf)"), ("LANG", "a b")], &[]),
            (&[("TERM", "")], &["--term=dumb"]),
        ] {
            let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(words_of(find), words, "{variables:?}");
        }
    }
}
