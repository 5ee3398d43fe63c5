//! Addresses are translated on the way: what is seen before and after is one conversation, and its packets count once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use netobserv_testkit::capture::{Sum, sum};
use netobserv_testkit::link::{Counters, bring_up};
use netobserv_testkit::{Ended, LocalCapture, Netns, Veth, link_counters, require_privileged};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
/// The ends of the links, and an address that is translated to the server's.
const CLIENT: &str = "10.31.0.2";
const GATEWAY: &str = "10.31.0.1";
const ROUTER: &str = "10.32.0.1";
const SERVER: &str = "10.32.0.2";
const SERVICE: &str = "10.96.0.10";
/// Client and router, router and server.
const CLIENT6: [&str; 2] = ["fd31::2", "fd31::1"];
const SERVER6: [&str; 2] = ["fd32::1", "fd32::2"];
const SERVICE6: &str = "fd96::10";
/// Longer than two windows.
const A_WHILE: Duration = Duration::from_millis(2_500);

/// Client, router and server in a row; nothing is sent but what a test sends.
struct Way {
    client: Netns,
    router: Netns,
    server: Netns,
    near: Veth,
    far: Veth,
}

impl Way {
    fn new(rules: &str) -> Self {
        Self::with(rules, false)
    }

    fn with(rules: &str, ipv6: bool) -> Self {
        let [client, router, server] = ["client", "router", "server"].map(Netns::new);
        if !ipv6 {
            [&client, &router, &server].into_iter().for_each(Netns::no_ipv6);
        }
        let ends = |ends: [&str; 2]| ends.map(|end| format!("{end}/{}", if ipv6 { 64 } else { 24 }));
        let [client_end, near_end] = ends(if ipv6 { CLIENT6 } else { [CLIENT, GATEWAY] });
        let [far_end, server_end] = ends(if ipv6 { SERVER6 } else { [ROUTER, SERVER] });
        let near = Veth::with_neighbours(&client, &[&client_end], &router, &[&near_end]);
        let far = Veth::with_neighbours(&router, &[&far_end], &server, &[&server_end]);
        bring_up(&router, "lo", &[]);
        for (ns, gateway) in [(&client, near_end), (&server, far_end)] {
            let gateway = gateway.split('/').next().unwrap();
            ns.ip(&format!("route add default via {gateway}"));
        }
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv4/conf/all/send_redirects", "0");
        router.sysctl(&format!("ipv4/conf/{}/send_redirects", near.b.name), "0");
        if ipv6 {
            router.sysctl("ipv6/conf/all/forwarding", "1");
        }
        let way = Self { client, router, server, near, far };
        way.nft(rules);
        way
    }

    /// Rules of table `nat` in the router.
    fn nft(&self, rules: &str) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rules");
        let chain = |name: &str, priority: i32, rules: &str| {
            format!("chain {name} {{ type nat hook {name} priority {priority}; {rules} }}\n")
        };
        let part = |name: &str| {
            let lines = rules.lines().filter_map(|line| line.trim().strip_prefix(name));
            lines.fold(String::new(), |text, rule| format!("{text}{rule}\n"))
        };
        let chains = chain("prerouting", -100, &part("in:")) + &chain("postrouting", 100, &part("out:"));
        std::fs::write(&file, format!("table inet nat {{\n{chains}}}\n")).unwrap();
        self.router.run("nft").arg("-f").arg(&file).output();
    }

    fn capture(&self, options: &[&str]) -> LocalCapture {
        let ends = [
            (&self.client, &self.near.a),
            (&self.router, &self.near.b),
            (&self.router, &self.far.a),
            (&self.server, &self.far.b),
        ];
        let names = ends.map(|(_, end)| end.name.as_str()).join(",");
        let mut capture = LocalCapture::start(&[&[format!("--interfaces={names}").as_str()], options].concat());
        ends.iter().for_each(|(ns, end)| capture.wait_attached(ns, &end.name));
        capture
    }

    fn counters(&self) -> Counters {
        link_counters(&self.client, &self.near.a.name)
    }

    /// Requests and answers over TCP, for a while.
    fn talk(&self, to: &str, at: (&Netns, &str), time: Duration) {
        let connection = Connection::open(self, to, at);
        connection.talk(time);
    }

    /// Captures while `traffic` passes. What counts is what the client's interface counted, each packet once.
    #[track_caller]
    fn account(&self, traffic: impl FnOnce()) -> Vec<Value> {
        let capture = self.capture(&[]);
        let start = self.counters();
        traffic();
        let counted = self.counters().since(&start);
        let ended = capture.stop();
        let flows = ended.files().flows();
        assert!(counted.rx_packets > 0 && counted.tx_packets > 0, "{counted:?}");
        let wanted =
            Sum { packets: counted.rx_packets + counted.tx_packets, bytes: counted.rx_bytes + counted.tx_bytes };
        assert_eq!(sum(&flows, counts), wanted, "what the client's interface counted\n{}", table(&flows, &ended));
        flows
    }
}

