//! The ten questions of docs/queries.md, asked as they are written there, of a capture whose traffic is known.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use netobserv_testkit::link::neighbours;
use netobserv_testkit::proc::binaries;
use netobserv_testkit::{Files, Frame, LocalCapture, Netns, Run, Sender, Veth, require_privileged};
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

const CLIENT: &str = "10.61.1.1";
/// It sends most, over several connections.
const BUSY: &str = "10.61.2.1";
/// It sends most over one connection.
const QUIET: &str = "10.61.2.2";
/// Nobody has this address.
const NOBODY: &str = "10.61.2.9";
const SLOW: Duration = Duration::from_millis(50);
const SYN: u8 = 2;
const ACK: u8 = 16;

/// The rows that question `number` finds.
#[track_caller]
fn ask(files: &Files, number: u8) -> Vec<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/queries.md");
    let text = std::fs::read_to_string(&path).expect("docs/queries.md");
    let (_, question) = text.split_once(&format!("**{number}. ")).expect("a question of this number");
    let (_, block) = question.split_once("```sh\n").expect("its command");
    let sql = block.split('"').find(|word| word.starts_with("SELECT")).expect("its SQL");
    let database = files.database();
    let mut statement = database.prepare(sql).unwrap_or_else(|error| panic!("{number}: {error}"));
    let columns = statement.column_count();
    let value = |value: ValueRef<'_>| match value {
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
        _ => Value::Null,
    };
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get_ref(column).map(value)).collect();
    let rows = statement.query_map([], row).expect("rows").collect::<Result<_, _>>();
    rows.unwrap_or_else(|error| panic!("{number}: {error}"))
}

struct World {
    client: Netns,
    server: Netns,
    veth: Veth,
}

impl World {
    fn new() -> Self {
        let (client, server) = (Netns::new("client"), Netns::new("server"));
        let addresses = [&["10.61.1.1/16"][..], &["10.61.2.1/16", "10.61.2.2/16"]];
        let veth = Veth::with_neighbours(&client, addresses[0], &server, addresses[1]);
        neighbours(&client, &veth.a.name, &["10.61.2.9/16"], veth.b.mac);
        Self { client, server, veth }
    }

    /// A client reads `bytes` from a server, over each of so many connections.
    fn download(&self, from: &str, port: u16, connections: usize, bytes: usize) {
        let listener = self.server.enter(|| TcpListener::bind((from, port))).expect("a port");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..connections {
                    let (mut peer, _) = listener.accept().expect("a client");
                    peer.write_all(&vec![7; bytes]).expect("a client that reads");
                }
            });
            for _ in 0..connections {
                let mut peer = self.client.enter(|| TcpStream::connect((from, port))).expect("the server");
                peer.read_exact(&mut vec![0; bytes]).expect("all of it");
            }
        });
    }

    /// Asks for names, each once; the server answers as [`code`] has it.
    fn resolve(&self, names: &[&str]) {
        netobserv_testkit::names::resolve((&self.client, CLIENT), (&self.server, BUSY), names, code);
    }

    /// What shows half of a connection, and what shows that it was answered.
    fn halves(&self) {
        let connected = self.client.enter(|| {
            let to = format!("{NOBODY}:81").parse().expect("an address");
            TcpStream::connect_timeout(&to, Duration::from_millis(200))
        });
        assert!(connected.is_err(), "nobody answers");
        let [a, b] = [&self.veth.a, &self.veth.b];
        let theirs = Frame::new(b.mac, a.mac).ipv4(BUSY, "10.61.1.77").tcp(8080, 5555, SYN | ACK);
        Sender::new(&self.server, &b.name).send(&[theirs.build()]);
        let ours = |flags| Frame::new(a.mac, b.mac).ipv4("10.61.1.78", BUSY).tcp(5556, 8082, flags).build();
        Sender::new(&self.client, &a.name).send(&[ours(SYN), ours(ACK)]);
    }

    /// Datagrams to a port that nobody has, and a ping.
    fn drops(&self) {
        let socket = self.client.enter(|| UdpSocket::bind((CLIENT, 0))).expect("a socket");
        for _ in 0..7 {
            // Refused is what came back for the one before.
            let _ = socket.send_to(&[0; 100], (BUSY, 9));
        }
        self.client.run("ping").args(["-c", "3", "-i", "0.2", BUSY]).output();
    }
}

