//! One file of packets and what is in it so far: its interfaces, the names of addresses, the secrets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use netobserv_wire::flow::HolderRef;
use pcap_file::PcapResult;

use super::places::Place;
use super::talks::Names;
use crate::cli::packets::Format;
use crate::sink::output_file::Ends;
use crate::sink::pcap::{self, Pcap};
use crate::sink::pcapng::{self, Frame, Interface, Pcapng, Section, Statistics};

/// Addresses whose names are remembered; with more, names are written again.
const MOST_NAMES: usize = 65_536;

/// A file.
pub struct PacketFile {
    document: Document,
    /// By the number of a place.
    interfaces: Vec<Option<InterfaceEntry>>,
    names: HashMap<IpAddr, String>,
}

/// A place in the file.
#[derive(Clone, Copy, Debug)]
struct InterfaceEntry {
    number: u32,
    packets: u64,
}

enum Document {
    Pcapng(Box<Pcapng>),
    Pcap(Pcap),
}

impl PacketFile {
    /// A file with nothing but its head.
    pub fn new(format: Format, section: &Section) -> PcapResult<Self> {
        let document = match format {
            Format::Pcapng => Document::Pcapng(Box::new(Pcapng::new(section)?)),
            Format::Pcap => Document::Pcap(Pcap::default()),
        };
        Ok(Self { document, interfaces: vec![], names: HashMap::new() })
    }

    /// What is still to be written.
    pub fn pending(&self) -> &[u8] {
        match &self.document {
            Document::Pcapng(file) => file.blocks(),
            Document::Pcap(file) => file.records(),
        }
    }

    /// It is written.
    pub fn clear(&mut self) {
        match &mut self.document {
            Document::Pcapng(file) => file.clear(),
            Document::Pcap(file) => file.clear(),
        }
    }

    /// How to find the ends of packets in what is written.
    pub fn ends(&self) -> Ends {
        match &self.document {
            Document::Pcapng(_) => |bytes| Box::new(pcapng::ends(bytes)),
            Document::Pcap(_) => |bytes| Box::new(pcap::ends(bytes)),
        }
    }

    /// The format explains packets.
    pub fn explains(&self) -> bool {
        matches!(self.document, Document::Pcapng(_))
    }

    /// Whether a place is described.
    pub fn knows(&self, place: usize) -> bool {
        !self.explains() || self.interfaces.get(place).is_some_and(Option::is_some)
    }

    /// Describes a place.
    pub fn describe(&mut self, place: usize, interface: &Interface) -> PcapResult<()> {
        let Document::Pcapng(file) = &mut self.document else { return Ok(()) };
        let number = file.interface(interface)?;
        if self.interfaces.len() <= place {
            self.interfaces.resize(place + 1, None);
        }
        self.interfaces[place] = Some(InterfaceEntry { number, packets: 0 });
        Ok(())
    }

    /// Adds a packet that was seen at a place that is described.
    pub fn packet(&mut self, place: usize, frame: &Frame) {
        match &mut self.document {
            Document::Pcap(file) => file.packet(frame),
            Document::Pcapng(file) => {
                if let Some(Some(entry)) = self.interfaces.get_mut(place) {
                    entry.packets += 1;
                    file.packet(&Frame { interface: entry.number, ..*frame });
                }
            }
        }
    }

    /// Writes the names of both ends, where they are new.
    pub fn name(&mut self, addresses: Option<(IpAddr, IpAddr)>, names: &Names) -> PcapResult<()> {
        let (Some((src, dst)), Document::Pcapng(file)) = (addresses, &mut self.document) else { return Ok(()) };
        if self.names.len() > MOST_NAMES {
            self.names.clear();
        }
        let mut new: Vec<(IpAddr, Cow<str>)> = vec![];
        for (address, holder) in [(src, &names[0]), (dst, &names[1])] {
            let Some(name) = holder.as_ref().map(host_name) else { continue };
            if self.names.get(&address) != Some(&name) {
                new.push((address, name.clone().into()));
                self.names.insert(address, name);
            }
        }
        if new.is_empty() { Ok(()) } else { file.names(&new) }
    }

    /// Adds secrets for what follows.
    pub fn secrets(&mut self, secrets: &[u8]) -> PcapResult<()> {
        match &mut self.document {
            Document::Pcapng(file) if !secrets.is_empty() => file.secrets(secrets),
            _ => Ok(()),
        }
    }

    /// Writes what was counted at the places that are described; `start_ns` to `end_ns` is the capture until now.
    pub fn statistics(&mut self, places: &[Place], start_ns: u64, end_ns: u64) -> PcapResult<()> {
        let Document::Pcapng(file) = &mut self.document else { return Ok(()) };
        for (place, entry) in places.iter().zip(&self.interfaces) {
            let Some(entry) = entry else { continue };
            let counted = Statistics {
                start_ns,
                end_ns,
                // What an agent reports cannot be less than what it sent.
                received: place.counted.received.max(entry.packets),
                lost: place.counted.lost(),
                lost_kernel: place.counted.lost_ring,
                delivered: entry.packets,
            };
            file.statistics(entry.number, &counted)?;
        }
        Ok(())
    }
}

/// What stands for an address: a name as DNS would have it in the cluster.
fn host_name(holder: &HolderRef) -> String {
    let (name, namespace) = (&holder.name, &holder.namespace);
    match holder.kind.as_str() {
        _ if namespace.is_empty() => name.to_string(),
        "Service" => format!("{name}.{namespace}.svc"),
        _ => format!("{name}.{namespace}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::Holder;
    use pcap_file::pcapng::PcapNgReader;
    use pcap_file::pcapng::blocks::Block;

    fn holder(kind: &str, name: &str, namespace: &str) -> Option<HolderRef> {
        let (name, namespace, kind) = (name.into(), namespace.into(), kind.into());
        Some(Holder { name, namespace, kind, ..Holder::default() }.into())
    }

    fn named(packet_file: &PacketFile) -> Vec<String> {
        let mut reader = PcapNgReader::new(packet_file.pending()).unwrap();
        let mut names = vec![];
        while let Some(block) = reader.next_block() {
            if let Block::NameResolution(block) = block.unwrap() {
                names.extend(block.records.iter().map(|record| format!("{record:?}")));
            }
        }
        names
    }

    #[test]
    fn an_address_is_named_once_and_again_when_another_has_it() {
        let mut packet_file = PacketFile::new(Format::Pcapng, &Section::default()).unwrap();
        let ends = Some(("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()));
        let before = [holder("Pod", "a", "demo"), holder("Service", "b", "demo")];
        for names in [&before, &before, &[holder("Pod", "c", "demo"), None], &[holder("Node", "n", ""), None]] {
            packet_file.name(ends, names).unwrap();
        }
        let told = named(&packet_file);
        let expected = ["\"a.demo\"", "\"b.demo.svc\"", "\"c.demo\"", "\"n\""];
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told.iter().zip(expected).all(|(told, name)| told.contains(name)), "{told:?}");
    }

    #[test]
    fn pcap_has_no_place_for_explanations() {
        let mut packet_file = PacketFile::new(Format::Pcap, &Section::default()).unwrap();
        let head = packet_file.pending().len();
        packet_file.secrets(b"A 01 02\n").unwrap();
        packet_file.describe(0, &Interface::default()).unwrap();
        packet_file
            .name(Some(("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())), &[holder("Pod", "a", "b"), None])
            .unwrap();
        assert_eq!(packet_file.pending().len(), head);
        packet_file.packet(0, &Frame::default());
        assert_eq!(packet_file.pending().len(), head + 16);
    }
}
