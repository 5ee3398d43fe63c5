//! A request through a Service is seen at many places of a cluster; its packets count once, and what is lost between nodes is known.

mod cluster_world;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use cluster_world::{A_MINUTE, NOTHING, state};
use netobserv_test_cluster::{Cluster, Node, Workload};
use netobserv_testkit::proc::{Finished, Process};
use netobserv_testkit::{Files, Netns, Run, Signal, ethtool, require_privileged};
use serde_json::json;

/// Address of the Service `shop/web`, which is the pod `server-1`.
const SERVICE: &str = "10.96.0.1";
/// The same, and the node's address instead of the client's.
const MASQUERADED: &str = "10.96.0.2";
/// The client itself is behind it.
const HAIRPIN: &str = "10.96.0.3";
/// Outside of the cluster.
const OUTSIDE: &str = "10.99.0.1";
/// An address of the first node that the cluster does not list.
const GATEWAY: &str = "10.98.0.1";
/// Bytes of an Ethernet header, which netfilter does not count.
const ETHERNET: u64 = 14;

/// Two nodes that translate addresses as a Service does; `client` on the first, `near` and `server` on the second.
struct Town {
    client: Workload,
    near: Workload,
    server: Workload,
    _programs: Vec<Process>,
    cluster: Cluster,
}

impl Town {
    #[track_caller]
    fn open() -> Self {
        let cluster = Cluster::start(2);
        let [client, near, server] =
            [("client", 0), ("near", 1), ("server", 1)].map(|(name, node)| cluster.deploy("shop", name, node));
        let nodes = cluster.nodes();
        let fabric = cluster.fabric();
        for (name, address) in [("web", SERVICE), ("web-masqueraded", MASQUERADED), ("own", HAIRPIN)] {
            cluster.api().put_all([json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": "shop", "name": name, "uid": name},
                "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": 8080}]}})]);
        }
        cluster.api().put_all([
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "default", "name": "kubernetes", "uid": "kubernetes",
                "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "endpoints": [{"addresses": ["10.77.0.1"]}]}),
        ]);
        fabric.ip(&format!("address add {OUTSIDE}/32 dev lo"));
        nodes[0].netns.ip(&format!("address add {GATEWAY}/32 dev {}", nodes[0].bridge()));
        for node in nodes {
            node.netns.ip(&format!("route add {OUTSIDE}/32 via 10.77.0.1"));
            translate(node, &server, &client);
        }
        for (pod, node) in [(&client, &nodes[0]), (&near, &nodes[1]), (&server, &nodes[1])] {
            pod.netns.no_ipv6();
            without_offloads(&pod.netns);
            for network in ["10.96.0.0/16", "10.98.0.0/16", "10.99.0.0/16"] {
                pod.netns.ip(&format!("route add {network} via {}", node.address));
            }
        }
        // Answers go back through the node that translated.
        for (pod, node) in [(&client, &nodes[0]), (&near, &nodes[1])] {
            server.netns.ip(&format!("route add {}/32 via {}", pod.address, node.address));
            count(&pod.netns, &server);
        }
        nodes.iter().for_each(|node| without_offloads(&node.netns));
        without_offloads(fabric);
        let run = |netns: &Netns, ports: &[&str]| {
            let program = netns.run("python3").arg(script("server.py")).args(ports).start();
            assert!(
                netobserv_testkit::wait_for(A_MINUTE, || program.stdout().contains("ready")),
                "{}",
                program.stderr()
            );
            program
        };
        let programs = vec![
            run(&server.netns, &["tcp:80", "tcp:9000", "udp:5353", "udp:5354"]),
            run(&client.netns, &["tcp:8081"]),
            run(fabric, &["tcp:7000"]),
        ];
        Self { client, near, server, _programs: programs, cluster }
    }

    /// The flows of what `work` does.
    #[track_caller]
    fn flows(&self, work: impl FnOnce()) -> (Finished, Files) {
        let done = self.capture(&["flows"], work);
        (done, Files::of(&self.cluster.home().join("output")))
    }

    /// Captures what `work` does, in a time when both agents see all of it.
    #[track_caller]
    fn capture(&self, words: &[&str], work: impl FnOnce()) -> Finished {
        let words = [words, &["--max-time=15m", "--copy=true"]].concat();
        let plugin = self.cluster.plugin(&words).own_group().start();
        self.cluster.wait_until("both nodes capture", || plugin.stderr().contains("2 of 2 nodes capture"));
        self.cluster.wait_until("a capture", || state(&self.cluster) == "capturing");
        // A window, so that nothing of before is in those of `work`.
        std::thread::sleep(Duration::from_secs(2));
        work();
        self.wait_quiet();
        plugin.signal_group(Signal::SIGINT);
        let done = plugin.wait(A_MINUTE);
        assert!(done.success(), "{done}\n{}", self.cluster.logs());
        assert_eq!(self.cluster.left_behind(), NOTHING);
        done
    }

    /// Until nothing was sent for a while: what both nodes counted is compared for conversations without packets in the last two seconds.
    #[track_caller]
    fn wait_quiet(&self) {
        let (mut before, mut since) = ([0; 2], Instant::now());
        self.cluster.wait_until("no packets", || {
            let now = ["sent", "got"].map(|name| counted(&self.client.netns, "ip", name)[0]);
            if now != before {
                (before, since) = (now, Instant::now());
            }
            since.elapsed() > Duration::from_secs(4)
        });
    }

    /// So many conversations with targets such as `tcp:10.96.0.1:8080`; gives how many there were of each, by protocol, own port and
    /// target.
    #[track_caller]
    fn talk(&self, pod: &Workload, count: usize, targets: &[&str]) -> BTreeMap<String, usize> {
        Self::talk_again(pod, 0, count, targets)
    }

    /// The same for another `round`, with other ports.
    #[track_caller]
    fn talk_again(pod: &Workload, round: usize, count: usize, targets: &[&str]) -> BTreeMap<String, usize> {
        let words = [(7 + round).to_string(), count.to_string()];
        let done = pod.netns.run("python3").arg(script("client.py")).args(words).args(targets).finish();
        assert!(done.success(), "{done}");
        let mut all = BTreeMap::new();
        done.stdout.lines().for_each(|line| *all.entry(line.to_owned()).or_default() += 1);
        all
    }
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/once_world").join(name)
}

