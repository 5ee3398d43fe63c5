//! The kernel programs: their object, loaded with the settings of this run.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::SchedClassifier,
};

use crate::{
    btf::{Btf, BtfError},
    drops, packets,
    process::sockets,
    rtt, tracepoint,
};

/// Built by scripts/build-bpf.sh; a test below fails when it is older than its sources.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/netobserv.bpfel.o");

/// Names another object to load instead, for tests of a fresh build.
pub const OBJECT_OVERRIDE: &str = "NETOBSERV_BPF_OBJECT";

/// Oldest kernel that has all that the programs use: 5.11 for the coarse clock, 5.12 for `lock |=`.
pub const OLDEST: (u32, u32) = (5, 12);

/// Smallest ring buffer, for features that are off.
const ONE_PAGE: u32 = 4096;

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
    /// Port of DNS beside 53; 0 = DNS is not watched.
    pub dns_port: u16,
    /// Round-trip times of TCP.
    pub rtt: bool,
    /// Dropped packets.
    pub drops: bool,
    /// Packets instead of flows: most bytes of each.
    pub snaplen: Option<u32>,
    /// Whose the sockets of flows are.
    pub sockets: bool,
}

/// Why the kernel programs are not running.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Struct offsets are not to be had.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// What the kernel says of processes is nowhere.
    #[error("/proc is not mounted here, and the agent needs it: mount it with 'mount -t proc proc /proc'")]
    NoProc,
    /// Too old.
    #[error("kernel {0} is too old: {major}.{minor} or newer is needed", major = OLDEST.0, minor = OLDEST.1)]
    TooOld(String),
    /// EPERM, most often.
    #[error("not allowed to load eBPF programs ({0}); run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")]
    NotAllowed(String),
    /// A feature that was asked for.
    #[error("{setting}=true is not available on this kernel: {why}")]
    Unavailable {
        /// The setting that asks for it.
        setting: &'static str,
        /// What is missing.
        why: String,
    },
    /// The kernel refused the object.
    #[error("cannot load the kernel programs: {0}")]
    Load(String),
    /// An object given by NETOBSERV_BPF_OBJECT is not ours.
    #[error("the kernel object has no {0}")]
    NotInObject(&'static str),
}

/// Loads the object: maps are made, programs are verified, nothing is attached yet.
pub fn load(switches: Switches) -> Result<Ebpf, KernelError> {
    check_version(&release())?;
    let btf = Btf::of_this_kernel()?;
    let (dev, net, inum) = if switches.follow_netns {
        (btf.offset("sk_buff", "dev")?, btf.offset("net_device", "nd_net.net")?, btf.offset("net", "ns.inum")?)
    } else {
        (0, 0, 0)
    };
    let skb = skb_offsets(&btf)?;
    let sockets = switches.sockets.then(|| sockets::Offsets::find(&btf)).transpose()?;
    let rtt = switches.rtt.then(|| rtt_offsets(&btf)).transpose()?;
    let drops = switches.drops.then(|| drop_constants(&btf)).transpose()?;
    let follow = u32::from(switches.follow_netns);
    let dns_port = u32::from(switches.dns_port);
    let filter = u32::from(switches.filter);
    let mut loader = EbpfLoader::new();
    // aya would parse all of the kernel's BTF, tens of MiB, for relocations that the object does not have.
    loader.btf(None);
    loader
        .override_global("SAMPLING", &switches.sampling, true)
        .override_global("FOLLOW_NETNS", &follow, true)
        .override_global("DNS_PORT", &dns_port, true)
        .override_global("FILTER", &filter, true)
        .override_global("SKB_DEV", &dev, true)
        .override_global("DEV_NET", &net, true)
        .override_global("NET_INUM", &inum, true);
    for (global, offset) in &skb {
        loader.override_global(global, offset, true);
    }
    // What packets are captured with, or what flows are counted with, is of the smallest size.
    let max_flows = if switches.snaplen.is_some() { 1 } else { switches.max_flows };
    for map in FLOW_MAPS {
        loader.map_max_entries(map, max_flows);
    }
    match &switches.snaplen {
        Some(snaplen) => {
            loader.map_max_entries(packets::HOT_RINGS, packets::hot::count());
            loader.override_global("SNAPLEN", snaplen, true).map_max_entries(packets::RING, packets::RING_BYTES)
        }
        None => loader.map_max_entries(packets::RING, ONE_PAGE).map_max_entries("PACKETS_LOST", 1),
    };
    if switches.snaplen.is_some() {
        loader.map_max_entries("OVERFLOW", ONE_PAGE);
    }
    if switches.dns_port == 0 {
        loader.map_max_entries("DNS_MESSAGES", ONE_PAGE);
    }
    if !switches.filter {
        loader.map_max_entries("FILTER_PORTS", 1).map_max_entries("FILTER_VERDICTS", 1);
    }
    if !switches.sets {
        loader.map_max_entries("FILTER_SETS", 1);
    }
    if let Some(offsets) = &sockets {
        offsets.set(&mut loader);
    }
    if let Some(offsets) = &rtt {
        offsets.set(&mut loader);
        for map in rtt::MAPS {
            loader.map_max_entries(map, switches.max_flows);
        }
    }
    if let Some(constants) = &drops {
        constants.set(&mut loader);
        for map in drops::MAPS {
            loader.map_max_entries(map, max_flows);
        }
    }
    let custom = std::env::var_os(OBJECT_OVERRIDE);
    let loaded = match &custom {
        Some(path) => loader.load_file(path),
        None => loader.load(OBJECT),
    };
    let mut ebpf = loaded.map_err(|error| classify(&error))?;
    // Those for bare links when the first such link is there: most machines have none.
    for name in programs(&switches).ethernet {
        load_classifier(&mut ebpf, name)?;
    }
    if switches.rtt {
        tracepoint::load(&mut ebpf, &btf, rtt::PROGRAM, rtt::TRACEPOINT)?;
    }
    if switches.drops {
        let program = if switches.snaplen.is_some() { packets::DROPS_PROGRAM } else { drops::PROGRAM };
        tracepoint::load(&mut ebpf, &btf, program, drops::TRACEPOINT)?;
    }
    if let Some(offsets) = &sockets {
        offsets.load(&mut ebpf, &btf)?;
    }
    close_unused(&mut ebpf, &switches);
    Ok(ebpf)
}

