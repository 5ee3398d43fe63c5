//! Who sends a frame to whom, read from its headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netobserv_wire::flow::Mac;

/// EtherTypes (IEEE 802 numbers).
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
/// Tag protocols: IEEE 802.1Q, 802.1ad, and the older one for outer tags.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// IP protocols (IANA numbers).
const ICMP: u8 = 1;
const TCP: u8 = 6;
/// Bytes of the header of UDP (RFC 768).
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
/// Extension headers of IPv6 that stand before the transport header: hop-by-hop, routing, fragment, destination.
const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];
const FRAGMENT: u8 = 44;
/// No stack sends more extension headers than this.
const MOST_EXTENSIONS: usize = 8;

/// The two ends of a frame. What is not there is 0 or absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ends {
    /// EtherType behind the tags.
    pub etype: u16,
    /// Addresses, sender first; those of ARP too.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Ports, sender first: TCP, UDP and SCTP. Later fragments have none.
    pub ports: Option<(u16, u16)>,
    /// Type and code of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
}

/// MAC addresses, sender first.
pub fn macs(frame: &[u8]) -> Option<(Mac, Mac)> {
    Some((array(frame, 6)?, array(frame, 0)?))
}

impl Ends {
    /// Reads a frame that begins with its Ethernet header.
    pub fn of(frame: &[u8]) -> Self {
        let (etype, packet) = network(frame);
        let mut ends = Self { etype, ..Self::default() };
        // A cut header leaves the rest absent.
        let _ = match etype {
            IPV4 => ends.ipv4(packet),
            IPV6 => ends.ipv6(packet),
            ARP => ends.arp(packet),
            _ => None,
        };
        ends
    }

    fn ipv4(&mut self, packet: &[u8]) -> Option<()> {
        let (src, dst): ([u8; 4], [u8; 4]) = (array(packet, 12)?, array(packet, 16)?);
        self.addresses = Some((Ipv4Addr::from(src).into(), Ipv4Addr::from(dst).into()));
        self.proto = Some(packet[9]);
        let is_first = u16_at(packet, 6)? & 0x1fff == 0;
        if is_first {
            self.transport(packet[9], packet.get(usize::from(packet[0] & 0xf) * 4..)?);
        }
        Some(())
    }

    fn ipv6(&mut self, packet: &[u8]) -> Option<()> {
        let (src, dst): ([u8; 16], [u8; 16]) = (array(packet, 8)?, array(packet, 24)?);
        self.addresses = Some((Ipv6Addr::from(src).into(), Ipv6Addr::from(dst).into()));
        let (mut proto, mut at) = (packet[6], 40);
        for _ in 0..MOST_EXTENSIONS {
            if !EXTENSIONS.contains(&proto) {
                self.proto = Some(proto);
                self.transport(proto, packet.get(at..)?);
                return Some(());
            }
            let later = proto == FRAGMENT && u16_at(packet, at + 2)? & 0xfff8 != 0;
            let length = if proto == FRAGMENT { 8 } else { (usize::from(*packet.get(at + 1)?) + 1) * 8 };
            proto = *packet.get(at)?;
            at += length;
            if later {
                self.proto = Some(proto);
                return Some(());
            }
        }
        None
    }

    fn arp(&mut self, packet: &[u8]) -> Option<()> {
        let (src, dst): ([u8; 4], [u8; 4]) = (array(packet, 14)?, array(packet, 24)?);
        self.addresses = Some((Ipv4Addr::from(src).into(), Ipv4Addr::from(dst).into()));
        Some(())
    }

    fn transport(&mut self, proto: u8, segment: &[u8]) {
        match proto {
            TCP | UDP | SCTP => self.ports = u16_at(segment, 0).zip(u16_at(segment, 2)),
            ICMP | ICMPV6 => self.icmp = segment.first().copied().zip(segment.get(1).copied()),
            _ => {}
        }
    }

