//! Makes frames of what lies in the ring buffer: as they were on the wire, and no longer than wanted.

use netobserv_ebpf_common::{EGRESS, INGRESS, packets::PacketHead};
use netobserv_wire::packet::{self, Direction, Head};

/// Length of both MAC addresses: the VLAN tag follows them.
const MACS: usize = 12;
/// Length of an Ethernet header.
const ETH: usize = 14;
/// Length of a VLAN tag.
const TAG: usize = 4;

/// Adds a frame to a payload. `data` is what the kernel copied.
pub fn append(payload: &mut Vec<u8>, head: &PacketHead, data: &[u8], snaplen: usize, stamp: Stamp) {
    let wire = Head {
        time_ns: stamp.time_ns,
        id: identity(head, data),
        interface: stamp.interface,
        original: length(head) as u32,
        sampling: head.sampling,
        cause: stamp.cause,
        direction: direction(head.direction),
    };
    if head.bare != 0 {
        let mut link = [0; ETH];
        link[MACS..].copy_from_slice(&head.eth_proto.to_be_bytes());
        packet::append(payload, &wire, &cut([&link, data, &[]], snaplen));
    } else if head.tag != 0 && data.len() >= MACS {
        let (macs, rest) = data.split_at(MACS);
        packet::append(payload, &wire, &cut([macs, &head.tag.to_be_bytes(), rest], snaplen));
    } else {
        packet::append(payload, &wire, &cut([data, &[], &[]], snaplen));
    }
}

/// What the kernel does not know of a packet.
#[derive(Clone, Copy)]
pub struct Stamp {
    /// Ns since 1970.
    pub time_ns: u64,
    /// The place's number.
    pub interface: u32,
    /// The cause's number, or 0.
    pub cause: u16,
}

/// Length on the wire of a packet in the ring buffer.
pub fn length(head: &PacketHead) -> u64 {
    let link = if head.bare != 0 {
        ETH
    } else if head.tag != 0 {
        TAG
    } else {
        0
    };
    u64::from(head.length) + link as u64
}

/// Of all bytes that the kernel copied, also when fewer are sent on: the tag does not matter to it.
fn identity(head: &PacketHead, data: &[u8]) -> u64 {
    if head.bare == 0 { packet::identity(data) } else { packet::identity_of(head.eth_proto, data) }
}

fn direction(number: u8) -> Direction {
    match number {
        INGRESS => Direction::In,
        EGRESS => Direction::Out,
        _ => Direction::Unknown,
    }
}

/// The pieces, up to `most` bytes of them all.
fn cut(pieces: [&[u8]; 3], most: usize) -> [&[u8]; 3] {
    let mut left = most;
    pieces.map(|piece| {
        let part = &piece[..piece.len().min(left)];
        left -= part.len();
        part
    })
}

#[cfg(test)]
mod tests {
    use netobserv_wire::netobserv::{Encoding, PacketBatch};

    use super::*;

    const STAMP: Stamp = Stamp { time_ns: 5, interface: 1, cause: 0 };

    fn frame(head: PacketHead, data: &[u8], snaplen: usize) -> (Vec<u8>, u32) {
        let mut payload = vec![];
        append(&mut payload, &head, data, snaplen, STAMP);
        let mut batch = PacketBatch { packets: 1, ..Default::default() };
        packet::seal(&mut batch, payload, Encoding::Plain).unwrap();
        let packet = packet::open(&batch).unwrap().remove(0);
        assert_eq!(u64::from(packet.original), length(&head));
        (packet.data.to_vec(), packet.original)
    }

    #[test]
    fn the_tag_goes_back_to_its_place() {
        let head = PacketHead { length: 20, tag: 0x8100_2005, ..Default::default() };
        let (data, original) = frame(head, b"dddddd\0sssss\x08\0payload"[..20].into(), 1000);
        assert_eq!(data, b"dddddd\0sssss\x81\0\x20\x05\x08\0payload"[..24]);
        assert_eq!(original, 24);
        let (data, _) = frame(head, b"dddddd\0sssss\x08\0payload"[..20].into(), 14);
        assert_eq!(data, b"dddddd\0sssss\x81\0", "cut inside the tag");
        let (data, _) = frame(PacketHead { length: 5, ..head }, b"short", 1000);
        assert_eq!(data, b"short");
    }

    #[test]
    fn a_packet_without_a_link_layer_gets_one() {
        let head = PacketHead { length: 100, bare: 1, eth_proto: 0x86dd, ..Default::default() };
        let (data, original) = frame(head, b"ip", 1000);
        assert_eq!((data.as_slice(), original), (&b"\0\0\0\0\0\0\0\0\0\0\0\0\x86\xddip"[..], 114));
    }
}
