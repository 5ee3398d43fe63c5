//! Options of sockets that the standard library does not know.

use std::io;
use std::os::fd::AsRawFd;

/// Makes the receive buffer as small as the kernel allows.
///
/// # Panics
/// When the kernel refuses.
#[track_caller]
pub fn smallest_buffer(socket: &impl AsRawFd) {
    let size: libc::c_int = 1;
    // SAFETY: a live integer with its length.
    let rc = unsafe {
        let length = size_of_val(&size) as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, (&raw const size).cast(), length)
    };
    assert_eq!(rc, 0, "{}", io::Error::last_os_error());
}
