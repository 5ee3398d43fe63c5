//! One flow record in memory: what both protocols are read into and every sink writes from.
//!
//! A capture holds tens of thousands of these at once, so the common parts are inline and the rare
//! groups (DNS, drops, enrichment, ...) sit behind a box that most records do not have.

mod enrichment;
mod holder;

use std::net::IpAddr;

use compact_str::CompactString;
use smallvec::SmallVec;

pub use enrichment::{Endpoint, Enrichment, Layer, PipelineMarks};
pub use holder::{Holder, HolderRef, Ready};

/// A MAC address, in the order of the wire.
pub type Mac = [u8; 6];

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The sender.
    Src,
    /// The receiver.
    Dst,
}

/// One direction of a conversation, seen by one agent during one window.
///
/// A number that is zero, an empty text and a `None` all mean "not present" unless the field says otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// First packet, milliseconds since 1970.
    pub start_ms: u64,
    /// Last packet, milliseconds since 1970.
    pub end_ms: u64,
    /// Arrival in the collector, seconds since 1970.
    pub received_s: u64,
    /// Bytes, L2 header included.
    pub bytes: u64,
    /// Packets, as they were on the wire (a super-packet counts its segments).
    pub packets: u64,
    /// Smoothed TCP round trip time, nanoseconds.
    pub rtt_ns: u64,
    /// One packet in this many was looked at.
    pub sampling: u32,
    /// OR of the TCP flags; 0x100, 0x200, 0x400 stand for SYN+ACK, FIN+ACK, RST+ACK. TCP only.
    pub flags: Option<u32>,
    /// Ethernet type; 0x0800 for IPv4.
    pub etype: u16,
    /// Source port; TCP, UDP and SCTP only.
    pub src_port: Option<u16>,
    /// Destination port; TCP, UDP and SCTP only.
    pub dst_port: Option<u16>,
    /// IP protocol number; IP only.
    pub proto: Option<u8>,
    /// Differentiated services code point; IP only.
    pub dscp: Option<u8>,
    /// ICMP or ICMPv6 type.
    pub icmp_type: Option<u8>,
    /// ICMP or ICMPv6 code.
    pub icmp_code: Option<u8>,
    /// Source MAC address.
    pub src_mac: Option<Mac>,
    /// Destination MAC address.
    pub dst_mac: Option<Mac>,
    /// Source address; IP only.
    pub src_addr: Option<IpAddr>,
    /// Destination address; IP only.
    pub dst_addr: Option<IpAddr>,
    /// Address of the agent's node.
    pub agent_ip: Option<IpAddr>,
    /// Where the flow was seen; the first one is where it was counted.
    pub interfaces: SmallVec<[Interface; 2]>,
    /// DNS transaction.
    pub dns: Option<Box<Dns>>,
    /// Packets that the kernel dropped.
    pub drops: Option<Box<Drops>>,
    /// The tuple after address translation, of packets that were seen before it.
    pub xlat: Option<Box<Xlat>>,
    /// The tuple before address translation, of packets that were seen after it.
    pub origin: Option<Box<Xlat>>,
    /// Which conversation it is a part of.
    pub conversation: Option<Conversation>,
    /// Where the packets are counted instead, when they are not counted here.
    pub duplicate: Option<Duplicate>,
    /// TLS handshake.
    pub tls: Option<Box<Tls>>,
    /// QUIC header.
    pub quic: Option<Box<Quic>>,
    /// IPsec state.
    pub ipsec: Option<Box<Ipsec>>,
    /// Network policy events, as the text of a JSON array of objects.
    pub network_events: Option<Box<str>>,
    /// The processes at the two ends, on a lone host.
    pub processes: Option<Box<Processes>>,
    /// What the cluster knows of the two ends. In a cluster every flow has it, so it needs no box.
    pub k8s: Option<Enrichment>,
    /// What a flowlogs-pipeline sent and this table has no field for.
    pub other: Option<Box<serde_json::Map<String, serde_json::Value>>>,
}

/// One place where a flow was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interface {
    /// Interface name.
    pub name: CompactString,
    /// User-defined network of the interface, or empty.
    pub udn: CompactString,
    /// 0 ingress, 1 egress, 3 both.
    pub direction: u8,
}

