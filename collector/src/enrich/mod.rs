//! Addresses to names: the pods, services and nodes at the two ends of a flow.
//!
//! [`watch`] follows the objects of the cluster and updates [`index`], which knows who held an address when. A flow is named
//! on its way to the sinks, by the holders of its addresses when it began. Nothing waits for a name: what is not known yet is
//! written without it, and filled in at the end where it became known meanwhile.

pub mod cluster;
mod fast_table;
pub(crate) mod hash;
mod hosts;
pub mod index;
mod marks;
mod missed;
mod objects;
mod ownership;
mod state;
pub mod subnets;
pub mod watch;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use netobserv_explain::cluster::Cluster;
use netobserv_wire::Flow;
use netobserv_wire::flow::{Endpoint, Enrichment, HolderRef, Layer};

use hosts::Hosts;
use index::{Index, Question};
use marks::Marks;
use missed::Missed;
use ownership::{AddressOwner, Rank};
use state::{State, Trouble};
use subnets::Subnets;

use crate::ahead::AHEAD;
use crate::facts::{Fact, Host, Identity, Kind};
use crate::select::Roster;
use cluster::Objects;

/// One end of a flow, and the marks of who is there.
type End = (Endpoint, Option<Marks>);

/// Whose an address is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The node of this name.
    Node(String),
    /// A pod that is not on its node's network.
    Pod,
    /// Of no known holder.
    Unknown,
}

/// Names the ends of flows. Shared by receivers, sinks and the watch.
#[derive(Debug, Default)]
pub struct Names {
    index: RwLock<Index>,
    subnets: Subnets,
    state: State,
    missed: Missed,
    hosts: Mutex<Hosts>,
    /// Some flow went without a name that is known now.
    late: AtomicBool,
    /// Flows were named, or not.
    used: AtomicBool,
    /// The user does not want to wait.
    hurried: AtomicBool,
    /// Of the objects that may be selected, if some are.
    roster: Option<Roster>,
    /// What decides on connections, if that is to be known.
    objects: Option<Objects>,
}

impl Names {
    /// Names by these subnets; by the cluster once a watch reports.
    pub fn new(subnets: Subnets) -> Self {
        Self { subnets, ..Self::default() }
    }

    /// Passes all objects to this roster, too.
    #[must_use]
    pub fn with_roster(mut self, roster: Option<Roster>) -> Self {
        self.roster = roster;
        self
    }

    /// Keeps what decides on connections, too.
    #[must_use]
    pub fn with_objects(mut self) -> Self {
        self.objects = Some(Objects::default());
        self
    }

    /// What decides on connections.
    pub fn objects(&self) -> Option<&Objects> {
        self.objects.as_ref()
    }

