//! `tar` as `oc cp`, `kubectl cp` and `oc rsync --strategy=tar` call it: an archive on standard output, or one from
//! standard input. The words of messages are those of GNU tar, which people and scripts know.

mod create;
mod extract;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use words::{Action, Words};

/// Exit code of GNU tar when a file changed under its hands.
const CHANGED: u8 = 1;
/// Exit code of GNU tar for an error.
const FATAL: u8 = 2;

/// How an action went: what was reported on the way does not stop it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    changed: bool,
    failed: bool,
}

impl Outcome {
    fn fail(&mut self, message: &str) {
        tell(message);
        self.failed = true;
    }

    fn change(&mut self, message: &str) {
        tell(message);
        self.changed = true;
    }
}

pub(super) fn run(words: Vec<OsString>) -> ExitCode {
    let words = match Words::read(words) {
        Ok(words) => words,
        Err(message) => {
            tell(&message);
            return FATAL.into();
        }
    };
    match act(&words) {
        Ok(Outcome { failed: true, .. }) => {
            tell("Exiting with failure status due to previous errors");
            FATAL.into()
        }
        Ok(Outcome { changed: true, .. }) => CHANGED.into(),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error.to_string());
            FATAL.into()
        }
    }
}

fn act(words: &Words) -> io::Result<Outcome> {
    match words.action {
        Action::Create => create::create(words, io::stdout().lock()),
        Action::Extract => extract::extract(words, io::stdin().lock()),
        Action::List => extract::list(io::stdin().lock(), io::stdout().lock()),
    }
}

/// One line on standard error. A missing reader is no reason to end.
fn tell(message: &str) {
    let _ = writeln!(io::stderr(), "tar: {message}");
}
