//! The programs `summary`, `query` and `diff`: words to exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use netobserv_contract::plain;
use netobserv_stdio::Broken;

use super::table::{Answer, Form};
use super::{diff, file, mcp, questions, redact, report, summary};
use crate::why::NotMet;
use crate::why::command::{end, usage};

/// Rows that a question with a name answers, unless more are asked for.
const LIMIT: usize = 20;

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

/// Answers a question about a finished capture.
#[derive(Debug, Parser)]
#[command(name = "query")]
struct Query {
    /// The capture, unless the newest is meant, and the name of a question
    #[arg(num_args = 0..=2)]
    words: Vec<String>,
    /// An SQL query instead; it can only read
    #[arg(long, value_name = "SELECT")]
    sql: Option<String>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    output: Form,
    /// Rows at most; 0: all of them
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
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
    /// The report; beside the capture by default, and standard output for -
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
        let summary = summary::of(&file::open(words.file.as_deref())?)?;
        let text = if words.output == "json" { format!("{:#}", summary.json()) } else { summary.text() };
        print(&text)
    })
}

/// The program `query`.
pub(crate) fn query(words: Vec<OsString>) -> ExitCode {
    run("query", words, Query::run)
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

fn run<W: Parser>(name: &str, words: Vec<OsString>, work: impl FnOnce(&W) -> anyhow::Result<()>) -> ExitCode {
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

impl Query {
    fn run(&self) -> anyhow::Result<()> {
        let (file, question) = self.file_and_question()?;
        let sql = match (&self.sql, question) {
            (Some(sql), _) => sql.as_str(),
            (None, Some(question)) => question.sql,
            (None, None) => return print(&list()),
        };
        let limit = match (self.limit, &self.sql) {
            (Some(0), _) | (None, Some(_)) => None,
            (limit, _) => limit.or(Some(LIMIT)),
        };
        let capture = file::open(file.as_deref())?;
        let answer = Answer::of(&capture.db, sql, limit)?;
        if answer.is_empty() && self.output == Form::Table {
            let what = question.map_or("rows", |question| question.title);
            return print(&format!("{} has none of this: {what}", capture.path.display()));
        }
        let text = answer.print(self.output)?;
        print(&if self.output == Form::Table { plain::lines(&text).into_owned() } else { text })
    }

    /// One word may be either of the two.
    fn file_and_question(&self) -> anyhow::Result<(Option<PathBuf>, Option<&'static questions::Question>)> {
        let asked = |word: &str| {
            let hint = questions::similar(word).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            questions::find(word).with_context(|| format!("no question is called {word}{hint} {}", names()))
        };
        Ok(match self.words.as_slice() {
            [] => (None, None),
            [file, question] if self.sql.is_none() => (Some(file.into()), Some(asked(question)?)),
            [_, _] => bail!("--sql takes the place of a question: give FILE and --sql"),
            [file] if self.sql.is_some() => (Some(file.into()), None),
            [word] if questions::find(word).is_some() => (None, questions::find(word)),
            [word] if word.contains(['/', '.', '\\']) => {
                bail!("what is the question to {word}? {}", names())
            }
            [word, ..] => (None, Some(asked(word)?)),
        })
    }
}

fn names() -> String {
    let names: Vec<_> = questions::QUESTIONS.iter().map(|question| question.name).collect();
    format!("Use one of: {}", names.join(", "))
}

fn list() -> String {
    let width = questions::QUESTIONS.iter().map(|question| question.name.len()).max().unwrap_or_default();
    let lines = questions::QUESTIONS.iter().map(|question| format!("  {:width$}  {}", question.name, question.title));
    std::iter::once("Questions:".to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}
