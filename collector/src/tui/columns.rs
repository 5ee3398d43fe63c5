//! The columns of the table: which field, under which title, how it looks, and what gives way when there is no room.

use std::sync::OnceLock;

use chrono::DateTime;
use netobserv_wire::{Field, Flow, Value, field};

use crate::human;

/// What is shown of a field that a flow does not have.
pub(super) const ABSENT: &str = "n/a";

/// How values look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Time,
    Plain,
    Bytes,
    Count,
    Millis,
    Nanos,
    Protocol,
    Dscp,
    NodeDirection,
    Cause,
    State,
    TcpFlags,
    Errno,
}

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) field: &'static str,
    pub(super) title: &'static str,
    /// The title where there is little room.
    pub(super) short: &'static str,
    /// Columns of a higher rank go first when there is no room; those of rank 0 stay.
    pub(super) rank: u8,
    /// The least width that says something.
    pub(super) least: u16,
    shape: Shape,
    source: OnceLock<Option<&'static Field>>,
}

const fn column(
    field: &'static str,
    title: &'static str,
    short: &'static str,
    rank: u8,
    least: u16,
    shape: Shape,
) -> Column {
    Column { field, title, short, rank, least, shape, source: OnceLock::new() }
}

static COLUMNS: [Column; 52] = [
    column("TimeFlowEndMs", "End Time", "Time", 0, 12, Shape::Time),
    column("SrcAddr", "Src IP", "Src IP", 0, 15, Shape::Plain),
    column("SrcPort", "Src Port", "SPort", 0, 5, Shape::Plain),
    column("DstAddr", "Dst IP", "Dst IP", 0, 15, Shape::Plain),
    column("DstPort", "Dst Port", "DPort", 0, 5, Shape::Plain),
    column("K8S_ClusterName", "Clusters", "Cluster", 8, 8, Shape::Plain),
    column("SrcK8S_Zone", "Src Zone", "Src Zone", 1, 8, Shape::Plain),
    column("DstK8S_Zone", "Dst Zone", "Dst Zone", 1, 8, Shape::Plain),
    column("SrcK8S_HostIP", "Src Node IP", "Src Node IP", 5, 12, Shape::Plain),
    column("SrcK8S_HostName", "Src Node", "Src Node", 0, 12, Shape::Plain),
    column("DstK8S_HostIP", "Dst Node IP", "Dst Node IP", 5, 12, Shape::Plain),
    column("DstK8S_HostName", "Dst Node", "Dst Node", 0, 12, Shape::Plain),
    column("SrcK8S_Namespace", "Src Namespace", "Src NS", 1, 9, Shape::Plain),
    column("DstK8S_Namespace", "Dst Namespace", "Dst NS", 1, 9, Shape::Plain),
    column("SrcK8S_OwnerType", "Src Owner Kind", "SrcOwner", 4, 8, Shape::Plain),
    column("SrcK8S_OwnerName", "Src Owner", "Src Owner", 0, 14, Shape::Plain),
    column("DstK8S_OwnerType", "Dst Owner Kind", "DstOwner", 4, 8, Shape::Plain),
    column("DstK8S_OwnerName", "Dst Owner", "Dst Owner", 0, 14, Shape::Plain),
    column("SrcK8S_Type", "Src Kind", "SKind", 5, 5, Shape::Plain),
    column("SrcK8S_Name", "Src Name", "Src Name", 0, 16, Shape::Plain),
    column("DstK8S_Type", "Dst Kind", "DKind", 5, 5, Shape::Plain),
    column("DstK8S_Name", "Dst Name", "Dst Name", 0, 16, Shape::Plain),
    column("SrcSubnetLabel", "Src Subnet", "Src Subnet", 1, 10, Shape::Plain),
    column("DstSubnetLabel", "Dst Subnet", "Dst Subnet", 1, 10, Shape::Plain),
    column("SrcK8S_NetworkName", "Src Network", "Src Net", 6, 8, Shape::Plain),
    column("DstK8S_NetworkName", "Dst Network", "Dst Net", 6, 8, Shape::Plain),
    column("Interfaces", "Interfaces", "Ifaces", 3, 6, Shape::Plain),
    column("IfDirections", "Interface Dirs", "If Dirs", 7, 7, Shape::Plain),
    column("FlowDirection", "Node Dir", "Dir", 6, 7, Shape::NodeDirection),
    column("Proto", "L3 Protocol", "Proto", 0, 4, Shape::Protocol),
    column("Dscp", "L3 DSCP", "DSCP", 8, 8, Shape::Dscp),
    column("Bytes", "Bytes", "Bytes", 0, 6, Shape::Bytes),
    column("Packets", "Packets", "Pkts", 0, 5, Shape::Count),
    column("PktDropBytes", "Drop Bytes", "DrpBytes", 2, 6, Shape::Bytes),
    column("PktDropPackets", "Drop Packets", "Drops", 0, 5, Shape::Count),
    column("PktDropLatestState", "Drop State", "State", 2, 11, Shape::State),
    column("PktDropLatestDropCause", "Drop Cause", "Drop Cause", 0, 14, Shape::Cause),
    column("PktDropLatestFlags", "Drop Flags", "DrpFlags", 4, 8, Shape::TcpFlags),
    column("DnsId", "DNS Id", "DNS Id", 4, 6, Shape::Plain),
    column("DnsName", "DNS Name", "DNS Name", 0, 16, Shape::Plain),
    column("DnsLatencyMs", "DNS Latency", "Latency", 0, 7, Shape::Millis),
    column("DnsFlagsResponseCode", "DNS RCode", "RCode", 0, 8, Shape::Plain),
    column("DnsErrno", "DNS Error", "Error", 3, 9, Shape::Errno),
    column("TimeFlowRttNs", "Flow RTT", "RTT", 0, 7, Shape::Nanos),
    column("NetworkEvents", "Network Events", "Events", 2, 12, Shape::Plain),
    column("ZoneId", "Xlat Zone Id", "XZone", 5, 5, Shape::Plain),
    column("XlatSrcAddr", "Xlat Src IP", "Xlat Src", 3, 12, Shape::Plain),
    column("XlatSrcPort", "Xlat Src Port", "XSPort", 5, 6, Shape::Plain),
    column("XlatDstAddr", "Xlat Dst IP", "Xlat Dst", 3, 12, Shape::Plain),
    column("XlatDstPort", "Xlat Dst Port", "XDPort", 5, 6, Shape::Plain),
    column("Udns", "UDNs", "UDNs", 4, 8, Shape::Plain),
    column("IPSecStatus", "IPSec Status", "IPSec", 4, 7, Shape::Plain),
];

