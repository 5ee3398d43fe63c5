//! A command line of oc, taken apart.

use std::collections::HashMap;

/// Options that stand alone.
const SWITCHES: [&str; 13] = [
    "i",
    "t",
    "stdin",
    "tty",
    "command",
    "no-headers",
    "list",
    "previous",
    "quiet",
    "force",
    "watch",
    "A",
    "all-namespaces",
];

/// Verb, other words, options, and what stands behind `--`.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) verb: String,
    pub(crate) plain: Vec<String>,
    options: HashMap<String, String>,
    pub(crate) rest: Vec<String>,
}

impl Words {
    pub(crate) fn read(args: impl Iterator<Item = String>) -> Self {
        let mut words = Self::default();
        let mut args = args;
        while let Some(word) = args.next() {
            if word == "--" {
                words.rest.extend(args);
                break;
            }
            match word.strip_prefix('-').filter(|name| !name.is_empty()) {
                None if words.verb.is_empty() => words.verb = word,
                None => words.plain.push(word),
                Some(name) => words.option(name.trim_start_matches('-'), &mut args),
            }
        }
        words
    }

    fn option(&mut self, name: &str, args: &mut impl Iterator<Item = String>) {
        // `-f` of logs follows; elsewhere it names a file.
        let alone = SWITCHES.contains(&name) || (name == "f" && self.verb == "logs") || name.starts_with("ignore");
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None if name == "it" => ("t", "true".to_owned()),
            None if alone => (name, "true".to_owned()),
            None => (name, args.next().unwrap_or_default()),
        };
        self.options.insert(name.to_owned(), value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "false")
    }

    pub(crate) fn namespace(&self) -> &str {
        self.get("n").or(self.get("namespace")).unwrap_or("default")
    }

    /// Seconds of `--timeout`.
    pub(crate) fn timeout(&self) -> u64 {
        self.get("timeout").and_then(|text| text.trim_end_matches('s').parse().ok()).unwrap_or(30)
    }
}
