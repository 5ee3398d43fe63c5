//! `state`, `renew`, `finish`, `keylog` and `keeper`: how a session in a cluster is kept alive, and how it ends.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tracing::level_filters::LevelFilter;

use super::transfer::with_words;
use crate::cli::Look;
use crate::control::command::{Finish, Keylog, Renew, State};
use crate::keeper::{self, Pod};
use crate::log;

/// Waits next to a capture; removes the session's objects when they are no longer wanted.
#[derive(Debug, Parser)]
#[command(name = "keeper")]
struct Keeper {
    /// Folder of the files
    #[arg(long, default_value = "./output")]
    output_dir: PathBuf,
}

pub(super) fn state(words: Vec<OsString>) -> ExitCode {
    with_words("state", words, State::run)
}

pub(super) fn renew(words: Vec<OsString>) -> ExitCode {
    with_words("renew", words, Renew::run)
}

pub(super) fn finish(words: Vec<OsString>) -> ExitCode {
    with_words("finish", words, Finish::run)
}

pub(super) fn keylog(words: Vec<OsString>) -> ExitCode {
    with_words("keylog", words, Keylog::run)
}

pub(super) fn keeper(words: Vec<OsString>) -> ExitCode {
    with_words("keeper", words, |words: &Keeper| {
        let pod = Pod::of_this_process(&words.output_dir);
        keep(pod.context("NETOBSERV_SESSION and NETOBSERV_NAMESPACE are not set: this is not the pod of a session")?)
    })
}

/// The pod whose keeper process 1 is to be.
pub(super) fn pod() -> Option<Pod> {
    Pod::of_this_process(Path::new("./output"))
}

pub(super) fn keep(pod: Pod) -> anyhow::Result<()> {
    log::start(LevelFilter::INFO, Look::default().or_environment().colours());
    super::sleep::bury_children()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kept = runtime.block_on(keeper::keep(pod));
    // The last lines of the log are what a reader needs.
    let _ = netobserv_stdio::finish();
    kept
}
