//! `redact`: no address, name or payload of a capture is in its copy, and everything else still is.

mod after_world;

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use after_world::{assert_error, record, run, write_database, write_json};
use netobserv_testkit::Frame;
use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::name_resolution::{Ipv4Record, NameResolutionBlock, Record};
use pcap_file::pcapng::blocks::unknown::UnknownBlock;
use pcap_file::pcapng::{Block, PcapNgReader, PcapNgWriter};
use rusqlite::Connection;
use serde_json::{Value, json};

/// Texts that are in the captures below, and must not be in their copies.
const SECRET: [&str; 22] = [
    "10.11.12.13",
    "10.11.12.14",
    "10.11.99.1",
    "203.0.113.77",
    "fd00:aa::17",
    "3c:22:fb:01:02:03",
    "checkout-pod",
    "checkoutns",
    "paymentsowner",
    "bluenode",
    "greenzone",
    "acmecluster",
    "frontdb",
    "intra-secret",
    "hostveth77",
    "tenantnet",
    "sidecarproc",
    "kubepods-burst-xyz",
    "abcdef0123456789",
    "denypolicy",
    "unknownvalue",
    "UnknownField",
];

/// A record with every kind of field that names something.
fn named() -> Value {
    record(
        ("10.11.12.13", 40_000),
        ("10.11.12.14", 5432),
        7_000,
        &json!({
            "SrcMac": "3c:22:fb:01:02:03", "DstMac": "ff:ff:ff:ff:ff:ff", "AgentIP": "10.11.99.1", "SrcK8S_HostIP": "10.11.99.1",
            "SrcK8S_Name": "checkout-pod", "SrcK8S_Namespace": "checkoutns", "SrcK8S_OwnerName": "paymentsowner",
            "SrcK8S_OwnerType": "Deployment", "SrcK8S_HostName": "bluenode", "SrcK8S_Zone": "greenzone",
            "DstK8S_Name": "frontdb", "DstK8S_Namespace": "checkoutns", "DstK8S_OwnerName": "frontdb",
            "SrcK8S_NetworkName": "tenantnet", "K8S_ClusterName": "acmecluster", "Interfaces": ["hostveth77"], "Udns": ["tenantnet"],
            "XlatDstAddr": "203.0.113.77", "XlatDstPort": 5432, "XlatDstK8S_Name": "frontdb", "OrigSrcAddr": "fd00:aa::17",
            "DnsName": "frontdb.checkoutns.svc.cluster.local", "DnsFlagsResponseCode": "NXDomain", "DnsId": 7,
            "NetworkEvents": [{"Feature": "acl", "Action": "drop", "Name": "denypolicy"}],
            "PktDropPackets": 4, "PktDropBytes": 400, "PktDropLatestDropCause": "SKB_DROP_REASON_NETFILTER_DROP",
            "PktDropCauses": [{"Cause": "SKB_DROP_REASON_NETFILTER_DROP", "Packets": 4, "Bytes": 400}],
            "SrcComm": "sidecarproc", "SrcCgroup": "/kubepods.slice/kubepods-burst-xyz", "SrcContainer": "abcdef0123456789",
            "SrcSubnetLabel": "intra-secret", "UnknownField": "unknownvalue", "TimeFlowRttNs": 2_000_000
        }),
    )
}

#[track_caller]
fn assert_nothing_left(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    for secret in SECRET {
        assert!(!text.contains(&secret.to_lowercase()), "{secret} is left in it: {text}");
    }
    for address in ["10.11.12.13", "10.11.12.14", "10.11.99.1", "203.0.113.77"] {
        let octets = match address.parse().unwrap() {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(_) => unreachable!(),
        };
        assert!(!bytes.windows(4).any(|window| window == octets), "{address} is left in it");
    }
}

fn redact(dir: &Path, words: &[&str]) -> String {
    let done = run(dir, &[&["redact"], words].concat());
    assert!(done.success(), "{done}");
    done.stdout
}

