//! Thirty-two faults in one capture of the cluster on one machine, each made for real: `why` names the cause, the object and the remedy of
//! each. Healthy connections beside them have no finding.
//!
//! All servers are addresses of one pod's network; what differs is their objects. Of services the cluster has the objects only: no
//! machine has their addresses, as nothing here translates them.

mod causes_world;
mod cluster_world;

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use causes_world::{Case, Fault, NAMES, cases};
use cluster_world::{A_MINUTE, NOTHING, Shop, capture, files};
use netobserv_testkit::link::{mac, neighbours};
use netobserv_testkit::names::resolve;
use netobserv_testkit::{Finished, Frame, Netns, Sender, Signal, require_privileged, wait::now_ms, wait_for};
use serde_json::{Value, json};

/// Where the server's machine has no route, and where its way is for small packets.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const NARROW: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
/// A MAC address that nothing has.
const NO_MAC: [u8; 6] = [2, 0, 0, 0, 0, 99];
/// How long the DNS server takes for a slow answer.
const SLOW: Duration = Duration::from_millis(400);
/// Servers without a fault, on the port of the shop.
const HEALTHY: [&str; 10] = ["fine", "good", "well", "calm", "safe", "open", "free", "glad", "keen", "neat"];

struct World {
    shop: Shop,
    cases: Vec<Case>,
}

impl World {
    /// Objects and addresses of all servers; the address is 10.77.2.(101 + place), of the healthy ones 10.77.2.(201 + place).
    fn open() -> Self {
        let shop = Shop::open(2);
        let cases = cases(shop.client.address);
        let world = Self { shop, cases };
        let (client, server) = (&world.shop.client.netns, &world.shop.server.netns);
        let gateway = world.shop.server.address;
        for case in &world.cases {
            let address = world.address(case);
            match case.fault {
                Fault::Dropped | Fault::Refused | Fault::Broken | Fault::Datagram | Fault::Full | Fault::Damaged => {
                    server.ip(&format!("address add {address}/16 dev eth0"));
                }
                Fault::Service | Fault::Nobody => neighbours(client, "eth0", &[&address.to_string()], NO_MAC),
                Fault::NoRoute | Fault::TooBig => drop(client.ip(&format!("route add {address}/32 via {gateway}"))),
                Fault::OfNode => {}
            }
            world.put(case, address);
        }
        for (place, name) in HEALTHY.iter().enumerate() {
            let address = healthy(place);
            server.ip(&format!("address add {address}/16 dev eth0"));
            world.shop.cluster.pod_at("shop", name, 1, 1, address);
        }
        server.sysctl("ipv4/ip_forward", "1");
        server.ip(&format!("route add {NARROW}/32 via {} mtu lock 600", world.shop.client.address));
        world.drop_what_policies_deny();
        world
    }

    fn address(&self, case: &Case) -> Ipv4Addr {
        let place = self.cases.iter().position(|other| other.name == case.name).expect("a case");
        match case.fault {
            Fault::NoRoute => NOWHERE,
            Fault::TooBig => NARROW,
            Fault::OfNode => self.shop.cluster.nodes()[0].address,
            _ => Ipv4Addr::new(10, 77, 2, 101 + u8::try_from(place).expect("few cases")),
        }
    }

