//! Many frames a second over many five-tuples, counted exactly: sendmmsg(2) on a packet socket.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::frame::{Frame, checksum};
use crate::netns::Netns;

/// Frames handed to the kernel at once.
const BATCH: usize = 64;
/// Flows that share an address pair and differ in their source port.
const PORTS: u32 = 1000;
/// First source port.
const FIRST_PORT: u32 = 10_000;

/// What was handed to the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Frames that the kernel took.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
    /// Frames that the kernel refused because a queue was full: none of them passed the wire.
    pub refused: u64,
}

/// A packet socket on an interface. It stays in its namespace, whichever thread uses it.
pub struct Sender {
    socket: OwnedFd,
}

impl Sender {
    /// Opens it on `interface` of `ns`.
    ///
    /// # Panics
    /// When the interface is missing, or without CAP_NET_RAW.
    #[track_caller]
    pub fn new(ns: &Netns, interface: &str) -> Self {
        let socket = ns.enter(|| open(interface, 0));
        Self { socket: socket.unwrap_or_else(|error| panic!("packet socket on {interface}: {error}")) }
    }

    /// Sends frames in order.
    ///
    /// # Panics
    /// When the kernel refuses one.
    #[track_caller]
    pub fn send(&self, frames: &[Vec<u8>]) -> Sent {
        let mut sent = Sent::default();
        for batch in frames.chunks(BATCH) {
            let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
            self.send_batch(&batch, &mut sent).expect("send frames");
        }
        assert_eq!(sent.refused, 0, "the kernel refused frames");
        sent
    }

