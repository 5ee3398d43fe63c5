//! Objects as the API server writes them, with only the fields that names need, and the facts in them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::DateTime;
use k8s_openapi::api::discovery::v1::Endpoint;
use netobserv_explain::cluster::{self as explain, ContainerPort as Declared};
use netobserv_explain::objects::{PortRef, Protocol};
use netobserv_wire::flow::Mac;
use serde::Deserialize;

use crate::facts::{Endpoints, Identity, Node, Pod, Secondary, Service};

/// What multus and OVN-Kubernetes note on a pod: its interfaces.
pub(super) const NETWORKS: &str = "k8s.v1.cni.cncf.io/network-status";
/// What OVN-Kubernetes notes on a pod: its addresses by network, of user-defined networks too.
pub(super) const OVN_NETWORKS: &str = "k8s.ovn.org/pod-networks";
/// What OVN-Kubernetes notes on a node: its part of the cluster's network.
pub(super) const SUBNETS: &str = "k8s.ovn.org/node-subnets";
/// The label of a node's zone.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// `spec` of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    node_name: String,
    host_network: bool,
    containers: Vec<Container>,
    /// Sidecars are init containers that stay.
    init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    ports: Vec<ContainerPort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerPort {
    name: String,
    container_port: u16,
    host_port: u16,
    protocol: String,
}

/// `status` of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<Address>,
    #[serde(rename = "hostIP")]
    host_ip: String,
    start_time: String,
    container_statuses: Vec<ContainerStatus>,
    conditions: Vec<Condition>,
}

/// What is reported of a pod or a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// An address in one of the lists of addresses: each calls it another name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    #[serde(alias = "address")]
    ip: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    finished_at: String,
}

/// `spec` of a node: nothing of interest.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct NodeSpec {}

/// `status` of a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeStatus {
    addresses: Vec<Address>,
    conditions: Vec<Condition>,
}

/// `spec` of a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs")]
    external_ips: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
    external_name: String,
    ports: Vec<ServicePort>,
    health_check_node_port: u16,
    selector: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServicePort {
    name: String,
    port: u16,
    target_port: Option<PortRef>,
    node_port: u16,
    protocol: String,
}

/// `status` of a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServiceStatus {
    load_balancer: LoadBalancer,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Vec<Address>,
}

/// An interface in the network status of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    name: String,
    ips: Vec<String>,
    mac: String,
    default: bool,
}

/// The facts of a pod.
pub(super) fn pod(identity: Identity, secondary: Vec<Secondary>, spec: PodSpec, status: PodStatus) -> Pod {
    let host_ip = status.host_ip.parse().ok();
    let mut addresses = parse(status.pod_ips.iter().map(|address| &address.ip).chain([&status.pod_ip]));
    if spec.host_network {
        addresses.clear();
    }
    let containers = spec.containers.iter().chain(&spec.init_containers);
    let ports = containers.flat_map(|container| &container.ports);
    let declared = ports.clone().map(|port| Declared {
        name: port.name.clone(),
        number: port.container_port,
        protocol: Protocol::of(protocol(&port.protocol)).unwrap_or_default(),
        host_port: port.host_port,
    });
    let declared = declared.collect();
    let host_ports = ports.filter_map(|port| {
        let number = if spec.host_network && port.host_port == 0 { port.container_port } else { port.host_port };
        (number > 0).then(|| (protocol(&port.protocol), number))
    });
    Pod {
        identity,
        host_ip,
        addresses,
        secondary,
        host_ports: host_ports.collect(),
        host_network: spec.host_network,
        labels: BTreeMap::new(),
        started_ms: millis(&status.start_time),
        finished_ms: finished(&status),
        node: spec.node_name,
        ports: declared,
        ready: is_ready(&status.conditions),
    }
}

fn is_ready(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
}

/// When the last container ended; `None` while one runs. A pod that is over gives its address back before it is deleted.
fn finished(status: &PodStatus) -> Option<u64> {
    let over = matches!(status.phase.as_str(), "Succeeded" | "Failed");
    let ends = status.container_statuses.iter().map(|container| container.state.terminated.as_ref());
    let ends: Option<Vec<_>> = ends.map(|end| millis(&end?.finished_at)).collect();
    // Times have a precision of a second.
    ends.filter(|_| over)?.into_iter().max().map(|end| end + 999)
}

/// The facts of a node.
pub(super) fn node(identity: Identity, zone: Option<&str>, subnets: Option<&str>, status: &NodeStatus) -> Node {
    let of_kind = |kind: &'static str| {
        status.addresses.iter().filter(move |address| address.kind == kind).map(|address| &address.ip)
    };
    let mut addresses = parse(of_kind("InternalIP").chain(of_kind("ExternalIP")));
    addresses.extend(subnets.map(management_ports).unwrap_or_default());
    let (zone, ready) = (zone.unwrap_or_default().to_owned(), is_ready(&status.conditions));
    Node { identity, addresses, zone, labels: BTreeMap::new(), ready }
}

/// OVN-Kubernetes gives the node itself the second address of its part of the cluster's network.
fn management_ports(subnets: &str) -> Vec<IpAddr> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Subnets {
        Many(Vec<String>),
        One(String),
    }
    let networks: BTreeMap<String, Subnets> = serde_json::from_str(subnets).unwrap_or_default();
    let subnets = networks.into_values().flat_map(|subnets| match subnets {
        Subnets::Many(list) => list,
        Subnets::One(subnet) => vec![subnet],
    });
    let second = |subnet: String| match subnet.split_once('/')?.0.parse().ok()? {
        IpAddr::V4(first) => Some(IpAddr::from((u32::from(first).checked_add(2)?).to_be_bytes())),
        IpAddr::V6(first) => Some(IpAddr::from((u128::from(first).checked_add(2)?).to_be_bytes())),
    };
    subnets.filter_map(second).collect()
}

