//! Reads the JSON file of a capture while it grows, checks it line by line, and gives the room of what is checked back to the file
//! system: a capture of any length can be looked at in a bounded part of a disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;
use serde_json::{Map, Value};

/// What a writer goes over again: the closing bracket. More is left alone than that.
const TAIL: u64 = 64;
/// Read at once.
const CHUNK: usize = 4 << 20;
/// Given back at once, in whole blocks.
const PUNCH: u64 = 64 << 20;
/// One row in so many is parsed; of the others the ends are looked at.
const PARSED: u64 = 16;

/// A file under way.
#[derive(Debug)]
pub struct Follower {
    file: File,
    at: u64,
    given_back: u64,
    /// A line whose end was not read yet.
    part: Vec<u8>,
    lines: u64,
    rows: u64,
    /// The last row had no comma, or the bracket has come: only a bracket may follow, or nothing.
    last: Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Comma,
    NoComma,
    Bracket,
}

impl Follower {
    /// Follows a file from its beginning.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[track_caller]
    pub fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { file, at: 0, given_back: 0, part: Vec::new(), lines: 0, rows: 0, last: Last::NoComma }
    }

    /// Rows that were read.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads what has come.
    ///
    /// # Panics
    /// When it is not what should stand in the file.
    #[track_caller]
    pub fn read(&mut self) {
        let end = self.length().saturating_sub(TAIL);
        self.read_to(end);
        if self.at - self.given_back >= PUNCH {
            let until = self.at / PUNCH * PUNCH;
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let (from, length) = (self.given_back.cast_signed(), (until - self.given_back).cast_signed());
            fallocate(&self.file, flags, from, length).expect("a file system that takes room back");
            self.given_back = until;
        }
    }

    /// Reads to the end of a file that nobody writes any more, and returns the number of its rows.
    ///
    /// # Panics
    /// When it is not a whole array.
    #[track_caller]
    pub fn finish(mut self) -> u64 {
        self.read_to(self.length());
        assert!(self.part.is_empty(), "the last line has no end: {}", self.part.escape_ascii());
        assert_eq!(self.last, Last::Bracket, "the array has no end");
        self.rows
    }

    fn length(&self) -> u64 {
        self.file.metadata().expect("its length").len()
    }

    fn read_to(&mut self, end: u64) {
        let mut chunk = vec![0; CHUNK];
        while self.at < end {
            let wanted = CHUNK.min((end - self.at) as usize);
            let count = self.file.read_at(&mut chunk[..wanted], self.at).expect("a part of the file");
            assert!(count > 0, "the file became shorter");
            self.at += count as u64;
            let mut rest = &chunk[..count];
            while let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let (line, after) = rest.split_at(length);
                rest = &after[1..];
                if self.part.is_empty() {
                    self.line(line);
                } else {
                    let mut whole = std::mem::take(&mut self.part);
                    whole.extend_from_slice(line);
                    self.line(&whole);
                }
            }
            self.part.extend_from_slice(rest);
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        let shown = || line[..line.len().min(300)].escape_ascii();
        if self.lines == 1 {
            assert!(line == b"[" || line == b"[]", "the first line is {}", shown());
            self.last = if line == b"[" { Last::Comma } else { Last::Bracket };
            return;
        }
        if self.last == Last::NoComma {
            assert_eq!(line, b"]", "line {} after a row without a comma is {}", self.lines, shown());
            self.last = Last::Bracket;
            return;
        }
        assert_eq!(self.last, Last::Comma, "line {} behind the end is {}", self.lines, shown());
        let row = line.strip_suffix(b",");
        self.last = if row.is_some() { Last::Comma } else { Last::NoComma };
        let row = row.unwrap_or(line);
        assert!(row.starts_with(b"{") && row.ends_with(b"}"), "line {} is {}", self.lines, shown());
        if self.rows.is_multiple_of(PARSED) {
            let object: Result<Map<String, Value>, _> = serde_json::from_slice(row);
            assert!(object.is_ok(), "line {} is {}: {object:?}", self.lines, shown());
        }
        self.rows += 1;
    }
}

/// Bytes that a folder's file system has for this user.
pub fn free_bytes(folder: &Path) -> u64 {
    let state = statvfs(folder).expect("a folder on a file system");
    state.blocks_available() * state.fragment_size()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_growing_array_is_read_once_and_keeps_its_length() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut follower = Follower::open(file.path());
        let row = format!("{{\"a\":\"{}\"}}", "x".repeat(1000));
        // As the collector writes: over the bracket of before, with another one behind.
        let (mut tail, mut text) = (0, format!("[\n{row}"));
        for _ in 0..4 {
            text += &format!(",\n{row}").repeat(50_000);
            file.as_file().write_all_at(format!("{text}\n]\n").as_bytes(), tail).unwrap();
            tail += text.len() as u64;
            text.clear();
            follower.read();
        }
        let blocks = std::os::unix::fs::MetadataExt::blocks(&file.as_file().metadata().unwrap());
        assert!(blocks * 512 < tail / 2, "{blocks} blocks are left of {tail} bytes");
        assert_eq!(follower.finish(), 200_001);
    }

    #[test]
    #[should_panic(expected = "the array has no end")]
    fn an_array_without_an_end_is_noticed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"[\n{},\n{}\n").unwrap();
        Follower::open(file.path()).finish();
    }

    #[test]
    #[should_panic(expected = "behind the end")]
    fn a_row_behind_the_end_is_noticed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"[\n{}\n]\n{}\n").unwrap();
        Follower::open(file.path()).finish();
    }
}
