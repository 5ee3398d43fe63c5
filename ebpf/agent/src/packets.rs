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
pub mod queue;
pub mod reader;
pub mod table;

use aya::{Ebpf, EbpfLoader};

use crate::{
    btf::Btf,
    kernel::{self, Feature, KernelError, Programs, SMALLEST_RING},
};

/// Name of the map of rings that single CPUs write.
pub const HOT_RINGS: &str = "PACKETS_HOT";
/// Name of the ring buffer's map: it takes what finds no room there.
pub const RING: &str = "PACKETS";
/// Name of the map of packets that found no room in either.
const LOST: &str = "PACKETS_LOST";
/// Bytes of the ring buffer: at 10 Gbit/s, a fortieth of a second.
pub const RING_BYTES: u32 = 32 << 20;
/// Bytes of frames that may wait for the collector.
pub const QUEUE_BYTES: usize = 64 << 20;
/// Programs at the ingress and the egress of an interface.
pub const PROGRAMS: Programs =
    Programs { ethernet: ["packet_ingress", "packet_egress"], bare: ["packet_in_bare", "packet_out_bare"] };
/// The program that sees dropped packets.
pub const DROPS_PROGRAM: &str = "packet_dropped";

/// The rings before they are made.
pub struct PacketMaps {
    /// Most bytes of a packet; None where flows are counted instead.
    pub snaplen: Option<u32>,
}

impl Feature for PacketMaps {
    fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        match &self.snaplen {
            Some(snaplen) => {
                loader.map_max_entries(HOT_RINGS, hot::count());
                loader.override_global("SNAPLEN", snaplen, true).map_max_entries(RING, RING_BYTES)
            }
            None => loader.map_max_entries(RING, SMALLEST_RING).map_max_entries(LOST, 1),
        };
    }

    fn load(&self, ebpf: &mut Ebpf, _: &Btf) -> Result<(), KernelError> {
        if self.snaplen.is_some() { kernel::load_ethernet(ebpf, &PROGRAMS) } else { Ok(()) }
    }

    fn unused(&self) -> &[&'static str] {
        if self.snaplen.is_some() { &[] } else { &[RING, HOT_RINGS, LOST] }
    }
}
