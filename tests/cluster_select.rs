//! A Deployment is captured by its name, wherever its pods are and whatever addresses they have, and nothing else is.

mod cluster_world;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use cluster_world::{A_MINUTE, NOTHING, Shop, capture, files};
use netobserv_test_cluster::Workload;
use netobserv_testkit::{Signal, require_privileged};

/// Datagrams from the client.
fn send(shop: &Shop, to: Ipv4Addr, port: u16, count: usize) {
    send_each(shop, std::iter::repeat_n(to, count), port);
}

/// A datagram to each address.
fn send_each(shop: &Shop, to: impl IntoIterator<Item = Ipv4Addr>, port: u16) {
    let socket = shop.client.netns.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket"));
    for to in to {
        socket.send_to(b"x", (to, port)).expect("sent");
    }
}

/// What each agent has in force now: the last line of its log about that.
fn in_force(shop: &Shop) -> Vec<String> {
    let (pods, world) = (shop.cluster.api().objects("/api/v1/pods"), shop.cluster.world());
    let of_agents = pods.iter().filter(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet");
    let last = |pod: &serde_json::Value| {
        let part = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
        let log = std::fs::read_to_string(world.log_file(part("namespace"), part("name"))).unwrap_or_default();
        let (_, sets) = log.rsplit_once("sets of addresses in force: ")?;
        Some(sets.lines().next()?.trim().to_owned())
    };
    of_agents.map(|pod| last(pod).unwrap_or_default()).collect()
}

/// Until all agents have so many elements in force.
#[track_caller]
fn wait_elements(shop: &Shop, count: usize) {
    let wanted = format!("1 with {count} elements;");
    shop.cluster.wait_until(&wanted, || {
        let all = in_force(shop);
        all.len() == shop.cluster.nodes().len() && all.iter().all(|sets| sets.starts_with(&wanted))
    });
}

fn delete(shop: &Shop, pod: &str) {
    shop.cluster.api().delete(&format!("/api/v1/namespaces/shop/pods/{pod}"));
}

#[test]
fn a_deployment_is_captured_by_name_wherever_its_pods_are() {
    require_privileged!();
    let shop = Shop::open(2);
    let other = shop.cluster.deploy("shop", "other", 1);
    let words = ["flows", "--pod=shop/server", "--max-time=5m", "--copy=true", "--log-level=debug"];
    let plugin = capture(&shop, &words);
    shop.wait_capturing();
    wait_elements(&shop, 1);
    send(&shop, shop.server.address, 7001, 40);
    send(&shop, other.address, 7002, 40);

    // Deleted, and made anew on the other node with another address.
    delete(&shop, "server-1");
    wait_elements(&shop, 0);
    send(&shop, shop.server.address, 7003, 30);
    let second = shop.cluster.replica("shop", "server", 2, 0);
    wait_elements(&shop, 1);
    send(&shop, second.address, 7004, 25);

    // Scaled to five; the address of the first goes to a pod of something else.
    let more: Vec<Workload> =
        (3..=6).map(|number| shop.cluster.replica("shop", "server", number, usize::from(number % 2))).collect();
    wait_elements(&shop, 5);
    shop.cluster.pod_at("shop", "heir", 1, 1, shop.server.address);
    let all: Vec<Ipv4Addr> = [&second].into_iter().chain(&more).map(|pod| pod.address).collect();
    all.iter().for_each(|address| send(&shop, *address, 7005, 10));
    send(&shop, shop.server.address, 7006, 30);

    // To none.
    (2..=6).for_each(|number| delete(&shop, &format!("server-{number}")));
    wait_elements(&shop, 0);
    all.iter().for_each(|address| send(&shop, *address, 7007, 10));

    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let said = "captured pod shop/server: 0 addresses at the end, 6 in all";
    assert!(done.stdout.contains(said), "{done}");
    let files = files(&shop);
    let counted = |port: u16| files.sum(&format!("Proto = 17 AND DstPort = {port} AND Duplicate IS NULL")).packets;
    let wanted = [40, 0, 0, 25, 50, 0, 0];
    assert_eq!([7001, 7002, 7003, 7004, 7005, 7006, 7007].map(counted), wanted, "{}", shop.cluster.logs());
    let members: Vec<String> = [shop.server.address].iter().chain(&all).map(|address| format!("'{address}'")).collect();
    let members = members.join(", ");
    let foreign = format!("SELECT count(*) FROM flow WHERE SrcAddr NOT IN ({members}) AND DstAddr NOT IN ({members})");
    assert_eq!(files.number(&foreign), 0);
    let times =
        "SELECT count(*) FROM member WHERE selection = 'pod shop/server' AND namespace = 'shop' AND until >= since";
    assert_eq!(files.number(times), 6);
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

#[test]
fn packets_are_captured_by_the_name_of_a_service() {
    require_privileged!();
    let shop = Shop::open(2);
    let service = serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "front"},
        "spec": {"clusterIP": "None"}});
    let slice = serde_json::json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": "shop", "name": "front-x", "labels": {"kubernetes.io/service-name": "front"}},
        "endpoints": [{"addresses": [shop.server.address.to_string()],
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "server-1"}}]});
    shop.cluster.api().put_all([service, slice]);
    let other = shop.cluster.deploy("shop", "other", 1);
    let words = ["packets", "--svc=front", "--peer-deploy=client", "--max-time=5m", "--copy=true", "--log-level=debug"];
    let plugin = capture(&shop, &words);
    shop.wait_capturing();
    shop.cluster.wait_until("both sets", || {
        let all = in_force(&shop);
        all.len() == 2 && all.iter().all(|sets| sets == "1 with 1 elements; 2 with 1 elements;")
    });
    send(&shop, other.address, 7002, 20);
    shop.browse(2);
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let folder = shop.cluster.home().join("output/pcap");
    let file = std::fs::read_dir(folder).unwrap().next().expect("a file").unwrap().path();
    let fields = ["-T", "fields", "-e", "ip.src", "-e", "ip.dst", "-r"];
    let read = netobserv_testkit::proc::Run::new("tshark").args(fields).arg(&file).finish();
    let ends = [shop.client.address, shop.server.address].map(|address| address.to_string());
    let packets: Vec<&str> = read.stdout.lines().collect();
    assert!(packets.len() >= 10, "{read}");
    for packet in packets {
        assert!(packet.split_whitespace().all(|end| ends.iter().any(|its| its == end)), "{packet}");
    }
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

