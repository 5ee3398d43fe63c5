//! Files of packets in one, in the order of time. What each file knows of its interfaces, packets and addresses stays.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::after::blocks::{self, Block, Blocks, Interface};
use crate::after::output::Output;

/// Bytes that are written at once.
const WRITE: usize = 1 << 20;

/// Merges them; returns how many packets there are.
///
/// # Errors
/// When one cannot be read, or the output cannot be written.
pub(super) fn pcapng(files: &[PathBuf], output: &Output) -> anyhow::Result<u64> {
    let mut out = Out { file: BufWriter::with_capacity(WRITE, output.create()?), interfaces: 0, has_section: false };
    let mut sources = files.iter().map(Source::open).collect::<anyhow::Result<Vec<_>>>()?;
    for source in &mut sources {
        source.advance(&mut out, output)?;
    }
    let mut packets = 0;
    // Of files whose next packets have the same time, the first.
    while let Some(source) = sources.iter_mut().filter(|source| source.next.is_some()).min_by_key(|source| source.time)
    {
        if let Some(packet) = source.next.take() {
            out.write(&packet).with_context(|| output.cannot())?;
            packets += 1;
        }
        source.advance(&mut out, output)?;
    }
    for block in sources.iter().flat_map(|source| &source.statistics) {
        out.write(block).with_context(|| output.cannot())?;
    }
    out.file.flush().with_context(|| output.cannot())?;
    Ok(packets)
}

/// The file that is written.
struct Out {
    file: BufWriter<File>,
    interfaces: u32,
    has_section: bool,
}

impl Out {
    fn write(&mut self, block: &Block) -> std::io::Result<()> {
        block.write(&mut self.file)
    }
}

/// A file that is read.
struct Source {
    path: PathBuf,
    blocks: Blocks<BufReader<File>>,
    /// The interfaces of its section, with their numbers in the output.
    interfaces: Vec<(Interface, u32)>,
    /// The next packet, and its time in ns since 1970.
    next: Option<Block>,
    time: u64,
    /// Counts of interfaces, which come last.
    statistics: Vec<Block>,
}

impl Source {
    fn open(path: &PathBuf) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let blocks = Blocks::new(BufReader::with_capacity(WRITE, file));
        Ok(Self { path: path.clone(), blocks, interfaces: Vec::new(), next: None, time: 0, statistics: Vec::new() })
    }

    /// Goes to the next packet. What explains it is written before it.
    fn advance(&mut self, out: &mut Out, output: &Output) -> anyhow::Result<()> {
        let shown = self.path.display().to_string();
        while let Some(block) = self.blocks.next().with_context(|| format!("cannot read {shown}"))? {
            if self.take(block, out, output).with_context(|| format!("cannot read {shown}"))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether it is a packet.
    fn take(&mut self, mut block: Block, out: &mut Out, output: &Output) -> anyhow::Result<bool> {
        match block.kind {
            blocks::SECTION => {
                if block.is_big() {
                    bail!("it is in big-endian, which is not merged");
                }
                self.interfaces.clear();
                if std::mem::replace(&mut out.has_section, true) {
                    return Ok(false);
                }
                // Its length is not known before all is written.
                block.set_u32(8, u32::MAX);
                block.set_u32(12, u32::MAX);
            }
            blocks::INTERFACE => {
                self.interfaces.push((block.interface()?, out.interfaces));
                out.interfaces += 1;
            }
            blocks::PACKET => {
                let packet = block.packet().context("a block is too short for its packet")?;
                let (interface, number) = self.interface(packet.interface)?;
                let (time, number) = (interface.nanoseconds(packet.ticks), *number);
                self.time = time;
                block.set_u32(0, number);
                self.next = Some(block);
                return Ok(true);
            }
            blocks::STATISTICS => {
                let number = self.interface(block.u32(0).unwrap_or_default() as usize)?.1;
                block.set_u32(0, number);
                self.statistics.push(block);
                return Ok(false);
            }
            _ => {}
        }
        out.write(&block).with_context(|| output.cannot())?;
        Ok(false)
    }

    fn interface(&self, number: usize) -> anyhow::Result<&(Interface, u32)> {
        self.interfaces.get(number).with_context(|| format!("it has no interface {number}"))
    }
}