    /// The cluster as far as it is known now; `None` when nothing of it is.
    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        let known = |kind| self.state.is_synced(kind);
        self.objects.as_ref().filter(|_| known(Kind::Pods)).map(|objects| objects.cluster(known))
    }

    /// Waits until what decides on connections is known, for at most this long.
    pub async fn decided(&self, at_most: Duration) {
        self.state.known_of(|_| true, at_most).await;
    }

    /// What decides on connections and is not known, and why, in words.
    pub fn undecided(&self) -> Vec<String> {
        let Some(objects) = &self.objects else { return Vec::new() };
        let mut missing = self.state.missing_of(|kind| !kind.is_named() || kind == Kind::EndpointSlices);
        // Two versions of a kind are missing once.
        missing.dedup();
        missing.into_iter().map(|why| format!("what these decide: {why}")).chain(objects.unreadable()).collect()
    }

    /// The objects that may be selected.
    pub fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
    }

    /// Names the ends of flows that have no names yet.
    pub fn name(&self, flows: &mut [Flow]) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        for flows in flows.chunks_mut(AHEAD) {
            flows.iter().flat_map(|flow| [flow.src_addr, flow.dst_addr]).flatten().for_each(|end| index.expect(end));
            for flow in flows.iter_mut().filter(|flow| flow.k8s.is_none()) {
                let named = self.ends(flow, held(&index, flow));
                flow.k8s = describe(&index, flow, named);
            }
            flows.iter_mut().for_each(|flow| name_translated(&index, flow));
        }
        self.used.store(true, Relaxed);
    }

    /// Who is at this end.
    pub fn find(&self, question: &Question) -> Option<HolderRef> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).find(question).cloned()
    }

    /// Whose an address is now.
    pub fn owner(&self, address: IpAddr) -> Owner {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let address_owner = index.holding(&Question { address, mac: None, port: None, at_ms: now_ms() });
        // An agent's word is no evidence of who may speak for whom.
        let holder = address_owner
            .filter(|address_owner| address_owner.rank != Rank::Behind)
            .map(|address_owner| &address_owner.holder);
        match holder {
            Some(holder) if holder.kind == "Node" => Owner::Node(holder.name.to_string()),
            Some(holder) if holder.kind == "Pod" => Owner::Pod,
            _ => Owner::Unknown,
        }
    }

    /// Whether all nodes are known, and none has this name.
    pub fn is_no_node(&self, name: &str) -> bool {
        self.state.is_current(Kind::Nodes)
            && !self.index.read().unwrap_or_else(PoisonError::into_inner).has_had_node(name)
    }

    /// As after the first list of a watch.
    #[cfg(test)]
    pub(crate) fn know_all_nodes(&self) {
        self.state.synced(Kind::Nodes);
    }

    /// Whether some flow may have gone without a name that is known by now.
    pub fn late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// Names what a flow was not named when it came. What it was named is not taken away. Returns whether there is something new.
    pub fn name_late(&self, flow: &mut Flow) -> bool {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let [(src, _), (dst, _)] = self.ends(flow, held(&index, flow));
        let before = flow.k8s.take().unwrap_or_default();
        let ends = [later(&before.src, src), later(&before.dst, dst)].map(|end| {
            let marks = end.holder.as_deref().map(Marks::of);
            (end, marks)
        });
        let mut after = describe(&index, flow, ends).unwrap_or_default();
        after.flow_direction = before.flow_direction.or(after.flow_direction);
        after.pipeline.clone_from(&before.pipeline);
        let new = after != before;
        flow.k8s = (after != Enrichment::default()).then_some(after);
        new
    }

    /// No more waiting for names.
    pub fn hurry(&self) {
        self.hurried.store(true, Relaxed);
    }

    /// Whether the user does not want to wait.
    pub fn hurried(&self) -> bool {
        self.hurried.load(Relaxed)
    }

    /// Waits until all that can be known at first is known, for at most this long.
    pub async fn ready(&self, at_most: Duration) {
        self.state.ready(at_most).await;
    }

    /// Waits until all objects are known that selections ask for, for at most this long.
    ///
    /// # Errors
    /// What is missing and why, in words.
    pub async fn all(&self, at_most: Duration) -> Result<(), Vec<String>> {
        self.state.known(at_most).await;
        let endpoints = self.roster.as_ref().is_some_and(Roster::needs_endpoints);
        let wanted = |kind: Kind| kind.is_named() && (endpoints || kind != Kind::EndpointSlices);
        let missing = self.state.missing_of(wanted);
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// Which names are missing and why, in words; empty when none is.
    pub fn missing(&self) -> Vec<String> {
        self.state.missing()
    }

    /// Learns of an object.
    pub fn learn(&self, mut fact: Fact) {
        if let Some(roster) = &self.roster {
            roster.learn(&fact);
        }
        if let Some(objects) = &self.objects {
            objects.learn(&fact);
        }
        if let Fact::Pod(pod) = &mut fact {
            (pod.labels, pod.ports) = Default::default();
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let change = index.apply(fact, now_ms());
        let used = self.used.load(Relaxed);
        if (change.better && used) || change.addresses.iter().any(|address| self.missed.contains(*address)) {
            self.late.store(true, Relaxed);
        }
    }

    /// Learns which addresses a node has, as its agent reports. One that two nodes have names neither of them.
    pub fn learn_addresses(&self, node: &str, addresses: Vec<IpAddr>) {
        let changed = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).learn(node, addresses);
        for (name, addresses) in changed {
            self.learn(Fact::Host(Host { identity: Identity { name, ..Identity::default() }, addresses }));
        }
    }

    /// Learns that an object is deleted.
    pub fn unlearn(&self, kind: Kind, uid: &str) {
        if let Some(roster) = &self.roster {
            roster.unlearn(kind, uid);
        }
        if let Some(objects) = &self.objects {
            objects.retain(kind, |its| its != uid);
        }
        self.index.write().unwrap_or_else(PoisonError::into_inner).delete(kind, uid, now_ms());
    }

    /// All objects of a kind are known, and these are all.
    fn synced(&self, kind: Kind, uids: &HashSet<String>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.retain(kind, uids, now_ms());
        drop(index);
        if let Some(roster) = &self.roster {
            roster.retain(kind, uids);
        }
        if let Some(objects) = &self.objects {
            objects.retain(kind, |its| uids.contains(its));
        }
        self.state.synced(kind);
    }

    /// The API server does not have objects of this kind.
    fn absent(&self, kind: Kind) {
        self.state.absent(kind);
    }

    fn trouble(&self, kind: Kind, trouble: Trouble) {
        self.state.trouble(kind, trouble);
    }

    /// The two ends, sender first.
    fn ends(&self, flow: &Flow, held: [Option<&AddressOwner>; 2]) -> [End; 2] {
        let end = |address: Option<IpAddr>, held: Option<&AddressOwner>| {
            let Some(address) = address else { return End::default() };
            if held.is_none() {
                self.missed.note(address);
            }
            let subnet = self.subnets.label(address).cloned();
            (
                Endpoint { holder: held.map(|address_owner| address_owner.holder.clone()), subnet },
                held.map(|address_owner| address_owner.marks),
            )
        };
        [end(flow.src_addr, held[0]), end(flow.dst_addr, held[1])]
    }
}

