//! Captured packets, and how they are laid out in the payload of a [`PacketBatch`].
//!
//! A packet is written once by the agent and read once by the collector, hundreds of thousands of times a second: so the
//! records have a fixed head, all numbers little-endian, and the frame's bytes are not copied when they are read.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | time, ns since 1970 |
//! | 8 | 8 | identity of the packet, see [`identity`] |
//! | 16 | 4 | interface, a [`PacketInterface::id`] |
//! | 20 | 4 | length of the frame on the wire |
//! | 24 | 4 | bytes captured: they follow the head |
//! | 28 | 4 | one packet in so many was looked at |
//! | 32 | 2 | cause of the drop, from 1; 0 = was not dropped |
//! | 34 | 1 | direction: 0 in, 1 out, 2 unknown |
//! | 35 | 1 | 0 |
//!
//! [`PacketBatch`]: crate::netobserv::PacketBatch
//! [`PacketInterface::id`]: crate::netobserv::PacketInterface::id

use std::{io, sync::Arc};

use prost::bytes::Bytes;

use crate::netobserv::{Encoding, PacketBatch, PacketInterface};

mod identity;

pub use identity::{identity, identity_of};

/// Longest piece of a frame that is captured: the largest IP packet (65,535 bytes; segmentation offload makes them as large
/// as that), an Ethernet header and two VLAN tags, rounded up to eight.
pub const MAX_SNAPLEN: u32 = 65_560;
/// An agent sends a batch when its payload has grown to this many bytes.
pub const BATCH_BYTES: usize = 1 << 20;
/// Largest payload that is decoded, so that a broken message cannot ask for any memory that it likes.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// Longest frame that is handed on. Wireshark takes a file with a longer one for damaged, and reads nothing after it.
pub const MAX_FRAME: usize = 262_144;

/// Length of a record's head.
pub const HEAD: usize = 36;
/// For speed, not size: what agents send is gone a moment later.
const ZSTD_LEVEL: i32 = 1;

/// Which way a packet went at its interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// It came in.
    In,
    /// It went out.
    Out,
    /// It was dropped, somewhere between.
    #[default]
    Unknown,
}

impl Direction {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::In,
            1 => Self::Out,
            _ => Self::Unknown,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::In => 0,
            Self::Out => 1,
            Self::Unknown => 2,
        }
    }
}

/// What is known of a packet beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// Ns since 1970.
    pub time_ns: u64,
    /// The same wherever the packet is seen, see [`identity`]; 0 = not known.
    pub id: u64,
    /// Where it was seen: a [`PacketInterface::id`].
    pub interface: u32,
    /// Length of the frame on the wire, VLAN tags included.
    pub original: u32,
    /// One packet in so many was looked at; 1 = all.
    pub sampling: u32,
    /// Number of the cause of its drop in [`PacketBatch::causes`], from 1; 0 = was not dropped.
    pub cause: u16,
    /// Which way it went.
    pub direction: Direction,
}

/// A captured packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Packet {
    /// Ns since 1970.
    pub time_ns: u64,
    /// The same wherever the packet is seen, see [`identity`]; 0 = not known.
    pub id: u64,
    /// Where it was seen: a [`PacketInterface::id`] of its agent.
    pub interface: u32,
    /// Length of the frame on the wire, VLAN tags included; `data` may be shorter.
    pub original: u32,
    /// One packet in so many was looked at; 1 = all.
    pub sampling: u32,
    /// Which way it went.
    pub direction: Direction,
    /// Why the kernel dropped it; None = it did not.
    pub cause: Option<Arc<str>>,
    /// The frame from its Ethernet header on, VLAN tags in their places.
    pub data: Bytes,
}

/// Why a batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// More than [`MAX_PAYLOAD`].
    #[error("a payload of {0} bytes is too large")]
    TooLarge(usize),
    /// Not of the length that it says.
    #[error("a payload of {found} bytes should have {claimed}")]
    Length {
        /// Its length.
        found: usize,
        /// What the message says.
        claimed: usize,
    },
    /// An encoding that this side does not know.
    #[error("unknown encoding {0}")]
    Encoding(i32),
    /// Not zstd.
    #[error("cannot decompress: {0}")]
    Zstd(#[from] io::Error),
    /// Records that do not fill the payload.
    #[error("a record is cut short")]
    Cut,
    /// Not as many records as it says.
    #[error("a payload of {found} records should have {claimed}")]
    Records {
        /// How many there are.
        found: usize,
        /// What the message says.
        claimed: u32,
    },
}

