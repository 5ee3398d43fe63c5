//! From what was counted to the protocol's record.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use netobserv_ebpf_common::{ETH_IPV4, NO_IP};
use netobserv_wire::pbflow::{
    self, DataLink, Direction, DropCause, DupMapEntry, Ip, Network, Opener, Record, Transport, Xlat,
};
use nix::time::{ClockId, clock_gettime};
use prost_types::Timestamp;

use crate::{
    addresses::ip,
    flow::{Dropped, FlowId, FlowRecord, Process, Sighting, Transaction},
    interfaces::Names,
    translated::{Translated, Tuple},
};

/// Protocols whose "ports" are a type and a code.
const ICMP: [u8; 2] = [1, 58];

/// What turns counts into records: names, clock, and who is asking.
pub struct Recorder {
    names: Names,
    agent_ip: Option<Ip>,
}

/// The wall-clock time, in ns since 1970, of CLOCK_MONOTONIC's zero. Taken again for each window, because the wall
/// clock may be set.
#[derive(Clone, Copy)]
pub struct BootTime(i128);

impl BootTime {
    /// As of now.
    pub fn now() -> Self {
        let mono = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(wall.as_nanos() as i128 - mono.as_nanos() as i128)
    }

    fn timestamp(self, mono_ns: u64) -> Timestamp {
        let ns = self.0 + i128::from(mono_ns);
        Timestamp { seconds: ns.div_euclid(1_000_000_000) as i64, nanos: ns.rem_euclid(1_000_000_000) as i32 }
    }
}

impl Recorder {
    /// `agent_ip` names the node in each record.
    pub fn new(names: Names, agent_ip: Option<IpAddr>) -> Self {
        Self { names, agent_ip: agent_ip.map(ip) }
    }

    /// The records of a flow: one, and one more for each further DNS transaction, which takes its answer's packet with
    /// it. So no transaction is left out, and the sums stay what they are.
    pub fn records(&self, flow: &FlowRecord, boot: BootTime) -> Vec<Record> {
        let mut rest = self.record(flow, boot);
        if let Some(translated) = &flow.translated {
            set_translated(&mut rest, &flow.id, translated);
        }
        let Some(extra) = &flow.extra else { return vec![rest] };
        rest.time_flow_rtt = (extra.rtt_ns > 0).then(|| duration(extra.rtt_ns));
        set_drops(&mut rest, &extra.drops);
        rest.src_process = extra.src.as_deref().map(process);
        rest.dst_process = extra.dst.as_deref().map(process);
        let mut records = Vec::with_capacity(extra.dns.len().max(1));
        if let Some((last, others)) = extra.dns.split_last() {
            for transaction in others {
                let mut record = rest.clone();
                record.packets = rest.packets.min(u64::from(transaction.frame_bytes > 0));
                record.bytes = rest.bytes.min(u64::from(transaction.frame_bytes) * record.packets);
                (rest.packets, rest.bytes) = (rest.packets - record.packets, rest.bytes - record.bytes);
                set_dns(&mut record, transaction);
                records.push(record);
            }
            set_dns(&mut rest, last);
        }
        records.push(rest);
        records
    }

    /// What was counted.
    fn record(&self, flow: &FlowRecord, boot: BootTime) -> Record {
        let id = &flow.id;
        let mut record = Record {
            eth_protocol: u32::from(id.eth_proto),
            time_flow_start: Some(boot.timestamp(flow.first_ns)),
            time_flow_end: Some(boot.timestamp(flow.last_ns)),
            data_link: Some(DataLink { src_mac: mac(flow.src_mac), dst_mac: mac(flow.dst_mac) }),
            bytes: flow.bytes,
            packets: flow.packets,
            agent_ip: self.agent_ip.clone(),
            flags: flow.tcp_flags,
            sampling: flow.sampling,
            ..Default::default()
        };
        if has_ip(id) {
            record.network = Some(Network {
                src_addr: Some(address(id, id.src)),
                dst_addr: Some(address(id, id.dst)),
                dscp: u32::from(flow.dscp),
            });
            let (a, b) = (u32::from(id.src_port), u32::from(id.dst_port));
            let icmp = ICMP.contains(&id.proto);
            (record.icmp_type, record.icmp_code) = if icmp { (a, b) } else { (0, 0) };
            let (src_port, dst_port) = if icmp { (0, 0) } else { (a, b) };
            record.transport = Some(Transport { src_port, dst_port, protocol: u32::from(id.proto) });
        }
        record.dup_list = self.sightings(flow);
        if let Some(first) = record.dup_list.first() {
            (record.interface, record.direction) = (first.interface.clone(), first.direction);
        }
        record
    }

