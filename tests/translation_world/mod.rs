//! A way from a client by a router to a server, on which addresses are translated by nftables.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use netobserv_testkit::capture::{Sum, sum};
use netobserv_testkit::link::{Counters, bring_up};
use netobserv_testkit::{Ended, LocalCapture, Netns, Veth, link_counters};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt};
use serde_json::Value;

pub(crate) const SOON: Duration = Duration::from_secs(20);
/// The ends of the links, and an address that is translated to the server's.
pub(crate) const CLIENT: &str = "10.31.0.2";
pub(crate) const GATEWAY: &str = "10.31.0.1";
pub(crate) const ROUTER: &str = "10.32.0.1";
pub(crate) const SERVER: &str = "10.32.0.2";
pub(crate) const SERVICE: &str = "10.96.0.10";
/// Client and router, router and server.
pub(crate) const CLIENT6: [&str; 2] = ["fd31::2", "fd31::1"];
pub(crate) const SERVER6: [&str; 2] = ["fd32::1", "fd32::2"];
pub(crate) const SERVICE6: &str = "fd96::10";
/// Longer than two windows.
pub(crate) const A_WHILE: Duration = Duration::from_millis(2_500);

/// Client, router and server in a row; nothing is sent but what a test sends.
pub(crate) struct Way {
    pub(crate) client: Netns,
    pub(crate) router: Netns,
    pub(crate) server: Netns,
    pub(crate) near: Veth,
    pub(crate) far: Veth,
}

impl Way {
    pub(crate) fn new(rules: &str) -> Self {
        Self::with(rules, false)
    }

    pub(crate) fn with(rules: &str, ipv6: bool) -> Self {
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
    pub(crate) fn nft(&self, rules: &str) {
        translate(&self.router, rules);
    }

    pub(crate) fn capture(&self, options: &[&str]) -> LocalCapture {
        self.capture_at(&self.ends(), options)
    }

    /// In the order from client to server.
    pub(crate) fn ends(&self) -> [(&Netns, &str); 4] {
        [
            (&self.client, &self.near.a.name),
            (&self.router, &self.near.b.name),
            (&self.router, &self.far.a.name),
            (&self.server, &self.far.b.name),
        ]
    }

    pub(crate) fn capture_at(&self, ends: &[(&Netns, &str)], options: &[&str]) -> LocalCapture {
        let names: Vec<&str> = ends.iter().map(|(_, name)| *name).collect();
        let named = format!("--interfaces={}", names.join(","));
        let mut capture = LocalCapture::start(&[&[named.as_str()], options].concat());
        ends.iter().for_each(|(ns, name)| capture.wait_attached(ns, name));
        capture
    }

    pub(crate) fn counters(&self) -> Counters {
        link_counters(&self.client, &self.near.a.name)
    }

    /// Requests and answers over TCP, for a while.
    pub(crate) fn talk(&self, to: &str, at: (&Netns, &str), time: Duration) {
        let connection = Connection::open(self, to, at);
        connection.talk(time);
    }

    /// Captures while `traffic` passes. What counts is what the client's interface counted, each packet once.
    #[track_caller]
    pub(crate) fn account(&self, traffic: impl FnOnce()) -> Vec<Value> {
        self.account_with(self.capture(&[]), traffic)
    }

    /// The same with a capture that has been started.
    #[track_caller]
    pub(crate) fn account_with(&self, capture: LocalCapture, traffic: impl FnOnce()) -> Vec<Value> {
        let (flows, counted, ended) = self.record(capture, traffic);
        assert_eq!(sum(&flows, counts), counted, "what the client's interface counted\n{}", table(&flows, &ended));
        flows
    }

    /// The records of a capture while `traffic` passes, and what the client's interface counted.
    #[track_caller]
    pub(crate) fn record(&self, capture: LocalCapture, traffic: impl FnOnce()) -> (Vec<Value>, Sum, Ended) {
        let start = self.counters();
        traffic();
        let counted = self.counters().since(&start);
        assert!(counted.rx_packets > 0 && counted.tx_packets > 0, "{counted:?}");
        let ended = capture.stop();
        let flows = ended.files().flows();
        let packets = counted.rx_packets + counted.tx_packets;
        (flows, Sum { packets, bytes: counted.rx_bytes + counted.tx_bytes }, ended)
    }
}

/// Rules of chains `in`, `out` and `local` of table `nat`, a line each; they are instead of those before.
pub(crate) fn translate(ns: &Netns, rules: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules");
    let chain = |name: &str, priority: i32, rules: &str| {
        format!("chain {name} {{ type nat hook {name} priority {priority}; {rules} }}\n")
    };
    let part = |name: &str| {
        let lines = rules.lines().filter_map(|line| line.trim().strip_prefix(name));
        lines.fold(String::new(), |text, rule| format!("{text}{rule}\n"))
    };
    let chains = [("in:", "prerouting", -100), ("out:", "postrouting", 100), ("local:", "output", -100)];
    let chains = chains.map(|(prefix, name, priority)| chain(name, priority, &part(prefix))).concat();
    let all = format!("table inet nat\ndelete table inet nat\ntable inet nat {{\n{chains}}}\n");
    std::fs::write(&file, all).unwrap();
    ns.run("nft").arg("-f").arg(&file).output();
}

/// A connection of the client with a server that answers each byte with a thousand.
pub(crate) struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    pub(crate) fn open(way: &Way, to: &str, (ns, address): (&Netns, &str)) -> Self {
        let listener = ns.enter(|| TcpListener::bind(address).unwrap());
        let to: SocketAddr = to.parse().unwrap();
        let client = way.client.enter(|| TcpStream::connect_timeout(&to, SOON)).unwrap();
        Self { client, server: listener.accept().unwrap().0 }
    }

