//! A packet without its payload: headers with other addresses, and checksums that are right for a payload of zeros.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::pseudonym::Pseudonyms;
use crate::packets::headers::network;

/// EtherTypes (IEEE 802 numbers).
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
/// ARP for IPv4 on Ethernet: hardware and protocol type, lengths of addresses (RFC 826).
const ARP_KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// IP protocols (IANA numbers), and extension headers that are kept without their content.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// Options of TCP (IANA numbers): end, no operation, and those that reveal nothing of a user.
const TCP_END: u8 = 0;
const TCP_NOP: u8 = 1;
const TCP_KEPT: [u8; 5] = [2, 3, 4, 5, 8];
/// IPv4's option "no operation".
const IPV4_NOP: u8 = 1;
/// ICMP redirect, whose second word is a router's address (RFC 792).
const REDIRECT: u8 = 5;
/// Where the checksum is in its header.
const AT_IPV4: usize = 10;

/// Appends what may be kept of a frame that begins with its Ethernet header.
pub(super) fn append(frame: &[u8], names: &mut Pseudonyms, out: &mut Vec<u8>) {
    let (etype, packet) = network(frame);
    let head = frame.len() - packet.len();
    let start = out.len();
    if head < 14 {
        return;
    }
    out.extend_from_slice(&frame[..head]);
    for at in [start, start + 6] {
        if let Ok(mac) = out[at..at + 6].try_into() {
            out[at..at + 6].copy_from_slice(&names.mac(mac));
        }
    }
    // A cut header ends what is kept.
    let _ = match etype {
        IPV4 => ipv4(packet, names, out),
        IPV6 => ipv6(packet, names, out),
        ARP => arp(packet, names, out),
        _ => None,
    };
}

fn arp(packet: &[u8], names: &mut Pseudonyms, out: &mut Vec<u8>) -> Option<()> {
    let mut copy: [u8; 28] = packet.get(..28)?.try_into().ok()?;
    if copy[..6] != ARP_KIND {
        return None;
    }
    for at in [8, 18] {
        let mac: [u8; 6] = copy[at..at + 6].try_into().ok()?;
        copy[at..at + 6].copy_from_slice(&names.mac(mac));
        replace_v4(&mut copy[at + 6..at + 10], names)?;
    }
    out.extend_from_slice(&copy);
    Some(())
}

fn replace_v4(bytes: &mut [u8], names: &mut Pseudonyms) -> Option<()> {
    let address: [u8; 4] = bytes.try_into().ok()?;
    let IpAddr::V4(instead) = names.address(Ipv4Addr::from(address).into()) else { return None };
    bytes.copy_from_slice(&instead.octets());
    Some(())
}

fn replace_v6(bytes: &mut [u8], names: &mut Pseudonyms) -> Option<()> {
    let address: [u8; 16] = bytes.try_into().ok()?;
    let IpAddr::V6(instead) = names.address(Ipv6Addr::from(address).into()) else { return None };
    bytes.copy_from_slice(&instead.octets());
    Some(())
}

fn ipv4(packet: &[u8], names: &mut Pseudonyms, out: &mut Vec<u8>) -> Option<()> {
    let length = usize::from(packet.first()? & 0xf) * 4;
    if length < 20 {
        return None;
    }
    let mut header = packet.get(..length)?.to_vec();
    header[20..].fill(IPV4_NOP);
    replace_v4(&mut header[12..16], names)?;
    replace_v4(&mut header[16..20], names)?;
    set_checksum(&mut header, AT_IPV4, 0);
    out.extend_from_slice(&header);
    let is_first = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff == 0;
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    // A frame that the sender's network card is to cut has no length.
    let rest = if total > length { total - length } else { packet.len() - length };
    if is_first { transport(header[9], &packet[length..], rest, &header[12..20], names, out) } else { None }
}

