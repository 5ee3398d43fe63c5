//! The objects of the cluster that decide on connections, as the API server reports them while a capture runs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netobserv_explain::admin::AdminPolicy;
use netobserv_explain::cluster::{Cluster, EndpointSlice, Node, Pod, SERVICE_OF_SLICE, Service};
use netobserv_explain::objects::{Labels, Meta, NetworkPolicy};

use crate::facts::Kind;
use crate::facts::{self, Fact, Identity, Rules};

/// Most pods that are kept after they were deleted.
const MOST_DELETED: usize = 2_048;
/// The kinds, as `explain` calls them.
const KINDS: [(Kind, &str); 6] = [
    (Kind::Pods, "Pod"),
    (Kind::Nodes, "Node"),
    (Kind::Services, "Service"),
    (Kind::EndpointSlices, "EndpointSlice"),
    (Kind::Namespaces, "Namespace"),
    (Kind::NetworkPolicies, "NetworkPolicy"),
];

/// What decides on connections.
#[derive(Debug, Default)]
pub struct Objects(Mutex<Kept>);

/// By uid.
#[derive(Debug, Default)]
struct Kept {
    pods: HashMap<String, Pod>,
    deleted: HashMap<IpAddr, Pod>,
    nodes: HashMap<String, Node>,
    services: HashMap<String, Service>,
    slices: HashMap<String, EndpointSlice>,
    namespaces: HashMap<String, (String, Labels)>,
    policies: HashMap<String, (Kind, Policy)>,
    version: u64,
    made: Option<(u64, Arc<Cluster>)>,
}

#[derive(Clone, Debug)]
enum Policy {
    Network(NetworkPolicy),
    Admin(AdminPolicy),
    Unreadable(String),
}

impl Objects {
    /// Learns of an object, new or changed.
    pub fn learn(&self, fact: &Fact) {
        let uid = fact.identity().uid.clone();
        let mut kept = self.kept();
        match fact {
            Fact::Pod(of) => {
                let pod = pod(of);
                pod.addresses.iter().for_each(|address| drop(kept.deleted.remove(address)));
                kept.pods.insert(uid, pod);
            }
            Fact::Node(of) => drop(kept.nodes.insert(uid, node(of))),
            Fact::Service(of) => {
                let service = Service { metadata: meta(&of.identity, &Labels::new()), spec: of.spec.clone() };
                kept.services.insert(uid, service);
            }
            Fact::Endpoints(of) => drop(kept.slices.insert(uid, slice(of))),
            Fact::Namespace(of) => {
                kept.namespaces.insert(uid, (of.identity.name.clone(), of.labels.clone()));
            }
            Fact::Policy(of) => drop(kept.policies.insert(uid, policy(of))),
            Fact::Workload(_) | Fact::Host(_) => return,
        }
        kept.version += 1;
    }

    /// Forgets the objects of a kind that are not to be kept.
    pub(crate) fn retain(&self, kind: Kind, keep: impl Fn(&str) -> bool) {
        let mut kept = self.kept();
        match kind {
            Kind::Pods => kept.forget_pods(keep),
            Kind::Nodes => kept.nodes.retain(|uid, _| keep(uid)),
            Kind::Services => kept.services.retain(|uid, _| keep(uid)),
            Kind::EndpointSlices => kept.slices.retain(|uid, _| keep(uid)),
            Kind::Namespaces => kept.namespaces.retain(|uid, _| keep(uid)),
            Kind::ReplicaSets | Kind::Jobs | Kind::Hosts => return,
            of_policies => kept.policies.retain(|uid, (its, _)| *its != of_policies || keep(uid)),
        }
        kept.version += 1;
    }

