//! pcapng: blocks of packets, and all that explains them.
//!
//! One section, in little-endian. Blocks that are written now and then are made by pcap-file; those of packets are laid out
//! here, because there are hundreds of thousands a second, with options that pcap-file does not know.

use std::borrow::Cow;
use std::net::IpAddr;

use netobserv_wire::packet::{Direction, MAX_SNAPLEN};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::Block;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::name_resolution::{Ipv4Record, Ipv6Record, NameResolutionBlock, Record};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::blocks::unknown::UnknownBlock;
use pcap_file::{DataLink, Endianness, PcapResult};

/// Block types and option codes (the pcapng specification, draft-ietf-opsawg-pcapng).
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;
const TLS_KEY_LOG: u32 = 0x544c_534b;
const COMMENT: u16 = 1;
const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;
const EPB_PACKETID: u16 = 5;
const EPB_VERDICT: u16 = 7;
/// Verdict by an eBPF program at a traffic control hook, and what drops there (`TC_ACT_SHOT`): what Wireshark has a name for.
const VERDICT_TC: u8 = 1;
const TC_ACT_SHOT: u64 = 2;
/// Power of ten: times are in nanoseconds.
const NANOSECONDS: u8 = 9;
/// A capture filter in words.
const FILTER_TEXT: u8 = 0;
/// Longest text of an option.
const LONGEST_TEXT: usize = 65_532;

/// The description of a section.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Operating system of the collector.
    pub os: String,
    /// What was asked for.
    pub comment: String,
}

/// A place where packets are seen.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// Name, unique in the file.
    pub name: String,
    /// What more is known; may be empty.
    pub description: String,
    /// The filter, in words; may be empty.
    pub filter: String,
}

/// A packet, and its comments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame<'a> {
    /// Number of its interface.
    pub interface: u32,
    /// Ns since 1970.
    pub time_ns: u64,
    /// Length on the wire.
    pub original: u32,
    /// What was captured of it.
    pub data: &'a [u8],
    /// Which way it went.
    pub direction: Direction,
    /// The same wherever the packet was seen; 0 = not known.
    pub id: u64,
    /// The kernel dropped it.
    pub dropped: bool,
    /// Packets lost at this interface since the one before.
    pub lost: u64,
    /// Comments.
    pub comments: &'a [String],
}

/// What was counted at an interface from the start of the capture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Start of the capture, ns since 1970.
    pub start_ns: u64,
    /// Now.
    pub end_ns: u64,
    /// Packets that the rules chose.
    pub received: u64,
    /// Those that are in no file.
    pub lost: u64,
    /// Those of them that the kernel had no room for.
    pub lost_kernel: u64,
    /// Packets in this file.
    pub delivered: u64,
}

/// A file, block by block. The blocks pile up until they are taken away.
pub struct Pcapng {
    writer: PcapNgWriter<Vec<u8>>,
    interfaces: u32,
}

impl Pcapng {
    /// A file with nothing but its head.
    ///
    /// # Errors
    /// None in practice: memory takes all.
    pub fn new(section: &Section) -> PcapResult<Self> {
        let mut options = vec![
            SectionHeaderOption::Hardware(std::env::consts::ARCH.into()),
            SectionHeaderOption::OS(section.os.clone().into()),
            SectionHeaderOption::UserApplication(concat!("netobserv-collector ", env!("CARGO_PKG_VERSION")).into()),
        ];
        if !section.comment.is_empty() {
            options.push(SectionHeaderOption::Comment(cut(&section.comment).to_owned().into()));
        }
        let header = SectionHeaderBlock { endianness: Endianness::Little, options, ..SectionHeaderBlock::default() };
        Ok(Self { writer: PcapNgWriter::with_section_header(Vec::new(), header)?, interfaces: 0 })
    }

    /// The blocks that have piled up.
    pub fn blocks(&self) -> &[u8] {
        self.writer.get_ref()
    }

    /// They are taken away.
    pub fn clear(&mut self) {
        self.writer.get_mut().clear();
    }

