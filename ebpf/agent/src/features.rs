//! What the kernel programs do in this run: the features that are on, each with its settings.

use aya::{Ebpf, EbpfLoader};

use crate::{
    btf::{Btf, BtfError},
    dns::DnsMap,
    drain::FlowMaps,
    drops,
    filter::FilterMaps,
    kernel::{self, Feature, KernelError, Programs},
    packets::{self, PacketMaps},
    process::sockets,
    rtt,
};

/// What is decided before loading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Switches {
    /// Entries of each flow map.
    pub max_flows: u32,
    /// Keep 1 in so many packets.
    pub sampling: u32,
    /// Interfaces of several network namespaces are watched.
    pub follow_netns: bool,
    /// There are filter rules.
    pub filter: bool,
    /// Some of them name sets of addresses.
    pub sets: bool,
    /// Port of DNS in addition to 53; 0 = DNS is not watched.
    pub dns_port: u16,
    /// Round-trip times of TCP.
    pub rtt: bool,
    /// Dropped packets.
    pub drops: bool,
    /// Packets instead of flows: most bytes of each.
    pub snaplen: Option<u32>,
    /// The processes that own the sockets of flows.
    pub sockets: bool,
}

/// Loads the object with these features. Nothing is attached yet.
///
/// # Errors
/// What this kernel does not have, or the reason for which it refused the object.
pub fn load(switches: Switches) -> Result<Ebpf, KernelError> {
    kernel::check_version(&kernel::release())?;
    let btf = Btf::of_this_kernel()?;
    let basics = Basics::prepare(&switches, &btf)?;
    let sockets = switches.sockets.then(|| sockets::Offsets::find(&btf)).transpose()?;
    // Maps of the mode that is not in use have the smallest size.
    let max_flows = if switches.snaplen.is_some() { 1 } else { switches.max_flows };
    let rtt = rtt::RttMaps::prepare(switches.rtt.then_some(switches.max_flows), &btf)?;
    let (drops_program, flows) = match switches.snaplen {
        Some(_) => (packets::DROPS_PROGRAM, FlowMaps { entries: None }),
        None => (drops::PROGRAM, FlowMaps { entries: Some(max_flows) }),
    };
    let drops = drops::DropMaps::prepare(switches.drops.then_some((max_flows, drops_program)), &btf)?;
    let packets = PacketMaps { snaplen: switches.snaplen };
    let dns = DnsMap { port: switches.dns_port.into() };
    let filter = FilterMaps { on: switches.filter.into(), sets: switches.sets };
    let mut features: Vec<&dyn Feature> = vec![&basics, &flows, &packets, &dns, &filter, &rtt, &drops];
    if let Some(sockets) = &sockets {
        features.push(sockets);
    }
    kernel::load(&features, &btf)
}

/// The programs of interfaces for these features.
pub fn programs(switches: &Switches) -> Programs {
    if switches.snaplen.is_some() { packets::PROGRAMS } else { crate::drain::PROGRAMS }
}

/// What all programs use.
struct Basics {
    sampling: u32,
    follow_netns: u32,
    /// By the names of the globals.
    offsets: Vec<(&'static str, u32)>,
}

impl Basics {
    fn prepare(switches: &Switches, btf: &Btf) -> Result<Self, BtfError> {
        let mut members = vec![
            ("SKB_HEAD", "sk_buff", "head"),
            ("SKB_DATA", "sk_buff", "data"),
            ("SKB_NETWORK_HEADER", "sk_buff", "network_header"),
            ("SKB_CSUM", "sk_buff", "csum_start"),
        ];
        if switches.follow_netns {
            members.extend([
                ("SKB_DEV", "sk_buff", "dev"),
                ("DEV_NET", "net_device", "nd_net.net"),
                ("NET_INUM", "net", "ns.inum"),
            ]);
        }
        let offset = |(global, structure, member)| Ok((global, btf.offset(structure, member)?));
        let offsets = members.into_iter().map(offset).collect::<Result<_, BtfError>>()?;
        Ok(Self { sampling: switches.sampling, follow_netns: switches.follow_netns.into(), offsets })
    }
}

impl Feature for Basics {
    fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader.override_global("SAMPLING", &self.sampling, true).override_global(
            "FOLLOW_NETNS",
            &self.follow_netns,
            true,
        );
        for (global, offset) in &self.offsets {
            loader.override_global(global, offset, true);
        }
    }
}
