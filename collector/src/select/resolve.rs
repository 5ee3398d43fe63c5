//! From a selection to the addresses that belong to it now.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use netobserv_contract::selector::{Kind, Selection, Term, Wanted};

use super::roster::{Member, Objects, Owned, Since};
use crate::facts::{Node, Owner, Service};

/// An address, or one port of it: protocol number and port.
pub(super) type Element = (IpAddr, Option<(u8, u16)>);

/// What an element belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Pod, Service or Node.
    pub kind: &'static str,
    /// Empty for nodes.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node; empty for services.
    pub node: String,
}

/// The elements of a selection. One of several objects belongs to one of them.
pub(super) type Resolved = BTreeMap<Element, Object>;

/// The objects with what follows from several of them.
pub(super) struct View<'a> {
    pub(super) objects: &'a Objects,
    owners: HashMap<(&'a str, &'static str, &'a str), &'a Owned>,
    /// Services by the pods behind them.
    behind: HashMap<(&'a str, &'a str), Vec<&'a str>>,
    /// Addresses behind services that are no pod's.
    outside: HashMap<(&'a str, &'a str), Vec<IpAddr>>,
    /// By address, the pod that got it last.
    holders: HashMap<IpAddr, (Since, &'a str)>,
}

impl<'a> View<'a> {
    pub(super) fn of(objects: &'a Objects) -> Self {
        let owner = |owned: &'a Owned| ((owned.namespace.as_str(), owned.kind, owned.name.as_str()), owned);
        let (mut behind, mut outside) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for slice in objects.slices.values() {
            let key = (slice.identity.namespace.as_str(), slice.service.as_str());
            outside.entry(key).or_default().extend(&slice.addresses);
            for pod in &slice.pods {
                let key = (slice.identity.namespace.as_str(), pod.as_str());
                behind.entry(key).or_default().push(slice.service.as_str());
            }
        }
        let mut holders = HashMap::new();
        for (uid, pod) in &objects.pods {
            for (address, since) in &pod.addresses {
                let last = holders.entry(*address).or_insert((*since, uid.as_str()));
                *last = (*last).max((*since, uid.as_str()));
            }
        }
        Self { objects, owners: objects.owners.values().map(owner).collect(), behind, outside, holders }
    }

    /// The addresses that belong to a selection.
    pub(super) fn resolve(&self, selection: &Selection) -> Resolved {
        let mut found = Resolved::new();
        for node in self.objects.nodes.values() {
            if selection.fits(|term| is_node(term, node)) {
                let name = &node.identity.name;
                let object = Object { kind: "Node", namespace: String::new(), name: name.clone(), node: name.clone() };
                found.extend(node.addresses.iter().map(|address| ((*address, None), object.clone())));
            }
        }
        for service in self.objects.services.values() {
            if selection.fits(|term| is_service(term, service)) {
                self.add_service(service, &mut found);
            }
        }
        for (uid, pod) in &self.objects.pods {
            if selection.fits(|term| self.is_pod(term, pod)) {
                self.add_pod(uid, pod, &mut found);
            }
        }
        found
    }

    fn add_service(&self, service: &Service, found: &mut Resolved) {
        let identity = &service.identity;
        let (namespace, name) = (identity.namespace.clone(), identity.name.clone());
        let object = Object { kind: "Service", namespace, name, node: String::new() };
        let outside = self.outside.get(&(identity.namespace.as_str(), identity.name.as_str())).into_iter().flatten();
        found.extend(service.addresses.iter().chain(outside).map(|address| ((*address, None), object.clone())));
        for address in self.objects.nodes.values().flat_map(|node| &node.addresses) {
            found.extend(service.node_ports.iter().map(|port| ((*address, Some(*port)), object.clone())));
        }
    }

    /// A pod on its node's network has the ports that it declares, or all of the node if it declares none.
    fn add_pod(&self, uid: &str, pod: &Member, found: &mut Resolved) {
        let (namespace, name) = (pod.namespace.clone(), pod.name.clone());
        let object = Object { kind: "Pod", namespace, name, node: pod.node.clone() };
        let own = pod.addresses.keys().filter(|address| self.holders.get(*address).is_some_and(|(_, its)| *its == uid));
        found.extend(own.map(|address| ((*address, None), object.clone())));
        let of_host = |port| pod.host_ip.map(|address| ((address, port), object.clone()));
        found.extend(pod.host_ports.iter().filter_map(|port| of_host(Some(*port))));
        found.extend(of_host(None).filter(|_| pod.host_network && pod.host_ports.is_empty()));
    }

    /// Whether a term means a pod.
    pub(super) fn is_pod(&self, term: &Term, pod: &Member) -> bool {
        let name = match &term.wanted {
            Wanted::Labels(labels) => return labels.match_all(|key| pod.labels.get(key).map(String::as_str)),
            Wanted::Name(name) => name,
        };
        let means = |its: &str| name.matches(&pod.namespace, its);
        let owned = |kind: &str| self.owners(pod).iter().any(|owner| owner.kind == kind && means(&owner.name));
        match term.kind {
            Kind::Pod => means(&pod.name) || self.workload(pod).is_some_and(|owner| means(&owner.name)),
            Kind::Deployment => owned("Deployment"),
            Kind::StatefulSet => owned("StatefulSet"),
            Kind::DaemonSet => owned("DaemonSet"),
            Kind::Job => owned("Job") || owned("CronJob"),
            Kind::Service => {
                let services = self.behind.get(&(pod.namespace.as_str(), pod.name.as_str()));
                services.is_some_and(|services| services.iter().any(|service| means(service)))
            }
            Kind::Namespace => name.matches("", &pod.namespace),
            Kind::Node => name.matches("", &pod.node),
            Kind::Label => false,
        }
    }

    /// What owns a pod, and what owns that.
    pub(super) fn owners<'b>(&'b self, pod: &'b Member) -> Vec<&'b Owner> {
        let Some(first) = &pod.owner else { return Vec::new() };
        let kind = ["ReplicaSet", "Job"].into_iter().find(|kind| *kind == first.kind);
        let owned = kind.and_then(|kind| self.owners.get(&(pod.namespace.as_str(), kind, first.name.as_str())));
        [Some(first), owned.and_then(|owned| owned.owner.as_ref())].into_iter().flatten().collect()
    }

    /// What people know as the workload of a pod: not the ReplicaSet of a Deployment.
    pub(super) fn workload<'b>(&'b self, pod: &'b Member) -> Option<&'b Owner> {
        self.owners(pod).last().copied()
    }
}

fn is_node(term: &Term, node: &Node) -> bool {
    matches!((&term.wanted, term.kind), (Wanted::Name(name), Kind::Node) if name.matches("", &node.identity.name))
}

pub(super) fn is_service(term: &Term, service: &Service) -> bool {
    let identity = &service.identity;
    match (&term.wanted, term.kind) {
        (Wanted::Name(name), Kind::Service) => name.matches(&identity.namespace, &identity.name),
        (Wanted::Name(name), Kind::Namespace) => name.matches("", &identity.namespace),
        _ => false,
    }
}

/// How many addresses on how many nodes.
pub(super) fn count(resolved: &Resolved) -> (usize, usize) {
    let addresses: BTreeSet<IpAddr> = resolved.keys().map(|(address, _)| *address).collect();
    let nodes: HashSet<&str> =
        resolved.values().map(|object| object.node.as_str()).filter(|node| !node.is_empty()).collect();
    (addresses.len(), nodes.len())
}
