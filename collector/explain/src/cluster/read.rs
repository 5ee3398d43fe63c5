//! Pods, nodes and namespaces as the API server writes them, with only the fields that decide on connections.

use std::net::IpAddr;

use serde::Deserialize;

use super::{ContainerPort, Node, Pod};
use crate::objects::Meta;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PodObject {
    metadata: Meta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    host_network: bool,
    node_name: String,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    ports: Vec<ContainerPort>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<Ip>,
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ip {
    ip: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeObject {
    metadata: Meta,
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    addresses: Vec<NodeAddress>,
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeAddress {
    address: String,
}

fn is_ready(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
}

pub(super) fn pod(object: PodObject) -> Pod {
    let over = matches!(object.status.phase.as_str(), "Succeeded" | "Failed");
    let texts = object.status.pod_ips.iter().map(|ip| &ip.ip).chain([&object.status.pod_ip]);
    // A pod that is over has given its addresses back.
    let mut addresses: Vec<IpAddr> = texts.filter(|_| !over).filter_map(|text| text.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let containers = object.spec.containers.into_iter().chain(object.spec.init_containers);
    Pod {
        metadata: object.metadata,
        addresses,
        host_network: object.spec.host_network,
        node: object.spec.node_name,
        ports: containers.flat_map(|container| container.ports).collect(),
        ready: is_ready(&object.status.conditions),
        deleted: false,
    }
}

pub(super) fn node(object: NodeObject) -> Node {
    let addresses = object.status.addresses.iter().filter_map(|one| one.address.parse().ok());
    Node {
        addresses: addresses.collect(),
        ready: is_ready(&object.status.conditions),
        name: object.metadata.name,
        labels: object.metadata.labels,
    }
}
