//! Every conversation once, both directions: what the views Connections and Top are made of.
//!
//! The table is bounded. When it is full, half of it goes: first what is quiet, of that what is small. What it had is kept as one sum, so
//! that totals stay exact.

mod ends;
pub(in crate::tui) mod pace;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::RandomState;
use foldhash::quality::FixedState;
use netobserv_explain::traffic::is_copy_of_echo_reply;
use netobserv_wire::Flow;
use netobserv_wire::flow::{Processes, Side};

pub(in crate::tui) use ends::{End, Ends};
use pace::{Pace, ms};

/// Most conversations. One takes about 350 bytes.
const MOST: usize = 100_000;
/// Without packets for this long a conversation may make room for others.
const QUIET: Duration = Duration::from_secs(10);
/// Numbers of conversations have 53 bits; one that has none gets a number with this bit.
const OWN_NUMBER: u64 = 1 << 63;

/// TCP flags as in field `Flags`.
const FIN: u32 = 0x01;
const SYN: u32 = 0x02;
const RST: u32 = 0x04;
const ACK: u32 = 0x10;
const SYN_ACK: u32 = 0x100;
const TCP: u8 = 6;

/// Addresses, ports and protocol of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::tui) struct Key {
    pub(in crate::tui) src: Option<IpAddr>,
    pub(in crate::tui) dst: Option<IpAddr>,
    pub(in crate::tui) src_port: u16,
    pub(in crate::tui) dst_port: u16,
    pub(in crate::tui) proto: u8,
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tui) struct Sums {
    pub(in crate::tui) bytes: u64,
    pub(in crate::tui) packets: u64,
    pub(in crate::tui) drops: u64,
    pub(in crate::tui) dns_errors: u64,
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::tui) enum State {
    /// Asked for, without an answer yet.
    Asking,
    /// The server's machine refused it.
    Refused,
    Open,
    /// Packets go in one direction only.
    OneWay,
    /// An end broke it off.
    Reset,
    Closed,
}

/// One conversation, the client first.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tui) struct Connection {
    pub(in crate::tui) id: u64,
    /// From the client to the server.
    pub(in crate::tui) key: Key,
    /// To the server, and from it.
    pub(in crate::tui) sums: [Sums; 2],
    /// Numbers of client and server for [`Ends::get`].
    pub(in crate::tui) ends: [u32; 2],
    /// Records that were counted here.
    pub(in crate::tui) records: u32,
    /// The latest round-trip time, microseconds; 0 = not measured.
    pub(in crate::tui) rtt_us: u32,
    pub(in crate::tui) pace: Pace,
    /// Milliseconds since the start of the capture.
    first: u32,
    last: u32,
    /// OR of the TCP flags to the server, and from it.
    flags: [u32; 2],
    named: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::tui) struct Connections {
    list: Vec<Connection>,
    index: HashMap<u64, u32, RandomState>,
    pub(in crate::tui) ends: Ends,
    /// Conversations that were let go, and what they had.
    pub(in crate::tui) let_go: (u64, Sums),
}

impl Key {
    pub(in crate::tui) fn of(flow: &Flow) -> Self {
        Self {
            src: flow.src_addr,
            dst: flow.dst_addr,
            src_port: flow.src_port.unwrap_or(0),
            dst_port: flow.dst_port.unwrap_or(0),
            proto: flow.proto.unwrap_or(0),
        }
    }

    /// The other direction.
    pub(in crate::tui) fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..self }
    }

    /// Whether this is the client's direction, as the ports suggest: a server has the lower port, and many are no client.
    fn to_server(self) -> bool {
        let is_many = |end: Option<IpAddr>| end.is_some_and(|address| address.is_multicast());
        (is_many(self.src), self.dst_port, self.dst) <= (is_many(self.dst), self.src_port, self.src)
    }
}

/// The number of a record's conversation.
pub(in crate::tui) fn number(flow: &Flow) -> u64 {
    match flow.conversation {
        Some(conversation) if conversation.id > 0 => conversation.id,
        _ => {
            let key = Key::of(flow);
            let mac = |mac: Option<[u8; 6]>| mac.filter(|_| key.src.is_none());
            let macs = [mac(flow.src_mac), mac(flow.dst_mac)];
            let both = (key.min(key.reversed()), macs.iter().min(), macs.iter().max(), flow.etype);
            FixedState::with_seed(0).hash_one(both) | OWN_NUMBER
        }
    }
}

/// Whether a record goes to the server.
fn to_server(flow: &Flow, key: Key) -> bool {
    flow.conversation.and_then(|conversation| conversation.from_client).unwrap_or_else(|| key.to_server())
}

/// Packets that were dropped. An echo reply that reaches its program is not lost: the kernel drops its own copy of it.
fn lost(flow: &Flow) -> u64 {
    let is_copy =
        |cause: &str| is_copy_of_echo_reply(flow.proto, flow.icmp_type, cause.trim_start_matches("SKB_DROP_REASON_"));
    flow.drops.as_ref().filter(|drops| !is_copy(&drops.cause)).map_or(0, |drops| drops.packets)
}

impl Sums {
    fn of(flow: &Flow) -> Self {
        Self {
            bytes: flow.bytes,
            packets: flow.packets,
            drops: lost(flow),
            dns_errors: crate::tui::data::dns_error(flow).into(),
        }
    }

