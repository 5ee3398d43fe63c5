//! The objects of the cluster as the API server reports them, without all that names do not need.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netobserv_explain::admin::AdminPolicy;
use netobserv_explain::cluster::{ContainerPort, Endpoint, ServiceSpec};
use netobserv_explain::objects::NetworkPolicy;
use netobserv_wire::flow::Mac;

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pods.
    Pods,
    /// Nodes.
    Nodes,
    /// Services.
    Services,
    /// ReplicaSets.
    ReplicaSets,
    /// Jobs.
    Jobs,
    /// Endpoint slices of services.
    EndpointSlices,
    /// Addresses of nodes, as agents report them.
    Hosts,
    /// Namespaces, for their labels.
    Namespaces,
    /// NetworkPolicies.
    NetworkPolicies,
    /// AdminNetworkPolicies.
    AdminPolicies,
    /// BaselineAdminNetworkPolicies.
    BaselinePolicies,
    /// ClusterNetworkPolicies.
    ClusterPolicies,
    /// The same in the version after it.
    LaterClusterPolicies,
}

impl Kind {
    /// Whether names are made of its objects; those that come later only decide on connections.
    pub fn is_named(self) -> bool {
        self < Self::Namespaces
    }
}

/// Kind and name of what owns an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Deployment, DaemonSet, ...
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What every object has. Times are in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Never used again.
    pub uid: String,
    /// Empty for nodes.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The controller that owns it.
    pub owner: Option<Owner>,
    /// When it was created.
    pub created_ms: u64,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Who it is.
    pub identity: Identity,
    /// Name of its node; empty before there is one.
    pub node: String,
    /// Address of its node.
    pub host_ip: Option<IpAddr>,
    /// Its own addresses; those of a pod on the host network are the node's and do not stand here.
    pub addresses: Vec<IpAddr>,
    /// Addresses in other networks.
    pub secondary: Vec<Secondary>,
    /// Ports of its node that are its own: protocol number and port.
    pub host_ports: Vec<(u8, u16)>,
    /// It has no network of its own, but its node's.
    pub host_network: bool,
    /// Its labels. The index does not keep them.
    pub labels: BTreeMap<String, String>,
    /// When it began.
    pub started_ms: Option<u64>,
    /// When the last of its containers ended, if all have.
    pub finished_ms: Option<u64>,
    /// The ports that its containers declare. The index does not keep them.
    pub ports: Vec<ContainerPort>,
    /// Whether it is ready to serve.
    pub ready: bool,
}

/// An address in a network that the pod has in addition to the cluster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secondary {
    /// Address.
    pub address: IpAddr,
    /// MAC address of the interface: addresses of such networks need not be unique.
    pub mac: Mac,
    /// Name of the network.
    pub network: String,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Who it is.
    pub identity: Identity,
    /// Its addresses; the first is what pods call the address of their host.
    pub addresses: Vec<IpAddr>,
    /// Zone, or empty.
    pub zone: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether its kubelet reports it as ready.
    pub ready: bool,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Who it is.
    pub identity: Identity,
    /// Its addresses in the cluster, external ones and those of its load balancer.
    pub addresses: Vec<IpAddr>,
    /// Ports of all nodes that lead to it: protocol number and port.
    pub node_ports: Vec<(u8, u16)>,
    /// The name that it stands for outside of the cluster, if it is of type ExternalName.
    pub external_name: Option<String>,
    /// What it leads to.
    pub spec: ServiceSpec,
}

/// What is behind a service, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Who it is.
    pub identity: Identity,
    /// Name of the service.
    pub service: String,
    /// Names of pods.
    pub pods: Vec<String>,
    /// Addresses that are no pod's.
    pub addresses: Vec<IpAddr>,
    /// All endpoints, with their state.
    pub endpoints: Vec<Endpoint>,
}

/// Addresses of a node that its agent knows and the cluster does not list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// By the name of the node.
    pub identity: Identity,
    /// Addresses that no other node has.
    pub addresses: Vec<IpAddr>,
}

/// A ReplicaSet or Job: of interest for its owner only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// ReplicaSet or Job.
    pub kind: &'static str,
    /// Who it is.
    pub identity: Identity,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its identity.
    pub identity: Identity,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its identity.
    pub identity: Identity,
    /// Its kind.
    pub kind: Kind,
    /// What it allows; or why it cannot be read.
    pub rules: Result<Rules, String>,
}

/// What a policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// In its namespace.
    Network(Box<NetworkPolicy>),
    /// In the whole cluster.
    Admin(Box<AdminPolicy>),
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A pod.
    Pod(Pod),
    /// A node.
    Node(Node),
    /// A service.
    Service(Service),
    /// A ReplicaSet or Job.
    Workload(Workload),
    /// What is behind a service.
    Endpoints(Endpoints),
    /// More addresses of a node.
    Host(Host),
    /// A namespace.
    Namespace(Namespace),
    /// A policy.
    Policy(Policy),
}

impl Fact {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Pod(pod) => &pod.identity,
            Self::Node(node) => &node.identity,
            Self::Service(service) => &service.identity,
            Self::Workload(workload) => &workload.identity,
            Self::Endpoints(endpoints) => &endpoints.identity,
            Self::Host(host) => &host.identity,
            Self::Namespace(namespace) => &namespace.identity,
            Self::Policy(policy) => &policy.identity,
        }
    }
}