#[test]
fn flows_keep_what_was_measured_and_no_name() {
    let dir = tempfile::tempdir().unwrap();
    write_json(
        &dir.path().join("a.json"),
        &[named(), record(("10.11.12.14", 5432), ("10.11.12.13", 40_000), 900, &json!({}))],
    );
    let printed = redact(dir.path(), &["a.json"]);
    assert!(
        printed.starts_with("a.redacted.json: 2 flows; 6 addresses and ") && printed.contains("left out: UnknownField"),
        "{printed}"
    );
    let bytes = fs::read(dir.path().join("a.redacted.json")).unwrap();
    assert_nothing_left(&bytes);
    let flows: Value = serde_json::from_slice(&bytes).unwrap();
    let (there, back) = (&flows[0], &flows[1]);
    assert_eq!((&there["SrcAddr"], &there["DstAddr"]), (&back["DstAddr"], &back["SrcAddr"]), "consistent");
    assert_eq!(there["ConversationId"], back["ConversationId"]);
    assert_eq!(there["SrcK8S_Namespace"], there["DstK8S_Namespace"]);
    let namespace = there["SrcK8S_Namespace"].as_str().unwrap();
    let name = there["DstK8S_Name"].as_str().unwrap();
    assert_eq!(there["DnsName"], format!("{name}.{namespace}.svc.cluster.local"));
    let [src, dst] = ["SrcAddr", "DstAddr"].map(|end| there[end].as_str().unwrap().to_owned());
    assert!(
        src.starts_with("10.") && src.rsplit_once('.').unwrap().0 == dst.rsplit_once('.').unwrap().0,
        "one subnet: {src} {dst}"
    );
    for (field, value) in [
        ("SrcPort", json!(40_000)),
        ("Bytes", json!(7_000)),
        ("TimeFlowRttNs", json!(2_000_000)),
        ("PktDropLatestDropCause", json!("SKB_DROP_REASON_NETFILTER_DROP")),
        ("DnsFlagsResponseCode", json!("NXDomain")),
        ("SrcK8S_OwnerType", json!("Deployment")),
        ("DstMac", json!("ff:ff:ff:ff:ff:ff")),
        ("TimeFlowStartMs", json!(1_700_000_000_000_u64)),
    ] {
        assert_eq!(there[field], value, "{field}");
    }
    redact(dir.path(), &["a.json", "-o", "again.json"]);
    let again: Value = serde_json::from_slice(&fs::read(dir.path().join("again.json")).unwrap()).unwrap();
    assert_ne!(again[0]["SrcK8S_Name"], there["SrcK8S_Name"], "each command has its key");
}

