//! The file of `--yaml`: a name that tells the capture and the minute, and a file that nobody else reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Local};

use crate::plan::Kind;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; choose another folder with --output-dir", path.display())]
pub struct YamlFileError {
    path: PathBuf,
    source: io::Error,
}

/// Writes `text` into a new file of `folder`, which is made if missing, and tells its path. A file that is there already
/// is left alone: the name gets a number.
///
/// # Errors
///
/// The folder or the file cannot be written.
pub fn write(folder: &Path, kind: Kind, now: DateTime<Local>, text: &str) -> Result<PathBuf, YamlFileError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| YamlFileError { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for number in 1.. {
        let path = folder.join(name(kind, now, number));
        match private(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes()).map_err(failed(&path))?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path)(error)),
        }
    }
    unreachable!("there is a number that no file has")
}

/// `flows_capture_2026_03_06_16_19.yml`, by the clock on the wall; the second of that minute ends in `_2.yml`.
fn name(kind: Kind, now: DateTime<Local>, number: usize) -> String {
    let number = if number == 1 { String::new() } else { format!("_{number}") };
    format!("{}_capture_{}{number}.yml", kind.word(), now.format("%Y_%m_%d_%H_%M"))
}

/// There are keys in it.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone as _;

    fn afternoon() -> DateTime<Local> {
        Local.with_ymd_and_hms(2026, 3, 6, 16, 9, 22).unwrap()
    }

    #[test]
    fn a_second_file_of_the_same_minute_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/b");
        let names = ["x", "y", "z"].map(|text| {
            let path = write(&folder, Kind::Packets, afternoon(), text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            path.file_name().unwrap().to_str().unwrap().to_owned()
        });
        let base = "packets_capture_2026_03_06_16_09";
        assert_eq!(names, [format!("{base}.yml"), format!("{base}_2.yml"), format!("{base}_3.yml")]);
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), Kind::Flows, afternoon(), "").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = write(&file.join("x"), Kind::Flows, afternoon(), "").unwrap_err().to_string();
        assert!(error.contains("/file/x") && error.ends_with("choose another folder with --output-dir"), "{error}");
    }
}