    fn sightings(&self, flow: &FlowRecord) -> Vec<DupMapEntry> {
        let entry = |s: &Sighting| DupMapEntry {
            interface: self.names.label(s.place),
            direction: if s.direction == 0 { Direction::Ingress } else { Direction::Egress }.into(),
            udn: String::new(),
        };
        flow.sightings.iter().map(entry).collect()
    }
}

fn process(process: &Process) -> pbflow::Process {
    let Process { pid, name, cgroup, container, .. } = process.clone();
    pbflow::Process { pid, comm: name, cgroup, container }
}

fn set_translated(record: &mut Record, id: &FlowId, translated: &Translated) {
    let Translated { is_origin, tuple, target, zone, icmp_id, source_opened, duplicate } = *translated;
    let xlat = |tuple: Tuple| Xlat {
        src_addr: Some(address(id, tuple.src)),
        dst_addr: Some(address(id, tuple.dst)),
        src_port: u32::from(tuple.src_port),
        dst_port: u32::from(tuple.dst_port),
        zone_id: u32::from(zone),
        icmp_id: u32::from(icmp_id),
    };
    record.xlat = target.map(xlat);
    *(if is_origin { &mut record.origin } else { &mut record.xlat }) = Some(xlat(tuple));
    record.duplicate = duplicate;
    record.set_opener(if source_opened { Opener::Source } else { Opener::Destination });
}

fn set_drops(record: &mut Record, drops: &[Dropped]) {
    let Some(latest) = drops.iter().max_by_key(|dropped| dropped.count.last_ns) else { return };
    record.pkt_drop_latest_flags = latest.count.tcp_flags;
    record.pkt_drop_latest_state = latest.count.state;
    record.pkt_drop_latest_drop_cause = latest.reason;
    latest.cause.as_ref().clone_into(&mut record.pkt_drop_latest_cause_name);
    let cause = |dropped: &Dropped| DropCause {
        name: dropped.cause.as_ref().to_owned(),
        packets: dropped.count.packets,
        bytes: dropped.count.bytes,
    };
    record.pkt_drop_causes = drops.iter().map(cause).collect();
    record.pkt_drop_packets = drops.iter().map(|dropped| dropped.count.packets).sum();
    record.pkt_drop_bytes = drops.iter().map(|dropped| dropped.count.bytes).sum();
}

fn set_dns(record: &mut Record, transaction: &Transaction) {
    record.dns_id = u32::from(transaction.id);
    record.dns_flags = u32::from(transaction.flags);
    record.dns_errno = transaction.errno;
    transaction.name.as_deref().unwrap_or_default().clone_into(&mut record.dns_name);
    record.dns_queries = transaction.queries;
    record.dns_latency = transaction.latency.map(|latency| duration(latency.first_ns));
    record.dns_latency_last = transaction.latency.map(|latency| duration(latency.last_ns));
}

fn duration(ns: u64) -> prost_types::Duration {
    prost_types::Duration { seconds: (ns / 1_000_000_000) as i64, nanos: (ns % 1_000_000_000) as i32 }
}

fn has_ip(id: &FlowId) -> bool {
    id.src_port != NO_IP || id.proto != 0
}

fn address(id: &FlowId, bytes: [u8; 16]) -> Ip {
    if id.eth_proto == ETH_IPV4 {
        ip(Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]).into())
    } else {
        ip(Ipv6Addr::from(bytes).into())
    }
}

