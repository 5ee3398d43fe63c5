//! DNS over TCP as TCP may carry it: lengths in segments of their own, messages cut anywhere, many in one segment, longer than
//! what the kernel hands on at once. Each query and its answer is in the files once, and what cannot be read is counted.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use netobserv_testkit::{LocalCapture, Netns, Veth, require_privileged};
use serde_json::Value;

const SERVER: &str = "10.54.0.2";
/// What the server waits before it answers.
const THINKS: Duration = Duration::from_millis(20);

/// How messages are sent.
struct Shape {
    /// The names that are asked for end with it.
    name: &'static str,
    messages: u16,
    /// Bytes of an answer beside its question.
    extra: usize,
    /// From all bytes with the ends of the messages to where they are cut.
    cuts: fn(&[usize]) -> Vec<usize>,
}

const SHAPES: [Shape; 6] = [
    Shape { name: "plain", messages: 3, extra: 16, cuts: |ends| ends.to_vec() },
    Shape { name: "length-alone", messages: 5, extra: 16, cuts: |ends| around(ends, 2) },
    Shape { name: "cut", messages: 20, extra: 300, cuts: |ends| (0..ends[ends.len() - 1]).step_by(37).collect() },
    Shape { name: "bytes", messages: 2, extra: 16, cuts: |ends| (0..ends[ends.len() - 1]).collect() },
    Shape { name: "one-segment", messages: 20, extra: 16, cuts: |_| vec![] },
    Shape { name: "pipelined", messages: 200, extra: 4_000, cuts: |_| vec![] },
];

/// The ends, and so many bytes behind each.
fn around(ends: &[usize], bytes: usize) -> Vec<usize> {
    std::iter::once(0).chain(ends.iter().copied()).flat_map(|end| [end, end + bytes]).collect()
}

/// A message with its length before it. A query has QR = 0 (RFC 1035, 4.1.1).
fn message(id: u16, name: &str, is_answer: bool, extra: usize) -> Vec<u8> {
    let flags = if is_answer { 0x8180 } else { 0x0100 };
    let mut body: Vec<u8> = [id, flags, 1, 0, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect();
    for label in name.split('.') {
        body.push(label.len() as u8);
        body.extend_from_slice(label.as_bytes());
    }
    body.extend([0, 0, 1, 0, 1]);
    body.resize(body.len() + extra, 0x55);
    [&(body.len() as u16).to_be_bytes()[..], &body].concat()
}

/// All messages of a shape, cut into what is written at once.
fn pieces(shape: &Shape, is_answer: bool) -> Vec<Vec<u8>> {
    let (mut bytes, mut ends) = (vec![], vec![]);
    for id in 1..=shape.messages {
        let extra = if is_answer { shape.extra } else { 0 };
        bytes.extend(message(id, &format!("q{id}.{}.test", shape.name), is_answer, extra));
        ends.push(bytes.len());
    }
    let mut cuts = (shape.cuts)(&ends);
    cuts.retain(|cut| (1..bytes.len()).contains(cut));
    cuts.push(bytes.len());
    let mut from = 0;
    cuts.into_iter().map(|cut| bytes[std::mem::replace(&mut from, cut)..cut].to_vec()).collect()
}

fn write(to: &mut TcpStream, pieces: &[Vec<u8>]) {
    to.set_nodelay(true).expect("no delay");
    for piece in pieces {
        to.write_all(piece).expect("a peer that reads");
    }
}

/// A server that reads `asked` and writes `answered`, and a client that does the opposite.
fn talk(client: &Netns, server: &Netns, asked: &[Vec<u8>], answered: &[Vec<u8>]) {
    let length = |pieces: &[Vec<u8>]| pieces.iter().map(Vec::len).sum::<usize>();
    let listener = server.enter(|| TcpListener::bind((SERVER, 53))).expect("port 53");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut peer, _) = listener.accept().expect("a client");
            peer.read_exact(&mut vec![0; length(asked)]).expect("all queries");
            std::thread::sleep(THINKS);
            write(&mut peer, answered);
            // Until the client has all and closes.
            let _ = peer.read(&mut [0]);
        });
        let mut peer = client.enter(|| TcpStream::connect((SERVER, 53))).expect("the server");
        write(&mut peer, asked);
        peer.read_exact(&mut vec![0; length(answered)]).expect("all answers");
    });
}

