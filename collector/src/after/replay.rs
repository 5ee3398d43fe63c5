//! The program `replay`: a finished capture on the screen, with its own clock.

use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Days, NaiveTime};
use clap::Parser;
use regex::bytes::Regex;
use rusqlite::Connection;

use super::command;
use super::file;
use super::records::{self, Form};
use crate::cli::Look;
use crate::signals::Signals;
use crate::tui::{Left, Open, Replay, Screen};

/// Records at the beginning and at the end of a file of which one is the first or the last: they are written a batch at a time.
const ROWS: usize = 1_024;
const LAST_BYTES: u64 = 256 << 10;
/// Longest time that a record is taken to last: what begins the axis.
const LONGEST_MS: u64 = 10_000;

/// Shows a finished capture on the screen.
#[derive(Debug, Parser)]
#[command(name = "replay")]
struct Words {
    /// The capture; the newest in ./output/flow by default
    file: Option<PathBuf>,
    /// Begin at this time of the capture: HH:MM:SS (UTC), or with a date as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End at this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// So many times as fast as it was
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| (0.1..=1_000.0).contains(speed));
    speed.ok_or_else(|| "use a number from 0.1 to 1000".into())
}

/// The program.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    command::run("replay", words, Words::run)
}

impl Words {
    fn run(&self) -> anyhow::Result<()> {
        let path = self.file.clone().map_or_else(file::newest, Ok)?;
        let form = Form::of(&path)?;
        let (first, last) = match form {
            Form::Database => of_database(&path).with_context(|| format!("cannot read {}", path.display()))?,
            Form::Json => of_json(&path)?,
            Form::Pcapng | Form::Pcap => {
                bail!("{} holds packets, not flows: open it with Wireshark or tshark", path.display())
            }
        };
        let at = self.from.as_deref().map(|text| time(text, "from", first, last)).transpose()?.unwrap_or(first);
        let end = self.to.as_deref().map(|text| time(text, "to", first, last)).transpose()?.unwrap_or(last);
        ensure!(at <= end, "--from is after --to");
        let look = Look::default().or_environment();
        let has_screen = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && look.has_screen();
        ensure!(has_screen, "replay needs a terminal, and there is none here: summary, query and report do without");
        let replay = Replay {
            file: path.display().to_string(),
            from_ms: first,
            to_ms: end,
            at_ms: at,
            speed: self.speed,
            open: open(path, form),
        };
        show(&look, replay)
    }
}

fn show(look: &Look, replay: Replay) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let left = Left::default();
        let screen = Screen::replay(look, replay, &left).context("cannot take the terminal")?;
        tokio::select! {
            () = left.left() => {}
            _ = signals.next() => {}
        }
        screen.stop();
        left.failure().map_or(Ok(()), Err)
    })
}

/// Reads the records in the order in which they were written.
fn open(path: PathBuf, form: Form) -> Open {
    match form {
        Form::Database => Arc::new(move |each| {
            let db = records::open(&path)?;
            records::of_database(&db, each).with_context(|| format!("cannot read {}", path.display()))
        }),
        _ => Arc::new(move |each| records::of_json(&path, each)),
    }
}

/// The times of the beginning and the end, in milliseconds since 1970.
fn of_database(path: &Path) -> anyhow::Result<(u64, u64)> {
    let db = records::open(path)?;
    let columns = records::columns(&db, "flow")?;
    let has = |name: &str| columns.iter().any(|column| column == name);
    ensure!(has("SrcAddr"), "it has no table flow");
    ensure!(
        has("TimeFlowEndMs") && has("TimeFlowStartMs"),
        "it has no times, without which it cannot be replayed: use its JSON file"
    );
    let number = |sql: &str| number(&db, sql);
    let of = |what: &str, order: &str| {
        number(&format!("SELECT {what} FROM (SELECT * FROM flow ORDER BY rowid {order} LIMIT {ROWS})"))
    };
    axis(of("min(TimeFlowStartMs)", "")?, of("min(TimeFlowEndMs)", "")?, of("max(TimeFlowEndMs)", "DESC")?)
}