/// The facts of a service.
pub(super) fn service(identity: Identity, spec: &ServiceSpec, status: &ServiceStatus) -> Service {
    let cluster = spec.cluster_ips.iter().chain([&spec.cluster_ip]);
    let outside = status.load_balancer.ingress.iter().map(|address| &address.ip);
    let node_ports = spec.ports.iter().map(|port| (protocol(&port.protocol), port.node_port));
    let node_ports = node_ports.chain([(TCP, spec.health_check_node_port)]).filter(|(_, port)| *port > 0).collect();
    let external_name = (spec.kind == "ExternalName").then(|| spec.external_name.clone());
    let addresses = parse(cluster.chain(&spec.external_ips).chain(outside));
    Service { identity, addresses, node_ports, external_name, spec: leads_to(spec) }
}

/// What decides on connections to a service.
fn leads_to(spec: &ServiceSpec) -> explain::ServiceSpec {
    let port = |port: &ServicePort| explain::ServicePort {
        name: port.name.clone(),
        port: port.port,
        protocol: Protocol::of(protocol(&port.protocol)).unwrap_or_default(),
        target_port: port.target_port.clone(),
    };
    explain::ServiceSpec {
        kind: spec.kind.clone(),
        selector: spec.selector.clone(),
        ports: spec.ports.iter().map(port).collect(),
        cluster_ip: spec.cluster_ip.clone(),
        cluster_ips: spec.cluster_ips.clone(),
        external_name: spec.external_name.clone(),
    }
}

/// What is behind a service. Of pods only the names are of interest: their addresses come from the pods themselves.
pub(super) fn endpoints(identity: Identity, service: &str, endpoints: &[Endpoint]) -> Endpoints {
    let pod = |endpoint: &Endpoint| {
        let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?;
        target.name.clone()
    };
    let others = endpoints.iter().filter(|endpoint| pod(endpoint).is_none()).flat_map(|other| &other.addresses);
    Endpoints {
        identity,
        service: service.to_owned(),
        pods: endpoints.iter().filter_map(pod).collect(),
        addresses: parse(others),
        endpoints: endpoints.iter().map(state_of).collect(),
    }
}

fn state_of(endpoint: &Endpoint) -> explain::Endpoint {
    let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
    explain::Endpoint { addresses: endpoint.addresses.clone(), conditions: explain::Conditions { ready } }
}

/// Addresses, each once; what is none ("None", a host name) is left out.
fn parse<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for address in texts.filter_map(|text| text.parse::<IpAddr>().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The addresses that a pod's annotations [`NETWORKS`] and [`OVN_NETWORKS`] give it in addition to that of its status, each once.
pub(super) fn secondary(multus: Option<&str>, ovn: Option<&str>) -> Vec<Secondary> {
    let mut all = multus.map(of_multus).unwrap_or_default();
    for other in ovn.map(of_ovn).unwrap_or_default() {
        if !all.iter().any(|known| (known.address, known.mac) == (other.address, other.mac)) {
            all.push(other);
        }
    }
    all
}

fn of_multus(status: &str) -> Vec<Secondary> {
    let networks: Vec<Network> = serde_json::from_str(status).unwrap_or_default();
    let of = |network: &Network| {
        let (mac, name) = (mac(&network.mac)?, network.name.clone());
        let addresses = parse(network.ips.iter());
        Some(addresses.into_iter().map(move |address| Secondary { address, mac, network: name.clone() }))
    };
    networks.iter().filter(|network| !network.default).filter_map(of).flatten().collect()
}

/// A network in OVN's note, by its name; `default` is the cluster's. Addresses have the length of their prefix behind them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OvnNetwork {
    ip_addresses: Vec<String>,
    ip_address: String,
    mac_address: String,
}

fn of_ovn(note: &str) -> Vec<Secondary> {
    let networks: BTreeMap<String, OvnNetwork> = serde_json::from_str(note).unwrap_or_default();
    let of = |(name, network): (String, OvnNetwork)| {
        let mac = mac(&network.mac_address)?;
        let texts = network.ip_addresses.iter().chain([&network.ip_address]);
        let addresses: Vec<_> = texts.filter_map(|text| text.split('/').next().map(str::to_owned)).collect();
        let secondary = move |address| Secondary { address, mac, network: name.clone() };
        Some(parse(addresses.iter()).into_iter().map(secondary))
    };
    networks.into_iter().filter(|(name, _)| name != "default").filter_map(of).flatten().collect()
}

fn mac(text: &str) -> Option<Mac> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<Vec<_>>>()?;
    bytes.try_into().ok()
}

// IANA "Assigned Internet Protocol Numbers".
const TCP: u8 = 6;

fn protocol(name: &str) -> u8 {
    match name {
        "UDP" => 17,
        "SCTP" => 132,
        _ => TCP,
    }
}

/// RFC 3339 to milliseconds since 1970.
pub(super) fn millis(text: &str) -> Option<u64> {
    DateTime::parse_from_rfc3339(text).ok().and_then(|time| u64::try_from(time.timestamp_millis()).ok())
}

#[cfg(test)]
mod tests;