    fn send_batch(&self, frames: &[&[u8]], sent: &mut Sent) -> io::Result<()> {
        let mut rest = frames;
        while !rest.is_empty() {
            match send_some(&self.socket, rest) {
                Ok(n) => {
                    sent.packets += n as u64;
                    sent.bytes += rest[..n].iter().map(|frame| frame.len() as u64).sum::<u64>();
                    rest = &rest[n..];
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    sent.refused += 1;
                    rest = &rest[1..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Round-robin traffic: `rounds` UDP datagrams for each of `flows` five-tuples.
#[derive(Debug, Clone)]
pub struct Blast {
    /// Number of five-tuples.
    pub flows: u32,
    /// Datagrams a five-tuple.
    pub rounds: u32,
    /// IPv6 instead of IPv4.
    pub ipv6: bool,
    /// Frame length, Ethernet header included; at least 62.
    pub size: usize,
    /// Most frames a second; `None`: as fast as they go.
    pub rate: Option<u32>,
    /// In the first bytes of the addresses, so that two blasts do not share five-tuples.
    pub net: u16,
    /// Source MAC address.
    pub src_mac: [u8; 6],
    /// Destination MAC address. The default is nobody's: a receiving stack drops the frame without an answer.
    pub dst_mac: [u8; 6],
}

impl Default for Blast {
    fn default() -> Self {
        Self {
            flows: 1,
            rounds: 1,
            ipv6: false,
            size: 90,
            rate: None,
            net: 1,
            src_mac: [2, 0, 0, 0, 0, 0xa],
            dst_mac: [2, 0, 0, 0, 0, 0xb],
        }
    }
}

impl Blast {
    /// Sends all of it from `interface` of `ns`.
    ///
    /// # Panics
    /// When the socket cannot be opened or sending fails for another reason than a full queue.
    #[track_caller]
    pub fn run(&self, ns: &Netns, interface: &str) -> Sent {
        let sender = Sender::new(ns, interface);
        let template = self.template();
        let mut frames = vec![template; BATCH];
        let mut sent = Sent::default();
        let total = u64::from(self.flows) * u64::from(self.rounds);
        let start = Instant::now();
        for first in (0..total).step_by(BATCH) {
            let count = BATCH.min((total - first) as usize);
            for (n, frame) in frames[..count].iter_mut().enumerate() {
                self.patch(frame, ((first + n as u64) % u64::from(self.flows)) as u32);
            }
            let batch: Vec<&[u8]> = frames[..count].iter().map(Vec::as_slice).collect();
            sender.send_batch(&batch, &mut sent).expect("send frames");
            self.pace(start, first + count as u64);
        }
        sent
    }

    fn template(&self) -> Vec<u8> {
        let headers = if self.ipv6 { 62 } else { 42 };
        assert!(self.size >= headers, "frames of {} bytes have no room for headers", self.size);
        let frame = Frame::new(self.src_mac, self.dst_mac);
        let frame = match self.ipv6 {
            true => frame.ipv6("fd00::1", "fd00::2"),
            false => frame.ipv4("10.0.0.1", "10.0.0.2"),
        };
        let mut bytes = frame.udp(1, 53_000).payload(self.size - headers).build();
        if !self.ipv6 {
            bytes[40..42].fill(0); // UDP without a checksum (RFC 768): the addresses change.
        }
        bytes
    }

    /// Makes the frame one of five-tuple `flow`.
    fn patch(&self, frame: &mut [u8], flow: u32) {
        let port = ((FIRST_PORT + flow % PORTS) as u16).to_be_bytes();
        let host = ((flow / PORTS) as u16).to_be_bytes();
        let [high, low] = self.net.to_be_bytes();
        if self.ipv6 {
            frame[23..25].copy_from_slice(&[low, high]); // fdNN:NN00::
            frame[36..38].copy_from_slice(&host);
            frame[54..56].copy_from_slice(&port);
            return;
        }
        frame[26..28].copy_from_slice(&[10 + high, low]); // 10.NN.0.0, 11.NN.0.0, ...
        frame[28..30].copy_from_slice(&host);
        frame[34..36].copy_from_slice(&port);
        frame[24..26].fill(0);
        let sum = checksum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }

    fn pace(&self, start: Instant, done: u64) {
        let Some(rate) = self.rate else { return };
        let due = Duration::from_secs_f64(done as f64 / f64::from(rate));
        if let Some(early) = due.checked_sub(start.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

/// Number of frames taken, at least one.
fn send_some(socket: &OwnedFd, frames: &[&[u8]]) -> io::Result<usize> {
    let mut parts: Vec<libc::iovec> = frames
        .iter()
        .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: mmsghdr is plain data, for which zero is a valid value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    // SAFETY: the messages point to `parts`, those to `frames`; the kernel only reads them.
    let taken = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as libc::c_uint, 0) };
    if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(taken as usize) }
}

/// A raw packet socket bound to an interface of the calling thread's namespace. It receives frames of an EtherType, or
/// nothing when that is 0.
pub(crate) fn open(interface: &str, ethertype: u16) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: sockaddr_ll is plain data; the name is terminated.
    let (mut address, index) =
        unsafe { (std::mem::zeroed::<libc::sockaddr_ll>(), libc::if_nametoindex(name.as_ptr())) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = index.cast_signed();
    // SAFETY: a whole sockaddr_ll with its length.
    let bound = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
    };
    if bound == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_flow_has_its_own_five_tuple() {
        for ipv6 in [false, true] {
            let blast = Blast { flows: 5000, ipv6, ..Blast::default() };
            let mut frame = blast.template();
            let tuples: HashSet<Vec<u8>> = (0..blast.flows)
                .map(|flow| {
                    blast.patch(&mut frame, flow);
                    frame[14..58].to_vec()
                })
                .collect();
            assert_eq!(tuples.len(), 5000);
            assert_eq!(frame.len(), blast.size);
        }
    }

    #[test]
    fn patched_addresses_stand_where_they_should() {
        let blast = Blast { flows: 5000, net: 9, ..Blast::default() };
        let mut frame = blast.template();
        blast.patch(&mut frame, 2001);
        assert_eq!(frame[26..30], [10, 9, 0, 2]);
        assert_eq!(u16::from_be_bytes([frame[34], frame[35]]), 10_001);
        assert_eq!(checksum(&[&frame[14..34]]), 0);
    }
}
