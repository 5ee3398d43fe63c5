//! Secrets of TLS connections, as browsers and libraries write them for `SSLKEYLOGFILE`. The file may grow while the capture
//! runs, and may not be there at its start.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Most bytes of secrets that are kept; some 300 bytes belong to a connection.
pub const MOST_BYTES: usize = 16 << 20;
/// A longer line is no secret.
const LONGEST_LINE: usize = 1024;

/// A key log that is read as it grows.
#[derive(Debug)]
pub struct Keylog {
    path: PathBuf,
    open: Option<(File, u64)>,
    /// A line without its end.
    part: Vec<u8>,
    /// All secrets so far: a later file of the capture begins with them.
    secrets: Vec<u8>,
    /// Hashes of them: a file that is read again has most of them again.
    known: HashSet<u64>,
    hasher: RandomState,
    refused: u64,
}

impl Keylog {
    /// Reads from this path once something is there.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            part: vec![],
            secrets: vec![],
            refused: 0,
            known: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// The secrets that are new, whole lines; empty when none are.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn new_secrets(&mut self) -> io::Result<&[u8]> {
        let mut more = Vec::new();
        if let Some(file) = self.file()? {
            file.take(MOST_BYTES as u64).read_to_end(&mut more)?;
        }
        Ok(self.read(&more))
    }

    /// The secrets that are new in what the file has grown by.
    pub(crate) fn read(&mut self, more: &[u8]) -> &[u8] {
        let before = self.secrets.len();
        let mut text = std::mem::take(&mut self.part);
        text.extend_from_slice(more);
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.part = text.split_off(whole);
        if self.part.len() > LONGEST_LINE {
            self.part.clear();
        }
        for line in text.split(|byte| *byte == b'\n') {
            self.take(line.trim_ascii());
        }
        &self.secrets[before..]
    }

    /// All secrets so far.
    pub fn secrets(&self) -> &[u8] {
        &self.secrets
    }

    /// Lines that are no secrets, or found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The file, at the place up to which it is read; one that was replaced is read from its start.
    fn file(&mut self) -> io::Result<Option<&mut File>> {
        let meta = match self.path.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.open.as_ref().is_none_or(|(_, inode)| *inode != meta.ino()) {
            self.open = Some((File::open(&self.path)?, meta.ino()));
        }
        let Some((file, _)) = &mut self.open else { return Ok(None) };
        if meta.is_file() && file.stream_position()? > meta.len() {
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(Some(file))
    }

    fn take(&mut self, line: &[u8]) {
        if line.is_empty() || line.starts_with(b"#") {
            return;
        }
        if !is_secret(line) || self.secrets.len() + line.len() >= MOST_BYTES {
            self.refused += 1;
            return;
        }
        if !self.known.insert(self.hasher.hash_one(line)) {
            return;
        }
        self.secrets.extend_from_slice(line);
        self.secrets.push(b'\n');
    }
}

/// A label and two numbers in hexadecimal. Nothing else gets into a capture, such as a private key that was named by mistake.
fn is_secret(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let label = words
        .next()
        .is_some_and(|word| word.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_'));
    let rest: Vec<&[u8]> = words.collect();
    label && rest.len() == 2 && rest.iter().all(|word| !word.is_empty() && word.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn text(secrets: io::Result<&[u8]>) -> String {
        String::from_utf8(secrets.unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_file_may_come_later_and_grow_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let mut keylog = Keylog::new(path.clone());
        assert_eq!(text(keylog.new_secrets()), "");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"# made by a test\nCLIENT_RANDOM 01 02\r\nCLIENT_RAN").unwrap();
        assert_eq!(text(keylog.new_secrets()), "CLIENT_RANDOM 01 02\n");
        file.write_all(b"DOM 03 04\nEXPORTER_SECRET 05 06\n").unwrap();
        assert_eq!(text(keylog.new_secrets()), "CLIENT_RANDOM 03 04\nEXPORTER_SECRET 05 06\n");
        assert_eq!(text(keylog.new_secrets()), "");
        assert_eq!(keylog.secrets().len(), 20 + 20 + 22);
    }

    #[test]
    fn a_file_that_was_replaced_or_cut_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let mut keylog = Keylog::new(path.clone());
        std::fs::write(&path, "A 01 02\nA 03 04\n").unwrap();
        assert_eq!(text(keylog.new_secrets()), "A 01 02\nA 03 04\n");
        std::fs::write(&path, "B 01 02\n").unwrap();
        assert_eq!(text(keylog.new_secrets()), "B 01 02\n");
        std::fs::write(dir.path().join("again"), "A 01 02\nB 01 02\n").unwrap();
        std::fs::rename(dir.path().join("again"), &path).unwrap();
        assert_eq!(text(keylog.new_secrets()), "", "these were written");
        std::fs::write(dir.path().join("new"), "C 01 02\n").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(text(keylog.new_secrets()), "C 01 02\n");
    }

    #[test]
    fn what_is_no_secret_stays_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nA xy zz\nA 01\nA 01 02 03\n")
            .unwrap();
        let mut keylog = Keylog::new(path);
        assert_eq!(text(keylog.new_secrets()), "");
        assert_eq!(keylog.refused(), 5);
    }
}