/// The column of a field.
pub(super) fn by_field(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.field == name)
}

/// All columns.
pub(super) fn all() -> &'static [Column] {
    &COLUMNS
}

impl Column {
    /// Whether values stand to the right.
    pub(super) fn is_right(&self) -> bool {
        matches!(self.shape, Shape::Bytes | Shape::Count | Shape::Millis | Shape::Nanos)
    }

    fn value<'a>(&self, flow: &'a Flow) -> Value<'a> {
        let source = self.source.get_or_init(|| field::by_name(self.field));
        source.map_or(Value::Absent, |field| field.get(flow))
    }

    /// What a cell shows.
    pub(super) fn text(&self, flow: &Flow) -> String {
        match (self.shape, self.value(flow)) {
            (_, Value::Absent) => self.instead(flow),
            (Shape::Plain, value) => shown(&value),
            (Shape::Cause, Value::Text(text)) => cause(text).to_owned(),
            (Shape::State, Value::Text(text)) => text.trim_start_matches("TCP_").to_owned(),
            (shape, Value::Int(number)) => shape.number(number),
            (_, value) => shown(&value),
        }
    }

    /// What stands in the place of a value that is not there: addresses for names, MAC addresses for addresses.
    fn instead(&self, flow: &Flow) -> String {
        let address = |address: Option<std::net::IpAddr>, mac: Option<[u8; 6]>| match (address, mac) {
            (Some(address), _) => address.to_string(),
            (None, Some(mac)) => shown(&Value::Mac(mac)),
            (None, None) => ABSENT.into(),
        };
        match self.field {
            "SrcAddr" => address(None, flow.src_mac),
            "DstAddr" => address(None, flow.dst_mac),
            "SrcK8S_Name" | "SrcK8S_OwnerName" => address(flow.src_addr, flow.src_mac),
            "DstK8S_Name" | "DstK8S_OwnerName" => address(flow.dst_addr, flow.dst_mac),
            "Proto" if flow.etype != 0 => ethernet(flow.etype),
            _ => ABSENT.into(),
        }
    }

    /// Whether a cell shows something that went wrong.
    pub(super) fn is_alarm(&self, flow: &Flow) -> bool {
        match self.shape {
            Shape::Cause => flow.drops.as_ref().is_some_and(|drops| drops.packets > 0),
            Shape::Errno => matches!(self.value(flow), Value::Int(errno) if errno != 0),
            _ if self.field == "DnsFlagsResponseCode" => {
                matches!(self.value(flow), Value::Text(rcode) if rcode != "NoError")
            }
            _ => false,
        }
    }

    /// Orders two flows by this column; those without a value come first.
    pub(super) fn compare(&self, a: &Flow, b: &Flow) -> std::cmp::Ordering {
        match (self.value(a), self.value(b)) {
            (Value::Int(a), Value::Int(b)) => a.cmp(&b),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Ip(a), Value::Ip(b)) => a.cmp(&b),
            (Value::Absent, Value::Absent) => std::cmp::Ordering::Equal,
            (Value::Absent, _) => std::cmp::Ordering::Less,
            (_, Value::Absent) => std::cmp::Ordering::Greater,
            (a, b) => shown(&a).cmp(&shown(&b)),
        }
    }
}

