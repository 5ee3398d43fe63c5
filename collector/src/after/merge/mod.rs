//! Several captures of one format in one file.

mod once;
mod packets;
mod tables;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rusqlite::Connection;

use self::once::Part;
use super::output::Output;
use super::records::{self, Form};
use crate::human;
use crate::sink::json::Objects;
use crate::sink::sqlite::import::Import;

/// Bytes of JSON that are written at once.
const WRITE: usize = 1 << 20;

/// Merges the files; returns a line about the result.
///
/// # Errors
/// When they are not of one format, or one cannot be read, or the output cannot be written.
pub(super) fn all(files: &[PathBuf], path: &Path) -> anyhow::Result<String> {
    let form = one_form(files)?;
    let output = Output::at(path, files)?;
    let (count, what, once) = match form {
        Form::Pcapng => (packets::pcapng(files, &output)?, "packets", 0),
        Form::Pcap => bail!("pcap files are not merged here: use pcapng, or mergecap of Wireshark"),
        Form::Database => {
            output.create()?;
            let mut import = Import::at(output.partial()).with_context(|| output.cannot())?;
            let parts = read(files, form, &mut import)?;
            let db = import.finish().with_context(|| output.cannot())?;
            let once = once::count(&db, &parts).with_context(|| output.cannot())?;
            tables::merge(files, &db).with_context(|| output.cannot())?;
            (rows(&parts), "flows", once)
        }
        Form::Json => {
            let mut import = Import::new()?;
            let parts = read(files, form, &mut import)?;
            let db = import.finish()?;
            let once = once::count(&db, &parts)?;
            json(&db, &output)?;
            (rows(&parts), "flows", once)
        }
    };
    output.keep()?;
    let once = match once {
        0 => String::new(),
        once => format!("; {} of them are in another file too and count there", human::count(once)),
    };
    Ok(format!("{}: {} {what} of {} files{once}", path.display(), human::count(count), files.len()))
}

fn one_form(files: &[PathBuf]) -> anyhow::Result<Form> {
    let Some(first) = files.first().filter(|_| files.len() > 1) else {
        bail!("there is nothing to merge: name two files or more");
    };
    let form = Form::of(first)?;
    for (at, file) in files.iter().enumerate().skip(1) {
        if Form::of(file)? != form {
            bail!("{} and {} are of different formats: export or capture them in one", first.display(), file.display());
        }
        if files[..at].iter().any(|other| other.canonicalize().ok() == file.canonicalize().ok()) {
            bail!("{} is named twice", file.display());
        }
    }
    Ok(form)
}

/// The rows of each file.
fn read(files: &[PathBuf], form: Form, import: &mut Import) -> anyhow::Result<Vec<Part>> {
    let mut last = 0;
    let mut one = |file: &PathBuf| -> anyhow::Result<Part> {
        let first = last + 1;
        let add = |flow| {
            last += 1;
            import.add(flow).context("cannot write the output")
        };
        match form {
            Form::Json => records::of_json(file, add)?,
            _ => {
                let cannot = || format!("cannot read {}", file.display());
                records::of_database(&records::open(file).with_context(cannot)?, add).with_context(cannot)?;
            }
        }
        Ok(Part { first, last })
    };
    files.iter().map(&mut one).collect()
}

fn rows(parts: &[Part]) -> u64 {
    parts.last().map_or(0, |part| part.last.unsigned_abs())
}

fn json(db: &Connection, output: &Output) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(WRITE, output.create()?);
    let (objects, mut line, mut before) = (Objects::default(), Vec::new(), "[\n");
    records::of_database(db, |flow| {
        line.clear();
        line.extend_from_slice(before.as_bytes());
        objects.append(&flow, &mut line);
        before = ",\n";
        out.write_all(&line).with_context(|| output.cannot())
    })?;
    let end: &[u8] = if before == "[\n" { b"[]\n" } else { b"\n]\n" };
    out.write_all(end).and_then(|()| out.flush()).with_context(|| output.cannot())
}
