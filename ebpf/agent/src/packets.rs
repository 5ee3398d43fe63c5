//! Packets: from the kernel's rings to batches for the collector.
//!
//! A thread looks into the rings all the time, so that the kernel programs need not wake anybody, and copies frames to the
//! payload of a batch. Batches wait in a queue bounded by bytes; what finds no room, here or in the ring buffer, is counted for
//! the interface where it was seen.

pub mod causes;
pub mod clock;
pub mod frame;
pub mod hot;
pub mod outbox;
pub mod places;
pub mod queue;
pub mod reader;

use crate::kernel::Programs;

/// Name of the map of rings that single CPUs write.
pub const HOT_RINGS: &str = "PACKETS_HOT";
/// Name of the ring buffer's map: it takes what finds no room there.
pub const RING: &str = "PACKETS";
/// Bytes of the ring buffer: at 10 Gbit/s, a fortieth of a second.
pub const RING_BYTES: u32 = 32 << 20;
/// Bytes of frames that may wait for the collector.
pub const QUEUE_BYTES: usize = 64 << 20;
/// Programs at the ingress and the egress of an interface.
pub const PROGRAMS: Programs =
    Programs { ethernet: ["packet_ingress", "packet_egress"], bare: ["packet_in_bare", "packet_out_bare"] };
/// The program that sees dropped packets.
pub const DROPS_PROGRAM: &str = "packet_dropped";
