//! The folder where the programs of one local capture meet, which only this user can enter. It is locked while the capture runs;
//! the kernel lets go of the lock when the program dies, so the next capture knows what a killed one has left.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use netobserv_contract::files::create;
use tempfile::TempDir;

const PREFIX: &str = "oc-netobserv-";
/// A file that marks a folder as locked: one without is being made.
const LOCKED: &str = "locked";
/// A folder that is still empty after this time is not being made.
const BEING_MADE: Duration = Duration::from_secs(60);

/// A locked folder, removed when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    dir: TempDir,
    _lock: File,
}

impl Folder {
    /// Makes one in `parent`, and removes those that killed captures of this user have left there.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        #[cfg(unix)]
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let lock = open(dir.path())?;
        // Where the file system knows no locks, nothing is ever taken for abandoned.
        let _ = lock.lock();
        create(&dir.path().join(LOCKED))?;
        remove_abandoned(parent, dir.path());
        Ok(Self { dir, _lock: lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// A path that ends with a dot is that of a folder: whatever else is there is not opened, and nothing blocks.
fn open(folder: &Path) -> io::Result<File> {
    File::open(folder.join("."))
}

fn remove_abandoned(parent: &Path, own: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let (name, folder) = (entry.file_name(), entry.path());
        let ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX)) && folder != own;
        if ours && belongs_to_owner_of(own, &folder) {
            remove_if_abandoned(&folder);
        }
    }
}

fn remove_if_abandoned(folder: &Path) {
    let Ok(lock) = open(folder) else { return };
    if lock.try_lock().is_err() {
        return;
    }
    // One that is being made is empty, and not locked for a moment.
    let empty = folder.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    if !empty || is_old(&lock) {
        // What cannot be removed does no harm.
        let _ = std::fs::remove_dir_all(folder);
    }
}

fn is_old(folder: &File) -> bool {
    let changed = folder.metadata().and_then(|metadata| metadata.modified());
    changed.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > BEING_MADE))
}

/// A folder, not a link to one, of the same user: others may put anything there, to see what happens to it.
#[cfg(unix)]
fn belongs_to_owner_of(own: &Path, folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let Ok((own, found)) = own.metadata().and_then(|own| Ok((own, folder.symlink_metadata()?))) else { return false };
    found.is_dir() && found.uid() == own.uid()
}

#[cfg(not(unix))]
fn belongs_to_owner_of(_own: &Path, _folder: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn it_is_for_this_user_alone_and_goes() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path()).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn only_what_killed_captures_of_this_user_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, file: Option<&str>| -> PathBuf {
            let dir = parent.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            file.into_iter().for_each(|file| std::fs::write(dir.join(file), "").unwrap());
            dir
        };
        let (dead, young) = (make("oc-netobserv-dead", Some(LOCKED)), make("oc-netobserv-young", None));
        let (old, other) = (make("oc-netobserv-old", None), make("other", Some("collector.sock")));
        let of_another = make("oc-netobserv-of-another", Some("collector.sock"));
        File::open(&old).unwrap().set_modified(SystemTime::now() - 2 * BEING_MADE).unwrap();
        std::os::unix::fs::symlink(&other, parent.path().join("oc-netobserv-link")).unwrap();
        // Only root can give a folder away.
        let given = std::os::unix::fs::chown(&of_another, Some(65_534), None).is_ok();
        let live = Folder::new(parent.path()).unwrap();
        std::fs::write(live.path().join("collector.sock"), "").unwrap();
        let _second = Folder::new(parent.path()).unwrap();
        assert_eq!([&dead, &old].map(|dir| dir.exists()), [false, false]);
        assert_eq!([live.path(), &young, &other].map(Path::exists), [true; 3]);
        assert_eq!(of_another.exists(), given);
    }
}
