//! The least policies that allow given conversations: for each workload one policy that isolates it in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::change::{lasting, peer_of, policy, workload, yaml};
use super::{End, Probe, Verdict, decide};
use crate::cluster::{Cluster, Pod};
use crate::objects::{Direction, Labels, NetworkPolicy, Port, PortRef, Protocol, Rule, Selector};

/// A conversation that was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conversation {
    /// The end that opened it.
    pub client: IpAddr,
    /// The end that accepted it.
    pub server: IpAddr,
    /// Its protocol.
    pub protocol: Protocol,
    /// The server's port.
    pub port: u16,
}

impl Conversation {
    /// The same, between the pods of a cluster.
    pub fn probe<'a>(&self, cluster: &'a Cluster) -> Probe<'a> {
        let end = |address| cluster.pod_at(address).map_or(End::Address(address), End::Pod);
        Probe { client: end(self.client), server: end(self.server), protocol: Some(self.protocol), port: self.port }
    }
}

/// Policies for a namespace.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// The policies.
    pub policies: Vec<NetworkPolicy>,
    /// Pods that no policy can select, as they have no labels that last.
    pub without_labels: Vec<String>,
}

impl Advice {
    /// As `oc apply -f -` reads it.
    pub fn yaml(&self) -> String {
        yaml(&self.policies)
    }
}

/// Rules of a workload: ports by peer, in an order that does not depend on the capture's.
type Rules = BTreeMap<String, (crate::objects::Peer, BTreeSet<(Protocol, u16)>)>;

/// The policies of a namespace that allow `conversations` of its pods and nothing else.
pub fn least_policies(cluster: &Cluster, namespace: &str, conversations: &[Conversation]) -> Advice {
    let mut workloads: BTreeMap<Labels, (String, [Rules; 2])> = BTreeMap::new();
    let mut without_labels = BTreeSet::new();
    let mut add = |own: End<'_>, peer: End<'_>, direction: Direction, of: &Conversation| {
        let End::Pod(pod) = own else { return };
        if pod.metadata.namespace != namespace || pod.host_network {
            return;
        }
        let labels = lasting(&pod.metadata.labels);
        if labels.is_empty() {
            without_labels.insert(pod.metadata.name.clone());
            return;
        }
        let (_, rules) = workloads.entry(labels).or_insert_with(|| (workload(pod), Default::default()));
        if !is_same(pod, peer) {
            let peer = peer_of(pod, peer);
            let key = serde_json::to_string(&peer).unwrap_or_default();
            let ports = &mut rules[direction as usize].entry(key).or_insert_with(|| (peer, BTreeSet::new())).1;
            ports.insert((of.protocol, of.port));
        }
    };
    for one in conversations {
        let probe = one.probe(cluster);
        add(probe.client, probe.server, Direction::Egress, one);
        add(probe.server, probe.client, Direction::Ingress, one);
    }
    let mut names = BTreeSet::new();
    let policies = workloads.into_iter().map(|(labels, (name, [ingress, egress]))| {
        let mut unique = name.clone();
        for number in 2.. {
            if names.insert(unique.clone()) {
                break;
            }
            unique = format!("{name}-{number}");
        }
        let rules = rules(ingress, Direction::Ingress);
        let mut one = policy(namespace, &unique, Selector::labels(&labels), Direction::Ingress, rules);
        one.spec.egress = self::rules(egress, Direction::Egress);
        one.spec.policy_types = Some(vec![Direction::Ingress, Direction::Egress]);
        one
    });
    Advice { policies: policies.collect(), without_labels: without_labels.into_iter().collect() }
}

fn is_same(pod: &Pod, peer: End<'_>) -> bool {
    matches!(peer, End::Pod(other) if std::ptr::eq(pod, other))
}

/// Peers with the same ports share a rule.
fn rules(found: Rules, direction: Direction) -> Vec<Rule> {
    let mut by_ports: BTreeMap<BTreeSet<(Protocol, u16)>, Vec<_>> = BTreeMap::new();
    for (peer, ports) in found.into_values() {
        by_ports.entry(ports).or_default().push(peer);
    }
    let port =
        |(protocol, number)| Port { protocol: Some(protocol), port: Some(PortRef::Number(number)), end_port: None };
    let rule = |(ports, peers): (BTreeSet<_>, Vec<_>)| {
        let ports = ports.into_iter().map(port).collect();
        match direction {
            Direction::Ingress => Rule { from: peers, ports, ..Rule::default() },
            Direction::Egress => Rule { to: peers, ports, ..Rule::default() },
        }
    };
    by_ports.into_iter().map(rule).collect()
}

/// The conversations that the policies of a cluster deny.
pub fn denied<'a>(cluster: &Cluster, conversations: &'a [Conversation]) -> Vec<&'a Conversation> {
    let is_denied = |one: &&Conversation| decide(cluster, &one.probe(cluster)).verdict() == Verdict::Denied;
    conversations.iter().filter(is_denied).collect()
}
