//! Offloads of an interface, switched through the SIOCETHTOOL ioctl: the ethtool program may be missing.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::netns::Netns;

/// ioctl number and commands of linux/sockios.h and linux/ethtool.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const SET_RX_CHECKSUM: u32 = 0x15;
const SET_TX_CHECKSUM: u32 = 0x17;
const SET_SCATTER_GATHER: u32 = 0x19;
const SET_TSO: u32 = 0x1f;
const SET_GSO: u32 = 0x24;
const SET_GRO: u32 = 0x2c;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Switches checksum, scatter-gather and segmentation offloads: off, each packet that the counters see is one
/// packet on the wire; on, the kernel hands over super-packets.
///
/// # Panics
/// When the interface is missing. What a driver does not know to switch is skipped.
#[track_caller]
pub fn set_offloads(ns: &Netns, interface: &str, on: bool) {
    let mut commands = [SET_RX_CHECKSUM, SET_TX_CHECKSUM, SET_SCATTER_GATHER, SET_TSO, SET_GSO, SET_GRO];
    if !on {
        // Segmentation needs the others: on from the bottom up, off from the top down.
        commands.reverse();
    }
    commands.iter().for_each(|command| switch(ns, interface, *command, on));
}

/// Switches only whether frames that come in are put together to super-packets.
///
/// # Panics
/// When the interface is missing.
#[track_caller]
pub fn set_gro(ns: &Netns, interface: &str, on: bool) {
    switch(ns, interface, SET_GRO, on);
}

#[track_caller]
fn switch(ns: &Netns, interface: &str, command: u32, on: bool) {
    match ns.enter(|| set(interface, command, on)) {
        Err(error) if error.raw_os_error() != Some(libc::EOPNOTSUPP) => {
            panic!("ethtool command {command:#x} on {interface}: {error}")
        }
        _ => {}
    }
}

/// One switch, on an interface of the calling thread's namespace.
fn set(interface: &str, command: u32, on: bool) -> io::Result<()> {
    let mut value = Value { command, data: u32::from(on) };
    // SAFETY: ifreq is plain data, for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let socket = control_socket()?;
    // SAFETY: the request points to `value`, which outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn control_socket() -> io::Result<OwnedFd> {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
