//! The files of a capture on this machine: where they go, that the folder can take them, and that the JSON is whole when
//! the program that wrote it was killed.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::options::PacketSettings;

/// A pcapng file begins so; its length is that of the first block when nothing else is in it.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Length of a pcap file without packets.
const EMPTY_PCAP: u64 = 24;
/// Digits of the number of a file among several.
const DIGITS: usize = 5;

/// Why there is no place for the files.
#[derive(Debug, thiserror::Error)]
#[error("cannot write into {}: {source}; choose another folder with --output-dir", dir.display())]
pub struct OutputError {
    dir: PathBuf,
    source: io::Error,
}

/// The files of one capture: a pair for flows, one or more for packets.
#[derive(Debug, Clone)]
pub struct Output {
    root: PathBuf,
    base: String,
    packets: Option<Packets>,
}

/// What the files of packets are.
#[derive(Debug, Clone)]
struct Packets {
    /// Ending of their names.
    ending: String,
    /// There are none: packets go to standard output.
    to_stdout: bool,
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
        let base = free_name(&dir, &time_name(now), &["json", "db"]);
        Ok(Self { root: root.to_owned(), base, packets: None })
    }

    /// The same for packets: `root/pcap`, unless they go to standard output.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or not be written.
    pub fn packets(root: &Path, settings: &PacketSettings, now: DateTime<Utc>) -> Result<Self, OutputError> {
        let ending = settings.format.clone().unwrap_or_else(|| "pcapng".to_owned());
        let packets = Packets { ending, to_stdout: settings.to_stdout };
        let mut output = Self { root: root.to_owned(), base: time_name(now), packets: None };
        if !settings.to_stdout {
            let dir = root.join("pcap");
            let failed = |source| OutputError { dir: dir.clone(), source };
            fs::create_dir_all(&dir).map_err(failed)?;
            tempfile::tempfile_in(&dir).map_err(failed)?;
            let first = format!("-00001.{}", packets.ending);
            output.base = free_name(&dir, &output.base, &[&packets.ending]);
            if dir.join(format!("{}{first}", output.base)).exists() {
                output.base.push_str("-2");
            }
        }
        output.packets = Some(packets);
        Ok(output)
    }

    /// The folder that holds `flow/`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Name of the files without their ending; `None` when there are none.
    #[must_use]
    pub fn base(&self) -> Option<&str> {
        self.packets.as_ref().is_none_or(|packets| !packets.to_stdout).then_some(self.base.as_str())
    }

    /// The files are of packets.
    #[must_use]
    pub fn is_of_packets(&self) -> bool {
        self.packets.is_some()
    }

    /// The files of packets, oldest first.
    fn packet_files(&self, packets: &Packets) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.root.join("pcap")).into_iter().flatten().flatten().map(|e| e.path()).collect();
        let ours = |name: &str| {
            let number = name
                .strip_prefix(self.base.as_str())
                .and_then(|rest| rest.strip_suffix(&format!(".{}", packets.ending)));
            let is_number = |text: &str| text.len() >= DIGITS && text.bytes().all(|b| b.is_ascii_digit());
            number.is_some_and(|number| number.is_empty() || number.strip_prefix('-').is_some_and(is_number))
        };
        files.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(ours));
        files.sort();
        files
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
        match &self.packets {
            Some(packets) => !packets.to_stdout && !self.packet_files(packets).is_empty(),
            None => self.json().exists() || self.db().exists(),
        }
    }

    /// Removes files without any flow: what a capture leaves that could not begin.
    pub fn discard_empty(&self) {
        if let Some(packets) = &self.packets {
            for path in self.packet_files(packets).iter().filter(|path| has_no_packet(path).unwrap_or(false)) {
                let _ = fs::remove_file(path);
            }
            return;
        }
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
        let Some(packets) = &self.packets else {
            return write!(f, "flows are in {} and {}", self.json().display(), self.db().display());
        };
        match &self.packet_files(packets)[..] {
            [] => write!(f, "there is no file"),
            [file] => write!(f, "packets are in {}", file.display()),
            [first, .., last] => write!(f, "packets are in {} to {}", first.display(), last.display()),
        }
    }
}

/// Nothing but the head is in this file of packets.
fn has_no_packet(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let (mut head, length) = ([0; 8], file.metadata()?.len());
    if length < head.len() as u64 {
        return Ok(true);
    }
    file.read_exact(&mut head)?;
    let [a, b, c, d, first @ ..] = head;
    Ok(if [a, b, c, d] == PCAPNG { length <= u64::from(u32::from_le_bytes(first)) } else { length <= EMPTY_PCAP })
}

/// `base`, or `base-2` and so on when an earlier capture of the same second has that name.
fn free_name(dir: &Path, base: &str, endings: &[&str]) -> String {
    let taken = |name: &str| endings.iter().any(|ending| dir.join(format!("{name}.{ending}")).exists());
    if !taken(base) {
        return base.to_owned();
    }
    (2..).map(|n| format!("{base}-{n}")).find(|name| !taken(name)).expect("the numbers do not run out")
}

fn time_name(now: DateTime<Utc>) -> String {
    now.format("%Y-%m-%dT%H%M%SZ").to_string()
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
            assert_eq!(output.base(), Some(expected));
            fs::write(output.db(), "").unwrap();
        }
    }

    #[test]
    fn files_of_packets_are_one_or_numbered() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::packets(dir.path(), &PacketSettings::default(), at_start_of_2024()).unwrap();
        assert!(!output.exists());
        let path = |name: &str| dir.path().join("pcap").join(format!("2024-03-06T161922Z{name}.pcapng"));
        let with_packet = [&PCAPNG[..], &28_u32.to_le_bytes(), &[0; 60]].concat();
        fs::write(path("-00002"), &with_packet).unwrap();
        fs::write(path("-00001"), &with_packet).unwrap();
        fs::write(path("-2"), "of another capture").unwrap();
        assert!(
            output.to_string().ends_with("-00002.pcapng") && output.to_string().contains("-00001.pcapng to "),
            "{output}"
        );
        fs::write(path("-00002"), &with_packet[..28]).unwrap();
        output.discard_empty();
        assert_eq!((path("-00001").exists(), path("-00002").exists(), path("-2").exists()), (true, false, true));
    }

    #[test]
    fn packets_for_standard_output_have_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let settings = PacketSettings { to_stdout: true, ..PacketSettings::default() };
        let output = Output::packets(dir.path(), &settings, at_start_of_2024()).unwrap();
        assert_eq!((output.base(), output.exists(), dir.path().join("pcap").exists()), (None, false, false));
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
