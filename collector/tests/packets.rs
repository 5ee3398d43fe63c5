//! A capture of packets as an agent and a reader see it: batches in, files out.

mod support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netobserv_testkit::{Run, Signal, wait_for};
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::Block;
use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
use support::SOON;
use support::packets::{Capture, frame, tshark};

/// Longer than a reader that stands still is waited for.
const LONG: Duration = Duration::from_secs(120);
const START: u64 = 1_700_000_000_000_000_000;

#[test]
fn packets_of_two_nodes_are_in_one_file_in_order() {
    let capture = Capture::start(&[]);
    let (one, two) = (capture.agent("node1"), capture.agent("node2"));
    one.send(&[(START + 10, frame(1, 100)), (START + 30, frame(1, 100))]);
    two.send(&[(START + 20, frame(2, 60)), (START + 40, frame(2, 60))]);
    let ended = capture.stop(Signal::SIGINT);
    let file = ended.only_file();
    let rows = tshark(
        &file,
        &["frame.time_epoch", "frame.interface_name", "udp.srcport", "frame.len", "frame.packet_flags_direction"],
    );
    let expected = [
        ("010", "node1/eth0", "1"),
        ("020", "node2/eth0", "2"),
        ("030", "node1/eth0", "1"),
        ("040", "node2/eth0", "2"),
    ];
    assert_eq!(rows.len(), 4);
    for (row, (time, name, port)) in rows.iter().zip(expected) {
        assert_eq!(
            (row[0].as_str(), row[1].as_str(), row[2].as_str()),
            (format!("1700000000.000000{time}").as_str(), name, port)
        );
    }
    assert_eq!(rows[0][4], "0x00000001");
}

#[test]
fn the_file_explains_itself() {
    let capture = Capture::start(&["--options", "port=80"]);
    let agent = capture.agent("node1");
    agent.send(&[(START, frame(1, 100)), (START + 1, frame(1, 100))]);
    agent.lose(7);
    agent.send(&[(START + 2, frame(1, 100))]);
    agent.send_dropped(START + 3, &frame(1, 100), "NO_SOCKET");
    let ended = capture.stop(Signal::SIGINT);
    assert!(ended.stdout().contains("lost: in the kernel 7 packets"), "{}", ended.stdout());
    let file = ended.only_file();
    let rows = tshark(
        &file,
        &["frame.comment", "frame.packet_id", "frame.drop_count", "frame.verdict.ebpf_tc", "frame.interface_name"],
    );
    let comment = "Source\\nSrc IP: 10.0.0.1\\nSrc Port: 1,Destination\\nDst IP: 10.0.0.2\\nDst Port: 80(http),Common\\nBytes: 142B\\nL3 Protocol: UDP";
    assert_eq!(rows[0][0], comment);
    assert_eq!((rows[1][0].as_str(), rows[1][2].as_str()), ("", ""));
    assert!(rows.iter().all(|row| row[1] == rows[0][1] && !row[1].is_empty()), "one packet, seen often: {rows:?}");
    assert_eq!((rows[2][2].as_str(), rows[2][3].as_str()), ("7", ""));
    assert_eq!(
        (rows[3][0].as_str(), rows[3][3].as_str(), rows[3][4].as_str()),
        ("Drop Cause: NO_SOCKET", "2", "drop@node1")
    );
    let info = Run::new("capinfos").arg(&file).output();
    for told in ["port=80", "File timestamp precision:  nanoseconds", "netobserv-collector"] {
        assert!(info.contains(told), "{told}: {info}");
    }
    assert_eq!(dropped(&file), [7, 0], "at each interface, in the order of the file");
}

#[test]
fn packets_that_the_filter_does_not_want_are_left_out_and_counted() {
    let words = ["--filter", "udp and src port 1 and less 120", "--query=ip:10.0.0.1", "--query=port=7"];
    let capture = Capture::start(&words);
    let agent = capture.agent("node1");
    agent.send(&[(START, frame(1, 60)), (START + 1, frame(1, 200)), (START + 2, frame(2, 60))]);
    agent.lose(3);
    agent.send(&[(START + 3, frame(2, 60)), (START + 4, frame(1, 60))]);
    let ended = capture.stop(Signal::SIGINT);
    assert!(ended.stdout().contains("3 packets left out by the filter"), "{}", ended.stdout());
    let rows = tshark(&ended.only_file(), &["udp.srcport", "frame.len", "frame.drop_count"]);
    // What was lost before a packet that is left out is on the next one that is not.
    assert_eq!(rows, [["1", "102", ""], ["1", "102", "3"]]);
}