    /// The objects of a case: those that make it wrong, and its pod.
    fn put(&self, case: &Case, address: Ipv4Addr) {
        let api = self.shop.cluster.api();
        let mut objects = case.objects.clone();
        for service in objects.iter_mut().filter(|object| object["kind"] == "Service") {
            (service["spec"]["clusterIP"], service["spec"]["clusterIPs"]) = (json!(address), json!([address]));
        }
        api.put_all(objects);
        let pod = |name: &str, address: Ipv4Addr, node: &str, port: Value, ready: &str| {
            self.shop.cluster.pod_at("shop", name, 1, 1, address);
            let patch = json!({"spec": {"nodeName": node, "containers": [{"name": name, "ports": [port]}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}});
            api.patch(&format!("/api/v1/namespaces/shop/pods/{name}-1"), &patch);
        };
        let web = json!({"name": "web", "containerPort": 9_001});
        match (case.fault, case.name) {
            (Fault::Dropped, name) => pod(name, address, "node2", web, "True"),
            (_, "waiting") => {
                pod("sleepy", Ipv4Addr::new(10, 77, 2, 190), "node2", json!({"containerPort": 9_000}), "False");
            }
            (_, "empty") => {
                pod("awake", Ipv4Addr::new(10, 77, 2, 191), "node2", json!({"containerPort": 9_000}), "True");
            }
            (_, "edge") => {
                pod(
                    "edge",
                    Ipv4Addr::new(10, 77, 2, 192),
                    "node2",
                    json!({"containerPort": 80, "hostPort": case.port}),
                    "True",
                );
            }
            (_, "stranded") => {
                let conditions = json!([{"type": "Ready", "status": "Unknown"}]);
                api.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node9"}, "spec": {},
                    "status": {"addresses": [{"type": "InternalIP", "address": "10.77.9.1"}], "conditions": conditions}}));
                pod("stranded", address, "node9", web, "True");
            }
            _ => {}
        }
    }

    /// Rules of the server's machine, as a network plugin makes them of policies.
    fn drop_what_policies_deny(&self) {
        let mut script = "add table inet t; add chain inet t input { type filter hook input priority 0; }".to_owned();
        for case in self.cases.iter().filter(|case| case.fault == Fault::Dropped) {
            script += &format!("; add rule inet t input ip daddr {} tcp dport {} drop", self.address(case), case.port);
        }
        self.shop.server.netns.run("nft").arg(script).output();
    }

    /// Makes each fault happen once.
    fn break_everything(&self) {
        let client = &self.shop.client.netns;
        let connects = |to: SocketAddr| client.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(100)));
        let datagrams = |to: SocketAddr, number: usize, size: usize| {
            let socket = client.enter(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket");
            // What came back for the one before may be reported here.
            (0..number).for_each(|_| drop(socket.send_to(&vec![0; size], to)));
        };
        for case in &self.cases {
            let to = SocketAddr::from((self.address(case), case.port));
            match case.fault {
                Fault::Dropped | Fault::Service | Fault::Refused | Fault::Nobody | Fault::OfNode => {
                    assert!(connects(to).is_err(), "{} answers", case.name);
                }
                Fault::Broken => self.break_off(to),
                Fault::Datagram | Fault::NoRoute => datagrams(to, 5, 100),
                Fault::Full => {
                    let deaf = self.shop.server.netns.enter(|| UdpSocket::bind(to)).expect("a port");
                    // More than any buffer of a socket has room for.
                    datagrams(to, 4_000, 1_000);
                    drop(deaf);
                }
                // The first one is too big; the system sends others in smaller parts.
                Fault::TooBig => datagrams(to, 1, 1_200),
                Fault::Damaged => self.send_damaged(case.port, self.address(case)),
            }
        }
        let server = self.shop.server.address.to_string();
        let names: Vec<_> = NAMES.iter().map(|(name, ..)| *name).collect();
        let code = |asked: &str| {
            let label = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
            let known = NAMES
                .iter()
                .find(|(name, ..)| asked.contains(&label(name)) && (label(name) != "db" || asked.contains("wrong")));
            if asked.contains("slow") {
                std::thread::sleep(SLOW);
            }
            known.map_or(Some(0), |(_, code, ..)| *code)
        };
        let all = [&names[..], &["db.store.svc.cluster.local"]].concat();
        resolve((client, &self.shop.client.address.to_string()), (&self.shop.server.netns, &server), &all, code);
    }

    /// Datagrams that something on the way has changed.
    fn send_damaged(&self, port: u16, address: Ipv4Addr) {
        let (client, server) = (&self.shop.client, &self.shop.server);
        let mac_of = |netns: &Netns| {
            let link = netns.ip("-o link show eth0");
            mac(link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).expect("a MAC address"))
        };
        let frame = Frame::new(mac_of(&client.netns), mac_of(&server.netns));
        let frame = frame.ipv4(&client.address.to_string(), &address.to_string()).udp(40_000, port).payload(100);
        let mut bytes = frame.build();
        *bytes.last_mut().expect("a payload") ^= 0xff;
        Sender::new(&client.netns, "eth0").send(&vec![bytes; 3]);
    }

    /// A server that closes a connection with data unread: a reset.
    fn break_off(&self, to: SocketAddr) {
        let listener = self.shop.server.netns.enter(|| TcpListener::bind(to)).expect("a port");
        let mut peer = self.shop.client.netns.enter(|| TcpStream::connect(to)).expect("the server");
        let (accepted, _) = listener.accept().expect("a client");
        std::io::Write::write_all(&mut peer, b"a question").expect("the server");
        assert!(wait_for(A_MINUTE, || accepted.peek(&mut [0; 1]).is_ok_and(|length| length > 0)));
        drop(accepted);
        assert!(peer.read(&mut [0; 1]).is_err(), "the connection goes on");
    }

    fn talk(&self) {
        for place in 0..HEALTHY.len() {
            let url = format!("http://{}:{}/", healthy(place), self.shop.port);
            let code = format!("import urllib.request as u; u.urlopen('{url}', timeout=20).read()");
            self.shop.client.netns.run("python3").args(["-c", &code]).output();
        }
    }

    /// `why` on the files of the capture.
    fn why(&self, words: &[&str]) -> Vec<Value> {
        let from = format!("--from={}", files(&self.shop).db.display());
        let binaries = netobserv_testkit::proc::binaries();
        let words = [&["why", &from, "-o", "json"], words].concat();
        let done: Finished =
            self.shop.cluster.plugin(&words).env("NETOBSERV_COLLECTOR_BIN", &binaries.collector).finish();
        assert_eq!(done.code(), 0, "{done}");
        let report: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done}"));
        report["findings"].as_array().expect("findings").clone()
    }

    /// Those between the client and a server, of its port.
    fn between(&self, address: Ipv4Addr, port: u16, words: &[&str]) -> Vec<Value> {
        let to = format!("{address}:{port}");
        let found = self.why(&[words, &["shop/client", &to]].concat());
        found.into_iter().filter(|finding| finding["port"] == port).collect()
    }
}

