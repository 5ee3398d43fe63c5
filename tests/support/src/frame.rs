//! Ethernet frames, byte by byte, for what the kernel's own stack would not send on request.

use std::net::{Ipv4Addr, Ipv6Addr};

/// IP protocol numbers (IANA).
pub mod proto {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// GRE.
    pub const GRE: u8 = 47;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

#[derive(Clone, Copy)]
enum Network {
    Other(u16),
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

#[derive(Clone, Copy)]
struct Fragment {
    id: u32,
    offset: u16,
    more: bool,
}

/// An Ethernet frame about to be built. IP headers and TCP, UDP and ICMP get right checksums.
#[derive(Clone)]
pub struct Frame {
    src: [u8; 6],
    dst: [u8; 6],
    tags: Vec<(u16, u16)>,
    network: Network,
    dscp: u8,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: Option<Fragment>,
    protocol: u8,
    transport: Vec<u8>,
    /// Where the checksum stands in `transport`, if it has one.
    checksum_at: Option<usize>,
    payload: Vec<u8>,
}

impl Frame {
    /// From one MAC address to another; not IP until [`Frame::ipv4`] or [`Frame::ipv6`] says so.
    pub fn new(src: [u8; 6], dst: [u8; 6]) -> Self {
        Self {
            src,
            dst,
            tags: Vec::new(),
            network: Network::Other(0x88b5),
            dscp: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            protocol: 253,
            transport: Vec::new(),
            checksum_at: None,
            payload: Vec::new(),
        }
    }

    /// One more VLAN tag, outermost first: tag protocol (0x8100, 0x88a8) and VLAN id.
    #[must_use]
    pub fn vlan(mut self, protocol: u16, id: u16) -> Self {
        self.tags.push((protocol, id));
        self
    }

    /// Not IP: this EtherType and what follows it.
    #[must_use]
    pub fn other(mut self, ethertype: u16, body: &[u8]) -> Self {
        self.network = Network::Other(ethertype);
        self.payload = body.to_vec();
        self
    }

    /// IPv4.
    #[must_use]
    pub fn ipv4(mut self, src: &str, dst: &str) -> Self {
        self.network = Network::V4(src.parse().expect("IPv4"), dst.parse().expect("IPv4"));
        self
    }

    /// IPv6.
    #[must_use]
    pub fn ipv6(mut self, src: &str, dst: &str) -> Self {
        self.network = Network::V6(src.parse().expect("IPv6"), dst.parse().expect("IPv6"));
        self
    }

    /// Differentiated services code point, 0 to 63.
    #[must_use]
    pub fn dscp(mut self, dscp: u8) -> Self {
        self.dscp = dscp;
        self
    }

    /// IPv4 options; a multiple of four bytes.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4) && options.len() <= 40, "IPv4 options");
        self.options = options.to_vec();
        self
    }

    /// One more IPv6 extension header: its number, and what follows its two first bytes (6, 14, 22.. bytes).
    #[must_use]
    pub fn extension(mut self, number: u8, body: &[u8]) -> Self {
        assert!((body.len() + 2).is_multiple_of(8), "IPv6 extension headers are multiples of 8 bytes");
        self.extensions.push((number, body.to_vec()));
        self
    }

    /// A fragment: identification, offset in bytes (a multiple of 8), and whether more follow. Beyond offset 0
    /// no transport header is written.
    #[must_use]
    pub fn fragment(mut self, id: u32, offset: u16, more: bool) -> Self {
        assert!(offset.is_multiple_of(8), "fragment offsets are multiples of 8");
        self.fragment = Some(Fragment { id, offset, more });
        self
    }