/// Names the tuple at the other side of an address translation.
fn name_translated(index: &Index, flow: &mut Flow) {
    let (at_ms, proto) = (flow.start_ms, flow.proto);
    for tuple in [&mut flow.xlat, &mut flow.origin].into_iter().flatten() {
        let find = |address: Option<IpAddr>, port: u16| {
            index
                .find(&Question { address: address?, mac: None, port: proto.map(|proto| (proto, port)), at_ms })
                .cloned()
        };
        (tuple.src, tuple.dst) = (find(tuple.src_addr, tuple.src_port), find(tuple.dst_addr, tuple.dst_port));
    }
}

/// Who held the addresses of the two ends when the flow began, sender first.
fn held<'a>(index: &'a Index, flow: &Flow) -> [Option<&'a AddressOwner>; 2] {
    let at_ms = if flow.start_ms > 0 { flow.start_ms } else { flow.received_s * 1_000 };
    let at = |address: Option<IpAddr>, mac, port: Option<u16>| {
        index.holding(&Question { address: address?, mac, port: flow.proto.zip(port), at_ms })
    };
    [at(flow.src_addr, flow.src_mac, flow.src_port), at(flow.dst_addr, flow.dst_mac, flow.dst_port)]
}

/// What is known now of an end of which something was known before: of another holder than before, nothing.
fn later(before: &Endpoint, now: Endpoint) -> Endpoint {
    let same = |now: &HolderRef, before: &HolderRef| {
        (&now.name, &now.namespace, &now.kind) == (&before.name, &before.namespace, &before.kind)
    };
    let holder = match (&before.holder, now.holder) {
        (Some(before), Some(now)) if same(&now, before) => Some(now),
        (Some(before), _) => Some(before.clone()),
        (None, now) => now,
    };
    Endpoint { holder, subnet: before.subnet.clone().or(now.subnet) }
}

/// What is known of a flow, with direction and layer; `None` when nothing is.
fn describe(index: &Index, flow: &Flow, [(src, src_marks), (dst, dst_marks)]: [End; 2]) -> Option<Enrichment> {
    if src == Endpoint::default() && dst == Endpoint::default() {
        return None;
    }
    let flow_direction = direction(index, flow, src_marks.as_ref(), dst_marks.as_ref());
    let layer = layer(src_marks.as_ref(), dst_marks.as_ref());
    Some(Enrichment { src, dst, flow_direction, layer, pipeline: None })
}

/// 2 within one node; else 1 out of the agent's node or 0 into it.
fn direction(index: &Index, flow: &Flow, src: Option<&Marks>, dst: Option<&Marks>) -> Option<u8> {
    if src.zip(dst).is_some_and(|(src, dst)| src.same_host(dst)) {
        return Some(2);
    }
    let agent = flow.agent_ip?;
    if src.is_some_and(|src| src.is_at(agent)) {
        return Some(1);
    }
    if dst.is_some_and(|dst| dst.is_at(agent)) {
        return Some(0);
    }
    // The agent may call its node by another address than pods do.
    let node = &index.node(agent, flow.start_ms)?.marks;
    if src.is_some_and(|src| src.same_host(node)) {
        Some(1)
    } else if dst.is_some_and(|dst| dst.same_host(node)) {
        Some(0)
    } else {
        None
    }
}

fn layer(src: Option<&Marks>, dst: Option<&Marks>) -> Option<Layer> {
    let mut ends = src.into_iter().chain(dst).peekable();
    ends.peek()?;
    Some(if ends.any(Marks::is_app) { Layer::App } else { Layer::Infra })
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
