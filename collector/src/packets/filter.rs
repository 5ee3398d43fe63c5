//! `--filter` and `--query` of packets: each packet is judged by its headers, as if it were a flow of one packet.

use std::sync::Arc;

use netobserv_query::Query;
use netobserv_wire::Flow;
use netobserv_wire::flow::{Drops, Interface};
use netobserv_wire::packet::{Direction, Packet};
use smallvec::SmallVec;

use super::headers::{self, Ends};
use super::places::Place;
use crate::enrich::Names;
use crate::query::{Predicate, Scratch};

/// EtherType of ARP (IEEE 802 numbers): such packets have addresses, and are no IP.
const ARP: u16 = 0x0806;
/// As flow records have it: the flags together with ACK, and the bit for that.
const WITH_ACK: [(u32, u32); 3] = [(0x02, 0x100), (0x01, 0x200), (0x04, 0x400)];
const ACK: u32 = 0x10;

/// What packets must match.
#[derive(Debug)]
pub struct Filter {
    predicate: Predicate,
    names: Option<Arc<Names>>,
    scratch: Scratch,
}

impl Filter {
    /// `names` are looked up only where one of the queries asks for them.
    pub fn new(predicate: Option<Predicate>, queries: &[Query], names: Option<&Arc<Names>>) -> Option<Self> {
        let names = names.filter(|_| queries.iter().any(Query::asks_for_names));
        Some(Self { predicate: predicate?, names: names.cloned(), scratch: Scratch::default() })
    }

    /// Whether a packet is wanted.
    pub fn keeps(&mut self, packet: &Packet, place: &Place) -> bool {
        let mut flow = [flow(packet, place)];
        if let Some(names) = &self.names {
            names.name(&mut flow);
        }
        self.scratch.vlan = headers::vlan(&packet.data);
        self.predicate.holds(&flow[0], &mut self.scratch)
    }
}

/// A packet as a flow of one packet.
fn flow(packet: &Packet, place: &Place) -> Flow {
    let (ends, time_ms) = (Ends::of(&packet.data), packet.time_ns / 1_000_000);
    let (src, dst) = ends.addresses.filter(|_| ends.etype != ARP).unzip();
    let (src_port, dst_port) = ends.ports.unzip();
    let (icmp_type, icmp_code) = ends.icmp.unzip();
    let (src_mac, dst_mac) = headers::macs(&packet.data).unzip();
    let bytes = u64::from(packet.original);
    let interface = Interface { name: (&*place.name).into(), direction: direction(packet), ..Interface::default() };
    let drops =
        packet.cause.as_deref().map(|cause| Drops { bytes, packets: 1, cause: cause.into(), ..Drops::default() });
    Flow {
        start_ms: time_ms,
        end_ms: time_ms,
        bytes,
        packets: 1,
        sampling: packet.sampling,
        flags: headers::tcp_flags(&packet.data).map(with_ack),
        etype: ends.etype,
        src_port,
        dst_port,
        proto: ends.proto,
        dscp: headers::dscp(&packet.data),
        icmp_type,
        icmp_code,
        src_mac,
        dst_mac,
        src_addr: src,
        dst_addr: dst,
        interfaces: if place.drops { SmallVec::default() } else { [interface].into_iter().collect() },
        drops: drops.map(Box::new),
        ..Flow::default()
    }
}

fn direction(packet: &Packet) -> u8 {
    u8::from(packet.direction == Direction::Out)
}

fn with_ack(flags: u8) -> u32 {
    let flags = u32::from(flags);
    let both = WITH_ACK.iter().filter(|(flag, _)| flags & flag != 0 && flags & ACK != 0);
    both.fold(flags, |flags, (_, bit)| flags | bit)
}

#[cfg(test)]
mod tests;
