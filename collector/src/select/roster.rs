//! The objects of the cluster with all that a selection may ask for. It is kept only while something is selected, and of labels only
//! those that are asked for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use netobserv_contract::selector::{Kind as What, Wanted};
use tokio::sync::Notify;

use super::Selections;
use crate::facts::Kind;
use crate::facts::{Endpoints, Fact, Node, Owner, Pod, Service};

/// The objects, shared by the watch, which changes them, and the task that resolves selections.
#[derive(Debug)]
pub struct Roster {
    objects: Mutex<Objects>,
    changed: Notify,
    /// Labels that are asked for.
    labels: HashSet<String>,
    endpoints: bool,
}

/// What is there now, by uid.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) pods: HashMap<String, Member>,
    pub(super) services: HashMap<String, Service>,
    pub(super) nodes: HashMap<String, Node>,
    pub(super) slices: HashMap<String, Endpoints>,
    /// Owners of ReplicaSets and Jobs, which may be none.
    pub(super) owners: HashMap<String, Owned>,
    /// Counts the changes.
    latest: u64,
}

/// A pod that has not ended.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) owner: Option<Owner>,
    pub(super) node: String,
    pub(super) host_ip: Option<IpAddr>,
    pub(super) host_network: bool,
    pub(super) host_ports: Vec<(u8, u16)>,
    /// Those of all networks, each with the change in which it got it.
    pub(super) addresses: BTreeMap<IpAddr, Since>,
    pub(super) labels: BTreeMap<String, String>,
}

/// Since when a pod has an address, to find the last of several: by its start, and by the order of the news.
pub(super) type Since = (u64, u64);

/// A workload between a pod and what people know.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) owner: Option<Owner>,
}

impl Roster {
    pub(super) fn new(selections: &Selections) -> Self {
        let terms = || selections.by_number.values().flat_map(|selection| &selection.terms);
        let labels = terms().filter_map(|term| match &term.wanted {
            Wanted::Labels(labels) => Some(labels.keys()),
            Wanted::Name(_) => None,
        });
        Self {
            objects: Mutex::default(),
            changed: Notify::new(),
            labels: labels.flatten().map(str::to_owned).collect(),
            endpoints: terms().any(|term| term.kind == What::Service),
        }
    }

    /// Whether it has to be known what is behind services.
    pub fn needs_endpoints(&self) -> bool {
        self.endpoints
    }

    /// Learns of an object, new or changed.
    pub fn learn(&self, fact: &Fact) {
        let mut objects = self.objects();
        objects.latest += 1;
        let uid = fact.identity().uid.clone();
        match fact {
            Fact::Pod(pod) => self.pod(&mut objects, uid, pod),
            Fact::Node(node) => drop(objects.nodes.insert(uid, node.clone())),
            Fact::Service(service) => drop(objects.services.insert(uid, service.clone())),
            Fact::Endpoints(slice) => drop(objects.slices.insert(uid, slice.clone())),
            // A selector means what the cluster lists.
            Fact::Host(_) | Fact::Namespace(_) | Fact::Policy(_) => return,
            Fact::Workload(workload) => {
                let identity = &workload.identity;
                let owned = Owned {
                    kind: workload.kind,
                    namespace: identity.namespace.clone(),
                    name: identity.name.clone(),
                    owner: identity.owner.clone(),
                };
                objects.owners.insert(uid, owned);
            }
        }
        drop(objects);
        self.changed.notify_one();
    }

    fn pod(&self, objects: &mut Objects, uid: String, pod: &Pod) {
        if pod.finished_ms.is_some() {
            objects.pods.remove(&uid);
            return;
        }
        let before = objects.pods.remove(&uid);
        let since = (pod.started_ms.unwrap_or(pod.identity.created_ms), objects.latest);
        let addresses = pod.addresses.iter().chain(pod.secondary.iter().map(|secondary| &secondary.address));
        let had = |address: &IpAddr| before.as_ref().and_then(|before| before.addresses.get(address).copied());
        let labels = pod.labels.iter().filter(|(key, _)| self.labels.contains(*key));
        let member = Member {
            namespace: pod.identity.namespace.clone(),
            name: pod.identity.name.clone(),
            owner: pod.identity.owner.clone(),
            node: pod.node.clone(),
            host_ip: pod.host_ip,
            host_network: pod.host_network,
            host_ports: pod.host_ports.clone(),
            addresses: addresses.map(|address| (*address, had(address).unwrap_or(since))).collect(),
            labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
        };
        objects.pods.insert(uid, member);
    }

    /// Learns that an object is deleted.
    pub fn unlearn(&self, kind: Kind, uid: &str) {
        self.keep(kind, |its| its != uid);
    }

    /// These are all objects of a kind.
    pub fn retain(&self, kind: Kind, uids: &HashSet<String>) {
        self.keep(kind, |its| uids.contains(its));
    }

    fn keep(&self, kind: Kind, keep: impl Fn(&str) -> bool) {
        let mut objects = self.objects();
        match kind {
            Kind::Pods => objects.pods.retain(|uid, _| keep(uid)),
            Kind::Nodes => objects.nodes.retain(|uid, _| keep(uid)),
            Kind::Services => objects.services.retain(|uid, _| keep(uid)),
            Kind::EndpointSlices => objects.slices.retain(|uid, _| keep(uid)),
            Kind::ReplicaSets => objects.owners.retain(|uid, owned| owned.kind != "ReplicaSet" || keep(uid)),
            Kind::Jobs => objects.owners.retain(|uid, owned| owned.kind != "Job" || keep(uid)),
            _ => return,
        }
        drop(objects);
        self.changed.notify_one();
    }

    /// Waits until something has changed since the last time.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