    /// The conversation it belongs to: the same for both directions.
    #[must_use]
    pub fn conversation(&self) -> Self {
        let back = self.turned();
        let (here, there) = ((self.addresses, self.ports), (back.addresses, back.ports));
        // The kind of an ICMP message shows its direction.
        Self { icmp: None, ..if here <= there { *self } else { back } }
    }

    /// The same with sender and receiver exchanged.
    #[must_use]
    pub fn turned(&self) -> Self {
        let turn = |(src, dst)| (dst, src);
        Self { addresses: self.addresses.map(|(src, dst)| (dst, src)), ports: self.ports.map(turn), ..*self }
    }
}

/// Where the TCP header of a frame begins, and where its packet ends, which may be behind what was captured. None for later
/// fragments, and behind extension headers of IPv6.
pub fn tcp_of(frame: &[u8]) -> Option<(usize, usize)> {
    let (etype, packet) = network(frame);
    let start = frame.len() - packet.len();
    let (proto, header, length) = match etype {
        IPV4 if u16_at(packet, 6)? & 0x1fff == 0 => {
            (*packet.get(9)?, usize::from(packet[0] & 0xf) * 4, usize::from(u16_at(packet, 2)?))
        }
        IPV6 => (*packet.get(6)?, 40, 40 + usize::from(u16_at(packet, 4)?)),
        _ => return None,
    };
    let end = if length > header { start + length } else { frame.len() };
    (proto == TCP).then_some((start + header, end))
}

/// Sequence numbers of the first byte of a TCP segment and of the one after its last; None without payload.
pub fn tcp_data(frame: &[u8]) -> Option<(u32, u32)> {
    let (at, end) = tcp_of(frame)?;
    let start = array(frame, at + 4).map(u32::from_be_bytes)?;
    let header = usize::from(*frame.get(at + 12)? >> 4) * 4;
    let length = u32::try_from(end.checked_sub(at + header)?).ok()?;
    (length > 0).then(|| (start, start.wrapping_add(length)))
}

/// Where the payload of a UDP datagram is in a frame, which may end before it does. None for later fragments.
pub fn udp_data(frame: &[u8]) -> Option<std::ops::Range<usize>> {
    let (etype, packet) = network(frame);
    let start = frame.len() - packet.len();
    let (proto, header) = match etype {
        IPV4 if u16_at(packet, 6)? & 0x1fff == 0 => (*packet.get(9)?, usize::from(packet[0] & 0xf) * 4),
        IPV6 => (*packet.get(6)?, 40),
        _ => return None,
    };
    let length = usize::from(u16_at(packet, header + 4)?);
    let at = start + header;
    (proto == UDP && length > UDP_HEADER).then(|| at + UDP_HEADER..at + length)
}

/// Whether a sequence number is later than another (RFC 9293, 3.4: arithmetic modulo 2^32).
pub fn is_after(one: u32, other: u32) -> bool {
    let ahead = one.wrapping_sub(other);
    ahead > 0 && ahead < 1 << 31
}

/// Flags of the TCP header (byte 13).
pub fn tcp_flags(frame: &[u8]) -> Option<u8> {
    frame.get(tcp_of(frame)?.0 + 13).copied()
}

/// Differentiated services code point.
pub fn dscp(frame: &[u8]) -> Option<u8> {
    let (etype, packet) = network(frame);
    match etype {
        IPV4 => packet.get(1).map(|byte| byte >> 2),
        IPV6 => u16_at(packet, 0).map(|bits| (bits >> 6 & 0x3f) as u8),
        _ => None,
    }
}

/// Number of the VLAN in the outer tag.
pub fn vlan(frame: &[u8]) -> Option<u16> {
    u16_at(frame, 12).filter(|etype| TAGS.contains(etype))?;
    u16_at(frame, 14).map(|tag| tag & 0xfff)
}

