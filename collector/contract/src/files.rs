//! Files and folders that only their owner can read, whatever the umask: what was captured, and the secrets of its connections.
//! A name is taken by creating its files: of two captures that look for one at the same moment, each gets its own.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::path::{Path, PathBuf};

/// A file that a claim could not create.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct ClaimError {
    /// Which one.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Empty files of this program under one name. Dropped without [`Claim::keep`], they are removed.
#[derive(Debug)]
pub struct Claim {
    base: PathBuf,
    name: String,
    paths: Vec<PathBuf>,
    files: Vec<File>,
}

impl Claim {
    /// Creates `folder/NAME` + each of `endings`, for the first of `names` of which none of these files is there, and none with
    /// one of the endings `rivals`.
    ///
    /// # Errors
    /// When no name is free (`AlreadyExists`, with the last file that was in the way), or the system refuses.
    pub fn first_free(
        folder: &Path,
        names: impl IntoIterator<Item = String>,
        endings: &[&str],
        rivals: &[&str],
    ) -> Result<Self, ClaimError> {
        let mut taken = ClaimError { path: folder.to_owned(), source: io::ErrorKind::AlreadyExists.into() };
        for name in names {
            let mut claim = Self { base: folder.join(&name), name, paths: vec![], files: vec![] };
            let rival = rivals.iter().map(|ending| claim.path(ending)).find(|path| path.symlink_metadata().is_ok());
            let filled = match rival {
                Some(path) => Err(ClaimError { path, source: io::ErrorKind::AlreadyExists.into() }),
                None => claim.fill(endings, create),
            };
            match filled {
                Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => taken = error,
                filled => return filled.map(|()| claim),
            }
        }
        Err(taken)
    }

    /// Takes over files that were created for this program.
    ///
    /// # Errors
    /// When one of them is not there, not a file, or not empty.
    pub fn of_empty(folder: &Path, name: &str, endings: &[&str]) -> Result<Self, ClaimError> {
        let mut claim = Self { base: folder.join(name), name: name.to_owned(), paths: vec![], files: vec![] };
        claim.fill(endings, open_empty).map(|()| claim)
    }

    fn fill(&mut self, endings: &[&str], open: impl Fn(&Path) -> io::Result<File>) -> Result<(), ClaimError> {
        for ending in endings {
            let path = self.path(ending);
            match open(&path) {
                Ok(file) => self.files.push(file),
                Err(source) => return Err(ClaimError { path, source }),
            }
            self.paths.push(path);
        }
        Ok(())
    }

    /// The name, without an ending.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of a file of this name with another ending.
    #[must_use]
    pub fn path(&self, ending: &str) -> PathBuf {
        let mut path = self.base.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    /// The paths of the files, in the order of their endings.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The files, in the order of their endings, for writing; they can be taken once.
    #[must_use]
    pub fn files(&mut self) -> Vec<File> {
        std::mem::take(&mut self.files)
    }

    /// The files stay.
    pub fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for path in &self.paths {
            // Somebody may have taken it away.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Opens an empty file; a link is refused.
fn open_empty(path: &Path) -> io::Result<File> {
    let found = path.symlink_metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let opened = file.metadata()?;
    let same = same_file(&found, &opened);
    if same && opened.len() == 0 { Ok(file) } else { Err(io::Error::other("it is not empty")) }
}

#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// `base`, `base-2`, `base-3` and so on.
pub fn numbered(base: &str) -> impl Iterator<Item = String> + use<> {
    let base = base.to_owned();
    std::iter::once(base.clone()).chain((2_u64..).map(move |number| format!("{base}-{number}")))
}

/// Creates a file that must not be there yet, mode 0600. A link in its place is not followed.
///
/// # Errors
/// When something is there, or the system refuses.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    if let Some(permissions) = permissions_unlike(&file.metadata()?, 0o600) {
        file.set_permissions(permissions)?;
    }
    Ok(file)
}

/// Creates a folder and those above it that are not there, mode 0700. One that is there keeps its mode.
///
/// # Errors
/// When something else is in its place, or the system refuses.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folder(parent)?;
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // Another capture was quicker, or a file is in its place.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return folder.read_dir().map(drop),
        created => created?,
    }
    match permissions_unlike(&folder.metadata()?, 0o700) {
        Some(permissions) => std::fs::set_permissions(folder, permissions),
        None => Ok(()),
    }
}

