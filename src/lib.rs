//! The plugin: what `oc netobserv ...` does with its words.
//!
//! The way through it: [`cli`] reads the words, [`options`] makes a valid capture of them, [`local`] runs it, and `main`
//! prints what went wrong. Nothing below `cli` knows how the words were typed, and nothing but `process` starts a program.

pub mod certificates;
pub mod cli;
mod error;
pub mod images;
pub mod local;
pub mod manifest;
pub mod options;
pub mod output;
pub mod plan;
pub mod process;
pub mod signal;
pub mod template;

use std::ffi::OsString;
use std::io::Write as _;

pub use error::Error;

use cli::Request;
use options::Capture;

/// Does what the words ask for; `words[0]` is the name of the program.
///
/// # Errors
///
/// What the user has to know, with the exit code of the program: see [`Error`].
pub fn run(words: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    match cli::read(words)? {
        Request::Help(text) => print(&text),
        Request::Version => print(&version()),
        Request::Flows(flows) => {
            let capture = Capture::try_from(flows.as_ref())?;
            local::run(&capture)?;
        }
        Request::Doctor(words) => {
            options::check_doctor(&words)?;
            local::doctor(words.verbose)?;
        }
    }
    Ok(())
}

/// The line that scripts read: fixed words, then the version of the package.
fn version() -> String {
    format!("Netobserv CLI version {}\n", env!("CARGO_PKG_VERSION"))
}

/// Writes to standard output. A reader that has gone away (`| head -1`) is not an error of ours.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