/// Each map of the object takes a file, and some machines allow few. Closes those of programs that are never loaded.
fn close_unused(ebpf: &mut Ebpf, switches: &Switches) {
    let of_packets =
        if switches.snaplen.is_some() { &[][..] } else { &[packets::RING, packets::HOT_RINGS, "PACKETS_LOST"] };
    let of_rtt = if switches.rtt { &[][..] } else { &rtt::MAPS };
    let of_drops = if switches.drops { &[][..] } else { &drops::MAPS };
    of_packets.iter().chain(of_rtt).chain(of_drops).for_each(|map| drop(ebpf.take_map(map)));
}

/// The programs at the ingress and the egress of an interface.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// Where frames begin with an Ethernet header.
    pub ethernet: [&'static str; 2],
    /// Where they have none.
    pub bare: [&'static str; 2],
}

/// Those that do what is wanted.
pub fn programs(switches: &Switches) -> Programs {
    if switches.snaplen.is_some() {
        packets::PROGRAMS
    } else {
        Programs { ethernet: ["flow_ingress", "flow_egress"], bare: ["flow_in_bare", "flow_out_bare"] }
    }
}

/// Where the programs find what their context does not show of a packet.
fn skb_offsets(btf: &Btf) -> Result<[(&'static str, u32); 4], BtfError> {
    let offset = |member| btf.offset("sk_buff", member);
    Ok([
        ("SKB_HEAD", offset("head")?),
        ("SKB_DATA", offset("data")?),
        ("SKB_NETWORK_HEADER", offset("network_header")?),
        ("SKB_CSUM", offset("csum_start")?),
    ])
}

fn rtt_offsets(btf: &Btf) -> Result<rtt::Offsets, KernelError> {
    let unavailable = |why: String| KernelError::Unavailable { setting: "ENABLE_RTT", why };
    if btf.tracepoint(rtt::TRACEPOINT)?.is_none() {
        return Err(unavailable(format!("it has no tracepoint {}", rtt::TRACEPOINT)));
    }
    rtt::Offsets::find(btf).map_err(|error| unavailable(error.to_string()))
}

fn drop_constants(btf: &Btf) -> Result<drops::Constants, KernelError> {
    let unavailable = |why| KernelError::Unavailable { setting: "ENABLE_PKT_DROPS", why };
    let found = drops::Constants::find(btf).map_err(|error| unavailable(error.to_string()))?;
    found.ok_or_else(|| unavailable("it does not say why it drops packets (5.17 or newer does)".into()))
}

/// The flow maps: IPv4 and the rest, each in two copies that take turns.
pub const FLOW_MAPS: [&str; 4] = ["FLOWS4_A", "FLOWS4_B", "FLOWS6_A", "FLOWS6_B"];

/// A tc program of the object.
pub fn classifier<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, KernelError> {
    let program = ebpf.program_mut(name).ok_or(KernelError::NotInObject(name))?;
    program.try_into().map_err(|_| KernelError::NotInObject(name))
}

/// Has the kernel verify a tc program of the object, unless it has done so.
///
/// # Errors
/// What the kernel said.
pub fn load_classifier<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, KernelError> {
    let program = classifier(ebpf, name)?;
    if program.fd().is_err() {
        program.load().map_err(|error| classify(&error))?;
    }
    Ok(program)
}

/// A map of the object, taken out so that its owner can move to another thread.
pub fn take_map<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, KernelError> {
    let map = ebpf.take_map(name).ok_or(KernelError::NotInObject(name))?;
    T::try_from(map).map_err(|_| KernelError::NotInObject(name))
}

/// A hash map of the object, as what its descriptor can be had from.
pub fn take_hash(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, KernelError> {
    match ebpf.take_map(name) {
        Some(Map::HashMap(data)) => Ok(data),
        _ => Err(KernelError::NotInObject(name)),
    }
}

/// Capabilities, the release and network namespaces are read there; without it each would seem to be missing.
pub(crate) fn check_proc() -> Result<(), KernelError> {
    if std::path::Path::new("/proc/self").exists() { Ok(()) } else { Err(KernelError::NoProc) }
}

/// The release as `uname -r` prints it.
pub(crate) fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

pub(crate) fn check_version(release: &str) -> Result<(), KernelError> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST => Err(KernelError::TooOld(release.to_owned())),
        // A release that cannot be read is no reason to refuse: the verifier decides.
        _ => Ok(()),
    }
}

/// The whole chain of causes as one line; a refusal for want of rights is told apart, because it is the common one.
pub(crate) fn classify(error: &dyn std::error::Error) -> KernelError {
    let mut text = error.to_string();
    let mut denied = false;
    let mut cause = error.source();
    while let Some(error) = cause {
        // EACCES, the other "permission denied", is the verifier's way to refuse a program.
        denied |= error.downcast_ref::<std::io::Error>().is_some_and(|io| io.raw_os_error() == Some(libc::EPERM));
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if denied { KernelError::NotAllowed(line) } else { KernelError::Load(line) }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use sha2::{Digest, Sha256};

    use super::*;

    /// The same list, order and format as `sources_hash` in scripts/build-bpf.sh.
    fn sources_hash(root: &Path) -> String {
        let mut files = vec!["ebpf/kernel/Cargo.toml".to_owned(), "ebpf/kernel/Cargo.lock".to_owned()];
        for dir in ["ebpf/kernel/src", "ebpf/common/src"] {
            for entry in fs::read_dir(root.join(dir)).unwrap() {
                files.push(format!("{dir}/{}", entry.unwrap().file_name().to_str().unwrap()));
            }
        }
        files.sort();
        let lines: String = files.iter().map(|f| format!("{}  {f}\n", hex(&fs::read(root.join(f)).unwrap()))).collect();
        hex(lines.as_bytes())
    }

    fn hex(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn object_is_as_new_as_its_sources() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let info = fs::read_to_string(here.join("bpf/netobserv.bpfel.o.info")).unwrap();
        let now = format!("sources {}", sources_hash(&here.join("../..")));
        assert_eq!(info.lines().next(), Some(now.as_str()), "run scripts/build-bpf.sh and commit the object");
    }

    #[test]
    fn what_a_kernel_does_not_have_is_told_with_its_setting() {
        let btf = Btf::parse(crate::btf::stub("btf_trace_other", 3)).unwrap();
        let rtt = rtt_offsets(&btf).unwrap_err().to_string();
        assert_eq!(rtt, "ENABLE_RTT=true is not available on this kernel: it has no tracepoint tcp_probe");
        let drops = drop_constants(&btf).unwrap_err().to_string();
        let why = "it does not say why it drops packets (5.17 or newer does)";
        assert_eq!(drops, format!("ENABLE_PKT_DROPS=true is not available on this kernel: {why}"));
    }

    #[test]
    fn old_kernels_are_refused_by_name() {
        let error = check_version("5.10.0-28-amd64").unwrap_err().to_string();
        assert_eq!(error, "kernel 5.10.0-28-amd64 is too old: 5.12 or newer is needed");
        assert!(check_version("5.14.0-427.el9.x86_64").is_ok());
        assert!(check_version("6.18.44").is_ok());
        assert!(check_version("").is_ok());
    }
}