    /// TCP with these flags (the header's byte 13).
    #[must_use]
    pub fn tcp(self, src: u16, dst: u16, flags: u8) -> Self {
        let mut header = ports(src, dst);
        header.extend([0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        self.with(proto::TCP, header, Some(16))
    }

    /// UDP.
    #[must_use]
    pub fn udp(self, src: u16, dst: u16) -> Self {
        let mut header = ports(src, dst);
        header.extend([0, 0, 0, 0]); // Length and checksum are filled in by `build`.
        self.with(proto::UDP, header, Some(6))
    }

    /// SCTP, without the CRC that a receiver would want.
    #[must_use]
    pub fn sctp(self, src: u16, dst: u16) -> Self {
        let mut header = ports(src, dst);
        header.extend([0, 0, 0, 1, 0, 0, 0, 0]);
        self.with(proto::SCTP, header, None)
    }

    /// ICMP in IPv4, ICMPv6 in IPv6 (call it after the addresses).
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8) -> Self {
        let number = if matches!(self.network, Network::V6(..)) { proto::ICMPV6 } else { proto::ICMP };
        self.with(number, vec![kind, code, 0, 0, 0, 7, 0, 1], Some(2))
    }

    /// Any other protocol by number, without a header.
    #[must_use]
    pub fn protocol(self, number: u8) -> Self {
        self.with(number, Vec::new(), None)
    }

    /// This many bytes behind the last header.
    #[must_use]
    pub fn payload(mut self, len: usize) -> Self {
        self.payload = (0..len).map(|n| n as u8).collect();
        self
    }

    /// These bytes behind the last header.
    #[must_use]
    pub fn carrying(mut self, bytes: &[u8]) -> Self {
        self.payload = bytes.to_vec();
        self
    }

    fn with(mut self, protocol: u8, transport: Vec<u8>, checksum_at: Option<usize>) -> Self {
        self.protocol = protocol;
        self.transport = transport;
        self.checksum_at = checksum_at;
        self
    }

    /// The bytes from the destination MAC address on.
    pub fn build(&self) -> Vec<u8> {
        let mut frame = [self.dst, self.src].concat();
        for (protocol, id) in &self.tags {
            frame.extend(protocol.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        match self.network {
            Network::Other(ethertype) => {
                frame.extend(ethertype.to_be_bytes());
                frame.extend(&self.payload);
            }
            Network::V4(src, dst) => frame.extend(self.ipv4_packet(src, dst)),
            Network::V6(src, dst) => frame.extend(self.ipv6_packet(src, dst)),
        }
        frame
    }

    fn ipv4_packet(&self, src: Ipv4Addr, dst: Ipv4Addr) -> Vec<u8> {
        let body = self.body(&[src.octets(), dst.octets()].concat());
        let header_len = 20 + self.options.len();
        let total = (header_len + body.len()) as u16;
        let mut header = vec![0x40 | (header_len / 4) as u8, self.dscp << 2];
        header.extend(total.to_be_bytes());
        let fragment = self.fragment.unwrap_or(Fragment { id: 0, offset: 0, more: false });
        header.extend((fragment.id as u16).to_be_bytes());
        header.extend(((u16::from(fragment.more) << 13) | (fragment.offset / 8)).to_be_bytes());
        header.extend([64, self.protocol, 0, 0]);
        header.extend(src.octets());
        header.extend(dst.octets());
        header.extend(&self.options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&0x0800_u16.to_be_bytes()[..], &header, &body].concat()
    }

    fn ipv6_packet(&self, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
        let body = self.body(&[src.octets(), dst.octets()].concat());
        let (first, extensions) = self.extension_headers();
        let mut header = vec![0x60 | self.dscp >> 2, (self.dscp & 3) << 6, 0, 0];
        header.extend(((extensions.len() + body.len()) as u16).to_be_bytes());
        header.extend([first, 64]);
        header.extend(src.octets());
        header.extend(dst.octets());
        [&0x86dd_u16.to_be_bytes()[..], &header, &extensions, &body].concat()
    }

    /// The number of the first header, and the extension headers with the fragment header last.
    fn extension_headers(&self) -> (u8, Vec<u8>) {
        let mut headers = self.extensions.clone();
        if let Some(fragment) = self.fragment {
            let mut body = (fragment.offset | u16::from(fragment.more)).to_be_bytes().to_vec();
            body.extend(fragment.id.to_be_bytes());
            headers.push((proto::FRAGMENT, body));
        }
        let mut next = self.protocol;
        let mut bytes = Vec::new();
        for (number, body) in headers.iter().rev() {
            let mut header = vec![next, ((body.len() + 2) / 8 - 1) as u8];
            header.extend(body);
            header.extend(&bytes);
            bytes = header;
            next = *number;
        }
        (next, bytes)
    }

    /// Transport header and payload; `addresses` are those of the pseudo header.
    fn body(&self, addresses: &[u8]) -> Vec<u8> {
        if self.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return self.payload.clone();
        }
        let mut body = [&self.transport[..], &self.payload].concat();
        let len = body.len() as u16;
        if self.protocol == proto::UDP {
            body[4..6].copy_from_slice(&len.to_be_bytes());
        }
        if let Some(at) = self.checksum_at {
            let tail = [&[0, self.protocol][..], &len.to_be_bytes()].concat();
            let pseudo = if self.protocol == proto::ICMP { Vec::new() } else { [addresses, &tail].concat() };
            let sum = checksum(&[&pseudo, &body]);
            body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        body
    }
}

fn ports(src: u16, dst: u16) -> Vec<u8> {
    [src.to_be_bytes(), dst.to_be_bytes()].concat()
}

/// The Internet checksum (RFC 1071) of parts of which all but the last have an even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn a_right_header_sums_to_zero() {
        let frame = Frame::new(A, B).ipv4("10.0.0.1", "10.0.0.2").options(&[1, 1, 1, 0]).udp(1, 2).payload(5).build();
        assert_eq!(frame.len(), 14 + 24 + 8 + 5);
        assert_eq!(checksum(&[&frame[14..38]]), 0);
    }

    #[test]
    fn extension_headers_chain() {
        let frame = Frame::new(A, B).vlan(0x8100, 5).ipv6("fd00::1", "fd00::2").extension(0, &[0; 6]);
        let frame = frame.fragment(7, 0, true).tcp(1, 2, 0x12).build();
        let ip = &frame[18..];
        assert_eq!((ip[6], ip[40], ip[48]), (0, proto::FRAGMENT, proto::TCP));
        assert_eq!(u16::from_be_bytes([ip[4], ip[5]]), 8 + 8 + 20);
        assert_eq!(ip[51] & 1, 1, "more fragments");
    }
}
