//! Dropped packets: what the kernel program needs to know, what it found, and what the reasons are called.
//!
//! The numbers of the reasons differ from kernel to kernel, so their names are those of the running kernel's own enum.
//! The hook sees the whole machine. A drop belongs to its flow when a watched interface has seen that lately; else to a
//! flow made for it, if it happened at a watched interface, or at none in a namespace that is watched as a whole.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use aya::{Ebpf, EbpfLoader, maps::MapData};
use netobserv_ebpf_common::{DropCount, DropKey, DropOffsets, FlowCount};

use crate::{
    btf::{Btf, BtfError},
    flow::{Dropped, FlowId, Sighting},
    kernel::{self, Feature, KernelError},
    merge::Merger,
    scope::Scope,
    sys::BatchReader,
    tracepoint,
};

/// The maps, which take turns like those of the flows.
const MAPS: [&str; 2] = ["DROPS_A", "DROPS_B"];
/// The program.
pub const PROGRAM: &str = "drop_seen";
/// Where it sits.
pub const TRACEPOINT: &str = "kfree_skb";

/// Entries read by one system call.
const CHUNK: usize = 512;

/// The last of the reasons without a meaning: the kernel gives it to packets that end well, too.
const NOT_SPECIFIED: &str = "SKB_DROP_REASON_NOT_SPECIFIED";
/// Packets that had reached their socket, which was then closed; and copies for packet sockets, such as tcpdump's.
const NOT_OF_FLOW: [&str; 2] = ["SKB_DROP_REASON_QUEUE_PURGE", "SKB_DROP_REASON_PACKET_SOCK_ERROR"];
/// Names in the enum that are no reasons.
const NOT_REASONS: [&str; 2] = ["SKB_DROP_REASON_MAX", "SKB_DROP_REASON_SUBSYS_MASK"];

/// Reasons of Open vSwitch have this in their upper half (include/net/dropreason.h), and a number from 1 below.
const OPEN_VSWITCH: u32 = 3 << 16;
/// Their names, in the order of the numbers (net/openvswitch/drop.h).
const OPEN_VSWITCH_NAMES: [&str; 11] = [
    "OVS_DROP_LAST_ACTION",
    "OVS_DROP_ACTION_ERROR",
    "OVS_DROP_EXPLICIT",
    "OVS_DROP_EXPLICIT_WITH_ERROR",
    "OVS_DROP_METER",
    "OVS_DROP_RECURSION_LIMIT",
    "OVS_DROP_DEFERRED_LIMIT",
    "OVS_DROP_FRAG_L2_TOO_LONG",
    "OVS_DROP_FRAG_INVALID_PROTO",
    "OVS_DROP_CONNTRACK",
    "OVS_DROP_IP_TTL",
];

/// Names of the reasons by their numbers.
#[derive(Debug, Clone, Default)]
pub struct Causes(HashMap<u32, Arc<str>>);

impl Causes {
    /// The running kernel's; None if it does not report why it drops packets (before 5.17).
    pub fn find(btf: &Btf) -> Result<Option<Self>, BtfError> {
        let Some(names) = btf.enum_names("skb_drop_reason")? else { return Ok(None) };
        let reasons = names.into_iter().filter(|(_, name)| !NOT_REASONS.contains(&name.as_str()));
        let of_ovs = (OPEN_VSWITCH + 1..).zip(OPEN_VSWITCH_NAMES.map(str::to_owned));
        Ok(Some(Self(reasons.chain(of_ovs).map(|(number, name)| (number, name.into())).collect())))
    }

    /// The name, or the number of a reason without one.
    pub fn name(&self, reason: u32) -> Arc<str> {
        self.0.get(&reason).cloned().unwrap_or_else(|| reason.to_string().into())
    }

    /// How many reasons of the kernel's own have a name.
    pub fn count(&self) -> usize {
        self.0.keys().filter(|number| **number < 1 << 16).count()
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(_, known)| ***known == *name).map(|(number, _)| *number)
    }
}

/// The program's constants.
struct Constants {
    offsets: DropOffsets,
    least: u32,
    not_of_flow: [u32; 2],
    rx_sk: u32,
}

