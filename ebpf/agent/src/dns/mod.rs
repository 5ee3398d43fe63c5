//! DNS: messages that the kernel programs hand over become transactions of flows.

mod message;
mod tracker;

use std::time::Duration;

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use netobserv_ebpf_common::DnsMessage;

pub use message::{Message, messages};
pub use tracker::{Tracker, Transaction};

use crate::{
    kernel::{self, KernelError},
    merge::Merger,
};

/// Reads the kernel's ring buffer.
pub struct Dns {
    ring: RingBuf<MapData>,
    tracker: Tracker,
}

impl Dns {
    /// `patience`: a query without an answer for so long is reported as such (STALE_ENTRIES_EVICT_TIMEOUT).
    pub fn new(ebpf: &mut Ebpf, patience: Duration) -> Result<Self, KernelError> {
        Ok(Self { ring: kernel::take_map(ebpf, "DNS_MESSAGES")?, tracker: Tracker::new(patience) })
    }

    /// Takes what has come.
    pub fn read(&mut self) {
        while let Some(item) = self.ring.next() {
            if item.len() == size_of::<DnsMessage>() {
                // SAFETY: the kernel program wrote exactly this record; read_unaligned asks no alignment.
                let seen = unsafe { item.as_ptr().cast::<DnsMessage>().read_unaligned() };
                self.tracker.see(&seen);
            }
        }
    }

    /// Adds the transactions that are complete, or given up by `now_ns` (CLOCK_MONOTONIC), to their flows.
    pub fn join(&mut self, merger: &mut Merger, now_ns: u64) {
        self.read();
        self.tracker.finish(now_ns, |transaction| {
            let (id, at, count) = (transaction.flow, transaction.at, transaction.count());
            merger.extra_or_new(id, &count, Some(at)).dns.push(transaction);
        });
    }
}
