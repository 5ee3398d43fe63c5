//! `files` and `fetch`: how the plugin brings the files of a capture home.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser};

use super::USAGE;
use crate::control::Control;
use crate::{fetch, files};

/// Lists the files of a capture as JSON: path, size and SHA-256.
#[derive(Debug, Parser)]
#[command(name = "files")]
struct Files {
    /// Also while the capture still writes them
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    place: Place,
}

/// Sends one file of a capture to standard output, as a gzip stream.
#[derive(Debug, Parser)]
#[command(name = "fetch")]
struct Fetch {
    /// One of those that `files` lists
    path: PathBuf,
    /// Leave out this many bytes at the beginning
    #[arg(long, default_value_t = 0)]
    offset: u64,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// Folder of the files
    #[arg(long, default_value = "./output")]
    output_dir: PathBuf,
}

pub(super) fn files(words: Vec<OsString>) -> ExitCode {
    with_words("files", words, |words: &Files| print_list(&words.place.output_dir, words.partial))
}

pub(super) fn fetch(words: Vec<OsString>) -> ExitCode {
    with_words("fetch", words, |words: &Fetch| {
        let out = io::stdout().lock();
        fetch::fetch(&words.place.output_dir, &words.path, words.offset, out)?;
        // Where nothing can be noted, a pod that is being removed waits a little longer.
        let _ = Control::of(&words.place.output_dir).note_fetched(Some(&words.path));
        Ok(())
    })
}

fn print_list(output: &Path, partial: bool) -> anyhow::Result<()> {
    let (list, mut out) = (files::list(output, partial)?, io::stdout().lock());
    if !partial {
        let _ = Control::of(output).note_fetched(None);
    }
    serde_json::to_writer(&mut out, &list)?;
    Ok(writeln!(out)?)
}

pub(super) fn with_words<W: Parser>(
    name: &str,
    words: Vec<OsString>,
    act: impl FnOnce(&W) -> anyhow::Result<()>,
) -> ExitCode {
    let words = std::iter::once(name.into()).chain(words);
    match W::try_parse_from(words) {
        Ok(words) => result(act(&words)),
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS }
        }
    }
}

fn result(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", netobserv_contract::plain::lines(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}
