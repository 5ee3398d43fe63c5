//! The other programs that this one is in an image that holds nothing else: what `oc cp`, `oc run` and the plugin start.
//!
//! The name is that of the file that was started (`/bin/tar`, a hard link), or the first word (`netobserv-collector tar ...`).

mod session;
mod sleep;
mod tar;
mod transfer;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Exit code for a wrong command line.
pub(crate) const USAGE: u8 = 2;

/// A program of the image: gets the words behind its name.
pub type Applet = fn(Vec<OsString>) -> ExitCode;

/// The program that `words` ask for, and its own words; `None` for the collector itself.
pub fn find(words: &[OsString]) -> Option<(Applet, Vec<OsString>)> {
    let named = |at: usize| words.get(at).and_then(by_name).map(|applet| (applet, words[at + 1..].to_vec()));
    named(0).or_else(|| named(1))
}

fn by_name(word: &OsString) -> Option<Applet> {
    match Path::new(word).file_name()?.to_str()? {
        "tar" => Some(tar::run),
        "sleep" => Some(sleep::run),
        "files" => Some(transfer::files),
        "fetch" => Some(transfer::fetch),
        "state" => Some(session::state),
        "renew" => Some(session::renew),
        "finish" => Some(session::finish),
        "keylog" => Some(session::keylog),
        "keeper" => Some(session::keeper),
        "why" => Some(crate::why::command::run),
        "policy" => Some(crate::why::policy::run),
        "summary" => Some(crate::after::command::summary),
        "query" => Some(crate::after::query::run),
        "replay" => Some(crate::after::replay::run),
        "diff" => Some(crate::after::command::diff),
        "report" => Some(crate::after::command::report),
        "export" => Some(crate::after::command::export),
        "merge" => Some(crate::after::command::merge),
        "redact" => Some(crate::after::command::redact),
        "mcp" => Some(crate::after::command::mcp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_words(line: &str) -> Option<Vec<OsString>> {
        find(&line.split(' ').map(Into::into).collect::<Vec<_>>()).map(|(_, words)| words)
    }

    #[test]
    fn the_file_or_the_first_word_names_the_program() {
        assert_eq!(own_words("/bin/tar cf - /output").unwrap(), ["cf", "-", "/output"]);
        assert_eq!(own_words("/netobserv-collector sleep 5").unwrap(), ["5"]);
        assert_eq!(own_words("/netobserv-collector get-flows tar"), None);
        assert_eq!(own_words("netobserv-collector"), None);
    }
}