/// Adds a record to a payload. The frame may come in pieces; all of them together are what was captured.
pub fn append(payload: &mut Vec<u8>, head: &Head, frame: &[&[u8]]) {
    let captured: usize = frame.iter().map(|piece| piece.len()).sum();
    let mut bytes = [0; HEAD];
    bytes[..8].copy_from_slice(&head.time_ns.to_le_bytes());
    bytes[8..16].copy_from_slice(&head.id.to_le_bytes());
    bytes[16..20].copy_from_slice(&head.interface.to_le_bytes());
    bytes[20..24].copy_from_slice(&head.original.to_le_bytes());
    bytes[24..28].copy_from_slice(&(captured as u32).to_le_bytes());
    bytes[28..32].copy_from_slice(&head.sampling.to_le_bytes());
    bytes[32..34].copy_from_slice(&head.cause.to_le_bytes());
    bytes[34] = head.direction.number();
    payload.extend_from_slice(&bytes);
    frame.iter().for_each(|piece| payload.extend_from_slice(piece));
}

/// Puts a payload into a batch.
///
/// # Errors
/// What zstd reports.
pub fn seal(batch: &mut PacketBatch, payload: Vec<u8>, encoding: Encoding) -> io::Result<()> {
    batch.payload_size = payload.len() as u32;
    batch.encoding = encoding.into();
    batch.payload = match encoding {
        Encoding::Plain => payload.into(),
        Encoding::Zstd => zstd::bulk::compress(&payload, ZSTD_LEVEL)?.into(),
    };
    Ok(())
}

/// The packets of a batch, in the order in which they were seen.
///
/// # Errors
/// When the payload is not as described above; nothing of the batch is used then.
pub fn open(batch: &PacketBatch) -> Result<Vec<Packet>, BatchError> {
    let mut payload = decode(batch)?;
    let causes: Vec<Arc<str>> = batch.causes.iter().map(|cause| cause.as_str().into()).collect();
    let mut packets = Vec::with_capacity(claimed(batch).min(payload.len() / HEAD));
    while !payload.is_empty() {
        packets.push(take(&mut payload, &causes)?);
    }
    let found = packets.len();
    if found == batch.packets as usize {
        Ok(packets)
    } else {
        Err(BatchError::Records { found, claimed: batch.packets })
    }
}

/// How many packets a batch says it has, if its payload can hold so many.
pub fn claimed(batch: &PacketBatch) -> usize {
    (batch.packets as usize).min((batch.payload_size as usize).min(MAX_PAYLOAD) / HEAD)
}

fn decode(batch: &PacketBatch) -> Result<Bytes, BatchError> {
    let claimed = batch.payload_size as usize;
    if claimed > MAX_PAYLOAD {
        return Err(BatchError::TooLarge(claimed));
    }
    let payload: Bytes = match Encoding::try_from(batch.encoding) {
        Ok(Encoding::Plain) => batch.payload.clone(),
        Ok(Encoding::Zstd) => zstd::bulk::decompress(&batch.payload, claimed)?.into(),
        Err(_) => return Err(BatchError::Encoding(batch.encoding)),
    };
    if payload.len() == claimed { Ok(payload) } else { Err(BatchError::Length { found: payload.len(), claimed }) }
}

fn take(payload: &mut Bytes, causes: &[Arc<str>]) -> Result<Packet, BatchError> {
    let head: [u8; HEAD] = payload.get(..HEAD).and_then(|head| head.try_into().ok()).ok_or(BatchError::Cut)?;
    let captured = u32_at(&head, 24);
    let end = HEAD + captured as usize;
    if payload.len() < end {
        return Err(BatchError::Cut);
    }
    let data = payload.split_to(end).slice(HEAD..end.min(HEAD + MAX_FRAME));
    let cause = usize::from(u16::from_le_bytes([head[32], head[33]]));
    Ok(Packet {
        time_ns: u64_at(&head, 0),
        id: u64_at(&head, 8),
        interface: u32_at(&head, 16),
        // No frame is shorter than what was captured of it.
        original: u32_at(&head, 20).max(captured),
        sampling: u32_at(&head, 28),
        direction: Direction::of(head[34]),
        cause: (cause > 0).then(|| causes.get(cause - 1).cloned().unwrap_or_else(|| cause.to_string().into())),
        data,
    })
}

fn u32_at(head: &[u8; HEAD], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| head[at + i]))
}

fn u64_at(head: &[u8; HEAD], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| head[at + i]))
}

