//! The comments of a packet in Wireshark: three, of its sender, of its receiver, and of both.

use std::fmt::Write;
use std::net::IpAddr;

use netobserv_wire::flow::HolderRef;

use super::headers::Ends;
use super::talks::Names;
use crate::human;

/// Names of ports that people know by heart (IANA).
const SERVICES: [(u16, &str); 16] = [
    (22, "ssh"),
    (25, "smtp"),
    (53, "domain"),
    (80, "http"),
    (88, "kerberos"),
    (123, "ntp"),
    (389, "ldap"),
    (443, "https"),
    (853, "domain-s"),
    (1433, "ms-sql-s"),
    (3306, "mysql"),
    (5353, "mdns"),
    (5432, "postgresql"),
    (5672, "amqp"),
    (6379, "redis"),
    (8080, "http-alt"),
];

/// The three comments.
pub fn comments(ends: &Ends, names: &Names, length: u32, cause: Option<&str>) -> [String; 3] {
    let (src, dst) = ends.addresses.unzip();
    let (src_port, dst_port) = ends.ports.unzip();
    [
        end("Source", "Src", src, src_port, names[0].as_ref()),
        end("Destination", "Dst", dst, dst_port, names[1].as_ref()),
        common(ends, length, cause),
    ]
}

/// The comment of a dropped packet whose flow is known.
pub fn drop_cause(cause: &str) -> String {
    format!("Drop Cause: {cause}")
}

fn end(title: &str, prefix: &str, address: Option<IpAddr>, port: Option<u16>, holder: Option<&HolderRef>) -> String {
    let mut text = title.to_owned();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(text, "\n{prefix} {name}: {value}");
        }
    };
    if let Some(holder) = holder {
        line("Name", &holder.name);
        line("Kind", &holder.kind);
        line("Namespace", &holder.namespace);
        line("Owner", &holder.owner_name);
        line("Owner Kind", &holder.owner_kind);
        line("Node Name", &holder.host_name);
        line("Node IP", &holder.host_ip.map(|address| address.to_string()).unwrap_or_default());
        line("Zone", &holder.zone);
        line("Network Name", &holder.network);
    }
    line("IP", &address.map(|address| address.to_string()).unwrap_or_default());
    line("Port", &port.map(port_text).unwrap_or_default());
    text
}

fn common(ends: &Ends, length: u32, cause: Option<&str>) -> String {
    let mut text = format!("Common\nBytes: {}", human::bytes(length.into()));
    let mut line = |name: &str, value: &str| {
        let _ = write!(text, "\n{name}: {value}");
    };
    if let Some(proto) = ends.proto {
        line("L3 Protocol", &protocol(proto));
    }
    if let Some((kind, code)) = ends.icmp {
        line("ICMP Type", &kind.to_string());
        line("ICMP Code", &code.to_string());
    }
    if let Some(cause) = cause {
        line("Drop Cause", cause);
    }
    text
}

fn port_text(port: u16) -> String {
    match SERVICES.iter().find(|(number, _)| *number == port) {
        Some((_, name)) => format!("{port}({name})"),
        None => port.to_string(),
    }
}

/// Name of an IP protocol (IANA), or its number.
pub fn protocol(proto: u8) -> String {
    match proto {
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        47 => "GRE".into(),
        50 => "ESP".into(),
        58 => "IPv6-ICMP".into(),
        132 => "SCTP".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::Holder;

    fn ends() -> Ends {
        let addresses = Some(("10.0.0.1".parse().unwrap(), "fd00::2".parse().unwrap()));
        Ends { etype: 0x0800, addresses, proto: Some(6), ports: Some((50_000, 443)), icmp: None }
    }

    #[test]
    fn what_is_known_stands_in_three_groups() {
        let holder = Holder { name: "my-pod".into(), namespace: "ns".into(), kind: "Pod".into(), ..Holder::default() };
        let [src, dst, common] = comments(&ends(), &[Some(holder.into()), None], 124, None);
        assert_eq!(
            src,
            "Source\nSrc Name: my-pod\nSrc Kind: Pod\nSrc Namespace: ns\nSrc IP: 10.0.0.1\nSrc Port: 50000"
        );
        assert_eq!(dst, "Destination\nDst IP: fd00::2\nDst Port: 443(https)");
        assert_eq!(common, "Common\nBytes: 124B\nL3 Protocol: TCP");
    }

    #[test]
    fn a_drop_tells_its_cause() {
        let [_, _, common] = comments(&Ends::default(), &Names::default(), 42, Some("NO_SOCKET"));
        assert_eq!(common, "Common\nBytes: 42B\nDrop Cause: NO_SOCKET");
    }
}
