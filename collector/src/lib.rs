//! `netobserv-collector`: receives flows from agents, shows them and writes them to files.

pub mod absence;
pub mod after;
mod ahead;
pub mod begin;
pub mod capture;
pub mod cli;
pub mod control;
pub mod counts;
pub mod enrich;
pub mod facts;
pub mod feed;
pub mod fetch;
pub mod files;
#[doc(hidden)]
pub mod foreign;
pub mod human;
pub mod ingest;
pub mod keeper;
pub mod killed;
pub mod lines;
pub mod log;
pub mod metrics;
pub mod multicall;
mod nodes;
pub mod once;
pub mod output;
pub mod own;
pub mod packets;
pub mod parent;
pub mod pipeline;
pub mod query;
pub mod record;
mod resume;
pub mod room;
pub mod rows;
pub mod select;
pub mod signals;
pub mod sink;
pub mod summary;
pub mod tui;
pub mod versions;
pub mod view;
pub mod why;

use std::process::ExitCode;

use anyhow::Context as _;
use cli::NoCapture;
use netobserv_contract::plain;

/// The whole program: words of the command line to exit code. Errors are printed here and nowhere else.
pub fn run(words: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let words: Vec<_> = words.into_iter().collect();
    if let Some((applet, words)) = multicall::find(&words) {
        return applet(words);
    }
    let options = match cli::parse(words) {
        Ok(options) => options,
        Err(NoCapture::Asked(text)) => {
            summary::say(text.trim_end());
            return end(Ok(()));
        }
        Err(NoCapture::Usage(line)) => {
            eprintln!("{}", plain::lines(&line));
            return multicall::USAGE.into();
        }
    };
    log::start(options.log_level, options.look.colours());
    end(parent::die_with_parent().and_then(|()| capture::run(options)))
}

/// What could not be written to standard output is an error, unless its reader has gone.
fn end(result: anyhow::Result<()>) -> ExitCode {
    let written = netobserv_stdio::finish().context("cannot write standard output");
    match result.and(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            summary::complain(&format!("error: {error:#}"));
            if error.is::<why::NotMet>() { why::NOT_MET.into() } else { ExitCode::FAILURE }
        }
    }
}