    /// Describes an interface and returns its number. All have Ethernet and the same longest packet, because libpcap reads no other file.
    pub fn interface(&mut self, interface: &Interface) -> PcapResult<u32> {
        let mut options = vec![InterfaceDescriptionOption::IfName(cut(&interface.name).into())];
        if !interface.description.is_empty() {
            options.push(InterfaceDescriptionOption::IfDescription(cut(&interface.description).into()));
        }
        if !interface.filter.is_empty() {
            let filter = [&[FILTER_TEXT], cut(&interface.filter).as_bytes()].concat();
            options.push(InterfaceDescriptionOption::IfFilter(filter.into()));
        }
        options.push(InterfaceDescriptionOption::IfTsResol(NANOSECONDS));
        let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: MAX_SNAPLEN, options };
        self.writer.write_pcapng_block(block)?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Adds a packet.
    pub fn packet(&mut self, frame: &Frame) {
        let out = self.writer.get_mut();
        let start = begin(out, ENHANCED_PACKET);
        for word in [
            frame.interface,
            (frame.time_ns >> 32) as u32,
            frame.time_ns as u32,
            frame.data.len() as u32,
            frame.original,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(frame.data);
        pad(out, start);
        let flags: u32 = match frame.direction {
            Direction::In => 1,
            Direction::Out => 2,
            Direction::Unknown => 0,
        };
        option(out, start, EPB_FLAGS, &flags.to_le_bytes());
        if frame.id != 0 {
            option(out, start, EPB_PACKETID, &frame.id.to_le_bytes());
        }
        if frame.lost > 0 {
            option(out, start, EPB_DROPCOUNT, &frame.lost.to_le_bytes());
        }
        if frame.dropped {
            let mut verdict = [VERDICT_TC; 9];
            verdict[1..].copy_from_slice(&TC_ACT_SHOT.to_le_bytes());
            option(out, start, EPB_VERDICT, &verdict);
        }
        for comment in frame.comments {
            option(out, start, COMMENT, cut(comment).as_bytes());
        }
        // End of the options.
        out.extend_from_slice(&[0; 4]);
        end(out, start);
    }

    /// Names addresses.
    pub fn names(&mut self, names: &[(IpAddr, Cow<'_, str>)]) -> PcapResult<()> {
        let records = names.iter().map(|(address, name)| match address {
            IpAddr::V4(ip) => {
                Record::Ipv4(Ipv4Record { ip_addr: ip.octets().to_vec().into(), names: vec![name.as_ref().into()] })
            }
            IpAddr::V6(ip) => {
                Record::Ipv6(Ipv6Record { ip_addr: ip.octets().to_vec().into(), names: vec![name.as_ref().into()] })
            }
        });
        let block = NameResolutionBlock { records: records.collect(), options: vec![] };
        self.writer.write_pcapng_block(block).map(drop)
    }

    /// Adds secrets of TLS connections, in the format of a key log file. They hold for what follows.
    pub fn secrets(&mut self, secrets: &[u8]) -> PcapResult<()> {
        let mut value = Vec::with_capacity(secrets.len() + 8);
        value.extend_from_slice(&TLS_KEY_LOG.to_le_bytes());
        value.extend_from_slice(&(secrets.len() as u32).to_le_bytes());
        value.extend_from_slice(secrets);
        let block = UnknownBlock { type_: DECRYPTION_SECRETS, length: 0, value: value.into() };
        self.writer.write_block(&Block::Unknown(block)).map(drop)
    }

    /// Writes what was counted at an interface.
    pub fn statistics(&mut self, interface: u32, counted: &Statistics) -> PcapResult<()> {
        // pcap-file writes one 64-bit number; a time is its upper half, then its lower.
        let time = |ns: u64| ns.rotate_left(32);
        let options = vec![
            InterfaceStatisticsOption::IsbStartTime(time(counted.start_ns)),
            InterfaceStatisticsOption::IsbEndTime(time(counted.end_ns)),
            InterfaceStatisticsOption::IsbIfRecv(counted.received),
            InterfaceStatisticsOption::IsbIfDrop(counted.lost),
            InterfaceStatisticsOption::IsbOsDrop(counted.lost_kernel),
            InterfaceStatisticsOption::IsbUsrDeliv(counted.delivered),
        ];
        let timestamp = time(counted.end_ns);
        self.writer
            .write_pcapng_block(InterfaceStatisticsBlock { interface_id: interface, timestamp, options })
            .map(drop)
    }
}

/// Ends of the whole blocks in `bytes`, each with whether it is a packet.
pub fn ends(bytes: &[u8]) -> impl Iterator<Item = (usize, bool)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let is_packet = word(at)? == ENHANCED_PACKET;
        let next = at + word(at + 4)? as usize;
        (next > at && next <= bytes.len()).then(|| {
            at = next;
            (at, is_packet)
        })
    })
}

fn begin(out: &mut Vec<u8>, kind: u32) -> usize {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    start
}

fn pad(out: &mut Vec<u8>, start: usize) {
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
}

fn option(out: &mut Vec<u8>, start: usize, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    pad(out, start);
}

fn end(out: &mut Vec<u8>, start: usize) {
    let length = ((out.len() - start + 4) as u32).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&length);
    out.extend_from_slice(&length);
}

/// As much of a text as an option holds.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}

#[cfg(test)]
mod tests;
