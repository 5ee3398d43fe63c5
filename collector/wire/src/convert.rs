//! A record of the agents' protocol into a flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use prost_types::{Duration, Timestamp};
use serde_json::json;

use crate::flow::{
    Conversation, Dns, Drops, Duplicate, Flow, Interface, Ipsec, Mac, Process, Processes, Quic, Tls, Xlat,
};
use crate::names;
use crate::pbflow::{self, DropCause, Opener, Record, ip::IpFamily};

const ETYPE_IPV4: u32 = 0x0800;
const ETYPE_IPV6: u32 = 0x86dd;
/// The QR bit of DNS flags (RFC 1035, 4.1.1): a query that nobody answered has no response code.
const DNS_RESPONSE: u32 = 0x8000;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

impl Flow {
    /// Reads one record; `now_s` is its arrival, in seconds since 1970.
    pub fn from_record(record: &Record, now_s: u64) -> Flow {
        let mut flow = Flow {
            start_ms: record.time_flow_start.as_ref().map_or(0, millis),
            end_ms: record.time_flow_end.as_ref().map_or(0, millis),
            received_s: now_s,
            bytes: record.bytes,
            packets: record.packets,
            rtt_ns: record.time_flow_rtt.as_ref().map_or(0, nanos),
            sampling: record.sampling,
            etype: record.eth_protocol as u16,
            src_mac: Some(mac(record.data_link.map_or(0, |link| link.src_mac))),
            dst_mac: Some(mac(record.data_link.map_or(0, |link| link.dst_mac))),
            agent_ip: record.agent_ip.as_ref().and_then(address),
            dns: dns(record),
            drops: drops(record),
            xlat: record.xlat.as_ref().and_then(xlat),
            origin: record.origin.as_ref().and_then(xlat),
            conversation: opened(record.opener()),
            duplicate: record.duplicate.then_some(Duplicate::Translation),
            tls: tls(record),
            quic: record.quic.as_ref().map(quic),
            ipsec: ipsec(record),
            network_events: network_events(record),
            processes: processes(record),
            ..Flow::default()
        };
        interfaces(record, &mut flow);
        layer3(record, &mut flow);
        flow
    }
}

fn layer3(record: &Record, flow: &mut Flow) {
    let Some(network) = record.network.as_ref().filter(|_| is_ip(record)) else { return };
    let read = if record.eth_protocol == ETYPE_IPV6 { as_sent } else { address };
    flow.src_addr = network.src_addr.as_ref().and_then(read);
    flow.dst_addr = network.dst_addr.as_ref().and_then(read);
    flow.dscp = Some(network.dscp as u8);
    let transport = record.transport.unwrap_or_default();
    let proto = transport.protocol as u8;
    flow.proto = Some(proto);
    if matches!(proto, TCP | UDP | SCTP) {
        flow.src_port = Some(transport.src_port as u16);
        flow.dst_port = Some(transport.dst_port as u16);
    }
    if proto == TCP {
        flow.flags = Some(record.flags);
    }
    if matches!(proto, ICMP | ICMPV6) {
        flow.icmp_type = Some(record.icmp_type as u8);
        flow.icmp_code = Some(record.icmp_code as u8);
    }
}

/// A record made by a hook below or above the Ethernet layer has no Ethernet type, and may have addresses.
fn is_ip(record: &Record) -> bool {
    matches!(record.eth_protocol, 0 | ETYPE_IPV4 | ETYPE_IPV6)
}

fn interfaces(record: &Record, flow: &mut Flow) {
    let named = |name: &str, direction: i32, udn: &str| Interface {
        name: name.into(),
        udn: udn.into(),
        direction: direction as u8,
    };
    if !record.interface.is_empty() && record.dup_list.iter().all(|seen| seen.interface != record.interface) {
        flow.interfaces.push(named(&record.interface, record.direction, ""));
    }
    flow.interfaces.extend(record.dup_list.iter().map(|seen| named(&seen.interface, seen.direction, &seen.udn)));
}

fn dns(record: &Record) -> Option<Box<Dns>> {
    let answered = record.dns_id != 0 || record.dns_flags != 0 || record.dns_latency.is_some();
    if !answered && record.dns_errno == 0 && record.dns_name.is_empty() {
        return None;
    }
    let mut dns = Dns { errno: record.dns_errno, name: record.dns_name.as_str().into(), ..Dns::default() };
    if answered {
        dns.id = Some(record.dns_id as u16);
        dns.flags = Some(record.dns_flags as u16);
        if record.dns_flags & DNS_RESPONSE != 0 {
            dns.rcode = names::dns_rcode(record.dns_flags);
        }
        let latency_ns = record.dns_latency.as_ref().map(nanos);
        dns.latency_ms = latency_ns.map(|ns| ns / 1_000_000);
        dns.latency_us = latency_ns.map(|ns| ns / 1_000);
        if record.dns_queries > 1 {
            dns.retries = Some(record.dns_queries - 1);
            dns.latency_last_ms = record.dns_latency_last.as_ref().map(|latency| nanos(latency) / 1_000_000);
        }
    }
    Some(Box::new(dns))
}