#[test]
fn a_name_that_nothing_has_ends_the_capture_with_what_is_near() {
    require_privileged!();
    let shop = Shop::open(1);
    let done = shop.cluster.plugin(&["flows", "--pod=shop/sever", "--max-time=5m"]).start().wait(A_MINUTE);
    assert_ne!(done.code(), 0, "{done}");
    let why = "there is no pod shop/sever; there is shop/server";
    assert!(done.stderr.contains(why), "{done}\n{}", shop.cluster.logs());
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

#[test]
fn labels_that_change_all_the_time_lose_no_packet_and_keep_none() {
    const PODS: u8 = 60;
    const TURNS: u16 = 15;
    require_privileged!();
    let shop = Shop::open(2);
    // The addresses of many pods, all of them in one network namespace.
    let address = |pod: u8| Ipv4Addr::new(10, 99, 0, pod);
    for pod in 1..=PODS {
        shop.server.netns.ip(&format!("address add {}/32 dev eth0", address(pod)));
    }
    shop.client.netns.ip("route add 10.99.0.0/16 dev eth0");
    shop.server.netns.ip(&format!("route add {}/32 dev eth0", shop.client.address));
    let put_pod = |name: String, address: Ipv4Addr, tier: &str| {
        let labels = serde_json::json!({"app": "many", "tier": tier});
        shop.cluster.api().put(serde_json::json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "shop", "name": name, "labels": labels,
                "annotations": {"test/workload": "true"}},
            "spec": {"nodeName": "node2", "containers": [{"name": "many"}]},
            "status": {"phase": "Running", "podIP": address.to_string(), "startTime": "2026-01-01T00:00:00Z"}}));
    };
    let put = |pod: u8, tier: &str| put_pod(format!("many-{pod}"), address(pod), tier);
    // What the API server reports last in a turn: with its address, agents have all that came before.
    let mark = |turn: u16| put_pod(format!("mark-{turn}"), Ipv4Addr::new(10, 98, 0, turn as u8), "none");
    let wait = |members: usize, turn: u16| {
        let wanted = format!("1 with {members} elements; 2 with {} elements;", turn + 1);
        shop.cluster.wait_until(&wanted, || in_force(&shop).iter().all(|sets| *sets == wanted));
    };
    mark(0);
    (1..=PODS).for_each(|pod| put(pod, if pod == 1 { "front" } else { "back" }));
    let words = [
        "flows",
        "--label=app=many,tier in (front)",
        "or",
        "--pod=mark-*",
        "--max-time=5m",
        "--copy=true",
        "--log-level=debug",
    ];
    let plugin = capture(&shop, &words);
    shop.wait_capturing();
    wait(1, 0);

    let members = |turn: u16| (1..=PODS).filter(move |pod| (u16::from(*pod) * 7 + turn * 11) % 13 < 3 + turn % 5);
    let (mut slowest, mut wanted) = (Duration::ZERO, BTreeSet::new());
    for turn in 1..=TURNS {
        let now: BTreeSet<u8> = members(turn).collect();
        let before: BTreeSet<u8> = if turn == 1 { [1].into() } else { members(turn - 1).collect() };
        now.difference(&before).for_each(|pod| put(*pod, "front"));
        before.difference(&now).for_each(|pod| put(*pod, "back"));
        let start = Instant::now();
        mark(turn);
        wait(now.len(), turn);
        slowest = slowest.max(start.elapsed());
        send_each(&shop, (1..=PODS).map(address), 20_000 + turn);
        wanted.extend(now.iter().map(|pod| (20_000 + turn, address(*pod))));
    }
    println!("the slowest of {TURNS} changes was in force after {slowest:?}");
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let db = files(&shop).database();
    let sql = "SELECT DstPort, DstAddr, sum(Packets) FROM flow
        WHERE Proto = 17 AND DstPort > 20000 AND Duplicate IS NULL GROUP BY 1, 2";
    let mut select = db.prepare(sql).unwrap();
    let rows = select.query_map([], |row| Ok((row.get::<_, u16>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?)));
    let found: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
    assert!(found.iter().all(|(.., packets)| *packets == 1), "{found:?}");
    let found = found.into_iter().map(|(port, address, _)| (port, address.parse::<Ipv4Addr>().unwrap())).collect();
    assert_eq!(wanted, found);
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}
