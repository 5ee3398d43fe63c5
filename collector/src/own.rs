//! The capture's own traffic: what agents send to the collector's pod, and what it asks the API server. On a quiet cluster that is
//! a good part of all flows, and no user asks for it.

use std::net::IpAddr;

use netobserv_wire::Flow;
use netobserv_wire::field::Side;
use nix::ifaddrs::getifaddrs;

use crate::cli::{Listen, Options};
use crate::keeper::Pod;

/// IP protocol number of TCP.
const TCP: u8 = 6;
/// Name of the collector's service, before which agents stand.
const SERVICE: &str = "collector";

/// By what it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Of the pod, which has no other traffic.
    addresses: Vec<IpAddr>,
    port: u16,
    namespace: String,
}

impl Own {
    /// That of this pod; `None` outside a session's pod, whose addresses others use too, and where it was asked for.
    pub fn of_this_pod(options: &Options) -> Option<Self> {
        let Listen::Port(port) = options.listen else { return None };
        let pod = Pod::of_this_process(&options.output_dir).filter(|_| !options.own_traffic)?;
        Some(Self { addresses: addresses(), port, namespace: pod.namespace })
    }

    /// Whether a flow is of it.
    pub fn has(&self, flow: &Flow) -> bool {
        [(Side::Src, flow.src_addr, flow.src_port), (Side::Dst, flow.dst_addr, flow.dst_port)].into_iter().any(
            |(side, address, port)| {
                let at_pod = address.is_some_and(|address| self.addresses.contains(&address));
                at_pod || (flow.proto == Some(TCP) && port == Some(self.port) && self.at_service(flow, side))
            },
        )
    }

    /// Agents connect to the address of the service; what a node sees before that is translated has it.
    fn at_service(&self, flow: &Flow, side: Side) -> bool {
        let holder = flow.holder(side);
        holder.is_some_and(|holder| {
            holder.kind == "Service" && holder.name == SERVICE && holder.namespace == self.namespace.as_str()
        })
    }
}

/// The addresses of this network namespace, those of the loopback interface left out.
fn addresses() -> Vec<IpAddr> {
    let all = getifaddrs().into_iter().flatten().filter_map(|interface| interface.address);
    let addresses = all.filter_map(|address| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    addresses.filter(|address| !address.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use netobserv_wire::flow::{Holder, HolderRef};

    use super::*;

    fn flow(src: (&str, u16), dst: (&str, u16), proto: u8) -> Flow {
        let address = |text: &str| Some(text.parse().unwrap());
        Flow {
            src_addr: address(src.0),
            src_port: Some(src.1),
            dst_addr: address(dst.0),
            dst_port: Some(dst.1),
            proto: Some(proto),
            ..Flow::default()
        }
    }

    #[test]
    fn the_pods_own_traffic_is_known_by_its_address_and_by_its_service() {
        let own = Own { addresses: vec!["10.0.0.9".parse().unwrap()], port: 9999, namespace: "lab".into() };
        assert!(own.has(&flow(("10.0.0.1", 40_000), ("10.0.0.9", 9999), TCP)), "an agent");
        assert!(own.has(&flow(("10.0.0.9", 50_000), ("10.0.0.2", 6443), TCP)), "the API server");
        assert!(!own.has(&flow(("10.0.0.1", 40_000), ("10.0.0.2", 9999), TCP)), "a port is no evidence");
        let at_service = |namespace: &str, proto| {
            let mut flow = flow(("10.0.0.1", 40_000), ("172.30.0.5", 9999), proto);
            let holder = Holder {
                name: SERVICE.into(),
                namespace: namespace.into(),
                kind: "Service".into(),
                ..Holder::default()
            };
            flow.set_holder(Side::Dst, HolderRef::from(holder));
            flow
        };
        assert!(own.has(&at_service("lab", TCP)));
        assert!(!own.has(&at_service("shop", TCP)) && !own.has(&at_service("lab", 17)));
    }

    #[test]
    fn addresses_of_others_are_not_the_pods() {
        assert!(addresses().iter().all(|address| !address.is_loopback()));
    }
}
