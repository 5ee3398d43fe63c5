//! A capture in the formats of other programs: Parquet, CSV, and JSON line by line.

mod column;
mod parquet;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use netobserv_stdio::Broken;
use netobserv_wire::{FIELDS, Flow, Value};

use super::file::Capture;
use super::output::Output;
use super::records;
use crate::sink::json::Objects;

/// Bytes that are written at once.
const WRITE: usize = 1 << 20;

/// A format, and where the files go; without a path to standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A directory of Parquet files.
    Parquet(PathBuf),
    /// A table with a line of names.
    Csv(Option<PathBuf>),
    /// One object a line.
    Ndjson(Option<PathBuf>),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (format, path) = text.split_once(':').map_or((text, None), |(format, path)| (format, Some(path)));
        let path = path.filter(|path| !path.is_empty()).map(PathBuf::from);
        match (format, path) {
            ("parquet", Some(path)) => Ok(Self::Parquet(path)),
            ("csv", path) => Ok(Self::Csv(path)),
            ("ndjson", path) => Ok(Self::Ndjson(path)),
            _ => Err("use parquet:DIRECTORY, csv, csv:FILE, ndjson or ndjson:FILE".into()),
        }
    }
}

/// Writes the capture; returns what is to be printed.
///
/// # Errors
/// When it cannot be read or written.
pub(super) fn write(capture: &Capture, target: &Target) -> anyhow::Result<Option<String>> {
    match target {
        Target::Parquet(folder) => parquet::write(capture, folder).map(Some),
        Target::Csv(path) => {
            let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
            let mut cells = Vec::new();
            each_line(capture, path.as_deref(), csv_line(names.iter().map(|name| name.as_bytes()))?, |flow, out| {
                cells.clear();
                cells.extend(FIELDS.iter().map(|field| cell(&field.get(flow))));
                out.extend(csv_line(cells.iter().map(Vec::as_slice))?);
                Ok(())
            })
        }
        Target::Ndjson(path) => {
            let objects = Objects::default();
            each_line(capture, path.as_deref(), Vec::new(), |flow, out| {
                objects.append(flow, out);
                out.push(b'\n');
                Ok(())
            })
        }
    }
}

fn csv_line<'a>(cells: impl Iterator<Item = &'a [u8]>) -> anyhow::Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(cells)?;
    Ok(out.into_inner()?)
}

fn cell(value: &Value<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    if !matches!(value, Value::Absent) {
        value.append_text(&mut text);
    }
    text
}

/// Writes `head`, and what `append` makes of each flow.
fn each_line(
    capture: &Capture,
    path: Option<&Path>,
    head: Vec<u8>,
    mut append: impl FnMut(&Flow, &mut Vec<u8>) -> anyhow::Result<()>,
) -> anyhow::Result<Option<String>> {
    let (mut pending, mut flows) = (head, 0_u64);
    let cannot = || format!("cannot read {}", capture.path.display());
    let mut each = |flow: &Flow, pending: &mut Vec<u8>| {
        flows += 1;
        append(flow, pending)
    };
    let Some(path) = path else {
        let stdout = netobserv_stdio::stdout();
        let mut gone = false;
        let mut send = |pending: &mut Vec<u8>| match stdout.write_patiently(std::mem::take(pending)) {
            Ok(()) => Ok(()),
            Err(Broken::Gone) => {
                gone = true;
                bail!("the reader of standard output has gone")
            }
            Err(error) => Err(anyhow::Error::msg(error)),
        };
        let read = records::of_database(&capture.db, |flow| {
            each(&flow, &mut pending)?;
            if pending.len() < WRITE { Ok(()) } else { send(&mut pending) }
        });
        let sent = read.and_then(|()| send(&mut pending));
        return if gone { Ok(None) } else { sent.map(|()| None).with_context(cannot) };
    };
    let output = Output::at(path, std::slice::from_ref(&capture.path))?;
    let mut out = BufWriter::with_capacity(WRITE, output.create()?);
    records::of_database(&capture.db, |flow| {
        each(&flow, &mut pending)?;
        out.write_all(&pending).with_context(|| output.cannot())?;
        pending.clear();
        Ok(())
    })?;
    out.write_all(&pending).and_then(|()| out.flush()).with_context(|| output.cannot())?;
    output.keep()?;
    Ok(Some(format!("{}: {} flows", path.display(), crate::human::count(flows))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_a_format_with_a_path_or_without() {
        let target = |text: &str| text.parse::<Target>().ok();
        assert_eq!(target("csv"), Some(Target::Csv(None)));
        assert_eq!(target("parquet:a:b/c"), Some(Target::Parquet("a:b/c".into())));
        assert_eq!(target("ndjson:x.json"), Some(Target::Ndjson(Some("x.json".into()))));
        assert_eq!([target("parquet"), target("parquet:"), target("xml"), target("csvs")], [const { None }; 4]);
    }
}