fn dns<'a>(flows: &'a [Value], name: &str) -> Vec<&'a Value> {
    let end = format!(".{name}.test");
    let is_of = |flow: &&Value| flow["DnsName"].as_str().is_some_and(|name| name.ends_with(&end));
    flows.iter().filter(is_of).collect()
}

fn world() -> (Netns, Netns, Veth) {
    let (client, server) = (Netns::new("client"), Netns::new("server"));
    let veth = Veth::with_neighbours(&client, &["10.54.0.1/24"], &server, &["10.54.0.2/24"]);
    (client, server, veth)
}

#[test]
fn messages_are_read_however_they_are_cut() {
    require_privileged!();
    let (client, server, veth) = world();
    let capture = LocalCapture::of(&client, &veth.a.name, &["--enable_dns"]);
    for shape in &SHAPES {
        talk(&client, &server, &pieces(shape, false), &pieces(shape, true));
    }
    check(&capture.stop().files());
}

#[test]
fn super_packets_with_many_messages_are_read_to_their_end() {
    require_privileged!();
    let here = Netns::new("here");
    // The loopback interface takes segments of up to 64 KiB, and sees each packet in both directions.
    here.ip("link set lo up");
    here.ip(&format!("address add {SERVER}/32 dev lo"));
    let capture = LocalCapture::of(&here, "lo", &["--enable_dns"]);
    for shape in &SHAPES {
        talk(&here, &here, &pieces(shape, false), &pieces(shape, true));
    }
    check(&capture.stop().files());
}

#[track_caller]
fn check(files: &netobserv_testkit::Files) {
    let flows = files.flows();
    for shape in &SHAPES {
        let found = dns(&flows, shape.name);
        let ids: BTreeSet<u64> = found.iter().filter_map(|flow| flow["DnsId"].as_u64()).collect();
        assert_eq!(found.len(), usize::from(shape.messages), "{}: each once", shape.name);
        assert_eq!(ids, (1..=u64::from(shape.messages)).collect(), "{}", shape.name);
        for flow in found {
            let micros = flow["DnsLatencyUs"].as_u64().unwrap_or_else(|| panic!("no latency: {flow}"));
            assert!(Duration::from_micros(micros) >= THINKS, "{micros} µs: {flow}");
            assert_eq!(flow["DnsLatencyMs"], micros / 1_000, "{flow}");
            assert_eq!((&flow["DnsErrno"], &flow["SrcPort"]), (&0.into(), &53.into()), "{flow}");
        }
    }
    let errors: Vec<_> = flows.iter().filter(|flow| flow["DnsErrno"].as_u64().is_some_and(|errno| errno > 0)).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let transactions = flows.iter().filter(|flow| flow.get("DnsId").is_some()).count();
    assert_eq!(transactions, SHAPES.iter().map(|shape| usize::from(shape.messages)).sum::<usize>(), "no invented ones");
    assert_eq!(lost(files), 0);
}

fn lost(files: &netobserv_testkit::Files) -> u64 {
    files.number("SELECT value FROM capture WHERE name = 'lost_dns_messages'")
}

#[test]
fn answers_that_cannot_be_read_count_as_lost_and_not_as_missing() {
    require_privileged!();
    let (client, server, veth) = world();
    let mut capture = LocalCapture::of(&client, &veth.a.name, &["--enable_dns"]);
    // Behind the first answer comes what is none.
    let asked = [message(1, "q1.garbled.test", false, 0), message(2, "q2.garbled.test", false, 0)];
    talk(&client, &server, &asked, &[message(1, "q1.garbled.test", true, 0), vec![0xff; 50]]);
    // Here none comes at all.
    let end = vec![0; 1];
    talk(&client, &server, &[message(3, "q3.silent.test", false, 0)], &[end]);
    let files = capture.files();
    capture.wait_until("the query without an answer", || !dns(&files.flows(), "silent").is_empty());
    let ended = capture.stop();
    let flows = ended.files().flows();
    let found: Vec<_> =
        dns(&flows, "garbled").iter().map(|flow| (flow["DnsId"].clone(), flow["DnsErrno"].clone())).collect();
    assert_eq!(found, [(1.into(), 0.into())], "of the other it is not known whether it was answered");
    assert!(lost(&ended.files()) >= 1);
    let silent = dns(&flows, "silent");
    assert_eq!((silent.len(), &silent[0]["DnsErrno"]), (1, &110.into()), "{silent:?}");
}
