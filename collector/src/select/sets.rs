//! Addresses as agents get them.

use std::net::IpAddr;

use netobserv_wire::pbflow::ip::IpFamily;
use netobserv_wire::pbflow::{AddressPort, AddressSet, Ip};

use super::resolve::Resolved;

/// Most elements that an agent takes, in all sets.
pub(super) const MOST: usize = 100_000;

/// The set of a selection.
pub(super) fn set(number: u32, resolved: &Resolved) -> AddressSet {
    let mut set = AddressSet { number, ..AddressSet::default() };
    for (address, port) in resolved.keys() {
        match (address, port) {
            (IpAddr::V4(v4), None) => set.ipv4.extend(v4.octets()),
            (IpAddr::V6(v6), None) => set.ipv6.extend(v6.octets()),
            (address, Some((protocol, port))) => {
                let address = Some(ip(*address));
                set.ports.push(AddressPort { address, protocol: (*protocol).into(), port: (*port).into() });
            }
        }
    }
    set
}

fn ip(address: IpAddr) -> Ip {
    let family = match address {
        IpAddr::V4(v4) => IpFamily::Ipv4(v4.into()),
        IpAddr::V6(v6) => IpFamily::Ipv6(v6.octets().to_vec()),
    };
    Ip { ip_family: Some(family) }
}