/// A connection of the client with a server that answers each byte with a thousand.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn open(way: &Way, to: &str, (ns, address): (&Netns, &str)) -> Self {
        let listener = ns.enter(|| TcpListener::bind(address).unwrap());
        let to: SocketAddr = to.parse().unwrap();
        let client = way.client.enter(|| TcpStream::connect_timeout(&to, SOON)).unwrap();
        Self { client, server: listener.accept().unwrap().0 }
    }

    fn talk(mut self, time: Duration) {
        let end = Instant::now() + time;
        let mut answer = vec![0; 1_000];
        while Instant::now() < end {
            self.client.write_all(b"?").unwrap();
            self.server.read_exact(&mut answer[..1]).unwrap();
            self.server.write_all(&answer).unwrap();
            self.client.read_exact(&mut answer).unwrap();
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

fn counts(flow: &Value) -> bool {
    flow["Duplicate"].is_null()
}

fn table(flows: &[Value], ended: &Ended) -> String {
    let fields = ["SrcAddr", "SrcPort", "DstAddr", "DstPort", "Packets", "Bytes", "Duplicate", "Interfaces"];
    let line = |flow: &Value| fields.map(|field| flow[field].to_string()).join(" ");
    flows.iter().map(line).collect::<Vec<_>>().join("\n") + "\n" + &ended.finished.to_string()
}

/// The other tuple of a record, from fields that begin with `prefix`.
fn other(flow: &Value, prefix: &str) -> [Value; 4] {
    ["SrcAddr", "SrcPort", "DstAddr", "DstPort"].map(|field| flow[format!("{prefix}{field}")].clone())
}

/// Records between two addresses, either way.
fn between<'a>(flows: &'a [Value], a: &str, b: &str) -> Vec<&'a Value> {
    let ends =
        |flow: &Value| (flow["SrcAddr"] == a && flow["DstAddr"] == b, flow["SrcAddr"] == b && flow["DstAddr"] == a);
    let found: Vec<_> = flows.iter().filter(|flow| matches!(ends(flow), (true, _) | (_, true))).collect();
    assert!(!found.is_empty(), "records between {a} and {b}");
    found
}

/// Records between `before` are translated to `after`, and those between `after` have been: each has the other's tuple, and only the
/// former count.
#[track_caller]
fn assert_one_conversation(flows: &[Value], before: [&str; 2], after: [&str; 2]) {
    let [originals, others] = [before, after].map(|[a, b]| between(flows, a, b));
    for (records, prefix, [client, server], duplicate) in
        [(originals, "Xlat", after, None), (others, "Orig", before, Some("translation"))]
    {
        for flow in records {
            let [src, _, dst, _] = other(flow, prefix);
            let forward = flow["FromClient"] == 1;
            let wanted = if forward { [client, server] } else { [server, client] };
            assert_eq!([src, dst], wanted, "{prefix} of {flow}");
            assert_eq!(flow["Duplicate"].as_str(), duplicate, "{flow}");
            assert_eq!(
                flow["FromClient"] == 1,
                flow["SrcAddr"] == if prefix == "Xlat" { before[0] } else { after[0] },
                "{flow}"
            );
        }
    }
}

#[test]
fn a_service_is_its_server_and_counts_once() {
    require_privileged!("a_service_is_its_server_and_counts_once");
    let way = Way::new(&format!("in: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:8080"));
    let flows = way.account(|| way.talk(&format!("{SERVICE}:80"), (&way.server, "0.0.0.0:8080"), A_WHILE));
    assert_one_conversation(&flows, [CLIENT, SERVICE], [CLIENT, SERVER]);
    let request = flows.iter().find(|flow| flow["DstAddr"] == SERVICE).unwrap();
    let [_, src_port, _, dst_port] = other(request, "Xlat");
    assert_eq!((src_port, dst_port), (request["SrcPort"].clone(), 8_080.into()), "{request}");
}

#[test]
fn a_masqueraded_connection_counts_once() {
    require_privileged!("a_masqueraded_connection_counts_once");
    let way = Way::new(&format!("out: ip daddr {SERVER} masquerade"));
    let flows = way.account(|| way.talk(&format!("{SERVER}:8080"), (&way.server, "0.0.0.0:8080"), A_WHILE));
    assert_one_conversation(&flows, [CLIENT, SERVER], [ROUTER, SERVER]);
}

#[test]
fn both_ends_are_translated_at_once() {
    require_privileged!("both_ends_are_translated_at_once");
    let way = Way::new(&format!(
        "in: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:8080\nout: ip daddr {SERVER} masquerade random"
    ));
    let flows = way.account(|| way.talk(&format!("{SERVICE}:80"), (&way.server, "0.0.0.0:8080"), A_WHILE));
    assert_one_conversation(&flows, [CLIENT, SERVICE], [ROUTER, SERVER]);
}

#[test]
fn a_service_of_ipv6_counts_once() {
    require_privileged!("a_service_of_ipv6_counts_once");
    let server = SERVER6[1];
    let way = Way::with(&format!("in: ip6 daddr {SERVICE6} tcp dport 80 dnat ip6 to [{server}]:8080"), true);
    let flows = way.account(|| way.talk(&format!("[{SERVICE6}]:80"), (&way.server, "[::]:8080"), A_WHILE));
    assert_one_conversation(&flows, [CLIENT6[0], SERVICE6], [CLIENT6[0], server]);
}

#[test]
fn a_connection_that_began_before_the_capture_counts_once() {
    require_privileged!("a_connection_that_began_before_the_capture_counts_once");
    let way = Way::new(&format!(
        "in: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:8080\nout: ip daddr {SERVER} masquerade"
    ));
    let connection = Connection::open(&way, &format!("{SERVICE}:80"), (&way.server, "0.0.0.0:8080"));
    let flows = way.account(|| connection.talk(A_WHILE));
    assert_one_conversation(&flows, [CLIENT, SERVICE], [ROUTER, SERVER]);
}
