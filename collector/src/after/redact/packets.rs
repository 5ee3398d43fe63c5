//! Files of packets: headers with other addresses, and what was counted. Comments, names, secrets and payloads are left out.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use netobserv_wire::packet::Direction;

use super::LeftOut;
use super::frame;
use super::pseudonym::Pseudonyms;
use crate::after::blocks::{self, Block, Blocks, COMMENT, Interface};
use crate::after::output::Output;
use crate::sink::pcap::Pcap;
use crate::sink::pcapng::{self, Frame, Pcapng, Section, Statistics};

/// Bytes that are written at once.
const WRITE: usize = 1 << 20;
/// Options of a packet: which way it went, packets lost before it, its number, and what became of it.
const FLAGS: u16 = 2;
const LOST: u16 = 4;
const ID: u16 = 5;
const VERDICT: u16 = 7;
/// The verdict of this program for a packet that the kernel dropped.
const DROPPED: [u8; 2] = [1, 2];
/// Length of a record's head in pcap, and of the file's.
const PCAP_RECORD: usize = 16;
const PCAP_FILE: usize = 24;
/// Magic numbers of pcap: microseconds, nanoseconds.
const PCAP_MICRO: u32 = 0xa1b2_c3d4;
const PCAP_NANO: u32 = 0xa1b2_3c4d;
/// Longest packet of libpcap.
const LONGEST: usize = 262_144;

/// Redacts a pcapng file.
///
/// # Errors
/// When it cannot be read or written.
pub(super) fn pcapng(file: &Path, output: &Output, names: &mut Pseudonyms) -> anyhow::Result<(String, LeftOut)> {
    let mut input = Blocks::new(BufReader::with_capacity(WRITE, File::open(file)?));
    let mut out = BufWriter::with_capacity(WRITE, output.create()?);
    let mut copy = Copy::new()?;
    while let Some(block) = input.next()? {
        copy.block(&block, names)?;
        out.write_all(copy.file.blocks()).with_context(|| output.cannot())?;
        copy.file.clear();
    }
    out.flush().with_context(|| output.cannot())?;
    Ok((packets(copy.packets), copy.left_out))
}

/// A copy of a whole pcapng file in memory.
///
/// # Errors
/// When it cannot be read.
pub(super) fn copy_of(bytes: &[u8], names: &mut Pseudonyms) -> anyhow::Result<Vec<u8>> {
    let (mut input, mut copy) = (Blocks::new(bytes), Copy::new()?);
    while let Some(block) = input.next()? {
        copy.block(&block, names)?;
    }
    Ok(copy.file.blocks().to_vec())
}

fn packets(number: u64) -> String {
    format!("{number} packet{} without payload", if number == 1 { "" } else { "s" })
}

/// A file under way.
struct Copy {
    file: Pcapng,
    /// The interfaces of the section, with their numbers in the copy.
    interfaces: Vec<(Interface, u32)>,
    packets: u64,
    left_out: LeftOut,
    data: Vec<u8>,
}

impl Copy {
    fn new() -> anyhow::Result<Self> {
        let file = Pcapng::new(&Section::default())?;
        Ok(Self { file, interfaces: Vec::new(), packets: 0, left_out: LeftOut::new(), data: Vec::new() })
    }

    fn block(&mut self, block: &Block, names: &mut Pseudonyms) -> anyhow::Result<()> {
        match block.kind {
            blocks::SECTION => self.interfaces.clear(),
            blocks::INTERFACE => {
                let interface = block.interface()?;
                let name = names.name(&interface.name).into();
                let number = self.file.interface(&pcapng::Interface { name, ..pcapng::Interface::default() })?;
                self.interfaces.push((interface, number));
            }
            blocks::PACKET => self.packet(block, names)?,
            blocks::STATISTICS => self.statistics(block)?,
            blocks::NAMES => self.leave_out("names of addresses"),
            blocks::SECRETS => self.leave_out("secrets of connections"),
            _ => self.leave_out("blocks of other kinds"),
        }
        Ok(())
    }

    fn leave_out(&mut self, what: &str) {
        self.left_out.insert(what.to_owned());
    }

    fn interface(&self, number: usize) -> anyhow::Result<&(Interface, u32)> {
        self.interfaces.get(number).with_context(|| format!("it has no interface {number}"))
    }

