//! Where the files of a capture go.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
pub use netobserv_contract::files::create;
use netobserv_contract::files::{Claim, ClaimError, create_folder, numbered};
use netobserv_contract::metrics::ENDINGS as METRICS_ENDINGS;

/// The paths of one capture of flows.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The JSON array.
    pub json: PathBuf,
    /// The SQLite database.
    pub db: PathBuf,
}

/// What the files are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Name {
    /// The start time, with a number where another capture has it.
    #[default]
    StartTime,
    /// This, if no file is called so.
    Given(String),
    /// This: the program that started this one has created the files, empty.
    Reserved(String),
}

/// A folder for files, that can be written.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A file or folder that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The folder.
    #[error("cannot write to folder {}: {why}; choose another with --output-dir", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// A file of that name is there.
    #[error("{} is already there: remove it, or choose another --filename", .0.display())]
    Exists(PathBuf),
    /// A file that was promised to be there, empty.
    #[error("{} is not an empty file, as --child wants: {why}", path.display())]
    Reserved {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

impl Folder {
    /// Makes `output/name` and checks that files can be written there.
    ///
    /// # Errors
    /// When they cannot.
    pub fn prepare(output: &Path, name: &str) -> Result<Self, OutputError> {
        let folder = output.join(name);
        create_folder(&folder).and_then(|()| probe(&folder)).map_err(|why| {
            // Making a folder fails with "File exists" when a file is in its place.
            let why = if folder.exists() && !folder.is_dir() { io::Error::other("it is not a folder") } else { why };
            OutputError::Folder { path: folder.clone(), why }
        })?;
        Ok(Self(folder))
    }

    /// Creates a JSON file and a database.
    ///
    /// # Errors
    /// When the name is taken, or the folder takes no file.
    pub fn flows(&self, name: &Name, start: DateTime<Utc>) -> Result<Claim, OutputError> {
        self.claim(name, start, &[".json", ".db"], &[])
    }

    /// Creates a snapshot of metrics, and a dashboard for them.
    ///
    /// # Errors
    /// When the name is taken, or the folder takes no file.
    pub fn metrics(&self, name: &Name, start: DateTime<Utc>) -> Result<Claim, OutputError> {
        self.claim(name, start, &METRICS_ENDINGS, &[])
    }

    /// Creates a file of packets, or the first of several.
    ///
    /// # Errors
    /// When the name is taken, or the folder takes no file.
    pub fn packets(
        &self,
        name: &Name,
        start: DateTime<Utc>,
        ending: &str,
        several: bool,
    ) -> Result<Claim, OutputError> {
        let (one, first) = (format!(".{ending}"), format!("-00001.{ending}"));
        let (made, rival) = if several { (&first, &one) } else { (&one, &first) };
        self.claim(name, start, &[made], &[rival])
    }

    fn claim(
        &self,
        name: &Name,
        start: DateTime<Utc>,
        endings: &[&str],
        rivals: &[&str],
    ) -> Result<Claim, OutputError> {
        let claim = match name {
            Name::Reserved(name) => {
                let reserved = Claim::of_empty(&self.0, name, endings);
                return reserved.map_err(|ClaimError { path, source: why }| OutputError::Reserved { path, why });
            }
            Name::Given(name) => Claim::first_free(&self.0, [name.clone()], endings, rivals),
            Name::StartTime => {
                let base = start.format("%Y-%m-%dT%H%M%SZ").to_string();
                Claim::first_free(&self.0, numbered(&base), endings, rivals)
            }
        };
        claim.map_err(|ClaimError { path, source }| match source.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists(path),
            _ => OutputError::Folder { path: self.0.clone(), why: source },
        })
    }
}

fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".probe-{}", std::process::id()));
    create(&path)?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(claim: Claim) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let names = claim.paths().iter().map(name).collect();
        claim.keep();
        names
    }

    #[test]
    fn names_come_from_the_start_and_never_meet() {
        let dir = tempfile::tempdir().unwrap();
        let start = "2024-03-06T16:19:22.5Z".parse().unwrap();
        let folder = Folder::prepare(dir.path(), "flow").unwrap();
        let flows = || names(folder.flows(&Name::StartTime, start).unwrap());
        assert_eq!(flows(), ["2024-03-06T161922Z.json", "2024-03-06T161922Z.db"]);
        assert_eq!(flows(), ["2024-03-06T161922Z-2.json", "2024-03-06T161922Z-2.db"]);
        let packets = |several| names(folder.packets(&Name::StartTime, start, "pcap", several).unwrap());
        assert_eq!(packets(true), ["2024-03-06T161922Z-00001.pcap"]);
        assert_eq!(
            (packets(false), packets(true)),
            (vec!["2024-03-06T161922Z-2.pcap".into()], vec!["2024-03-06T161922Z-3-00001.pcap".into()])
        );
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::prepare(dir.path(), "flow").unwrap();
        let name = Name::Given("mine".into());
        let claim = folder.flows(&name, Utc::now()).unwrap();
        let error = folder.flows(&name, Utc::now()).unwrap_err();
        assert!(error.to_string().contains("mine.json is already there"), "{error}");
        drop(claim);
        assert_eq!(dir.path().join("flow").read_dir().unwrap().count(), 0, "it did not begin");
    }

    #[test]
    fn reserved_files_are_taken_as_they_are_if_they_are_empty() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::prepare(dir.path(), "flow").unwrap();
        let name = Name::Reserved("a".into());
        assert!(folder.flows(&name, Utc::now()).is_err(), "nothing is reserved");
        for ending in ["json", "db"] {
            create(&dir.path().join(format!("flow/a.{ending}"))).unwrap();
        }
        assert_eq!(names(folder.flows(&name, Utc::now()).unwrap()), ["a.json", "a.db"]);
        std::fs::write(dir.path().join("flow/a.db"), "data").unwrap();
        assert!(folder.flows(&name, Utc::now()).unwrap_err().to_string().contains("a.db is not an empty file"));
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        create(&dir.path().join("flow")).unwrap();
        let error = Folder::prepare(dir.path(), "flow").unwrap_err().to_string();
        assert!(error.contains("it is not a folder; choose another with --output-dir"), "{error}");
        assert!(Folder::prepare(&dir.path().join("flow"), "flow").is_err());
    }
}
