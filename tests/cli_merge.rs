//! `merge`: every packet of several captures counts once, and what was lost is added.

mod after_world;

use std::fs;
use std::path::Path;

use after_world::{assert_error, record, run, write_database, write_json};
use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::{Block, PcapNgReader, PcapNgWriter};
use rusqlite::Connection;
use serde_json::{Value, json};

const CLIENT: (&str, u16) = ("10.0.0.1", 40_000);
const SERVER: (&str, u16) = ("10.0.0.2", 5432);

/// A record of the seconds from `start` to `end`.
fn during(start: u64, end: u64, bytes: u64) -> Value {
    let base = 1_700_000_000_000;
    record(
        CLIENT,
        SERVER,
        bytes,
        &json!({"TimeFlowStartMs": base + start * 1_000, "TimeFlowEndMs": base + end * 1_000}),
    )
}

fn number(dir: &Path, file: &str, sql: &str) -> i64 {
    let done = run(dir, &["query", file, &format!("--sql={sql}"), "-o", "csv"]);
    done.stdout.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{sql}: {done}"))
}

#[test]
fn a_conversation_in_two_files_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let other = record(("10.0.0.7", 1), ("10.0.0.8", 80), 500, &json!({}));
    write_json(&dir.path().join("a.json"), &[during(0, 1, 1_000), during(1, 2, 1_000), during(2, 3, 1_000)]);
    // The other node saw less of it, and began later; and another conversation.
    write_json(&dir.path().join("b.json"), &[during(1, 2, 900), during(2, 3, 1_000), other]);
    // This one comes after both.
    write_json(&dir.path().join("c.json"), &[during(60, 61, 7_000)]);
    let done = run(dir.path(), &["merge", "a.json", "b.json", "c.json", "-o", "all.json"]);
    assert_eq!(
        done.stdout, "all.json: 7 flows of 3 files; 2 of them are in another file too and count there\n",
        "{done}"
    );
    assert_eq!(number(dir.path(), "all.json", "SELECT sum(Bytes) FROM flow_once"), 3_000 + 500 + 7_000);
    assert_eq!(number(dir.path(), "all.json", "SELECT count(*) FROM flow WHERE Duplicate = 'forwarder'"), 2);
    assert_eq!(number(dir.path(), "all.json", "SELECT count(*) FROM conversation"), 2);
    let merged: Vec<Value> = serde_json::from_slice(&fs::read(dir.path().join("all.json")).unwrap()).unwrap();
    assert_eq!(merged[0]["Interfaces"], json!(["eth0"]), "nothing of a record is lost");
    // The order of the files does not matter.
    assert!(run(dir.path(), &["merge", "c.json", "b.json", "a.json", "-o", "turned.json"]).success());
    assert_eq!(number(dir.path(), "turned.json", "SELECT sum(Bytes) FROM flow_once"), 10_500);
}

/// A database of this program with what a capture knows of itself.
fn database(dir: &Path, name: &str, start: u64, node: &str) {
    write_database(&dir.join("go.db"), &[during(0, 1, 1_000)]);
    write_database(&dir.join("empty.db"), &[]);
    assert!(run(dir, &["merge", "go.db", "empty.db", "-o", name]).success());
    fs::remove_file(dir.join("go.db")).unwrap();
    fs::remove_file(dir.join("empty.db")).unwrap();
    let db = Connection::open(dir.join(name)).unwrap();
    let at = 1_700_000_000_000 + start * 1_000;
    db.execute_batch(&format!(
        "UPDATE flow_data SET TimeFlowStartMs = {at}, TimeFlowEndMs = {at} + 1000; DELETE FROM capture;
         INSERT INTO capture VALUES ('start', '2023-11-14T22:13:{:02}Z'), ('end', '2023-11-14T22:14:{:02}Z'), ('options', '--x={name}'),
            ('version', '0.1.0'), ('lost_kernel_packets', 9), ('agents', 2);
         INSERT INTO agent (node, version, lost_kernel_packets, interfaces) VALUES ('shared', '0.1.0', 4, 3), ('{node}', '0.1.0', 5, 2);
         INSERT INTO member (id, name) VALUES (0, '{node}-pod');
         CREATE TABLE finding (number INTEGER PRIMARY KEY, kind TEXT, sentence TEXT, evidence TEXT, certainty TEXT, remedy TEXT, change TEXT,
            client TEXT, server TEXT, protocol INTEGER, port INTEGER, count INTEGER, first_ms INTEGER, last_ms INTEGER, records TEXT, whole TEXT);
         INSERT INTO finding (kind, sentence) VALUES ('x', 'the same'), ('x', 'of {node}')",
        20 + start,
        20 + start
    ))
    .unwrap();
}

