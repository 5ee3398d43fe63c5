//! Packets of this machine: what is in the file is what tcpdump sees, and Wireshark's programs read all that is told of it.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use netobserv_testkit::ethtool::set_offloads;
use netobserv_testkit::proc::binaries;
use netobserv_testkit::{LocalCapture, Pair, Process, Run, Signal, https, require_privileged, wait_for};

const SOON: Duration = Duration::from_secs(20);
/// Heads of a classic pcap file and of a packet in it.
const FILE_HEAD: usize = 24;
const PACKET_HEAD: usize = 16;

/// A packet as a classic pcap file has it.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Packet {
    time_ns: u64,
    original: u32,
    data: Vec<u8>,
}

#[track_caller]
fn read_pcap(path: &Path) -> Vec<Packet> {
    let (bytes, mut at, mut packets) = (std::fs::read(path).unwrap(), FILE_HEAD, vec![]);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0xa1b2_3c4d, "nanoseconds");
    while at < bytes.len() {
        let [seconds, nanos, captured, original] = std::array::from_fn(|i| word(at + 4 * i));
        let data = bytes[at + PACKET_HEAD..][..captured as usize].to_vec();
        packets.push(Packet { time_ns: u64::from(seconds) * 1_000_000_000 + u64::from(nanos), original, data });
        at += PACKET_HEAD + captured as usize;
    }
    packets
}

/// A pcapng file in the other format, by Wireshark's own converter.
#[track_caller]
fn as_pcap(pcapng: &Path) -> Vec<Packet> {
    let converted = pcapng.with_extension("converted");
    let finished = Run::new("editcap").args(["-F", "nsecpcap"]).arg(pcapng).arg(&converted).finish();
    assert!(finished.success() && finished.stderr.is_empty(), "{finished}");
    read_pcap(&converted)
}

/// Fields of the packets that tshark shows; it has nothing to say beside.
#[track_caller]
fn tshark(file: &Path, options: &[&str], fields: &[&str]) -> Vec<Vec<String>> {
    let fields = fields.iter().flat_map(|field| ["-e", *field]);
    let run = Run::new("tshark").arg("-r").arg(file).args(["-T", "fields", "-E", "separator=/t"]);
    let finished = run.args(options).args(fields).finish();
    let said: Vec<&str> = finished.stderr.lines().filter(|line| !line.contains("Running as user")).collect();
    assert!(finished.success() && said.is_empty(), "{finished}");
    finished.stdout.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// tcpdump on the captured end, known to listen.
#[track_caller]
fn tcpdump(pair: &Pair, file: &Path) -> Process {
    let run = pair.right.run("tcpdump").args(["-i", pair.captured(), "-w"]).arg(file);
    let process = run.args(["--nano", "-U", "-s", "0", "-B", "16384", "-Z", "root"]).start();
    assert!(wait_for(SOON, || process.stderr().contains("listening on")), "{}", process.stderr());
    process
}

/// Ping, UDP and TCP. IPv6, VLAN and jumbo frames are compared in the agent's own tests.
fn traffic(pair: &Pair) {
    pair.ping();
    let receiver = pair.right.enter(|| UdpSocket::bind((Pair::RIGHT, 9_000)).unwrap());
    pair.left.enter(|| {
        let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
        for length in [1, 100, 1_400] {
            sender.send_to(&vec![7; length], (Pair::RIGHT, 9_000)).unwrap();
        }
    });
    drop(receiver);
    let listener = pair.right.enter(|| TcpListener::bind((Pair::RIGHT, 9_001)).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| std::io::copy(&mut listener.accept().unwrap().0, &mut std::io::sink()).unwrap());
        pair.left.enter(|| {
            let mut stream = std::net::TcpStream::connect((Pair::RIGHT, 9_001)).unwrap();
            std::io::Write::write_all(&mut stream, &vec![9; 300_000]).unwrap();
        });
    });
}

#[test]
fn the_file_has_the_frames_that_tcpdump_has() {
    require_privileged!();
    let (pair, dir) = (Pair::addressed(), tempfile::tempdir().unwrap());
    // As interfaces have them by default; without, tcpdump sees packets after the kernel has completed them, and we before.
    set_offloads(&pair.right, pair.captured(), true);
    let capture = LocalCapture::packets(&pair.right, pair.captured(), &["--all"]);
    let theirs = dir.path().join("tcpdump.pcap");
    let tcpdump = tcpdump(&pair, &theirs);
    traffic(&pair);
    // What is sent last goes to a socket in one piece.
    let has_all = || std::fs::metadata(&theirs).is_ok_and(|file| file.len() > 300_000);
    assert!(wait_for(SOON, has_all), "{}", tcpdump.stderr());
    tcpdump.signal(Signal::SIGINT);
    tcpdump.wait(SOON);
    let ended = capture.stop();
    assert!(ended.finished.stdout.contains("lost: nothing"), "{}", ended.finished);
    let file = ended.packets();
    let (ours, theirs) = (as_pcap(&file), read_pcap(&theirs));
    assert!(theirs.len() > 10, "{} packets", theirs.len());
    assert!(ours.is_sorted_by_key(|packet| packet.time_ns), "in order of time");
    for packet in &theirs {
        let near = |ours: &&Packet| ours.time_ns.abs_diff(packet.time_ns) < 1_000_000;
        let same = ours.iter().filter(near).any(|ours| ours.data == packet.data && ours.original == packet.original);
        assert!(same, "tcpdump has a packet of {} bytes more: {packet:?}", packet.original);
    }
    let rows = tshark(
        &file,
        &["-n"],
        &["frame.interface_name", "frame.packet_flags_direction", "frame.packet_id", "frame.comment"],
    );
    assert_eq!(rows.len(), ours.len());
    let host = Run::new("uname").arg("-n").output();
    let name = format!("{}/{}", host.trim(), pair.captured());
    assert!(rows.iter().all(|row| row[0].starts_with(&name) && !row[2].is_empty()), "{:?}", rows[0]);
    assert!(rows.iter().any(|row| row[1] == "0x00000001") && rows.iter().any(|row| row[1] == "0x00000002"));
    let first = rows.iter().position(|row| row[3].contains("L3 Protocol: TCP")).expect("a TCP packet with a comment");
    assert!(rows[first][3].starts_with("Source\\nSrc IP: "), "{}", rows[first][3]);
    let info = Run::new("capinfos").arg(&file).output();
    assert!(info.contains("Strict time order:   True"), "{info}");
}

