//! DNS: messages that the kernel programs hand over become transactions of flows.

mod message;
mod stream;
mod streams;
mod tracker;

use std::time::Duration;

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, RingBuf},
};
use netobserv_ebpf_common::DnsHead;

pub use message::{Message, message};
pub use tracker::Tracker;

use crate::{
    kernel::{self, Feature, KernelError, SMALLEST_RING},
    merge::Merger,
};

/// Name of the ring buffer's map.
const RING: &str = "DNS_MESSAGES";

/// The ring buffer before it is made.
pub struct DnsMap {
    /// In addition to 53; 0 = DNS is not watched.
    pub port: u32,
}

impl Feature for DnsMap {
    fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader.override_global("DNS_PORT", &self.port, true);
        if self.port == 0 {
            loader.map_max_entries(RING, SMALLEST_RING);
        }
    }
}

/// Reads the kernel's ring buffer.
pub struct Dns {
    ring: RingBuf<MapData>,
    tracker: Tracker,
}

impl Dns {
    /// `patience`: a query without an answer for this time is reported as such (STALE_ENTRIES_EVICT_TIMEOUT).
    pub fn new(ebpf: &mut Ebpf, patience: Duration) -> Result<Self, KernelError> {
        Ok(Self { ring: kernel::take_map(ebpf, RING)?, tracker: Tracker::new(patience) })
    }

    /// Takes what has come.
    pub fn read(&mut self) {
        while let Some(item) = self.ring.next() {
            if let Some((head, data)) = item.split_first_chunk::<{ size_of::<DnsHead>() }>() {
                // SAFETY: the kernel program wrote exactly this; read_unaligned asks no alignment.
                let head = unsafe { head.as_ptr().cast::<DnsHead>().read_unaligned() };
                self.tracker.see(&head, &data[..data.len().min(head.length as usize)]);
            }
        }
    }

    /// No more will come: what is waited for is given up with the next [`Dns::join`].
    pub fn end(&mut self) {
        self.tracker.end();
    }

    /// Messages that came and could not be read.
    pub fn lost(&self) -> u64 {
        self.tracker.lost()
    }

    /// Adds the transactions that are complete, or given up by `now_ns` (CLOCK_MONOTONIC), to their flows. `kernel_lost`: how
    /// often the ring buffer had no room.
    pub fn join(&mut self, merger: &mut Merger, now_ns: u64, kernel_lost: u64) {
        self.read();
        self.tracker.finish(now_ns, kernel_lost, |transaction| {
            let (id, at, count) = (transaction.flow, transaction.at, transaction.count());
            merger.extra_or_new(id, &count, Some(at)).dns.push(transaction);
        });
    }
}