impl Shape {
    fn number(self, number: i64) -> String {
        let positive = number.max(0).unsigned_abs();
        match self {
            Shape::Time => time(positive),
            Shape::Bytes => human::bytes(positive),
            Shape::Count => short(positive),
            Shape::Millis => format!("{number}ms"),
            Shape::Nanos => micros(positive / 1_000),
            Shape::Protocol => protocol(number),
            Shape::Dscp => dscp(number),
            Shape::NodeDirection => direction(number).into(),
            Shape::TcpFlags => tcp_flags(positive),
            Shape::Errno => errno(number),
            _ => number.to_string(),
        }
    }
}

/// A value as a person reads it: lists joined by commas, directions by name.
pub(super) fn shown(value: &Value<'_>) -> String {
    let joined = |names: Vec<&str>| {
        names.into_iter().map(|name| if name.is_empty() { "None" } else { name }).collect::<Vec<_>>().join(",")
    };
    match value {
        Value::Names(list) => joined(list.iter().map(|interface| interface.name.as_str()).collect()),
        Value::Udns(list) => joined(list.iter().map(|interface| interface.udn.as_str()).collect()),
        Value::Directions(list) => joined(list.iter().map(|interface| if_direction(interface.direction)).collect()),
        value => {
            let mut text = Vec::new();
            value.append_text(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        }
    }
}

/// A drop's cause without what all of them begin with.
pub(crate) fn cause(name: &str) -> &str {
    name.trim_start_matches("SKB_DROP_REASON_")
}

/// The time of day, UTC.
pub(crate) fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| ABSENT.into(), |time| time.format("%H:%M:%S%.3f").to_string())
}

/// `250µs`, `1.25ms`, `2.5s`.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}ms", three_digits(micros as f64 / 1e3)),
        _ => format!("{}s", three_digits(micros as f64 / 1e6)),
    }
}

