//! The columns of the table: which field, under which title, how it looks, and what gives way when there is no room.

use std::sync::OnceLock;

use netobserv_wire::{Field, Flow, Value, field};

use super::draw::{fit, fit_middle};
use crate::human;

mod values;

pub(crate) use values::{cause, micros, protocol, time};
use values::{direction, dscp, errno, ethernet};
pub(super) use values::{short, shown, tcp_flags};

/// What names, and names of DNS and causes, get before columns that matter less are shown.
const WIDEST_NAME: u16 = 28;
const WIDEST_DNS: u16 = 40;
/// Characters of a time with and without its fraction.
const TIME: usize = 12;
const CLOCK: usize = 8;

/// What is shown of a field that a flow does not have.
pub(super) const ABSENT: &str = "n/a";

/// How values look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Time,
    Plain,
    Bytes,
    Count,
    DnsLatency,
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
    /// The least width that shows something.
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

static COLUMNS: [Column; 60] = [
    column("TimeFlowEndMs", "End Time", "Time", 0, 8, Shape::Time),
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
    column("SrcComm", "Src Process", "SrcProc", 0, 10, Shape::Plain),
    column("SrcPid", "Src PID", "SPID", 2, 6, Shape::Plain),
    column("DstComm", "Dst Process", "DstProc", 0, 10, Shape::Plain),
    column("DstPid", "Dst PID", "DPID", 2, 6, Shape::Plain),
    column("SrcContainer", "Src Container", "SrcCont", 3, 12, Shape::Plain),
    column("DstContainer", "Dst Container", "DstCont", 3, 12, Shape::Plain),
    column("SrcCgroup", "Src Cgroup", "SrcCgrp", 4, 12, Shape::Plain),
    column("DstCgroup", "Dst Cgroup", "DstCgrp", 4, 12, Shape::Plain),
    column("SrcSubnetLabel", "Src Subnet", "Src Subnet", 1, 10, Shape::Plain),
    column("DstSubnetLabel", "Dst Subnet", "Dst Subnet", 1, 10, Shape::Plain),
    column("SrcK8S_NetworkName", "Src Network", "Src Net", 6, 8, Shape::Plain),
    column("DstK8S_NetworkName", "Dst Network", "Dst Net", 6, 8, Shape::Plain),
    column("Interfaces", "Interfaces", "Ifaces", 3, 10, Shape::Plain),
    column("IfDirections", "Interface Dirs", "If Dirs", 7, 7, Shape::Plain),
    column("FlowDirection", "Node Dir", "Dir", 6, 7, Shape::NodeDirection),
    column("Proto", "L3 Protocol", "Proto", 0, 4, Shape::Protocol),
    column("Dscp", "L3 DSCP", "DSCP", 8, 8, Shape::Dscp),
    column("Bytes", "Bytes", "Bytes", 0, 6, Shape::Bytes),
    column("Packets", "Packets", "Pkts", 0, 5, Shape::Count),
    column("PktDropBytes", "Drop Bytes", "DrpBytes", 3, 6, Shape::Bytes),
    column("PktDropPackets", "Drop Packets", "Drops", 0, 5, Shape::Count),
    column("PktDropLatestState", "Drop State", "State", 2, 11, Shape::State),
    column("PktDropLatestDropCause", "Drop Cause", "Drop Cause", 0, 14, Shape::Cause),
    column("PktDropLatestFlags", "Drop Flags", "DrpFlags", 4, 8, Shape::TcpFlags),
    column("DnsId", "DNS Id", "DNS Id", 4, 6, Shape::Plain),
    column("DnsName", "DNS Name", "DNS Name", 0, 16, Shape::Plain),
    column("DnsLatencyUs", "DNS Latency", "Latency", 0, 7, Shape::DnsLatency),
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

impl Column {
    /// Whether values stand to the right.
    pub(super) fn is_right(&self) -> bool {
        matches!(self.shape, Shape::Bytes | Shape::Count | Shape::DnsLatency | Shape::Nanos)
    }

    /// Whether the flow has the field.
    pub(super) fn has_value(&self, flow: &Flow) -> bool {
        self.value(flow) != Value::Absent
    }

    pub(super) fn is_time(&self) -> bool {
        self.shape == Shape::Time
    }

    /// The width that its values should have before columns that matter less are shown.
    pub(super) fn wanted(&self) -> u16 {
        match (self.rank, self.shape) {
            (0, Shape::Plain) if self.field == "DnsName" => WIDEST_DNS,
            (0, Shape::Plain) => WIDEST_NAME,
            (0, Shape::Cause) => WIDEST_DNS,
            _ => self.least,
        }
    }

    /// A value in exactly so many characters: a time without its fraction, a name without its middle.
    pub(super) fn fit(&self, text: &str, width: usize) -> String {
        match self.shape {
            Shape::Time if width < TIME => fit(&text.chars().take(width.min(CLOCK)).collect::<String>(), width, false),
            Shape::Plain => fit_middle(text, width),
            _ => fit(text, width, self.is_right()),
        }
    }

    fn value<'a>(&self, flow: &'a Flow) -> Value<'a> {
        if self.shape == Shape::DnsLatency {
            let micros =
                flow.dns.as_ref().and_then(|dns| dns.latency_us.or(dns.latency_ms.map(|ms| ms.saturating_mul(1_000))));
            return micros.and_then(|micros| i64::try_from(micros).ok()).map_or(Value::Absent, Value::Int);
        }
        let source = self.source.get_or_init(|| field::by_name(self.field));
        source.map_or(Value::Absent, |field| field.get(flow))
    }

    /// What a cell shows.
    pub(super) fn text(&self, flow: &Flow) -> String {
        match (self.shape, self.value(flow)) {
            (_, Value::Absent) => self.instead(flow),
            (Shape::Plain, value) => shown(&value),
            // Of a flowlogs-pipeline: whole milliseconds are all that is known.
            (Shape::DnsLatency, Value::Int(micros))
                if flow.dns.as_ref().is_some_and(|dns| dns.latency_us.is_none()) =>
            {
                format!("{}ms", micros / 1_000)
            }
            (Shape::Cause, Value::Text(text)) => cause(text).to_owned(),
            (Shape::State, Value::Text(text)) => text.trim_start_matches("TCP_").to_owned(),
            (shape, Value::Int(number)) => shape.number(number),
            (_, value) => shown(&value),
        }
    }

    /// What is shown instead of a value that is missing: addresses for names, MAC addresses for addresses.
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
            Shape::DnsLatency => micros(positive),
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
    fn a_dns_latency_is_shown_as_exactly_as_it_is_known() {
        let flow = |latency_us, latency_ms| {
            let dns = netobserv_wire::flow::Dns { latency_us, latency_ms, ..Default::default() };
            Flow { dns: Some(Box::new(dns)), ..Flow::default() }
        };
        let column = by_field("DnsLatencyUs").unwrap();
        let (fast, slow) = (flow(Some(431), Some(0)), flow(Some(12_345), Some(12)));
        let (whole, none) = (flow(None, Some(0)), flow(None, None));
        let texts = [&fast, &slow, &whole, &none].map(|flow| column.text(flow));
        assert_eq!(texts, ["431µs", "12.3ms", "0ms", "n/a"]);
        assert!(column.compare(&fast, &slow).is_lt() && column.compare(&none, &whole).is_lt());
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
