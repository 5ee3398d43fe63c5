//! The socket over which the kernel reports the connections of one network namespace.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
};

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::message::{self, News};
use crate::sys;

/// What the kernel may keep for us until it is read, in bytes.
const BUFFER: usize = 8 << 20;
/// More than one message of a list ever has.
const DATAGRAM: usize = 64 << 10;
// enum nfnetlink_groups: connections that begin and that end. What changes in between is not their addresses.
const BEGIN: u32 = 1;
const END: u32 = 3;

/// Whether the kernel tracks connections at all. To ask for them would load the module that does.
pub(super) fn is_tracking() -> bool {
    Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists()
}

/// A socket in a network namespace.
pub(crate) struct Source {
    socket: Socket,
    /// Inode number of the namespace.
    pub(super) netns: u32,
    /// What the namespace is called in reports.
    pub(super) label: String,
}

/// What reading came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// All has been read.
    All,
    /// So many messages found no room before they were read.
    Lost(u64),
}

impl Source {
    /// Begins to follow the namespace of this thread.
    pub(super) fn open(netns: u32, label: String) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        let source = Self { socket, netns, label };
        // By force it may be larger than net.core.rmem_max.
        setsockopt(&source, sockopt::RcvBufForce, &BUFFER)
            .or_else(|_| setsockopt(&source, sockopt::RcvBuf, &BUFFER))?;
        // Without the filter all connections are reported, and the others are left out here.
        let _ = sys::attach_filter(source.as_fd(), &only_translated());
        for group in [BEGIN, END] {
            source.socket.add_membership(group)?;
        }
        source.list()?;
        Ok(source)
    }

    /// Asks for all connections that there are.
    pub(super) fn list(&self) -> io::Result<()> {
        self.socket.send_to(&message::list_request(), &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// Asks how full the kernel's table is.
    pub(super) fn ask_filling(&self) -> io::Result<()> {
        self.socket.send_to(&message::filling_request(), &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// Reads what has come, without waiting.
    pub(super) fn read(&self, buffer: &mut Vec<u8>, mut each: impl FnMut(News)) -> io::Result<Read> {
        loop {
            buffer.clear();
            buffer.reserve(DATAGRAM);
            match self.socket.recv(buffer, libc::MSG_DONTWAIT) {
                Ok(_) => message::read(buffer, &mut each),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::All),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Read::Lost(sys::dropped_messages(self.as_fd()).unwrap_or(1)));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket, and its descriptor with it, is open as long as this is.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

/// Whether connections that begin are reported, in the namespace of this thread.
pub(super) fn reports_new() -> bool {
    let setting = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_events");
    !setting.is_ok_and(|value| value.trim() == "0")
}

/// Lets pass: answers, and events of connections whose addresses are translated.
fn only_translated() -> [libc::sock_filter; 11] {
    // struct nlmsghdr: the number of the request, 0 for events. It and struct nfgenmsg are followed by the attributes.
    const SEQUENCE: u32 = 8;
    const ATTRIBUTES: u32 = 20;
    const STATUS: u32 = 3;
    // enum ip_conntrack_status: IPS_SRC_NAT and IPS_DST_NAT.
    const NAT: u32 = 0x30;
    // SKF_AD_OFF + SKF_AD_NLATTR: where, from A on, the attribute of type X is; 0 if there is none.
    const FIND: u32 = 0xffff_f000 + 12;
    let step = |code: u32, yes, no, k| libc::sock_filter { code: code as u16, jt: yes, jf: no, k };
    let jump = |code, k, yes, no| step(libc::BPF_JMP | code | libc::BPF_K, yes, no, k);
    [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, SEQUENCE),
        jump(libc::BPF_JEQ, 0, 0, 7),
        step(libc::BPF_LD | libc::BPF_IMM, 0, 0, ATTRIBUTES),
        step(libc::BPF_LDX | libc::BPF_IMM, 0, 0, STATUS),
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, FIND),
        jump(libc::BPF_JEQ, 0, 3, 0),
        step(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, 0, 0, 4),
        jump(libc::BPF_JSET, NAT, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests;
