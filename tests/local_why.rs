//! What `why` reports of real faults, each made for real, and that it reports nothing of healthy traffic; the exit codes for scripts.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use netobserv_testkit::link::neighbours;
use netobserv_testkit::proc::binaries;
use netobserv_testkit::{Ended, Files, Finished, LocalCapture, Netns, Run, Signal, Veth, require_privileged, wait_for};
use serde_json::Value;

const CLIENT: &str = "10.62.1.1";
const SERVER: &str = "10.62.2.1";
/// No machine has this address; the client knows how to send to it.
const NOBODY: &str = "10.62.2.9";
/// Beyond the server, which is a router for it and has no route.
const NOWHERE: &str = "10.99.0.1";
/// Beyond the server too, on a way for small packets only.
const NARROW: &str = "10.98.0.1";
const OURS: [&str; 5] = [CLIENT, SERVER, NOBODY, NOWHERE, NARROW];

struct World {
    client: Netns,
    server: Netns,
    veth: Veth,
}

impl World {
    fn new() -> Self {
        let (client, server) = (Netns::new("client"), Netns::new("server"));
        let veth = Veth::with_neighbours(&client, &["10.62.1.1/16"], &server, &["10.62.2.1/16"]);
        neighbours(&client, &veth.a.name, &["10.62.2.9/16"], veth.b.mac);
        Self { client, server, veth }
    }

    fn capture(&self, options: &[&str]) -> LocalCapture {
        LocalCapture::of(&self.client, &self.veth.a.name, &[&["--enable_all", "-o", "json"], options].concat())
    }

    /// Tries to connect; whether that worked.
    fn connects(&self, to: &str, port: u16) -> bool {
        let to = format!("{to}:{port}").parse().expect("an address");
        self.client.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(200))).is_ok()
    }

    /// A connection with data both ways and an orderly end.
    fn talk(&self, port: u16) {
        let listener = self.server.enter(|| TcpListener::bind((SERVER, port))).expect("a port");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut peer, _) = listener.accept().expect("a client");
                let mut text = String::new();
                peer.read_to_string(&mut text).expect("a question");
                peer.write_all(&vec![7; 50_000]).expect("a client that reads");
            });
            let mut peer = self.client.enter(|| TcpStream::connect((SERVER, port))).expect("the server");
            peer.write_all(b"question").expect("the server");
            peer.shutdown(std::net::Shutdown::Write).expect("the server");
            assert_eq!(peer.read_to_end(&mut Vec::new()).expect("an answer"), 50_000);
        });
    }

    /// Asks for names, one after the other. The name decides how the server answers.
    fn resolve(&self, names: &[&str]) {
        netobserv_testkit::names::resolve((&self.client, CLIENT), (&self.server, SERVER), names, code);
    }

    fn datagrams(&self, to: &str, port: u16, number: usize, size: usize) {
        let socket = self.client.enter(|| UdpSocket::bind((CLIENT, 0))).expect("a socket");
        for _ in 0..number {
            // What came back for the one before may be reported here.
            let _ = socket.send_to(&vec![0; size], (to, port));
        }
    }

    fn ping(&self) {
        self.client.run("ping").args(["-c", "3", "-i", "0.2", SERVER]).output();
    }
}

/// By the name: `silent` has no answer, `broken` a failure; `gone`, and whatever has `shop` in it, does not exist.
fn code(asked: &str) -> Option<u8> {
    match asked {
        _ if asked.contains("silent") => None,
        _ if asked.contains("broken") => Some(2),
        _ if asked.contains("gone") || asked.contains("shop") => Some(3),
        _ => Some(0),
    }
}

/// `oc-netobserv` with these words, for the programs under test.
fn netobserv(dir: &Path, words: &[&str]) -> Finished {
    let binaries = binaries();
    Run::new(&binaries.plugin).args(words).dir(dir).env("NETOBSERV_COLLECTOR_BIN", &binaries.collector).finish()
}

/// The database of a capture, as a word.
fn db(ended: &Ended) -> String {
    ended.files().db.display().to_string()
}

/// The findings of a file about our addresses: the kernel's hook for drops sees those of the whole machine.
#[track_caller]
fn findings(ended: &Ended, words: &[&str]) -> Vec<Value> {
    let from = format!("--from={}", db(ended));
    let finished = netobserv(ended.dir(), &[&["why", &from, "-o", "json"], words].concat());
    assert_eq!(finished.code(), 0, "{finished}");
    let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"));
    let of_ours = |finding: &&Value| {
        let ours = |end: &str| finding[end]["address"].as_str().is_some_and(|address| OURS.contains(&address));
        ours("client") && ours("server")
    };
    report["findings"].as_array().expect("findings").iter().filter(of_ours).cloned().collect()
}

