//! DNS as a person debugging it meets it: a real server (dnsmasq) that answers, refuses, fails, is slow or silent, and
//! the capture's fields against what `dig` was told and what tshark decoded of the same packets.
//!
//! dnsmasq forwards what it does not know to an upstream of the test's own, which can be slow, broken or silent.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use netobserv_testkit::{LocalCapture, Netns, Process, Veth, require_privileged, wait_for};
use serde_json::Value;

const SERVER: &str = "10.53.0.2";
const SERVER6: &str = "fd53::2";
/// What the upstream waits before it answers names in `slow.test`.
const SLOW: Duration = Duration::from_millis(200);

/// A client, a server, dnsmasq in between its own data and the upstream.
struct World {
    client: Netns,
    server: Netns,
    veth: Veth,
    dnsmasq: Process,
    stop: Arc<AtomicBool>,
}

impl World {
    fn new() -> Self {
        let (client, server) = (Netns::new("client"), Netns::new("server"));
        let addresses: [&[&str]; 2] = [&["10.53.0.1/24", "fd53::1/64"], &["10.53.0.2/24", "fd53::2/64"]];
        client.quieten("default");
        server.quieten("default");
        let veth = Veth::new(&client, addresses[0], &server, addresses[1]);
        server.ip("link set lo up");
        let stop = Arc::new(AtomicBool::new(false));
        let socket = server.enter(|| UdpSocket::bind("127.0.0.1:5300")).expect("the upstream's socket");
        let flag = stop.clone();
        std::thread::spawn(move || upstream(&socket, &flag));
        let long = format!("--txt-record=big.test,{}", ["x".repeat(250).as_str(); 4].join(","));
        let words =
            ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces", "--cache-size=0", "--pid-file"];
        let listen = format!("--listen-address={SERVER},{SERVER6}");
        let rules = ["--address=/good.test/192.0.2.7", "--address=/none.test/", "--server=127.0.0.1#5300"];
        let dnsmasq = server.run("dnsmasq").args(words).args(rules).arg(&listen).arg(&long).start();
        let up =
            || client.run("dig").args(["+time=1", "+tries=1", "+short", &format!("@{SERVER}"), "good.test"]).finish();
        let answers = wait_for(Duration::from_secs(20), || up().stdout.contains("192.0.2.7"));
        assert!(answers, "dnsmasq does not answer: {} {}", dnsmasq.stdout(), dnsmasq.stderr());
        Self { client, server, veth, dnsmasq, stop }
    }

    /// What `dig` was told: the response code and the id.
    fn dig(&self, words: &[&str]) -> (String, u64) {
        let told = self.client.run("dig").args(["+tries=1", "+time=3", "+noedns"]).args(words).finish().stdout;
        let after =
            |mark: &str| told.split_once(mark).map(|(_, rest)| rest.split([',', '\n']).next().unwrap_or_default());
        let id = after(", id: ").and_then(|id| id.trim().parse().ok()).unwrap_or_default();
        (after("status: ").unwrap_or("no answer").to_owned(), id)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.dnsmasq.signal(netobserv_testkit::Signal::SIGKILL);
    }
}

/// Answers by name: `slow.test` late, `broken.test` with SERVFAIL, the rest never.
fn upstream(socket: &UdpSocket, stop: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let mut buffer = [0; 512];
    while !stop.load(Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let mut message = buffer[..length].to_vec();
        let asked = String::from_utf8_lossy(&message).to_lowercase();
        let rcode = match () {
            () if asked.contains("slow") => 0,
            () if asked.contains("broken") => 2,
            () => continue,
        };
        if rcode == 0 {
            std::thread::sleep(SLOW);
        }
        // An answer without records: the question, and the bits that make it one (RFC 1035, 4.1.1).
        message[2] |= 0x80;
        message[3] = 0x80 | rcode;
        let _ = socket.send_to(&message, from);
    }
}

/// Prints a row for each answer, as soon as it passes.
fn tshark(world: &World) -> Process {
    let fields = ["ip.proto", "ipv6.nxt", "dns.id", "dns.flags", "dns.qry.name", "dns.time"];
    let fields = fields.into_iter().flat_map(|field| ["-e", field]);
    let run =
        world.client.run("tshark").args(["-i", &world.veth.a.name, "-f", "port 53", "-Y", "dns.flags.response==1"]);
    run.args(["-l", "-T", "fields"]).args(fields).start()
}

