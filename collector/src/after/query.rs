//! The program `query`: questions with a name, conditions of the query language, and SQL.

mod rows;
mod sql;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use netobserv_contract::plain;
use netobserv_query::{Query as Expression, QueryError, Used};

use super::command::print;
use super::table::{Answer, Form};
use super::{command, file, questions};
use rows::{Rows, Sort};
use sql::Where;

/// Rows that are printed, unless more are asked for.
const LIMIT: usize = 20;

/// Answers a question about a finished capture.
#[derive(Debug, Parser)]
#[command(name = "query")]
struct Query {
    /// The capture, unless the newest is meant, and the name of a question or a condition
    #[arg(num_args = 0..=2)]
    words: Vec<String>,
    /// An SQL query instead; it can only read
    #[arg(long, value_name = "SELECT")]
    sql: Option<String>,
    /// One row for each value of these: client, server, service, port, protocol, second, or fields
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    by: Vec<String>,
    /// The order of the rows
    #[arg(long, value_enum)]
    sort: Option<Sort>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    output: Form,
    /// Rows at most; 0: all of them
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// What is asked.
enum Asked<'a> {
    Nothing,
    Sql(&'a str),
    Question(&'static questions::Question),
    /// The records that meet a condition; all without one.
    Records(Option<Expression>),
}

/// The program.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    command::run("query", words, Query::run)
}

impl Query {
    fn run(&self) -> anyhow::Result<()> {
        let (file, asked) = self.asked()?;
        let is_records = matches!(asked, Asked::Records(_));
        ensure!(
            is_records || (self.by.is_empty() && self.sort.is_none()),
            "--by and --sort go with a condition, such as 'port=443'"
        );
        let rows = Rows::new(&self.by, self.sort)?;
        let limit = match (self.limit, &asked) {
            (Some(0), _) | (None, Asked::Sql(_)) => None,
            (limit, _) => limit.or(Some(LIMIT)),
        };
        let (answer, path, title) = match &asked {
            Asked::Nothing => return print(&list()),
            Asked::Sql(sql) => {
                let capture = file::open(file.as_deref())?;
                (Answer::of(&capture.db, sql, limit)?, capture.path, "rows")
            }
            Asked::Question(question) => {
                let capture = file::open(file.as_deref())?;
                (Answer::of(&capture.db, question.sql, limit)?, capture.path, question.title)
            }
            Asked::Records(expression) => {
                let capture = file::open(file.as_deref())?;
                let condition = Where::of(expression.as_ref().map(|query| &query.expr))?;
                condition.prepare(&capture.db)?;
                (Answer::of(&capture.db, &rows.select(&condition), limit)?, capture.path, "records that match")
            }
        };
        if answer.is_empty() && self.output == Form::Table {
            return print(&format!("{} has none of this: {title}", path.display()));
        }
        let text = answer.print(self.output)?;
        print(&if self.output == Form::Table { plain::lines(&text).into_owned() } else { text })
    }

    /// One word may be the file or what is asked.
    fn asked(&self) -> anyhow::Result<(Option<PathBuf>, Asked<'_>)> {
        if let Some(sql) = &self.sql {
            return match self.words.as_slice() {
                [] => Ok((None, Asked::Sql(sql))),
                [file] => Ok((Some(file.into()), Asked::Sql(sql))),
                _ => bail!("--sql takes the place of a question: give FILE and --sql"),
            };
        }
        Ok(match self.words.as_slice() {
            [] if self.by.is_empty() => (None, Asked::Nothing),
            [] => (None, Asked::Records(None)),
            [file, word, ..] => (Some(file.into()), asked(word)?),
            [word] if questions::find(word).is_some() => (None, asked(word)?),
            [word] if is_file(word) && self.by.is_empty() => {
                bail!("what is the question to {word}? {}", names())
            }
            [word] if is_file(word) => (Some(word.into()), Asked::Records(None)),
            [word] => (None, asked(word)?),
        })
    }
}

/// Whether a word is meant as a file: it is one, or is written like one.
fn is_file(word: &str) -> bool {
    let written = word.contains(['/', '\\']) || word.ends_with(".db") || word.ends_with(".json");
    Path::new(word).exists() || (written && Expression::read(word).is_err())
}

/// A question by its name, or a condition.
fn asked(word: &str) -> anyhow::Result<Asked<'static>> {
    if let Some(question) = questions::find(word) {
        return Ok(Asked::Question(question));
    }
    match read(word) {
        Ok(expression) => Ok(Asked::Records(Some(expression))),
        // A single word is a question that is spelled wrong.
        Err(_) if word.chars().all(|c| c.is_ascii_lowercase() || c == '-') => {
            let hint = questions::similar(word).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            bail!("no question is called {word}{hint} {}", names())
        }
        Err(error) => Err(error).context("not a condition"),
    }
}

/// A condition on what records of a file have.
fn read(text: &str) -> Result<Expression, QueryError> {
    let query = Expression::read(text)?;
    query.refuse(|used| match used {
        Used::Vlan => Some("flows do not have the VLAN tags of their packets".into()),
        Used::Name(term) if netobserv_query::in_fields(netobserv_query::End::Src, term).is_none() => {
            Some("a file does not have labels: write pod:, deploy:, svc: or ns:".into())
        }
        _ => None,
    })?;
    Ok(query)
}

fn names() -> String {
    let names: Vec<_> = questions::QUESTIONS.iter().map(|question| question.name).collect();
    format!("Use one of: {}; or a condition, such as 'port=443 and rtt>5ms'", names.join(", "))
}

fn list() -> String {
    let width = questions::QUESTIONS.iter().map(|question| question.name.len()).max().unwrap_or_default();
    let lines = questions::QUESTIONS.iter().map(|question| format!("  {:width$}  {}", question.name, question.title));
    std::iter::once("Questions:".to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}