/// A DNS transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dns {
    /// Errno of the tracker; 0 when all went well.
    pub errno: u32,
    /// Transaction id.
    pub id: Option<u16>,
    /// Flags of the response, as on the wire.
    pub flags: Option<u16>,
    /// Name of the response code.
    pub rcode: CompactString,
    /// From the first query to the response, whole milliseconds.
    pub latency_ms: Option<u64>,
    /// The same in microseconds; a flowlogs-pipeline does not say it.
    pub latency_us: Option<u64>,
    /// From the latest query to the response, milliseconds, when there were several.
    pub latency_last_ms: Option<u64>,
    /// How often the query was asked again.
    pub retries: Option<u32>,
    /// Name that was asked for.
    pub name: CompactString,
}

/// Packets that the kernel dropped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drops {
    /// Dropped bytes.
    pub bytes: u64,
    /// Dropped packets.
    pub packets: u64,
    /// TCP flags of the last dropped packet.
    pub flags: u32,
    /// TCP state of the socket at the last drop.
    pub state: CompactString,
    /// Why the last packet was dropped.
    pub cause: CompactString,
    /// Every cause with its packets and bytes, as the text of a JSON array of objects; or empty.
    pub causes: Box<str>,
}

/// Both directions between two ends, whatever their addresses were translated to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// Equal in all records of a conversation; at most 53 bits, so that it is exact in JSON. 0 = not known.
    pub id: u64,
    /// Whether the sender opened the conversation.
    pub from_client: Option<bool>,
}

/// Where packets of a record are counted, if not in this record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// On the same node, under the tuple before or after address translation.
    Translation,
    /// On the client's node; this is the server's.
    Server,
    /// On the client's or the server's node; this is another one.
    Forwarder,
}

impl Duplicate {
    const ALL: [Self; 3] = [Self::Translation, Self::Server, Self::Forwarder];

    /// As files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Translation => "translation",
            Self::Server => "server",
            Self::Forwarder => "forwarder",
        }
    }

    /// By its name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|duplicate| duplicate.name() == name)
    }
}

/// The tuple at the other side of an address translation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Xlat {
    /// Conntrack zone.
    pub zone_id: u32,
    /// Identifier of ICMP echo messages.
    pub icmp_id: u16,
    /// Source address.
    pub src_addr: Option<IpAddr>,
    /// Destination address.
    pub dst_addr: Option<IpAddr>,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Who has the source address.
    pub src: Option<HolderRef>,
    /// Who has the destination address.
    pub dst: Option<HolderRef>,
}

/// What the TLS records of a flow said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// Version, with "~ " before it when both sides named different ones.
    pub version: CompactString,
    /// Bits of [`crate::names::TLS_TYPES`].
    pub types: u8,
    /// Cipher suite.
    pub cipher_suite: CompactString,
    /// Key exchange group.
    pub group: CompactString,
}

/// What the QUIC headers of a flow said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quic {
    /// Version.
    pub version: CompactString,
    /// Not 0 when a long header was seen.
    pub long_header: u8,
    /// Not 0 when a short header was seen.
    pub short_header: u8,
}

/// IPsec state of a flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ipsec {
    /// Return code of the kernel's transform.
    pub ret_code: Option<i32>,
    /// "success" or "error".
    pub status: CompactString,
}

/// The processes that send and receive a flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processes {
    /// The sender.
    pub src: Process,
    /// The receiver.
    pub dst: Process,
}

/// A process on the agent's machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Its number, as the whole machine counts.
    pub pid: u32,
    /// Its name.
    pub comm: CompactString,
    /// Path of its control group.
    pub cgroup: CompactString,
    /// Number of its container.
    pub container: CompactString,
}

impl Flow {
    /// Who is at an end.
    pub fn holder(&self, side: Side) -> Option<&HolderRef> {
        let k8s = self.k8s.as_ref()?;
        let end = if side == Side::Src { &k8s.src } else { &k8s.dst };
        end.holder.as_ref()
    }