fn drops(record: &Record) -> Option<Box<Drops>> {
    if record.pkt_drop_latest_drop_cause == 0 && record.pkt_drop_packets == 0 {
        return None;
    }
    Some(Box::new(Drops {
        bytes: record.pkt_drop_bytes,
        packets: record.pkt_drop_packets,
        flags: record.pkt_drop_latest_flags,
        state: names::tcp_state(record.pkt_drop_latest_state),
        cause: match record.pkt_drop_latest_cause_name.as_str() {
            "" => names::drop_cause(record.pkt_drop_latest_drop_cause),
            name => name.into(),
        },
        causes: drop_causes(&record.pkt_drop_causes),
    }))
}

fn drop_causes(causes: &[DropCause]) -> Box<str> {
    if causes.is_empty() {
        return Box::default();
    }
    let object = |cause: &DropCause| json!({"Cause": cause.name, "Packets": cause.packets, "Bytes": cause.bytes});
    causes.iter().map(object).collect::<serde_json::Value>().to_string().into()
}

fn xlat(xlat: &pbflow::Xlat) -> Option<Box<Xlat>> {
    let known = |ip: &Option<pbflow::Ip>| ip.as_ref().and_then(address).filter(|ip| !ip.is_unspecified());
    let (src_addr, dst_addr) = (known(&xlat.src_addr)?, known(&xlat.dst_addr)?);
    Some(Box::new(Xlat {
        zone_id: xlat.zone_id,
        icmp_id: xlat.icmp_id as u16,
        src_addr: Some(src_addr),
        dst_addr: Some(dst_addr),
        src_port: xlat.src_port as u16,
        dst_port: xlat.dst_port as u16,
        ..Xlat::default()
    }))
}

fn opened(opener: Opener) -> Option<Conversation> {
    let by = |source| Some(Conversation { from_client: Some(source), ..Conversation::default() });
    match opener {
        Opener::NotKnown => None,
        Opener::Source => by(true),
        Opener::Destination => by(false),
    }
}

fn tls(record: &Record) -> Option<Box<Tls>> {
    if record.ssl_version == 0 && record.tls_types == 0 {
        return None;
    }
    let mut tls = Box::new(Tls { types: record.tls_types as u8, ..Tls::default() });
    if record.ssl_version != 0 {
        tls.version = names::tls_version(record.ssl_version, record.ssl_mismatch);
    }
    if record.tls_cipher_suite != 0 {
        tls.cipher_suite = names::tls_cipher_suite(record.tls_cipher_suite);
    }
    if record.tls_key_share != 0 {
        tls.group = names::tls_group(record.tls_key_share);
    }
    Some(tls)
}

#[allow(clippy::unnecessary_box_returns)] // It becomes a field that is seldom there.
fn quic(quic: &pbflow::Quic) -> Box<Quic> {
    Box::new(Quic {
        version: names::quic_version(quic.version),
        long_header: quic.seen_long_hdr as u8,
        short_header: quic.seen_short_hdr as u8,
    })
}

fn ipsec(record: &Record) -> Option<Box<Ipsec>> {
    let status = match (record.ipsec_encrypted_ret, record.ipsec_encrypted) {
        (0, 0) => return None,
        (0, _) => "success",
        _ => "error",
    };
    Some(Box::new(Ipsec { ret_code: Some(record.ipsec_encrypted_ret), status: status.into() }))
}

fn network_events(record: &Record) -> Option<Box<str>> {
    let events: Vec<_> = record.network_events_metadata.iter().map(|event| &event.events).collect();
    if events.is_empty() {
        return None;
    }
    serde_json::to_string(&events).ok().map(Into::into)
}

fn processes(record: &Record) -> Option<Box<Processes>> {
    let end = |process: &Option<pbflow::Process>| {
        let known = |p: &pbflow::Process| Process {
            pid: p.pid,
            comm: p.comm.as_str().into(),
            cgroup: p.cgroup.as_str().into(),
            container: p.container.as_str().into(),
        };
        process.as_ref().map(known).unwrap_or_default()
    };
    let named = record.src_process.is_some() || record.dst_process.is_some();
    named.then(|| Box::new(Processes { src: end(&record.src_process), dst: end(&record.dst_process) }))
}

fn millis(time: &Timestamp) -> u64 {
    let (seconds, nanos) = (time.seconds.max(0) as u64, time.nanos.max(0) as u64);
    seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
}

fn nanos(time: &Duration) -> u64 {
    let (seconds, nanos) = (time.seconds.max(0) as u64, time.nanos.max(0) as u64);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

fn mac(packed: u64) -> Mac {
    let [_, _, mac @ ..] = packed.to_be_bytes();
    mac
}

/// An address that agents may send mapped: `::ffff:10.0.0.1` is 10.0.0.1.
pub fn address(ip: &pbflow::Ip) -> Option<IpAddr> {
    as_sent(ip).map(|address| address.to_canonical())
}

/// An address of the family that it was sent in: IPv6 packets may carry mapped ones. Other than 16 bytes are no address.
fn as_sent(ip: &pbflow::Ip) -> Option<IpAddr> {
    match ip.ip_family.as_ref()? {
        IpFamily::Ipv4(number) => Some(Ipv4Addr::from(*number).into()),
        IpFamily::Ipv6(bytes) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into()),
    }
}

#[cfg(test)]
mod tests;
