//! Round-trip times: what the kernel program needs to know, and what it found out.
//!
//! The hook sees every TCP socket of the machine. A time belongs to the flow that its socket receives, and only a flow
//! that a watched interface has seen gets it: so interfaces, namespaces and filters hold for times, too.

use std::{io, os::fd::AsFd};

use aya::{Ebpf, EbpfLoader, maps::MapData};
use netobserv_ebpf_common::Key6;

use crate::{
    btf::{Btf, BtfError},
    flow::FlowId,
    kernel::{self, Feature, KernelError},
    merge::Merger,
    sys::BatchReader,
    tracepoint,
};

/// The maps, which take turns like those of the flows.
const MAPS: [&str; 2] = ["RTT_A", "RTT_B"];
/// The program.
pub const PROGRAM: &str = "rtt_received";
/// Where it sits.
pub const TRACEPOINT: &str = "tcp_probe";

/// Entries read by one system call.
const CHUNK: usize = 1024;

/// Byte offsets in `struct sock` and `struct tcp_sock`.
#[derive(Debug)]
pub struct Offsets([(&'static str, u32); 8]);

impl Offsets {
    /// Of the running kernel.
    ///
    /// # Errors
    /// A member that this kernel does not have.
    pub fn find(btf: &Btf) -> Result<Self, BtfError> {
        let sock = |member: &str| btf.offset("sock", &format!("__sk_common.{member}"));
        Ok(Self([
            ("SK_FAMILY", sock("skc_family")?),
            ("SK_DADDR", sock("skc_daddr")?),
            ("SK_SADDR", sock("skc_rcv_saddr")?),
            ("SK_DADDR6", sock("skc_v6_daddr")?),
            ("SK_SADDR6", sock("skc_v6_rcv_saddr")?),
            ("SK_DPORT", sock("skc_dport")?),
            ("SK_SPORT", sock("skc_num")?),
            ("TCP_SRTT", btf.offset("tcp_sock", "srtt_us")?),
        ]))
    }

    /// Writes them into the program's constants.
    pub fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        for (name, offset) in &self.0 {
            loader.override_global(name, offset, true);
        }
    }
}

/// The maps before they are made.
pub struct RttMaps(Option<(Offsets, u32)>);

impl RttMaps {
    /// With so many entries; None = round-trip times are off.
    ///
    /// # Errors
    /// What this kernel does not have.
    pub fn prepare(entries: Option<u32>, btf: &Btf) -> Result<Self, KernelError> {
        let Some(entries) = entries else { return Ok(Self(None)) };
        let unavailable = |why: String| KernelError::Unavailable { setting: "ENABLE_RTT", why };
        if btf.tracepoint(TRACEPOINT)?.is_none() {
            return Err(unavailable(format!("it has no tracepoint {TRACEPOINT}")));
        }
        let offsets = Offsets::find(btf).map_err(|error| unavailable(error.to_string()))?;
        Ok(Self(Some((offsets, entries))))
    }
}

impl Feature for RttMaps {
    fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        let Some((offsets, entries)) = &self.0 else { return };
        offsets.set(loader);
        for map in MAPS {
            loader.map_max_entries(map, *entries);
        }
    }

    fn load(&self, ebpf: &mut Ebpf, btf: &Btf) -> Result<(), KernelError> {
        if self.0.is_some() { tracepoint::load(ebpf, btf, PROGRAM, TRACEPOINT) } else { Ok(()) }
    }

    fn unused(&self) -> &[&'static str] {
        if self.0.is_some() { &[] } else { &MAPS }
    }
}

/// The times of a window on their way to their flows.
pub struct Rtt {
    maps: [MapData; 2],
    reader: BatchReader<Key6, u64>,
}

impl Rtt {
    /// Takes the maps out of the object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let [a, b] = MAPS;
        Ok(Self { maps: [kernel::take_hash(ebpf, a)?, kernel::take_hash(ebpf, b)?], reader: BatchReader::new(CHUNK) })
    }

    /// Gives the times in map `full`, which no program writes to any more, to their flows.
    pub fn drain(&mut self, full: usize, merger: &mut Merger) -> io::Result<()> {
        let map = self.maps[full].fd().as_fd();
        let each = |key: &Key6, ns: &u64| {
            if let Some(extra) = merger.extra(&FlowId::of(key)) {
                extra.rtt_ns = extra.rtt_ns.max(*ns);
            }
        };
        self.reader.drain(map, each).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_the_tracepoint_is_refused_with_the_setting() {
        let btf = Btf::parse(crate::btf::stub("btf_trace_other", 3)).unwrap();
        let error = RttMaps::prepare(Some(1), &btf).err().unwrap().to_string();
        assert_eq!(error, "ENABLE_RTT=true is not available on this kernel: it has no tracepoint tcp_probe");
    }
}
