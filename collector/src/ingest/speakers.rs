//! Which address may speak for which node: all agents have the same certificate, so it does not show which of them one is.
//!
//! An agent is on its node's own network, so the address of its connection is one of the node. Where the API server lists that address,
//! it speaks for this node and for no other. Several container networks show a node by an address that is listed nowhere; such an
//! address belongs to the first node that it speaks for, and the node to it, until the end of the capture. What that leaves open is described
//! in SECURITY.md.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use netobserv_wire::pbflow::AgentStatus;

use super::peer::Peer;
use crate::counts::MOST_NODES;
use crate::enrich::{Names, Owner};

/// Who may speak for whom.
#[derive(Debug, Default)]
pub struct Speakers {
    /// Who knows the cluster's addresses.
    names: Option<Arc<Names>>,
    /// Anybody may speak for anybody: it is no session of the plugin, with one agent on each node.
    lenient: bool,
    bound: Mutex<Bound>,
}

/// Nodes and the addresses that speak for them.
#[derive(Debug, Default)]
struct Bound {
    by_node: HashMap<String, IpAddr>,
    by_address: HashMap<IpAddr, String>,
}

impl Speakers {
    /// Checks each one against the addresses of the cluster, where they are known.
    pub fn strict(names: Option<Arc<Names>>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Lets everybody speak for everybody.
    pub fn lenient() -> Self {
        Self { lenient: true, ..Self::default() }
    }

    /// Whether this peer may speak for this node; if not, why not.
    pub(super) fn check(&self, peer: Peer, node: &str) -> Result<(), String> {
        let Some(address) = peer.address().filter(|_| !self.lenient && !node.is_empty()) else { return Ok(()) };
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        match self.owner(address) {
            Owner::Node(owner) if owner == node => bound.bind(node, address),
            Owner::Node(owner) => return Err(format!("it speaks for node {node}, and its address is that of {owner}")),
            Owner::Pod => return Err(format!("it speaks for node {node}, and its address is that of a pod")),
            Owner::Unknown => {
                if self.names.as_ref().is_some_and(|names| names.is_no_node(node)) {
                    return Err(format!("it speaks for {node}, and the cluster has no such node"));
                }
                self.check_unlisted(&mut bound, address, node)?;
            }
        }
        Ok(())
    }

    /// Whether this peer, which speaks for this node, may send flows that name this address as their agent's.
    pub(super) fn counts_at(&self, peer: Peer, node: &str, agent: Option<IpAddr>) -> bool {
        let Some(agent) = agent.filter(|_| !self.lenient && peer.address().is_some()) else { return true };
        match self.owner(agent) {
            Owner::Node(owner) if node.is_empty() => self.check(peer, &owner).is_ok(),
            Owner::Node(owner) => owner == node,
            Owner::Pod | Owner::Unknown => true,
        }
    }

    /// Takes in the addresses that an agent reports of its node. They name what nothing else names.
    pub(super) fn learn_addresses(&self, agent: &AgentStatus) {
        let Some(names) = self.names.as_ref().filter(|_| !agent.node_addresses.is_empty()) else { return };
        names.learn_addresses(&agent.node, agent.node_addresses.iter().filter_map(netobserv_wire::address).collect());
    }

    /// The rules for an address that is listed nowhere.
    fn check_unlisted(&self, bound: &mut Bound, address: IpAddr, node: &str) -> Result<(), String> {
        if let Some(other) = bound.by_address.get(&address).filter(|other| *other != node) {
            return Err(format!("it speaks for node {node}, and its address spoke for {other} before"));
        }
        if let Some(other) = bound.by_node.get(node).copied().filter(|other| *other != address) {
            // An address that turned out to be another node's was never this one's.
            let is_foreign = matches!(self.owner(other), Owner::Node(owner) if owner != node);
            if !is_foreign {
                return Err(format!("it speaks for node {node}, for which {other} spoke before"));
            }
        }
        if bound.by_node.len() >= MOST_NODES && !bound.by_node.contains_key(node) {
            return Err(format!("it speaks for node {node}, and {MOST_NODES} others have spoken"));
        }
        bound.bind(node, address);
        Ok(())
    }

    fn owner(&self, address: IpAddr) -> Owner {
        self.names.as_ref().map_or(Owner::Unknown, |names| names.owner(address))
    }
}

impl Bound {
    fn bind(&mut self, node: &str, address: IpAddr) {
        if self.by_node.get(node) == Some(&address) {
            return;
        }
        if let Some(before) = self.by_node.insert(node.to_owned(), address) {
            self.by_address.remove(&before);
        }
        if let Some(before) = self.by_address.insert(address, node.to_owned()) {
            self.by_node.remove(&before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Fact, Identity, Node, Pod};
    use std::net::SocketAddr;

    fn peer(address: &str) -> Peer {
        Peer::at(SocketAddr::new(address.parse().unwrap(), 5))
    }

    fn node(name: &str, address: &str) -> Fact {
        let identity = Identity { uid: format!("uid of {name}"), name: name.into(), ..Identity::default() };
        Fact::Node(Node { identity, addresses: vec![address.parse().unwrap()], zone: String::new(), ..Node::default() })
    }

    fn cluster() -> Arc<Names> {
        let names = Names::default();
        let identity = Identity { uid: "p".into(), name: "pod".into(), ..Identity::default() };
        let pod = Pod { identity, addresses: vec!["10.1.0.9".parse().unwrap()], ..Pod::default() };
        [node("a", "10.0.0.1"), node("b", "10.0.0.2"), Fact::Pod(pod)].into_iter().for_each(|fact| names.learn(fact));
        names.know_all_nodes();
        Arc::new(names)
    }

    #[track_caller]
    fn refused(speakers: &Speakers, address: &str, node: &str, why: &str) {
        let error = speakers.check(peer(address), node).unwrap_err();
        assert!(error.ends_with(why), "{error}");
    }

    #[test]
    fn an_address_that_is_listed_speaks_for_its_node_only() {
        let speakers = Speakers::strict(Some(cluster()));
        speakers.check(peer("10.0.0.1"), "a").unwrap();
        speakers.check(peer("::ffff:10.0.0.2"), "b").unwrap();
        refused(&speakers, "10.0.0.1", "b", "its address is that of a");
        refused(&speakers, "10.1.0.9", "b", "its address is that of a pod");
        refused(&speakers, "10.9.0.1", "c", "the cluster has no such node");
    }

    #[test]
    fn an_address_that_is_listed_nowhere_speaks_for_the_first_node() {
        for speakers in [Speakers::strict(Some(cluster())), Speakers::strict(None)] {
            speakers.check(peer("100.64.0.1"), "a").unwrap();
            speakers.check(peer("100.64.0.1"), "a").unwrap();
            refused(&speakers, "100.64.0.1", "b", "its address spoke for a before");
            refused(&speakers, "100.64.0.2", "a", "for which 100.64.0.1 spoke before");
            speakers.check(peer("100.64.0.2"), "b").unwrap();
        }
    }

    #[test]
    fn a_node_that_shows_its_own_address_has_its_name_back() {
        let names = Arc::new(Names::default());
        let speakers = Speakers::strict(Some(names.clone()));
        // Nothing is known of the cluster yet.
        speakers.check(peer("10.0.0.1"), "b").unwrap();
        speakers.check(peer("100.64.0.1"), "a").unwrap();
        names.learn(node("a", "10.0.0.1"));
        names.learn(node("b", "10.0.0.2"));
        refused(&speakers, "10.0.0.1", "b", "its address is that of a");
        speakers.check(peer("100.64.0.2"), "b").unwrap();
        speakers.check(peer("10.0.0.1"), "a").unwrap();
        refused(&speakers, "100.64.0.1", "a", "for which 10.0.0.1 spoke before");
    }

    #[test]
    fn flows_name_no_other_nodes_agent() {
        let speakers = Speakers::strict(Some(cluster()));
        let counts = |from: &str, node: &str, agent: &str| speakers.counts_at(peer(from), node, agent.parse().ok());
        assert!(
            counts("10.0.0.1", "a", "10.0.0.1") && counts("10.0.0.1", "a", "") && counts("10.0.0.1", "a", "9.9.9.9")
        );
        assert!(!counts("10.0.0.1", "a", "10.0.0.2"));
        assert!(counts("10.0.0.1", "", "10.0.0.1") && !counts("10.0.0.1", "", "10.0.0.2"), "without a node's name too");
    }

    #[test]
    fn on_one_machine_and_without_a_session_everybody_is_believed() {
        let speakers = Speakers::strict(Some(cluster()));
        speakers.check(Peer::default(), "b").unwrap();
        let lenient = Speakers::lenient();
        ["a", "b"].into_iter().for_each(|node| lenient.check(peer("10.0.0.1"), node).unwrap());
    }
}