fn ipv6(packet: &[u8], names: &mut Pseudonyms, out: &mut Vec<u8>) -> Option<()> {
    let mut header: [u8; 40] = packet.get(..40)?.try_into().ok()?;
    replace_v6(&mut header[8..24], names)?;
    replace_v6(&mut header[24..40], names)?;
    out.extend_from_slice(&header);
    let payload = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    let end = if payload > 0 { 40 + payload } else { packet.len() };
    let (mut proto, mut at) = (header[6], 40);
    while matches!(proto, HOP_BY_HOP | DESTINATION | FRAGMENT) {
        let next = *packet.get(at)?;
        let length = if proto == FRAGMENT { 8 } else { (usize::from(*packet.get(at + 1)?) + 1) * 8 };
        let extension = packet.get(at..at + length)?;
        if proto == FRAGMENT {
            out.extend_from_slice(extension);
            if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff8 != 0 {
                return None;
            }
        } else {
            // Padding of the same length (RFC 8200, 4.2).
            out.extend_from_slice(&[next, extension[1], 1, (length - 4).min(255) as u8]);
            out.resize(out.len() + length - 4, 0);
        }
        (proto, at) = (next, at + length);
    }
    transport(proto, packet.get(at..)?, end.checked_sub(at)?, &header[8..40], names, out)
}

/// `length`: of the whole segment, on the wire. `addresses`: as they are in the new header.
fn transport(
    proto: u8,
    segment: &[u8],
    length: usize,
    addresses: &[u8],
    names: &mut Pseudonyms,
    out: &mut Vec<u8>,
) -> Option<()> {
    // The pseudo header (RFC 9293, 3.1; RFC 8200, 8.1).
    let pseudo = sum(addresses) + u32::from(proto) + length as u32;
    let (header, at, seed) = match proto {
        TCP => {
            let mut header =
                segment.get(..usize::from(*segment.get(12)? >> 4) * 4).filter(|header| header.len() >= 20)?.to_vec();
            keep_options(&mut header[20..]);
            (header, 16, pseudo)
        }
        UDP => (segment.get(..8)?.to_vec(), 6, pseudo),
        ICMP => (icmp(segment, names)?, 2, 0),
        ICMPV6 => (segment.get(..8)?.to_vec(), 2, pseudo),
        SCTP => return sctp(segment, length, out),
        _ => return None,
    };
    let mut header = header;
    // Without a checksum it stays without one, as UDP over IPv4 may be.
    if proto != UDP || header[6..8] != [0, 0] {
        set_checksum(&mut header, at, seed);
        if proto == UDP && header[6..8] == [0, 0] {
            header[6..8].fill(0xff);
        }
    }
    out.extend_from_slice(&header);
    Some(())
}

fn icmp(segment: &[u8], names: &mut Pseudonyms) -> Option<Vec<u8>> {
    let mut header = segment.get(..8)?.to_vec();
    if header[0] == REDIRECT {
        replace_v4(&mut header[4..8], names)?;
    }
    Some(header)
}

/// Its checksum is over the chunks, which are not kept (RFC 9260, 6.8).
fn sctp(segment: &[u8], length: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut header: [u8; 12] = segment.get(..12)?.try_into().ok()?;
    header[8..].fill(0);
    let zeros = std::iter::repeat_n(0, length.saturating_sub(header.len()));
    let checksum = crc32c(header.into_iter().chain(zeros));
    header[8..].copy_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&header);
    Some(())
}

fn keep_options(options: &mut [u8]) {
    let mut at = 0;
    while at < options.len() && options[at] != TCP_END {
        let length = match options[at] {
            TCP_NOP => 1,
            _ => usize::from(options.get(at + 1).copied().unwrap_or_default()),
        };
        if length == 0 || at + length > options.len() {
            break;
        }
        if !TCP_KEPT.contains(&options[at]) {
            options[at..at + length].fill(TCP_NOP);
        }
        at += length;
    }
    options[at..].fill(TCP_END);
}

fn set_checksum(header: &mut [u8], at: usize, seed: u32) {
    header[at..at + 2].fill(0);
    let mut sum = sum(header) + seed;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// Of 16-bit words (RFC 1071).
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum()
}

