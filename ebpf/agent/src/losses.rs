//! What the kernel programs could not keep.

use std::sync::atomic::AtomicU64;

/// Running totals of what the kernel side could not keep; read where they are reported.
#[derive(Default, Debug)]
pub struct KernelLosses {
    /// Packets that found no room anywhere.
    pub packets: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Packets that found room in the ring buffer only. Not lost.
    pub overflow_packets: AtomicU64,
    /// Fragments whose ports are not known, as the first fragment was not seen before. Not lost.
    pub portless_fragments: AtomicU64,
    /// DNS messages that found no room in their ring buffer, or that could not be read.
    pub dns_messages: AtomicU64,
    /// Dropped packets whose flow and cause found no room in their map, or that the program did not get to see.
    pub drops: AtomicU64,
}
