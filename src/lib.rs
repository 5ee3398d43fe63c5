//! The plugin: what `oc netobserv ...` does with its words.
//!
//! The way through it: [`cli`] reads the words, [`options`] makes a valid capture of them, [`session`] runs it in a cluster
//! or [`local`] on this machine, and `main` prints what went wrong. Nothing below `cli` knows how the words were typed, and
//! nothing but `process` starts a program.

pub mod background;
pub mod certificates;
pub mod cleanup;
pub mod cli;
pub mod completion;
pub mod copy;
mod digest;
mod error;
#[doc(hidden)]
pub mod fuzz_targets;
mod handover;
pub mod images;
pub mod local;
pub mod manifest;
pub mod mirror;
pub mod oc;
pub mod options;
pub mod output;
pub mod plan;
pub mod preflight;
pub mod process;
pub mod programs;
pub mod progress;
pub mod rollout;
pub mod session;
pub mod signal;
pub mod template;
mod terminal;
pub mod why;

use std::ffi::OsString;

pub use error::Error;

use cli::{Request, VersionArgs};
use options::{Capture, OptionError, Settings, Why};
use plan::Kind;
use progress::print;

/// Does what the words ask for; `words[0]` is the name of the program.
///
/// # Errors
///
/// What the user has to know, with the exit code of the program: see [`Error`].
pub fn run(words: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let done = act(words);
    // A reader that has gone away (`| head -1`) is no error.
    done.and(netobserv_stdio::finish().map_err(Error::Output))
}

fn act(words: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    let called_as = words.first().cloned().unwrap_or_default();
    match cli::read(words)? {
        Request::Help(text) => print(&text),
        Request::Version(words) => print(&version(&words)?),
        Request::Images(words) => {
            let wanted = options::images_to_list(&words)?;
            print(&mirror::list(&wanted.source, &wanted.used, wanted.format));
        }
        Request::Flows(flows) if options::is_local(&flows)? => on_this_machine(&Capture::flows(&flows)?)?,
        Request::Packets(packets) if options::is_local(&packets)? => on_this_machine(&Capture::packets(&packets)?)?,
        Request::Metrics(metrics) if options::is_local(&metrics)? => on_this_machine(&Capture::metrics(&metrics)?)?,
        Request::Flows(flows) => in_cluster(&Settings::new(&flows, Kind::Flows)?, &called_as)?,
        Request::Packets(packets) => in_cluster(&Settings::new(&packets, Kind::Packets)?, &called_as)?,
        Request::Metrics(metrics) => in_cluster(&Settings::new(&metrics, Kind::Metrics)?, &called_as)?,
        Request::Follow(words) => background::follow(&options::command(&words)?.0, &called_as)?,
        Request::Stop(words) => background::stop(&options::command(&words)?.0, &called_as)?,
        Request::Copy(words) => {
            let (access, output_dir) = options::command(&words)?;
            background::copy(&access, &output_dir, &called_as)?;
        }
        Request::Cleanup(words) => cleanup::cleanup(&options::command(&words)?.0, &called_as)?,
        Request::Why(words) => match options::why(&words)? {
            Why::Finished(reading) => local::read(&reading)?,
            Why::Live(live) => why::run(*live, &called_as)?,
        },
        Request::Policy(words) => local::read(&options::policy(&words)?)?,
        Request::Summary(words) => local::read(&options::after::summary(&words))?,
        Request::Query(words) => local::read(&options::after::query(&words))?,
        Request::Replay(words) => local::read(&options::after::replay(&words))?,
        Request::Diff(words) => local::read(&options::after::diff(&words))?,
        Request::Dashboard(words) => print(&options::dashboard(&words)?),
        Request::Report(words) => local::read(&options::after::report(&words))?,
        Request::Export(words) => local::read(&options::after::export(&words))?,
        Request::Merge(words) => local::read(&options::after::merge(&words))?,
        Request::Redact(words) => local::read(&options::after::redact(&words))?,
        Request::Mcp(words) => local::read(&options::after::mcp(&words))?,
        Request::Doctor(words) => {
            options::check_doctor(&words)?;
            local::doctor(words.verbose)?;
        }
    }
    Ok(())
}

fn on_this_machine(capture: &Capture) -> Result<(), Error> {
    match &capture.explain {
        Some(text) => print(text),
        None => local::run(capture)?,
    }
    Ok(())
}

fn in_cluster(settings: &Settings, called_as: &OsString) -> Result<(), Error> {
    match &settings.explain {
        Some(text) => print(text),
        None => session::run(settings, called_as)?,
    }
    Ok(())
}

/// The line that scripts read: fixed words, then the version of the package. On request, what a capture runs stands below.
fn version(words: &VersionArgs) -> Result<String, OptionError> {
    let line = format!("Netobserv CLI version {}\n", env!("CARGO_PKG_VERSION"));
    if !words.verbose {
        return Ok(line);
    }
    let images = options::sources(&words.sources)?;
    let digest = |image: &str| match mirror::digest(image) {
        Some(digest) if !image.contains('@') => format!(" ({digest})"),
        _ => String::new(),
    };
    let (collector, agent) = (&images.collector, &images.agent);
    Ok(format!("{line}collector: {collector}{}\nagent: {agent}{}\n", digest(collector), digest(agent)))
}