#[test]
fn a_database_is_copied_table_by_table() {
    let dir = tempfile::tempdir().unwrap();
    // A copy of a database of the Go program is one of this program.
    write_database(&dir.path().join("go.db"), &[named()]);
    redact(dir.path(), &["go.db", "-o", "a.db"]);
    let db = Connection::open(dir.path().join("a.db")).unwrap();
    db.execute_batch(
        "UPDATE flow_data SET SrcAddr = '10.11.12.13', DstAddr = '10.11.12.14', DnsName = 'frontdb.checkoutns.svc.cluster.local',
            SrcMac = '3c:22:fb:01:02:03', Interfaces = '[\"hostveth77\"]', ConversationId = 12345, SrcEnd = 1, Other = '{\"UnknownField\":\"unknownvalue\"}';
         INSERT INTO endpoint (id, Name, Namespace, Type, HostName, HostIP) VALUES (1, 'checkout-pod', 'checkoutns', 'Pod', 'bluenode', '10.11.99.1');
         VACUUM",
    )
    .unwrap();
    db.execute_batch(
        "INSERT OR REPLACE INTO capture VALUES ('options', '--pod=checkoutns/checkout-pod --enable_dns'), ('namespace', 'checkoutns'),
            ('start', '2023-11-14T22:13:20Z'), ('lost_kernel_packets', 9), ('selected', 'checkoutns/checkout-pod: 10.11.12.13');
         INSERT INTO agent (node, version, lost_kernel_packets) VALUES ('bluenode', '0.1.0', 9);
         INSERT INTO member (id, kind, namespace, name, node, address) VALUES (1, 'Pod', 'checkoutns', 'checkout-pod', 'bluenode', '10.11.12.13');
         INSERT INTO between_nodes SELECT ConversationId, 1, 'bluenode', 'greenzone', 5, 4, 0 FROM flow LIMIT 1;
         CREATE TABLE finding (number INTEGER, sentence TEXT); INSERT INTO finding VALUES (1, 'checkout-pod has no answer');
         CREATE TABLE secret (unknownvalue TEXT); INSERT INTO secret VALUES ('unknownvalue');",
    )
    .unwrap();
    drop(db);
    let printed = redact(dir.path(), &["a.db"]);
    assert!(
        printed.contains(
            "left out: UnknownField, selected of the capture, the findings, which are found again in the flows"
        ),
        "{printed}"
    );
    assert_nothing_left(&fs::read(dir.path().join("a.redacted.db")).unwrap());
    let db = Connection::open(dir.path().join("a.redacted.db")).unwrap();
    let text = |sql: &str| {
        db.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    };
    assert_eq!(text("SELECT value FROM capture WHERE name = 'options'"), "--pod=... --enable_dns");
    assert_eq!(text("SELECT CAST(sum(lost_kernel_packets) AS TEXT) FROM agent"), "9");
    let nodes = "SELECT group_concat(DISTINCT name) FROM (SELECT node AS name FROM agent UNION SELECT node FROM member
        UNION SELECT FromNode FROM between_nodes UNION SELECT SrcK8S_HostName FROM flow)";
    assert_eq!(text(nodes).matches("name-").count(), 1, "one node: {}", text(nodes));
    let joined = "SELECT CAST(count(*) AS TEXT) FROM between_nodes JOIN flow USING (ConversationId) JOIN member ON member.address = flow.SrcAddr";
    assert_eq!(text(joined), "1");
    drop(db);
    let summary = run(dir.path(), &["summary", "a.redacted.db"]);
    assert!(
        summary.stdout.contains("lost: lost kernel packets 9") && summary.stdout.contains("NETFILTER_DROP"),
        "{summary}"
    );
}

const PAYLOAD: &[u8] = b"GET /intra-secret HTTP/1.1 cookie=abcdef0123456789";

fn frames() -> [Vec<u8>; 3] {
    let frame = || Frame::new([0x3c, 0x22, 0xfb, 1, 2, 3], [0x3c, 0x22, 0xfb, 1, 2, 4]);
    [
        frame().ipv4("10.11.12.13", "10.11.12.14").tcp(40_000, 80, 0x18).carrying(PAYLOAD).build(),
        frame().ipv4("10.11.12.14", "203.0.113.77").udp(40_001, 53).carrying(b"\x01\x07frontdb\x0acheckoutns").build(),
        frame().ipv6("fd00:aa::17", "fd00:aa::18").tcp(40_002, 443, 2).build(),
    ]
}

fn write_pcapng(path: &Path) {
    let mut file = PcapNgWriter::new(fs::File::create(path).unwrap()).unwrap();
    let options = vec![
        InterfaceDescriptionOption::IfName("bluenode/hostveth77".into()),
        InterfaceDescriptionOption::IfTsResol(9),
    ];
    file.write_pcapng_block(InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options }).unwrap();
    let names = Record::Ipv4(Ipv4Record { ip_addr: vec![10, 11, 12, 13].into(), names: vec!["checkout-pod".into()] });
    file.write_pcapng_block(NameResolutionBlock { records: vec![names], options: vec![] }).unwrap();
    let secrets = UnknownBlock { type_: 10, length: 0, value: b"KSLT\x14\0\0\0CLIENT_RANDOM unknow".as_slice().into() };
    file.write_block(&Block::Unknown(secrets)).unwrap();
    for (number, data) in (0_u64..).zip(frames()) {
        file.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            timestamp: std::time::Duration::from_nanos(1_700_000_000_000_000_000 + number),
            original_len: data.len() as u32,
            data: data.into(),
            options: vec![
                EnhancedPacketOption::Comment("Src Name: checkout-pod".into()),
                EnhancedPacketOption::DropCount(number),
            ],
        })
        .unwrap();
    }
}

