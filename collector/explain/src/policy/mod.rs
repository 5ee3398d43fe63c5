//! What the NetworkPolicies of a cluster decide on a connection, and which of them do.

mod admin;
mod change;
mod least;

pub use admin::Decided;
pub use change::{Change, smallest_change};
pub use least::{Advice, Conversation, denied, least_policies};

use std::net::IpAddr;

use crate::admin::{Action, Tier};
use crate::cluster::{Cluster, Pod};
use crate::objects::{Direction, NetworkPolicy, Peer, Port, PortRef, Protocol, Rule};

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A pod.
    Pod(&'a Pod),
    /// An address that no pod has: of a node, or outside the cluster.
    Address(IpAddr),
}

/// A connection to be decided on.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// The end that opens it.
    pub client: End<'a>,
    /// The end that accepts it.
    pub server: End<'a>,
    /// `None` for a protocol that policies cannot name, such as ICMP.
    pub protocol: Option<Protocol>,
    /// The server's port.
    pub port: u16,
}

/// What policies decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The connection is allowed.
    Allowed,
    /// The connection is denied.
    Denied,
    /// Policies do not decide on it.
    NotDecided,
}

/// The verdict of one direction, and why.
#[derive(Clone, Debug)]
pub struct Side<'a> {
    /// Whether a client's egress or a server's ingress.
    pub direction: Direction,
    /// Why.
    pub reason: Reason<'a>,
}

/// Why a side allows or denies a connection.
#[derive(Clone, Debug)]
pub enum Reason<'a> {
    /// No policy isolates the pod in this direction.
    NotIsolated,
    /// A rule allows it: number `1` is the first.
    Rule(&'a NetworkPolicy, usize),
    /// These policies isolate the pod, and none of their rules allows it.
    NoRule(Vec<Miss<'a>>),
    /// The end is no pod, so that policies do not select it.
    NoPod,
    /// Policies do not hold for pods on the host network.
    HostNetwork,
    /// A pod always reaches itself, and its node always reaches it.
    Local,
    /// Policies do not hold for this protocol.
    Protocol,
    /// A rule of a policy of the whole cluster decides.
    Cluster(Decided<'a>),
}

/// A policy that isolates a pod and allows the connection nowhere.
#[derive(Clone, Debug)]
pub struct Miss<'a> {
    /// The policy.
    pub policy: &'a NetworkPolicy,
    /// Rules with the right peer and other ports.
    pub other_ports: Vec<usize>,
    /// Rules with the right port and other peers.
    pub other_peers: Vec<usize>,
}

/// What policies decide on a connection, on both of its sides.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    /// The client's side.
    pub egress: Side<'a>,
    /// The server's side.
    pub ingress: Side<'a>,
}

impl Side<'_> {
    /// What this side decides.
    pub fn verdict(&self) -> Verdict {
        match self.reason {
            Reason::NotIsolated | Reason::Rule(..) => Verdict::Allowed,
            Reason::NoRule(_) => Verdict::Denied,
            Reason::Cluster(ref decided) if decided.action == Action::Deny => Verdict::Denied,
            Reason::Cluster(_) => Verdict::Allowed,
            Reason::NoPod | Reason::HostNetwork | Reason::Local | Reason::Protocol => Verdict::NotDecided,
        }
    }
}

impl<'a> Decision<'a> {
    /// Denied when a side denies it; not decided when no side decides.
    pub fn verdict(&self) -> Verdict {
        match (self.egress.verdict(), self.ingress.verdict()) {
            (Verdict::Denied, _) | (_, Verdict::Denied) => Verdict::Denied,
            (Verdict::NotDecided, Verdict::NotDecided) => Verdict::NotDecided,
            _ => Verdict::Allowed,
        }
    }

    /// The sides that deny it.
    pub fn denials(&self) -> impl Iterator<Item = &Side<'a>> {
        [&self.egress, &self.ingress].into_iter().filter(|side| side.verdict() == Verdict::Denied)
    }
}

/// Decides on a connection.
pub fn decide<'a>(cluster: &'a Cluster, probe: &Probe<'a>) -> Decision<'a> {
    let side = |direction| Side { direction, reason: reason(cluster, probe, direction) };
    Decision { egress: side(Direction::Egress), ingress: side(Direction::Ingress) }
}

