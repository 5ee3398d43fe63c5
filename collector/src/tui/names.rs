//! What the ends of a conversation are called: the pod or the process, else the address.

use std::net::IpAddr;

use netobserv_wire::flow::Holder;

use super::columns::{self, ABSENT};
use super::data::connections::{Connection, Connections, End, Key};

/// `namespace/name`, else the process, else the address.
pub(super) fn client(connections: &Connections, one: &Connection) -> String {
    let [end, _] = connections.ends_of(one);
    let named = end.and_then(|end| object(end).or_else(|| process(end)));
    named.unwrap_or_else(|| address(one.key.src))
}

/// `namespace/name` or the address, with the port. The server's process is what its service is called.
pub(super) fn server(connections: &Connections, one: &Connection) -> String {
    let [_, end] = connections.ends_of(one);
    with_port(end.and_then(object).unwrap_or_else(|| address(one.key.dst)), one.key)
}

/// The server's process, or what is usual at its port.
pub(super) fn service(connections: &Connections, one: &Connection) -> String {
    let [_, end] = connections.ends_of(one);
    end.and_then(process).unwrap_or_else(|| by_port(one.key.dst_port).to_owned())
}

fn with_port(name: String, key: Key) -> String {
    if key.dst_port == 0 { name } else { format!("{name}:{}", key.dst_port) }
}

/// An address as it stands before a port.
pub(super) fn address(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        Some(address) => address.to_string(),
        None => ABSENT.into(),
    }
}

/// `namespace/name` of an end, where the cluster knows it.
pub(super) fn object(end: &End) -> Option<String> {
    end.holder().and_then(|holder| scoped(&holder.namespace, &holder.name))
}

fn process(end: &End) -> Option<String> {
    Some(end.process.to_string()).filter(|process| !process.is_empty())
}

/// `namespace/name` of an address, else the address.
pub(super) fn of_address(connections: &Connections, ip: IpAddr) -> String {
    connections.ends.of(ip).and_then(object).unwrap_or_else(|| address(Some(ip)))
}

/// `namespace/owner` of an object.
pub(super) fn owner(holder: &Holder) -> Option<String> {
    scoped(&holder.namespace, &holder.owner_name)
}

fn scoped(namespace: &str, name: &str) -> Option<String> {
    match (namespace, name) {
        (_, "") => None,
        ("", name) => Some(name.to_owned()),
        (namespace, name) => Some(format!("{namespace}/{name}")),
    }
}

/// A protocol, where it is known.
pub(super) fn protocol(number: u8) -> String {
    if number == 0 { String::new() } else { columns::protocol(number.into()) }
}

/// What usually listens at a port (IANA, and what clusters use).
pub(super) fn by_port(port: u16) -> &'static str {
    match port {
        20 | 21 => "ftp",
        22 => "ssh",
        25 | 465 | 587 => "smtp",
        53 => "dns",
        67 | 68 => "dhcp",
        80 | 8_080 => "http",
        88 => "kerberos",
        110 | 995 => "pop3",
        123 => "ntp",
        143 | 993 => "imap",
        161 | 162 => "snmp",
        389 | 636 => "ldap",
        443 | 8_443 => "https",
        445 => "smb",
        514 | 6_514 => "syslog",
        853 => "dns-tls",
        1_433 => "mssql",
        1_521 => "oracle",
        1_883 | 8_883 => "mqtt",
        2_049 => "nfs",
        2_379 | 2_380 => "etcd",
        3_306 => "mysql",
        3_389 => "rdp",
        4_317 | 4_318 => "otlp",
        4_789 => "vxlan",
        5_201 => "iperf3",
        5_353 => "mdns",
        5_432 => "postgres",
        5_672 => "amqp",
        6_081 => "geneve",
        6_379 => "redis",
        6_443 => "kube-api",
        9_042 => "cassandra",
        9_090 => "prometheus",
        9_092 => "kafka",
        9_100 => "node-exp",
        9_200 | 9_300 => "elastic",
        10_250 => "kubelet",
        11_211 => "memcache",
        27_017 => "mongodb",
        _ => "",
    }
}
