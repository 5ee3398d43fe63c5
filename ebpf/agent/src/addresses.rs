//! The node's own addresses: pods see some of them that the cluster does not list, such as that of a bridge.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use netobserv_wire::pbflow::{Ip, ip::IpFamily};
use nix::ifaddrs::getifaddrs;

/// How often they are read.
const PERIOD: Duration = Duration::from_secs(10);
/// Most that are reported.
const MOST: usize = 64;

/// The latest known.
#[derive(Debug, Default)]
pub struct Addresses {
    known: Vec<Ip>,
    read: Option<Instant>,
}

impl Addresses {
    /// Those of this network namespace, as they were a few seconds ago.
    pub fn get(&mut self) -> Vec<Ip> {
        if self.read.is_none_or(|read| read.elapsed() >= PERIOD) {
            self.read = Some(Instant::now());
            self.known = own().into_iter().map(ip).collect();
        }
        self.known.clone()
    }
}

/// An address as records have it.
pub(crate) fn ip(address: IpAddr) -> Ip {
    let family = match address {
        IpAddr::V4(v4) => IpFamily::Ipv4(v4.to_bits()),
        IpAddr::V6(v6) => IpFamily::Ipv6(v6.octets().to_vec()),
    };
    Ip { ip_family: Some(family) }
}

/// Addresses that mean this node wherever they are seen.
fn own() -> Vec<IpAddr> {
    let all = getifaddrs().into_iter().flatten().filter_map(|interface| interface.address);
    let addresses = all.filter_map(|address| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    let mut addresses: Vec<_> = addresses.filter(|address| !is_everywhere(*address)).collect();
    addresses.sort();
    addresses.dedup();
    addresses.truncate(MOST);
    addresses
}

/// Whether other nodes may have it too.
fn is_everywhere(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    address.is_loopback() || address.is_unspecified() || link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_link_or_host_are_left_out() {
        for address in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0"] {
            assert!(is_everywhere(address.parse().unwrap()), "{address}");
        }
        assert!(["10.0.0.1", "fd00::1"].iter().all(|address| !is_everywhere(address.parse().unwrap())));
    }
}