/// The mode that is wanted, where the umask took some of it away.
#[cfg(unix)]
fn permissions_unlike(metadata: &Metadata, mode: u32) -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    // A file system without modes shows one that nobody can change.
    let lacks = mode & !metadata.permissions().mode() != 0;
    lacks.then(|| Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn permissions_unlike(_: &Metadata, _: u32) -> Option<Permissions> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn only_the_owner_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b/c");
        create_folder(&folder).unwrap();
        create_folder(&folder).unwrap();
        let file = folder.join("file");
        create(&file).unwrap();
        assert_eq!((mode(&file), mode(&folder), mode(&dir.path().join("a"))), (0o600, 0o700, 0o700));
        assert_eq!(create(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(create_folder(&file).is_err() && create_folder(&file.join("below")).is_err());
    }

    #[test]
    fn claims_of_one_moment_get_names_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let claim = || Claim::first_free(dir.path(), numbered("a"), &[".json", ".db"], &[]).unwrap();
        let start = std::sync::Barrier::new(8);
        let mut names: Vec<String> = std::thread::scope(|scope| {
            let one = |_| {
                scope.spawn(|| {
                    start.wait();
                    let claim = claim();
                    let name = claim.name().to_owned();
                    claim.keep();
                    name
                })
            };
            let all: Vec<_> = (0..8).map(one).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        names.sort();
        names.dedup();
        assert_eq!((names.len(), dir.path().read_dir().unwrap().count()), (8, 16), "{names:?}");
    }

    #[test]
    fn a_claim_that_is_not_kept_removes_its_own_files_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.db"), "of another capture").unwrap();
        let once = |name: &str| std::iter::once(name.to_owned());
        let error = Claim::first_free(dir.path(), once("a"), &[".json", ".db"], &[]).unwrap_err();
        assert_eq!((error.path, error.source.kind()), (dir.path().join("a.db"), io::ErrorKind::AlreadyExists));
        assert!(Claim::first_free(dir.path(), once("a"), &[".json"], &[".db"]).is_err());
        drop(Claim::first_free(dir.path(), numbered("a"), &[".json", ".db"], &[]).unwrap());
        let left: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a.db"]);
    }

    #[test]
    fn empty_files_are_taken_over_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let claim = |name: &str| Claim::of_empty(dir.path(), name, &[".json"]);
        assert!(claim("a").is_err(), "it is not there");
        create(&dir.path().join("a.json")).unwrap();
        let mut taken = claim("a").unwrap();
        assert_eq!(
            (taken.files().len(), taken.paths(), taken.path(".x")),
            (1, &[dir.path().join("a.json")][..], dir.path().join("a.x"))
        );
        taken.keep();
        std::os::unix::fs::symlink("a.json", dir.path().join("link.json")).unwrap();
        assert!(claim("link").is_err());
        std::fs::write(dir.path().join("a.json"), "data").unwrap();
        assert!(claim("a").unwrap_err().to_string().ends_with("a.json: it is not empty"));
        assert!(dir.path().join("a.json").exists());
    }

    #[test]
    fn a_folder_of_the_user_keeps_its_mode_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        create_folder(dir.path()).unwrap();
        assert_eq!(mode(dir.path()), 0o755);
        std::os::unix::fs::symlink("target", dir.path().join("link")).unwrap();
        assert!(create(&dir.path().join("link")).is_err() && !dir.path().join("target").exists());
    }
}
