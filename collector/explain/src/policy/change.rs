//! The smallest change that allows a denied connection: one more policy for each side that denies it, for the same workloads and
//! the one port.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Decision, End, Probe, Reason, isolating};
use crate::admin::{AdminPolicy, Tier};
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
pub struct Change {
    /// Those of namespaces.
    pub policies: Vec<NetworkPolicy>,
    /// Those of the whole cluster, as objects of their kinds.
    pub of_cluster: Vec<Value>,
}

impl Change {
    /// As `oc apply -f -` reads it.
    pub fn yaml(&self) -> String {
        let of_cluster = self.of_cluster.iter().map(|object| serde_saphyr::to_string(object).unwrap_or_default());
        let of_namespaces = yaml(&self.policies);
        let documents = of_cluster.chain((!of_namespaces.is_empty()).then_some(of_namespaces));
        documents.collect::<Vec<_>>().join("---\n")
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
    let mut change = Change::default();
    for side in decision.denials() {
        match &side.reason {
            Reason::Cluster(decided) => change.of_cluster.extend(exception(probe, side.direction, decided.policy)),
            reason => change.policies.extend(allow(cluster, probe, side.direction, reason)),
        }
    }
    (change != Change::default()).then_some(change)
}

/// A policy of the whole cluster that allows one port before `denying` is asked.
fn exception(probe: &Probe<'_>, direction: Direction, denying: &AdminPolicy) -> Option<Value> {
    let (own, peer) = match direction {
        Direction::Egress => (probe.client, probe.server),
        Direction::Ingress => (probe.server, probe.client),
    };
    let pods = |pod: &Pod| {
        let namespace = Labels::from([(NAMESPACE_NAME.to_owned(), pod.metadata.namespace.clone())]);
        let pods = lasting(&pod.metadata.labels);
        json!({"pods": {"namespaceSelector": Selector::labels(&namespace), "podSelector": Selector::labels(&pods)}})
    };
    let subject = match own {
        End::Pod(pod) => pods(pod),
        End::Address(_) => Value::Null,
    };
    let address = |address: IpAddr| json!({"networks": [IpNet::from(address)]});
    let peer_is = match peer {
        End::Pod(pod) if !pod.host_network => pods(pod),
        End::Pod(pod) => pod.addresses.first().map_or(Value::Null, |one| address(*one)),
        End::Address(one) => address(one),
    };
    let protocol = probe.protocol.unwrap_or_default().name();
    let (newer, number) = (denying.kind == "ClusterNetworkPolicy", probe.port);
    let (side, word) = if direction == Direction::Egress { ("to", "egress") } else { ("from", "ingress") };
    let (action, ports_of, ports) = match newer {
        true => ("Accept", "protocols", json!([{protocol.to_lowercase(): {"destinationPort": {"number": number}}}])),
        false => ("Allow", "ports", json!([{"portNumber": {"protocol": protocol, "port": number}}])),
    };
    // The policies of a tier hold in the order of their numbers, and there is only one of the older kind in the later tier.
    let is_last =
        denying.kind == "BaselineAdminNetworkPolicy" || denying.tier == Tier::Baseline && denying.priority == 0;
    let (tier, priority) = match is_last {
        true => (Tier::Admin, 1_000),
        // Nothing holds before the first number of all.
        false => (denying.tier, u32::try_from(denying.priority).ok()?.checked_sub(1)?),
    };
    let name = format!("allow-{side}-{}-{}-{number}", label_of(peer), protocol.to_lowercase());
    let mut spec =
        json!({"priority": priority, "subject": subject, word: [{"action": action, side: [peer_is], ports_of: ports}]});
    if newer {
        spec["tier"] = json!(if tier == Tier::Admin { "Admin" } else { "Baseline" });
    }
    let (kind, version) = if newer { ("ClusterNetworkPolicy", "v1alpha2") } else { ("AdminNetworkPolicy", "v1alpha1") };
    Some(json!({"apiVersion": format!("policy.networking.k8s.io/{version}"), "kind": kind,
        "metadata": {"name": object_name(&name)}, "spec": spec}))
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
