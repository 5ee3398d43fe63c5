//! A write that a kill of this program does not cut.
//!
//! The kernel checks for SIGKILL between two pages of one write(2), so a killed writer leaves a file cut in the middle of a
//! row, and no order of writes to a JSON array avoids that. So a write of more than a page is made by a child process that lives for this one
//! system call, shares our memory and is not killed with us. It is the technique of posix_spawn(3): a start costs
//! some 20 microseconds, and no memory is copied.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::sched::{CloneFlags, clone};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::{WaitPidFlag, waitpid};

/// A write within one page is not cut anyhow.
const PAGE: u64 = 4096;
/// The child calls one function of the standard library, which calls the system.
const STACK: usize = 64 << 10;

/// Makes writes whole.
pub(super) struct AtomicWriter {
    stack: Box<[u8]>,
}

impl Default for AtomicWriter {
    fn default() -> Self {
        Self { stack: vec![0; STACK].into_boxed_slice() }
    }
}

impl AtomicWriter {
    /// As [`FileExt::write_all_at`]; done as a whole even when this process is killed meanwhile.
    pub(super) fn write_all_at(&mut self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let end = at + bytes.len() as u64;
        if at / PAGE == end.saturating_sub(1) / PAGE {
            return file.write_all_at(bytes, at);
        }
        // Where the system gives no process, a plain write does nearly as well.
        self.write_in_child(file, bytes, at).unwrap_or_else(|_| file.write_all_at(bytes, at))
    }

    fn write_in_child(&mut self, file: &File, bytes: &[u8], at: u64) -> nix::Result<io::Result<()>> {
        let mut written = Ok(());
        let write = Box::new(|| {
            written = file.write_all_at(bytes, at);
            0
        });
        // The child takes over the mask: a Ctrl-C of the terminal must not run our handlers in it, nor end it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK | CloneFlags::CLONE_FILES;
        // SAFETY: as after vfork(2), this thread sleeps until the child has ended, so nothing it borrows goes away or is used at the
        // same time; the child has a stack of its own, takes no lock, allocates nothing and returns.
        let child = unsafe { clone(write, &mut self.stack, flags, None) };
        before.thread_set_mask()?;
        waitpid(child?, Some(WaitPidFlag::__WALL))?;
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_in_the_child_is_a_write() {
        let file = tempfile::tempfile().unwrap();
        let (mut atomic, bytes) = (AtomicWriter::default(), vec![7; 3 * PAGE as usize]);
        for at in [0, 100] {
            atomic.write_in_child(&file, &bytes, at).expect("a child").expect("a write");
        }
        let mut read = vec![0; bytes.len()];
        file.read_exact_at(&mut read, 100).unwrap();
        assert_eq!((read, file.metadata().unwrap().len()), (bytes, 3 * PAGE + 100));
    }

    #[test]
    fn an_error_in_the_child_is_told() {
        let file = File::open("/proc/self/exe").unwrap();
        let error = AtomicWriter::default().write_all_at(&file, &[0; 2 * PAGE as usize], 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EBADF));
    }
}