/// The polynomial of Castagnoli, reflected.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::headers::{Ends, macs};
    use netobserv_testkit::Frame;

    fn frame() -> Frame {
        Frame::new([0x3c, 0, 0, 0, 0, 1], [0x3c, 0, 0, 0, 0, 2])
    }

    fn redacted(frame: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append(frame, &mut Pseudonyms::new().unwrap(), &mut out);
        out
    }

    /// Whether the sum over a segment with zeros for the payload, and its pseudo header, is that of a right checksum.
    fn is_right(whole: &[u8], kept: &[u8], header: usize, proto: u8, addresses: std::ops::Range<usize>) -> bool {
        let length = (whole.len() - header) as u32;
        let pseudo = if proto == ICMP { 0 } else { super::sum(&kept[addresses]) + u32::from(proto) + length };
        (sum(&kept[header..]) + pseudo).is_multiple_of(0xffff)
    }

    #[test]
    fn headers_stay_with_right_checksums_and_payloads_go() {
        let v4 = || frame().ipv4("10.0.0.1", "10.0.0.2");
        let v6 = || frame().ipv6("2001:db8::1", "2001:db8::2");
        for (whole, kept_length, header, proto, addresses) in [
            (v4().tcp(443, 9, 2).payload(33).build(), 54, 34, TCP, 26..34),
            (v4().udp(53, 9).payload(40).build(), 42, 34, UDP, 26..34),
            (v4().icmp(8, 0).payload(9).build(), 42, 34, ICMP, 26..34),
            (v6().tcp(443, 9, 2).payload(33).build(), 74, 54, TCP, 22..54),
            (v6().udp(53, 9).payload(40).build(), 62, 54, UDP, 22..54),
            (v6().icmp(128, 0).payload(8).build(), 62, 54, ICMPV6, 22..54),
        ] {
            let kept = redacted(&whole);
            assert_eq!(kept.len(), kept_length, "{proto}");
            let (before, after) = (Ends::of(&whole), Ends::of(&kept));
            assert_eq!((before.proto, before.ports, before.icmp), (after.proto, after.ports, after.icmp));
            assert_ne!(before.addresses, after.addresses);
            assert_ne!(macs(&whole), macs(&kept));
            assert!(header != 34 || sum(&kept[14..34]).is_multiple_of(0xffff), "the checksum of IPv4");
            assert!(is_right(&whole, &kept, header, proto, addresses), "{proto}: {kept:02x?}");
        }
    }

    #[test]
    fn options_and_what_is_not_understood_are_not_kept() {
        let route = frame().ipv4("10.0.0.1", "10.0.0.2").options(&[7, 7, 4, 10, 9, 8, 7, 0]).udp(1, 2).build();
        assert_eq!(redacted(&route)[34..42], [IPV4_NOP; 8]);
        let mut options = [2, 4, 5, 180, 34, 4, 0xaa, 0xbb, 1, 0, 9, 9];
        keep_options(&mut options);
        assert_eq!(options, [2, 4, 5, 180, 1, 1, 1, 1, 1, 0, 0, 0]);
        let mut lldp = frame().build();
        lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
        lldp.extend_from_slice(b"switch-7.example");
        assert_eq!(redacted(&lldp).len(), 14);
        let hop = frame().ipv6("fd00::1", "fd00::2").extension(0, &[5, 2, 9, 9, 9, 9]).udp(53, 8).build();
        assert_eq!(redacted(&hop)[56..62], [1, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn frames_of_any_length_do_no_harm() {
        for whole in [frame().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2, 2), frame().ipv6("fd00::1", "fd00::2").udp(1, 2)] {
            let whole = whole.payload(20).build();
            for length in 0..whole.len() {
                assert!(redacted(&whole[..length]).len() <= length);
            }
        }
        assert!(redacted(&[0xff; 200]).len() <= 200);
    }

    #[test]
    fn the_checksum_of_sctp_is_that_of_its_definition() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }
}