fn reason<'a>(cluster: &'a Cluster, probe: &Probe<'a>, direction: Direction) -> Reason<'a> {
    let (own, peer) = match direction {
        Direction::Egress => (probe.client, probe.server),
        Direction::Ingress => (probe.server, probe.client),
    };
    let End::Pod(pod) = own else { return Reason::NoPod };
    if pod.host_network {
        return Reason::HostNetwork;
    }
    if is_local(cluster, pod, peer) {
        return Reason::Local;
    }
    let of_cluster = |tier| {
        let decided = admin::first_rule(cluster, pod, peer, probe, (tier, direction));
        decided.filter(|decided| decided.action != Action::Pass)
    };
    if let Some(decided) = of_cluster(Tier::Admin) {
        return Reason::Cluster(decided);
    }
    let mut isolating = isolating(cluster, pod, direction).peekable();
    if isolating.peek().is_none() {
        return of_cluster(Tier::Baseline).map_or(Reason::NotIsolated, Reason::Cluster);
    }
    if probe.protocol.is_none() {
        return Reason::Protocol;
    }
    let mut misses = Vec::new();
    for policy in isolating {
        let mut miss = Miss { policy, other_ports: Vec::new(), other_peers: Vec::new() };
        for (number, rule) in (1..).zip(policy.spec.rules(direction)) {
            let has_peer = has_peer(cluster, policy, rule.peers(direction), peer);
            match (has_peer, has_port(rule, probe)) {
                (true, true) => return Reason::Rule(policy, number),
                (true, false) => miss.other_ports.push(number),
                (false, true) => miss.other_peers.push(number),
                (false, false) => {}
            }
        }
        misses.push(miss);
    }
    Reason::NoRule(misses)
}

/// The policies that isolate a pod in a direction.
pub(crate) fn isolating<'a>(
    cluster: &'a Cluster,
    pod: &'a Pod,
    direction: Direction,
) -> impl Iterator<Item = &'a NetworkPolicy> + use<'a> {
    let policies = cluster.policies_of(&pod.metadata.namespace);
    policies
        .filter(move |policy| policy.spec.isolates(direction) && policy.spec.pod_selector.selects(&pod.metadata.labels))
}

/// Whether a peer is the pod itself, or its node, with what runs in the node's network.
fn is_local(cluster: &Cluster, pod: &Pod, peer: End<'_>) -> bool {
    let is_own_node = |address| cluster.node_at(address).is_some_and(|node| node.name == pod.node);
    match peer {
        End::Pod(other) if other.host_network => !pod.node.is_empty() && other.node == pod.node,
        End::Pod(other) => {
            (&other.metadata.namespace, &other.metadata.name) == (&pod.metadata.namespace, &pod.metadata.name)
        }
        End::Address(address) => pod.addresses.contains(&address) || is_own_node(address),
    }
}

fn has_peer(cluster: &Cluster, policy: &NetworkPolicy, peers: &[Peer], end: End<'_>) -> bool {
    peers.is_empty() || peers.iter().any(|peer| is_peer(cluster, policy, peer, end))
}

fn is_peer(cluster: &Cluster, policy: &NetworkPolicy, peer: &Peer, end: End<'_>) -> bool {
    if let Some(block) = &peer.ip_block {
        let within = |address: &IpAddr| {
            block.cidr.contains(address) && !block.except.iter().any(|except| except.contains(address))
        };
        return match end {
            End::Pod(pod) => pod.addresses.iter().any(within),
            End::Address(address) => within(&address),
        };
    }
    // Selectors select pods with a network of their own only.
    let End::Pod(pod) = end else { return false };
    if pod.host_network || (peer.pod_selector.is_none() && peer.namespace_selector.is_none()) {
        return false;
    }
    let in_namespace = match &peer.namespace_selector {
        Some(selector) => selector.selects(&cluster.namespace_labels(&pod.metadata.namespace)),
        None => pod.metadata.namespace == policy.metadata.namespace,
    };
    in_namespace && peer.pod_selector.as_ref().is_none_or(|selector| selector.selects(&pod.metadata.labels))
}

fn has_port(rule: &Rule, probe: &Probe<'_>) -> bool {
    rule.ports.is_empty() || rule.ports.iter().any(|port| is_port(port, probe))
}

/// Named ports are those of the server's containers.
fn is_port(port: &Port, probe: &Probe<'_>) -> bool {
    let protocol = port.protocol.unwrap_or_default();
    if probe.protocol != Some(protocol) {
        return false;
    }
    match (&port.port, port.end_port) {
        (None, _) => true,
        (Some(PortRef::Number(first)), Some(last)) => (*first..=last).contains(&probe.port),
        (Some(PortRef::Number(number)), None) => *number == probe.port,
        (Some(PortRef::Name(name)), _) => match probe.server {
            End::Pod(pod) => pod.ports.iter().any(|declared| {
                declared.name == *name && declared.protocol == protocol && declared.number == probe.port
            }),
            End::Address(_) => false,
        },
    }
}
