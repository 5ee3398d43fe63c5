//! Filter rules on live traffic: what they keep is what a capture without rules has of it, packet by packet.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use netobserv_testkit::{Ended, Files, LocalCapture, Pair, Run, require_privileged};

const WEB: u16 = 8080;
const OTHER: u16 = 9090;

/// Connections to two ports, datagrams to a third and a ping.
#[track_caller]
fn traffic(pair: &Pair) {
    connection(pair, WEB);
    connection(pair, OTHER);
    let sender = pair.left.enter(|| UdpSocket::bind((Pair::LEFT, 0)).expect("a socket"));
    let receiver = pair.right.enter(|| UdpSocket::bind((Pair::RIGHT, 5353)).expect("a socket"));
    for _ in 0..5 {
        sender.send_to(b"ping", (Pair::RIGHT, 5353)).expect("sent");
        receiver.recv(&mut [0; 16]).expect("received");
    }
    pair.ping();
}

/// A connection from the left with some bytes each way, closed in good order.
#[track_caller]
fn connection(pair: &Pair, port: u16) {
    let address = SocketAddr::new(Pair::RIGHT.parse().expect("an address"), port);
    let listener = pair.right.enter(|| TcpListener::bind(address).expect("a listener"));
    let mut client = pair.left.enter(|| TcpStream::connect(address).expect("a connection"));
    let (mut server, _) = listener.accept().expect("a client");
    client.write_all(&[7; 3000]).expect("written");
    server.read_exact(&mut [0; 3000]).expect("read");
    server.write_all(b"thanks").expect("written");
    client.read_exact(&mut [0; 6]).expect("read");
    drop(client);
    server.read_to_end(&mut vec![]).expect("the end of the connection");
}

/// Two captures of the same traffic: with these rules, and without.
#[track_caller]
fn captured(rules: &[&str]) -> (Ended, Ended) {
    let pair = Pair::addressed();
    let interface = format!("--interfaces={}", pair.captured());
    let mut filtered = LocalCapture::start(&[&[interface.as_str()], rules].concat());
    let mut whole = LocalCapture::start(&[&interface]);
    filtered.wait_programs(&pair.right, pair.captured(), 4);
    whole.wait_programs(&pair.right, pair.captured(), 4);
    traffic(&pair);
    (filtered.stop(), whole.stop())
}

/// The filtered files hold what the whole ones have under this condition, which is some of it, and nothing else.
#[track_caller]
fn assert_kept(filtered: &Files, whole: &Files, condition: &str) {
    let wanted = whole.sum(condition);
    assert!(wanted.packets > 0 && wanted != whole.sum("true"), "{condition} tells nothing: {wanted:?}");
    assert_eq!(filtered.sum(condition), wanted, "{condition}");
    assert_eq!(filtered.sum("true"), wanted, "something else was kept than {condition}");
}

#[test]
fn the_documented_example_keeps_both_kinds() {
    require_privileged!();
    let (filtered, whole) = captured(&["--protocol=TCP", "--port=8080", "or", "--protocol=UDP"]);
    let (filtered, whole) = (filtered.files(), whole.files());
    for kind in ["Proto = 6 AND DstPort = 8080", "Proto = 6 AND SrcPort = 8080", "Proto = 17"] {
        assert!(filtered.sum(kind).packets >= 5, "{kind}: {:?}", filtered.sum(kind));
    }
    assert_kept(&filtered, &whole, "(Proto = 6 AND (SrcPort = 8080 OR DstPort = 8080)) OR Proto = 17");
}

#[test]
fn rejected_traffic_is_left_out() {
    require_privileged!();
    let (filtered, whole) = captured(&["--action=Reject", "--dport=9090", "or", "--action=Reject", "--protocol=icmp"]);
    assert_kept(&filtered.files(), &whole.files(), "Proto <> 1 AND NOT (Proto = 6 AND DstPort = 9090)");
}

#[test]
fn the_peer_and_the_direction_count() {
    require_privileged!();
    let (filtered, whole) = captured(&["--cidr=10.0.0.0/24", "--peer_ip=10.0.0.1", "--direction=ingress"]);
    assert_kept(&filtered.files(), &whole.files(), "IfDirection = 0 AND Etype = 2048");
}

/// What the kernel decides of an expression, what the collector decides, and both: each keeps what the whole capture has of it.
#[test]
fn filter_expressions_keep_what_they_mean() {
    require_privileged!();
    const EXPRESSIONS: [(&str, &str); 3] = [
        ("udp or tcp dst port 9090", "Proto = 17 OR (Proto = 6 AND DstPort = 9090)"),
        ("src 10.0.0.2 and tcp port 8080", "SrcAddr = '10.0.0.2' AND Proto = 6 AND SrcPort = 8080"),
        (r#"SrcAddr =~ "[.]1$" and not icmp"#, "SrcAddr LIKE '%.1' AND Proto <> 1"),
    ];
    let pair = Pair::addressed();
    let of_packets = format!("--filter={}", EXPRESSIONS[1].0);
    let packets = LocalCapture::packets(&pair.right, pair.captured(), &[&of_packets]);
    let (interface, mut programs) = (format!("--interfaces={}", pair.captured()), 2);
    let mut start = |more: &[&str]| {
        let mut capture = LocalCapture::start(&[&[interface.as_str()], more].concat());
        programs += 2;
        capture.wait_programs(&pair.right, pair.captured(), programs);
        capture
    };
    let whole = start(&[]);
    let filtered = EXPRESSIONS.map(|(filter, _)| start(&[&format!("--filter={filter}")]));
    traffic(&pair);
    let (packets, whole) = (packets.stop(), whole.stop());
    for (capture, (_, condition)) in filtered.into_iter().zip(EXPRESSIONS) {
        assert_kept(&capture.stop().files(), &whole.files(), condition);
    }
    let read =
        Run::new("tshark").args(["-T", "fields", "-e", "ip.src", "-e", "tcp.srcport", "-r"]).arg(packets.packets());
    let read = read.finish();
    assert!(read.stdout.lines().all(|packet| packet == "10.0.0.2\t8080"), "{read}");
    let wanted = whole.files().sum(EXPRESSIONS[1].1).packets;
    assert_eq!(read.stdout.lines().count() as u64, wanted, "{}", packets.finished);
}
