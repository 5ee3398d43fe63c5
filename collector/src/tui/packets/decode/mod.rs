//! The layers of a frame, for a person to read: the fields of each header, and which bytes it is. Deep analysis is Wireshark's; this
//! knows what is met every day.

mod application;
mod network;
mod transport;

use std::ops::Range;

use super::numbers::Base;

/// No frame has more layers than this.
const MOST_LAYERS: usize = 16;

/// One header, or what follows the last one that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Its protocol.
    pub(crate) name: &'static str,
    /// What matters, on one line.
    pub(crate) info: String,
    /// Its bytes in the frame.
    pub(crate) bytes: Range<usize>,
    /// Fields and values.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The packet of an EtherType.
    Network(u16),
    /// The segment of an IP protocol.
    Transport(u8),
    /// What TCP carries between these ports.
    Stream(u16, u16),
    /// What UDP carries between these ports.
    Datagram(u16, u16),
    /// Something.
    Data,
}

/// A frame on its way through the layers.
struct Decoder<'a> {
    bytes: &'a [u8],
    /// The next layer begins here.
    at: usize,
    /// Bytes of the packet that were on the wire and are not here.
    beyond: usize,
    /// What the sequence numbers of TCP are counted from.
    base: Base,
    layers: Vec<Layer>,
}

/// The layers of a frame that begins with its Ethernet header; a cut header ends them. Sequence numbers are counted from `base`.
pub(crate) fn layers(frame: &[u8], base: Base) -> Vec<Layer> {
    let mut decoder = Decoder { bytes: frame, at: 0, beyond: 0, base, layers: Vec::new() };
    let mut next = decoder.ethernet();
    while let Some(what) = next.filter(|_| decoder.layers.len() < MOST_LAYERS) {
        next = match what {
            Next::Network(etype) => decoder.network(etype),
            Next::Transport(proto) => decoder.transport(proto),
            Next::Stream(src, dst) => decoder.stream(src, dst),
            Next::Datagram(src, dst) => decoder.datagram(src, dst),
            Next::Data => break,
        };
    }
    decoder.rest();
    decoder.layers
}

/// Protocol and meaning of a frame, by its last layer that is known.
pub(crate) fn summary(frame: &[u8], base: Base) -> (&'static str, String) {
    let layers = layers(frame, base);
    let last = layers.iter().rev().find(|layer| layer.name != DATA).or(layers.last());
    last.map_or(("?", String::new()), |layer| (layer.name, layer.info.clone()))
}

/// Name of the layer that nothing is known of.
const DATA: &str = "Data";

impl<'a> Decoder<'a> {
    /// Byte `offset` of the layer that begins here.
    fn u8(&self, offset: usize) -> Option<u8> {
        self.bytes.get(self.at + offset).copied()
    }

    fn u16(&self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_be_bytes)
    }

    fn u32(&self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.left().get(offset..offset + N)?.try_into().ok()
    }

    /// All bytes from here on.
    fn left(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The bytes behind this layer end after so many more: what follows is padding.
    fn limit(&mut self, length: usize) {
        self.beyond = (self.at + length).saturating_sub(self.bytes.len());
        self.bytes = &self.bytes[..self.bytes.len().min(self.at + length)];
    }

    /// Adds a layer of so many bytes, and goes behind it.
    fn add(&mut self, name: &'static str, length: usize, info: String, fields: Vec<(&'static str, String)>) {
        let end = (self.at + length).min(self.bytes.len());
        self.layers.push(Layer { name, info, bytes: self.at..end, fields });
        self.at = end;
    }

    /// What no layer explains.
    fn rest(&mut self) {
        let length = self.left().len();
        if length > 0 {
            self.add(DATA, length, format!("{length} bytes"), Vec::new());
        }
    }
}

/// `0a:58:00:00:00:01`.
fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests;