#[test]
fn what_packets_do_not_have_is_refused_with_its_place() {
    for (words, told) in [
        (["--filter", "udp and rtt>5ms"], "packets do not have TimeFlowRttNs"),
        (["--query", "pod:web"], "pod web has no number: use --select=1:pod=web"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let run = support::program(&["get-packets", "--insecure"]).args(words).dir(dir.path());
        let finished = run.finish();
        assert!(finished.code() == 2 && finished.stderr.contains(told) && finished.stderr.contains('^'), "{finished}");
    }
}

/// What the interface statistics say was dropped; capinfos 4.0 does not print it.
fn dropped(file: &Path) -> Vec<u64> {
    let mut reader = PcapNgReader::new(File::open(file).unwrap()).unwrap();
    let mut found = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::InterfaceStatistics(statistics) = block.unwrap() {
            let options = statistics.options.iter();
            found.extend(options.filter_map(|option| match option {
                InterfaceStatisticsOption::IsbIfDrop(count) => Some(*count),
                _ => None,
            }));
        }
    }
    found
}

#[test]
fn comments_are_where_they_are_wanted() {
    for (words, expected) in [(["--comments", "every"], [3, 3]), (["--comments", "none"], [0, 0])] {
        let capture = Capture::start(&words);
        capture.agent("n").send(&[(START, frame(1, 50)), (START + 1, frame(1, 50))]);
        let rows = tshark(&capture.stop(Signal::SIGINT).only_file(), &["frame.comment"]);
        let comments = |row: &Vec<String>| if row[0].is_empty() { 0 } else { row[0].split(',').count() };
        assert_eq!(rows.iter().map(comments).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn pcap_is_for_everyone() {
    let capture = Capture::start(&["--format", "pcap"]);
    capture.agent("n").send(&[(START + 5, frame(1, 50))]);
    let ended = capture.stop(Signal::SIGINT);
    let file = ended.only_file();
    assert_eq!(file.extension().unwrap(), "pcap");
    assert_eq!(tshark(&file, &["frame.time_epoch", "udp.dstport"]), [["1700000000.000000005", "80"]]);
}

#[test]
fn a_ring_of_files_keeps_the_youngest_and_each_is_whole() {
    let capture = Capture::start(&["--max-file-size", "100000", "--max-files", "3", "--maxbytes", "0"]);
    let agent = capture.agent("n");
    for batch in 0..30_u64 {
        let packets: Vec<_> = (0..50).map(|n| (START + batch * 50 + n, frame(1, 1000))).collect();
        agent.send(&packets);
    }
    let ended = capture.stop(Signal::SIGINT);
    let files = ended.packet_files();
    assert_eq!(files.len(), 3, "{files:?}");
    let mut last = None;
    for file in &files {
        assert!(file.metadata().unwrap().len() <= 100_000, "{}", file.display());
        let rows = tshark(file, &["frame.time_epoch", "frame.comment"]);
        assert!(!rows[0][1].is_empty(), "a file tells its flows itself");
        assert!(last.as_ref() < Some(&rows[0][0]));
        last = rows.last().map(|row| row[0].clone());
    }
    assert_eq!(last.unwrap(), format!("1700000000.{:09}", 1499));
    assert!(ended.stdout().contains("1,500 packets, 1.56MB"), "{}", ended.stdout());
}

#[test]
fn standard_output_has_packets_only_and_while_they_come() {
    let capture = Capture::start(&["-w", "-"]);
    let agent = capture.agent("n");
    agent.send(&[(START, frame(1, 50))]);
    assert!(wait_for(SOON, || capture.stdout_bytes() > 200), "nothing came");
    let ended = capture.stop(Signal::SIGINT);
    assert!(ended.finished.stderr.contains("1 packets"), "{}", ended.finished);
    assert!(!ended.output().join("pcap").exists());
}

/// Nobody closes the pipe, and nobody reads it: the limit holds, and what did not go through is counted.
#[test]
fn an_output_that_nobody_reads_does_not_keep_a_capture_from_its_end() {
    let capture = Capture::start_unread(&["-w", "-", "--maxtime", "2s", "--maxbytes", "0"]);
    let (agent, mut sent) = (capture.agent("n"), 0);
    // More than a pipe holds.
    while sent < 1_000 && agent.try_send(&(0..50).map(|n| (START + sent + n, frame(1, 1400))).collect::<Vec<_>>()) {
        sent += 50;
    }
    assert!(wait_for(LONG, || capture.stderr().contains("ended with ")), "it goes on: {}", capture.stderr());
    let said = capture.stderr();
    assert!(said.ends_with("ended with 0\n"), "{said}");
    let lost = said.split_once("not in the file ").expect(&said).1.split(' ').next().unwrap().replace(',', "");
    let written = said.split_once("standard output: ").expect(&said).1.split(' ').next().unwrap().replace(',', "");
    let number = |text: String| text.parse::<u64>().expect("a number");
    assert_eq!(number(lost) + number(written), sent, "{said}");
}

#[test]
fn a_killed_collector_leaves_whole_packets() {
    let mut capture = Capture::start(&["--maxbytes", "0"]);
    let agent = capture.agent("n");
    let (mut sent, start) = (0, Instant::now());
    while start.elapsed() < Duration::from_millis(1500) {
        let packets: Vec<_> = (0..100).map(|n| (START + sent + n, frame(1, 1400))).collect();
        agent.send(&packets);
        sent += 100;
    }
    capture.kill();
    let rows = tshark(&capture.only_file(), &["frame.time_epoch"]);
    assert!(rows.len() > 100, "{} of {sent} packets", rows.len());
}

#[test]
fn a_full_disk_ends_the_capture_behind_a_whole_packet() {
    netobserv_testkit::require_privileged!();
    let disk = netobserv_testkit::tmpfs::Tmpfs::new(1 << 20);
    let capture = Capture::start_into(&disk.path().join("output"), &["--maxbytes", "0"]);
    let agent = capture.agent("n");
    let mut sent = 0;
    while sent < 5_000 && agent.try_send(&(0..50).map(|n| (START + sent + n, frame(1, 1400))).collect::<Vec<_>>()) {
        sent += 50;
    }
    let ended = capture.ended();
    assert_eq!(ended.finished.code(), 1);
    assert!(ended.finished.stderr.contains("No space left"), "{}", ended.finished);
    assert!(ended.finished.stderr.contains("free some space"), "{}", ended.finished);
    let rows = tshark(&ended.only_file(), &["frame.time_epoch"]);
    assert!(rows.len() > 500 && (rows.len() as u64) < sent, "{} of {sent}", rows.len());
    let lost = format!("not in the file {} packets", netobserv_collector::human::count(sent - rows.len() as u64));
    assert!(ended.stdout().contains(&lost), "{lost}: {}", ended.stdout());
}

#[test]
fn secrets_stand_before_the_packets_they_serve() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let capture = Capture::start(&["--tls-keylog", keys.to_str().unwrap()]);
    let agent = capture.agent("n");
    agent.send(&[(START, frame(1, 50))]);
    std::fs::write(&keys, "CLIENT_RANDOM 0102 0304\nnot a secret\n").unwrap();
    agent.send(&[(START + 1, frame(1, 50))]);
    let ended = capture.stop(Signal::SIGINT);
    assert!(ended.stdout().contains("1 lines of the key log are not secrets"), "{}", ended.stdout());
    assert_eq!(order_of_blocks(&ended.only_file(), &[6, 10]).last(), Some(&6));
    assert!(order_of_blocks(&ended.only_file(), &[6, 10]).contains(&10));
}

/// Types of the blocks of a file, those that are wanted.
fn order_of_blocks(file: &Path, wanted: &[u32]) -> Vec<u32> {
    let (bytes, mut at, mut types) = (std::fs::read(file).unwrap(), 0, vec![]);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    while at < bytes.len() {
        types.push(word(at));
        at += word(at + 4) as usize;
    }
    types.retain(|kind| wanted.contains(kind));
    types
}

#[test]
fn a_batch_that_comes_again_is_written_once() {
    let capture = Capture::start(&[]);
    let agent = capture.agent("n");
    agent.send_numbered(1, &[(START, frame(1, 50))]);
    agent.send_numbered(1, &[(START, frame(1, 50))]);
    agent.send_numbered(2, &[(START + 1, frame(1, 50))]);
    assert_eq!(tshark(&capture.stop(Signal::SIGTERM).only_file(), &["frame.number"]).len(), 2);
}

#[test]
fn the_byte_limit_ends_the_capture() {
    let capture = Capture::start(&["--maxbytes", "20000"]);
    let agent = capture.agent("n");
    let mut sent = 0;
    while !agent.send(&[(START + sent, frame(1, 1000))]) {
        sent += 1;
        assert!(sent < 100_000, "no end in sight");
    }
    agent.last();
    let ended = capture.ended();
    assert!(ended.stdout().contains("Capture reached 20KB, exiting now..."), "{}", ended.finished);
    assert!(ended.only_file().metadata().unwrap().len() >= 20_000);
}

#[test]
fn an_output_that_is_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output: PathBuf = dir.path().join("file");
    std::fs::write(&output, "").unwrap();
    let ended = support::program(&["get-packets", "--listen", "127.0.0.1:0", "--output-dir"]).arg(&output).finish();
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("choose another with --output-dir"), "{ended}");
}
