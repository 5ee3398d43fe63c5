//! A cluster of ten thousand pods: its objects, and flows between their addresses.
#![allow(dead_code)] // Each benchmark uses a part.

use std::net::{IpAddr, Ipv6Addr};

use netobserv_test_apiserver::Server;
use netobserv_wire::pbflow::ip::IpFamily;
use netobserv_wire::pbflow::{AgentStatus, Ip, Network, Records};
use prost::Message;
use prost::bytes::Bytes;
use serde_json::json;

use crate::support;

/// The cluster.
pub(crate) const PODS: u64 = 10_000;
pub(crate) const SERVICES: u64 = 2_000;
/// Pods of a node.
pub(crate) const NODE: u64 = 100;

pub(crate) fn pod_address(number: u64, v6: bool) -> IpAddr {
    if v6 {
        return Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0x1234, number as u16).into();
    }
    IpAddr::from((0x0a80_0000 | number as u32).to_be_bytes())
}

pub(crate) fn service_address(number: u64) -> IpAddr {
    IpAddr::from((0xac1e_0000 | number as u32).to_be_bytes())
}

pub(crate) fn host_address(number: u64) -> IpAddr {
    IpAddr::from((0x0a00_0000 | ((number / NODE) as u32 + 1)).to_be_bytes())
}

pub(crate) fn name(number: u64) -> String {
    format!("workload-{}-7d9c6b5f4-{number:05x}", number / 10)
}

/// The cluster on an API server.
pub(crate) fn cluster() -> Server {
    let server = Server::start();
    let metadata = |number: u64, name: String| json!({"namespace": format!("namespace-{}", number % 50), "name": name, "creationTimestamp": "2020-01-01T00:00:00Z"});
    server.put_all((0..PODS).map(|number| {
        let mut metadata = metadata(number, name(number));
        metadata["ownerReferences"] =
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "x", "name": format!("workload-{}-7d9c6b5f4", number / 10), "controller": true}]);
        let addresses = [false, true].map(|v6| json!({"ip": pod_address(number, v6)}));
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": format!("worker-{}.example.internal", number / NODE)},
            "status": {"phase": "Running", "hostIP": host_address(number), "podIPs": addresses, "startTime": "2020-01-01T00:00:00Z"}})
    }));
    server.put_all((0..PODS / 10).flat_map(|set| {
        (0..10).map(move |part| {
            let name = format!("workload-{set}-7d9c6b5f4");
            let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "uid": "x", "name": format!("workload-{set}"), "controller": true}]);
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"namespace": format!("namespace-{}", (set * 10 + part) % 50), "name": name, "ownerReferences": owner}})
        })
    }));
    server.put_all((0..SERVICES).map(|number| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(number, format!("workload-{number}")),
            "spec": {"clusterIP": service_address(number)}})
    }));
    server.put_all((0..PODS / NODE).map(|number| {
        json!({"apiVersion": "v1", "kind": "Node", "spec": {}, "metadata": {"name": format!("worker-{number}.example.internal"),
            "creationTimestamp": "2020-01-01T00:00:00Z", "labels": {"topology.kubernetes.io/zone": format!("eu-west-1{}", ["a", "b", "c"][number as usize % 3])}},
            "status": {"addresses": [{"type": "InternalIP", "address": host_address(number * NODE)}]}})
    }));
    server
}

/// So many batches of so many records, between pods, and some of them to services.
pub(crate) fn batches(batches: u64, records: u64) -> Vec<Bytes> {
    let batch = |batch: u64| {
        let mut entries = support::records::some(batch * records, records);
        for (number, record) in (batch * records..).zip(&mut entries) {
            let (src, dst) = (number * 31 % PODS, number * 7_919 % PODS);
            let v6 = record.eth_protocol == 0x86dd;
            let to = if v6 || number % 5 > 0 { pod_address(dst, v6) } else { service_address(dst % SERVICES) };
            record.network = Some(Network { src_addr: ip(pod_address(src, v6)), dst_addr: ip(to), dscp: 0 });
            record.agent_ip = ip(host_address(src));
        }
        let agent = AgentStatus { node: "bench".into(), interfaces: 3, version: "1".into(), ..AgentStatus::default() };
        Records { entries, agent: Some(agent), sequence: 0 }.encode_to_vec().into()
    };
    (0..batches).map(batch).collect()
}

fn ip(address: IpAddr) -> Option<Ip> {
    let family = match address {
        IpAddr::V4(address) => IpFamily::Ipv4(address.into()),
        IpAddr::V6(address) => IpFamily::Ipv6(address.octets().to_vec()),
    };
    Some(Ip { ip_family: Some(family) })
}
