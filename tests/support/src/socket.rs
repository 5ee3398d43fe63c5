//! Options of sockets that the standard library does not know.

use std::io;
use std::os::fd::AsRawFd;

/// Makes the receive buffer as small as the kernel allows.
///
/// # Panics
/// When the kernel refuses.
#[track_caller]
pub fn smallest_buffer(socket: &impl AsRawFd) {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 1);
}

/// Has the kernel cut what is sent by UDP into datagrams with so much payload.
///
/// # Panics
/// When the kernel refuses.
#[track_caller]
pub fn segment_datagrams(socket: &impl AsRawFd, size: libc::c_int) {
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, size);
}

#[track_caller]
fn set(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    // SAFETY: a live integer with its length.
    let rc = unsafe {
        let length = size_of_val(&value) as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    };
    assert_eq!(rc, 0, "{}", io::Error::last_os_error());
}
