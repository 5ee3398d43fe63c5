//! The words of a command line, as a function of bytes, with what must be so whatever they are. `fuzz/` feeds it with inputs that
//! are invented, a test with those that are kept in `fuzz/corpus`.

use std::ffi::OsString;

use crate::cli::{self, Request};
use crate::options::{self, Capture, Settings};
use crate::plan::Kind;

/// A function that reads bytes of others, by its name.
pub type Target = (&'static str, fn(&[u8]));

/// The place by its name: that of a folder in `fuzz/corpus`.
pub const ALL: [Target; 1] = [("options", |bytes| {
    settings(bytes);
})];

/// The environment of the agents that a command line asks for, if it is one of a capture; its words stand on lines.
pub fn settings(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let words = bytes.split(|byte| *byte == b'\n').map(word);
    let words: Vec<OsString> = std::iter::once(OsString::from("oc-netobserv")).chain(words).collect();
    if !words.get(1).is_some_and(|word| word == "flows" || word == "packets") {
        return None;
    }
    let (args, kind) = match cli::read(words) {
        Ok(Request::Flows(args)) => (args, Kind::Flows),
        Ok(Request::Packets(args)) => (args, Kind::Packets),
        Ok(Request::Metrics(args)) => (args, Kind::Metrics),
        Ok(_) => return None,
        Err(error) => return displayed(&error),
    };
    match options::is_local(&args) {
        Ok(true) => {
            let capture = if kind == Kind::Flows { Capture::flows(&args) } else { Capture::packets(&args) };
            capture.map_or_else(|error| displayed(&error), |capture| capture.rules.json.map(|rules| vec![rule(rules)]))
        }
        Ok(false) => {
            Settings::new(&args, kind).map_or_else(|error| displayed(&error), |settings| Some(settings.agent_env))
        }
        Err(error) => displayed(&error),
    }
}

#[cfg(unix)]
fn word(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn word(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn rule(rules: String) -> (String, String) {
    ("FLOW_FILTER_RULES".to_owned(), rules)
}

/// A refusal has a message.
fn displayed<T>(error: &dyn std::fmt::Display) -> Option<T> {
    let text = error.to_string();
    assert!(!text.is_empty());
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn inputs_that_are_kept_make_nothing_fall_over() {
        netobserv_testkit::corpus::feed(&super::ALL);
    }
}
