//! Services that lead nowhere, each with the fault that its objects show, and how fast a large cluster is looked through.

use std::time::Instant;

use netobserv_explain::cluster::Cluster;
use netobserv_explain::explain::check;
use netobserv_explain::finding::Kind;
use netobserv_explain::objects::Protocol::{self, Sctp, Tcp, Udp};
use netobserv_explain::policy::{Conversation, decide, smallest_change};
use netobserv_explain::service::{ServiceFault, service_fault};
use serde_json::{Value, json};

fn pod(name: &str, labels: Value, ready: bool) -> Value {
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {"nodeName": "n1", "containers": [{"ports": [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]},
        "status": {"phase": "Running", "podIP": "10.1.0.1", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
}

fn fault(objects: Vec<Value>, spec: Value, protocol: Protocol, port: u16) -> Option<ServiceFault> {
    let service = json!({"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
    let list = json!({"kind": "List", "items": objects.into_iter().chain([service]).collect::<Vec<_>>()});
    let cluster = Cluster::read(&list.to_string()).expect("objects");
    service_fault(&cluster, cluster.service("shop", "web").expect("the service"), protocol, port)
}

fn ready() -> Vec<Value> {
    vec![pod("web-1", json!({"app": "web"}), true)]
}

fn spec(port: Value) -> Value {
    json!({"clusterIP": "172.30.0.1", "selector": {"app": "web"}, "ports": [port]})
}

#[test]
fn each_fault_of_a_service_is_named() {
    let port = || spec(json!({"port": 80, "targetPort": 8080}));
    assert_eq!(fault(ready(), port(), Tcp, 80), None);
    assert_eq!(fault(ready(), spec(json!({"port": 80, "targetPort": "http"})), Tcp, 80), None);
    assert_eq!(fault(ready(), port(), Udp, 80), Some(ServiceFault::OtherProtocol(Tcp)));
    assert_eq!(fault(ready(), port(), Tcp, 81), Some(ServiceFault::NoPort(vec![(Tcp, 80)])));
    let wrong = spec(json!({"port": 80, "targetPort": 9}));
    let declared = vec![(Tcp, 8080), (Udp, 53)];
    assert_eq!(fault(ready(), wrong, Tcp, 80), Some(ServiceFault::UndeclaredTarget(9, declared)));
    let named = |name: &str| spec(json!({"port": 80, "targetPort": name}));
    assert_eq!(fault(ready(), named("htpt"), Tcp, 80), Some(ServiceFault::NoTargetName("htpt".into())));
    assert_eq!(fault(ready(), named("dns"), Tcp, 80), Some(ServiceFault::NoTargetName("dns".into())));
    assert_eq!(fault(vec![], port(), Tcp, 80), Some(ServiceFault::SelectsNothing(vec![])));
    assert_eq!(fault(vec![], port(), Sctp, 80), Some(ServiceFault::OtherProtocol(Tcp)));
    let waiting = vec![pod("web-1", json!({"app": "web"}), false)];
    assert_eq!(fault(waiting, port(), Tcp, 80), Some(ServiceFault::NotReady(vec!["web-1".into()])));
    let outside = json!({"type": "ExternalName", "externalName": "db.example.com"});
    assert_eq!(fault(vec![], outside, Tcp, 80), Some(ServiceFault::ExternalName("db.example.com".into())));
}

#[test]
fn a_selector_that_nearly_fits_is_shown_with_the_pod() {
    let spec = json!({"selector": {"app": "web", "version": "2"}, "ports": [{"port": 80}]});
    assert_eq!(fault(ready(), spec, Tcp, 80), Some(ServiceFault::SelectsNothing(vec!["web-1".into()])));
}

#[test]
fn endpoints_decide_where_they_were_read() {
    let slice = |ready: bool, addresses: &[&str]| {
        json!({"kind": "EndpointSlice", "metadata": {"name": "web-a", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": addresses.iter().map(|address| json!({"addresses": [address], "conditions": {"ready": ready}})).collect::<Vec<_>>()})
    };
    let port = || spec(json!({"port": 80, "targetPort": 8080}));
    let with = |slice| ready().into_iter().chain([slice]).collect::<Vec<_>>();
    assert_eq!(fault(with(slice(true, &["10.1.0.1"])), port(), Tcp, 80), None);
    let not_ready = Some(ServiceFault::NotReady(vec!["web-1".into()]));
    assert_eq!(fault(with(slice(false, &["10.1.0.1"])), port(), Tcp, 80), not_ready);
    let by_hand = || json!({"ports": [{"port": 80}]});
    assert_eq!(fault(vec![slice(true, &[])], by_hand(), Tcp, 80), Some(ServiceFault::NoEndpoints));
    assert_eq!(fault(vec![slice(true, &["10.9.0.1"])], by_hand(), Tcp, 80), None);
    assert_eq!(fault(vec![], by_hand(), Tcp, 80), None, "without the right to list them nothing is known");
}

#[test]
fn wrong_objects_are_named() {
    let error = |text: &str| Cluster::read(text).expect_err("wrong").to_string();
    let policy = "kind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}";
    assert!(error(policy).starts_with("NetworkPolicy shop/p: "), "{}", error(policy));
    assert!(error("{").starts_with("it is neither JSON nor YAML: "), "{}", error("{"));
}

/// 10,000 pods in 50 namespaces and 1,000 policies, as `oc get -o json` prints them.
fn large() -> String {
    let pod = |n: usize| {
        json!({"kind": "Pod", "metadata": {"name": format!("workload-{}-7d4b9c-{n}", n / 10), "namespace": format!("ns-{}", n % 50),
            "labels": {"app": format!("app-{}", n / 10), "tier": format!("tier-{}", n % 3), "pod-template-hash": "7d4b9c", "app.kubernetes.io/part-of": "shop"}},
            "spec": {"nodeName": format!("node-{}", n % 100), "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": format!("10.{}.{}.{}", n / 65536, n / 256 % 256, n % 256), "conditions": [{"type": "Ready", "status": "True"}]}})
    };
    let policy = |n: usize| {
        let rule = |app: usize| json!({"from": [{"podSelector": {"matchLabels": {"app": format!("app-{app}")}}}], "ports": [{"port": 8080}]});
        json!({"kind": "NetworkPolicy", "metadata": {"name": format!("policy-{n}"), "namespace": format!("ns-{}", n % 50)},
            "spec": {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["tier-0", "tier-1", "tier-2"]}]},
                "policyTypes": ["Ingress", "Egress"], "ingress": (0..5).map(|app| rule(n * 5 + app)).collect::<Vec<_>>()}})
    };
    let items: Vec<_> = (0..10_000).map(pod).chain((0..1_000).map(policy)).collect();
    json!({"kind": "List", "items": items}).to_string()
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
#[ignore = "prints times and memory: cargo test -p netobserv-explain --release --test services -- --ignored --nocapture"]
fn a_large_cluster_is_looked_through_quickly() {
    let text = large();
    let start = Instant::now();
    let cluster = Cluster::read(&text).expect("objects");
    let read = start.elapsed();
    // What reading needs for a while is free again; many copies need more than that.
    let before = resident_kib();
    let copies: Vec<_> = (0..30).map(|_| cluster.clone()).collect();
    let index = (resident_kib() - before) / copies.len() as u64;
    let start = Instant::now();
    let findings = 1_000;
    for n in 0..findings {
        let address = |n: usize| cluster.pods()[n % 10_000].addresses[0];
        let (client, server) = (address(n * 7), address(n * 13 + 1));
        let probe = Conversation { client, server, protocol: Tcp, port: 8080 }.probe(&cluster);
        let decision = decide(&cluster, &probe);
        assert_eq!(smallest_change(&cluster, &probe, &decision).is_some(), client != server);
    }
    let each = start.elapsed() / findings as u32;
    let megabytes = text.len() / 1_000_000;
    println!("read {megabytes} MB in {read:?}; a finding in {each:?}; the index has {index} KiB");
    assert!(index < 40 * 1024, "{index} KiB");
}

#[test]
fn nodes_that_are_not_ready_and_host_ports_are_named() {
    let node = |name: &str, address: &str, ready: &str| {
        json!({"kind": "Node", "metadata": {"name": name}, "status": {"addresses": [{"address": address}],
            "conditions": [{"type": "Ready", "status": ready}]}})
    };
    let pod = json!({"kind": "Pod", "metadata": {"name": "edge-1", "namespace": "shop"},
        "spec": {"nodeName": "n2", "containers": [{"ports": [{"containerPort": 80, "hostPort": 8080}]}]},
        "status": {"podIP": "10.1.0.9", "conditions": [{"type": "Ready", "status": "False"}]}});
    let items = json!([node("n1", "192.0.2.1", "True"), node("n2", "192.0.2.2", "False"), pod]);
    let cluster = Cluster::read(&json!({"kind": "List", "items": items}).to_string()).expect("objects");
    for (server, port, kind, sentence) in [
        (
            "192.0.2.1",
            8080,
            Kind::HostPort,
            "Host port 8080 (TCP) is that of pod shop/edge-1 on node n2; no pod on node n1 has it.",
        ),
        ("192.0.2.2", 8080, Kind::HostPort, "Pod shop/edge-1, whose host port 8080 on node n2 it is, is not ready."),
        ("192.0.2.2", 22, Kind::NodeNotReady, "Node n2 is not ready."),
        ("10.1.0.9", 80, Kind::NodeNotReady, "Node n2, where shop/edge-1 runs, is not ready."),
    ] {
        let address = |text: &str| text.parse().expect("an address");
        let finding = check(&cluster, address("10.1.0.1"), address(server), Protocol::Tcp, port).expect("a finding");
        assert_eq!((finding.kind, finding.sentence.as_str()), (kind, sentence));
        assert!(!finding.remedy.is_empty());
    }
    assert!(check(&cluster, "10.1.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap(), Protocol::Tcp, 22).is_none());
}
