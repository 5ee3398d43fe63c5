//! The columns of the table of conversations.

use std::cmp::Ordering;

use super::data::Talk;
use crate::human;
use crate::tui::columns::{self, short};

/// A column, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Ends,
    Protocol,
    Packets,
    Bytes,
    Sent,
    Received,
    Drops,
    Resent,
    First,
    Last,
}

impl Column {
    pub(super) const ALL: [Self; 10] = [
        Self::Ends,
        Self::Protocol,
        Self::Packets,
        Self::Bytes,
        Self::Sent,
        Self::Received,
        Self::Drops,
        Self::Resent,
        Self::First,
        Self::Last,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Ends => "Client → server",
            Self::Protocol => "Proto",
            Self::Packets => "Packets",
            Self::Bytes => "Bytes",
            Self::Sent => "Sent",
            Self::Received => "Received",
            Self::Drops => "Drops",
            Self::Resent => "Resent",
            Self::First => "First seen",
            Self::Last => "Last seen",
        }
    }

    /// Characters; the ends take what is left.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Ends => 0,
            Self::Protocol => 9,
            Self::Packets | Self::Bytes | Self::Sent => 8,
            Self::Received => 9,
            Self::Drops => 6,
            Self::Resent => 7,
            Self::First | Self::Last => 12,
        }
    }

    /// Characters of the screen from which on it is shown.
    pub(super) fn least_screen(self) -> u16 {
        match self {
            Self::Ends | Self::Protocol | Self::Packets | Self::Bytes | Self::Last => 0,
            Self::Drops => 80,
            Self::Resent => 100,
            Self::Sent | Self::Received => 140,
            Self::First => 150,
        }
    }

    /// Numbers stand to the right.
    pub(super) fn is_right(self) -> bool {
        !matches!(self, Self::Ends | Self::Protocol | Self::First | Self::Last)
    }

    pub(super) fn text(self, talk: &Talk, addresses: bool) -> String {
        match self {
            Self::Ends => ends(talk, addresses),
            Self::Protocol => protocol(talk),
            Self::Packets => short(talk.flow.packets),
            Self::Bytes => human::bytes(talk.flow.bytes),
            Self::Sent => human::bytes(talk.bytes[0]),
            Self::Received => human::bytes(talk.bytes[1]),
            Self::Drops => short(drops(talk)),
            Self::Resent => short(talk.resent),
            Self::First => columns::time(talk.first_ns / 1_000_000),
            Self::Last => columns::time(talk.last_ns / 1_000_000),
        }
    }

    /// Whether a cell shows something that went wrong.
    pub(super) fn is_alarm(self, talk: &Talk) -> bool {
        matches!((self, drops(talk), talk.resent), (Self::Drops, 1.., _) | (Self::Resent, _, 1..))
    }

    pub(super) fn compare(self, a: &Talk, b: &Talk) -> Ordering {
        match self {
            Self::Ends => (a.flow.src_addr, a.flow.src_port).cmp(&(b.flow.src_addr, b.flow.src_port)),
            Self::Protocol => (a.flow.proto, a.flow.etype).cmp(&(b.flow.proto, b.flow.etype)),
            Self::Packets => a.flow.packets.cmp(&b.flow.packets),
            Self::Bytes => a.flow.bytes.cmp(&b.flow.bytes),
            Self::Sent => a.bytes[0].cmp(&b.bytes[0]),
            Self::Received => a.bytes[1].cmp(&b.bytes[1]),
            Self::Drops => drops(a).cmp(&drops(b)),
            Self::Resent => a.resent.cmp(&b.resent),
            Self::First => a.first_ns.cmp(&b.first_ns),
            Self::Last => a.last_ns.cmp(&b.last_ns),
        }
    }
}

fn drops(talk: &Talk) -> u64 {
    talk.flow.drops.as_ref().map_or(0, |drops| drops.packets)
}

/// The protocol of a conversation, that of the link where there is no IP.
pub(super) fn protocol(talk: &Talk) -> String {
    columns::by_field("Proto").map_or_else(String::new, |column| column.text(&talk.flow))
}

/// Both ends, by name where they have one.
pub(super) fn ends(talk: &Talk, addresses: bool) -> String {
    let [src, dst] = [0, 1].map(|side| end(talk, side, addresses));
    format!("{src} → {dst}")
}

/// One end: 0 is the client.
pub(super) fn end(talk: &Talk, side: usize, addresses: bool) -> String {
    let flow = &talk.flow;
    let (address, port) = [(flow.src_addr, flow.src_port), (flow.dst_addr, flow.dst_port)][side];
    let endpoint = flow.k8s.as_ref().map(|k8s| [&k8s.src, &k8s.dst][side]);
    let holder = endpoint.and_then(|end| end.holder.as_deref()).filter(|_| !addresses);
    let name = match (holder, address) {
        (Some(holder), _) if holder.namespace.is_empty() => holder.name.to_string(),
        (Some(holder), _) => format!("{}/{}", holder.namespace, holder.name),
        (None, Some(std::net::IpAddr::V6(address))) => format!("[{address}]"),
        (None, Some(address)) => address.to_string(),
        (None, None) => columns::ABSENT.into(),
    };
    port.map_or(name.clone(), |port| format!("{name}:{port}"))
}

/// All that a filter searches, in small letters.
pub(super) fn searched(talk: &Talk) -> String {
    let names = ends(talk, false);
    let columns = Column::ALL.map(|column| column.text(talk, true)).join(" ");
    let cause = talk.flow.drops.as_ref().map_or("", |drops| columns::cause(&drops.cause));
    format!("{names} {columns} {cause}").to_lowercase()
}
