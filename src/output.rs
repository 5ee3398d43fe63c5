//! The files of a capture on this machine: where they go, that the folder can take them, and that no other capture has them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use netobserv_contract::files::{Claim, create_folder, numbered};
use netobserv_contract::metrics;

use crate::options::PacketSettings;

mod repair;

pub use repair::{Repair, repair};

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

/// The files of one capture: a pair for flows and for metrics, one or more for packets. They are there from the beginning, empty, so that no
/// other capture takes their name; they are removed when this is dropped and nothing was written.
#[derive(Debug)]
pub struct Output {
    root: PathBuf,
    base: String,
    packets: Option<Packets>,
    of_metrics: bool,
}

/// What the files of packets are.
#[derive(Debug, Clone)]
struct Packets {
    /// Ending of their names.
    ending: String,
    /// There are none: packets go to standard output.
    to_stdout: bool,
    /// They are numbered.
    several: bool,
}

impl Output {
    /// Makes `root/flow` and, in it, the files of a capture that begins at `now`.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or not be written.
    pub fn prepare(root: &Path, now: DateTime<Utc>) -> Result<Self, OutputError> {
        let base = reserve(&root.join("flow"), now, &[".json", ".db"], &[])?;
        Ok(Self { root: root.to_owned(), base, packets: None, of_metrics: false })
    }

    /// The same for metrics: `root/metrics`.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or not be written.
    pub fn metrics(root: &Path, now: DateTime<Utc>) -> Result<Self, OutputError> {
        let base = reserve(&root.join(metrics::FOLDER), now, &metrics::ENDINGS, &[])?;
        Ok(Self { root: root.to_owned(), base, packets: None, of_metrics: true })
    }