fn mac(bytes: [u8; 6]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The address that this host would use towards the world; None without a route. Nothing is sent: connecting a UDP
/// socket only asks the routing table (192.0.2.1 and 2001:db8::1 are for documentation, RFC 5737 and 3849).
pub fn own_address() -> Option<IpAddr> {
    let via = |local: &str, remote: &str| {
        let socket = UdpSocket::bind(local).ok()?;
        socket.connect(remote).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    };
    via("0.0.0.0:0", "192.0.2.1:9").or_else(|| via("[::]:0", "[2001:db8::1]:9"))
}

#[cfg(test)]
mod tests {
    use netobserv_ebpf_common::{DropCount, mapped};
    use smallvec::smallvec;

    use super::*;
    use netobserv_wire::pbflow::ip::IpFamily;

    use crate::{
        flow::{Extra, Latency},
        interfaces::InterfaceId,
    };

    fn flow(proto: u8, src_port: u16, dst_port: u16, eth_proto: u16) -> FlowRecord {
        let a = mapped(u32::from_ne_bytes([10, 0, 0, 1]));
        let b = mapped(u32::from_ne_bytes([10, 0, 0, 2]));
        FlowRecord {
            id: FlowId { src: a, dst: b, src_port, dst_port, eth_proto, proto },
            first_ns: 1,
            last_ns: 2_000_000_001,
            packets: 3,
            bytes: 300,
            cookie: 0,
            tcp_flags: 0x112,
            sampling: 1,
            src_mac: [2, 0, 0, 0, 0, 1],
            dst_mac: [2, 0, 0, 0, 0, 2],
            dscp: 46,
            sightings: smallvec![
                Sighting { place: InterfaceId { netns: 0, ifindex: 2 }, direction: 0 },
                Sighting { place: InterfaceId { netns: 0, ifindex: 3 }, direction: 1 },
            ],
            extra: None,
            translated: None,
        }
    }

    fn record(flow: &FlowRecord) -> Record {
        let names = Names::default();
        names.set(InterfaceId { netns: 0, ifindex: 2 }, "eth0");
        Recorder::new(names, Some("10.0.0.9".parse().unwrap())).record(flow, BootTime(1_000_000_000_000))
    }

    #[test]
    fn tcp() {
        let r = record(&flow(6, 4000, 80, ETH_IPV4));
        assert_eq!(r.network.unwrap().src_addr.unwrap().ip_family, Some(IpFamily::Ipv4(0x0a00_0001)));
        assert_eq!(r.transport.unwrap(), Transport { src_port: 4000, dst_port: 80, protocol: 6 });
        assert_eq!(r.data_link.unwrap(), DataLink { src_mac: 0x0200_0000_0001, dst_mac: 0x0200_0000_0002 });
        assert_eq!(r.time_flow_end.unwrap(), Timestamp { seconds: 1002, nanos: 1 });
        assert_eq!((r.interface.as_str(), r.flags, r.dup_list.len()), ("eth0", 0x112, 2));
        assert_eq!((r.dup_list[1].interface.as_str(), r.dup_list[1].direction), ("if3", 1));
    }

    #[test]
    fn icmp_has_a_type_and_no_ports() {
        let r = record(&flow(1, 8, 0, ETH_IPV4));
        assert_eq!((r.icmp_type, r.icmp_code), (8, 0));
        assert_eq!(r.transport.unwrap(), Transport { src_port: 0, dst_port: 0, protocol: 1 });
    }

    #[test]
    fn each_dns_transaction_has_a_record_and_the_sums_stay() {
        let mut flow = flow(17, 53, 4000, ETH_IPV4);
        let transaction = |id| Transaction {
            flow: flow.id,
            at: flow.sightings[0],
            id,
            flags: 0x8183,
            latency: Some(Latency { first_ns: 2_500_000_000, last_ns: 1 }),
            queries: 1,
            errno: 0,
            name: Some("a.b".into()),
            frame_bytes: 90,
            time_ns: 0,
        };
        let dns = (0..5).map(transaction).collect();
        flow.extra = Some(Box::new(Extra { dns, rtt_ns: 7, ..Default::default() }));
        let records = Recorder::new(Names::default(), None).records(&flow, BootTime(0));
        assert_eq!(records.iter().map(|r| r.dns_id).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(records.iter().map(|r| r.packets).sum::<u64>(), 3);
        assert_eq!(records.iter().map(|r| r.bytes).sum::<u64>(), 300);
        assert_eq!(records[0].dns_latency, Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }));
    }

    #[test]
    fn drops_add_up_and_the_latest_is_told() {
        let dropped = |cause: &str, reason, packets, last_ns| {
            let count =
                DropCount { packets, bytes: packets * 60, last_ns, tcp_flags: 2, state: 10, ..Default::default() };
            Dropped { reason, cause: cause.into(), count }
        };
        let mut flow = flow(6, 1, 2, ETH_IPV4);
        let drops = vec![dropped("A", 7, 2, 9), dropped("B", 8, 70_000, 5)];
        flow.extra = Some(Box::new(Extra { drops, ..Default::default() }));
        let r = Recorder::new(Names::default(), None).records(&flow, BootTime(0)).remove(0);
        assert_eq!((r.pkt_drop_packets, r.pkt_drop_bytes), (70_002, 4_200_120));
        assert_eq!((r.pkt_drop_latest_drop_cause, r.pkt_drop_latest_cause_name.as_str()), (7, "A"));
        assert_eq!((r.pkt_drop_latest_flags, r.pkt_drop_latest_state), (2, 10));
        assert_eq!(r.pkt_drop_causes[1], DropCause { name: "B".into(), packets: 70_000, bytes: 4_200_000 });
    }

    #[test]
    fn frames_without_ip_have_no_addresses() {
        let r = record(&flow(0, NO_IP, 0, 0x0806));
        assert_eq!((r.network, r.transport, r.eth_protocol), (None, None, 0x0806));
    }
}
