//! Packs files and folders, also such that grow, shrink or go away meanwhile: a capture may be writing them.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::words::Words;
use super::{Outcome, tell};

/// Fewer, larger writes: each one crosses the API server's stream.
const BUFFER: usize = 256 << 10;

/// Writes the archive of the words' paths. What cannot be read is reported and left out.
///
/// # Errors
/// When `out` takes no more.
pub(super) fn create(words: &Words, out: impl Write) -> io::Result<Outcome> {
    let mut packer =
        Packer { words, out: Builder::new(BufWriter::with_capacity(BUFFER, out)), outcome: Outcome::default() };
    for path in &words.paths {
        packer.top(path)?;
    }
    packer.out.into_inner()?.flush()?;
    Ok(packer.outcome)
}

struct Packer<'a, W: Write> {
    words: &'a Words,
    out: Builder<W>,
    outcome: Outcome,
}

impl<W: Write> Packer<'_, W> {
    fn top(&mut self, given: &Path) -> io::Result<()> {
        let (name, cut) = member_name(given);
        if let Some(cut) = cut {
            tell(&format!("Removing leading `{cut}' from member names"));
        }
        self.any(&self.words.dir.join(given), &name, given)
    }

    /// One file, or a folder with all that is in it. `shown` is its name in messages.
    fn any(&mut self, path: &Path, name: &Path, shown: &Path) -> io::Result<()> {
        let metadata = if self.words.follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => return self.cannot("stat", shown, &error),
        };
        if self.words.verbose {
            let _ = writeln!(io::stderr(), "{}", name.display());
        }
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.folder(path, name, shown, &metadata)
        } else if kind.is_symlink() {
            self.link(path, name, shown, &metadata)
        } else if kind.is_file() {
            self.file(path, name, shown)
        } else {
            let what = if kind.is_socket() { "socket" } else { "special file" };
            tell(&format!("{}: {what} ignored", shown.display()));
            Ok(())
        }
    }

    fn folder(&mut self, path: &Path, name: &Path, shown: &Path, metadata: &Metadata) -> io::Result<()> {
        let mut header = header(metadata, EntryType::Directory, 0);
        // The slash at the end is how readers that know only names see a folder.
        self.out.append_data(&mut header, name.join(""), io::empty())?;
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.cannot("open", shown, &error),
        };
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        for entry in names {
            self.any(&path.join(&entry), &name.join(&entry), &shown.join(&entry))?;
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, name: &Path, shown: &Path, metadata: &Metadata) -> io::Result<()> {
        match fs::read_link(path) {
            Ok(target) => self.out.append_link(&mut header(metadata, EntryType::Symlink, 0), name, target),
            Err(error) => self.cannot("read link", shown, &error),
        }
    }

    fn file(&mut self, path: &Path, name: &Path, shown: &Path) -> io::Result<()> {
        // Without O_NONBLOCK, a pipe that took the file's place would never open.
        let opened = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
        let (file, metadata) = match opened.and_then(|file| file.metadata().map(|metadata| (file, metadata))) {
            Ok(opened) => opened,
            Err(error) => return self.cannot("open", shown, &error),
        };
        let mut content = Exactly { file, left: metadata.len(), missing: None };
        self.out.append_data(&mut header(&metadata, EntryType::Regular, metadata.len()), name, &mut content)?;
        match content.missing {
            None => Ok(()),
            Some(Missing { bytes, error: None }) => {
                self.outcome.change(&format!("{}: File shrank by {bytes} bytes; padding with zeros", shown.display()));
                Ok(())
            }
            Some(Missing { error: Some(error), .. }) => self.cannot("read", shown, &error),
        }
    }

    fn cannot(&mut self, what: &str, shown: &Path, error: &io::Error) -> io::Result<()> {
        // GNU tar leaves out the number that Rust adds.
        let why = error.to_string();
        let why = why.split(" (os error").next().unwrap_or_default();
        self.outcome.fail(&format!("{}: Cannot {what}: {why}", shown.display()));
        Ok(())
    }
}

fn header(metadata: &Metadata, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(metadata.mode() & 0o7777);
    header.set_mtime(metadata.mtime().max(0).cast_unsigned());
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header
}

/// As many bytes as the header has promised: no more of a file that grew, zeros in place of what went away.
struct Exactly {
    file: File,
    left: u64,
    missing: Option<Missing>,
}

struct Missing {
    bytes: u64,
    error: Option<io::Error>,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.left.min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..most];
        let read = if self.missing.is_some() { 0 } else { self.read_file(buffer) };
        let read = if read == 0 {
            buffer.fill(0);
            most
        } else {
            read
        };
        self.left -= read as u64;
        Ok(read)
    }
}

impl Exactly {
    /// 0 when there is no more, and that is noted.
    fn read_file(&mut self, buffer: &mut [u8]) -> usize {
        if buffer.is_empty() {
            return 0;
        }
        let error = loop {
            match self.file.read(buffer) {
                Ok(0) => break None,
                Ok(read) => return read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        self.missing = Some(Missing { bytes: self.left, error });
        0
    }
}

/// The name in the archive, never absolute and never above where it is unpacked; and what was cut off for that.
fn member_name(path: &Path) -> (PathBuf, Option<String>) {
    let parts: Vec<_> = path.components().collect();
    let above = |part: &Component| matches!(part, Component::RootDir | Component::ParentDir);
    let start = parts.iter().rposition(above).map_or(0, |last| last + 1);
    let name: PathBuf = parts[start..].iter().filter(|part| **part != Component::CurDir).collect();
    let cut: PathBuf = parts[..start].iter().collect();
    let cut = match cut.to_string_lossy().into_owned() {
        cut if cut.is_empty() => None,
        cut if cut.ends_with('/') => Some(cut),
        cut => Some(cut + "/"),
    };
    (if name.as_os_str().is_empty() { ".".into() } else { name }, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn named(path: &str, name: &str, cut: Option<&str>) {
        assert_eq!(member_name(Path::new(path)), (name.into(), cut.map(str::to_owned)), "{path}");
    }

    #[test]
    fn members_stay_where_they_are_unpacked() {
        named("/output/flow/", "output/flow", Some("/"));
        named("output", "output", None);
        named("./output", "output", None);
        named("../../a/../b", "b", Some("../../a/../"));
        named("/", ".", Some("/"));
        named(".", ".", None);
    }

    #[test]
    fn a_file_is_as_long_as_its_header_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "12345").unwrap();
        let read = |left| {
            let mut content = Exactly { file: File::open(&path).unwrap(), left, missing: None };
            let mut text = Vec::new();
            content.read_to_end(&mut text).unwrap();
            (text, content.missing.map(|missing| missing.bytes))
        };
        assert_eq!(read(3), (b"123".to_vec(), None));
        assert_eq!(read(5), (b"12345".to_vec(), None));
        assert_eq!(read(8), (b"12345\0\0\0".to_vec(), Some(3)));
    }
}
