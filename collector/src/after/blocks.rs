//! The blocks of a pcapng file, in either byte order, and the options in them (draft-ietf-opsawg-pcapng).

use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;

use anyhow::{Context, bail};

/// Types of blocks.
pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE: u32 = 1;
pub(super) const NAMES: u32 = 4;
pub(super) const STATISTICS: u32 = 5;
pub(super) const PACKET: u32 = 6;
pub(super) const SECRETS: u32 = 10;
/// The byte order of a section, as its own byte order shows it.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Longest block: the longest packet of libpcap with its options, many times.
const LONGEST: u32 = 16 << 20;
/// Type, length, and the length once more.
const FRAME: u32 = 12;

/// The end of a list of options.
const END: u16 = 0;
/// An option of any block.
pub(super) const COMMENT: u16 = 1;
/// Resolution of an interface's times; without it they are in microseconds.
const RESOLUTION: u16 = 9;
/// Records of names.
const NAME_V4: u16 = 1;
const NAME_V6: u16 = 2;
/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;

/// A block without its type and lengths.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: u32,
    pub(super) body: Vec<u8>,
    /// In big-endian.
    big: bool,
}

/// Reads blocks one after the other.
pub(super) struct Blocks<R> {
    input: R,
    big: bool,
    number: u64,
}

impl<R: Read> Blocks<R> {
    /// Of a file from its beginning.
    pub(super) fn new(input: R) -> Self {
        Self { input, big: false, number: 0 }
    }

    /// The next one; `None` at the end of the file.
    ///
    /// # Errors
    /// When the file is cut, or no pcapng.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Block>> {
        let after = format!("after {} blocks", self.number);
        let mut head = [0; 8];
        match self.input.read(&mut head[..1]).with_context(|| after.clone())? {
            0 => return Ok(None),
            _ => self.read(&mut head[1..], &after)?,
        }
        let mut body = Vec::new();
        // The type of a section is the same in both byte orders.
        if u32_of(&head, false) == SECTION {
            body.resize(4, 0);
            self.read(&mut body, &after)?;
            self.big = match (u32_of(&body, false), u32_of(&body, true)) {
                (BYTE_ORDER, _) => false,
                (_, BYTE_ORDER) => true,
                _ => bail!("{after}: a section has no byte order"),
            };
        }
        let (kind, length) = (u32_of(&head, self.big), u32_of(&head[4..], self.big));
        let begun = FRAME + body.len() as u32;
        if length < begun || length > LONGEST || length % 4 != 0 {
            bail!("{after}: a block of {length} bytes is none");
        }
        let start = body.len();
        body.resize((length - FRAME) as usize, 0);
        self.read(&mut body[start..], &after)?;
        let mut tail = [0; 4];
        self.read(&mut tail, &after)?;
        if u32_of(&tail, self.big) != length {
            bail!("{after}: the two lengths of a block differ");
        }
        self.number += 1;
        Ok(Some(Block { kind, body, big: self.big }))
    }

    fn read(&mut self, bytes: &mut [u8], after: &str) -> anyhow::Result<()> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => anyhow::anyhow!("it is cut {after}"),
            _ => anyhow::Error::new(error).context(after.to_owned()),
        })
    }
}

fn u32_of(bytes: &[u8], big: bool) -> u32 {
    let bytes = bytes.first_chunk().copied().unwrap_or_default();
    if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// What is known of an interface.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    /// Ticks of a second.
    ticks: u64,
}

/// A packet.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    /// Number of its interface in the section.
    pub(super) interface: usize,
    pub(super) ticks: u64,
    pub(super) original: u32,
    pub(super) data: &'a [u8],
    /// Where its options begin.
    options: usize,
}

