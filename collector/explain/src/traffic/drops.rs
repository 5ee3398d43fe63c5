//! Packets that the kernel dropped, by cause; what is no loss is left out.

use std::net::IpAddr;

use foldhash::HashMap;
use serde::Deserialize;

use super::{Tally, between};
use crate::finding::{Certainty, Finding, Kind, some};
use crate::objects::Protocol;
use crate::observe::{Drops, Observation, Party, SYN, TCP, UDP};

/// Most causes with their ends that are kept apart.
const MOST: usize = 4_096;
const PREFIX: &str = "SKB_DROP_REASON_";

/// Tallies by cause and ends.
#[derive(Debug, Default)]
pub(super) struct DropsByCause {
    by_cause: HashMap<Cause, Drop>,
    /// Messages of routers that packets are too big, by the end that sent the packets.
    too_big: HashMap<IpAddr, Tally>,
    pub(super) beyond: u64,
    /// All that were lost.
    pub(super) packets: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cause {
    name: String,
    client: Option<IpAddr>,
    server: Option<IpAddr>,
    protocol: Option<u8>,
    port: Option<u16>,
    to_server: bool,
}

#[derive(Debug, Default)]
struct Drop {
    tally: Tally,
    /// Without other records, the packets never left their machine.
    seen: u64,
    client: Party,
    server: Party,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Counted {
    cause: String,
    packets: u64,
}

impl DropsByCause {
    pub(super) fn add(&mut self, seen: &Observation<'_>, drops: &Drops<'_>) {
        if drops.packets == 0 {
            return;
        }
        let causes: Vec<Counted> = serde_json::from_str(drops.causes).unwrap_or_default();
        if causes.is_empty() {
            self.add_cause(seen, drops, drops.cause, drops.packets);
        }
        for one in causes {
            self.add_cause(seen, drops, &one.cause, one.packets);
        }
    }

    fn add_cause(&mut self, seen: &Observation<'_>, drops: &Drops<'_>, name: &str, packets: u64) {
        let short = name.strip_prefix(PREFIX).unwrap_or(name);
        if is_harmless(seen, drops, short) {
            return;
        }
        self.packets = self.packets.saturating_add(packets);
        let (client, server) = seen.client_and_server();
        let key = Cause {
            name: short.to_owned(),
            client: client.address,
            server: server.address,
            protocol: seen.protocol,
            port: server.port,
            to_server: server.address == seen.dst.address,
        };
        if self.by_cause.len() >= MOST && !self.by_cause.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        let drop = self.by_cause.entry(key).or_insert_with(|| Drop {
            client: client.party(),
            server: server.party(),
            ..Drop::default()
        });
        drop.tally.add(packets, seen);
        drop.seen += seen.packets;
    }

