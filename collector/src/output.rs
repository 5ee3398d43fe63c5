//! Where the files of a capture go.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

/// The paths of one capture, free to be created.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The JSON array.
    pub json: PathBuf,
    /// The SQLite database.
    pub db: PathBuf,
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
}

impl Paths {
    /// Makes the folder, checks that files can be written there, and names the files after `name` or `start`.
    ///
    /// # Errors
    /// When the folder is not writable, or `name` is taken.
    pub fn prepare(output: &Path, name: Option<&str>, start: DateTime<Utc>) -> Result<Self, OutputError> {
        let folder = Folder::prepare(output, "flow")?;
        let name = folder.free_name(name, start, &["json", "db"])?;
        Ok(Self { json: folder.file(&name, "json"), db: folder.file(&name, "db") })
    }
}

impl Folder {
    /// Makes `output/name` and checks that files can be written there.
    ///
    /// # Errors
    /// When they cannot.
    pub fn prepare(output: &Path, name: &str) -> Result<Self, OutputError> {
        let folder = output.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).and_then(|()| probe(&folder)).map_err(|why| {
            // "File exists" is what making a folder says when a file is in its place.
            let why = if folder.exists() && !folder.is_dir() { io::Error::other("it is not a folder") } else { why };
            OutputError::Folder { path: folder.clone(), why }
        })?;
        Ok(Self(folder))
    }

    /// The path of a file that is not there yet, named `name` or after `start`.
    ///
    /// # Errors
    /// When `name` is taken.
    pub fn free(&self, name: Option<&str>, start: DateTime<Utc>, ending: &str) -> Result<PathBuf, OutputError> {
        // A ring of files has names with the number of its first behind them.
        let first = format!("-00001.{ending}");
        let name = self.free_name(name, start, &[ending])?;
        let taken = self.0.join(format!("{name}{first}"));
        if taken.symlink_metadata().is_ok() { Err(OutputError::Exists(taken)) } else { Ok(self.file(&name, ending)) }
    }

    /// A name that no file with one of these endings has.
    fn free_name(&self, name: Option<&str>, start: DateTime<Utc>, endings: &[&str]) -> Result<String, OutputError> {
        let taken = |name: &str| {
            let mut paths = endings.iter().map(|ending| self.file(name, ending));
            paths.find(|path| path.symlink_metadata().is_ok())
        };
        if let Some(name) = name {
            return taken(name).map_or(Ok(name.to_owned()), |path| Err(OutputError::Exists(path)));
        }
        let base = start.format("%Y-%m-%dT%H%M%SZ").to_string();
        let mut numbered = (2..).map(|number| format!("{base}-{number}"));
        if taken(&base).is_none() {
            return Ok(base);
        }
        Ok(numbered.find(|name| taken(name).is_none()).unwrap_or(base))
    }

    fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.0.join(format!("{name}.{ending}"))
    }
}

/// Creates a file that must not be there yet.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".probe-{}", std::process::id()));
    create(&path)?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_start_and_never_meet() {
        let dir = tempfile::tempdir().unwrap();
        let start = "2024-03-06T16:19:22.5Z".parse().unwrap();
        let first = Paths::prepare(dir.path(), None, start).unwrap();
        assert_eq!(first.json, dir.path().join("flow/2024-03-06T161922Z.json"));
        create(&first.db).unwrap();
        let second = Paths::prepare(dir.path(), None, start).unwrap();
        assert_eq!(second.db, dir.path().join("flow/2024-03-06T161922Z-2.db"));
        assert_eq!(dir.path().join("flow").read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::prepare(dir.path(), Some("mine"), Utc::now()).unwrap();
        create(&paths.json).unwrap();
        let error = Paths::prepare(dir.path(), Some("mine"), Utc::now()).unwrap_err();
        assert!(error.to_string().contains("mine.json is already there"), "{error}");
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        create(&dir.path().join("flow")).unwrap();
        let error = Paths::prepare(dir.path(), None, Utc::now()).unwrap_err().to_string();
        assert!(error.contains("it is not a folder; choose another with --output-dir"), "{error}");
        assert!(Paths::prepare(&dir.path().join("flow"), None, Utc::now()).is_err());
    }
}
