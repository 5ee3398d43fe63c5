//! Interfaces without an Ethernet header: a tun device, which also passes for the tunnels and modems that this kernel may not have.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;

use crate::link::bring_up;
use crate::netns::{Netns, unique_interface};

/// ioctl numbers and flags of linux/if_tun.h.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETLINK: libc::c_ulong = 0x4004_54cd;
const IFF_TUN: libc::c_short = 0x0001;
const IFF_NO_PI: libc::c_short = 0x1000;
const IFF_VNET_HDR: libc::c_short = 0x4000;

/// Types of links in linux/if_arp.h.
pub mod link_type {
    /// tun, WireGuard, XFRM.
    pub const NONE: u16 = 0xfffe;
    /// PPP.
    pub const PPP: u16 = 512;
    /// IPIP.
    pub const TUNNEL: u16 = 768;
    /// 6in4.
    pub const SIT: u16 = 776;
    /// GRE.
    pub const GRE: u16 = 778;
    /// A modem.
    pub const RAW_IP: u16 = 519;
    /// A CAN bus, which carries no IP.
    pub const CAN: u16 = 280;
}

/// What goes before a packet that the kernel is to cut into segments (struct virtio_net_hdr of linux/virtio_net.h).
#[derive(Debug, Clone, Copy)]
pub struct Segmentation {
    /// Bytes of all headers.
    pub headers: u16,
    /// Where the TCP header begins.
    pub transport: u16,
    /// Payload of each segment.
    pub size: u16,
}

/// A tun interface, up. It goes with this value.
#[derive(Debug)]
pub struct Tun {
    /// Its name.
    pub name: String,
    file: File,
}

impl Tun {
    /// Makes one that says it is a link of this type.
    ///
    /// # Panics
    /// Without /dev/net/tun.
    #[track_caller]
    pub fn new(ns: &Netns, link_type: u16, addresses: &[&str]) -> Self {
        let name = unique_interface("t");
        let file = ns.enter(|| open(&name, link_type)).unwrap_or_else(|error| panic!("/dev/net/tun: {error}"));
        bring_up(ns, &name, addresses);
        Self { name, file }
    }

    /// The kernel receives an IP packet.
    #[track_caller]
    pub fn send(&mut self, packet: &[u8]) {
        self.write(&[0; 10], packet);
    }

    /// The kernel receives many TCP segments at once.
    #[track_caller]
    pub fn send_segments(&mut self, packet: &[u8], segmentation: Segmentation) {
        // Needs a checksum; TCP over IPv4; where the checksum stands in the header (RFC 9293).
        let mut head = vec![1, 1];
        for number in [segmentation.headers, segmentation.size, segmentation.transport, 16] {
            head.extend(number.to_le_bytes());
        }
        self.write(&head, packet);
    }

    #[track_caller]
    fn write(&mut self, head: &[u8], packet: &[u8]) {
        self.file.write_all(&[head, packet].concat()).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }
}

fn open(name: &str, link_type: u16) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: ifreq is plain data, for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    // SAFETY: the request is alive over the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw const request) })?;
    // SAFETY: takes a number.
    check(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETLINK, libc::c_ulong::from(link_type)) })?;
    Ok(file)
}

fn check(rc: libc::c_int) -> io::Result<()> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