    /// A router says that a packet does not fit; the record goes to the end that sent it.
    pub(super) fn add_icmp(&mut self, seen: &Observation<'_>) {
        let is_too_big = matches!((seen.protocol, seen.icmp), (Some(1), Some((3, 4))) | (Some(58), Some((2, _))));
        if let (true, false, Some(sender)) = (is_too_big, seen.duplicate, seen.dst.address) {
            if self.too_big.len() < MOST || self.too_big.contains_key(&sender) {
                self.too_big.entry(sender).or_default().add(seen.packets, seen);
            } else {
                self.beyond += 1;
            }
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        self.by_cause.iter().map(|(cause, drop)| self.finding(cause, drop)).collect()
    }

    fn finding(&self, cause: &Cause, drop: &Drop) -> Finding {
        let Drop { tally, client, server, .. } = drop;
        let kind = kind(&cause.name);
        let (from, to) = if cause.to_server { (client, server) } else { (server, client) };
        let packets = some(tally.count, "packet", "packets");
        let were = if tally.count == 1 { "was" } else { "were" };
        let what = match (cause.protocol, cause.port) {
            (Some(protocol), Some(port)) => format!(" ({} port {port})", protocol_name(protocol)),
            (Some(protocol), None) => format!(" ({})", protocol_name(protocol)),
            _ => String::new(),
        };
        let way = format!("from {from} to {to}{what}");
        let sentence = match kind {
            Kind::DroppedByFilter => format!("A packet filter dropped {packets} {way}."),
            Kind::NoRoute => format!("There was no way to the destination for {packets} {way}."),
            Kind::NoListener => format!(
                "Nothing listens on {} port {} of {server}: {packets} from {client} {were} dropped.",
                cause.protocol.map_or("", protocol_name),
                cause.port.unwrap_or_default()
            ),
            Kind::NoRoom => format!("{packets} {way} {were} dropped because a buffer or queue was full."),
            Kind::Damaged => format!("{packets} {way} arrived damaged: the checksum was wrong."),
            Kind::TooBig => format!("{packets} {way} {were} larger than the way lets through."),
            _ if cause.name.starts_with("OVS_") => format!("Open vSwitch dropped {packets} {way}."),
            _ => format!("The kernel dropped {packets} {way}: {}.", cause.name),
        };
        let mut evidence = vec![format!(
            "{} dropped for the cause {}, in {}",
            packets,
            cause.name,
            some(tally.records, "record", "records")
        )];
        if drop.seen == 0 && kind == Kind::DroppedByFilter {
            evidence.push("no packet of them was seen on an interface: they were dropped before they left".into());
        }
        let told = from.address.and_then(|sender| self.too_big.get(&sender)).filter(|_| kind == Kind::TooBig);
        if let Some(told) = told {
            evidence
                .push(format!("{} of ICMP asked the sender for smaller ones", some(told.count, "message", "messages")));
        }
        let records = format!(
            "{} AND (PktDropLatestDropCause LIKE '%{}' OR PktDropCauses LIKE '%{}\"%')",
            between(client, server, cause.port),
            cause.name,
            cause.name
        );
        Finding {
            kind,
            sentence,
            evidence,
            certainty: Certainty::Seen,
            remedy: remedy(kind, &cause.name),
            change: String::new(),
            client: client.clone(),
            server: server.clone(),
            protocol: cause.protocol,
            port: cause.port,
            asked: String::new(),
            count: tally.count,
            first_ms: tally.first_ms,
            last_ms: tally.last_ms,
            records,
        }
    }
}

/// What the kernel's name for a cause comes to.
fn kind(name: &str) -> Kind {
    let is = |names: &[&str]| names.contains(&name);
    if name.contains("NETFILTER") || is(&["SOCKET_FILTER", "BPF_CGROUP_EGRESS", "TC_INGRESS", "TC_EGRESS", "XDP"]) {
        Kind::DroppedByFilter
    } else if name.contains("NOROUTE")
        || name.starts_with("NEIGH_")
        || is(&[
            "IP_INADDRERRORS",
            "IP_RPFILTER",
            "IP_LOCALNET",
            "IP_LOCAL_SOURCE",
            "IP_INVALID_SOURCE",
            "IP_INVALID_DEST",
        ])
    {
        Kind::NoRoute
    } else if name == "NO_SOCKET" {
        Kind::NoListener
    } else if name.ends_with("_CSUM") || name.starts_with("IP_INHDR") && name != "IP_INHDR" {
        Kind::Damaged
    } else if name == "PKT_TOO_BIG" {
        Kind::TooBig
    } else if name.contains("RCVBUFF")
        || name.contains("QDISC")
        || is(&[
            "PROTO_MEM",
            "NOMEM",
            "SOCKET_BACKLOG",
            "CPU_BACKLOG",
            "FULL_RING",
            "TCP_LISTEN_OVERFLOW",
            "TCP_REQQ_FULL_DROP",
            "FRAG_TOO_FAR",
            "SKB_UCOPY_FAULT",
        ])
    {
        Kind::NoRoom
    } else {
        Kind::Dropped
    }
}

/// What the kernel's name for a cause means, as far as it is known.
pub fn meaning(cause: &str) -> &'static str {
    let name = cause.trim_start_matches("SKB_DROP_REASON_");
    match kind(name) {
        Kind::DroppedByFilter => "a firewall rule dropped them",
        Kind::NoRoute => "there is no way to the destination",
        Kind::NoListener => "no program waits for them at that port",
        Kind::Damaged => "the checksum was wrong",
        Kind::TooBig => "they are larger than the way lets through",
        Kind::NoRoom => "a buffer or queue was full",
        _ if name.starts_with("OVS_") => "Open vSwitch dropped them, by a policy for example",
        _ if LATE_SEGMENTS.contains(&name) => "repeated or late segments of TCP: nothing was lost",
        _ => "",
    }
}

/// Segments of TCP of which the receiver has no use: nothing is lost.
const LATE_SEGMENTS: [&str; 18] = [
    "TCP_OLD_DATA",
    "TCP_OLD_ACK",
    "TCP_TOO_OLD_ACK",
    "TCP_OLD_SEQUENCE",
    "TCP_ACK_UNSENT_DATA",
    "TCP_OFOMERGE",
    "TCP_RFC7323_PAWS",
    "TCP_RFC7323_PAWS_ACK",
    "TCP_RFC7323_TW_PAWS",
    "TCP_INVALID_SEQUENCE",
    "TCP_INVALID_ACK_SEQUENCE",
    "TCP_INVALID_END_SEQUENCE",
    "TCP_RESET",
    "TCP_CLOSE",
    "TCP_FASTOPEN",
    "TCP_ZEROWINDOW",
    "TCP_OVERWINDOW",
    "TCP_ABORT_ON_DATA",
];

/// Whether the kernel dropped its own copy of an echo reply, which reaches the program that waits for it. `name` is the cause without
/// `SKB_DROP_REASON_`.
#[must_use]
pub fn is_copy_of_echo_reply(protocol: Option<u8>, icmp_type: Option<u8>, name: &str) -> bool {
    matches!((protocol, icmp_type), (Some(1), Some(0)) | (Some(58), Some(129)))
        && matches!(name, "NO_SOCKET" | "NOT_SPECIFIED")
}

/// Drops that lose nothing: copies that no program waits for, repeated or late segments of TCP, and noise of the link.
fn is_harmless(seen: &Observation<'_>, drops: &Drops<'_>, name: &str) -> bool {
    let discovery = matches!((seen.protocol, seen.icmp), (Some(58), Some((130..=143, _))) | (Some(2), _));
    let to_many = seen.dst.address.is_some_and(is_to_many);
    if is_copy_of_echo_reply(seen.protocol, seen.icmp.map(|(kind, _)| kind), name) || discovery {
        return true;
    }
    match name {
        name if LATE_SEGMENTS.contains(&name) => true,
        "OTHERHOST" | "UNHANDLED_PROTO" | "PACKET_SOCK_ERROR" | "CONSUMED" => true,
        // A segment that arrives after its connection was closed.
        "NO_SOCKET" if seen.protocol == Some(TCP) => (drops.flags | seen.flags) & SYN == 0,
        // An answer to a program that waits no longer.
        "NO_SOCKET" if seen.protocol == Some(UDP) => {
            let (_, server) = seen.client_and_server();
            to_many || server.address == seen.src.address && server.port == seen.src.port
        }
        "NO_SOCKET" | "NOT_SPECIFIED" => to_many,
        _ => false,
    }
}

fn is_to_many(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.octets()[3] == 255,
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

fn remedy(kind: Kind, cause: &str) -> String {
    let text = match kind {
        Kind::DroppedByFilter => {
            "Find the rule: on the machine that dropped them with 'nft list ruleset' or 'iptables -L -v', in a cluster among the NetworkPolicies of both ends."
        }
        Kind::NoRoute => {
            "Look at the routes and neighbors of the machine that dropped them: 'ip route get ADDRESS', 'ip neighbor'."
        }
        Kind::NoListener => "Start the server, or use the port it listens on: 'ss -ltun' on its machine lists them.",
        Kind::NoRoom => {
            "The receiver is too slow or its buffer too small: look at its load, then at net.core.rmem_max and the queues."
        }
        Kind::Damaged => {
            "Look for faulty hardware or drivers on the way; switch checksum offloading off to compare ('ethtool -K')."
        }
        Kind::TooBig => {
            "Set the MTU of the sender's interface to what the way allows, or let ICMP through so that path MTU discovery works."
        }
        _ if cause.starts_with("OVS_") => {
            "Look at the flows of Open vSwitch on that node: 'ovs-appctl dpctl/dump-flows', and at the policies of the CNI."
        }
        _ => "Look up the cause in the kernel's include/net/dropreason-core.h, and capture packets of the connection.",
    };
    text.into()
}

pub(super) fn protocol_name(number: u8) -> &'static str {
    match (Protocol::of(number), number) {
        (Some(known), _) => known.name(),
        (None, 1) => "ICMP",
        (None, 58) => "ICMPv6",
        _ => "another protocol",
    }
}
