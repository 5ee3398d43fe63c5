//! Policies of a whole cluster: AdminNetworkPolicy, BaselineAdminNetworkPolicy and their successor ClusterNetworkPolicy, all of
//! `policy.networking.k8s.io`, read into one form.

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use crate::document::{ClusterError, read};
use crate::objects::{Direction, Meta, Protocol, Selector, null_is_empty};

/// The kinds of such policies.
pub const ADMIN_KINDS: [&str; 3] = ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"];

/// A policy of a whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPolicy {
    /// Its name.
    pub metadata: Meta,
    /// One of [`ADMIN_KINDS`].
    pub kind: &'static str,
    /// Whether it holds before NetworkPolicies, or only where none isolates the pod.
    pub tier: Tier,
    /// Within its tier the smaller number holds first.
    pub priority: i32,
    /// The pods that it is for.
    pub subject: Pods,
    /// Rules for connections to the pods.
    pub ingress: Vec<AdminRule>,
    /// Rules for connections from the pods.
    pub egress: Vec<AdminRule>,
}

/// Before NetworkPolicies or after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Tier {
    /// Before them.
    Admin,
    /// After them.
    Baseline,
}

/// Pods by the labels of their namespaces and their own. Pods on the host network are never meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pods {
    /// All pods of these namespaces.
    pub namespaces: Option<Selector>,
    /// Certain pods of certain namespaces.
    pub pods: Option<NamespacedPods>,
}

/// Certain pods of certain namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespacedPods {
    /// The namespaces.
    pub namespace_selector: Selector,
    /// The pods.
    pub pod_selector: Selector,
}

/// A rule of such a policy: the first one that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AdminRule {
    /// Its name, or nothing.
    #[serde(default)]
    pub name: String,
    /// What it decides.
    pub action: Action,
    /// The peers of a rule for ingress.
    #[serde(default, deserialize_with = "null_is_empty")]
    from: Vec<AdminPeer>,
    /// The peers of a rule for egress.
    #[serde(default, deserialize_with = "null_is_empty")]
    to: Vec<AdminPeer>,
    /// Ports of the older kinds; all when missing.
    #[serde(default)]
    ports: Option<Vec<OlderPort>>,
    /// Ports of ClusterNetworkPolicy; all when missing.
    #[serde(default)]
    protocols: Option<Vec<NewerPort>>,
}

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Action {
    /// The connection is allowed, whatever NetworkPolicies decide.
    #[serde(alias = "Accept")]
    Allow,
    /// The connection is denied.
    Deny,
    /// The next tier decides.
    Pass,
}

/// A peer of a rule. One with none of the fields is of a version that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AdminPeer {
    /// Pods.
    #[serde(flatten)]
    pub pods: Pods,
    /// Nodes with these labels, by their addresses.
    pub nodes: Option<Selector>,
    /// Addresses, those of pods too.
    pub networks: Vec<IpNet>,
    /// Names whose addresses the objects do not show.
    pub domain_names: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OlderPort {
    port_number: Option<NumberOf>,
    port_range: Option<RangeOf>,
    named_port: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct NumberOf {
    protocol: Protocol,
    port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct RangeOf {
    protocol: Protocol,
    start: u16,
    end: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NewerPort {
    tcp: Option<Destination>,
    udp: Option<Destination>,
    sctp: Option<Destination>,
    destination_named_port: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Destination {
    destination_port: Option<PortOf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct PortOf {
    number: Option<u16>,
    range: Option<RangeOf>,
}

/// Ports that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminPort {
    /// From the first to the last of a protocol.
    Range(Protocol, u16, u16),
    /// The port that the server's container gives this name.
    Name(String),
}

#[derive(Deserialize)]
struct Object {
    kind: String,
    metadata: Meta,
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    tier: Option<Tier>,
    #[serde(default)]
    priority: i32,
    subject: Pods,
    #[serde(default, deserialize_with = "null_is_empty")]
    ingress: Vec<AdminRule>,
    #[serde(default, deserialize_with = "null_is_empty")]
    egress: Vec<AdminRule>,
}

impl AdminPolicy {
    /// Reads an object of one of [`ADMIN_KINDS`].
    ///
    /// # Errors
    /// When a field is not as it has to be.
    pub fn read(object: Value) -> Result<Self, ClusterError> {
        let Object { kind, metadata, spec } = read(object)?;
        let kind = ADMIN_KINDS.into_iter().find(|known| *known == kind).unwrap_or(ADMIN_KINDS[2]);
        let own_tier = if kind == "BaselineAdminNetworkPolicy" { Tier::Baseline } else { Tier::Admin };
        Ok(Self {
            metadata,
            kind,
            tier: spec.tier.unwrap_or(own_tier),
            priority: spec.priority,
            subject: spec.subject,
            ingress: spec.ingress,
            egress: spec.egress,
        })
    }

    /// The rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[AdminRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl AdminRule {
    /// The peers.
    pub fn peers(&self) -> impl Iterator<Item = &AdminPeer> {
        self.from.iter().chain(&self.to)
    }

    /// The ports; `None` for all.
    pub fn ports(&self) -> Option<Vec<AdminPort>> {
        let older = self.ports.as_ref().map(|ports| ports.iter().filter_map(OlderPort::read).collect());
        older.or_else(|| self.protocols.as_ref().map(|all| all.iter().flat_map(NewerPort::read).collect()))
    }
}

impl OlderPort {
    fn read(&self) -> Option<AdminPort> {
        let number = self.port_number.as_ref().map(|one| AdminPort::Range(one.protocol, one.port, one.port));
        let range = || self.port_range.as_ref().map(|one| AdminPort::Range(one.protocol, one.start, one.end));
        number.or_else(range).or_else(|| self.named_port.clone().map(AdminPort::Name))
    }
}

impl NewerPort {
    fn read(&self) -> Vec<AdminPort> {
        let all = [(Protocol::Tcp, &self.tcp), (Protocol::Udp, &self.udp), (Protocol::Sctp, &self.sctp)];
        let ranges = all.into_iter().filter_map(|(protocol, wanted)| {
            let (start, end) = wanted.as_ref()?.range();
            Some(AdminPort::Range(protocol, start, end))
        });
        ranges.chain(self.destination_named_port.clone().map(AdminPort::Name)).collect()
    }
}

impl Destination {
    fn range(&self) -> (u16, u16) {
        match &self.destination_port {
            None => (0, u16::MAX),
            Some(PortOf { number: Some(number), .. }) => (*number, *number),
            Some(PortOf { range: Some(range), .. }) => (range.start, range.end),
            // A form that is not known matches nothing.
            Some(_) => (1, 0),
        }
    }
}
