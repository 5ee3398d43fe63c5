//! Records as agents send them, and the fields that must come out.

use super::*;
use crate::FIELDS;
use crate::pbflow::{DataLink, DupMapEntry, Ip, Network, NetworkEvent, Transport};
use serde_json::{Map, Value as Json, json};

fn v4(text: &str) -> Option<Ip> {
    Some(Ip { ip_family: Some(IpFamily::Ipv4(text.parse::<Ipv4Addr>().unwrap().into())) })
}

fn v6(text: &str) -> Option<Ip> {
    Some(Ip { ip_family: Some(IpFamily::Ipv6(text.parse::<Ipv6Addr>().unwrap().octets().to_vec())) })
}

fn record(protocol: u32) -> Record {
    Record {
        eth_protocol: 0x0800,
        time_flow_start: Some(Timestamp { seconds: 1_700_000_000, nanos: 123_999_999 }),
        time_flow_end: Some(Timestamp { seconds: 1_700_000_001, nanos: 0 }),
        data_link: Some(DataLink { src_mac: 0x0a58_0000_0001, dst_mac: 0x0a58_0000_0002 }),
        network: Some(Network { src_addr: v4("10.0.0.1"), dst_addr: v4("10.0.0.2"), dscp: 8 }),
        transport: Some(Transport { src_port: 40_000, dst_port: 443, protocol }),
        bytes: 1_500,
        packets: 3,
        interface: "eth0".into(),
        agent_ip: v4("192.168.0.9"),
        flags: 0x110,
        ..Record::default()
    }
}

fn fields(record: &Record) -> Map<String, Json> {
    let flow = Flow::from_record(record, 1_700_000_002);
    let mut map = Map::new();
    for field in FIELDS {
        let mut json = Vec::new();
        field.get(&flow).append_json(&mut json);
        if !json.is_empty() {
            map.insert(field.name.to_owned(), serde_json::from_slice(&json).unwrap());
        }
    }
    map
}

#[track_caller]
fn check(record: &Record, wanted: Json) {
    let got = fields(record);
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(got.get(name).unwrap_or(&Json::Null), value, "{name}");
    }
}

#[test]
fn a_tcp_record_has_exactly_these_fields() {
    let wanted = json!({
        "TimeFlowStartMs": 1_700_000_000_123_u64, "TimeFlowEndMs": 1_700_000_001_000_u64, "TimeReceived": 1_700_000_002,
        "SrcAddr": "10.0.0.1", "DstAddr": "10.0.0.2", "SrcPort": 40_000, "DstPort": 443, "Proto": 6, "Dscp": 8,
        "Bytes": 1_500, "Packets": 3, "Flags": 0x110, "Etype": 2_048,
        "SrcMac": "0a:58:00:00:00:01", "DstMac": "0a:58:00:00:00:02", "AgentIP": "192.168.0.9",
        "Interface": "eth0", "IfDirection": 0, "Interfaces": ["eth0"], "IfDirections": [0], "Udns": [""],
    });
    assert_eq!(Json::Object(fields(&record(6))), wanted);
}

#[test]
fn icmp_has_type_and_code_and_no_ports() {
    let echo = Record { icmp_type: 8, ..record(1) };
    check(&echo, json!({"IcmpType": 8, "IcmpCode": 0, "SrcPort": null, "DstPort": null, "Flags": null, "Proto": 1}));
}

#[test]
fn other_protocols_have_neither() {
    check(&record(47), json!({"Proto": 47, "SrcPort": null, "IcmpType": null, "Flags": null}));
}

#[test]
fn a_frame_without_ip_has_macs_and_its_type_only() {
    let arp = Record { eth_protocol: 0x0806, ..record(0) };
    let absent = json!({"SrcAddr": null, "DstAddr": null, "Proto": null, "Dscp": null, "SrcPort": null});
    check(&arp, absent);
    check(&arp, json!({"Etype": 0x0806, "SrcMac": "0a:58:00:00:00:01", "Bytes": 1_500}));
}

#[test]
fn addresses_are_of_the_family_of_their_packet() {
    let network = Network { src_addr: v6("fd00::1"), dst_addr: v6("::ffff:10.1.2.3"), dscp: 0 };
    let ipv6 = Record { eth_protocol: 0x86dd, network: Some(network.clone()), ..record(17) };
    let wanted =
        json!({"SrcAddr": "fd00::1", "DstAddr": "::ffff:10.1.2.3", "Dscp": 0, "Flags": null, "SrcPort": 40_000});
    check(&ipv6, wanted);
    // An agent may send all addresses as 16 bytes.
    check(&Record { network: Some(network), ..record(17) }, json!({"DstAddr": "10.1.2.3"}));
}

