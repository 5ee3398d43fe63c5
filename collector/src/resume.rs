//! A capture whose process was killed continues in the next one, in files of its own next to the first, within the limits of both.

use std::fs;
use std::path::Path;

use anyhow::Context;
use tracing::warn;

use crate::cli::Options;
use crate::control::{Control, Earlier};
use crate::killed::Killed;
use crate::output::Name;

/// Endings of the files that the limit of bytes is for.
const LIMITED: [&str; 3] = ["json", "pcapng", "pcap"];

/// What a process that starts is to do.
#[derive(Debug)]
pub(crate) enum Start {
    /// Capture, and continue an earlier one if there is one.
    Capture(Option<Killed>),
    /// Stay with the files of a capture that has ended.
    Keep,
}

/// Finds an earlier process of this session, and takes what it has used up from the limits.
pub(crate) fn look(options: &mut Options) -> anyhow::Result<Start> {
    let Some(session) = &options.session else { return Ok(Start::Capture(None)) };
    let control = Control::of(&options.output_dir);
    let cannot = || format!("cannot read the state of the capture in {}", options.output_dir.display());
    let killed = match control.earlier(session).with_context(cannot)? {
        Earlier::Nothing => return Ok(Start::Capture(None)),
        Earlier::Over if options.background => {
            control.close().with_context(cannot)?;
            return Ok(Start::Keep);
        }
        Earlier::Over => return Ok(Start::Capture(None)),
        Earlier::Killed(killed) => killed,
    };
    warn!("{}", killed.lines("flows and packets").join("; "));
    if let Some(first) = killed.files.first() {
        options.filename = next_name(&options.output_dir, first).map_or_else(Name::default, Name::Given);
    }
    options.used_bytes = killed.files.iter().map(|file| bytes(&options.output_dir.join(file))).sum();
    Ok(Start::Capture(Some(killed)))
}

/// `NAME-2`, or the next number with which no file begins.
fn next_name(output: &Path, first: &Path) -> Option<String> {
    let stem = first.file_stem()?.to_str()?;
    let folder = output.join(first.parent()?);
    let taken: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    // Files of a ring are NAME-00001 and so on.
    let is_free = |name: &String| {
        let rest = taken.iter().filter_map(|file| file.strip_prefix(name.as_str()));
        !rest.into_iter().any(|rest| rest.starts_with(['.', '-']))
    };
    (2..1_000).map(|number| format!("{stem}-{number}")).find(is_free)
}

/// Size of what the limit is for: a file, or the files of a ring that are there.
fn bytes(file: &Path) -> u64 {
    let Some(stem) = file.file_stem().and_then(|stem| stem.to_str()) else { return 0 };
    let entries = file.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let of_it = entries.filter(|entry| {
        let path = entry.path();
        let limited = path.extension().is_some_and(|ending| LIMITED.iter().any(|limited| ending == *limited));
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        limited && (name == stem || name.strip_prefix(stem).is_some_and(|rest| rest.starts_with("-0")))
    });
    of_it.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_name_and_what_is_used_of_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, size| {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, vec![0; size]).unwrap();
        };
        write("flow/a.json", 10);
        write("flow/a.db", 500);
        write("pcap/b-00002.pcapng", 3);
        write("pcap/b-00003.pcapng", 4);
        let next = |file: &str| next_name(dir.path(), Path::new(file)).unwrap();
        assert_eq!((next("flow/a.json"), next("pcap/b.pcapng")), ("a-2".into(), "b-2".into()));
        write("flow/a-2.db", 7);
        write("pcap/b-2-00001.pcapng", 8);
        assert_eq!((next("flow/a.json"), next("pcap/b.pcapng")), ("a-3".into(), "b-3".into()));
        assert_eq!(bytes(&dir.path().join("flow/a.json")), 10);
        assert_eq!(bytes(&dir.path().join("pcap/b.pcapng")), 7);
        assert_eq!(bytes(&dir.path().join("pcap/b-2.pcapng")), 8);
    }
}
