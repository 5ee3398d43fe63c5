//! One number for a packet wherever it is seen, made of what does not change on its way.

/// EtherTypes (IEEE 802 numbers).
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Tag protocols: IEEE 802.1Q, 802.1ad, and the older one for outer tags.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// Bytes behind the link layer that are looked at: both headers with options, and the first of the payload.
const WINDOW: usize = 128;
/// Digits of pi, made odd: multiplying by it spreads the bits.
const SPREAD: u64 = 0x243f_6a88_85a3_08d3;

/// The identity of a frame's packet: a hash of its first 128 bytes from the IP header on, without what routers, bridges and
/// network cards change (link layer, VLAN tags, TTL or hop limit, traffic class, flow label, checksums, padding).
///
/// So the same packet has the same identity at every interface of every node, until its addresses are translated or it is cut
/// into segments or put together from them (segmentation offload at one of the places). Two packets have the same identity by
/// chance only (1 in 2^64 for each pair), or when they are copies of each other down to the IP identification.
/// Never 0.
pub fn identity(frame: &[u8]) -> u64 {
    let (etype, start) = network(frame);
    identity_of(etype, frame.get(start..).unwrap_or_default())
}

/// The identity of a packet without its link layer.
pub fn identity_of(etype: u16, packet: &[u8]) -> u64 {
    let mut window = [0; WINDOW];
    let len = length(etype, packet).min(WINDOW);
    window[..len].copy_from_slice(&packet[..len]);
    blank(etype, &mut window);
    let mut hash = u64::from(etype) ^ (len as u64) << 32;
    for word in window[..len.next_multiple_of(8)].chunks_exact(8) {
        hash ^= u64::from_le_bytes(std::array::from_fn(|i| word[i]));
        hash = hash.wrapping_mul(SPREAD);
        hash ^= hash >> 32;
    }
    hash.max(1)
}

/// EtherType behind the tags, and where the packet begins.
fn network(frame: &[u8]) -> (u16, usize) {
    let mut at = 12;
    loop {
        let Some(&[high, low]) = frame.get(at..at + 2) else { return (0, frame.len()) };
        let etype = u16::from_be_bytes([high, low]);
        if !TAGS.contains(&etype) {
            return (etype, at + 2);
        }
        at += 4;
    }
}

/// Length of the packet without what fills up a short frame.
fn length(etype: u16, packet: &[u8]) -> usize {
    let number = |at: usize| packet.get(at..at + 2).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
    let said = match etype {
        IPV4 => number(2),
        IPV6 if number(4) > 0 => number(4) + 40,
        _ => 0,
    };
    // Packets too large for the field leave it 0.
    if said == 0 { packet.len() } else { said.min(packet.len()) }
}

/// Takes out what changes on the way.
fn blank(etype: u16, window: &mut [u8; WINDOW]) {
    let (proto, transport) = match etype {
        IPV4 => {
            window[1] = 0;
            window[8] = 0;
            window[10..12].fill(0);
            (window[9], usize::from(window[0] & 0xf) * 4)
        }
        IPV6 => {
            window[..4].fill(0);
            window[7] = 0;
            (window[6], 40)
        }
        _ => return,
    };
    // Checksums of TCP, UDP and SCTP: filled in by the network card, if at all.
    let checksum = match proto {
        6 => transport + 16..transport + 18,
        17 => transport + 6..transport + 8,
        132 => transport + 8..transport + 12,
        _ => return,
    };
    window[checksum].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP packet with this TTL, checksum and payload, behind these link-layer bytes.
    fn udp(link: &[u8], ttl: u8, checksum: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = link.to_vec();
        let total = 28 + payload.len() as u8;
        frame.extend([0x45, ttl, 0, total, 0, 7, 0, 0, ttl, 17, checksum, 1, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0, 53, 4, 0, 0, total - 20, checksum, checksum]);
        frame.extend(payload);
        frame
    }

    const PLAIN: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    const TAGGED: [u8; 18] = [6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 0x81, 0, 0, 5, 8, 0];

    #[test]
    fn a_packet_is_known_again_elsewhere() {
        let here = udp(&PLAIN, 64, 0, b"hello");
        let mut there = udp(&TAGGED, 63, 9, b"hello");
        there.resize(70, 0);
        assert_eq!(identity(&here), identity(&there));
    }

    #[test]
    fn others_are_others() {
        let one = identity(&udp(&PLAIN, 64, 0, b"hello"));
        assert_ne!(one, identity(&udp(&PLAIN, 64, 0, b"hellp")));
        assert_ne!(one, identity(&udp(&PLAIN, 64, 0, b"hello\0")));
        let mut later = udp(&PLAIN, 64, 0, b"hello");
        later[14 + 5] += 1;
        assert_ne!(one, identity(&later), "another IP identification");
    }

    #[test]
    fn many_packets_do_not_meet() {
        let ids: std::collections::HashSet<u64> =
            (0..100_000_u32).map(|n| identity(&udp(&PLAIN, 64, 0, &n.to_be_bytes()))).collect();
        assert_eq!(ids.len(), 100_000);
    }

    #[test]
    fn v6_is_known_again_and_short_frames_do_no_harm() {
        let v6 = |flow_label, hops| {
            let mut frame = PLAIN[..12].to_vec();
            frame.extend([0x86, 0xdd, 0x60, flow_label, 1, 2, 0, 8, 58, hops]);
            frame.extend([3; 40]);
            frame
        };
        assert_eq!(identity(&v6(0, 64)), identity(&v6(7, 63)));
        let frame = udp(&TAGGED, 64, 0, b"hello");
        for len in 0..frame.len() {
            assert_ne!(identity(&frame[..len]), 0, "cut to {len}");
        }
    }
}