fn healthy(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 2, 201 + u8::try_from(place).expect("few of them"))
}

fn text<'a>(finding: &'a Value, field: &str) -> &'a str {
    finding[field].as_str().unwrap_or_default()
}

/// The one finding of a case, or what is wrong with it.
fn judge(case: &Case, found: &[Value]) -> Result<(), String> {
    let [finding] = found else { return Err(format!("{}: {} findings: {found:#?}", case.name, found.len())) };
    let is_named = text(finding, "sentence").contains(case.says) && text(finding, "remedy").contains(case.remedy);
    let is_right = text(finding, "kind") == case.kind && is_named;
    if is_right { Ok(()) } else { Err(format!("{}: wanted {} ({}): {finding:#}", case.name, case.kind, case.says)) }
}

#[test]
fn each_of_thirty_two_faults_has_its_cause_its_object_and_its_remedy() {
    require_privileged!();
    let world = World::open();
    let plugin = capture(&world.shop, &["flows", "--enable_all", "--max-time=10m", "--copy=true"]);
    world.shop.wait_capturing();
    world.talk();
    world.break_everything();
    let broken = now_ms();
    // A request without an answer is one only after the time for an answer; that of DNS comes last.
    let is_over = || {
        world.shop.ask();
        let flows = cluster_world::inside::flows(&world.shop);
        let has_timeout = flows.iter().any(|flow| flow["DnsErrno"] == 110);
        has_timeout && flows.iter().any(|flow| flow["TimeFlowStartMs"].as_u64() > Some(broken + 3_000))
    };
    assert!(wait_for(A_MINUTE, is_over), "{}\n{}", plugin.stdout(), plugin.stderr());
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert_eq!(done.code(), 0, "{done}\n{}", world.shop.cluster.logs());
    assert_eq!(world.shop.cluster.left_behind(), NOTHING);

    let judged = world.cases.iter().map(|case| judge(case, &world.between(world.address(case), case.port, &[])));
    let mut wrong: Vec<String> = judged.filter_map(Result::err).collect();
    let of_dns = world.why(&["shop/client", &world.shop.server.address.to_string()]);
    for (name, _, kind, says) in NAMES {
        let is_one = |finding: &&Value| text(finding, "kind") == kind && text(finding, "sentence").contains(says);
        match of_dns.iter().find(is_one) {
            None => wrong.push(format!("{name}: {kind} is missing: {of_dns:#?}")),
            Some(finding)
                if kind == "dns-no-name" && !text(finding, "remedy").contains("db.store.svc.cluster.local exists") =>
            {
                wrong.push(format!("{name}: {finding:#}"));
            }
            Some(finding) => assert!(!text(finding, "remedy").is_empty()),
        }
    }
    for (place, name) in HEALTHY.iter().enumerate() {
        let found = world.between(healthy(place), world.shop.port, &[]);
        wrong.extend((!found.is_empty()).then(|| format!("{name}: {found:#?}")));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}\n{done}", wrong.len(), wrong.join("\n"));
    with_its_change_nothing_is_denied(&world);
}