/// Each as its kind and the server's port, and for names the name.
fn kinds(findings: &[Value]) -> Vec<String> {
    let mut kinds: Vec<_> = findings
        .iter()
        .map(|finding| {
            let sentence = finding["sentence"].as_str().expect("a sentence");
            let name = sentence.split_once(" for ").map(|(_, rest)| rest.split([' ', ',', '.']).next().unwrap_or(""));
            let kind = finding["kind"].as_str().expect("a kind");
            match name.filter(|_| kind.starts_with("dns")) {
                Some(name) => format!("{kind} {name}"),
                None => format!("{kind} {}", finding["port"]),
            }
        })
        .collect();
    kinds.sort();
    kinds
}

/// Waits for records that are as each of `wanted` wants one.
#[track_caller]
fn wait_for_records(capture: &mut LocalCapture, wanted: &[&dyn Fn(&Value) -> bool]) {
    let files = capture.files();
    capture.wait_until("the last records", || {
        let flows = files.flows();
        wanted.iter().all(|wanted| flows.iter().any(wanted))
    });
}

/// Makes each fault once; returns when the records of the slowest are there.
fn break_everything(world: &World, capture: &mut LocalCapture) {
    let rules = "add table inet t; add chain inet t input { type filter hook input priority 0; }; \
        add rule inet t input tcp dport 7001 drop";
    world.server.run("nft").arg(rules).output();
    world.server.sysctl("ipv4/ip_forward", "1");
    for far in [NOWHERE, NARROW] {
        world.client.ip(&format!("route add {far}/32 via {SERVER}"));
    }
    world.server.ip(&format!("route add {NARROW}/32 via {CLIENT} mtu lock 600"));
    assert!(!world.connects(SERVER, 7001) && !world.connects(SERVER, 7002) && !world.connects(NOBODY, 7003));
    world.datagrams(SERVER, 7004, 5, 100);
    world.datagrams(NOWHERE, 7005, 5, 100);
    // The first one is too big; the system sends others in smaller parts.
    world.datagrams(NARROW, 7006, 1, 1_200);
    world.resolve(&["gone.test", "broken.test", "silent.test"]);
    wait_for_records(capture, &[&|flow| flow["DnsErrno"] == 110]);
    // A request without an answer is one only after the time for an answer.
    let files = capture.files();
    let start = |flow: &Value| flow["TimeFlowStartMs"].as_u64().unwrap_or(0);
    capture.wait_until("records of some seconds later", || {
        world.ping();
        let flows = files.flows();
        let asked = flows.iter().filter(|flow| flow["DstPort"] == 7003).map(start).min();
        flows.iter().map(start).max() > asked.map(|asked| asked + 3_000)
    });
}

#[test]
fn each_fault_is_reported_by_its_cause() {
    require_privileged!();
    let world = World::new();
    let mut capture = world.capture(&[]);
    break_everything(&world, &mut capture);
    let ended = capture.stop();
    let all = findings(&ended, &[]);
    let wanted = [
        "dns-failed broken",
        "dns-no-name gone",
        "dns-timeout silent",
        "dropped-by-filter 7001",
        "no-listener 7004",
        "no-route 7005",
        "refused 7002",
        "too-big 7006",
        "unanswered 7003",
    ];
    assert_eq!(kinds(&all), wanted, "{all:#?}");
    let said = &ended.finished.stderr;
    assert!(said.contains("What went wrong:\n  "), "{said}");
    let database = ended.files().database();
    for finding in &all {
        let condition = finding["records"].as_str().expect("a condition");
        let sql = format!("SELECT count(*) FROM flow WHERE {condition}");
        let records: i64 =
            database.query_row(&sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(records > 0, "{sql}");
        let sql = "SELECT count(*) FROM finding WHERE sentence = ? AND remedy = ?";
        let ends = [finding["sentence"].as_str(), finding["remedy"].as_str()];
        let saved: i64 = database.query_row(sql, ends, |row| row.get(0)).expect("table finding");
        assert_eq!(saved, 1, "{finding}");
    }
    let one = findings(&ended, &[CLIENT, "10.62.2.1:7001"]);
    let one: Vec<_> = one.iter().filter(|finding| finding["port"] != 53).collect();
    assert_eq!(one.len(), 1, "{one:#?}");
    assert!(
        one[0]["evidence"]
            .as_array()
            .is_some_and(|list| list.iter().any(|text| text.as_str().is_some_and(|text| text.contains("(SYN)"))))
    );
}

#[test]
fn healthy_traffic_has_no_finding() {
    require_privileged!();
    let world = World::new();
    let mut capture = world.capture(&[]);
    world.talk(8000);
    world.ping();
    // The steps of a search path, up to the name that exists.
    world.resolve(&["db.store.shop.svc.cluster.local", "db.store.svc.cluster.local", "fine.test"]);
    world.talk(8001);
    wait_for_records(&mut capture, &[&|flow| flow["SrcPort"] == 8001]);
    let ended = capture.stop();
    let dropped = ended.files().number("SELECT count(*) FROM flow WHERE IcmpType = 0 AND PktDropPackets > 0");
    assert!(dropped > 0, "the kernel drops its copy of an answer to a ping");
    assert_eq!(findings(&ended, &[]), Vec::<Value>::new());
}

/// `why --local` opens the connection itself, captures it, and reports at the end, here on Ctrl-C.
#[test]
fn a_connection_from_this_machine_is_tried_and_explained() {
    require_privileged!();
    let world = World::new();
    let dir = tempfile::tempdir().expect("a folder");
    let binaries = binaries();
    let interfaces = format!("--interfaces={}", world.veth.a.name);
    let to = format!("{SERVER}:7002");
    let words = ["why", "--local", &to, &interfaces, "--for=5m", "-o", "json"];
    let why = world.client.run(&binaries.plugin.display().to_string()).args(words).dir(dir.path());
    let why =
        why.env("NETOBSERV_COLLECTOR_BIN", &binaries.collector).env("NETOBSERV_AGENT_BIN", &binaries.agent).start();
    let is_there = || {
        let output = dir.path().join("output");
        output.join("flow").is_dir() && Files::of(&output).flows().iter().any(|flow| flow["SrcPort"] == 7002)
    };
    assert!(wait_for(Duration::from_secs(60), is_there), "{}\n{}", why.stdout(), why.stderr());
    why.signal(Signal::SIGINT);
    let done = why.wait(Duration::from_secs(60));
    assert_eq!(done.code(), 0, "{done}");
    let report: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done}"));
    let finding = &report["findings"][0];
    assert_eq!((&finding["kind"], &finding["port"]), (&"refused".into(), &7002.into()), "{done}");
    assert!(finding["remedy"].as_str().is_some_and(|remedy| remedy.contains("ss -ltn")), "{done}");
    assert!(done.stderr.contains(&format!("connections from this machine to {to} were opened")), "{done}");
}