    /// From this port of the client; its end is an RST, after which the port is free.
    pub(crate) fn from_port(way: &Way, port: u16, to: &str, at: &str) -> Self {
        let listener = way.server.enter(|| TcpListener::bind(at).unwrap());
        let to: SocketAddrV4 = to.parse().unwrap();
        let client = way.client.enter(|| {
            let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
            setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
            setsockopt(&socket, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
            bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port)).unwrap();
            connect(socket.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
            TcpStream::from(socket)
        });
        Self { client, server: listener.accept().unwrap().0 }
    }

    pub(crate) fn talk(mut self, time: Duration) {
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

pub(crate) fn counts(flow: &Value) -> bool {
    flow["Duplicate"].is_null()
}

pub(crate) fn table(flows: &[Value], ended: &Ended) -> String {
    let fields = ["SrcAddr", "SrcPort", "DstAddr", "DstPort", "Packets", "Bytes", "Duplicate", "Interfaces"];
    let line = |flow: &Value| fields.map(|field| flow[field].to_string()).join(" ");
    flows.iter().map(line).collect::<Vec<_>>().join("\n") + "\n" + &ended.finished.to_string()
}

/// The other tuple of a record, from fields that begin with `prefix`.
pub(crate) fn other(flow: &Value, prefix: &str) -> [Value; 4] {
    ["SrcAddr", "SrcPort", "DstAddr", "DstPort"].map(|field| flow[format!("{prefix}{field}")].clone())
}

/// Records between two addresses, either way.
pub(crate) fn between<'a>(flows: &'a [Value], a: &str, b: &str) -> Vec<&'a Value> {
    let ends =
        |flow: &Value| (flow["SrcAddr"] == a && flow["DstAddr"] == b, flow["SrcAddr"] == b && flow["DstAddr"] == a);
    let found: Vec<_> = flows.iter().filter(|flow| matches!(ends(flow), (true, _) | (_, true))).collect();
    assert!(!found.is_empty(), "records between {a} and {b}");
    found
}

/// Records between `before` are translated to `after`, and those between `after` have been: each has the other's tuple, and only the
/// former count.
#[track_caller]
pub(crate) fn assert_one_conversation(flows: &[Value], before: [&str; 2], after: [&str; 2]) {
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
