//! Address to holder, over time. Pure: it takes facts and questions, and knows no clock and no API.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use netobserv_wire::flow::{Holder, HolderRef, Mac};

use super::fast_table::FastAddressTable;
use super::hash::QuickHash;
use super::marks::Marks;
use super::ownership::{AddressOwner, End, Ownership, Ownerships, Rank};
use crate::facts::{Endpoints, Fact, Host, Identity, Kind, Node, Owner, Pod, Service, Workload};

/// Tenures that are over and still known: some 15 MB.
const PAST: usize = 50_000;
/// Most holders that are kept for good, for flows: some 150 MB if all of them have a part in flows. Those that come later are
/// counted by each flow, which is slower.
const LASTING: usize = 100_000;
/// Kinds that stand between a pod and the workload that a person knows.
const BETWEEN: [&str; 2] = ["ReplicaSet", "Job"];

/// Where a holder can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// An address of the cluster's network.
    Address(u128),
    /// An address of another network.
    Secondary(u128, Mac),
    /// A port of a node.
    Port(u128, u8, u16),
}

/// One end of a flow, and when.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Address.
    pub address: IpAddr,
    /// MAC address, where it was seen.
    pub mac: Option<Mac>,
    /// Protocol number and port, where there is one.
    pub port: Option<(u8, u16)>,
    /// Milliseconds since 1970.
    pub at_ms: u64,
}

/// A workload between pod and owner.
type WorkloadKey = (String, Owner);

/// The index.
#[derive(Debug, Default)]
pub struct Index {
    places: HashMap<Place, Ownerships, QuickHash>,
    /// What `places` knows of most addresses, for a quick look.
    fast: FastAddressTable,
    objects: HashMap<(Kind, String), Object>,
    /// Owners of ReplicaSets and Jobs; by uid, so that one that is deleted is found.
    owners: HashMap<WorkloadKey, Option<Owner>>,
    workloads: HashMap<(Kind, String), WorkloadKey>,
    /// Pods whose ReplicaSet or Job is not known yet.
    waiting: HashMap<WorkloadKey, HashSet<String>>,
    zones: HashMap<String, String>,
    /// Nodes by name.
    nodes: HashMap<String, Arc<Holder>>,
    past: VecDeque<(Place, u64)>,
    last_id: u64,
    /// Holders that are kept for good.
    lasting: usize,
    /// There are places of this sort.
    secondaries: bool,
    ports: bool,
}

/// An object that holds places.
#[derive(Debug)]
struct Object {
    id: u64,
    places: Vec<Place>,
    /// It had places before: one that is new now is not as old as the object.
    held: bool,
    /// For pods, to name them again when more is known.
    pod: Option<Box<Pod>>,
}

/// What changed for the places of an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Addresses that have a holder now, or another one.
    pub addresses: Vec<IpAddr>,
    /// More is known now of holders that were known.
    pub better: bool,
}

impl Index {
    /// Learns of an object, new or changed.
    pub fn apply(&mut self, fact: Fact, now_ms: u64) -> Change {
        match fact {
            Fact::Pod(pod) => self.apply_pod(pod, now_ms),
            Fact::Node(node) => self.apply_node(&node, now_ms),
            Fact::Service(service) => self.apply_service(&service, now_ms),
            Fact::Workload(workload) => self.apply_workload(&workload, now_ms),
            // Pods have their names, whatever service they are behind.
            Fact::Endpoints(endpoints) => self.apply_endpoints(&endpoints, now_ms),
            Fact::Host(host) => self.apply_host(&host, now_ms),
            Fact::Namespace(_) | Fact::Policy(_) => Change::default(),
        }
    }

    /// An object is deleted.
    pub fn delete(&mut self, kind: Kind, uid: &str, now_ms: u64) {
        self.remove(&(kind, uid.to_owned()), End::At(now_ms));
    }

    /// Objects of a kind that are not among these were deleted while the watch was interrupted.
    pub fn retain(&mut self, kind: Kind, uids: &HashSet<String>, now_ms: u64) {
        let known = self.objects.keys().chain(self.workloads.keys());
        let gone = known.filter(|(its, uid)| *its == kind && !uids.contains(uid)).cloned();
        for key in gone.collect::<Vec<_>>() {
            self.remove(&key, End::Before(now_ms));
        }
    }

