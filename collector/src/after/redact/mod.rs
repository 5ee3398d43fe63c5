//! Copies of captures in which addresses and names are replaced and payloads are left out, for sending them to someone else.
//!
//! What is not known to be harmless is left out: a field of a flow, a table, an option of a packet is kept only where it is named here.

mod flow;
mod frame;
mod packets;
mod pseudonym;
mod tables;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use self::pseudonym::Pseudonyms;
use super::output::Output;
use super::records::{self, Form};
use crate::sink::json::Objects;
use crate::sink::sqlite::import::Import;

/// Bytes of JSON that are written at once.
const WRITE: usize = 1 << 20;

/// Writes a copy of each file; returns a line about each. The same address or name is replaced by the same in all of them.
///
/// # Errors
/// When one cannot be read or written.
pub(super) fn all(files: &[PathBuf], output: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let outputs = outputs(files, output)?;
    let mut names = Pseudonyms::new()?;
    files.iter().zip(outputs).map(|(file, output)| one(file, &output, files, &mut names)).collect()
}

/// Next to each file, or in this folder, or this file.
fn outputs(files: &[PathBuf], output: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    let named = |file: &PathBuf| {
        let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let ending = file.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
        format!("{}.redacted{ending}", name(file.file_stem()))
    };
    let outputs: Vec<PathBuf> = match output {
        Some(folder) if folder.is_dir() => files.iter().map(|file| folder.join(named(file))).collect(),
        Some(path) if files.len() == 1 => vec![path.to_owned()],
        Some(path) => bail!("{} is no directory, which -o needs for several files", path.display()),
        None => files.iter().map(|file| file.with_file_name(named(file))).collect(),
    };
    if outputs.iter().collect::<BTreeSet<_>>().len() < outputs.len() {
        bail!(
            "two of the files would be written to the same path: redact them one by one, or choose a directory for each"
        );
    }
    Ok(outputs)
}

/// What was left out, by its name.
type LeftOut = BTreeSet<String>;

fn one(file: &Path, path: &Path, inputs: &[PathBuf], names: &mut Pseudonyms) -> anyhow::Result<String> {
    let form = Form::of(file)?;
    let output = Output::at(path, inputs)?;
    let (amount, left_out) = match form {
        Form::Database => {
            database(file, &output, names).with_context(|| format!("cannot redact {}", file.display()))?
        }
        Form::Json => json(file, &output, names)?,
        Form::Pcapng => {
            packets::pcapng(file, &output, names).with_context(|| format!("cannot redact {}", file.display()))?
        }
        Form::Pcap => {
            packets::pcap(file, &output, names).with_context(|| format!("cannot redact {}", file.display()))?
        }
    };
    output.keep()?;
    let (addresses, replaced) = names.counts();
    let left_out: Vec<_> = left_out.into_iter().collect();
    let left_out = if left_out.is_empty() { String::new() } else { format!("; left out: {}", left_out.join(", ")) };
    Ok(format!("{}: {amount}; {addresses} addresses and {replaced} names replaced{left_out}", path.display()))
}

fn flows(number: u64) -> String {
    format!("{number} flow{}", if number == 1 { "" } else { "s" })
}

fn json(file: &Path, output: &Output, names: &mut Pseudonyms) -> anyhow::Result<(String, LeftOut)> {
    let mut out = BufWriter::with_capacity(WRITE, output.create()?);
    let (objects, mut line, mut number, mut left_out) = (Objects::default(), Vec::new(), 0, LeftOut::new());
    records::of_json(file, |mut flow| {
        left_out.extend(names.flow(&mut flow));
        line.clear();
        line.extend_from_slice(if number == 0 { b"[\n" } else { b",\n" });
        objects.append(&flow, &mut line);
        number += 1;
        out.write_all(&line).with_context(|| output.cannot())
    })?;
    close(out, number, output)?;
    Ok((flows(number), left_out))
}

fn close(mut out: BufWriter<File>, number: u64, output: &Output) -> anyhow::Result<()> {
    let end: &[u8] = if number == 0 { b"[]\n" } else { b"\n]\n" };
    out.write_all(end).and_then(|()| out.flush()).with_context(|| output.cannot())
}

fn database(file: &Path, output: &Output, names: &mut Pseudonyms) -> anyhow::Result<(String, LeftOut)> {
    let source = records::open(file)?;
    output.create()?;
    let mut import = Import::at(output.partial()).with_context(|| output.cannot())?;
    let (mut number, mut left_out) = (0, LeftOut::new());
    records::of_database(&source, |mut flow| {
        left_out.extend(names.flow(&mut flow));
        number += 1;
        import.add(flow).with_context(|| output.cannot())
    })?;
    let db = import.finish().with_context(|| output.cannot())?;
    left_out.extend(tables::copy(&source, &db, names)?);
    Ok((flows(number), left_out))
}

/// Copies of bytes of any kind, which must be readable again.
///
/// # Errors
/// When the bytes cannot be read.
pub(super) fn copies(bytes: &[u8]) -> anyhow::Result<()> {
    let mut names = Pseudonyms::new()?;
    let mut flows = Vec::new();
    let read = records::of_reader(bytes, "the input", |flow| {
        flows.push(flow);
        Ok(())
    });
    for flow in &mut flows {
        names.flow(flow);
        let mut line = Vec::new();
        Objects::default().append(flow, &mut line);
        serde_json::from_slice::<serde_json::Value>(&line)?;
    }
    let packets = packets::copy_of(bytes, &mut names).and_then(|copy| super::packets::of_reader(&copy[..]));
    read.or(packets.map(drop))
}
