//! Addresses to names: the pods, services and nodes at the two ends of a flow.
//!
//! [`watch`] follows the objects of the cluster and tells [`index`], which knows who held an address when. A flow is named
//! on its way to the sinks, by whoever held its addresses when it began. Nothing waits for a name: what is not known yet is
//! written without it, and filled in at the end where it became known meanwhile.

pub mod facts;
pub mod index;
mod missed;
mod objects;
mod state;
pub mod subnets;
mod tenure;
pub mod watch;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use netobserv_wire::Flow;
use netobserv_wire::flow::{Endpoint, Enrichment, Holder};

use facts::Fact;
use index::{Index, Kind, Question};
use missed::Missed;
use state::{State, Trouble};
use subnets::Subnets;

/// Names of namespaces that belong to the platform begin so.
const INFRA: [&str; 3] = ["openshift", "kube-", "netobserv"];

/// Names the ends of flows. Shared by receivers, sinks and the watch.
#[derive(Debug, Default)]
pub struct Names {
    index: RwLock<Index>,
    subnets: Subnets,
    state: State,
    missed: Missed,
    /// Some flow went without a name that is known now.
    late: AtomicBool,
    /// Flows were named, or not.
    used: AtomicBool,
    /// The user does not want to wait.
    hurried: AtomicBool,
}

impl Names {
    /// Names by these subnets; by the cluster once a watch tells.
    pub fn new(subnets: Subnets) -> Self {
        Self { subnets, ..Self::default() }
    }

    /// Names the ends of flows that nobody has named.
    pub fn name(&self, flows: &mut [Flow]) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        for flow in flows.iter_mut().filter(|flow| flow.k8s.is_none()) {
            let named = self.ends(&index, flow);
            flow.k8s = describe(&index, flow, named).map(Box::new);
        }
        self.used.store(true, Relaxed);
    }

    /// Who is at this end.
    pub fn find(&self, question: &Question) -> Option<Arc<Holder>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).find(question).cloned()
    }

    /// Whether some flow may have gone without a name that is known by now.
    pub fn late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// Names what a flow was not named when it came. What it was named is not taken away. Returns whether there is something new.
    pub fn name_late(&self, flow: &mut Flow) -> bool {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let [src, dst] = self.ends(&index, flow);
        let before = flow.k8s.take().unwrap_or_default();
        let ends = [later(&before.src, src), later(&before.dst, dst)];
        let mut after = describe(&index, flow, ends).unwrap_or_default();
        after.flow_direction = before.flow_direction.or(after.flow_direction);
        after.pipeline.clone_from(&before.pipeline);
        let new = after != *before;
        flow.k8s = (after != Enrichment::default()).then(|| Box::new(after));
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

    /// Which names are missing and why, in words; empty when none is.
    pub fn missing(&self) -> Vec<String> {
        self.state.missing()
    }

    /// Learns of an object.
    pub fn learn(&self, fact: Fact) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let change = index.apply(fact, now_ms());
        let used = self.used.load(Relaxed);
        if (change.better && used) || change.addresses.iter().any(|address| self.missed.contains(*address)) {
            self.late.store(true, Relaxed);
        }
    }

    /// Learns that an object is deleted.
    pub fn unlearn(&self, kind: Kind, uid: &str) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).delete(kind, uid, now_ms());
    }

    /// All objects of a kind are known, and these are all.
    fn synced(&self, kind: Kind, uids: &HashSet<String>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.retain(kind, uids, now_ms());
        drop(index);
        self.state.synced(kind);
    }

    fn trouble(&self, kind: Kind, trouble: Trouble) {
        self.state.trouble(kind, trouble);
    }

    /// Who is at the two ends, sender first.
    fn ends(&self, index: &Index, flow: &Flow) -> [Endpoint; 2] {
        let at_ms = if flow.start_ms > 0 { flow.start_ms } else { flow.received_s * 1_000 };
        let end = |address: Option<IpAddr>, mac, port: Option<u16>| {
            let Some(address) = address else { return Endpoint::default() };
            let question = Question { address, mac, port: flow.proto.zip(port), at_ms };
            let holder = index.find(&question).cloned();
            if holder.is_none() {
                self.missed.note(address);
            }
            Endpoint { holder, subnet: self.subnets.label(address).cloned() }
        };
        [end(flow.src_addr, flow.src_mac, flow.src_port), end(flow.dst_addr, flow.dst_mac, flow.dst_port)]
    }
}

/// What is known now of an end of which something was known before: of another holder than before, nothing.
fn later(before: &Endpoint, now: Endpoint) -> Endpoint {
    let same = |now: &Holder, before: &Holder| {
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
fn describe(index: &Index, flow: &Flow, [src, dst]: [Endpoint; 2]) -> Option<Enrichment> {
    if src == Endpoint::default() && dst == Endpoint::default() {
        return None;
    }
    let flow_direction = direction(index, flow, src.holder.as_deref(), dst.holder.as_deref());
    let layer = layer(src.holder.as_deref(), dst.holder.as_deref());
    Some(Enrichment { src, dst, flow_direction, layer: layer.unwrap_or_default().into(), pipeline: None })
}

/// 2 within one node; else 1 out of the agent's node or 0 into it.
fn direction<'a>(index: &Index, flow: &Flow, src: Option<&'a Holder>, dst: Option<&'a Holder>) -> Option<u8> {
    let host = |end: Option<&'a Holder>| end.map_or("", |holder| holder.host_name.as_str());
    let (src_host, dst_host) = (host(src), host(dst));
    if !src_host.is_empty() && src_host == dst_host {
        return Some(2);
    }
    let agent = flow.agent_ip?;
    let at_agent = |end: Option<&Holder>| end.is_some_and(|holder| holder.host_ip == Some(agent));
    if at_agent(src) {
        return Some(1);
    }
    if at_agent(dst) {
        return Some(0);
    }
    // The agent may call its node by another address than pods do.
    let node = &index.node(agent, flow.start_ms)?.host_name;
    if *node == src_host {
        Some(1)
    } else if *node == dst_host {
        Some(0)
    } else {
        None
    }
}

/// "app" when an end is in a namespace of the user's, "infra" otherwise.
fn layer(src: Option<&Holder>, dst: Option<&Holder>) -> Option<&'static str> {
    let is_app = |holder: &Holder| {
        let api = holder.namespace == "default" && holder.name == "kubernetes";
        !holder.namespace.is_empty() && !api && !INFRA.iter().any(|prefix| holder.namespace.starts_with(prefix))
    };
    let mut ends = src.into_iter().chain(dst).peekable();
    ends.peek()?;
    Some(if ends.any(is_app) { "app" } else { "infra" })
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
