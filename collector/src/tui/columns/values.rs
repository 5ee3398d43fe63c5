//! Values as a person reads them.

use chrono::DateTime;
use netobserv_wire::Value;

use super::ABSENT;
use crate::human;

/// A value as a person reads it: lists joined by commas, directions by name.
pub(in crate::tui) fn shown(value: &Value<'_>) -> String {
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
pub(in crate::tui) fn short(number: u64) -> String {
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

pub(super) fn ethernet(etype: u16) -> String {
    match etype {
        0x0806 => "ARP".into(),
        0x88cc => "LLDP".into(),
        other => format!("{other:#06x}"),
    }
}

pub(super) fn dscp(number: i64) -> String {
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

pub(super) fn direction(number: i64) -> &'static str {
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
pub(in crate::tui) fn tcp_flags(flags: u64) -> String {
    const NAMES: [&str; 11] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "SYN-ACK", "FIN-ACK", "RST-ACK"];
    let set = NAMES.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, name)| *name);
    let names = set.collect::<Vec<_>>().join(",");
    if names.is_empty() { "none".into() } else { names }
}

pub(super) fn errno(number: i64) -> String {
    match number {
        0 => "none".into(),
        2 => "no query".into(),
        110 => "no answer".into(),
        other => format!("errno {other}"),
    }
}