fn nft(netns: &Netns, rules: &str) {
    netns.run("nft").arg(rules).output();
}

fn translate(node: &Node, server: &Workload, client: &Workload) {
    let netns = &node.netns;
    for (setting, value) in
        [("ip_forward", "1"), ("conf/all/send_redirects", "0"), ("conf/default/send_redirects", "0")]
    {
        netns.sysctl(&format!("ipv4/{setting}"), value);
    }
    netns.sysctl(&format!("ipv4/conf/{}/send_redirects", node.bridge()), "0");
    // As container networks with a bridge have it: frames that netfilter sends back to the port from which they came go there.
    let ports = links(netns, &format!("master {}", node.bridge()));
    let of_pods = ports.iter().filter(|port| port.starts_with('p'));
    of_pods.for_each(|port| drop(netns.ip(&format!("link set {port} type bridge_slave hairpin on"))));
    let (server, client) = (server.address, client.address);
    nft(
        netns,
        &format!(
            "add table ip services; add chain ip services in {{ type nat hook prerouting priority -100; }};
             add chain ip services out {{ type nat hook postrouting priority 100; }};
             add rule ip services in ip daddr {{ {SERVICE}, {MASQUERADED} }} tcp dport 8080 dnat to {server}:80;
             add rule ip services in ip daddr {SERVICE} udp dport 53 dnat to {server}:5353;
             add rule ip services in ip daddr {HAIRPIN} tcp dport 8080 dnat to {client}:8081;
             add rule ip services out ip daddr {OUTSIDE} masquerade;
             add rule ip services out ct original ip daddr {{ {MASQUERADED}, {HAIRPIN} }} masquerade"
        ),
    );
}

/// Counts what goes from and to a pod, its own address as a target left out.
fn count(netns: &Netns, server: &Workload) {
    let others = format!("{{ 10.96.0.0/16, 10.99.0.0/16, {} }}", server.address);
    nft(
        netns,
        &format!(
            "add table ip count; add counter ip count sent; add counter ip count got;
             add chain ip count out {{ type filter hook postrouting priority 300; }};
             add chain ip count in {{ type filter hook prerouting priority -400; }};
             add rule ip count out ip daddr {others} counter name sent; add rule ip count in ip saddr {others} counter name got"
        ),
    );
}

/// Packets and bytes of a counter, with Ethernet headers.
fn counted(netns: &Netns, family: &str, name: &str) -> [u64; 2] {
    let text = netns.run("nft").args(["-j", "list", "counter", family, "count", name]).output();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let counter = all["nftables"].as_array().unwrap().iter().find_map(|object| object.get("counter")).unwrap();
    let packets = counter["packets"].as_u64().unwrap();
    [packets, counter["bytes"].as_u64().unwrap() + if family == "ip" { ETHERNET * packets } else { 0 }]
}

fn without_offloads(netns: &Netns) {
    links(netns, "").iter().for_each(|name| ethtool::set_offloads(netns, name, false));
}

/// Names of interfaces, loopback left out.
fn links(netns: &Netns, which: &str) -> Vec<String> {
    let links = netns.ip(&format!("-o link show {which}"));
    let names = links.lines().filter_map(|line| line.split(": ").nth(1)).filter_map(|name| name.split('@').next());
    names.filter(|name| *name != "lo").map(str::to_owned).collect()
}

