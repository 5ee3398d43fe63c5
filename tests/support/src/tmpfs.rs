//! A file system that is soon full.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// Shown as the device in /proc/mounts, with the process id behind it.
const SOURCE: &str = "netobserv-test-";

/// A small tmpfs mounted in a temporary folder, unmounted when dropped.
pub struct Tmpfs {
    dir: TempDir,
}

impl Tmpfs {
    /// Mounts one of this many bytes.
    ///
    /// # Panics
    /// Without CAP_SYS_ADMIN.
    #[track_caller]
    pub fn new(bytes: usize) -> Self {
        sweep();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let source = format!("{SOURCE}{}", std::process::id());
        let options = format!("size={bytes}");
        mount(Some(source.as_str()), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("mount a tmpfs");
        Self { dir }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

/// Unmounts what killed test processes left.
fn sweep() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let maker = words.next().and_then(|source| source.strip_prefix(SOURCE)?.parse().ok());
        let Some((maker, path)) = maker.zip(words.next().map(PathBuf::from)) else { continue };
        if !crate::proc::alive(maker) && umount2(&path, MntFlags::MNT_DETACH).is_ok() {
            let _ = fs::remove_dir(path);
        }
    }
}
