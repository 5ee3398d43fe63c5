//! What a record of a capture shows, in plain values: the collector fills it from its records, and from rows of a file.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observation<'a> {
    /// First packet, milliseconds since 1970.
    pub start_ms: u64,
    /// Last packet, milliseconds since 1970.
    pub end_ms: u64,
    /// The end that sends.
    pub src: Seen<'a>,
    /// The end that receives.
    pub dst: Seen<'a>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Type and code of ICMP or ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// Packets that were seen.
    pub packets: u64,
    /// OR of the TCP flags; 0x100 stands for SYN+ACK.
    pub flags: u32,
    /// Round-trip time of TCP, nanoseconds; 0 when not measured.
    pub rtt_ns: u64,
    /// One packet in this many was looked at.
    pub sampling: u32,
    /// The DNS transaction.
    pub dns: Option<Dns<'a>>,
    /// The packets that the kernel dropped.
    pub drops: Option<Drops<'a>>,
    /// Whether the packets count in another record.
    pub duplicate: bool,
    /// Which conversation the record is a part of; 0 when not known.
    pub conversation: u64,
    /// Whether the sender opened the conversation.
    pub from_client: Option<bool>,
}

/// An end of a record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// Pod, Service or Node, where the cluster knows it.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its workload.
    pub owner: &'a str,
    /// The process on this machine.
    pub process: &'a str,
}

/// A DNS transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dns<'a> {
    /// Errno of the tracker: 110 without an answer.
    pub errno: u32,
    /// Whether the record has an answer.
    pub answered: bool,
    /// Name of the response code.
    pub rcode: &'a str,
    /// Name that was asked for.
    pub name: &'a str,
    /// Time to the answer, microseconds.
    pub latency_us: u64,
}

/// Dropped packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drops<'a> {
    /// Dropped packets.
    pub packets: u64,
    /// TCP flags of the last one.
    pub flags: u32,
    /// Why the last one was dropped.
    pub cause: &'a str,
    /// Every cause with its packets, as a JSON array; or empty.
    pub causes: &'a str,
}

/// An end of a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Party {
    /// Its name, or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl Seen<'_> {
    /// What a reader calls it: its workload with its namespace, its node, its process, or nothing.
    pub fn label(&self) -> String {
        let name = if self.owner.is_empty() { self.name } else { self.owner };
        match (self.kind, self.namespace, name) {
            (_, _, "") => self.process.to_owned(),
            ("Node", ..) => format!("node {}", self.name),
            ("Service", namespace, _) => format!("service {namespace}/{}", self.name),
            (_, "", name) => name.to_owned(),
            (_, namespace, name) => format!("{namespace}/{name}"),
        }
    }

    /// The same, to be kept.
    pub fn party(&self) -> Party {
        Party { name: self.label(), address: self.address }
    }
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.name.as_str(), self.address) {
            ("", Some(address)) => write!(f, "{address}"),
            ("", None) => f.write_str("an unknown end"),
            (name, Some(address)) => write!(f, "{name} ({address})"),
            (name, None) => f.write_str(name),
        }
    }
}

impl<'a> Observation<'a> {
    /// The end that opened the conversation and the one that accepted it, as far as the record shows it: the server usually has
    /// the smaller port.
    pub fn client_and_server(&self) -> (Seen<'a>, Seen<'a>) {
        let from_client = self.from_client.unwrap_or(match (self.src.port, self.dst.port) {
            (Some(src), Some(dst)) if self.flags & SYN != 0 && src != dst => self.flags & SYN_ACK == 0,
            (Some(src), Some(dst)) => src >= dst,
            _ => true,
        });
        if from_client { (self.src, self.dst) } else { (self.dst, self.src) }
    }
}

/// TCP flags, as field `Flags` has them.
pub(crate) const FIN: u32 = 0x01;
pub(crate) const SYN: u32 = 0x02;
pub(crate) const RST: u32 = 0x04;
pub(crate) const ACK: u32 = 0x10;
pub(crate) const SYN_ACK: u32 = 0x100;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
