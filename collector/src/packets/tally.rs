//! What a packet capture counted in the collector; what the agents lost is in [`crate::counts`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use netobserv_wire::Packet;

use crate::counts::Totals;
use crate::human;

/// Counters, filled by the receivers and the writer.
#[derive(Debug, Default)]
pub struct Tally {
    /// Packets received.
    pub packets: AtomicU64,
    /// Their bytes on the wire.
    pub bytes: AtomicU64,
    /// Packets in batches that could not be read.
    pub malformed: AtomicU64,
    /// Packets written, also into files that a ring let go.
    pub written: AtomicU64,
    /// Bytes of the files, also of those.
    pub file_bytes: AtomicU64,
    /// Packets that could not be written.
    pub unwritten: AtomicU64,
    /// Packets that came too late to be in order; they are written.
    pub late: AtomicU64,
    /// Further sightings of packets that are written, left out.
    pub sightings: AtomicU64,
    /// Packets that the filter left out.
    pub filtered: AtomicU64,
    /// Lines of the key log that are no secrets.
    pub no_secrets: AtomicU64,
    /// Files of a ring that were removed.
    pub removed_files: AtomicU64,
}

impl Tally {
    /// Counts packets that came in.
    pub fn received(&self, packets: &[Packet]) {
        self.packets.fetch_add(packets.len() as u64, Relaxed);
        self.bytes.fetch_add(packets.iter().map(|packet| u64::from(packet.original)).sum(), Relaxed);
    }

    /// What was lost, stage by stage, in words; empty when nothing was.
    pub fn lost(&self, totals: &Totals) -> Vec<String> {
        let stages = [
            ("in the kernel", totals.losses.kernel_packets),
            ("in the agents' queues", totals.losses.export_packets),
            ("unreadable", self.malformed.load(Relaxed)),
            ("not in the file", self.unwritten.load(Relaxed)),
        ];
        let lost = stages.into_iter().filter(|(_, number)| *number > 0);
        let lost = lost.map(|(stage, number)| format!("{stage} {} packets", human::count(number)));
        lost.chain(totals.without_agent()).chain(totals.killed()).chain(totals.unwatched()).collect()
    }
}