    /// Says who is at an end.
    pub fn set_holder(&mut self, side: Side, holder: HolderRef) {
        let k8s = self.k8s_mut();
        let end = if side == Side::Src { &mut k8s.src } else { &mut k8s.dst };
        end.holder = Some(holder);
    }

    /// The same packets as they were before address translation; `None` of packets that were not seen after one.
    pub fn before_translation(&self) -> Option<Flow> {
        let origin = self.origin.as_deref()?;
        let mut before = self.clone();
        (before.src_addr, before.dst_addr) = (origin.src_addr, origin.dst_addr);
        before.src_port = before.src_port.map(|_| origin.src_port);
        before.dst_port = before.dst_port.map(|_| origin.dst_port);
        before.origin = None;
        if before.k8s.is_some() || origin.src.is_some() || origin.dst.is_some() {
            let k8s = before.k8s_mut();
            (k8s.src.holder, k8s.dst.holder) = (origin.src.clone(), origin.dst.clone());
        }
        before.xlat = Some(Box::new(Xlat {
            zone_id: origin.zone_id,
            icmp_id: origin.icmp_id,
            src_addr: self.src_addr,
            dst_addr: self.dst_addr,
            src_port: self.src_port.unwrap_or(0),
            dst_port: self.dst_port.unwrap_or(0),
            src: self.holder(Side::Src).cloned(),
            dst: self.holder(Side::Dst).cloned(),
        }));
        Some(before)
    }

    /// Of packets that are counted in another record, what is not: drops are events of the place where they happened.
    #[must_use]
    pub fn drops_only(&self) -> Flow {
        Flow { packets: 0, bytes: 0, rtt_ns: 0, flags: None, dns: None, ..self.clone() }
    }

    /// The interface that counted the flow.
    pub fn first_interface(&self) -> Option<&Interface> {
        self.interfaces.first()
    }

    /// The DNS group, made when it is not there.
    pub(crate) fn dns_mut(&mut self) -> &mut Dns {
        self.dns.get_or_insert_default()
    }

    /// The drop group, made when it is not there.
    pub(crate) fn drops_mut(&mut self) -> &mut Drops {
        self.drops.get_or_insert_default()
    }

    /// The translation group, made when it is not there.
    pub(crate) fn xlat_mut(&mut self) -> &mut Xlat {
        self.xlat.get_or_insert_default()
    }

    /// The tuple before translation, made when it is not there.
    pub(crate) fn origin_mut(&mut self) -> &mut Xlat {
        self.origin.get_or_insert_default()
    }

    /// The conversation, made when it is not there.
    pub(crate) fn conversation_mut(&mut self) -> &mut Conversation {
        self.conversation.get_or_insert_default()
    }

    /// The TLS group, made when it is not there.
    pub(crate) fn tls_mut(&mut self) -> &mut Tls {
        self.tls.get_or_insert_default()
    }

    /// The QUIC group, made when it is not there.
    pub(crate) fn quic_mut(&mut self) -> &mut Quic {
        self.quic.get_or_insert_default()
    }

    /// The IPsec group, made when it is not there.
    pub(crate) fn ipsec_mut(&mut self) -> &mut Ipsec {
        self.ipsec.get_or_insert_default()
    }

    /// The processes, made when they are not there.
    pub(crate) fn processes_mut(&mut self) -> &mut Processes {
        self.processes.get_or_insert_default()
    }

    /// The enrichment group, made when it is not there.
    pub(crate) fn k8s_mut(&mut self) -> &mut Enrichment {
        self.k8s.get_or_insert_default()
    }

    /// What a pipeline adds, made when it is not there.
    pub(crate) fn marks_mut(&mut self) -> &mut PipelineMarks {
        self.k8s_mut().pipeline.get_or_insert_default()
    }

    /// Interface number `index`; the list grows up to it.
    pub(crate) fn interface_mut(&mut self, index: usize) -> &mut Interface {
        if self.interfaces.len() <= index {
            self.interfaces.resize(index + 1, Interface::default());
        }
        &mut self.interfaces[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_stays_small() {
        assert!(size_of::<Flow>() <= 464, "{} bytes", size_of::<Flow>());
        assert!(size_of::<Enrichment>() <= 64, "{} bytes", size_of::<Enrichment>());
    }
}
