//! Network namespaces: which there are, and how to do something inside one.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use nix::sched::{CloneFlags, setns};

/// Where `ip netns`, CRI-O and containerd keep the namespaces that have a name.
pub const NAMED: &str = "/run/netns";

/// CAP_SYS_ADMIN (include/uapi/linux/capability.h), which setns(2) asks for.
const CAP_SYS_ADMIN: u32 = 21;

/// A network namespace that is held open.
///
/// While this lives the namespace lives too, so it is dropped as soon as the name is gone.
#[derive(Debug)]
pub struct Netns {
    /// Inode number, what the kernel calls `net.ns.inum`: two names with the same number are one namespace.
    pub inode: u32,
    /// The name's path, for messages.
    pub path: PathBuf,
    file: OwnedFd,
}

impl Netns {
    /// The namespace of this process.
    pub fn own() -> io::Result<Self> {
        Self::open(Path::new("/proc/self/ns/net"))
    }

    /// The number of the namespace of this process, which never changes.
    ///
    /// # Errors
    /// As [`Netns::own`].
    pub fn own_inode() -> io::Result<u32> {
        static OWN: OnceLock<u32> = OnceLock::new();
        match OWN.get() {
            Some(inode) => Ok(*inode),
            None => {
                let inode = Self::own()?.inode;
                Ok(*OWN.get_or_init(|| inode))
            }
        }
    }

    /// The namespace that `path` names.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino() as u32;
        Ok(Self { inode, path: path.to_owned(), file: file.into() })
    }

    /// Its name, unless it is the one of this process.
    pub fn name(&self) -> Option<&str> {
        self.path.strip_prefix(NAMED).ok()?.to_str()
    }

    /// Runs `work` inside. setns(2) moves one thread, and for good: so the thread is thrown away. For the own namespace it
    /// is not asked: a pod of a cluster may not enter any, its own neither.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> io::Result<R> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                if self.inode != Self::own_inode()? {
                    setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
                }
                Ok(work())
            });
            inside.join().expect("work in a namespace does not panic")
        })
    }
}

/// Whether a program runs in the namespace with this number: then it continues without a name. Those of another PID namespace are not
/// seen.
pub fn is_inhabited(inode: u32) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let inside =
        |process: fs::DirEntry| fs::metadata(process.path().join("ns/net")).is_ok_and(|ns| ns.ino() as u32 == inode);
    processes.filter(|process| process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit)).any(inside)
}

/// The namespaces that have a name, as paths. Empty where none is named.
pub fn named() -> Vec<PathBuf> {
    let entries = fs::read_dir(NAMED).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Whether this process may enter other namespaces.
pub fn may_enter_others() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    capability(&status, CAP_SYS_ADMIN)
}

/// Whether the effective capabilities in the text of /proc/PID/status hold number `bit`.
pub fn capability(status: &str, bit: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|mask| mask >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_capabilities_from_status() {
        let status = "Name:\tx\nCapEff:\t0000000000200000\nCapBnd:\t0\n";
        assert!(capability(status, 21));
        assert!(!capability(status, 20));
        assert!(!capability("", 21));
    }

    #[test]
    fn own_namespace_has_a_number() {
        let netns = Netns::own().unwrap();
        assert!(netns.inode > 0);
    }
}
