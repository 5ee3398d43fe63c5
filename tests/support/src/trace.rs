//! The kernel's own trace of one tracepoint, as text, in a buffer that nobody else writes to.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

/// A tracepoint that is being recorded, until dropped.
pub struct Trace {
    /// Keeps the file system there, which is mounted at no place.
    _tracefs: OwnedFd,
    instance: PathBuf,
}

impl Trace {
    /// Starts to record an event such as `skb/kfree_skb`.
    ///
    /// # Panics
    /// When the kernel has no tracefs, or no such event.
    #[track_caller]
    pub fn start(event: &str) -> Self {
        let tracefs = mount().unwrap_or_else(|error| panic!("tracefs: {error}"));
        let instances = PathBuf::from(format!("/proc/self/fd/{}/instances", tracefs.as_raw_fd()));
        sweep(&instances);
        let instance = instances.join(format!("nst{}", std::process::id()));
        fs::create_dir(&instance).unwrap_or_else(|error| panic!("{}: {error}", instance.display()));
        let trace = Self { _tracefs: tracefs, instance };
        let enable = trace.instance.join("events").join(event).join("enable");
        fs::write(&enable, "1").unwrap_or_else(|error| panic!("{event}: {error}"));
        trace
    }

    /// The lines recorded so far.
    ///
    /// # Panics
    /// When they cannot be read.
    #[track_caller]
    pub fn lines(&self) -> Vec<String> {
        let text = fs::read(self.instance.join("trace")).expect("the trace");
        let text = String::from_utf8_lossy(&text);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// Forgets what was recorded.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn clear(&self) {
        fs::write(self.instance.join("trace"), "").expect("an empty trace");
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.instance);
    }
}

/// Removes what killed tests left: the name tells their process.
fn sweep(instances: &std::path::Path) {
    for entry in fs::read_dir(instances).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.strip_prefix("nst")?.parse().ok());
        if pid.is_some_and(|pid| !crate::proc::alive(pid)) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Mounts tracefs at no place: nobody else sees it, and it goes with the descriptor.
fn mount() -> io::Result<OwnedFd> {
    // include/uapi/linux/mount.h.
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    // SAFETY: system calls with terminated texts, whose descriptors nobody else owns.
    unsafe {
        let context = fd(libc::syscall(libc::SYS_fsopen, c"tracefs".as_ptr(), 1))?;
        let none = std::ptr::null::<libc::c_char>();
        let made = libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0);
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        fd(libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, 0))
    }
}

unsafe fn fd(number: libc::c_long) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller has just made it.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}