impl Block {
    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = *self.body.get(at..)?.first_chunk()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// The word at this place.
    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        Some(u32_of(self.body.get(at..at + 4)?, self.big))
    }

    /// Puts a word in its place, in a block that is long enough.
    pub(super) fn set_u32(&mut self, at: usize, word: u32) {
        let bytes = if self.big { word.to_be_bytes() } else { word.to_le_bytes() };
        if let Some(place) = self.body.get_mut(at..at + 4) {
            place.copy_from_slice(&bytes);
        }
    }

    /// Whether it is in big-endian.
    pub(super) fn is_big(&self) -> bool {
        self.big
    }

    /// Writes it as it was read, in little-endian.
    ///
    /// # Errors
    /// When the output takes no more.
    pub(super) fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let length = (self.body.len() as u32 + FRAME).to_le_bytes();
        out.write_all(&self.kind.to_le_bytes())?;
        out.write_all(&length)?;
        out.write_all(&self.body)?;
        out.write_all(&length)
    }

    /// A number of 64 bits in an option.
    pub(super) fn u64_of(&self, value: &[u8]) -> Option<u64> {
        let bytes = *value.first_chunk()?;
        Some(if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// A number of 32 bits in an option.
    pub(super) fn u32_of(&self, value: &[u8]) -> Option<u32> {
        value.get(..4).map(|bytes| u32_of(bytes, self.big))
    }

    /// A time: two words, the upper one first.
    pub(super) fn time_of(&self, value: &[u8]) -> Option<u64> {
        Some(u64::from(self.u32_of(value)?) << 32 | u64::from(self.u32_of(value.get(4..)?)?))
    }

    /// The options from a place on: codes and values.
    pub(super) fn options(&self, mut at: usize) -> impl Iterator<Item = (u16, &[u8])> {
        std::iter::from_fn(move || {
            let (code, length) = (self.u16(at)?, usize::from(self.u16(at + 2)?));
            let value = self.body.get(at + 4..at + 4 + length)?;
            at += 4 + length.next_multiple_of(4);
            (code != END).then_some((code, value))
        })
    }

    /// As an interface.
    ///
    /// # Errors
    /// When it is not Ethernet, which is all that is understood.
    pub(super) fn interface(&self) -> anyhow::Result<Interface> {
        let link = self.u16(0).unwrap_or_default();
        if link != ETHERNET {
            bail!("its packets have link type {link}: only Ethernet (1) is understood");
        }
        let mut interface = Interface { name: String::new(), ticks: 1_000_000 };
        for (code, value) in self.options(8) {
            match (code, value) {
                (2, name) => interface.name = String::from_utf8_lossy(name).into_owned(),
                (RESOLUTION, [power @ 0..=18, ..]) => interface.ticks = 10_u64.pow(u32::from(*power)),
                (RESOLUTION, [power @ 0x80..=0xbf, ..]) => interface.ticks = 1 << (power & 0x7f),
                _ => {}
            }
        }
        Ok(interface)
    }

    /// The names of addresses that it has.
    pub(super) fn names(&self) -> Vec<(IpAddr, String)> {
        let (mut at, mut names) = (0, Vec::new());
        while let (Some(kind @ 1..), Some(length)) = (self.u16(at), self.u16(at + 2)) {
            let length = usize::from(length);
            let Some(value) = self.body.get(at + 4..at + 4 + length) else { break };
            at += 4 + length.next_multiple_of(4);
            let (address, name) = match kind {
                NAME_V4 => (value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)), value.get(4..)),
                NAME_V6 => (value.first_chunk::<16>().map(|octets| IpAddr::from(*octets)), value.get(16..)),
                _ => continue,
            };
            // Each ends with a zero; the first is enough.
            let name = name.and_then(|names| names.split(|byte| *byte == 0).next());
            names.extend(address.zip(name.map(|name| String::from_utf8_lossy(name).into_owned())));
        }
        names
    }

    /// As a packet.
    pub(super) fn packet(&self) -> Option<Packet<'_>> {
        let length = self.u32(12)? as usize;
        Some(Packet {
            interface: self.u32(0)? as usize,
            ticks: self.time_of(self.body.get(4..12)?)?,
            original: self.u32(16)?,
            data: self.body.get(20..)?.get(..length)?,
            options: 20 + length.next_multiple_of(4),
        })
    }

    /// The options of a packet.
    pub(super) fn packet_options(&self, packet: &Packet<'_>) -> impl Iterator<Item = (u16, &[u8])> {
        self.options(packet.options)
    }
}

impl Interface {
    /// A time at it, ns since 1970.
    pub(super) fn nanoseconds(&self, ticks: u64) -> u64 {
        let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks);
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::pcapng::{self, Frame, Pcapng, Section};

    fn file() -> Vec<u8> {
        let mut file = Pcapng::new(&Section { os: "Linux".into(), comment: "port=80".into() }).unwrap();
        file.interface(&pcapng::Interface { name: "n1/eth0".into(), ..pcapng::Interface::default() }).unwrap();
        file.packet(&Frame { data: b"hello", time_ns: 7, original: 9, lost: 3, ..Frame::default() });
        file.blocks().to_vec()
    }

    fn kinds(bytes: &[u8]) -> anyhow::Result<Vec<u32>> {
        let mut blocks = Blocks::new(bytes);
        std::iter::from_fn(|| blocks.next().transpose()).map(|block| Ok(block?.kind)).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = file();
        let mut blocks = Blocks::new(&bytes[..]);
        let section = blocks.next().unwrap().unwrap();
        assert!(section.options(16).any(|option| option == (COMMENT, b"port=80")));
        let interface = blocks.next().unwrap().unwrap().interface().unwrap();
        let block = blocks.next().unwrap().unwrap();
        let packet = block.packet().unwrap();
        assert_eq!((interface.name.as_str(), interface.nanoseconds(packet.ticks)), ("n1/eth0", 7));
        assert_eq!((packet.data, packet.original), (&b"hello"[..], 9));
        let lost = block.packet_options(&packet).find(|(code, _)| *code == 4);
        assert_eq!(lost.and_then(|(_, value)| block.u64_of(value)), Some(3));
        assert!(blocks.next().unwrap().is_none());
    }

    #[test]
    fn a_section_in_the_other_byte_order_is_read() {
        let mut bytes = vec![0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 28, 0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0];
        bytes.extend([0xff; 8]);
        bytes.extend([0, 0, 0, 28]);
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20]);
        assert_eq!(kinds(&bytes).unwrap(), [SECTION, INTERFACE]);
    }

    #[test]
    fn any_cut_or_changed_file_is_an_error_or_read() {
        let bytes = file();
        for length in 0..bytes.len() {
            let _ = kinds(&bytes[..length]);
            let mut changed = bytes.clone();
            changed[length] ^= 0xff;
            let mut blocks = Blocks::new(&changed[..]);
            while let Ok(Some(block)) = blocks.next() {
                let _ = block.interface();
                if let Some(packet) = block.packet() {
                    block.packet_options(&packet).for_each(drop);
                }
            }
        }
        assert_eq!(kinds(&bytes[..bytes.len() - 3]).unwrap_err().to_string(), "it is cut after 2 blocks");
    }
}
