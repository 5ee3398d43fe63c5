//! A Deployment is captured by its name, wherever its pods are and whatever addresses they have, and nothing else is.

mod cluster_world;
mod select_world;

use std::net::Ipv4Addr;

use cluster_world::{A_MINUTE, NOTHING, Shop, files, state};
use netobserv_test_cluster::Workload;
use netobserv_testkit::{Signal, require_privileged};
use select_world::labels::Many;
use select_world::{
    AT_CLIENT, agent_nodes, begin, count_at, counted_at, restarts, send, wait_agents, wait_elements, wait_sets,
};
use serde_json::{Value, json};

fn delete(shop: &Shop, pod: &str) {
    shop.cluster.api().delete(&format!("/api/v1/namespaces/shop/pods/{pod}"));
}

/// A service in the shop.
fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

/// What is behind it: a pod.
fn slice(service: &str, pod: &str, address: Ipv4Addr) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": "shop", "name": format!("{service}-x"), "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": [address.to_string()],
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": pod}}]})
}

#[test]
fn a_deployment_is_captured_by_name_wherever_its_pods_are() {
    require_privileged!();
    let shop = Shop::open(2);
    let other = shop.cluster.deploy("shop", "other", 1);
    let plugin = begin(&shop, &["flows", "--pod=shop/server"], 2);
    wait_elements(&shop, 1);
    count_at(&shop.server);
    send(&shop, shop.server.address, 7001, 40);
    send(&shop, other.address, 7002, 40);
    let mut counters = vec![(shop.server.address, counted_at(&shop.server))];

    // Deleted, and made anew on the other node with another address.
    delete(&shop, "server-1");
    wait_elements(&shop, 0);
    send(&shop, shop.server.address, 7003, 30);
    let second = shop.cluster.replica("shop", "server", 2, 0);
    wait_elements(&shop, 1);
    count_at(&second);
    send(&shop, second.address, 7004, 25);

    // Scaled to five; the address of the first goes to a pod of something else.
    let more: Vec<Workload> =
        (3..=6).map(|number| shop.cluster.replica("shop", "server", number, usize::from(number % 2))).collect();
    wait_elements(&shop, 5);
    more.iter().for_each(count_at);
    shop.cluster.pod_at("shop", "heir", 1, 1, shop.server.address);
    let all: Vec<Ipv4Addr> = [&second].into_iter().chain(&more).map(|pod| pod.address).collect();
    all.iter().for_each(|address| send(&shop, *address, 7005, 10));
    send(&shop, shop.server.address, 7006, 30);
    counters.extend([&second].into_iter().chain(&more).map(|pod| (pod.address, counted_at(pod))));

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
    let counted = |port: u16| files.sum(&format!("Proto = 17 AND DstPort = {port} AND {AT_CLIENT}")).packets;
    let wanted = [40, 0, 0, 25, 50, 0, 0];
    assert_eq!([7001, 7002, 7003, 7004, 7005, 7006, 7007].map(counted), wanted, "{}", shop.cluster.logs());
    for (address, counter) in counters {
        let of_it = format!("(SrcAddr = '{address}' OR DstAddr = '{address}') AND {AT_CLIENT}");
        assert_eq!(files.sum(&of_it).packets, counter, "{address}");
        assert!(counter > 10, "{address}: {counter}");
    }
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
    let front = [service("front", json!({"clusterIP": "None"})), slice("front", "server-1", shop.server.address)];
    shop.cluster.api().put_all(front);
    let other = shop.cluster.deploy("shop", "other", 1);
    let plugin = begin(&shop, &["packets", "--svc=front", "--peer-deploy=client"], 2);
    wait_sets(&shop, "1 with 1 elements; 2 with 1 elements;");
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

/// Nothing is left of a capture in the background that cannot start, and with `--wait` it starts.
#[test]
fn in_the_background_a_name_that_nothing_has_is_an_error_before_the_command_returns() {
    require_privileged!();
    let shop = Shop::open(1);
    let words = ["flows", "--svc=shop/fornt", "--background", "--max-time=5m"];
    shop.cluster.api().put_all([service("front", json!({"clusterIP": "None"}))]);
    let done = shop.cluster.plugin(&words).start().wait(A_MINUTE);
    assert_eq!(done.code(), 1, "{done}\n{}", shop.cluster.logs());
    let why = "the capture has not started: there is no service shop/fornt; there is shop/front; --wait waits";
    assert!(done.stderr.contains(why), "{done}\n{}", shop.cluster.logs());
    assert!(!done.stdout.contains("Background capture started"), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);

    let done = shop.cluster.plugin(&[&words[..], &["--wait"]].concat()).start().wait(A_MINUTE);
    assert!(done.success() && done.stdout.contains("Background capture started"), "{done}\n{}", shop.cluster.logs());
    assert_eq!(state(&shop.cluster), "capturing");
    // It does not wait for as long as a pod may take to end.
    let done = shop.cluster.plugin(&["cleanup"]).start().wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// Each kind of service, the pods behind it, and a pod on its node's network.
#[test]
fn each_kind_of_service_is_captured_by_name() {
    require_privileged!();
    let shop = Shop::open(2);
    let [web, db, other] = ["web", "db", "other"].map(|name| shop.cluster.deploy("shop", name, 1));
    let [node1, node2] = [0, 1].map(|node| shop.cluster.nodes()[node].address);
    let api = shop.cluster.api();
    let udp = |port: u16, node: u16| json!([{"protocol": "UDP", "port": port, "nodePort": node}]);
    let mut outside = service("outside", json!({"clusterIP": "172.30.0.12", "externalIPs": ["203.0.113.5"]}));
    outside["status"] = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.6"}]}});
    let exporter = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "exporter", "annotations": {"test/workload": "true"}},
        "spec": {"nodeName": "node2", "hostNetwork": true,
            "containers": [{"name": "exporter", "ports": [{"containerPort": 9100, "hostPort": 9100, "protocol": "UDP"}]}]},
        "status": {"phase": "Running", "podIP": node2.to_string(), "hostIP": node2.to_string(),
            "startTime": "2026-01-01T00:00:00Z"}});
    api.put_all([
        service("cluster", json!({"clusterIP": "172.30.0.10", "clusterIPs": ["172.30.0.10"]})),
        slice("cluster", "web-1", web.address),
        service("headless", json!({"clusterIP": "None"})),
        slice("headless", "db-1", db.address),
        service("nodeport", json!({"type": "NodePort", "clusterIP": "172.30.0.11", "ports": udp(80, 30_080)})),
        outside,
        service("alias", json!({"type": "ExternalName", "externalName": "db.example.com"})),
        exporter,
    ]);
    // What services have is no interface's, as in a cluster: it is on its way to the node.
    for network in ["172.30.0.0/24", "203.0.113.0/24"] {
        shop.client.netns.ip(&format!("route add {network} via {node1}"));
    }
    let names = "--svc=shop/cluster or --svc=headless or --svc=nodeport or --svc=outside or --pod=shop/exporter";
    let words: Vec<&str> = ["flows"].into_iter().chain(names.split(' ')).collect();
    let plugin = begin(&shop, &words, 2);
    let elements = [2, 1, 3, 3, 1].iter().zip(1..).map(|(count, set)| format!("{set} with {count} elements;"));
    wait_sets(&shop, &elements.collect::<Vec<_>>().join(" "));
    let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
    let sent = [
        ("ClusterIP", ip("172.30.0.10"), 7001, 11, true),
        ("endpoint", web.address, 7002, 12, true),
        ("headless", db.address, 7003, 13, true),
        ("node port of the first node", node1, 30_080, 14, true),
        ("node port of the second", node2, 30_080, 15, true),
        ("ClusterIP with a node port", ip("172.30.0.11"), 7004, 16, true),
        ("external IP", ip("203.0.113.5"), 7005, 17, true),
        ("IP of a load balancer", ip("203.0.113.6"), 7006, 18, true),
        ("host network", node2, 9100, 19, true),
        ("another port of the node", node2, 30_081, 20, false),
        ("the same port of another node", node1, 9100, 21, false),
        ("another ClusterIP", ip("172.30.0.99"), 7007, 22, false),
        ("another pod", other.address, 7008, 23, false),
    ];
    sent.iter().for_each(|(_, address, port, count, _)| send(&shop, *address, *port, *count));
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let files = files(&shop);
    for (what, address, port, count, captured) in sent {
        let of_it = format!("Proto = 17 AND DstAddr = '{address}' AND DstPort = {port} AND {AT_CLIENT}");
        let wanted = if captured { count as u64 } else { 0 };
        assert_eq!(files.sum(&of_it).packets, wanted, "{what}\n{}", shop.cluster.logs());
    }
    let ports = "SELECT count(*) FROM member WHERE selection = 'service nodeport' AND protocol = 17 AND port = 30080";
    assert_eq!(files.number(ports), 2);

    let done = shop.cluster.plugin(&["flows", "--svc=shop/alias", "--max-time=5m"]).start().wait(A_MINUTE);
    assert_ne!(done.code(), 0, "{done}");
    let why =
        "service shop/alias is of type ExternalName and has no address: it is an alias of db.example.com; use --cidr";
    assert!(done.stderr.contains(why), "{done}\n{}", shop.cluster.logs());
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// Agents are on the nodes of the pods, also of a pod that comes later, and go on when one is added.
#[test]
fn agents_run_only_where_something_is_that_was_asked_for() {
    require_privileged!();
    let shop = Shop::open(3);
    let plugin = begin(&shop, &["flows", "--pod=shop/server", "--only-these-nodes"], 1);
    wait_agents(&shop, 1, "1 with 1 elements;");
    assert_eq!(agent_nodes(&shop), ["node3"]);
    let first = restarts(&shop);
    send(&shop, shop.server.address, 7001, 20);
    let second = shop.cluster.replica("shop", "server", 2, 1);
    wait_agents(&shop, 2, "1 with 2 elements;");
    shop.wait_capturing();
    send(&shop, second.address, 7002, 15);
    send(&shop, shop.server.address, 7003, 10);
    delete(&shop, "server-2");
    wait_agents(&shop, 2, "1 with 1 elements;");
    assert_eq!(agent_nodes(&shop), ["node2", "node3"]);
    assert!(restarts(&shop).contains(&first[0]), "{first:?} {:?}", restarts(&shop));
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let files = files(&shop);
    let counted = |port: u16| files.sum(&format!("Proto = 17 AND DstPort = {port} AND Duplicate IS NULL")).packets;
    assert_eq!([7001, 7002, 7003].map(counted), [20, 15, 10], "{}", shop.cluster.logs());
    // What passed on the second node before its agent ran is missing, and that is reported.
    let told =
        |line: &str| line.contains("node2 had no agent from ") && line.ends_with(": flows of that time are missing");
    assert!(done.stdout.lines().any(told), "{done}");
    assert!(!done.stdout.contains("node1 had no agent") && !done.stdout.contains("nodes sent something"), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// Twenty of 200 pods change their labels every second: for ten seconds, or as many as NETOBSERV_TEST_SECONDS has.
#[test]
fn labels_that_change_all_the_time_lose_no_packet_and_keep_none() {
    require_privileged!();
    let seconds = std::env::var("NETOBSERV_TEST_SECONDS").ok().map_or(10, |text| text.parse().expect("seconds"));
    let shop = Shop::open(2);
    let mut many = Many::new(&shop);
    let plugin = begin(&shop, &["flows", "--label=app=many,tier in (front)", "or", "--pod=mark-*"], 2);
    many.wait(0);
    let before = restarts(&shop);
    many.change(seconds);
    assert_eq!(restarts(&shop), before);
    assert!(before.iter().all(|(_, count)| *count == 0), "{before:?}");
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let files = files(&shop);
    let packets = many.check(&files);
    let first = many.first_packets(&files);
    many.changes.sort_unstable();
    let middle = many.changes.len() / 2;
    println!(
        "{seconds} changes, {packets} packets of members: all of them and no other; in force after {:?} (median), {:?} (slowest); \
         from a new pod to its first packet {} ms (median), {} ms (slowest)",
        many.changes[middle],
        many.changes.last().expect("a change"),
        first[middle],
        first.last().expect("a pod")
    );
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}