#[test]
fn the_counting_interface_comes_first() {
    let seen = |name: &str, direction, udn: &str| DupMapEntry { interface: name.into(), direction, udn: udn.into() };
    let list = vec![seen("br0", 1, "ns/blue"), seen("veth1", 3, "")];
    let wanted =
        json!({"Interfaces": ["eth0", "br0", "veth1"], "IfDirections": [0, 1, 3], "Udns": ["", "ns/blue", ""]});
    check(&Record { dup_list: list.clone(), ..record(6) }, wanted);
    let listed = Record { dup_list: list, interface: "br0".into(), ..record(6) };
    check(&listed, json!({"Interfaces": ["br0", "veth1"], "Interface": "br0", "IfDirection": 1}));
}

#[test]
fn a_dns_answer_in_less_than_a_millisecond_has_a_latency() {
    let dns = Record {
        dns_id: 7,
        dns_flags: 0x8183,
        dns_latency: Some(Duration { seconds: 0, nanos: 900_000 }),
        dns_name: "example.org".into(),
        ..record(17)
    };
    check(
        &dns,
        json!({"DnsErrno": 0, "DnsId": 7, "DnsFlags": 0x8183, "DnsFlagsResponseCode": "NXDomain", "DnsLatencyMs": 0, "DnsLatencyUs": 900, "DnsName": "example.org"}),
    );
    check(&Record { dns_errno: 22, ..record(17) }, json!({"DnsErrno": 22, "DnsId": null, "DnsLatencyMs": null}));
    // A latency that was not measured is none.
    let unmeasured = Record { dns_latency: None, ..dns };
    check(&unmeasured, json!({"DnsErrno": 0, "DnsId": 7, "DnsLatencyMs": null, "DnsLatencyUs": null}));
}

#[test]
fn drops_name_the_state() {
    let drop = Record {
        pkt_drop_bytes: 60,
        pkt_drop_packets: 1,
        pkt_drop_latest_state: 10,
        pkt_drop_latest_drop_cause: 3,
        ..record(6)
    };
    let wanted =
        json!({"PktDropBytes": 60, "PktDropPackets": 1, "PktDropLatestFlags": 0, "PktDropLatestState": "TCP_LISTEN"});
    check(&drop, wanted);
    check(&drop, json!({"PktDropLatestDropCause": "3"}));
}

#[test]
fn translation_needs_both_addresses() {
    let xlat = pbflow::Xlat {
        src_addr: v4("1.1.1.1"),
        dst_addr: v4("2.2.2.2"),
        src_port: 0,
        dst_port: 80,
        zone_id: 4,
        icmp_id: 0,
    };
    let wanted = json!({"ZoneId": 4, "XlatSrcAddr": "1.1.1.1", "XlatDstAddr": "2.2.2.2", "XlatDstPort": 80, "XlatSrcPort": null});
    check(&Record { xlat: Some(xlat.clone()), ..record(6) }, wanted);
    let half = pbflow::Xlat { dst_addr: v4("0.0.0.0"), ..xlat };
    check(&Record { xlat: Some(half), ..record(6) }, json!({"ZoneId": null, "XlatSrcAddr": null}));
}

#[test]
fn tls_quic_and_ipsec_are_named() {
    let record = Record {
        ssl_version: 0x0303,
        ssl_mismatch: true,
        tls_types: 0b11,
        tls_cipher_suite: 0x1301,
        quic: Some(pbflow::Quic { version: 1, seen_long_hdr: 1, seen_short_hdr: 0 }),
        ipsec_encrypted_ret: -22,
        ..record(6)
    };
    check(&record, json!({"TLSVersion": "~ TLS 1.2", "TLSTypes": ["ClientHello", "ServerHello"], "TLSGroup": null}));
    check(&record, json!({"TLSCipherSuite": "TLS_AES_128_GCM_SHA256", "QuicVersion": "QUIC v1", "QuicSeenLongHdr": 1}));
    check(&record, json!({"IPSecRetCode": -22, "IPSecStatus": "error"}));
}

#[test]
fn processes_are_told_where_they_are_known() {
    let process = pbflow::Process { pid: 42, comm: "curl".into(), cgroup: "/a".into(), container: "7f".into() };
    let record = Record { src_process: Some(process), ..Record::default() };
    check(&record, json!({"SrcPid": 42, "SrcComm": "curl", "SrcCgroup": "/a", "SrcContainer": "7f"}));
}

#[test]
fn network_events_are_a_list_of_objects() {
    let event = NetworkEvent { events: [("Action".to_owned(), "drop".to_owned())].into() };
    check(
        &Record { network_events_metadata: vec![event], ..record(6) },
        json!({"NetworkEvents": [{"Action": "drop"}]}),
    );
}

#[test]
fn times_and_sizes_out_of_range_do_not_break() {
    let record = Record {
        bytes: u64::MAX,
        time_flow_start: Some(Timestamp { seconds: i64::MAX, nanos: i32::MAX }),
        time_flow_end: Some(Timestamp { seconds: -5, nanos: -1 }),
        agent_ip: Some(Ip { ip_family: Some(IpFamily::Ipv6(vec![1, 2, 3])) }),
        ..record(6)
    };
    check(&record, json!({"Bytes": i64::MAX, "TimeFlowEndMs": null, "AgentIP": null}));
}
