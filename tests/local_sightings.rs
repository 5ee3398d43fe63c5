//! A packet that crosses several interfaces is in the file once, so that Wireshark finds no retransmission that was none.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use netobserv_testkit::ethtool::set_offloads;
use netobserv_testkit::link::bridge;
use netobserv_testkit::{LocalCapture, Netns, Process, Run, Signal, Veth, require_privileged, wait_for};

const SOON: Duration = Duration::from_secs(20);
const CLIENT: &str = "10.8.0.1";
const SERVER: &str = "10.8.0.2";
const SENT: usize = 400_000;
/// What tshark calls a segment that it believes to have seen before.
const SEEN_BEFORE: &str = "tcp.analysis.retransmission || tcp.analysis.fast_retransmission || tcp.analysis.spurious_retransmission \
    || tcp.analysis.out_of_order || tcp.analysis.duplicate_ack || tcp.segment.overlap";

/// Client and server, and a bridge between them: each packet crosses four ends of links.
struct Way {
    left: Netns,
    middle: Netns,
    right: Netns,
    near: Veth,
    far: Veth,
}

impl Way {
    fn new() -> Self {
        let [left, middle, right] = ["left", "middle", "right"].map(Netns::new);
        [&left, &middle, &right].into_iter().for_each(Netns::no_ipv6);
        let near = Veth::new(&left, &[&format!("{CLIENT}/24")], &middle, &[]);
        let far = Veth::new(&middle, &[], &right, &[&format!("{SERVER}/24")]);
        bridge(&middle, &[&near.b.name, &far.a.name]);
        let way = Self { left, middle, right, near, far };
        way.ends().iter().for_each(|(ns, name)| set_offloads(ns, name, true));
        way
    }

    /// In the order from client to server.
    fn ends(&self) -> [(&Netns, &str); 4] {
        [
            (&self.left, &self.near.a.name),
            (&self.middle, &self.near.b.name),
            (&self.middle, &self.far.a.name),
            (&self.right, &self.far.b.name),
        ]
    }

    fn tcpdump(&self, file: &Path) -> Process {
        let run = self.left.run("tcpdump").args(["-i", &self.near.a.name, "-w"]).arg(file);
        let process = run.args(["--nano", "-U", "-s", "0", "-B", "16384", "-Z", "root"]).start();
        assert!(wait_for(SOON, || process.stderr().contains("listening on")), "{}", process.stderr());
        process
    }

    /// Pings, the same datagram five times, and a transfer over TCP.
    fn traffic(&self) {
        let pinged = self.left.run("ping").args(["-c", "3", "-i", "0.2", SERVER]).finish();
        assert!(pinged.success(), "{pinged}");
        let receiver = self.right.enter(|| UdpSocket::bind((SERVER, 9_000)).unwrap());
        self.left.enter(|| {
            let sender = UdpSocket::bind((CLIENT, 9_009)).unwrap();
            for _ in 0..5 {
                sender.send_to(b"the same again", (SERVER, 9_000)).unwrap();
            }
        });
        drop(receiver);
        let listener = self.right.enter(|| TcpListener::bind((SERVER, 9_001)).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| std::io::copy(&mut listener.accept().unwrap().0, &mut std::io::sink()).unwrap());
            self.left.enter(|| {
                let mut stream = TcpStream::connect((SERVER, 9_001)).unwrap();
                std::io::Write::write_all(&mut stream, &vec![9; SENT]).unwrap();
            });
        });
    }
}

/// How many packets of a file tshark shows by this filter.
#[track_caller]
fn packets(file: &Path, filter: &str) -> usize {
    let run = Run::new("tshark").arg("-r").arg(file).args(["-n", "-Y", filter, "-T", "fields", "-e", "frame.number"]);
    let finished = run.finish();
    assert!(finished.success(), "{finished}");
    finished.stdout.lines().count()
}

#[test]
fn a_packet_is_written_where_it_was_seen_first_and_nowhere_else() {
    require_privileged!();
    let (way, dir) = (Way::new(), tempfile::tempdir().unwrap());
    let capture = LocalCapture::packets_at(&way.ends(), &["--all"]);
    let theirs = dir.path().join("tcpdump.pcap");
    let tcpdump = way.tcpdump(&theirs);
    way.traffic();
    let has_all = || std::fs::metadata(&theirs).is_ok_and(|file| file.len() > SENT as u64);
    assert!(wait_for(SOON, has_all), "{}", tcpdump.stderr());
    tcpdump.signal(Signal::SIGINT);
    tcpdump.wait(SOON);
    let ended = capture.stop();
    let (ours, said) = (ended.packets(), &ended.finished.stdout);
    assert!(said.contains("lost: nothing"), "{said}");
    for (filter, at_least) in [("icmp", 6), ("udp.port == 9000", 5), ("tcp.port == 9001", 10), ("arp", 2)] {
        let (here, there) = (packets(&ours, filter), packets(&theirs, filter));
        assert_eq!(here, there, "{filter}: as many as tcpdump saw at the client's interface");
        assert!(here >= at_least, "{filter}: {here}");
    }
    assert_eq!(
        packets(&ours, SEEN_BEFORE),
        packets(&theirs, SEEN_BEFORE),
        "tshark believes no more of ours than of tcpdump's"
    );
    assert!(said.contains("sightings of the same packets at other interfaces left out"), "{said}");
}

#[test]
fn all_sightings_are_written_when_they_are_asked_for() {
    require_privileged!();
    let way = Way::new();
    let capture = LocalCapture::packets_at(&way.ends(), &["--protocol=ICMP", "--sightings=all"]);
    let pinged = way.left.run("ping").args(["-c", "3", "-i", "0.2", SERVER]).finish();
    assert!(pinged.success(), "{pinged}");
    let ended = capture.stop();
    assert_eq!(packets(&ended.packets(), "icmp"), 3 * 2 * way.ends().len(), "{}", ended.finished);
    assert!(!ended.finished.stdout.contains("sightings"), "{}", ended.finished);
}
