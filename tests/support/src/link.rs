//! Interfaces inside namespaces: veth pairs, bridges, and the counters that captures are compared with.

use crate::ethtool;
use crate::netns::{Netns, unique_interface};

/// One end of a veth pair.
#[derive(Debug, Clone)]
pub struct End {
    /// Interface name, unique on this machine.
    pub name: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its index inside its namespace.
    pub index: u32,
}

/// A veth pair between two namespaces, up, with offloads off. It goes with its namespaces.
#[derive(Debug, Clone)]
pub struct Veth {
    /// The end in the first namespace.
    pub a: End,
    /// The end in the second namespace.
    pub b: End,
}

impl Veth {
    /// Joins two namespaces. `addresses` are for the ends (`10.1.0.1/24`, `fd00::1/64`; none: none).
    ///
    /// # Panics
    /// When `ip` fails.
    #[track_caller]
    pub fn new(a: &Netns, a_addresses: &[&str], b: &Netns, b_addresses: &[&str]) -> Self {
        let (name_a, name_b) = (unique_interface("a"), unique_interface("b"));
        // In one step, each end made where it belongs: never a moment in the machine's own namespace.
        a.ip(&format!("link add {name_a} type veth peer name {name_b} netns {}", b.name()));
        bring_up(a, &name_a, a_addresses);
        bring_up(b, &name_b, b_addresses);
        Self { a: end(a, &name_a), b: end(b, &name_b) }
    }

    /// As [`Veth::new`], and each side knows the other's MAC address for good: no ARP, no neighbour discovery.
    #[track_caller]
    pub fn with_neighbours(a: &Netns, a_addresses: &[&str], b: &Netns, b_addresses: &[&str]) -> Self {
        let veth = Self::new(a, a_addresses, b, b_addresses);
        neighbours(a, &veth.a.name, b_addresses, veth.b.mac);
        neighbours(b, &veth.b.name, a_addresses, veth.a.mac);
        veth
    }
}

/// Sets addresses, switches offloads off, and brings an interface up.
#[track_caller]
pub fn bring_up(ns: &Netns, interface: &str, addresses: &[&str]) {
    ethtool::set_offloads(ns, interface, false);
    for address in addresses {
        ns.ip(&format!("address add {address} dev {interface}"));
    }
    ns.ip(&format!("link set {interface} up"));
}

/// Permanent neighbour entries: these addresses (a prefix length is cut off) have this MAC address.
#[track_caller]
pub fn neighbours(ns: &Netns, interface: &str, addresses: &[&str], mac: [u8; 6]) {
    for address in addresses {
        let ip = address.split('/').next().unwrap_or(address);
        ns.ip(&format!("neighbour replace {ip} lladdr {} dev {interface} nud permanent", mac_text(mac)));
    }
}

/// A bridge without spanning tree and without multicast snooping (which sends queries), up; returns its name.
#[track_caller]
pub fn bridge(ns: &Netns, ports: &[&str]) -> String {
    let name = unique_interface("br");
    ns.ip(&format!("link add {name} type bridge stp_state 0 mcast_snooping 0"));
    for port in ports {
        ns.ip(&format!("link set {port} master {name}"));
    }
    ns.ip(&format!("link set {name} up"));
    name
}

/// What the kernel counted on an interface, 64 bits wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Received.
    pub rx_packets: u64,
    /// Received, link-layer header included.
    pub rx_bytes: u64,
    /// Dropped while receiving.
    pub rx_dropped: u64,
    /// Sent.
    pub tx_packets: u64,
    /// Sent, link-layer header included.
    pub tx_bytes: u64,
    /// Dropped while sending.
    pub tx_dropped: u64,
}

impl Counters {
    /// What was counted since `start`.
    #[must_use]
    pub fn since(&self, start: &Self) -> Self {
        Self {
            rx_packets: self.rx_packets - start.rx_packets,
            rx_bytes: self.rx_bytes - start.rx_bytes,
            rx_dropped: self.rx_dropped - start.rx_dropped,
            tx_packets: self.tx_packets - start.tx_packets,
            tx_bytes: self.tx_bytes - start.tx_bytes,
            tx_dropped: self.tx_dropped - start.tx_dropped,
        }
    }
}

/// Counters of an interface, as `ip -s link` shows them.
#[track_caller]
pub fn link_counters(ns: &Netns, interface: &str) -> Counters {
    let link = details(ns, interface);
    let number = |side: &str, what: &str| link["stats64"][side][what].as_u64().expect("a counter");
    Counters {
        rx_packets: number("rx", "packets"),
        rx_bytes: number("rx", "bytes"),
        rx_dropped: number("rx", "dropped"),
        tx_packets: number("tx", "packets"),
        tx_bytes: number("tx", "bytes"),
        tx_dropped: number("tx", "dropped"),
    }
}

#[track_caller]
fn end(ns: &Netns, name: &str) -> End {
    let link = details(ns, name);
    let mac = mac(link["address"].as_str().expect("a MAC address"));
    let index = link["ifindex"].as_u64().expect("an index") as u32;
    End { name: name.into(), mac, index }
}

#[track_caller]
fn details(ns: &Netns, interface: &str) -> serde_json::Value {
    let text = ns.ip(&format!("-s -j link show dev {interface}"));
    let mut links: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON from ip");
    links.remove(0)
}

/// `02:00:00:00:00:01` as bytes.
pub fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("six bytes")
}

/// Bytes as `02:00:00:00:00:01`.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