#[test]
fn a_script_reads_the_exit_code() {
    require_privileged!();
    let world = World::new();
    let mut capture = world.capture(&["--expect=10.62.1.1 -> 10.62.2.1:8000", "--forbid=any -> 10.62.2.1:7002"]);
    world.talk(8000);
    assert!(!world.connects(SERVER, 7002));
    wait_for_records(&mut capture, &[&|flow| flow["SrcPort"] == 7002, &|flow| flow["SrcPort"] == 8000]);
    let ended = capture.terminate();
    assert_eq!(ended.finished.code(), 3, "{}", ended.finished);
    let said = &ended.finished.stderr;
    assert!(said.contains("met: --expect='10.62.1.1 -> 10.62.2.1:8000' (answered: "), "{said}");
    assert!(said.contains("error: not met: --forbid='any -> 10.62.2.1:7002' ("), "{said}");
    ended.files().assert_whole();

    let from = format!("--from={}", db(&ended));
    let junit = ended.dir().join("report.xml");
    let junit_word = format!("--report=junit:{}", junit.display());
    for (words, code) in [
        (&[][..], 0),
        (&["--expect=10.62.1.0/24 -> 10.62.2.1:8000"], 0),
        (&["--expect=10.62.1.1 -> 10.62.2.1:7002"], 3),
        (&["--expect=10.62.1.1 -> 10.62.2.1:8009"], 3),
        (&["--forbid=10.62.1.1 -> 10.62.2.1:8009"], 0),
        (&["--forbid=10.62.1.1 -> 10.62.2.1:8000"], 3),
        (&["--fail-on=dns-errors>1%, unanswered>0"], 0),
        (&["--fail-on=refused>0"], 3),
        (&["--fail-on=refused>0", "--report=github"], 3),
        (&["--fail-on=resets>1000000", "--fail-on=refused>0", &junit_word], 3),
        (&["--fail-on=nonsense>0"], 2),
        (&["--expect=a b"], 2),
        (&["--report=xml"], 2),
        (&["-o", "yaml"], 2),
        (&["--frobnicate"], 2),
    ] {
        let finished = netobserv(ended.dir(), &[&["why", &from], words].concat());
        assert_eq!(finished.code(), code, "{words:?}: {finished}");
        assert_eq!(finished.stderr.contains("error: "), code != 0, "{words:?}: {finished}");
    }
    let xml = std::fs::read_to_string(junit).expect("the report");
    assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    for (words, code) in [
        (vec!["why"], 2),
        (vec!["why", "--local"], 2),
        (vec!["why", "--local", "10.62.2.1"], 2),
        (vec!["why", "shop/web"], 2),
        (vec!["why", "any", "outside"], 2),
        (vec!["why", "shop/web", "shop/db:5432", "--for=never"], 2),
        (vec!["why", &from, "--for=10s"], 2),
        (vec!["why", "--from=absent.db"], 1),
        (vec!["policy", &from], 2),
        (vec!["policy", &from, "--objects=absent.json", "--ns=shop"], 1),
        (vec!["flows", "--local", "--fail-on=drops"], 2),
        (vec!["flows", "--background", "--fail-on=drops>0"], 2),
        (vec!["flows", "--report=junit:a"], 2),
        (vec!["packets", "--port=80", "--fail-on=drops>0"], 2),
    ] {
        let finished = netobserv(ended.dir(), &words);
        assert_eq!(finished.code(), code, "{words:?}: {finished}");
    }
}