/// Packets and bytes in the records that count.
fn once(files: &Files, condition: &str) -> [u64; 2] {
    ["Packets", "Bytes"]
        .map(|what| files.number(&format!("SELECT coalesce(sum({what}), 0) FROM flow_once WHERE {condition}")))
}

#[test]
fn a_thousand_conversations_of_all_kinds_count_once() {
    require_privileged!();
    let town = Town::open();
    let (client, near, server) = (town.client.address, town.near.address, town.server.address);
    let targets = [
        format!("tcp:{SERVICE}:8080"),
        format!("udp:{SERVICE}:53"),
        format!("tcp:{MASQUERADED}:8080"),
        format!("tcp:{OUTSIDE}:7000"),
        format!("tcp:{server}:9000"),
        format!("udp:{server}:5354"),
    ];
    let hairpin = format!("tcp:{HAIRPIN}:8080");
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let mut talked = Vec::new();
    let (done, files) = town.flows(|| {
        let of_client = [&targets[..], &[&hairpin]].concat();
        talked.push((client, town.talk(&town.client, 800, &of_client)));
        talked.push((near, town.talk(&town.near, 200, &targets)));
        for target in [&server.to_string(), GATEWAY, "10.77.0.1"] {
            let ping = town.client.netns.run("ping").args(["-c", "20", "-i", "0.02", target]).finish();
            assert!(ping.success(), "{ping}");
        }
    });
    for (pod, (address, talked)) in [&town.client, &town.near].into_iter().zip(&talked) {
        let others = format!("NOT IN ('10.77.1.1', '10.77.0.1', '{GATEWAY}')");
        let sent = once(&files, &format!("SrcAddr = '{address}' AND DstAddr {others}"));
        let got = once(&files, &format!("DstAddr = '{address}' AND SrcAddr {others}"));
        let wanted = ["sent", "got"].map(|name| counted(&pod.netns, "ip", name));
        assert_eq!([sent, got], wanted, "{address}: {done}");
        // Ports are used again now and then: such conversations are one line.
        let lines =
            "SELECT lower(protocol) || ' ' || client_port || ' ' || asked_addr || ' ' || port FROM conversation";
        let lines = format!("{lines} WHERE client_addr = '{address}' AND protocol <> 'ICMP' ORDER BY 1");
        let db = files.database();
        let mut select = db.prepare(&lines).unwrap();
        let found: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, talked.keys().cloned().collect::<Vec<_>>(), "{done}");
    }
    let of_service = |what: &str| {
        files.number(&format!(
            "SELECT count(*) FROM conversation WHERE service = 'shop/web' AND port = 8080 AND NOT ({what})"
        ))
    };
    assert!(files.number("SELECT count(*) FROM conversation WHERE service = 'shop/web'") > 50, "{done}");
    assert_eq!(
        of_service("client IN ('shop/client-1', 'shop/near-1') AND server = 'shop/server-1' AND server_port = 80"),
        0
    );
    let pinged =
        files.number("SELECT packets_to_server * 1000 + packets_to_client FROM conversation WHERE protocol = 'ICMP'");
    assert_eq!(pinged, 20_020, "{done}");
    // The other places are there, marked, and the summary counts once.
    for place in ["translation", "server"] {
        assert!(files.number(&format!("SELECT count(*) FROM flow WHERE Duplicate = '{place}'")) > 0, "{place}: {done}");
    }
    let [packets, _] = once(&files, "1");
    assert_eq!(files.number("SELECT value FROM capture WHERE name = 'packets'"), packets);
    assert!(done.stdout.contains("not counted again: "), "{done}");
    assert!(!done.stdout.contains("lost between nodes"), "nothing was: {done}");
}

/// Connections through services and to the outside, and pings, with all features on: for ten seconds, or as many as
/// NETOBSERV_TEST_SECONDS has.
#[test]
fn a_healthy_cluster_has_no_finding() {
    require_privileged!();
    let seconds = std::env::var("NETOBSERV_TEST_SECONDS").ok().map_or(10, |text| text.parse().expect("seconds"));
    let town = Town::open();
    // Answers of the server's own address come another way than the questions went: some get lost on it.
    let targets = [format!("tcp:{SERVICE}:8080"), format!("tcp:{MASQUERADED}:8080"), format!("tcp:{OUTSIDE}:7000")];
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let mut conversations = 0;
    let done = town.capture(&["flows", "--enable_all"], || {
        let start = Instant::now();
        for round in (0..).take_while(|_| start.elapsed() < Duration::from_secs(seconds)) {
            for pod in [&town.client, &town.near] {
                conversations += Town::talk_again(pod, round, 60, &targets).values().sum::<usize>();
            }
            let ping = town.client.netns.run("ping").args(["-c", "5", "-i", "0.2", GATEWAY]).finish();
            assert!(ping.success(), "{ping}");
        }
    });
    let files = Files::of(&town.cluster.home().join("output"));
    let db = files.database();
    // On a busy machine round trips really take longer.
    let wrong = "SELECT sentence FROM finding WHERE kind <> 'slow'";
    let mut select = db.prepare(wrong).expect("the table of findings");
    let found: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(found, [""; 0], "of {conversations} conversations: {done}");
    assert!(conversations >= 120, "{conversations}");
    println!("{conversations} conversations in {seconds} s, no finding");
}