impl PacketInterface {
    /// Packets that were seen here and are in no batch.
    pub fn lost_packets(&self) -> u64 {
        self.lost_ring_packets.saturating_add(self.lost_queue_packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(cause: u16) -> Head {
        let (time_ns, id) = (1_700_000_000_123_456_789, 0xfedc_ba98_7654_3210);
        Head { time_ns, id, interface: 3, original: 1514, sampling: 1, cause, direction: Direction::Out }
    }

    fn batch(encoding: Encoding) -> PacketBatch {
        let mut payload = vec![];
        append(&mut payload, &head(0), &[b"dst", b"", b"rest"]);
        append(&mut payload, &head(1), &[]);
        append(&mut payload, &head(2), &[&[7; 1000]]);
        let mut batch = PacketBatch { packets: 3, causes: vec!["NO_SOCKET".into()], ..Default::default() };
        seal(&mut batch, payload, encoding).unwrap();
        batch
    }

    #[test]
    fn packets_come_out_as_they_went_in() {
        for encoding in [Encoding::Plain, Encoding::Zstd] {
            let packets = open(&batch(encoding)).unwrap();
            assert_eq!(packets.len(), 3);
            assert_eq!((packets[0].time_ns, packets[0].id), (head(0).time_ns, head(0).id));
            assert_eq!((packets[0].interface, packets[0].original, packets[0].sampling), (3, 1514, 1));
            assert_eq!((packets[0].direction, &packets[0].data[..]), (Direction::Out, &b"dstrest"[..]));
            assert_eq!(packets[0].cause, None);
            assert_eq!(packets[1].cause.as_deref(), Some("NO_SOCKET"));
            assert_eq!(packets[2].cause.as_deref(), Some("2"), "a cause without a name has its number");
            assert_eq!(packets[2].data, vec![7; 1000]);
        }
    }

    #[test]
    fn compressing_is_worth_it() {
        assert!(batch(Encoding::Zstd).payload.len() < batch(Encoding::Plain).payload.len() / 5);
    }

    #[test]
    fn what_is_broken_is_refused() {
        let plain = batch(Encoding::Plain);
        let claimed = |payload_size| PacketBatch { payload_size, ..plain.clone() };
        assert!(matches!(open(&claimed(5)), Err(BatchError::Length { .. })));
        assert!(matches!(open(&claimed(u32::MAX)), Err(BatchError::TooLarge(_))));
        assert!(matches!(open(&PacketBatch { encoding: 9, ..plain.clone() }), Err(BatchError::Encoding(9))));
        assert!(matches!(open(&PacketBatch { encoding: 1, ..plain.clone() }), Err(BatchError::Zstd(_))));
        for len in [1, HEAD - 1, HEAD + 3, plain.payload.len() - 1] {
            let cut = PacketBatch { payload: plain.payload.slice(..len), payload_size: len as u32, ..plain.clone() };
            assert!(matches!(open(&cut), Err(BatchError::Cut)), "cut to {len}");
        }
    }

    #[test]
    fn what_a_batch_says_of_its_packets_is_checked() {
        for packets in [0, 2, 4, u32::MAX] {
            let other = PacketBatch { packets, ..batch(Encoding::Plain) };
            assert!(matches!(open(&other), Err(BatchError::Records { found: 3, .. })), "{packets}");
            assert!(claimed(&other) <= other.payload.len() / HEAD);
        }
        let most = PacketInterface { lost_ring_packets: u64::MAX, lost_queue_packets: 1, ..Default::default() };
        assert_eq!(most.lost_packets(), u64::MAX);
    }

    #[test]
    fn a_frame_that_no_reader_of_the_file_takes_is_cut() {
        let mut payload = vec![];
        append(&mut payload, &Head { original: 7, ..head(0) }, &[&vec![1; MAX_FRAME + 9]]);
        append(&mut payload, &head(0), &[b"next"]);
        let mut batch = PacketBatch { packets: 2, ..PacketBatch::default() };
        seal(&mut batch, payload, Encoding::Plain).unwrap();
        let packets = open(&batch).unwrap();
        assert_eq!((packets[0].data.len(), packets[0].original as usize), (MAX_FRAME, MAX_FRAME + 9));
        assert_eq!(&packets[1].data[..], b"next");
    }

    #[test]
    fn a_batch_that_says_it_is_small_does_not_grow() {
        let mut bomb = PacketBatch::default();
        seal(&mut bomb, vec![0; MAX_PAYLOAD], Encoding::Zstd).unwrap();
        bomb.payload_size = 100;
        assert!(open(&bomb).is_err());
    }
}