    /// The cluster as it is now, of whose kinds all objects are known that `known` names. Made again only when something changed.
    pub fn cluster(&self, known: impl Fn(Kind) -> bool) -> Arc<Cluster> {
        let mut kept = self.kept();
        let version = kept.version;
        if let Some((_, made)) = kept.made.as_ref().filter(|(of, _)| *of == version) {
            return made.clone();
        }
        let mut cluster = kept.cluster();
        KINDS.iter().filter(|(kind, _)| known(*kind)).for_each(|(_, name)| cluster.note_kind(name));
        let cluster = Arc::new(cluster);
        kept.made = Some((version, cluster.clone()));
        cluster
    }

    /// Policies that could not be read, and why.
    pub fn unreadable(&self) -> Vec<String> {
        let kept = self.kept();
        let mut unreadable: Vec<_> = kept
            .policies
            .values()
            .filter_map(|(_, policy)| match policy {
                Policy::Unreadable(why) => Some(why.clone()),
                _ => None,
            })
            .collect();
        unreadable.sort_unstable();
        unreadable
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget_pods(&mut self, keep: impl Fn(&str) -> bool) {
        let Self { pods, deleted, .. } = self;
        pods.retain(|uid, pod| {
            let stays = keep(uid);
            let addresses = pod.addresses.iter().filter(|_| !stays && deleted.len() < MOST_DELETED);
            let of: Vec<_> = addresses.copied().collect();
            of.into_iter().for_each(|address| drop(deleted.insert(address, pod.clone())));
            stays
        });
    }

    fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::default();
        self.deleted.values().for_each(|pod| cluster.add_deleted_pod(pod.clone()));
        self.pods.values().for_each(|pod| cluster.add_pod(pod.clone()));
        self.nodes.values().for_each(|node| cluster.add_node(node.clone()));
        self.services.values().for_each(|service| cluster.add_service(service.clone()));
        self.slices.values().for_each(|slice| cluster.add_slice(slice.clone()));
        self.namespaces.values().for_each(|(name, labels)| cluster.add_namespace(name.clone(), labels.clone()));
        for (_, policy) in self.policies.values() {
            match policy {
                Policy::Network(policy) => cluster.add_policy(policy.clone()),
                Policy::Admin(policy) => cluster.add_admin_policy(policy.clone()),
                Policy::Unreadable(_) => {}
            }
        }
        cluster
    }
}

fn meta(identity: &Identity, labels: &Labels) -> Meta {
    Meta { name: identity.name.clone(), namespace: identity.namespace.clone(), labels: labels.clone() }
}

fn pod(of: &facts::Pod) -> Pod {
    let over = of.finished_ms.is_some();
    let own: &[IpAddr] = if over { &[] } else { &of.addresses };
    let of_node = of.host_ip.filter(|_| of.host_network && !over);
    Pod {
        metadata: meta(&of.identity, &of.labels),
        addresses: own.iter().copied().chain(of_node).collect(),
        host_network: of.host_network,
        node: of.node.clone(),
        ports: of.ports.clone(),
        ready: of.ready,
        deleted: false,
    }
}

fn node(of: &facts::Node) -> Node {
    let (name, addresses, labels) = (of.identity.name.clone(), of.addresses.clone(), of.labels.clone());
    Node { name, addresses, ready: of.ready, labels }
}

fn slice(of: &facts::Endpoints) -> EndpointSlice {
    let labels = Labels::from([(SERVICE_OF_SLICE.to_owned(), of.service.clone())]);
    EndpointSlice { metadata: meta(&of.identity, &labels), endpoints: of.endpoints.clone() }
}

fn policy(of: &facts::Policy) -> (Kind, Policy) {
    match &of.rules {
        Ok(Rules::Network(policy)) => (Kind::NetworkPolicies, Policy::Network(NetworkPolicy::clone(policy))),
        Ok(Rules::Admin(policy)) => (of.kind, Policy::Admin(AdminPolicy::clone(policy))),
        Err(why) => (of.kind, Policy::Unreadable(format!("what policy {} decides: {why}", of.identity.name))),
    }
}