#[test]
fn every_field_is_what_dig_and_tshark_saw() {
    require_privileged!();
    let world = World::new();
    let mut shark = tshark(&world);
    assert!(wait_for(Duration::from_secs(20), || shark.ended() || shark.stderr().contains("Capturing on")), "tshark");
    let options = ["--enable_dns"];
    let capture = LocalCapture::of(&world.client, &world.veth.a.name, &options);

    let (v4, v6) = (format!("@{SERVER}"), format!("@{SERVER6}"));
    let cases: Vec<(&str, Vec<&str>, &str)> = vec![
        ("good.test", vec![&v4, "good.test"], "NoError"),
        ("a.none.test", vec![&v4, "a.none.test"], "NXDomain"),
        ("a.broken.test", vec![&v4, "a.broken.test"], "ServFail"),
        ("a.slow.test", vec![&v4, "a.slow.test"], "NoError"),
        ("www.good.test", vec!["+tcp", &v4, "www.good.test"], "NoError"),
        ("six.good.test", vec![&v6, "six.good.test"], "NoError"),
        ("six.none.test", vec![&v6, "six.none.test", "AAAA"], "NXDomain"),
    ];
    let mut told = BTreeMap::new();
    for (name, words, _) in &cases {
        told.insert(*name, world.dig(words));
    }
    // Too long for UDP without EDNS: dig asks again over TCP by itself.
    let (status, _) = world.dig(&[&v4, "big.test", "TXT"]);
    assert_eq!(status, "NOERROR");
    let (status, _) = world.dig(&["+time=1", &v4, "a.silent.test"]);
    assert_eq!(status, "no answer");

    assert!(
        wait_for(Duration::from_secs(20), || capture_has(&capture, "a.silent.test")),
        "the query without an answer is reported after its time"
    );
    let decoded = || shark.stdout().lines().count();
    assert!(wait_for(Duration::from_secs(10), || decoded() >= cases.len() + 2), "tshark saw {}", shark.stdout());
    let decoded = rows(&shark.stdout());
    let files = capture.stop();
    let flows = files.files().flows();

    for (name, _, rcode) in &cases {
        let flow = only(&flows, name);
        let (status, id) = &told[name];
        assert_eq!(flow["DnsFlagsResponseCode"].as_str(), Some(*rcode), "{name}");
        assert_eq!(status.to_lowercase(), rcode.to_lowercase(), "{name}: dig");
        assert_eq!(flow["DnsId"].as_u64(), Some(*id), "{name}: dig");
        assert_eq!(flow["DnsErrno"].as_u64(), Some(0), "{name}");
        let row =
            decoded.iter().find(|row| row.name == *name).unwrap_or_else(|| panic!("tshark has no {name}: {decoded:?}"));
        assert_eq!(
            (flow["DnsId"].as_u64(), flow["DnsFlags"].as_u64()),
            (Some(row.id), Some(row.flags)),
            "{name}: tshark"
        );
        let micros = flow["DnsLatencyUs"].as_u64().unwrap_or_else(|| panic!("{name}: no latency"));
        assert_eq!(flow["DnsLatencyMs"], micros / 1_000, "{name}");
        let latency = micros as f64 / 1e3;
        assert!((latency - row.time_ms).abs() < 3.0, "{name}: {latency} ms, tshark says {} ms", row.time_ms);
        assert_eq!(flow["SrcPort"], 53, "{name}: the answer's flow has it");
    }
    let slow = only(&flows, "a.slow.test")["DnsLatencyMs"].as_u64().expect("a latency");
    assert!((200..260).contains(&slow), "{slow} ms");
    assert_eq!(only(&flows, "www.good.test")["Proto"], 6);

    let big: Vec<_> = dns(&flows).filter(|flow| flow["DnsName"] == "big.test").collect();
    let mut protocols: Vec<_> = big.iter().filter_map(|flow| flow["Proto"].as_u64()).collect();
    protocols.sort_unstable();
    assert_eq!(protocols, [6, 17], "once cut off over UDP, once whole over TCP: {big:?}");
    let cut = big.iter().find(|flow| flow["Proto"] == 17).and_then(|flow| flow["DnsFlags"].as_u64()).expect("flags");
    assert_ne!(cut & 0x200, 0, "the TC bit (RFC 1035)");

    let silent = only(&flows, "a.silent.test");
    assert_eq!(silent["DnsErrno"], 110, "ETIMEDOUT");
    assert_eq!((silent.get("DnsLatencyUs"), silent.get("DnsFlagsResponseCode")), (None, None));
    assert_eq!(silent["DstPort"], 53, "the query's flow has it");
}

fn capture_has(capture: &LocalCapture, name: &str) -> bool {
    dns(&capture.files().flows()).any(|flow| flow["DnsName"] == name)
}

fn dns(flows: &[Value]) -> impl Iterator<Item = &Value> {
    flows.iter().filter(|flow| flow.get("DnsId").is_some())
}

/// The one transaction with this name.
#[track_caller]
fn only<'a>(flows: &'a [Value], name: &str) -> &'a Value {
    let found: Vec<_> = dns(flows).filter(|flow| flow["DnsName"] == name).collect();
    let [one] = found[..] else { panic!("{name}: {found:?}") };
    one
}

#[derive(Debug)]
struct Decoded {
    id: u64,
    flags: u64,
    name: String,
    time_ms: f64,
}

fn rows(text: &str) -> Vec<Decoded> {
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a hexadecimal number");
    let row = |line: &str| {
        let words: Vec<&str> = line.split('\t').collect();
        let [_, _, id, flags, name, time] = words[..] else { panic!("six fields: {line:?}") };
        let time_ms = time.parse::<f64>().unwrap_or_default() * 1000.0;
        Decoded { id: hex(id), flags: hex(flags), name: name.to_owned(), time_ms }
    };
    text.lines().map(row).collect()
}

#[test]
fn a_query_that_passes_two_interfaces_counts_once() {
    require_privileged!();
    let world = World::new();
    let both = format!("--interfaces={},{}", world.veth.a.name, world.veth.b.name);
    let mut capture = LocalCapture::start(&[&both, "--enable_dns"]);
    capture.wait_attached(&world.client, &world.veth.a.name);
    capture.wait_attached(&world.server, &world.veth.b.name);
    let server = format!("@{SERVER}");
    for _ in 0..5 {
        world.dig(&[&server, "good.test"]);
    }
    let ended = capture.stop();
    let flows = ended.files().flows();
    assert_eq!(dns(&flows).count(), 5, "{flows:?}");
    assert!(dns(&flows).all(|flow| flow["Interfaces"].as_array().is_some_and(|list| list.len() == 2)));
}