/// A number that a query finds; 0 without one.
fn number(db: &Connection, sql: &str) -> anyhow::Result<u64> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    let found: Option<i64> = rows.next()?.map(|row| row.get(0)).transpose()?.flatten();
    Ok(found.and_then(|number| u64::try_from(number).ok()).unwrap_or_default())
}

fn of_json(path: &Path) -> anyhow::Result<(u64, u64)> {
    let cannot = || format!("cannot read {}", path.display());
    let (mut number, mut begun, mut first) = (0, u64::MAX, u64::MAX);
    let read = records::of_json(path, |flow| {
        (number, begun, first) = (number + 1, begun.min(flow.start_ms), first.min(flow.end_ms));
        ensure!(number < ROWS, "these are enough");
        Ok(())
    });
    if number < ROWS {
        read?;
    }
    let mut file = File::open(path).with_context(cannot)?;
    let length = file.metadata().with_context(cannot)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES))).with_context(cannot)?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).with_context(cannot)?;
    let end = tail.iter().rev().find(|byte| !byte.is_ascii_whitespace());
    ensure!(end == Some(if is_array(path)? { &b']' } else { &b'}' }), "{} is cut: it has no end", path.display());
    let times = Regex::new(r#""TimeFlowEndMs"\s*:\s*(\d+)"#)?;
    let time = |found: regex::bytes::Captures<'_>| std::str::from_utf8(found.get(1)?.as_bytes()).ok()?.parse().ok();
    let last = times.captures_iter(&tail).filter_map(time).max().unwrap_or(0);
    axis(begun, first, last).with_context(cannot)
}

/// Whether a file begins with an array; else it has flows line by line.
fn is_array(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(LAST_BYTES).read_to_end(&mut head)?;
    Ok(head.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}

fn axis(begun: u64, first: u64, last: u64) -> anyhow::Result<(u64, u64)> {
    ensure!(first > 0 && last > 0 && first < u64::MAX, "it has no flows with times");
    Ok((begun.clamp(first.saturating_sub(LONGEST_MS), first), last.max(first)))
}

/// A time of the capture, from words. Without a date, it is the first such time after the beginning.
fn time(text: &str, option: &str, first: u64, last: u64) -> anyhow::Result<u64> {
    let begin = DateTime::from_timestamp_millis(i64::try_from(first)?).context("no time")?;
    let time = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.to_utc(),
        Err(_) => {
            let clock =
                NaiveTime::parse_from_str(text, "%H:%M:%S").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"));
            let clock =
                clock.map_err(|_| anyhow::anyhow!("--{option}={text}: use HH:MM:SS, or 2026-01-31T12:00:00Z"))?;
            let day = begin.date_naive();
            // Also a moment before the first record.
            let is_next = clock < begin.time()
                && begin.date_naive()
                    != DateTime::from_timestamp_millis(i64::try_from(last)?).context("no time")?.date_naive();
            let day = if is_next { day.checked_add_days(Days::new(1)).unwrap_or(day) } else { day };
            day.and_time(clock).and_utc()
        }
    };
    let time = u64::try_from(time.timestamp_millis()).unwrap_or_default();
    Ok(time.clamp(first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-31 23:59:50 to 2026-02-01 00:00:30.
    const FIRST: u64 = 1_769_903_990_000;
    const LAST: u64 = FIRST + 40_000;

    #[test]
    fn times_are_those_of_the_capture() {
        let at = |text: &str| time(text, "from", FIRST, LAST).map(|time| (time - FIRST) / 1_000);
        for (text, seconds) in [
            ("23:59:55", 5),
            ("00:00:10", 20),
            ("2026-02-01T00:00:20Z", 30),
            ("2026-02-01T01:00:20+01:00", 30),
            ("00:59", 40),
        ] {
            assert_eq!(at(text).unwrap(), seconds, "{text}");
        }
        let error = at("noon").unwrap_err().to_string();
        assert_eq!(error, "--from=noon: use HH:MM:SS, or 2026-01-31T12:00:00Z");
    }
}
