//! A cluster as the collector sees it: objects on a test API server, and flows between their addresses.

use chrono::{DateTime, SecondsFormat, Utc};
use netobserv_test_apiserver::Server;
use netobserv_wire::pbflow::ip::IpFamily;
use netobserv_wire::pbflow::{Ip, Network, Record, Transport};
use prost_types::Timestamp;
use serde_json::{Value, json};

const TCP: u32 = 6;

/// A pod of Deployment `<name>` in namespace shop, running since an hour before.
pub fn pod(name: &str, address: &str, node: u8) -> Value {
    pod_since(name, address, node, Utc::now() - chrono::Duration::hours(1))
}

/// As [`pod`], started then.
pub fn pod_since(name: &str, address: &str, node: u8, started: DateTime<Utc>) -> Value {
    let started = started.to_rfc3339_opts(SecondsFormat::Secs, true);
    let ports = json!([{"containerPort": 8080}]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "shop", "name": name, "creationTimestamp": started,
            "labels": {"app": name}, "annotations": {"some/annotation": "x".repeat(200)},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-rs"), "uid": "x", "controller": true}],
        },
        "spec": {"nodeName": format!("node-{node}"), "containers": [{"name": "main", "image": "i", "ports": ports}]},
        "status": {
            "phase": "Running", "hostIP": format!("10.0.0.{node}"), "podIP": address, "podIPs": [{"ip": address}],
            "startTime": started,
            "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": started}}}],
        },
    })
}

/// The ReplicaSet of [`pod`]s of this name, of a Deployment.
pub fn replica_set(name: &str) -> Value {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": "y", "controller": true}]);
    let metadata = json!({"namespace": "shop", "name": format!("{name}-rs"), "ownerReferences": owner});
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata})
}

/// Node `node-<number>` at 10.0.0.<number>.
pub fn node(number: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("node-{number}"), "creationTimestamp": "2025-01-01T00:00:00Z",
            "labels": {"topology.kubernetes.io/zone": format!("zone-{number}")}},
        "spec": {}, "status": {"addresses": [{"type": "InternalIP", "address": format!("10.0.0.{number}")}]},
    })
}

/// A service in namespace shop.
pub fn service(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "shop", "name": name, "creationTimestamp": "2025-01-01T00:00:00Z"},
        "spec": {"clusterIP": address, "clusterIPs": [address]}, "status": {"loadBalancer": {}},
    })
}

/// Two nodes, two pods with their ReplicaSets, and a service.
pub fn small() -> Server {
    let server = Server::start();
    server.put_all([node(1), node(2), service("front", "172.30.0.9")]);
    server.put_all(["web", "db"].map(replica_set));
    server.put_all([pod("web", "10.1.0.1", 1), pod("db", "10.1.0.2", 2)]);
    server
}

/// A flow of TCP that began `ago` milliseconds ago, seen on node 1.
pub fn flow(src: &str, dst: &str, ago: i64) -> Record {
    let start = Utc::now() - chrono::Duration::milliseconds(ago);
    let time = Timestamp { seconds: start.timestamp(), nanos: start.timestamp_subsec_nanos() as i32 };
    Record {
        eth_protocol: 0x0800,
        time_flow_start: Some(time),
        time_flow_end: Some(time),
        network: Some(Network { src_addr: ip(src), dst_addr: ip(dst), dscp: 0 }),
        transport: Some(Transport { src_port: 40_000, dst_port: 8_080, protocol: TCP }),
        bytes: 100,
        packets: 1,
        interface: "eth0".into(),
        agent_ip: ip("10.0.0.1"),
        sampling: 1,
        ..Record::default()
    }
}

fn ip(text: &str) -> Option<Ip> {
    let address: std::net::Ipv4Addr = text.parse().expect("an address");
    Some(Ip { ip_family: Some(IpFamily::Ipv4(address.into())) })
}