#[test]
fn only_what_the_filter_wants_and_no_more_of_it_than_asked() {
    require_privileged!();
    let pair = Pair::addressed();
    let capture = LocalCapture::packets(&pair.right, pair.captured(), &["udp,9000", "--snaplen=64"]);
    traffic(&pair);
    let ended = capture.stop();
    let file = ended.packets();
    let lengths = tshark(&file, &["-n"], &["frame.len", "frame.cap_len", "udp.dstport"]);
    assert_eq!(lengths.len(), 3, "{lengths:?}");
    assert!(lengths.iter().all(|row| row[2] == "9000" && row[1].parse::<u32>().unwrap() <= 64), "{lengths:?}");
    assert!(lengths.iter().any(|row| row[0] == "1442" && row[1] == "64"), "{lengths:?}");
}

#[test]
fn https_is_read_with_the_secrets_in_the_file() {
    require_privileged!();
    let (pair, dir) = (Pair::addressed(), tempfile::tempdir().unwrap());
    let keys = dir.path().join("keys");
    let server = https::serve(&pair.right, dir.path());
    let keylog = format!("--tls-keylog={}", keys.display());
    let capture = LocalCapture::packets(&pair.right, pair.captured(), &["tcp,443", &keylog]);
    let client = https::ask(&pair.left, "10.0.0.2", &keys);
    assert!(client.success(), "{client}");
    let ended = capture.stop();
    let file = ended.packets();
    let requests = tshark(&file, &["-n", "-Y", "http.request"], &["http.request.uri"]);
    assert_eq!(requests, [[https::PATH]]);
    let content = tshark(&file, &["-n", "-Y", "http.response"], &["http.file_data"]);
    assert_eq!(content.len(), 1);
    drop(server);
}

#[test]
fn a_killed_collector_leaves_a_file_that_reads() {
    require_privileged!();
    let pair = Pair::addressed();
    let capture = LocalCapture::packets(&pair.right, pair.captured(), &["--all"]);
    traffic(&pair);
    let written = || {
        let files = std::fs::read_dir(capture.dir().join("output/pcap")).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).any(|file| file.len() > 200_000)
    };
    assert!(wait_for(SOON, written), "nothing is written");
    netobserv_testkit::proc::signal(capture.child("netobserv-collector"), Signal::SIGKILL);
    let ended = capture.ended();
    assert!(!ended.finished.success(), "{}", ended.finished);
    assert!(tshark(&ended.packets(), &["-n"], &["frame.number"]).len() > 40, "{}", ended.finished);
}

/// Runs a line on a terminal on which nobody types.
const ON_TERMINAL: &str = r#"mkfifo keys && exec 3<>keys && script -qfec "$0" /dev/null <&3"#;

#[test]
fn a_terminal_shows_the_conversations() {
    require_privileged!();
    let (pair, dir) = (Pair::addressed(), tempfile::tempdir().unwrap());
    let (plugin, interface) = (binaries().plugin.display(), pair.captured());
    let line = format!(
        "stty cols 120 rows 40; exec '{plugin}' packets --local --protocol=ICMP --interfaces={interface} --max-time=8s"
    );
    let run = pair.right.run("bash").args(["-c", ON_TERMINAL, &line]).dir(dir.path());
    let run = run.env("NETOBSERV_AGENT_BIN", &binaries().agent).env("TERM", "xterm-256color");
    let mut capture = run.env("NETOBSERV_COLLECTOR_BIN", &binaries().collector).start();
    let ended = wait_for(SOON * 3, || {
        pair.ping();
        capture.ended()
    });
    assert!(ended, "{}", capture.stdout());
    let done = capture.wait(SOON);
    assert!(done.success(), "{done}");
    for text in ["Packet capture", "Conversations", "10.0.0.1", "\x1b[?1049l", "lost: nothing"] {
        assert!(done.stdout.contains(text), "no {text:?}: {done}");
    }
}
