//! What the policies of the whole cluster decide: in the order of their priorities, the first rule that matches.

use std::net::IpAddr;

use super::{End, Probe};
use crate::admin::{Action, AdminPeer, AdminPolicy, AdminPort, AdminRule, Pods, Tier};
use crate::cluster::{Cluster, Pod};
use crate::objects::{Direction, Selector};

/// The rule that decides in a tier.
#[derive(Clone, Debug)]
pub struct Decided<'a> {
    /// The policy.
    pub policy: &'a AdminPolicy,
    /// Its rule; number `1` is the first.
    pub rule: usize,
    /// What the rule decides.
    pub action: Action,
    /// Rules before it that allow names: whether the peer has one of them cannot be known.
    pub by_name: Vec<(&'a AdminPolicy, usize)>,
}

/// The first rule of a tier that matches a connection of `pod`.
pub(super) fn first_rule<'a>(
    cluster: &'a Cluster,
    pod: &Pod,
    peer: End<'_>,
    probe: &Probe<'_>,
    (tier, direction): (Tier, Direction),
) -> Option<Decided<'a>> {
    let mut by_name = Vec::new();
    let policies = cluster.admin_policies().iter().filter(|policy| policy.tier == tier);
    for policy in policies.filter(|policy| is_among(cluster, &policy.subject, pod)) {
        for (rule, of) in (1..).zip(policy.rules(direction)) {
            if !has_port(of, probe) {
                continue;
            }
            if of.peers().any(|one| is_peer(cluster, of.action, one, peer)) {
                return Some(Decided { policy, rule, action: of.action, by_name });
            }
            if of.peers().any(|one| !one.domain_names.is_empty()) && matches!(peer, End::Address(_)) {
                by_name.push((policy, rule));
            }
        }
    }
    None
}

/// Whether a policy is for a pod.
fn is_among(cluster: &Cluster, pods: &Pods, pod: &Pod) -> bool {
    let in_namespace = |selector: &Selector| selector.selects(&cluster.namespace_labels(&pod.metadata.namespace));
    if pod.host_network {
        return false;
    }
    match (&pods.namespaces, &pods.pods) {
        (Some(namespaces), _) => in_namespace(namespaces),
        (None, Some(both)) => in_namespace(&both.namespace_selector) && both.pod_selector.selects(&pod.metadata.labels),
        (None, None) => false,
    }
}

fn is_peer(cluster: &Cluster, action: Action, peer: &AdminPeer, end: End<'_>) -> bool {
    let selects_pods = peer.pods != Pods::default();
    let is_known = selects_pods || peer.nodes.is_some() || !peer.networks.is_empty() || !peer.domain_names.is_empty();
    if !is_known {
        // The API asks to deny where a version does not know what a rule is for.
        return action != Action::Allow;
    }
    let addresses: &[IpAddr] = match &end {
        End::Pod(pod) => &pod.addresses,
        End::Address(address) => std::slice::from_ref(address),
    };
    let is_node = |selector: &Selector| {
        let mut nodes = addresses.iter().filter_map(|address| cluster.node_at(*address));
        nodes.any(|node| selector.selects(&node.labels))
    };
    let is_pod = matches!(end, End::Pod(pod) if selects_pods && is_among(cluster, &peer.pods, pod));
    is_pod
        || peer.nodes.as_ref().is_some_and(is_node)
        || peer.networks.iter().any(|network| addresses.iter().any(|address| network.contains(address)))
}

fn has_port(rule: &AdminRule, probe: &Probe<'_>) -> bool {
    let Some(ports) = rule.ports() else { return true };
    let Some(protocol) = probe.protocol else { return false };
    ports.iter().any(|port| match port {
        AdminPort::Range(of, first, last) => *of == protocol && (*first..=*last).contains(&probe.port),
        AdminPort::Name(name) => matches!(probe.server, End::Pod(pod) if pod.ports.iter().any(|declared| {
            declared.name == *name && declared.protocol == protocol && declared.number == probe.port
        })),
    })
}
