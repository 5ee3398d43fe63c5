//! Which node has which addresses, as the agents report them.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// Most addresses of a node.
const MOST: usize = 64;

/// Addresses by node.
#[derive(Debug, Default)]
pub(super) struct Hosts(HashMap<String, BTreeSet<IpAddr>>);

impl Hosts {
    /// Takes in what a node has now. Returns the nodes whose own addresses are others than before, with these.
    pub(super) fn learn(&mut self, node: &str, addresses: Vec<IpAddr>) -> Vec<(String, Vec<IpAddr>)> {
        let new: BTreeSet<_> = addresses.into_iter().take(MOST).collect();
        if new.is_empty() || self.0.get(node) == Some(&new) {
            return Vec::new();
        }
        let touched: BTreeSet<_> = self.0.get(node).into_iter().flatten().chain(&new).copied().collect();
        self.0.insert(node.to_owned(), new);
        let mut changed: Vec<_> = self.0.iter().filter(|(_, has)| !has.is_disjoint(&touched)).collect();
        changed.sort();
        changed.into_iter().map(|(name, has)| (name.clone(), self.own(name, has))).collect()
    }

    /// Those of a node that no other has.
    fn own(&self, name: &str, has: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
        let shared = |address: &IpAddr| self.0.iter().any(|(other, others)| other != name && others.contains(address));
        has.iter().filter(|address| !shared(address)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_two_nodes_have_names_neither() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (bridge, one, two) = (ip("172.17.0.1"), ip("10.244.0.1"), ip("10.244.1.1"));
        let mut hosts = Hosts::default();
        assert_eq!(hosts.learn("n1", vec![bridge, one]), [("n1".into(), vec![one, bridge])]);
        assert_eq!(hosts.learn("n1", vec![one, bridge]), [], "nothing new");
        let wanted = [("n1".to_owned(), vec![one]), ("n2".to_owned(), vec![two])];
        assert_eq!(hosts.learn("n2", vec![bridge, two]), wanted);
        assert_eq!(hosts.learn("n2", vec![two]), [("n1".into(), vec![one, bridge]), ("n2".into(), vec![two])]);
    }
}
