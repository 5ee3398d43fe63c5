//! The classic pcap format: times, lengths and bytes, and nothing else. For programs that read no pcapng.

use netobserv_wire::packet::MAX_SNAPLEN;

use super::pcapng::Frame;

/// Magic number of files whose times have nanoseconds (libpcap, pcap-savefile(5)).
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// Length of a record's head.
const HEAD: usize = 16;

/// A file, record by record. The records pile up until they are taken away.
#[derive(Debug)]
pub struct Pcap {
    pending: Vec<u8>,
}

impl Default for Pcap {
    /// A file with nothing but its head.
    fn default() -> Self {
        let mut pending = NANOSECONDS.to_le_bytes().to_vec();
        pending.extend(VERSION.iter().flat_map(|part| part.to_le_bytes()));
        // Time zone and accuracy: unused.
        pending.extend([0; 8]);
        pending.extend(MAX_SNAPLEN.to_le_bytes());
        pending.extend(ETHERNET.to_le_bytes());
        Self { pending }
    }
}

impl Pcap {
    /// Adds a packet.
    pub fn packet(&mut self, frame: &Frame) {
        let (seconds, nanos) = (frame.time_ns / 1_000_000_000, frame.time_ns % 1_000_000_000);
        for word in [seconds as u32, nanos as u32, frame.data.len() as u32, frame.original] {
            self.pending.extend_from_slice(&word.to_le_bytes());
        }
        self.pending.extend_from_slice(frame.data);
    }

    /// What has piled up.
    pub fn records(&self) -> &[u8] {
        &self.pending
    }

    /// It is taken away.
    pub fn clear(&mut self) {
        self.pending.clear();
    }
}

/// Ends of the whole records in `bytes`, which begin behind the file's head; each is a packet.
pub fn ends(bytes: &[u8]) -> impl Iterator<Item = (usize, bool)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(bytes.get(at + 8..at + 12)?.try_into().ok()?);
        let next = at + HEAD + length as usize;
        (next <= bytes.len()).then(|| {
            at = next;
            (at, true)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::PcapReader;

    #[test]
    fn packets_come_out_as_they_went_in() {
        let mut file = Pcap::default();
        let head = file.records().len();
        let frame = Frame { time_ns: 1_700_000_000_123_456_789, original: 1514, data: b"hello", ..Frame::default() };
        file.packet(&frame);
        file.packet(&Frame { data: b"", ..frame });
        let bytes = file.records();
        let mut reader = PcapReader::new(bytes).unwrap();
        let first = reader.next_packet().unwrap().unwrap();
        assert_eq!(
            (first.timestamp.as_nanos() as u64, first.orig_len, &*first.data),
            (frame.time_ns, 1514, &b"hello"[..])
        );
        assert_eq!(reader.next_packet().unwrap().unwrap().data.len(), 0);
        assert!(reader.next_packet().is_none());
        assert_eq!(ends(&bytes[head..]).collect::<Vec<_>>(), [(21, true), (37, true)]);
        assert_eq!(ends(&bytes[head..bytes.len() - 1]).count(), 1);
    }
}
