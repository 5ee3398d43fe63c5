//! Makes a JSON array whole that was cut because the program that wrote it was killed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// What [`repair`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Repair {
    /// The array was closed.
    Whole,
    /// The array was closed behind its last whole element; this many bytes of a cut one are gone.
    Cut(u64),
}

/// Makes a JSON array of objects valid that was cut anywhere, keeping all its whole elements.
///
/// # Errors
///
/// The file cannot be read or written, or does not begin as an array.
pub fn repair(path: &Path) -> io::Result<Repair> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let end = match scan(&file)? {
        Scan::Closed => return Ok(Repair::Whole),
        Scan::Open { end } => end,
    };
    let length = file.metadata()?.len();
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    file.write_all(if end == 0 { b"[]\n" } else { b"\n]\n" })?;
    file.sync_all()?;
    Ok(Repair::Cut(length - end))
}

enum Scan {
    /// A closed array.
    Closed,
    /// An open one; its last whole element, or its opening bracket, ends at this offset.
    Open { end: u64 },
}

/// Follows brackets and strings only: the text was written by our own collector, it is not malformed but cut.
fn scan(file: &File) -> io::Result<Scan> {
    let mut state = Nesting::default();
    let mut end = 0;
    for (offset, byte) in BufReader::with_capacity(1 << 16, file).bytes().enumerate() {
        let before = state.depth;
        state.take(byte?);
        match (before, state.depth) {
            (1, 0) => return Ok(Scan::Closed),
            (0 | 2, 1) => end = offset as u64 + 1,
            (0, 0) if !state.blank => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a JSON array")),
            _ => {}
        }
    }
    Ok(Scan::Open { end })
}

#[derive(Default)]
struct Nesting {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// The last byte was white space.
    blank: bool,
}

impl Nesting {
    fn take(&mut self, byte: u8) {
        self.blank = byte.is_ascii_whitespace();
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            // An object outside of any array is not ours.
            b'[' => self.depth += 1,
            b'{' if self.depth > 0 => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const WHOLE: &str = "[\n{\"A\":\"]}\\\"[{\",\"L\":[{\"x\":1},{}],\"O\":{}},\n{\"B\":2}\n]\n";

    fn repaired(text: &str) -> (io::Result<Repair>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        fs::write(&path, text).unwrap();
        (repair(&path), fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn a_whole_file_is_not_touched() {
        for text in [WHOLE, "[]", "[]\n", " [ ] \n", "[{}]"] {
            let (found, after) = repaired(text);
            assert_eq!(found.unwrap(), Repair::Whole, "{text}");
            assert_eq!(after, text);
        }
    }

    #[test]
    fn a_file_cut_anywhere_keeps_every_whole_element() {
        let first_ends = WHOLE.find(",\n{").unwrap();
        let second_ends = WHOLE.find("\n]").unwrap();
        for cut in 0..WHOLE.trim_end().len() {
            let (found, after) = repaired(&WHOLE[..cut]);
            assert!(matches!(found, Ok(Repair::Cut(_))), "cut at {cut}: {found:?}");
            let flows: Vec<serde_json::Value> = serde_json::from_str(&after).unwrap_or_else(|e| panic!("{cut}: {e}"));
            let expected = usize::from(cut >= first_ends) + usize::from(cut >= second_ends);
            assert_eq!(flows.len(), expected, "cut at {cut}: {after}");
        }
    }

    #[test]
    fn what_is_cut_off_is_counted() {
        assert_eq!(repaired("[\n{\"A\":1},\n{\"B").0.unwrap(), Repair::Cut(",\n{\"B".len() as u64));
        assert_eq!(repaired("[\n{\"A\":1},\n{\"B").1, "[\n{\"A\":1}\n]\n");
    }

    #[test]
    fn something_else_is_left_alone() {
        for text in ["{\"A\":1}", "hello", "{\"A\":[1]"] {
            let (found, after) = repaired(text);
            assert_eq!(found.unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
            assert_eq!(after, text);
        }
    }
}
