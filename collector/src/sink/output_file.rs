//! Where the bytes of a packet capture go: one file, a ring of files, or standard output. What is there ends behind a whole
//! packet at every moment.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use netobserv_stdio::{self as stdio, Broken};

use super::SinkError;
use super::atomic::AtomicWriter;
use crate::output;

/// Files that are begun again when they are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Most bytes of a file.
    pub bytes: u64,
    /// Most files; the oldest goes.
    pub files: Option<u32>,
}

/// What a failed write comes to.
#[derive(Debug)]
pub struct Failed {
    /// Bytes of the write that are in the file; it ends behind a whole packet.
    pub kept: usize,
    /// Why.
    pub why: SinkError,
    /// Standard output has no reader, which is no error.
    pub gone: bool,
}

/// Where the bytes go.
pub struct OutputFile {
    to: To,
    /// Bytes in the file of now, and in those before.
    now: u64,
    before: u64,
    /// Number of the file of now, from 1.
    number: u32,
}

enum To {
    Pipe,
    Disk(Disk),
}

struct Disk {
    /// Path of the one file; those of a ring have a number before the dot.
    path: PathBuf,
    rotation: Option<Rotation>,
    file: File,
    atomic: AtomicWriter,
    ring: VecDeque<PathBuf>,
    lost_files: u64,
}

/// Finds the ends of whole packets: `pcapng::ends` or `pcap::ends`.
pub type Ends = fn(&[u8]) -> Box<dyn Iterator<Item = (usize, bool)> + '_>;

impl OutputFile {
    /// Standard output.
    pub fn pipe() -> Self {
        Self { to: To::Pipe, now: 0, before: 0, number: 1 }
    }

    /// An empty file, or the first of several, whose names are then those of `path` with their numbers.
    pub fn disk(path: PathBuf, rotation: Option<Rotation>, (first, file): (PathBuf, File)) -> Self {
        let ring = VecDeque::from([first]);
        let disk = Disk { path, rotation, file, atomic: AtomicWriter::default(), ring, lost_files: 0 };
        Self { to: To::Disk(disk), now: 0, before: 0, number: 1 }
    }

    /// Appends bytes that end with a whole packet.
    ///
    /// # Errors
    /// When not all of them could be written.
    pub fn append(&mut self, bytes: &[u8], ends: Ends) -> Result<(), Failed> {
        let written = match &mut self.to {
            To::Pipe => stdio::stdout().write_patiently(bytes).map_err(|broken| Failed {
                kept: 0,
                gone: !matches!(broken, Broken::Failed(_)),
                why: SinkError::Write { path: "standard output".into(), why: broken.into() },
            }),
            To::Disk(disk) => disk.append(bytes, self.now, ends),
        };
        self.now += written.as_ref().map_or_else(|failed| failed.kept as u64, |()| bytes.len() as u64);
        written
    }

    /// Whether a file with so many bytes more would be too large, and another is to be begun. A file has at least one packet.
    pub fn is_full(&self, more: usize) -> bool {
        let To::Disk(Disk { rotation: Some(rotation), .. }) = &self.to else { return false };
        self.now + more as u64 > rotation.bytes
    }

    /// Begins another file; the oldest goes if there are too many.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn turn(&mut self) -> Result<(), SinkError> {
        let To::Disk(disk) = &mut self.to else { return Ok(()) };
        disk.turn(self.number + 1)?;
        self.before += std::mem::take(&mut self.now);
        self.number += 1;
        Ok(())
    }

    /// Bytes written, also into files that are gone.
    pub fn bytes(&self) -> u64 {
        self.before + self.now
    }

    /// Number of the file of now, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Files that went to make room for others.
    pub fn removed(&self) -> u64 {
        if let To::Disk(disk) = &self.to { disk.lost_files } else { 0 }
    }

    /// The files that are there, oldest first; none for standard output.
    pub fn files(&self) -> Vec<PathBuf> {
        if let To::Disk(disk) = &self.to { disk.ring.iter().cloned().collect() } else { vec![] }
    }
}