/// EtherType behind the tags, and what follows it.
pub(crate) fn network(frame: &[u8]) -> (u16, &[u8]) {
    let mut at = 12;
    while let Some(etype) = u16_at(frame, at) {
        if !TAGS.contains(&etype) {
            return (etype, &frame[at + 2..]);
        }
        at += 4;
    }
    (0, &[])
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_testkit::Frame;

    fn frame() -> Frame {
        Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
    }

    fn addresses(src: &str, dst: &str) -> Option<(IpAddr, IpAddr)> {
        Some((src.parse().unwrap(), dst.parse().unwrap()))
    }

    #[test]
    fn ends_of_ipv4() {
        let bytes = frame().vlan(0x8100, 5).ipv4("10.0.0.1", "10.0.0.2").options(&[1; 8]).tcp(443, 9, 2).build();
        let ends = Ends::of(&bytes);
        assert_eq!((ends.etype, ends.addresses), (IPV4, addresses("10.0.0.1", "10.0.0.2")));
        assert_eq!((ends.proto, ends.ports, ends.icmp), (Some(6), Some((443, 9)), None));
        assert_eq!(macs(&bytes), Some(([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])));
    }

    #[test]
    fn ends_of_ipv6_stand_behind_its_extensions() {
        let bytes = frame().ipv6("fd00::1", "fd00::2").extension(0, &[1, 4, 0, 0, 0, 0]).udp(53, 8).build();
        let ends = Ends::of(&bytes);
        assert_eq!((ends.addresses, ends.ports), (addresses("fd00::1", "fd00::2"), Some((53, 8))));
        let ping = Ends::of(&frame().ipv6("fd00::1", "fd00::2").icmp(128, 0).build());
        assert_eq!((ping.proto, ping.icmp, ping.ports), (Some(58), Some((128, 0)), None));
    }

    #[test]
    fn later_fragments_have_no_ports() {
        for frame in [frame().ipv4("10.0.0.1", "10.0.0.2"), frame().ipv6("fd00::1", "fd00::2")] {
            let ends = Ends::of(&frame.fragment(7, 64, false).udp(1, 2).payload(64).build());
            assert_eq!((ends.proto, ends.ports), (Some(17), None));
        }
    }

    #[test]
    fn tcp_is_found_behind_tags_and_options() {
        let v4 = frame().vlan(0x8100, 5).ipv4("10.0.0.1", "10.0.0.2").options(&[1; 8]).tcp(1, 2, 2).payload(9).build();
        assert_eq!(tcp_of(&v4), Some((18 + 28, v4.len())));
        let v6 = frame().ipv6("fd00::1", "fd00::2").tcp(1, 2, 2).payload(9).build();
        assert_eq!((tcp_of(&v6), tcp_of(&v6[..60])), (Some((54, v6.len())), Some((54, v6.len()))));
        assert_eq!(tcp_of(&frame().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).build()), None);
    }

    #[test]
    fn cut_frames_do_no_harm() {
        for frame in [frame().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2, 2), frame().ipv6("fd00::1", "fd00::2").udp(1, 2)] {
            let bytes = frame.build();
            for len in 0..bytes.len() {
                Ends::of(&bytes[..len]);
            }
        }
        assert_eq!(Ends::of(&[0xff; 200]).addresses, None);
    }

    #[test]
    fn both_directions_are_one_conversation() {
        let there = Ends::of(&frame().ipv4("10.0.0.1", "10.0.0.2").tcp(80, 999, 2).build());
        let back = Ends::of(&frame().ipv4("10.0.0.2", "10.0.0.1").tcp(999, 80, 2).build());
        assert_ne!(there, back);
        assert_eq!(there.conversation(), back.conversation());
        let (ping, pong) =
            (frame().ipv4("10.0.0.1", "10.0.0.2").icmp(8, 0), frame().ipv4("10.0.0.2", "10.0.0.1").icmp(0, 0));
        assert_eq!(Ends::of(&ping.build()).conversation(), Ends::of(&pong.build()).conversation());
    }
}
