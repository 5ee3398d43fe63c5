//! The columns of the table, and how a flow looks in each.

use chrono::DateTime;
use netobserv_wire::Flow;

use crate::human;

/// One column.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Characters it needs.
    pub(super) width: u16,
    /// Share of the room that is left.
    pub(super) share: u16,
    pub(super) right: bool,
    pub(super) text: fn(&Flow) -> String,
}

/// From left to right; together with one blank between them they fill 80 characters.
pub(super) const COLUMNS: [Column; 7] = [
    Column { title: "Time (UTC)", width: 10, share: 0, right: false, text: time },
    Column { title: "Source", width: 21, share: 3, right: false, text: source },
    Column { title: "Destination", width: 21, share: 3, right: false, text: destination },
    Column { title: "Proto", width: 6, share: 0, right: false, text: protocol },
    Column { title: "Bytes", width: 6, share: 0, right: true, text: |flow| human::bytes(flow.bytes) },
    Column { title: "Pkts", width: 5, share: 0, right: true, text: |flow| short(flow.packets) },
    Column { title: "Iface", width: 5, share: 1, right: false, text: interfaces },
];

fn time(flow: &Flow) -> String {
    let time = i64::try_from(flow.end_ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(String::new, |time| time.format("%H:%M:%S").to_string())
}

fn source(flow: &Flow) -> String {
    end(flow.src_addr, flow.src_port, flow.src_mac)
}

fn destination(flow: &Flow) -> String {
    end(flow.dst_addr, flow.dst_port, flow.dst_mac)
}

/// Address and port; without an address, the MAC address.
fn end(address: Option<std::net::IpAddr>, port: Option<u16>, mac: Option<[u8; 6]>) -> String {
    match (address, port, mac) {
        (Some(address), Some(port), _) => std::net::SocketAddr::new(address, port).to_string(),
        (Some(address), None, _) => address.to_string(),
        (None, _, Some(mac)) => mac.map(|byte| format!("{byte:02x}")).join(":"),
        (None, _, None) => String::new(),
    }
}

fn protocol(flow: &Flow) -> String {
    match flow.proto {
        Some(1) => "ICMP".into(),
        Some(6) => "TCP".into(),
        Some(17) => "UDP".into(),
        Some(58) => "ICMPv6".into(),
        Some(132) => "SCTP".into(),
        Some(number) => number.to_string(),
        None => format!("{:#06x}", flow.etype),
    }
}

fn interfaces(flow: &Flow) -> String {
    flow.interfaces.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(",")
}

/// A count in five characters.
fn short(number: u64) -> String {
    match number {
        0..=99_999 => number.to_string(),
        _ => human::bytes(number).trim_end_matches('B').to_owned(),
    }
}

/// `text` in at most `width` characters.
pub(super) fn fit(text: String, width: usize) -> String {
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}
