//! The programs `summary`, `diff`, `report` and `mcp`: words to exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use netobserv_contract::plain;
use netobserv_stdio::Broken;

use super::records::Form;
use super::{diff, export, file, mcp, merge, packets, redact, report, summary};
use crate::why::NotMet;
use crate::why::command::{end, usage};

/// Summarizes a finished capture.
#[derive(Debug, Parser)]
#[command(name = "summary")]
struct Summary {
    /// The capture; the newest in ./output/flow by default
    file: Option<PathBuf>,
    /// How to print: text or json
    #[arg(long, short, default_value = "text", value_parser = ["text", "json"])]
    output: String,
}

/// Compares two captures.
#[derive(Debug, Parser)]
#[command(name = "diff")]
struct Diff {
    /// The earlier one
    before: PathBuf,
    /// The later one
    after: PathBuf,
    /// How to print: text or json
    #[arg(long, short, default_value = "text", value_parser = ["text", "json"])]
    output: String,
    /// Exit with code 3 when there are differences of these kinds
    #[arg(long, value_name = "KINDS", value_enum, value_delimiter = ',')]
    fail_on: Vec<diff::Kind>,
}

/// Writes a report of a finished capture.
#[derive(Debug, Parser)]
#[command(name = "report")]
struct Report {
    /// The capture; the newest in ./output/flow by default
    file: Option<PathBuf>,
    /// The report; next to the capture by default, and standard output for -
    #[arg(long, short, value_name = "FILE.html")]
    output: Option<PathBuf>,
}

/// The program `report`.
pub(crate) fn report(words: Vec<OsString>) -> ExitCode {
    run("report", words, |words: &Report| {
        let capture = file::open(words.file.as_deref())?;
        let path = words.output.clone().unwrap_or_else(|| capture.path.with_extension("html"));
        let page = report::of(&capture)?;
        if path.as_os_str() == "-" {
            return print(&page);
        }
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        print(&format!("{}", path.display()))
    })
}

/// Writes copies of captures without addresses, names and payloads.
#[derive(Debug, Parser)]
#[command(name = "redact")]
struct Redact {
    /// The captures; the newest in ./output/flow by default
    files: Vec<PathBuf>,
    /// The copy, or a directory for several; next to each capture by default
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// The program `redact`.
pub(crate) fn redact(words: Vec<OsString>) -> ExitCode {
    run("redact", words, |words: &Redact| {
        let files = if words.files.is_empty() { vec![file::newest()?] } else { words.files.clone() };
        print(&plain::lines(&redact::all(&files, words.output.as_deref())?.join("\n")))
    })
}

/// Writes a finished capture in the format of other programs.
#[derive(Debug, Parser)]
#[command(name = "export")]
struct Export {
    /// The capture; the newest in ./output/flow by default
    file: Option<PathBuf>,
    /// The format, and where the files go
    #[arg(long, short, value_name = "FORMAT")]
    output: export::Target,
}

/// The program `export`.
pub(crate) fn export(words: Vec<OsString>) -> ExitCode {
    run("export", words, |words: &Export| {
        let printed = export::write(&file::open(words.file.as_deref())?, &words.output)?;
        printed.map_or(Ok(()), |line| print(&line))
    })
}

/// Merges captures of one format.
#[derive(Debug, Parser)]
#[command(name = "merge")]
struct Merge {
    /// The captures
    files: Vec<PathBuf>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// The program `merge`.
pub(crate) fn merge(words: Vec<OsString>) -> ExitCode {
    run("merge", words, |words: &Merge| print(&merge::all(&words.files, &words.output)?))
}

/// Answers an assistant that speaks the Model Context Protocol on standard input.
#[derive(Debug, Parser)]
#[command(name = "mcp")]
struct Mcp {}

/// The program `mcp`.
pub(crate) fn mcp(words: Vec<OsString>) -> ExitCode {
    run("mcp", words, |_: &Mcp| mcp::serve(std::io::stdin().lock()))
}

/// The program `summary`.
pub(crate) fn summary(words: Vec<OsString>) -> ExitCode {
    run("summary", words, |words: &Summary| {
        let path = words.file.clone().map_or_else(file::newest, Ok)?;
        let json = words.output == "json";
        if Form::of(&path)? == Form::Pcapng {
            let summary = packets::of(&path)?;
            return print(&if json { format!("{:#}", summary.json()) } else { summary.text() });
        }
        let summary = summary::of(&file::open(Some(&path))?)?;
        print(&if json { format!("{:#}", summary.json()) } else { summary.text() })
    })
}

/// The program `diff`.
pub(crate) fn diff(words: Vec<OsString>) -> ExitCode {
    run("diff", words, |words: &Diff| {
        let differences = diff::of(&file::open(Some(&words.before))?, &file::open(Some(&words.after))?)?;
        let text =
            if words.output == "json" { format!("{:#}", diff::json(&differences)) } else { diff::text(&differences) };
        print(&plain::lines(&text))?;
        let found: Vec<_> = words
            .fail_on
            .iter()
            .filter(|kind| differences.iter().any(|one| one.kind == **kind))
            .map(|kind| kind.word())
            .collect();
        if found.is_empty() { Ok(()) } else { Err(NotMet(format!("the captures differ: {}", found.join(", "))).into()) }
    })
}

pub(super) fn run<W: Parser>(
    name: &str,
    words: Vec<OsString>,
    work: impl FnOnce(&W) -> anyhow::Result<()>,
) -> ExitCode {
    match W::try_parse_from(std::iter::once(name.into()).chain(words)) {
        Ok(words) => end(work(&words)),
        Err(error) => usage(&error),
    }
}

/// Prints an answer, however long its reader takes. One that has gone wants no more.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match netobserv_stdio::stdout().write_patiently(format!("{}\n", text.trim_end_matches('\n'))) {
        Ok(()) | Err(Broken::Gone) => Ok(()),
        Err(error) => Err(anyhow::Error::msg(error)),
    }
}