#[test]
fn losses_of_databases_are_added_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "a.db", 0, "one");
    database(dir.path(), "b.db", 30, "two");
    let done = run(dir.path(), &["merge", "a.db", "b.db", "-o", "both.db"]);
    assert_eq!(done.stdout, "both.db: 2 flows of 2 files\n", "{done}");
    let db = Connection::open(dir.path().join("both.db")).unwrap();
    let texts = |sql: &str| {
        let mut select = db.prepare(sql).unwrap();
        let rows = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let facts = "SELECT name || ' ' || value FROM capture ORDER BY name";
    assert_eq!(
        texts(facts),
        [
            "agents 3",
            "end 2023-11-14T22:14:50Z",
            "lost_kernel_packets 18",
            "merged a.db, b.db",
            "options --x=a.db; --x=b.db",
            "start 2023-11-14T22:13:20Z",
            "version 0.1.0",
        ]
    );
    assert_eq!(texts("SELECT node || lost_kernel_packets FROM agent ORDER BY 1"), ["one5", "shared8", "two5"]);
    assert_eq!(texts("SELECT name FROM member ORDER BY id"), ["one-pod", "two-pod"]);
    assert_eq!(texts("SELECT sentence FROM finding ORDER BY number"), ["the same", "of one", "of two"]);
    drop(db);
    assert_eq!(number(dir.path(), "both.db", "SELECT sum(Bytes) FROM flow_once"), 2_000);
    assert!(run(dir.path(), &["summary", "both.db"]).stdout.contains("lost kernel packets 18"));
}

fn write_pcapng(path: &Path, name: &str, times: &[u64]) {
    let mut file = PcapNgWriter::new(fs::File::create(path).unwrap()).unwrap();
    let options = vec![InterfaceDescriptionOption::IfName(name.into()), InterfaceDescriptionOption::IfTsResol(9)];
    file.write_pcapng_block(InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options }).unwrap();
    for time in times {
        file.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            timestamp: std::time::Duration::from_nanos(*time),
            original_len: 60,
            data: name.as_bytes().into(),
            options: vec![],
        })
        .unwrap();
    }
    let options = vec![InterfaceStatisticsOption::IsbIfDrop(times.len() as u64)];
    file.write_pcapng_block(InterfaceStatisticsBlock { interface_id: 0, timestamp: 0, options }).unwrap();
}

#[test]
fn packets_are_in_the_order_of_time() {
    let dir = tempfile::tempdir().unwrap();
    write_pcapng(&dir.path().join("a.pcapng"), "one", &[1, 4, 5]);
    write_pcapng(&dir.path().join("b.pcapng"), "two", &[2, 3, 6]);
    let done = run(dir.path(), &["merge", "a.pcapng", "b.pcapng", "-o", "both.pcapng"]);
    assert_eq!(done.stdout, "both.pcapng: 6 packets of 2 files\n", "{done}");
    let bytes = fs::read(dir.path().join("both.pcapng")).unwrap();
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let (mut packets, mut lost) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block.unwrap().into_owned() {
            Block::EnhancedPacket(packet) => {
                packets.push((packet.timestamp.as_nanos(), packet.interface_id, packet.data));
            }
            Block::InterfaceStatistics(counts) => lost.push((counts.interface_id, counts.options)),
            _ => {}
        }
    }
    let wanted = [(1, 0), (2, 1), (3, 1), (4, 0), (5, 0), (6, 1)];
    assert_eq!(packets.iter().map(|(time, interface, _)| (*time, *interface)).collect::<Vec<_>>(), wanted);
    assert!(packets.iter().all(|(_, interface, data)| **data == *[b"one", b"two"][*interface as usize]));
    let dropped = |number| vec![InterfaceStatisticsOption::IsbIfDrop(number)];
    assert_eq!(lost, [(0, dropped(3)), (1, dropped(3))]);
    let names = reader.interfaces().iter().map(|interface| format!("{:?}", interface.options[0]));
    assert_eq!(names.collect::<Vec<_>>(), ["IfName(\"one\")", "IfName(\"two\")"]);
}

#[test]
fn what_cannot_be_merged_is_one_sentence_and_no_file() {
    let dir = tempfile::tempdir().unwrap();
    write_json(&dir.path().join("a.json"), &[during(0, 1, 1_000)]);
    write_database(&dir.path().join("b.db"), &[during(0, 1, 1_000)]);
    write_pcapng(&dir.path().join("c.pcapng"), "one", &[1]);
    let whole = fs::read(dir.path().join("c.pcapng")).unwrap();
    fs::write(dir.path().join("cut.pcapng"), &whole[..whole.len() - 3]).unwrap();
    fs::write(dir.path().join("empty"), b"").unwrap();
    for (files, text) in [
        (["a.json", "b.db"], "a.json and b.db are of different formats"),
        (["a.json", "./a.json"], "./a.json is named twice"),
        (["a.json", "empty"], "empty is empty"),
        (["c.pcapng", "cut.pcapng"], "cannot read cut.pcapng: it is cut after 3 blocks"),
        (["a.json", "gone.json"], "cannot read gone.json: No such file"),
        (["a.json", "."], ". is a directory"),
    ] {
        assert_error(dir.path(), &["merge", files[0], files[1], "-o", "out"], 1, text);
    }
    write_json(&dir.path().join("d.json"), &[during(0, 1, 1_000)]);
    assert_error(dir.path(), &["merge", "a.json", "d.json", "-o", "a.json"], 1, "a.json is the file to read");
    assert_error(dir.path(), &["merge", "a.json", "-o", "x"], 2, "FILE");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 6, "nothing half-written: {names:?}");
}
