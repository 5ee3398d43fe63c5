//! Records such as a node sends: both families, many ports, one to three interfaces, some DNS, some ICMP.

use std::net::Ipv6Addr;

use netobserv_wire::pbflow::ip::IpFamily;
use netobserv_wire::pbflow::{AgentStatus, DataLink, DupMapEntry, Ip, Network, Record, Records, Transport};
use prost::Message;
use prost::bytes::Bytes;
use prost_types::{Duration, Timestamp};

const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMP: u32 = 1;

/// Record `number`; the same for the same number.
pub fn record(number: u64) -> Record {
    let v6 = number.is_multiple_of(4);
    let protocol = [TCP, TCP, UDP, TCP, UDP, ICMP, TCP, UDP][number as usize % 8];
    let dns = protocol == UDP && number.is_multiple_of(3);
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let time = |offset| Timestamp {
        seconds: (1_709_741_962 + number / 5_000 + offset) as i64,
        nanos: (number % 1_000) as i32 * 1_000_000,
    };
    Record {
        eth_protocol: if v6 { 0x86dd } else { 0x0800 },
        direction: (number % 2) as i32,
        time_flow_start: Some(time(0)),
        time_flow_end: Some(time(1)),
        data_link: Some(DataLink { src_mac: 0x0a58_0a80_0000 + mixed % 250, dst_mac: 0x0a58_0a81_0000 + mixed % 31 }),
        network: Some(Network { src_addr: address(v6, mixed), dst_addr: address(v6, mixed >> 8), dscp: 0 }),
        transport: Some(Transport {
            src_port: if dns { 53 } else { 1_024 + (mixed % 60_000) as u32 },
            dst_port: [443, 80, 8_080, 5_432, 6_443][mixed as usize % 5],
            protocol,
        }),
        bytes: 66 + mixed % 150_000,
        packets: 1 + mixed % 120,
        interface: "eth0".into(),
        agent_ip: address(false, 9),
        flags: if protocol == TCP { 0x110 } else { 0 },
        icmp_type: if protocol == ICMP { 8 } else { 0 },
        dns_id: if dns { 1 + (mixed % 65_000) as u32 } else { 0 },
        dns_flags: if dns { 0x8180 } else { 0 },
        dns_latency: dns.then_some(Duration { seconds: 0, nanos: (mixed % 90_000_000) as i32 }),
        dns_name: if dns { format!("service-{}.example.svc.cluster.local", mixed % 500) } else { String::new() },
        time_flow_rtt: (protocol == TCP).then_some(Duration { seconds: 0, nanos: (mixed % 9_000_000) as i32 }),
        dup_list: interfaces(number),
        sampling: 1,
        ..Record::default()
    }
}

/// Records `first` to `first + records`.
pub fn some(first: u64, records: u64) -> Vec<Record> {
    (first..first + records).map(record).collect()
}

/// An encoded batch of records, as the agent of `node` sends it.
pub fn batch(node: &str, first: u64, records: u64) -> Bytes {
    let agent = AgentStatus { node: node.into(), interfaces: 3, version: "1".into(), ..AgentStatus::default() };
    Records { entries: some(first, records), agent: Some(agent), sequence: 0 }.encode_to_vec().into()
}

fn interfaces(number: u64) -> Vec<DupMapEntry> {
    let names = ["eth0", "br-ex", "veth1a2b3c4d"];
    let seen =
        |name: &&str| DupMapEntry { interface: (*name).into(), direction: (number % 2) as i32, udn: String::new() };
    names.iter().take(1 + number as usize % 3).map(seen).collect()
}

fn address(v6: bool, number: u64) -> Option<Ip> {
    let family = if v6 {
        IpFamily::Ipv6(
            Ipv6Addr::new(0xfd00, 0, 0, 0x1234, 0, 0, (number >> 8) as u16 & 0xff, number as u16).octets().to_vec(),
        )
    } else {
        IpFamily::Ipv4(0x0a80_0000 | (number & 0x3_ffff) as u32)
    };
    Some(Ip { ip_family: Some(family) })
}
