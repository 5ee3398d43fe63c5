//! What direction and layer of a flow depend on, next to a holder in the index: to name a flow, the holders are not read,
//! which lie all over the memory.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use netobserv_wire::flow::Holder;

use super::hash::Quick;
use super::index::number;

/// Names of namespaces that belong to the platform begin so.
const INFRA: [&str; 3] = ["openshift", "kube-", "netobserv"];

/// Of one holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// A hash of the name of its node; 0 without one.
    host: u64,
    /// A hash of the address of its node, 0 without one; in its lowest bit, whether it is in a namespace of the user's.
    host_ip_and_app: u64,
}

/// The lowest bit.
const APP: u64 = 1;

impl Marks {
    /// Those of a holder.
    pub(super) fn of(holder: &Holder) -> Self {
        let mut host = DefaultHasher::new();
        holder.host_name.hash(&mut host);
        let api = holder.namespace == "default" && holder.name == "kubernetes";
        let infra = api || INFRA.iter().any(|prefix| holder.namespace.starts_with(prefix));
        Self {
            host: if holder.host_name.is_empty() { 0 } else { host.finish() | 1 },
            host_ip_and_app: holder.host_ip.map_or(0, hash_of) | u64::from(!holder.namespace.is_empty() && !infra),
        }
    }

    /// Both are on the same node.
    pub(super) fn same_host(&self, other: &Self) -> bool {
        self.host != 0 && self.host == other.host
    }

    /// On the node with this address, by the address that pods know.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.host_ip_and_app & !APP == hash_of(address)
    }

    /// In a namespace of the user's.
    pub(super) fn is_app(&self) -> bool {
        self.host_ip_and_app & APP != 0
    }
}

/// Of an address: neither 0 nor odd.
fn hash_of(address: IpAddr) -> u64 {
    (Quick::of(number(address)) & !APP).max(2)
}