    /// The same for packets: `root/pcap`, unless they go to standard output.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or not be written.
    pub fn packets(root: &Path, settings: &PacketSettings, now: DateTime<Utc>) -> Result<Self, OutputError> {
        let ending = settings.format.clone().unwrap_or_else(|| "pcapng".to_owned());
        let several = settings.max_file_size.is_some();
        let (one, first) = (format!(".{ending}"), format!("-00001.{ending}"));
        let (made, rival) = if several { (&first, &one) } else { (&one, &first) };
        let base = match settings.to_stdout {
            true => time_name(now),
            false => reserve(&root.join("pcap"), now, &[made], &[rival])?,
        };
        let packets = Packets { ending, to_stdout: settings.to_stdout, several };
        Ok(Self { root: root.to_owned(), base, packets: Some(packets), of_metrics: false })
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

    /// The files are of flows.
    #[must_use]
    pub fn is_of_flows(&self) -> bool {
        self.packets.is_none() && !self.of_metrics
    }

    /// A snapshot and a dashboard.
    fn metrics_files(&self) -> [PathBuf; 2] {
        metrics::ENDINGS.map(|ending| self.root.join(metrics::FOLDER).join(format!("{}{ending}", self.base)))
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
            match number {
                Some(number) if packets.several => number.strip_prefix('-').is_some_and(is_number),
                number => number == Some(""),
            }
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

    /// The collector has written something.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.files().iter().any(|path| !is_empty(path))
    }

    /// The files, as far as they are there by now.
    fn files(&self) -> Vec<PathBuf> {
        match &self.packets {
            Some(packets) if packets.to_stdout => vec![],
            Some(packets) => self.packet_files(packets),
            None if self.of_metrics => self.metrics_files().into(),
            None => vec![self.json(), self.db()],
        }
    }

    /// Removes files without any flow: what a capture leaves that could not begin.
    pub fn discard_empty(&self) {
        if self.of_metrics {
            let files = self.metrics_files();
            // The dashboard is written at once, the snapshot when there is something to count.
            files.iter().filter(|_| is_empty(&files[0])).for_each(|path| drop(fs::remove_file(path)));
            return;
        }
        if self.packets.is_some() {
            for path in self.files().iter().filter(|path| has_no_packet(path).unwrap_or(false)) {
                let _ = fs::remove_file(path);
            }
            return;
        }
        if has_no_flow(&self.json()).unwrap_or(false) {
            for ending in ["json", "db", "db-wal", "db-shm"] {
                let _ = fs::remove_file(self.file(ending));
            }
        }
    }
}

/// What was reserved and never written goes.
impl Drop for Output {
    fn drop(&mut self) {
        if !self.exists() {
            self.files().iter().for_each(|path| drop(fs::remove_file(path)));
        }
    }
}

/// Makes the folder and takes the name of a capture that begins at `now` by creating its files.
fn reserve(dir: &Path, now: DateTime<Utc>, endings: &[&str], rivals: &[&str]) -> Result<String, OutputError> {
    let failed = |source| OutputError { dir: dir.to_owned(), source };
    create_folder(dir).map_err(failed)?;
    let claim = Claim::first_free(dir, numbered(&time_name(now)), endings, rivals);
    let claim = claim.map_err(|error| failed(error.source))?;
    let name = claim.name().to_owned();
    claim.keep();
    Ok(name)
}

/// A warning when the output folder is there and another user can replace what is in it.
#[must_use]
pub fn foreign_owner(root: &Path) -> Option<String> {
    let folders = [root.to_owned(), root.join("flow"), root.join("pcap"), root.join(metrics::FOLDER)];
    let (folder, owner) = folders.iter().find_map(|folder| Some((folder, foreign_uid(folder)?)))?;
    let folder = folder.display();
    Some(format!("warning: {folder} belongs to another user (uid {owner}), who can replace the files in it"))
}

/// Root can do so anyhow, and who uses sudo owns the folder in another way.
#[cfg(unix)]
fn foreign_uid(folder: &Path) -> Option<u32> {
    let owner = std::os::unix::fs::MetadataExt::uid(&folder.metadata().ok()?);
    let own = nix::unistd::geteuid();
    let sudo = own.is_root().then(|| std::env::var("SUDO_UID").ok()?.parse().ok()).flatten();
    (owner != own.as_raw() && owner != 0 && Some(owner) != sudo).then_some(owner)
}

#[cfg(not(unix))]
fn foreign_uid(_folder: &Path) -> Option<u32> {
    None
}

fn is_empty(path: &Path) -> bool {
    path.symlink_metadata().map_or(true, |found| found.len() == 0)
}

/// Nothing but brackets is in this JSON.
fn has_no_flow(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut head)?;
    Ok(head.iter().all(|b| b" \r\n\t[]".contains(b)))
}

/// For the last line of a session.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of_metrics {
            let [snapshot, dashboard] = self.metrics_files();
            return write!(f, "metrics are in {}, a dashboard is in {}", snapshot.display(), dashboard.display());
        }
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

fn time_name(now: DateTime<Utc>) -> String {
    now.format("%Y-%m-%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

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
        let outputs = ["2024-03-06T161922Z", "2024-03-06T161922Z-2", "2024-03-06T161922Z-3"].map(|expected| {
            let output = Output::prepare(dir.path(), at_start_of_2024()).unwrap();
            assert_eq!(output.base(), Some(expected));
            output
        });
        fs::write(outputs[1].json(), "[]").unwrap();
        fs::write(outputs[1].db(), "data").unwrap();
        outputs[0].discard_empty();
        drop(outputs);
        let mut left: Vec<_> = dir.path().join("flow").read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["2024-03-06T161922Z-2.db", "2024-03-06T161922Z-2.json"], "each removes its own only");
    }

    #[test]
    fn files_of_packets_are_one_or_numbered() {
        let dir = tempfile::tempdir().unwrap();
        let several = PacketSettings { max_file_size: NonZeroU64::new(100_000), ..PacketSettings::default() };
        let output = Output::packets(dir.path(), &several, at_start_of_2024()).unwrap();
        let other = Output::packets(dir.path(), &PacketSettings::default(), at_start_of_2024()).unwrap();
        assert!(!output.exists() && other.base() == Some("2024-03-06T161922Z-2"));
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