impl Constants {
    /// For the running kernel; None if it does not report why it drops packets.
    fn find(btf: &Btf) -> Result<Option<Self>, BtfError> {
        let (Some(causes), Some((_, arguments))) = (Causes::find(btf)?, btf.tracepoint(TRACEPOINT)?) else {
            return Ok(None);
        };
        // Packet, place in the code, reason; from 6.11 on the receiving socket.
        if arguments < 3 {
            return Ok(None);
        }
        let least = causes.number(NOT_SPECIFIED).map_or(1, |number| number + 1);
        let not_of_flow = NOT_OF_FLOW.map(|name| causes.number(name).unwrap_or(u32::MAX));
        Ok(Some(Self { offsets: offsets(btf)?, least, not_of_flow, rx_sk: u32::from(arguments > 3) }))
    }

    fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader
            .override_global("DROP_OFFSETS", &self.offsets, true)
            .override_global("DROP_LEAST", &self.least, true)
            .override_global("DROP_NOT_OF_FLOW", &self.not_of_flow, true)
            .override_global("DROP_RX_SK", &self.rx_sk, true);
    }
}

/// The maps before they are made.
pub struct DropMaps(Option<Loading>);

struct Loading {
    constants: Constants,
    entries: u32,
    program: &'static str,
}

impl DropMaps {
    /// With so many entries, for this program; None = dropped packets are not recorded.
    ///
    /// # Errors
    /// What this kernel does not have.
    pub fn prepare(wanted: Option<(u32, &'static str)>, btf: &Btf) -> Result<Self, KernelError> {
        let Some((entries, program)) = wanted else { return Ok(Self(None)) };
        let unavailable = |why| KernelError::Unavailable { setting: "ENABLE_PKT_DROPS", why };
        let found = Constants::find(btf).map_err(|error| unavailable(error.to_string()))?;
        let constants =
            found.ok_or_else(|| unavailable("it does not report why it drops packets (5.17 or newer does)".into()))?;
        Ok(Self(Some(Loading { constants, entries, program })))
    }
}

impl Feature for DropMaps {
    fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        let Some(Loading { constants, entries, .. }) = &self.0 else { return };
        constants.set(loader);
        for map in MAPS {
            loader.map_max_entries(map, *entries);
        }
    }

    fn load(&self, ebpf: &mut Ebpf, btf: &Btf) -> Result<(), KernelError> {
        let Some(Loading { program, .. }) = self.0 else { return Ok(()) };
        tracepoint::load(ebpf, btf, program, TRACEPOINT)
    }

    fn unused(&self) -> &[&'static str] {
        if self.0.is_some() { &[] } else { &MAPS }
    }
}

fn offsets(btf: &Btf) -> Result<DropOffsets, BtfError> {
    let skb = |member| btf.offset("sk_buff", member);
    Ok(DropOffsets {
        dev: skb("dev")?,
        sk: skb("sk")?,
        dst: skb("_skb_refdst")?,
        iif: skb("skb_iif")?,
        protocol: skb("protocol")?,
        network_header: skb("network_header")?,
        mac_header: skb("mac_header")?,
        len: skb("len")?,
        head: skb("head")?,
        data: skb("data")?,
        tail: skb("tail")?,
        end: skb("end")?,
        gso_segs: btf.offset("skb_shared_info", "gso_segs")?,
        dst_dev: btf.offset("dst_entry", "dev")?,
        ifindex: btf.offset("net_device", "ifindex")?,
        dev_net: btf.offset("net_device", "nd_net.net")?,
        sk_net: btf.offset("sock", "__sk_common.skc_net.net")?,
        sk_state: btf.offset("sock", "__sk_common.skc_state")?,
        inum: btf.offset("net", "ns.inum")?,
        _pad: 0,
    })
}

/// Adds to the drops of a flow; each reason is there once.
fn add(drops: &mut Vec<Dropped>, new: Dropped) {
    let Some(old) = drops.iter_mut().find(|old| old.reason == new.reason) else { return drops.push(new) };
    let (packets, bytes) = (old.count.packets + new.count.packets, old.count.bytes + new.count.bytes);
    let first_ns = old.count.first_ns.min(new.count.first_ns);
    if new.count.last_ns >= old.count.last_ns {
        old.count = new.count;
    }
    (old.count.packets, old.count.bytes, old.count.first_ns) = (packets, bytes, first_ns);
}

/// The drops of a window on their way to their flows.
pub struct Drops {
    maps: [MapData; 2],
    program: OwnedFd,
    reader: BatchReader<DropKey, DropCount>,
    causes: Causes,
    scope: Scope,
}

