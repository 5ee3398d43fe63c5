//! The smallest change that allows a denied connection: one more policy for each side that denies it, for the same workloads and
//! the one port.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Serialize;

use super::{Decision, End, Probe, Reason, isolating};
use crate::cluster::{Cluster, NAMESPACE_NAME, Pod};
use crate::objects::{
    Direction, IpBlock, Labels, Meta, NetworkPolicy, Peer, PolicySpec, Port, PortRef, Rule, Selector,
};

/// Labels that differ between the pods of a workload, or between its versions.
const PASSING: [&str; 9] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "job-name",
    "batch.kubernetes.io/job-name",
];

/// Policies to be added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change(pub Vec<NetworkPolicy>);

impl Change {
    /// As `oc apply -f -` reads it.
    pub fn yaml(&self) -> String {
        yaml(&self.0)
    }
}

/// A policy with the two lines that every object has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    policy: &'a NetworkPolicy,
}

/// Policies as YAML documents.
pub(super) fn yaml(policies: &[NetworkPolicy]) -> String {
    let document = |policy| {
        let whole = Whole { api_version: "networking.k8s.io/v1", kind: "NetworkPolicy", policy };
        // Maps of texts, lists and numbers have no form that YAML lacks.
        serde_saphyr::to_string(&whole).unwrap_or_default()
    };
    policies.iter().map(document).collect::<Vec<_>>().join("---\n")
}

/// The labels that a pod shares with the others of its workload.
pub(super) fn lasting(labels: &Labels) -> Labels {
    labels.iter().filter(|(key, _)| !PASSING.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The smallest change that allows a denied connection; `None` when nothing denies it.
pub fn smallest_change(cluster: &Cluster, probe: &Probe<'_>, decision: &Decision<'_>) -> Option<Change> {
    let policies: Vec<_> =
        decision.denials().filter_map(|side| allow(cluster, probe, side.direction, &side.reason)).collect();
    (!policies.is_empty()).then_some(Change(policies))
}

fn allow(cluster: &Cluster, probe: &Probe<'_>, direction: Direction, reason: &Reason<'_>) -> Option<NetworkPolicy> {
    let (own, peer) = match direction {
        Direction::Egress => (probe.client, probe.server),
        Direction::Ingress => (probe.server, probe.client),
    };
    let (End::Pod(pod), Reason::NoRule(misses)) = (own, reason) else { return None };
    let denying: Vec<_> = misses.iter().map(|miss| miss.policy).collect();
    let port = Port { protocol: probe.protocol, port: Some(PortRef::Number(probe.port)), end_port: None };
    let peers = vec![peer_of(pod, peer)];
    let rule = match direction {
        Direction::Egress => Rule { to: peers, ports: vec![port], ..Rule::default() },
        Direction::Ingress => Rule { from: peers, ports: vec![port], ..Rule::default() },
    };
    let protocol = probe.protocol.unwrap_or_default().name().to_lowercase();
    let preposition = if direction == Direction::Egress { "to" } else { "from" };
    let name = format!("allow-{preposition}-{}-{protocol}-{}", label_of(peer), probe.port);
    Some(policy(&pod.metadata.namespace, &name, selector(cluster, pod, direction, &denying), direction, vec![rule]))
}

/// A policy of one direction.
pub(super) fn policy(
    namespace: &str,
    name: &str,
    pod_selector: Selector,
    direction: Direction,
    rules: Vec<Rule>,
) -> NetworkPolicy {
    let (ingress, egress) = match direction {
        Direction::Ingress => (rules, Vec::new()),
        Direction::Egress => (Vec::new(), rules),
    };
    NetworkPolicy {
        metadata: Meta { name: object_name(name), namespace: namespace.to_owned(), labels: BTreeMap::new() },
        spec: PolicySpec { pod_selector, policy_types: Some(vec![direction]), ingress, egress },
    }
}

/// Selects the pod's workload, and no pod that is not isolated yet: that one would lose what it may do now.
fn selector(cluster: &Cluster, pod: &Pod, direction: Direction, denying: &[&NetworkPolicy]) -> Selector {
    let own = Selector::labels(&lasting(&pod.metadata.labels));
    let in_namespace = || cluster.pods().iter().filter(|other| other.metadata.namespace == pod.metadata.namespace);
    let is_isolated = |other| isolating(cluster, other, direction).next().is_some();
    let free = in_namespace().any(|other| own.selects(&other.metadata.labels) && !is_isolated(other));
    match denying.first() {
        Some(policy) if free => both(&own, &policy.spec.pod_selector),
        _ => own,
    }
}

/// What two selectors select that both select a certain pod.
fn both(one: &Selector, other: &Selector) -> Selector {
    let mut all = one.clone();
    all.match_labels.extend(other.match_labels.clone());
    all.match_expressions.extend(other.match_expressions.iter().cloned());
    all
}

/// The peer, as the policy of a pod names it.
pub(super) fn peer_of(pod: &Pod, peer: End<'_>) -> Peer {
    let block = |address| Peer {
        ip_block: Some(IpBlock { cidr: IpNet::from(address), except: Vec::new() }),
        ..Peer::default()
    };
    match peer {
        End::Pod(other) if !other.host_network => {
            let namespace = &other.metadata.namespace;
            let other_namespace = || {
                let name = (NAMESPACE_NAME.to_owned(), namespace.clone());
                Selector::labels(&Labels::from([name]))
            };
            Peer {
                pod_selector: Some(Selector::labels(&lasting(&other.metadata.labels))),
                namespace_selector: (*namespace != pod.metadata.namespace).then(other_namespace),
                ip_block: None,
            }
        }
        End::Pod(other) => other.addresses.first().map_or_else(Peer::default, |address| block(*address)),
        End::Address(address) => block(address),
    }
}

fn label_of(end: End<'_>) -> String {
    match end {
        End::Pod(pod) => workload(pod),
        End::Address(address) => address.to_string(),
    }
}

/// What a pod's workload is called: its usual labels, or the pod's name.
pub(super) fn workload(pod: &Pod) -> String {
    let labels = &pod.metadata.labels;
    let name = ["app.kubernetes.io/name", "app", "k8s-app", "name"].iter().find_map(|key| labels.get(*key));
    name.unwrap_or(&pod.metadata.name).clone()
}

/// A name that the API server takes.
fn object_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = text.to_lowercase().chars().map(plain).take(63).collect();
    name.trim_matches('-').to_owned()
}