    /// Whether there is, or was, a node of this name.
    pub(super) fn has_had_node(&self, name: &str) -> bool {
        self.zones.contains_key(name)
    }

    /// Number of objects of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.objects.keys().chain(self.workloads.keys()).filter(|(its, _)| *its == kind).count()
    }

    /// Who is at this end.
    pub fn find(&self, question: &Question) -> Option<&HolderRef> {
        self.holding(question).map(|address_owner| &address_owner.holder)
    }

    /// The seat of who is at this end.
    pub(super) fn holding(&self, question: &Question) -> Option<&AddressOwner> {
        let address = number(question.address);
        if let Some(mac) = question.mac.filter(|_| self.secondaries)
            && let Some(ownership) =
                self.places.get(&Place::Secondary(address, mac)).and_then(|all| all.at(question.at_ms))
        {
            return Some(&ownership.address_owner);
        }
        let plain = self.plain(address, question.at_ms);
        if plain.is_some_and(|address_owner| address_owner.rank != Rank::Node) || !self.ports {
            return plain;
        }
        let by_port = question.port.and_then(|(protocol, port)| {
            self.places.get(&Place::Port(address, protocol, port))?.only_one_at(question.at_ms)
        });
        by_port.map(|ownership| &ownership.address_owner).or(plain)
    }

    /// This address will be asked for: its place in memory is prefetched now.
    pub(super) fn expect(&self, address: IpAddr) {
        self.fast.expect(number(address));
    }

    /// The node that has this address.
    pub(super) fn node(&self, address: IpAddr, at_ms: u64) -> Option<&AddressOwner> {
        self.plain(number(address), at_ms).filter(|address_owner| address_owner.rank == Rank::Node)
    }

    /// Who has an address of the cluster's network.
    fn plain(&self, address: u128, at_ms: u64) -> Option<&AddressOwner> {
        if let Some(fast) = self.fast.get(address) {
            return Some(fast).filter(|fast| fast.begun(at_ms));
        }
        self.places.get(&Place::Address(address))?.at(at_ms).map(|ownership| &ownership.address_owner)
    }

    fn apply_pod(&mut self, pod: Pod, now_ms: u64) -> Change {
        let key = (Kind::Pods, pod.identity.uid.clone());
        let holder = Arc::new(self.pod_holder(&pod));
        let mut claims: Vec<_> =
            pod.addresses.iter().map(|address| (Place::Address(number(*address)), holder.clone())).collect();
        claims.extend(pod.secondary.iter().map(|secondary| {
            let holder = Holder { network: secondary.network.as_str().into(), ..Holder::clone(&holder) };
            (Place::Secondary(number(secondary.address), secondary.mac), Arc::new(holder))
        }));
        let host = pod.host_ip.map(number);
        let ports = pod.host_ports.iter().filter_map(|(protocol, port)| Some(Place::Port(host?, *protocol, *port)));
        claims.extend(ports.map(|place| (place, holder.clone())));
        self.secondaries |= !pod.secondary.is_empty();
        self.ports |= !pod.host_ports.is_empty();
        let from = pod.started_ms.unwrap_or(pod.identity.created_ms);
        let end = pod.finished_ms.map_or(End::Open, End::At);
        let change = self.hold(&key, Rank::Pod, from, end, claims, now_ms);
        if let Some(object) = self.objects.get_mut(&key) {
            object.pod = Some(Box::new(pod));
        }
        change
    }

    /// Names of a pod; notes when its owner's owner is still to come.
    fn pod_holder(&mut self, pod: &Pod) -> Holder {
        let identity = &pod.identity;
        let owner = identity.owner.clone().map(|owner| self.top_owner(identity, owner));
        Holder {
            kind: "Pod".into(),
            host_ip: pod.host_ip,
            host_name: pod.node.as_str().into(),
            zone: self.zones.get(&pod.node).map(String::as_str).unwrap_or_default().into(),
            network: "primary".into(),
            ..named(identity, owner.as_ref(), "Pod")
        }
    }

    fn top_owner(&mut self, identity: &Identity, owner: Owner) -> Owner {
        if !BETWEEN.contains(&owner.kind.as_str()) {
            return owner;
        }
        let key = (identity.namespace.clone(), owner);
        match self.owners.get(&key) {
            Some(top) => top.clone().unwrap_or(key.1),
            None => {
                let owner = key.1.clone();
                self.waiting.entry(key).or_default().insert(identity.uid.clone());
                owner
            }
        }
    }

    fn apply_node(&mut self, node: &Node, now_ms: u64) -> Change {
        let key = (Kind::Nodes, node.identity.uid.clone());
        let holder = Arc::new(Holder {
            kind: "Node".into(),
            host_ip: node.addresses.first().copied(),
            host_name: node.identity.name.as_str().into(),
            zone: node.zone.as_str().into(),
            ..named(&node.identity, None, "Node")
        });
        self.nodes.insert(node.identity.name.clone(), holder.clone());
        let claims = node.addresses.iter().map(|address| (Place::Address(number(*address)), holder.clone())).collect();
        let mut change = self.hold(&key, Rank::Node, node.identity.created_ms, End::Open, claims, now_ms);
        let before = self.zones.insert(node.identity.name.clone(), node.zone.clone());
        if before.unwrap_or_default() != node.zone {
            let of_node = |pod: &&Pod| pod.node == node.identity.name;
            let pods = self.objects.values().filter_map(|object| object.pod.as_deref()).filter(of_node);
            let pods = pods.cloned().collect::<Vec<_>>();
            change.better |= self.name_again(pods, now_ms);
        }
        change
    }

    fn apply_service(&mut self, service: &Service, now_ms: u64) -> Change {
        let key = (Kind::Services, service.identity.uid.clone());
        let holder = Arc::new(named(&service.identity, None, "Service"));
        let claims = service.addresses.iter().map(|address| (Place::Address(number(*address)), holder.clone()));
        self.hold(&key, Rank::Service, service.identity.created_ms, End::Open, claims.collect(), now_ms)
    }

    /// Addresses behind a service that no pod has, such as those of the API server, and of a database outside.
    fn apply_endpoints(&mut self, endpoints: &Endpoints, now_ms: u64) -> Change {
        let Endpoints { identity, service, addresses, .. } = endpoints;
        let key = (Kind::EndpointSlices, identity.uid.clone());
        let holder = Arc::new(named(&Identity { name: service.clone(), ..identity.clone() }, None, "Service"));
        let claims = addresses.iter().map(|address| (Place::Address(number(*address)), holder.clone()));
        self.hold(&key, Rank::Behind, identity.created_ms, End::Open, claims.collect(), now_ms)
    }

    fn apply_host(&mut self, host: &Host, now_ms: u64) -> Change {
        let name = &host.identity.name;
        let known = self.nodes.get(name).cloned();
        let holder = known.unwrap_or_else(|| {
            let host_name = name.as_str().into();
            Arc::new(Holder { kind: "Node".into(), host_name, ..named(&host.identity, None, "Node") })
        });
        let key = (Kind::Hosts, name.clone());
        let claims = host.addresses.iter().map(|address| (Place::Address(number(*address)), holder.clone()));
        self.hold(&key, Rank::Behind, 0, End::Open, claims.collect(), now_ms)
    }

    fn apply_workload(&mut self, workload: &Workload, now_ms: u64) -> Change {
        let identity = &workload.identity;
        let owner = Owner { kind: workload.kind.into(), name: identity.name.clone() };
        let key = (identity.namespace.clone(), owner);
        let kind = if workload.kind == "Job" { Kind::Jobs } else { Kind::ReplicaSets };
        self.workloads.insert((kind, identity.uid.clone()), key.clone());
        self.owners.insert(key.clone(), identity.owner.clone());
        let waiting = self.waiting.remove(&key).unwrap_or_default();
        let pods = waiting.into_iter().filter_map(|uid| self.objects.get(&(Kind::Pods, uid))?.pod.as_deref().cloned());
        let pods = pods.collect::<Vec<_>>();
        Change { better: self.name_again(pods, now_ms), ..Change::default() }
    }

    fn name_again(&mut self, pods: Vec<Pod>, now_ms: u64) -> bool {
        let any = !pods.is_empty();
        pods.into_iter().for_each(|pod| drop(self.apply_pod(pod, now_ms)));
        any
    }

    /// Gives an object exactly these places.
    fn hold(
        &mut self,
        key: &(Kind, String),
        rank: Rank,
        from_ms: u64,
        end: End,
        claims: Vec<(Place, Arc<Holder>)>,
        now_ms: u64,
    ) -> Change {
        let (id, known, held) = match self.objects.get(key) {
            Some(object) => (object.id, object.places.clone(), object.held),
            None => {
                self.last_id += 1;
                (self.last_id, Vec::new(), false)
            }
        };
        let left = known.iter().filter(|place| !claims.iter().any(|(claimed, _)| claimed == *place));
        for place in left {
            self.leave(*place, id, if end == End::Open { End::At(now_ms) } else { end });
        }
        let (mut change, mut places) = (Change::default(), Vec::with_capacity(claims.len()));
        let mut last: Option<(Arc<Holder>, HolderRef)> = None;
        for (place, holder) in claims {
            let from_ms = if held && !known.contains(&place) { now_ms } else { from_ms };
            let ownerships = self.places.entry(place).or_default();
            let marks = Marks::of(&holder);
            let same = last.take().filter(|(last, _)| Arc::ptr_eq(last, &holder)).map(|(_, shared)| shared);
            let shared = same.or_else(|| ownerships.shared(id, &holder));
            let shared = shared.unwrap_or_else(|| share(&mut self.lasting, holder.clone()));
            last = Some((holder, shared.clone()));
            ownerships.put(Ownership { id, end, address_owner: AddressOwner { from_ms, holder: shared, marks, rank } });
            self.look_again(place);
            change.addresses.extend((!known.contains(&place)).then(|| place.address()));
            places.push(place);
        }
        let held = held || !places.is_empty();
        let pod = self.objects.remove(key).and_then(|object| object.pod);
        self.objects.insert(key.clone(), Object { id, places, held, pod });
        change
    }

    fn leave(&mut self, place: Place, id: u64, end: End) {
        if let Some(ownerships) = self.places.get_mut(&place) {
            ownerships.end(id, end);
        }
        self.look_again(place);
        self.past.push_back((place, id));
        while self.past.len() > PAST {
            let Some((place, id)) = self.past.pop_front() else { return };
            if self.places.get_mut(&place).is_some_and(|ownerships| ownerships.forget(id)) {
                self.places.remove(&place);
            }
            self.look_again(place);
        }
    }

    /// Something changed for a place.
    fn look_again(&mut self, place: Place) {
        if let Place::Address(address) = place {
            self.fast.update(address, self.places.get(&place));
        }
    }

    fn remove(&mut self, key: &(Kind, String), end: End) {
        if let Some(workload) = self.workloads.remove(key) {
            self.owners.remove(&workload);
        }
        let Some(object) = self.objects.remove(key) else { return };
        let finished = object.pod.as_ref().and_then(|pod| pod.finished_ms);
        for place in object.places {
            self.leave(place, object.id, finished.map_or(end, End::At));
        }
        if let Some((identity, owner)) = object.pod.and_then(|pod| Some((pod.identity.clone(), pod.identity.owner?))) {
            self.waiting.get_mut(&(identity.namespace, owner)).map(|uids| uids.remove(&identity.uid));
        }
    }
}

impl Place {
    fn address(self) -> IpAddr {
        let (Self::Address(number) | Self::Secondary(number, _) | Self::Port(number, _, _)) = self;
        std::net::Ipv6Addr::from(number).to_canonical()
    }
}

/// An address as a number; IPv4 as IPv6 has it.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// A holder as flows carry it.
fn share(lasting: &mut usize, holder: Arc<Holder>) -> HolderRef {
    if *lasting >= LASTING {
        return HolderRef::Counted(holder);
    }
    *lasting += 1;
    HolderRef::lasting(holder)
}

/// Name, namespace, kind and owner; one that nothing owns is its own owner.
fn named(identity: &Identity, owner: Option<&Owner>, kind: &str) -> Holder {
    let (owner_kind, owner_name) =
        owner.map_or((kind, identity.name.as_str()), |owner| (owner.kind.as_str(), owner.name.as_str()));
    Holder {
        name: identity.name.as_str().into(),
        namespace: identity.namespace.as_str().into(),
        kind: kind.into(),
        owner_name: owner_name.into(),
        owner_kind: owner_kind.into(),
        ..Holder::default()
    }
}

#[cfg(test)]
mod tests;
