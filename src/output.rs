//! The files of a capture on this machine: where they go, that the folder can take them, and that the JSON is whole when
//! the program that wrote it was killed.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

/// Why there is no place for the files.
#[derive(Debug, thiserror::Error)]
#[error("cannot write into {}: {source}; choose another folder with --output-dir", dir.display())]
pub struct OutputError {
    dir: PathBuf,
    source: io::Error,
}

/// The pair of files of one capture.
#[derive(Debug, Clone)]
pub struct Output {
    root: PathBuf,
    base: String,
}

impl Output {
    /// Makes `root/flow`, tries it out, and picks the name of a capture that begins at `now`.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or not be written.
    pub fn prepare(root: &Path, now: DateTime<Utc>) -> Result<Self, OutputError> {
        let dir = root.join("flow");
        let failed = |source| OutputError { dir: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(failed)?;
        tempfile::tempfile_in(&dir).map_err(failed)?;
        Ok(Self { root: root.to_owned(), base: free_name(&dir, &now.format("%Y-%m-%dT%H%M%SZ").to_string()) })
    }

    /// The folder that holds `flow/`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Name of the files without their ending.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A JSON array of flows.
    #[must_use]
    pub fn json(&self) -> PathBuf {
        self.file("json")
    }

    /// An SQLite database with the tables `flow` and `capture`.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.file("db")
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.root.join("flow").join(format!("{}.{ending}", self.base))
    }

    /// The collector has begun to write.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.json().exists() || self.db().exists()
    }

    /// Removes files without any flow: what a capture leaves that could not begin.
    pub fn discard_empty(&self) {
        let no_flow = fs::read(self.json()).is_ok_and(|text| text.iter().all(|b| b" \r\n\t[]".contains(b)));
        if no_flow {
            for ending in ["json", "db", "db-wal", "db-shm"] {
                let _ = fs::remove_file(self.file(ending));
            }
        }
    }
}

/// For the last line of a session.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flows are in {} and {}", self.json().display(), self.db().display())
    }
}

/// `base`, or `base-2` and so on when an earlier capture of the same second has that name.
fn free_name(dir: &Path, base: &str) -> String {
    let taken = |name: &str| ["json", "db"].iter().any(|ending| dir.join(format!("{name}.{ending}")).exists());
    if !taken(base) {
        return base.to_owned();
    }
    (2..).map(|n| format!("{base}-{n}")).find(|name| !taken(name)).expect("the numbers do not run out")
}

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
            (0, 1) | (2, 1) => end = offset as u64 + 1,
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

    fn at_start_of_2024() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2024-03-06T16:19:22Z").unwrap().to_utc()
    }

    #[test]
    fn files_are_named_after_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::prepare(&dir.path().join("a/b"), at_start_of_2024()).unwrap();
        assert_eq!(output.json(), dir.path().join("a/b/flow/2024-03-06T161922Z.json"));
        assert_eq!(output.db(), dir.path().join("a/b/flow/2024-03-06T161922Z.db"));
        assert!(!output.exists());
    }

    #[test]
    fn an_earlier_capture_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        for expected in ["2024-03-06T161922Z", "2024-03-06T161922Z-2", "2024-03-06T161922Z-3"] {
            let output = Output::prepare(dir.path(), at_start_of_2024()).unwrap();
            assert_eq!(output.base(), expected);
            fs::write(output.db(), "").unwrap();
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = Output::prepare(&dir.path().join("file"), at_start_of_2024()).unwrap_err().to_string();
        assert!(
            error.contains("/file/flow: ") && error.ends_with("choose another folder with --output-dir"),
            "{error}"
        );
    }

    #[test]
    fn only_files_without_flows_are_discarded() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::prepare(dir.path(), at_start_of_2024()).unwrap();
        for (text, stays) in [("[\n{\"A\":1}\n]\n", true), ("[\n]\n", false)] {
            fs::write(output.json(), text).unwrap();
            fs::write(output.db(), "").unwrap();
            output.discard_empty();
            assert_eq!((output.json().exists(), output.db().exists()), (stays, stays));
        }
    }
}
