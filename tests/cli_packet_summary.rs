//! `summary` of a file of packets.

mod after_world;

use std::fs;
use std::path::Path;

use after_world::{assert_error, run};
use netobserv_testkit::Frame;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::name_resolution::{Ipv4Record, Ipv6Record, NameResolutionBlock, Record};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::blocks::unknown::UnknownBlock;
use pcap_file::pcapng::{Block, PcapNgWriter};
use pcap_file::{DataLink, Endianness};
use serde_json::{Value, json};

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const RST_ACK: u8 = 0x14;
const PSH_ACK: u8 = 0x18;

/// An answer of DNS that the name does not exist.
const NXDOMAIN: &[u8] = b"\0\x01\x81\x83\0\x01\0\0\0\0\0\0\x05wrong\x07example\0\0\x01\0\x01";

fn frames() -> Vec<Vec<u8>> {
    let from = |src: &str, dst: &str| Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(src, dst);
    let (client, server, gone, closed) = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4");
    vec![
        from(client, server).tcp(40_000, 80, SYN).build(),
        from(server, client).tcp(80, 40_000, SYN_ACK).build(),
        from(server, client).tcp(80, 40_000, PSH_ACK).payload(900).build(),
        from(client, gone).tcp(40_001, 443, SYN).build(),
        from(client, gone).tcp(40_001, 443, SYN).build(),
        from(client, closed).tcp(40_002, 22, SYN).build(),
        from(closed, client).tcp(22, 40_002, RST_ACK).build(),
        from("10.0.0.10", client).udp(53, 40_003).carrying(NXDOMAIN).build(),
        Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv6("fd00::1", "fd00::2").udp(1, 2).build(),
    ]
}

/// A packet with the verdict that the kernel dropped it, which pcap-file does not write.
fn dropped(data: &[u8], time: u64) -> Block<'static> {
    let comment = b"Common\nDrop Cause: NO_SOCKET\0\0\0";
    let mut value = Vec::new();
    for word in [0, (time >> 32) as u32, time as u32, data.len() as u32, data.len() as u32] {
        value.extend(word.to_le_bytes());
    }
    value.extend(data);
    value.resize(value.len().next_multiple_of(4), 0);
    value.extend([1, 0, 28, 0]);
    value.extend(&comment[..28]);
    value.extend([7, 0, 9, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Block::Unknown(UnknownBlock { type_: 6, length: 0, value: value.into() })
}

fn write(path: &Path) {
    let comment = vec![SectionHeaderOption::Comment("--port=80".into())];
    let header =
        SectionHeaderBlock { endianness: Endianness::Little, options: comment, ..SectionHeaderBlock::default() };
    let mut file = PcapNgWriter::with_section_header(fs::File::create(path).unwrap(), header).unwrap();
    let options =
        vec![InterfaceDescriptionOption::IfName("node/eth0".into()), InterfaceDescriptionOption::IfTsResol(9)];
    file.write_pcapng_block(InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options }).unwrap();
    let v4 = Ipv4Record { ip_addr: vec![10, 0, 0, 2].into(), names: vec!["shop/web".into()] };
    let mut v6 = Ipv6Record { ip_addr: vec![0; 16].into(), names: vec!["shop/six".into()] };
    v6.ip_addr.to_mut()[0] = 0xfd;
    v6.ip_addr.to_mut()[15] = 1;
    let records = vec![Record::Ipv4(v4), Record::Ipv6(v6)];
    file.write_pcapng_block(NameResolutionBlock { records, options: vec![] }).unwrap();
    for (number, data) in (0_u64..).zip(frames()) {
        let time = std::time::Duration::from_secs(1_700_000_000 + number);
        if number == 8 {
            file.write_block(&dropped(&data, time.as_nanos() as u64)).unwrap();
            continue;
        }
        file.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            timestamp: time,
            original_len: data.len() as u32,
            data: data.into(),
            options: vec![],
        })
        .unwrap();
    }
    let options = vec![InterfaceStatisticsOption::IsbIfDrop(6)];
    file.write_pcapng_block(InterfaceStatisticsBlock { interface_id: 0, timestamp: 0, options }).unwrap();
}

#[test]
fn packets_are_summarized() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.pcapng"));
    let done = run(dir.path(), &["summary", "a.pcapng"]);
    assert!(done.success(), "{done}");
    for text in [
        "a.pcapng: 2023-11-14T22:13:20Z to 2023-11-14T22:13:28Z",
        "options: --port=80",
        "9 packets, ",
        " in 5 conversations at 1 interfaces",
        "lost: 6 packets",
        "Next: wireshark a.pcapng",
    ] {
        assert!(done.stdout.contains(text), "{text}\n{done}");
    }
    let json: Value = serde_json::from_str(&run(dir.path(), &["summary", "a.pcapng", "-o", "json"]).stdout).unwrap();
    let all: usize = frames().iter().map(Vec::len).sum();
    assert_eq!((&json["packets"], &json["bytes"], &json["lost"]), (&json!(9), &json!(all), &json!(6)));
    let top = &json["top"][0];
    assert_eq!((&top["client"], &top["server"], &top["port"]), (&json!("10.0.0.1"), &json!("shop/web"), &json!(80)));
    assert_eq!(
        json["unanswered"],
        json!([{"client": "10.0.0.1", "server": "10.0.0.3", "port": 443, "protocol": "TCP", "attempts": 2, "packets": 2}])
    );
    assert_eq!(
        json["resets"],
        json!([{"client": "10.0.0.1", "server": "10.0.0.4", "port": 22, "protocol": "TCP", "resets": 1, "packets": 2}])
    );
    assert_eq!(json["dns"], json!([{"name": "wrong.example", "outcome": "NXDomain", "times": 1}]));
    assert_eq!(json["drops"], json!([{"cause": "NO_SOCKET", "packets": 1}]));
    assert!(json["top"].as_array().unwrap().iter().any(|talk| talk["client"] == "shop/six"), "{json}");
    let whole = fs::read(dir.path().join("a.pcapng")).unwrap();
    fs::write(dir.path().join("cut.pcapng"), &whole[..whole.len() - 3]).unwrap();
    assert_error(dir.path(), &["summary", "cut.pcapng"], 1, "cannot read cut.pcapng: it is cut after 12 blocks");
}