/// What tshark reports of a file, by message: without it, four of five packets of a cluster are retransmissions.
fn complaints(file: &Path) -> BTreeMap<String, u64> {
    let text = Run::new("tshark").args(["-n", "-q", "-z", "expert,warn", "-r"]).arg(file).output();
    let note = Run::new("tshark").args(["-n", "-q", "-z", "expert,note", "-r"]).arg(file).output();
    // "  12  Sequence   TCP  This frame is a (suspected) retransmission"
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let count = words.next()?.parse().ok()?;
        Some((words.collect::<Vec<_>>().join(" "), count))
    };
    let ours = ["etransmission", "Duplicate ACK", "alformed", "ut-of-order", "out-of-order", "not captured", "overlap"];
    let all = text.lines().chain(note.lines()).filter_map(line);
    all.filter(|(message, _)| ours.iter().any(|word| message.contains(word))).collect()
}

#[test]
fn tshark_finds_no_more_faults_than_in_a_capture_of_the_clients_interface() {
    require_privileged!();
    let town = Town::open();
    let dump = town.cluster.home().join("client.pcap");
    let words = ["-i", "eth0", "-U", "-w", &dump.display().to_string(), "tcp"].map(str::to_owned);
    let tcpdump = town.client.netns.run("tcpdump").args(words).start();
    let targets = [SERVICE, MASQUERADED, HAIRPIN].map(|address| format!("tcp:{address}:8080"));
    let outside = format!("tcp:{OUTSIDE}:7000");
    let targets: Vec<&str> = targets.iter().chain([&outside]).map(String::as_str).collect();
    let done = town.capture(
        &["packets", "--protocol=TCP", "--ports=8080,80", "or", "--protocol=TCP", "--ports=8081,7000"],
        || drop(town.talk(&town.client, 200, &targets)),
    );
    tcpdump.signal(Signal::SIGINT);
    assert!(tcpdump.wait(A_MINUTE).success());
    let folder = std::fs::read_dir(town.cluster.home().join("output/pcap")).unwrap();
    let file =
        folder.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|end| end == "pcapng"));
    let [ours, clients] = [&file.expect("a capture"), &dump].map(|file| complaints(file));
    let more: Vec<_> = ours.iter().filter(|(message, count)| clients.get(*message).unwrap_or(&0) < count).collect();
    assert!(more.is_empty(), "{more:?}, and of the client's interface {clients:?}: {done}");
}

#[test]
fn what_is_lost_between_two_nodes_is_counted_to_the_packet() {
    require_privileged!();
    let town = Town::open();
    let rule = |port: &str, name: &str| {
        format!("add rule bridge count on_the_way tcp {port} 80 numgen random mod 100 < 5 counter name {name} drop")
    };
    nft(
        town.cluster.fabric(),
        &format!(
            "add table bridge count; add counter bridge count there; add counter bridge count back;
             add chain bridge count on_the_way {{ type filter hook forward priority 0; }};
             {}; {}",
            rule("dport", "there"),
            rule("sport", "back")
        ),
    );
    let target = format!("tcp:{SERVICE}:8080");
    let (done, files) = town.flows(|| drop(town.talk(&town.client, 150, &[&target])));
    for (name, column) in [("there", "lost_to_server"), ("back", "lost_to_client")] {
        let [dropped, _] = counted(town.cluster.fabric(), "bridge", name);
        let found = files.number(&format!("SELECT sum({column}) FROM conversation WHERE service = 'shop/web'"));
        assert!(dropped > 5 && found.abs_diff(dropped) <= 1, "{name}: {found} instead of {dropped}: {done}");
    }
    assert!(
        done.stdout.contains("packets from node1 to node2") && done.stdout.contains("from node2 to node1"),
        "{done}"
    );
    for (client, server) in [("node node1", "node node2"), ("node node2", "node node1")] {
        let wanted =
            format!("kind = 'lost-between-nodes' AND client = '{client}' AND server = '{server}' AND count > 0");
        assert_eq!(files.number(&format!("SELECT count(*) FROM finding WHERE {wanted}")), 1, "{wanted}: {done}");
    }
}