    pub(in crate::tui) fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.packets = self.packets.saturating_add(other.packets);
        self.drops = self.drops.saturating_add(other.drops);
        self.dns_errors = self.dns_errors.saturating_add(other.dns_errors);
    }
}

impl Connection {
    /// Both directions.
    pub(in crate::tui) fn total(&self) -> Sums {
        let mut total = self.sums[0];
        total.add(self.sums[1]);
        total
    }

    pub(in crate::tui) fn last(&self) -> Duration {
        Duration::from_millis(self.last.into())
    }

    /// Since its first record came.
    pub(in crate::tui) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.first.into()))
    }

    pub(in crate::tui) fn state(&self) -> State {
        let [to, from] = self.flags;
        let answered = self.sums[1].packets > 0;
        if self.key.proto != TCP {
            return if answered && self.sums[0].packets > 0 { State::Open } else { State::OneWay };
        }
        let established = from & SYN_ACK != 0 || to & ACK != 0 && to & SYN != 0 && to & RST == 0;
        match () {
            () if to & SYN != 0 && !established && from & RST != 0 => State::Refused,
            () if to & SYN != 0 && !established && !answered => State::Asking,
            () if (to | from) & RST != 0 && (to | from) & FIN == 0 => State::Reset,
            () if (to | from) & (FIN | RST) != 0 => State::Closed,
            () => State::Open,
        }
    }

    /// The other end turns out to be the client.
    fn turn(&mut self) {
        self.key = self.key.reversed();
        self.sums.swap(0, 1);
        self.ends.swap(0, 1);
        self.flags.swap(0, 1);
    }

    fn add(&mut self, flow: &Flow, now: Duration) {
        let key = Key::of(flow);
        let to_server = to_server(flow, key);
        if (to_server && key == self.key.reversed() || !to_server && key == self.key) && key != key.reversed() {
            let is_known = flow.conversation.is_some_and(|conversation| conversation.from_client.is_some());
            if is_known {
                self.turn();
            }
        }
        let direction = match () {
            () if key == self.key => 0,
            () if key == self.key.reversed() => 1,
            () => usize::from(!to_server),
        };
        self.sums[direction].add(Sums::of(flow));
        self.flags[direction] |= flow.flags.unwrap_or(0);
        self.records = self.records.saturating_add(1);
        self.last = ms(now);
        if flow.rtt_ns > 0 {
            self.rtt_us = u32::try_from(flow.rtt_ns / 1_000).unwrap_or(u32::MAX).max(1);
        }
        self.pace.add(flow.bytes, direction, flow.end_ms.saturating_sub(flow.start_ms), now);
    }
}

impl Connections {
    pub(in crate::tui) fn add(&mut self, flow: &Flow, now: Duration) {
        if self.list.len() >= MOST {
            self.let_half_go(now);
        }
        let id = number(flow);
        let at = *self.index.entry(id).or_insert_with(|| {
            let key = Key::of(flow);
            let key = if to_server(flow, key) { key } else { key.reversed() };
            let new = Connection { id, key, first: ms(now), ends: [ends::UNKNOWN; 2], ..Connection::default() };
            self.list.push(new);
            (self.list.len() - 1) as u32
        });
        let Some(connection) = self.list.get_mut(at as usize) else { return };
        connection.add(flow, now);
        let is_new = connection.records == 1;
        let has_names = flow.k8s.is_some() || flow.processes.is_some();
        if is_new || (has_names && !connection.named) {
            connection.named = has_names;
            let is_client = Key::of(flow) != connection.key.reversed();
            let sides = if is_client { [Side::Src, Side::Dst] } else { [Side::Dst, Side::Src] };
            connection.ends = sides.map(|side| self.ends.number(flow, side));
        }
    }

    pub(in crate::tui) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.list.iter()
    }

    pub(in crate::tui) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.list.iter_mut()
    }

    pub(in crate::tui) fn get(&self, id: u64) -> Option<&Connection> {
        self.index.get(&id).and_then(|at| self.list.get(*at as usize))
    }

    /// Client and server of a conversation.
    pub(in crate::tui) fn ends_of(&self, connection: &Connection) -> [Option<&End>; 2] {
        connection.ends.map(|number| self.ends.get(number))
    }

    fn let_half_go(&mut self, now: Duration) {
        let worth = |one: &Connection| (one.last() + QUIET >= now, one.total().bytes);
        let mut all: Vec<_> = self.list.iter().map(worth).collect();
        let half = all.len() / 2;
        let (_, median, _) = all.select_nth_unstable(half);
        let (median, gone, mut room) = (*median, &mut self.let_go, half);
        self.list.retain(|one| {
            let stays = worth(one) > median || (worth(one) == median && room > half / 2);
            if stays {
                room = room.saturating_sub(1);
            } else {
                gone.0 += 1;
                gone.1.add(one.total());
            }
            stays
        });
        self.index.clear();
        self.index.extend(self.list.iter().enumerate().map(|(at, one)| (one.id, at as u32)));
    }
}

/// The process at an end of a record.
fn process(processes: &Processes, side: Side) -> &str {
    match side {
        Side::Src => &processes.src.comm,
        Side::Dst => &processes.dst.comm,
    }
}

#[cfg(test)]
mod tests;