    fn packet(&mut self, block: &Block, names: &mut Pseudonyms) -> anyhow::Result<()> {
        let packet = block.packet().context("a block is too short for its packet")?;
        let (interface, number) = self.interface(packet.interface)?;
        let mut copy = Frame {
            interface: *number,
            time_ns: interface.nanoseconds(packet.ticks),
            original: packet.original,
            ..Frame::default()
        };
        let mut has_comments = false;
        for (code, value) in block.packet_options(&packet) {
            match code {
                COMMENT => has_comments = true,
                FLAGS => copy.direction = direction(block.u32_of(value).unwrap_or_default()),
                LOST => copy.lost = block.u64_of(value).unwrap_or_default(),
                // It may be a hash of the packet.
                ID => copy.id = names.number("packet", block.u64_of(value).unwrap_or_default()),
                VERDICT => copy.dropped = value.starts_with(&DROPPED),
                _ => {}
            }
        }
        self.data.clear();
        frame::append(packet.data, names, &mut self.data);
        self.file.packet(&Frame { data: &self.data, ..copy });
        self.packets += 1;
        if has_comments {
            self.leave_out("comments");
        }
        Ok(())
    }

    fn statistics(&mut self, block: &Block) -> anyhow::Result<()> {
        let (interface, number) = self.interface(block.u32(0).unwrap_or_default() as usize)?;
        let mut counted = Statistics::default();
        let ticks = block.body.get(4..12).and_then(|time| block.time_of(time)).unwrap_or_default();
        counted.end_ns = interface.nanoseconds(ticks);
        for (code, value) in block.options(12) {
            let number = block.u64_of(value).unwrap_or_default();
            match code {
                2 => counted.start_ns = interface.nanoseconds(block.time_of(value).unwrap_or_default()),
                4 => counted.received = number,
                5 => counted.lost = number,
                7 => counted.lost_kernel = number,
                8 => counted.delivered = number,
                _ => {}
            }
        }
        self.file.statistics(*number, &counted)?;
        Ok(())
    }
}

fn direction(flags: u32) -> Direction {
    match flags & 3 {
        1 => Direction::In,
        2 => Direction::Out,
        _ => Direction::Unknown,
    }
}

/// Redacts a pcap file.
///
/// # Errors
/// When it cannot be read or written.
pub(super) fn pcap(file: &Path, output: &Output, names: &mut Pseudonyms) -> anyhow::Result<(String, LeftOut)> {
    let mut input = BufReader::with_capacity(WRITE, File::open(file)?);
    let mut out = BufWriter::with_capacity(WRITE, output.create()?);
    let mut head = [0; PCAP_FILE];
    input.read_exact(&mut head).context("it is cut after 0 packets")?;
    let order = Order::of(&head)?;
    if order.word(&head, 20) & 0xffff != 1 {
        bail!("its packets have link type {}: only Ethernet (1) is understood", order.word(&head, 20) & 0xffff);
    }
    let (mut copy, mut number, mut data, mut record) = (Pcap::default(), 0, Vec::new(), Vec::new());
    loop {
        let mut head = [0; PCAP_RECORD];
        if input.read(&mut head[..1])? == 0 {
            break;
        }
        let cut = || format!("it is cut after {number} packets");
        input.read_exact(&mut head[1..]).with_context(cut)?;
        let length = order.word(&head, 8) as usize;
        if length > LONGEST {
            bail!("after {number} packets: a packet of {length} bytes is none");
        }
        record.resize(length, 0);
        input.read_exact(&mut record).with_context(cut)?;
        data.clear();
        frame::append(&record, names, &mut data);
        let time_ns =
            u64::from(order.word(&head, 0)) * 1_000_000_000 + u64::from(order.word(&head, 4)) * order.fraction;
        copy.packet(&Frame { data: &data, time_ns, original: order.word(&head, 12), ..Frame::default() });
        out.write_all(copy.records()).with_context(|| output.cannot())?;
        copy.clear();
        number += 1;
    }
    out.write_all(copy.records()).and_then(|()| out.flush()).with_context(|| output.cannot())?;
    Ok((packets(number), LeftOut::new()))
}

/// How numbers of a pcap file are read.
struct Order {
    big: bool,
    /// Nanoseconds of the smaller unit of time.
    fraction: u64,
}

impl Order {
    fn of(head: &[u8; PCAP_FILE]) -> anyhow::Result<Self> {
        for big in [false, true] {
            let order = Self { big, fraction: 1 };
            match order.word(head, 0) {
                PCAP_MICRO => return Ok(Self { fraction: 1_000, ..order }),
                PCAP_NANO => return Ok(order),
                _ => {}
            }
        }
        bail!("it is no pcap file")
    }

    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let word = bytes[at..].first_chunk().copied().unwrap_or_default();
        if self.big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }
}
