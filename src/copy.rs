//! Brings the files of a capture home: compressed on the way, checked against the collector's own digests, taken up again
//! where a transfer broke off, and under their names only when they are whole. Nothing that is there is overwritten.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};

use netobserv_contract::plain;
use serde::Deserialize;

use crate::oc::{Call, Oc, OcError};
use crate::say::{self, Steps, warn};

mod part;

pub(crate) use part::sha256;

/// Tries for one file. One that brings new bytes does not count.
const TRIES: u32 = 5;
/// Longest time of one transfer: a gigabyte over a slow line.
const LONGEST_TRANSFER: std::time::Duration = std::time::Duration::from_secs(3600);

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
        /// What the system says.
        source: io::Error,
    },
    /// The name leads elsewhere.
    #[error("the collector names a file {0:?}, which is no place below the output folder")]
    Place(String),
    /// It arrives damaged again and again.
    #[error("{path} did not arrive whole in {TRIES} tries: {reason}")]
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

/// The call that fetches one file from a place on.
fn fetch_call(namespace: &str, path: &str, offset: u64) -> Call {
    let mut call = Call::collector(&format!("fetch {path}"), namespace, &["fetch", path]);
    if offset > 0 {
        call.args.push(format!("--offset={offset}").into());
    }
    call.limit = Some(LONGEST_TRANSFER);
    call
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
pub fn run(oc: &Oc, namespace: &str, dir: &Path, steps: Steps) -> Result<(), CopyError> {
    let list = Call::files(namespace);
    let files: Option<Vec<Listed>> = oc.json(&list)?;
    let files = files.ok_or_else(|| oc.garbage(&list, "nothing"))?;
    if files.is_empty() {
        steps.say("the capture has no files");
    }
    for file in &files {
        if oc.is_dry() {
            oc.run(&fetch_call(namespace, &file.path, 0))?;
            continue;
        }
        let place = place(dir, file)?;
        let failed = |path: &Path, source| CopyError::Write { path: path.to_owned(), source };
        let folder = place.parent().unwrap_or(dir);
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let target = copy_one(oc, namespace, file, &place)?;
        steps.say(&format!("{} ({} bytes)", target.display(), file.size));
    }
    Ok(())
}

/// Where a file belongs.
fn place(dir: &Path, file: &Listed) -> Result<PathBuf, CopyError> {
    let path = Path::new(&file.path);
    let below = !file.path.is_empty()
        && !file.path.contains(['\\', ':'])
        && !file.path.contains(plain::is_hidden)
        && path.components().all(|part| matches!(part, Component::Normal(_)));
    if below { Ok(dir.join(path)) } else { Err(CopyError::Place(file.path.clone())) }
}

fn copy_one(oc: &Oc, namespace: &str, file: &Listed, place: &Path) -> Result<PathBuf, CopyError> {
    let failed = |path: &Path, source| CopyError::Write { path: path.to_owned(), source };
    if place.exists() && part::is_whole(place, file.size, &file.sha256).map_err(|source| failed(place, source))? {
        return Ok(place.to_owned());
    }
    let temporary = part::name(place);
    transfer(oc, namespace, file, &temporary)?;
    let target = free_name(place);
    fs::rename(&temporary, &target).map_err(|source| failed(&target, source))?;
    Ok(target)
}

/// Fetches until the file is whole. What an earlier try has left is the beginning.
fn transfer(oc: &Oc, namespace: &str, file: &Listed, temporary: &Path) -> Result<(), CopyError> {
    let failed = |source| CopyError::Write { path: temporary.to_owned(), source };
    let mut options = OpenOptions::new();
    let mut part = options.read(true).append(true).create(true).open(temporary).map_err(failed)?;
    let (mut tries, mut reason) = (0, String::new());
    while tries < TRIES {
        let have = part.metadata().map_err(failed)?.len();
        if have == file.size {
            if part::is_whole(temporary, file.size, &file.sha256).map_err(failed)? {
                return Ok(());
            }
            "its SHA-256 is another one".clone_into(&mut reason);
        }
        if have >= file.size {
            part.set_len(0).map_err(failed)?;
            tries += 1;
            if tries == TRIES {
                break;
            }
        }
        let offset = part.metadata().map_err(failed)?.len();
        match fetch(oc, namespace, file, offset, &mut part).map_err(failed)? {
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
    let call = fetch_call(namespace, &file.path, offset);
    let bar = say::spinner(&format!("{} ({} bytes)", file.path, file.size - offset));
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

/// `name-2.json` and so on, when another capture has the name.
fn free_name(place: &Path) -> PathBuf {
    if !place.exists() {
        return place.to_owned();
    }
    let stem = place.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ending = place.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    let names = (2..).map(|n| place.with_file_name(format!("{stem}-{n}{ending}")));
    names.into_iter().find(|path| !path.exists()).unwrap_or_else(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str) -> Listed {
        Listed { path: path.to_owned(), size: 0, sha256: String::new() }
    }

    #[test]
    fn files_stay_below_the_folder() {
        let dir = Path::new("out");
        assert_eq!(place(dir, &listed("flow/a.json")).unwrap(), dir.join("flow/a.json"));
        for path in
            ["", "/etc/passwd", "../a", "flow/../../a", "C:\\a", "a\\b", ".", "a\0b", "a\u{1b}[2J", "a\u{202e}b"]
        {
            assert!(matches!(place(dir, &listed(path)), Err(CopyError::Place(_))), "{path:?}");
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a.json");
        for name in ["a.json", "a-2.json", "a-3.json"] {
            assert_eq!(free_name(&place), dir.path().join(name));
            fs::write(dir.path().join(name), "").unwrap();
        }
    }
}