fn three_digits(number: f64) -> String {
    let places = if number < 9.995 { 2 } else { usize::from(number < 99.95) };
    let text = format!("{number:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A count in five characters.
pub(super) fn short(number: u64) -> String {
    match number {
        0..=99_999 => number.to_string(),
        _ => human::bytes(number).trim_end_matches('B').to_owned(),
    }
}

/// Name of an IP protocol (IANA).
pub(crate) fn protocol(number: i64) -> String {
    let name = match number {
        0 => "HOPOPT",
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPv4",
        6 => "TCP",
        17 => "UDP",
        33 => "DCCP",
        41 => "IPv6",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "IPv6-ICMP",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP",
        132 => "SCTP",
        136 => "UDPLite",
        _ => return number.to_string(),
    };
    name.into()
}

fn ethernet(etype: u16) -> String {
    match etype {
        0x0806 => "ARP".into(),
        0x88cc => "LLDP".into(),
        other => format!("{other:#06x}"),
    }
}

fn dscp(number: i64) -> String {
    let name = match number {
        0 => "Standard",
        8 => "Low-Priority Data",
        10 => "High-Throughput Data",
        16 => "OAM",
        18 => "Low-Latency Data",
        24 => "Broadcast Video",
        26 => "Multimedia Streaming",
        32 => "Real-Time Interactive",
        34 => "Multimedia Conferencing",
        40 => "Signaling",
        46 => "Telephony",
        48 => "Network Control",
        _ => return number.to_string(),
    };
    name.into()
}

fn direction(number: i64) -> &'static str {
    match number {
        0 => "Ingress",
        1 => "Egress",
        2 => "Inner",
        _ => ABSENT,
    }
}

fn if_direction(number: u8) -> &'static str {
    match number {
        0 => "Ingress",
        1 => "Egress",
        _ => "Both",
    }
}

/// Names of TCP flags, lowest bit first (RFC 9293), then the three joined ones of the agent.
pub(super) fn tcp_flags(flags: u64) -> String {
    const NAMES: [&str; 11] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "SYN-ACK", "FIN-ACK", "RST-ACK"];
    let set = NAMES.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, name)| *name);
    let names = set.collect::<Vec<_>>().join(",");
    if names.is_empty() { "none".into() } else { names }
}

fn errno(number: i64) -> String {
    match number {
        0 => "none".into(),
        2 => "no query".into(),
        110 => "no answer".into(),
        other => format!("errno {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::{Drops, Interface};

    #[test]
    fn values_look_as_in_the_contract() {
        let eth0 = |direction| Interface { name: "eth0".into(), direction, ..Interface::default() };
        let flow = Flow {
            end_ms: 1_709_741_962_017,
            proto: Some(58),
            dscp: Some(46),
            bytes: 10_140,
            packets: 123_456,
            rtt_ns: 1_234_000,
            interfaces: [eth0(0), eth0(1)].into_iter().collect(),
            drops: Some(Box::new(Drops {
                packets: 1,
                flags: 0x12,
                cause: "SKB_DROP_REASON_NO_SOCKET".into(),
                ..Drops::default()
            })),
            ..Flow::default()
        };
        for (field, text) in [
            ("TimeFlowEndMs", "16:19:22.017"),
            ("Proto", "IPv6-ICMP"),
            ("Dscp", "Telephony"),
            ("Bytes", "10.1KB"),
            ("Packets", "123K"),
            ("TimeFlowRttNs", "1.23ms"),
            ("Interfaces", "eth0,eth0"),
            ("IfDirections", "Ingress,Egress"),
            ("PktDropLatestDropCause", "NO_SOCKET"),
            ("PktDropLatestFlags", "SYN,ACK"),
            ("DnsName", "n/a"),
            ("SrcK8S_Name", "n/a"),
        ] {
            assert_eq!(by_field(field).unwrap().text(&flow), text, "{field}");
        }
        assert_eq!(["Udns", "SrcAddr"].map(|field| by_field(field).unwrap().text(&flow)), ["None,None", "n/a"]);
    }

    #[test]
    fn an_address_stands_for_a_name_that_nobody_knows() {
        let mac = Some([10, 88, 0, 0, 0, 1]);
        let flow = Flow { src_addr: "10.0.0.1".parse().ok(), dst_mac: mac, etype: 0x0806, ..Flow::default() };
        let text = |field| by_field(field).unwrap().text(&flow);
        assert_eq!(["SrcK8S_Name", "DstK8S_OwnerName", "Proto"].map(text), ["10.0.0.1", "0a:58:00:00:00:01", "ARP"]);
    }

    #[test]
    fn numbers_are_ordered_as_numbers() {
        let flow = |bytes| Flow { bytes, ..Flow::default() };
        assert!(by_field("Bytes").unwrap().compare(&flow(9), &flow(10)).is_lt());
        assert!(by_field("DnsName").unwrap().compare(&flow(9), &flow(10)).is_eq());
    }
}