impl Drops {
    /// Takes the maps out of the object.
    pub fn take(ebpf: &mut Ebpf, causes: Causes, scope: Scope) -> Result<Self, KernelError> {
        let maps = [kernel::take_hash(ebpf, MAPS[0])?, kernel::take_hash(ebpf, MAPS[1])?];
        let program = tracepoint::descriptor(ebpf, PROGRAM)?;
        Ok(Self { maps, program, reader: BatchReader::new(CHUNK), causes, scope })
    }

    /// Drops that the program did not get to see.
    pub fn missed(&self) -> u64 {
        tracepoint::passed_over(self.program.as_fd())
    }

    /// Gives the drops in map `full`, which no program writes to any more, to their flows.
    pub fn drain(&mut self, full: usize, merger: &mut Merger) -> io::Result<()> {
        let Self { maps, reader, causes, scope, .. } = self;
        let each = |key: &DropKey, count: &DropCount| {
            let id = FlowId::of(&key.flow);
            let place = scope.watched(count.netns, count.ifindex);
            let wanted = place.is_some() || count.ifindex == 0 && scope.wants_all_of(count.netns);
            if wanted || merger.knows(&id) {
                let at = place.map(|place| Sighting { place, direction: count.direction as u8 });
                let extra = merger.extra_or_new(id, &as_flow(count), at);
                add(&mut extra.drops, Dropped { reason: key.reason, cause: causes.name(key.reason), count: *count });
            }
        };
        reader.drain(maps[full].fd().as_fd(), each).map(drop)
    }
}

/// What a flow has that is known by its drops only: when, and how it was sampled.
fn as_flow(count: &DropCount) -> FlowCount {
    let DropCount { first_ns, last_ns, sampling, .. } = *count;
    FlowCount { first_ns, last_ns, sampling, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(reason: u32, packets: u64, last_ns: u64, state: u32) -> Dropped {
        let count = DropCount { packets, bytes: packets * 10, first_ns: last_ns, last_ns, state, ..Default::default() };
        Dropped { reason, cause: "".into(), count }
    }

    #[test]
    fn each_reason_stands_once_with_what_was_latest() {
        let mut drops = vec![];
        for new in [dropped(3, 70_000, 5, 1), dropped(4, 1, 9, 2), dropped(3, 70_000, 8, 7), dropped(3, 1, 2, 9)] {
            add(&mut drops, new);
        }
        assert_eq!(drops.len(), 2);
        let DropCount { packets, bytes, first_ns, last_ns, state, .. } = drops[0].count;
        assert_eq!((packets, bytes, first_ns, last_ns, state), (140_001, 1_400_010, 2, 8, 7));
    }

    #[test]
    fn a_kernel_without_reasons_is_refused_with_the_setting() {
        let btf = Btf::parse(crate::btf::stub("btf_trace_other", 3)).unwrap();
        let error = DropMaps::prepare(Some((1, PROGRAM)), &btf).err().unwrap().to_string();
        let why = "it does not report why it drops packets (5.17 or newer does)";
        assert_eq!(error, format!("ENABLE_PKT_DROPS=true is not available on this kernel: {why}"));
    }

    #[test]
    fn reasons_have_the_names_of_this_kernel_or_their_numbers() {
        let Ok(btf) = Btf::of_this_kernel() else { return println!("SKIPPED: no BTF here") };
        let (Some(causes), Some(Constants { least, .. })) =
            (Causes::find(&btf).unwrap(), Constants::find(&btf).unwrap())
        else {
            return println!("SKIPPED: this kernel does not report why it drops packets");
        };
        let no_socket = causes.number("SKB_DROP_REASON_NO_SOCKET").unwrap();
        assert!(no_socket >= least);
        assert_eq!(&*causes.name(no_socket), "SKB_DROP_REASON_NO_SOCKET");
        assert_eq!(&*causes.name(OPEN_VSWITCH + 5), "OVS_DROP_METER");
        assert_eq!(&*causes.name(OPEN_VSWITCH + 11), "OVS_DROP_IP_TTL");
        assert_eq!(&*causes.name(OPEN_VSWITCH + 12), (OPEN_VSWITCH + 12).to_string());
        assert_eq!(&*causes.name(0x0001_0007), "65543");
    }
}