fn blocks(bytes: &[u8]) -> Vec<Block<'static>> {
    let mut reader = PcapNgReader::new(bytes).unwrap();
    std::iter::from_fn(|| reader.next_block().map(|block| block.unwrap().into_owned())).collect()
}

#[test]
fn packets_keep_their_headers_only() {
    let dir = tempfile::tempdir().unwrap();
    write_pcapng(&dir.path().join("a.pcapng"));
    write_json(&dir.path().join("a.json"), &[named()]);
    fs::create_dir(dir.path().join("out")).unwrap();
    let printed = redact(dir.path(), &["a.pcapng", "a.json", "-o", "out"]);
    let wanted = "out/a.redacted.pcapng: 3 packets without payload; ";
    assert!(
        printed.starts_with(wanted)
            && printed.contains("left out: comments, names of addresses, secrets of connections"),
        "{printed}"
    );
    let bytes = fs::read(dir.path().join("out/a.redacted.pcapng")).unwrap();
    assert_nothing_left(&bytes);
    assert!(!bytes.windows(8).any(|window| PAYLOAD.windows(8).any(|secret| window == secret)), "of the payload");
    assert!(!bytes.windows(13).any(|window| window == b"CLIENT_RANDOM"));
    let blocks = blocks(&bytes);
    let [Block::InterfaceDescription(_), packets @ ..] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(packets.len(), 3);
    for (number, (block, frame)) in packets.iter().zip(frames()).enumerate() {
        let Block::EnhancedPacket(packet) = block else { panic!("{block:?}") };
        assert_eq!((packet.original_len as usize, packet.timestamp.subsec_nanos() as usize), (frame.len(), number));
        assert!(packet.data.len() <= 74 && packet.data[12..14] == frame[12..14], "{packet:?}");
    }
    // Of the flow in the other file.
    let flows: Value = serde_json::from_slice(&fs::read(dir.path().join("out/a.redacted.json")).unwrap()).unwrap();
    let address: IpAddr = flows[0]["SrcAddr"].as_str().unwrap().parse().unwrap();
    let Block::EnhancedPacket(first) = &packets[0] else { unreachable!() };
    assert_eq!(address, IpAddr::from(<[u8; 4]>::try_from(&first.data[26..30]).unwrap()), "the same in both files");
}

#[test]
fn what_cannot_be_redacted_is_one_sentence_and_no_file() {
    let dir = tempfile::tempdir().unwrap();
    write_pcapng(&dir.path().join("a.pcapng"));
    let whole = fs::read(dir.path().join("a.pcapng")).unwrap();
    fs::write(dir.path().join("cut.pcapng"), &whole[..whole.len() - 5]).unwrap();
    fs::write(dir.path().join("empty"), b"").unwrap();
    write_json(&dir.path().join("a.json"), &[named()]);
    let json = fs::read(dir.path().join("a.json")).unwrap();
    fs::write(dir.path().join("cut.json"), &json[..json.len() - 9]).unwrap();
    let mut raw = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0];
    fs::write(dir.path().join("raw.pcap"), &raw).unwrap();
    raw[20] = 1;
    raw.extend([0; 15]);
    fs::write(dir.path().join("cut.pcap"), &raw).unwrap();
    for (file, text) in [
        ("cut.pcapng", "cannot redact cut.pcapng: it is cut after 6 blocks"),
        ("cut.json", "cannot read cut.json after 0 flows: EOF"),
        ("raw.pcap", "its packets have link type 101: only Ethernet (1) is understood"),
        ("cut.pcap", "it is cut after 0 packets"),
        ("empty", "empty is empty"),
        (".", ". is a directory"),
        ("gone.db", "cannot read gone.db: No such file"),
    ] {
        assert_error(dir.path(), &["redact", file], 1, text);
    }
    assert_error(dir.path(), &["redact", "a.json", "-o", "a.json"], 1, "a.json is the file to read");
    assert_error(
        dir.path(),
        &["redact", "a.json", "a.pcapng", "-o", "x"],
        1,
        "x is no directory, which -o needs for several files",
    );
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files.len(), 7, "nothing half-written: {files:?}");
}
