//! Brings the files of a capture home: compressed on the way, checked against the collector's own digests, taken up again
//! where a transfer broke off, and under their names only when they are whole. Nothing that is there is overwritten.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use netobserv_contract::files::{create_folder, numbered};
use netobserv_contract::metrics;
use serde::Deserialize;

use crate::oc::{Call, Oc, OcError};
use crate::output;
use crate::progress::{self, Progress, warn};

mod part;

use part::Part;

/// Endings of the files of flows; a collector that was killed leaves the log of its database.
const FLOW_ENDINGS: [&str; 4] = ["json", "db", "db-wal", "db-shm"];
/// File systems allow 255 bytes; the name of a file that is on its way is longer.
const LONGEST_NAME: usize = 200;

/// Tries for one file. One that brings new bytes does not count.
const TRIES: u32 = 5;

/// Why files did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A call failed.
    #[error(transparent)]
    Oc(#[from] OcError),
    /// This machine does not take it.
    #[error("cannot write {}: {source}; choose another folder with --output-dir", path.display())]
    Write {
        /// File or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The name leads elsewhere.
    #[error(
        "the collector names a file {0:?}, which is not a file of a capture (flow/NAME.json, flow/NAME.db, pcap/NAME.pcapng)"
    )]
    ForeignPath(String),
    /// It arrives damaged again and again.
    #[error("{path} did not arrive complete in {TRIES} attempts: {reason}")]
    Damaged {
        /// Its path in the pod.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// A file as the collector lists it.
#[derive(Debug, Clone, Deserialize)]
struct Listed {
    path: String,
    size: u64,
    sha256: String,
}

/// Tries the folder out, or, where it does not exist yet, the one that it will be made in.
///
/// # Errors
///
/// It takes no files.
pub fn check_folder(dir: &Path) -> Result<(), CopyError> {
    let failed = |source| CopyError::Write { path: dir.to_owned(), source };
    let absolute = std::path::absolute(dir).map_err(failed)?;
    let there = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(&absolute);
    tempfile::tempfile_in(there).map(drop).map_err(failed)
}

/// Copies all files of the capture into `dir`.
///
/// # Errors
///
/// Some did not arrive. What did is whole.
pub fn run(oc: &Oc, namespace: &str, dir: &Path, progress: Progress) -> Result<(), CopyError> {
    let list = Call::files(namespace);
    let files: Option<Vec<Listed>> = oc.json(&list)?;
    let files = files.ok_or_else(|| oc.garbage(&list, "nothing"))?;
    if files.is_empty() {
        progress.print("the capture has no files");
    }
    output::foreign_owner(dir).iter().for_each(|warning| warn(warning));
    for file in &files {
        let place = place(dir, file)?;
        let folder = place.parent().unwrap_or(dir);
        create_folder(folder).map_err(|source| CopyError::Write { path: folder.to_owned(), source })?;
        let target = copy_one(oc, namespace, file, &place)?;
        progress.print(&format!("{} ({} bytes)", target.display(), file.size));
        if target.extension().is_some_and(|ending| ending == "db") && progress::has_terminal() {
            progress.print(&format!("read them again: {} netobserv replay {}", oc.name(), target.display()));
        }
    }
    Ok(())
}

/// Where a file belongs: a capture has files of flows, packets or metrics, each kind in its folder, and no others.
fn place(dir: &Path, file: &Listed) -> Result<PathBuf, CopyError> {
    let foreign = || CopyError::ForeignPath(file.path.clone());
    let (folder, name) = file.path.split_once('/').ok_or_else(foreign)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+@".contains(c);
    let (stem, ending) = name.rsplit_once('.').ok_or_else(foreign)?;
    let ours = match folder {
        "flow" => FLOW_ENDINGS.contains(&ending),
        "pcap" => ending.starts_with("pcap"),
        metrics::FOLDER => metrics::ENDINGS.iter().any(|known| name.ends_with(known)),
        _ => false,
    };
    let good = ours && name.len() <= LONGEST_NAME && stem.starts_with(|c: char| c.is_ascii_alphanumeric());
    if good && name.chars().all(plain) { Ok(dir.join(folder).join(name)) } else { Err(foreign()) }
}

fn copy_one(oc: &Oc, namespace: &str, file: &Listed, place: &Path) -> Result<PathBuf, CopyError> {
    let failed = |source| CopyError::Write { path: place.to_owned(), source };
    if place.is_file() {
        let mut there = File::open(place).map_err(failed)?;
        if part::is_whole(&mut there, file.size, &file.sha256).map_err(failed)? {
            return Ok(place.to_owned());
        }
    }
    let mut part = Part::open(place).map_err(failed)?;
    match transfer(oc, namespace, file, &mut part) {
        Ok(()) => part.finish(names(place)).map_err(failed),
        Err(error) => {
            part.leave();
            Err(error)
        }
    }
}

/// Fetches until the file is whole. What an earlier try has left is the beginning.
fn transfer(oc: &Oc, namespace: &str, file: &Listed, part: &mut Part) -> Result<(), CopyError> {
    let path = part.path().to_owned();
    let failed = |source| CopyError::Write { path: path.clone(), source };
    let part = part.file();
    let (mut tries, mut reason) = (0, String::new());
    while tries < TRIES {
        let have = part.metadata().map_err(failed)?.len();
        if have == file.size {
            if part::is_whole(part, file.size, &file.sha256).map_err(failed)? {
                return Ok(());
            }
            "its SHA-256 differs".clone_into(&mut reason);
        }
        if have >= file.size {
            part.set_len(0).map_err(failed)?;
            tries += 1;
            if tries == TRIES {
                break;
            }
        }
        let offset = part.metadata().map_err(failed)?.len();
        match fetch(oc, namespace, file, offset, part).map_err(failed)? {
            Ok(0) if file.size > offset => tries += 1,
            Ok(_) => {}
            Err(error @ OcError::Interrupted { .. }) => return Err(error.into()),
            Err(error) => {
                let progress = part.metadata().map_err(failed)?.len() > offset;
                tries += u32::from(!progress);
                reason = error.to_string();
                warn(&format!("warning: {reason}; trying again"));
            }
        }
    }
    Err(CopyError::Damaged { path: file.path.clone(), reason })
}

/// One transfer, from `offset` on, to the end of `part`. Gives the bytes that came, or why the call failed.
fn fetch(oc: &Oc, namespace: &str, file: &Listed, offset: u64, part: &mut File) -> io::Result<Result<u64, OcError>> {
    let call = Call::fetch(namespace, &file.path, offset);
    let bar = progress::spinner(&format!("{} ({} bytes)", file.path, file.size - offset));
    let done = match oc.fetch(&call, &mut |bytes| bar.set_message(format!("{}: {bytes} bytes, compressed", file.path)))
    {
        Ok(done) => done,
        Err(error) => return Ok(Err(error)),
    };
    bar.finish_and_clear();
    let checked = oc.check(&call, &done);
    // Also what came before a connection broke is good.
    let (came, damage) = part::append(done.output, part, file.size - offset)?;
    Ok(match (checked, damage) {
        (Err(error), _) => Err(error),
        (Ok(()), Some(damage)) => Err(oc.garbage(&call, damage)),
        (Ok(()), None) => Ok(came),
    })
}

/// The name, then `name-2.json` and so on, when another capture has it.
fn names(place: &Path) -> impl Iterator<Item = PathBuf> {
    let stem = place.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ending = place.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    numbered(&stem).map(move |stem| place.with_file_name(format!("{stem}{ending}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str) -> Listed {
        Listed { path: path.to_owned(), size: 0, sha256: String::new() }
    }

    #[test]
    fn only_files_of_a_capture_have_a_place() {
        let dir = Path::new("out");
        let name = "2024-03-06T161922Z";
        for (folder, ending) in [
            ("flow", ".json"),
            ("flow", ".db"),
            ("flow", ".db-wal"),
            ("pcap", ".pcap"),
            ("pcap", "-2-00001.pcapng"),
            ("metrics", ".txt"),
            ("metrics", "-2.dashboard.json"),
        ] {
            let path = format!("{folder}/{name}{ending}");
            assert_eq!(place(dir, &listed(&path)).unwrap(), dir.join(&path), "{path}");
        }
        for path in [
            "",
            ".",
            "/etc/passwd",
            "../a",
            "../a.json",
            "flow/../../a.json",
            "flow/sub/a.json",
            "C:\\a",
            "flow/a\\b.json",
            "flow/a\0.json",
            "flow/.a.json",
            "flow/.json",
            "flow/-a.json",
            "flow/a.sh",
            "flow/a",
            "flow/a.pcap",
            "pcap/a.json",
            "metrics/a.json",
            "metrics/.txt",
            "bin/a.json",
            ".git/config",
            "a.json",
            "flow/a\u{1b}[2J.json",
            "flow//a.json",
            "FLOW/a.json",
            "flow/a\u{202e}b.json",
        ] {
            assert!(matches!(place(dir, &listed(path)), Err(CopyError::ForeignPath(_))), "{path:?}");
        }
        assert!(place(dir, &listed(&format!("flow/{}.json", "a".repeat(300)))).is_err());
    }
}