/// By the name: `gone` does not exist, `silent` has no answer, `slow` has it late.
fn code(asked: &str) -> Option<u8> {
    if asked.contains("silent") {
        return None;
    }
    if asked.contains("slow") {
        std::thread::sleep(SLOW);
    }
    Some(if asked.contains("gone") { 3 } else { 0 })
}

/// Sums of bytes by what `key` makes of a flow.
fn sums<K: Ord>(flows: &[Value], key: impl Fn(&Value) -> K) -> BTreeMap<K, u64> {
    let mut sums = BTreeMap::new();
    for flow in flows {
        *sums.entry(key(flow)).or_default() += number(flow, "Bytes");
    }
    sums
}

fn number(flow: &Value, field: &str) -> u64 {
    flow[field].as_u64().unwrap_or(0)
}

fn text<'a>(flow: &'a Value, fields: &[&str]) -> &'a str {
    fields.iter().find_map(|field| flow[field].as_str()).unwrap_or("")
}

/// An address without its last number.
fn network(flow: &Value, field: &str) -> String {
    let address = text(flow, &[field]);
    address.rfind(['.', ':']).map_or_else(String::new, |end| address[..=end].to_owned())
}

#[test]
fn the_ten_questions_have_the_right_answers() {
    require_privileged!();
    let world = World::new();
    let mut capture = LocalCapture::of(&world.client, &world.veth.a.name, &["--enable_all"]);
    world.download(BUSY, 8000, 5, 200_000);
    world.download(QUIET, 8001, 1, 400_000);
    world.resolve(&["fine.test", "gone.test", "gone.test", "slow.test", "silent.test"]);
    world.halves();
    world.drops();
    let files = capture.files();
    let has_name = |name: &str| files.flows().iter().any(|flow| flow["DnsName"] == name);
    capture.wait_until("the name that nobody answered", || has_name("silent.test"));
    let ended = capture.stop();
    let files = ended.files();
    let flows = files.flows();

    talkers(&files, &flows);
    drops(&files, &flows);
    let unanswered = ask(&files, 4);
    assert_eq!(unanswered.len(), 1, "{unanswered:?}");
    assert_eq!(unanswered[0][..3], [json!(CLIENT), json!(NOBODY), json!(81)]);
    names(&files);
    let longest = flows.iter().map(|flow| number(flow, "TimeFlowRttNs")).max().expect("flows");
    let trips = ask(&files, 7);
    assert!(!trips.is_empty() && trips.iter().all(|row| row[0].is_string() && row[1].is_string()), "{trips:?}");
    // SQLite rounds 0.075 to 0.07 or 0.08, by how the number is stored.
    let slowest = trips[0][3].as_f64().expect("milliseconds");
    assert!((slowest - longest as f64 / 1e6).abs() < 0.0051, "{longest} ns: {trips:?}");
    let zones = sums(&flows, |flow| [network(flow, "SrcAddr"), network(flow, "DstAddr")]);
    let mut zones: Vec<_> = zones.into_iter().filter(|([src, dst], _)| !src.is_empty() && src != dst).collect();
    zones.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let zones: Vec<_> =
        zones.into_iter().map(|([src, dst], bytes)| vec![json!(src), json!(dst), json!(bytes)]).collect();
    assert_eq!(ask(&files, 8), zones);
    assert_eq!(zones[0][..2], [json!("10.61.2."), json!("10.61.1.")]);
    course(&files, &flows);
    named(&files);
}

/// What `query` answers is what the page's SQL answers.
#[track_caller]
fn named(files: &Files) {
    let rows = |question: &str| -> Vec<serde_json::Map<String, Value>> {
        let words = [
            "query".as_ref(),
            files.db.as_os_str(),
            question.as_ref(),
            "--output=json".as_ref(),
            "--limit=10".as_ref(),
        ];
        let programs = binaries().plugin.parent().expect("a folder");
        let text = Run::new(&binaries().plugin).args(words).env("NETOBSERV_BIN_DIR", programs).output();
        serde_json::from_str(&text).expect("an array of objects")
    };
    let written = |number: u8, at: usize| -> Vec<u64> {
        ask(files, number).iter().take(10).map(|row| row[at].as_u64().expect("a number")).collect()
    };
    let values = |question: &str, name: &str| -> Vec<u64> {
        rows(question).iter().map(|row| row[name].as_u64().expect("a number")).collect()
    };
    assert_eq!(values("zones", "bytes"), written(8, 2));
    assert_eq!(values("time", "bytes"), written(9, 3));
    assert_eq!(values("slow-dns", "answers"), written(6, 2));
    assert_eq!(values("dns", "times"), written(5, 4));
    assert_eq!(values("drops", "packets"), written(3, 4));
    let both: Vec<u64> = written(11, 5).into_iter().zip(written(11, 6)).map(|(there, back)| there + back).collect();
    assert_eq!(values("top", "bytes"), both);
    let unanswered = rows("unanswered");
    assert_eq!((unanswered.len(), &unanswered[0]["server"]), (1, &json!(NOBODY)), "{unanswered:?}");
}