/// The change that a finding proposes, added to the objects: policies deny the connection no longer.
#[track_caller]
fn with_its_change_nothing_is_denied(world: &World) {
    let api = world.shop.cluster.api();
    let admin = ["adminnetworkpolicies", "baselineadminnetworkpolicies"].map(|kind| format!("v1alpha1/{kind}"));
    let of_cluster = admin.into_iter().chain(["v1alpha2/clusternetworkpolicies".to_owned()]);
    let of_cluster = of_cluster.flat_map(|kind| api.objects(&format!("/apis/policy.networking.k8s.io/{kind}")));
    let mut objects: Vec<Value> = api.objects("/apis/networking.k8s.io/v1/networkpolicies");
    objects.extend(of_cluster);
    for mut pod in api.objects("/api/v1/pods") {
        pod["kind"] = json!("Pod");
        objects.push(pod);
    }
    let (before, change) =
        (world.shop.cluster.home().join("objects.json"), world.shop.cluster.home().join("change.yaml"));
    fs::write(&before, json!({"kind": "List", "items": objects}).to_string()).expect("a file");
    let options = [&before, &change].map(|path| format!("--objects={}", path.display()));
    let denied = world.cases.iter().filter(|case| case.kind == "policy");
    for case in denied {
        let found = |options: &[&str]| world.between(world.address(case), case.port, options).remove(0);
        let finding = found(&[&options[0]]);
        assert_eq!(text(&finding, "kind"), "policy", "{}: {finding:#}", case.name);
        fs::write(&change, text(&finding, "change")).expect("a file");
        let after = found(&[&options[0], &options[1]]);
        assert_eq!(text(&after, "kind"), "dropped-by-filter", "{}: {after:#}\n{}", case.name, text(&finding, "change"));
    }
    // The machine drops what policies deny, which is none of these any more.
    world.shop.server.netns.run("nft").args(["flush", "ruleset"]).output();
    for case in world.cases.iter().filter(|case| case.kind == "policy") {
        let to = SocketAddr::from((world.address(case), case.port));
        let _listener = world.shop.server.netns.enter(|| TcpListener::bind(to)).expect("a port");
        let connected = world.shop.client.netns.enter(|| TcpStream::connect_timeout(&to, A_MINUTE));
        assert!(connected.is_ok(), "{}: {connected:?}", case.name);
    }
}
