//! `files`: what a capture has written, so that the plugin can fetch it in parts and check each part.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::control::{Control, Phase};

/// One file of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Path below the output folder, with slashes.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The capture continues.
    #[error("the capture is not finished: its files still change; wait, or ask with --partial")]
    NotFinished,
    /// A file or folder.
    #[error("cannot read {}: {why}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// No other program could learn of it.
    #[error("{}: the name is not UTF-8", .0.display())]
    Name(PathBuf),
}

/// The files below `output`, in the order of their paths; hidden ones and links do not belong to a capture.
///
/// # Errors
/// When the capture is not finished (unless `partial`), or a file cannot be read.
pub fn list(output: &Path, partial: bool) -> Result<Vec<Listed>, FilesError> {
    if !partial && !is_finished(output) {
        return Err(FilesError::NotFinished);
    }
    let mut files = Vec::new();
    collect(output, output, &mut files)?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn is_finished(output: &Path) -> bool {
    Control::of(output).status().is_ok_and(|status| status.state == Phase::Finished)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<Listed>) -> Result<(), FilesError> {
    let cannot = |why| FilesError::Read { path: folder.into(), why };
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(cannot)?);
        if entry.file_name().as_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            collect(root, &path, files)?;
        } else if kind.is_file() {
            files.push(look_at(root, path)?);
        }
    }
    Ok(())
}

fn look_at(root: &Path, path: PathBuf) -> Result<Listed, FilesError> {
    let (size, sha256) = digest(&path).map_err(|why| FilesError::Read { path: path.clone(), why })?;
    match path.strip_prefix(root).unwrap_or(&path).to_str() {
        Some(name) => Ok(Listed { path: name.to_owned(), size, sha256 }),
        None => Err(FilesError::Name(path)),
    }
}

/// Length and SHA-256 of what is read, in pieces: a capture may be larger than the memory.
fn digest(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let (mut buffer, mut size) = (vec![0; 256 << 10], 0);
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..read]);
        size += read as u64;
    }
    Ok((size, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Running, Status};

    #[test]
    fn files_are_listed_when_the_capture_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("flow/b.json", "abc");
        write("flow/a.db", "");
        write("flow/.probe-1", "x");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("flow/link")).unwrap();
        let running = Running::begin(Control::of(dir.path()), Status::default(), None).unwrap();
        assert!(matches!(list(dir.path(), false), Err(FilesError::NotFinished)));
        let partial = list(dir.path(), true).unwrap();
        running.end("reached 5 s");
        let files = list(dir.path(), false).unwrap();
        assert_eq!(files, partial);
        let shown: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.size, &file.sha256[..8])).collect();
        // The digests of FIPS 180-4 for "" and "abc".
        assert_eq!(shown, [("flow/a.db", 0, "e3b0c442"), ("flow/b.json", 3, "ba7816bf")]);
    }
}
