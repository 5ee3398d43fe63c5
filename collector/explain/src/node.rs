//! What nodes have to do with a connection that fails: a node that is not ready, a host port on another node, loss between two nodes.

use std::net::IpAddr;

use crate::cluster::{Cluster, Node, Pod};
use crate::finding::{Certainty, Finding, Kind};
use crate::objects::Protocol;
use crate::observe::Party;
use crate::policy::End;

/// Packets of one node that another one did not get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Node that sent them.
    pub from: String,
    /// Node that they were sent to.
    pub to: String,
    /// Packets that were sent.
    pub sent: u64,
    /// Those that did not arrive.
    pub lost: u64,
}

impl Loss {
    /// As a finding.
    pub fn finding(&self) -> Finding {
        let Self { from, to, sent, lost } = self;
        let quoted = |name: &str| name.replace('\'', "''");
        let node = |name: &str| Party { name: format!("node {name}"), address: None };
        Finding {
            kind: Kind::LostBetweenNodes,
            sentence: format!("{lost} of {sent} packets from node {from} to node {to} did not arrive."),
            evidence: vec![
                "node ".to_owned() + from + " counted them as sent, and no interface of the other node saw them",
            ],
            certainty: Certainty::Seen,
            remedy: format!(
                "Check what is between {from} and {to}: the MTU of the overlay network, security groups and firewalls, the load of the link and of its switches."
            ),
            change: String::new(),
            client: node(from),
            server: node(to),
            protocol: None,
            port: None,
            asked: String::new(),
            count: *lost,
            first_ms: 0,
            last_ms: 0,
            records: format!(
                "ConversationId IN (SELECT ConversationId FROM between_nodes WHERE FromNode = '{}' AND ToNode = '{}' AND Sent - Arrived - Unsure > 0)",
                quoted(from),
                quoted(to)
            ),
        }
    }
}

/// A connection that fails as nothing has this port of a node; whether that is so.
pub(crate) fn host_port(finding: &mut Finding, cluster: &Cluster, server: IpAddr, at: (Option<Protocol>, u16)) -> bool {
    let (Some(node), (Some(protocol), port)) = (cluster.node_at(server), at) else { return false };
    let has_it = |pod: &&Pod| {
        let mut ports = pod.ports.iter();
        !pod.deleted && ports.any(|one| one.host_port == port && port > 0 && one.protocol == protocol)
    };
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        cluster.pods().iter().filter(has_it).partition(|pod| pod.node == node.name);
    let name = |pod: &Pod| format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
    let what = format!("Host port {port} ({})", protocol.name());
    let (sentence, certainty, remedy) = match (here.first(), elsewhere.first()) {
        (None, Some(other)) => (
            format!(
                "{what} is that of pod {} on node {}; no pod on node {} has it.",
                name(other),
                other.node,
                node.name
            ),
            Certainty::FollowsFromObjects,
            format!("Connect to node {}, or to a service, which leads there from each node.", other.node),
        ),
        (Some(pod), _) if !pod.ready => (
            format!("Pod {}, whose host port {port} on node {} it is, is not ready.", name(pod), node.name),
            Certainty::Likely,
            format!(
                "Look at why it is not ready: 'oc describe pod {} -n {}'.",
                pod.metadata.name, pod.metadata.namespace
            ),
        ),
        _ => return false,
    };
    replace(finding, Kind::HostPort, (sentence, certainty, remedy));
    true
}

/// The node of the server, if it is not ready.
pub(crate) fn down<'a>(cluster: &'a Cluster, server: End<'_>) -> Option<&'a Node> {
    let node = match server {
        End::Pod(pod) => cluster.nodes().iter().find(|node| node.name == pod.node),
        End::Address(address) => cluster.node_at(address),
    };
    node.filter(|node| !node.ready)
}

/// Nothing came back from a node that is not ready.
pub(crate) fn not_ready(finding: &mut Finding, node: &Node, server: End<'_>) {
    let what = match server {
        End::Pod(pod) => format!(", where {}/{} runs,", pod.metadata.namespace, pod.metadata.name),
        End::Address(_) => String::new(),
    };
    let sentence = format!("Node {}{what} is not ready.", node.name);
    let remedy = format!("Look at the node: 'oc describe node {}', its kubelet and its network plugin.", node.name);
    replace(finding, Kind::NodeNotReady, (sentence, Certainty::Likely, remedy));
}

fn replace(finding: &mut Finding, kind: Kind, (sentence, certainty, remedy): (String, Certainty, String)) {
    let seen = std::mem::replace(&mut finding.sentence, sentence);
    finding.evidence.extend((!seen.is_empty()).then_some(seen));
    (finding.kind, finding.certainty, finding.remedy) = (kind, certainty, remedy);
}