/// Questions 1 and 2.
#[track_caller]
fn talkers(files: &Files, flows: &[Value]) {
    let talkers = ask(files, 1);
    let most = sums(flows, |flow| text(flow, &["SrcAddr"]) == BUSY && text(flow, &["DstAddr"]) == CLIENT)[&true];
    assert_eq!(talkers[0][..3], [json!(BUSY), json!(CLIENT), json!(most)], "{talkers:?}");
    assert!(most > 1_000_000);
    assert_eq!(talkers[1][..2], [json!(QUIET), json!(CLIENT)], "{talkers:?}");
    let side = |flow: &Value, side: &str| {
        let fields = ["Comm", "Addr", "Mac"].map(|field| format!("{side}{field}"));
        text(flow, &fields.each_ref().map(String::as_str)).to_owned()
    };
    let sums = sums(flows, |flow| [side(flow, "Src"), side(flow, "Dst")]);
    let (most, bytes) = sums.iter().max_by_key(|(_, bytes)| **bytes).expect("flows");
    let loads = ask(files, 2);
    assert_eq!(loads[0][..5], [json!(null), json!(most[0]), json!(null), json!(most[1]), json!(bytes)], "{loads:?}");
}

/// Question 3.
#[track_caller]
fn drops(files: &Files, flows: &[Value]) {
    let is_pong = |flow: &&Value| flow["Proto"] == 1 && flow["IcmpType"] == 0 && number(flow, "PktDropPackets") > 0;
    assert!(flows.iter().any(|flow| is_pong(&flow)), "the kernel drops its copy of an answer to a ping");
    let dropped = ask(files, 3);
    let refused: Vec<_> = dropped.iter().filter(|row| row[2] == 9).collect();
    assert_eq!(refused.len(), 1, "{dropped:?}");
    let cause = json!("SKB_DROP_REASON_NO_SOCKET");
    assert_eq!(refused[0][..5], [json!(CLIENT), json!(BUSY), json!(9), cause.clone(), json!(7)], "{dropped:?}");
    assert!(!dropped.iter().any(|row| row[2].is_null() && row[3] == cause), "no answers to pings: {dropped:?}");
}

/// Questions 5 and 6.
#[track_caller]
fn names(files: &Files) {
    let row = |name: &str, outcome: &str, count: u64| {
        vec![json!(null), json!(CLIENT), json!(name), json!(outcome), json!(count)]
    };
    assert_eq!(ask(files, 5), [row("gone.test", "NXDomain", 2), row("silent.test", "no answer", 1)]);
    let slow = ask(files, 6);
    let names: Vec<_> = slow.iter().filter_map(|row| row[1].as_str()).collect();
    assert_eq!((names[0], names.len()), ("slow.test", 3), "{slow:?}");
    assert_eq!((&slow[0][0], &slow[0][2]), (&json!(BUSY), &json!(1)));
    assert!(slow[0][4].as_f64() >= Some(SLOW.as_secs_f64() * 1e3), "{slow:?}");
    let is_measured =
        |row: &Vec<Value>| row[3].as_f64() > Some(0.0) && row[3].as_f64() <= row[4].as_f64().map(|ms| ms + 0.001);
    assert!(slow.iter().all(is_measured), "{slow:?}");
}

/// Questions 9 and 10.
#[track_caller]
fn course(files: &Files, flows: &[Value]) {
    let seconds = sums(flows, |flow| number(flow, "TimeFlowEndMs") / 1_000);
    let course = ask(files, 9);
    assert_eq!(
        course.iter().filter_map(|row| row[3].as_u64()).collect::<Vec<_>>(),
        seconds.into_values().collect::<Vec<_>>()
    );
    let count: u64 = course.iter().filter_map(|row| row[1].as_u64()).sum();
    assert_eq!(count, flows.len() as u64);
    let table = ask(files, 10);
    assert_eq!(table.len(), flows.len());
    assert!(table.iter().any(|row| row[1] == BUSY && row[2] == 8000 && row[3] == CLIENT && row[5] == 6), "{table:?}");
}
