//! `fetch`: one file of a capture, compressed, from any place on: a transfer that broke off is taken up where it stopped.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Flow files shrink to a tenth with the quickest level; the slower ones would hold up the transfer.
const LEVEL: u32 = 2;

/// Why a file is not sent.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It leads elsewhere.
    #[error("{}: not a path below the output folder; `files` lists those that are", .0.display())]
    Outside(PathBuf),
    /// The file cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// There is nothing at that place.
    #[error("{} has {size} bytes: none from {offset} on", path.display())]
    Offset {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        size: u64,
        /// The place that was asked for.
        offset: u64,
    },
    /// The receiver has gone.
    #[error("the transfer broke off: {0}")]
    Write(io::Error),
}

/// Writes the gzip stream of a file below `output`, from byte `offset` on, to `out`.
///
/// # Errors
/// When the path leads out of `output`, the file cannot be read or is shorter, or `out` takes no more.
pub fn fetch(output: &Path, wanted: &Path, offset: u64, out: impl Write) -> Result<(), FetchError> {
    let mut file = open(output, wanted)?;
    let cannot = |why| FetchError::Read { path: wanted.into(), why };
    let size = file.metadata().map_err(cannot)?.len();
    if offset > size {
        return Err(FetchError::Offset { path: wanted.into(), size, offset });
    }
    file.seek(SeekFrom::Start(offset)).map_err(cannot)?;
    let mut gzip = GzEncoder::new(out, Compression::new(LEVEL));
    io::copy(&mut file, &mut gzip).and_then(|_| gzip.finish()?.flush()).map_err(FetchError::Write)
}

/// Opens a regular file below `output` that no part of its path hides and no link replaces.
fn open(output: &Path, wanted: &Path) -> Result<File, FetchError> {
    let visible =
        |part: Component| matches!(part, Component::Normal(name) if !name.as_encoded_bytes().starts_with(b"."));
    let outside = || FetchError::Outside(wanted.into());
    if wanted.as_os_str().is_empty() || !wanted.components().all(visible) {
        return Err(outside());
    }
    let cannot = |why| FetchError::Read { path: wanted.into(), why };
    let root = output.canonicalize().map_err(|why| FetchError::Read { path: output.into(), why })?;
    let path = root.join(wanted);
    if path.canonicalize().map_err(cannot)? != path {
        return Err(outside());
    }
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(&path).map_err(cannot)?;
    if file.metadata().map_err(cannot)?.is_file() { Ok(file) } else { Err(outside()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("output/flow/.hidden")).unwrap();
        fs::write(dir.path().join("output/flow/a.json"), "0123456789").unwrap();
        fs::write(dir.path().join("output/flow/.hidden/b"), "x").unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("../../secret", dir.path().join("output/flow/link")).unwrap();
        std::os::unix::fs::symlink("flow", dir.path().join("output/same")).unwrap();
        dir
    }

    fn fetched(dir: &Path, path: &str, offset: u64) -> Result<String, FetchError> {
        let mut gzip = Vec::new();
        fetch(&dir.join("output"), Path::new(path), offset, &mut gzip)?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn a_file_comes_from_any_place_on() {
        let dir = folder();
        assert_eq!(fetched(dir.path(), "flow/a.json", 0).unwrap(), "0123456789");
        assert_eq!(fetched(dir.path(), "flow/a.json", 7).unwrap(), "789");
        assert_eq!(fetched(dir.path(), "flow/a.json", 10).unwrap(), "");
        assert!(matches!(fetched(dir.path(), "flow/a.json", 11), Err(FetchError::Offset { size: 10, .. })));
        assert!(matches!(fetched(dir.path(), "flow/none", 0), Err(FetchError::Read { .. })));
    }

    #[test]
    fn nothing_else_is_given_away() {
        let dir = folder();
        for path in
            ["../secret", "/etc/passwd", "flow/../../secret", "flow/link", "same/a.json", "flow/.hidden/b", "flow", ""]
        {
            assert!(matches!(fetched(dir.path(), path, 0), Err(FetchError::Outside(_))), "{path}");
        }
    }
}