impl Disk {
    fn append(&mut self, bytes: &[u8], at: u64, ends: Ends) -> Result<(), Failed> {
        let Err(why) = self.atomic.write_all_at(&self.file, bytes, at) else { return Ok(()) };
        // What the system took is cut behind its last whole packet.
        let taken = self.file.metadata().map_or(0, |meta| meta.len().saturating_sub(at));
        let taken = bytes.len().min(taken as usize);
        let kept = ends(&bytes[..taken]).last().map_or(0, |(end, _)| end);
        // Should that fail as well, the file shows it to its reader: there is no other way to report it.
        let _ = self.file.set_len(at + kept as u64);
        Err(Failed { kept, why: SinkError::write(self.current())(why), gone: false })
    }

    fn turn(&mut self, number: u32) -> Result<(), SinkError> {
        let path = numbered(&self.path, number);
        self.file = output::create(&path).map_err(SinkError::write(&path))?;
        self.ring.push_back(path);
        let most = self.rotation.and_then(|rotation| rotation.files).unwrap_or(u32::MAX);
        while self.ring.len() > most as usize {
            let Some(oldest) = self.ring.pop_front() else { break };
            // Someone may have taken it away.
            let _ = std::fs::remove_file(&oldest);
            self.lost_files += 1;
        }
        Ok(())
    }

    fn current(&self) -> &Path {
        self.ring.back().unwrap_or(&self.path)
    }
}

/// `a.pcapng` as `a-00001.pcapng`: names sort by age.
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{number:05}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte is a packet; a capital letter is cut.
    fn ends(bytes: &[u8]) -> Box<dyn Iterator<Item = (usize, bool)> + '_> {
        Box::new((1..=bytes.len()).map(|end| (end, true)))
    }

    fn output_file(rotation: Option<Rotation>) -> (OutputFile, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pcapng");
        let first = if rotation.is_some() { numbered(&path, 1) } else { path.clone() };
        let file = output::create(&first).unwrap();
        (OutputFile::disk(path, rotation, (first, file)), dir)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_appended_is_there() {
        let (mut output_file, dir) = output_file(None);
        output_file.append(b"one", ends).unwrap();
        output_file.append(&[7; 10_000], ends).unwrap();
        assert_eq!(std::fs::read(dir.path().join("a.pcapng")).unwrap().len(), 10_003);
        assert_eq!(
            (output_file.bytes(), output_file.number(), output_file.is_full(usize::MAX / 2)),
            (10_003, 1, false)
        );
    }

    #[test]
    fn a_ring_keeps_the_youngest_files() {
        let (mut output_file, dir) = output_file(Some(Rotation { bytes: 10, files: Some(2) }));
        for _ in 0..4 {
            output_file.append(b"123456", ends).unwrap();
            assert!(output_file.is_full(5) && !output_file.is_full(4));
            output_file.turn().unwrap();
        }
        assert_eq!(names(dir.path()), ["a-00004.pcapng", "a-00005.pcapng"]);
        assert_eq!((output_file.bytes(), output_file.number(), output_file.removed()), (24, 5, 3));
        assert_eq!(output_file.files().len(), 2);
    }

    #[test]
    fn a_failed_write_leaves_whole_packets() {
        let (mut output_file, dir) = output_file(None);
        output_file.append(b"one", ends).unwrap();
        let path = dir.path().join("a.pcapng");
        let To::Disk(disk) = &mut output_file.to else { panic!("a file") };
        disk.file = File::open(&path).unwrap();
        let failed = output_file.append(b"two", ends).unwrap_err();
        assert_eq!((failed.kept, failed.gone), (0, false));
        assert!(failed.why.to_string().contains("a.pcapng"), "{}", failed.why);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }
}
