//! Connections of TCP that were not answered, refused, or broken off.
//!
//! Most connections leave nothing here: only a SYN that is not followed by an ACK in its own record, a FIN and a RST are noted.

use std::collections::BTreeMap;
use std::net::IpAddr;

use foldhash::HashMap;

use super::{Tally, between};
use crate::finding::{Certainty, Finding, Kind, some};
use crate::observe::{ACK, FIN, Observation, Party, RST, SYN, SYN_ACK, Seen};

/// Most connections that are noted at the same time.
const MOST: usize = 32_768;
/// Most groups of connections with the same ends.
const MOST_GROUPS: usize = 4_096;
/// Room is made no more often than this, in milliseconds.
const ROOM_MS: u64 = 500;
/// A SYN that has no answer after this time, in milliseconds.
const UNANSWERED_MS: u64 = 2_000;
/// A client that opens a connection and resets it at once looks whether the port is open: SYN, ACK, RST.
const PROBE_PACKETS: u64 = 3;

#[derive(Debug, Default)]
pub(super) struct Connections {
    open: HashMap<Key, Connection>,
    groups: BTreeMap<Group, Tally>,
    now_ms: u64,
    /// When room was last made: under a flood it is not made for each record.
    room_ms: u64,
    pub(super) beyond: u64,
}

/// A connection: by its number, or by its client's and server's address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Number(u64),
    Ends([(Option<IpAddr>, Option<u16>); 2]),
}

#[derive(Debug, Default)]
struct Connection {
    client: Party,
    server: Party,
    port: Option<u16>,
    tally: Tally,
    asked: u64,
    answered: bool,
    ended: bool,
    /// Who sent a RST: the client, the server.
    reset_by: [bool; 2],
    probe: bool,
}

/// What is reported together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    outcome: Outcome,
    client: Party,
    server: Party,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Unanswered,
    Refused,
    ResetByClient,
    ResetByServer,
}

impl Connections {
    pub(super) fn add(&mut self, seen: &Observation<'_>) {
        self.now_ms = self.now_ms.max(seen.end_ms);
        let flags = seen.flags;
        let asks = flags & SYN != 0 && flags & (SYN_ACK | ACK) == 0 && seen.packets > 0;
        let key = key(seen);
        if !asks && flags & (RST | FIN) == 0 && (self.open.is_empty() || !self.open.contains_key(&key)) {
            return;
        }
        if self.open.len() >= MOST && !self.open.contains_key(&key) {
            self.make_room();
            if self.open.len() >= MOST {
                self.beyond += 1;
                return;
            }
        }
        let (client, server) = seen.client_and_server();
        let connection = self.open.entry(key).or_insert_with(|| Connection::new(client, server));
        if asks {
            // The record of a SYN shows best which end is the client.
            (connection.client, connection.server, connection.port) = (client.party(), server.party(), server.port);
        }
        connection.add(seen, asks);
    }

    pub(super) fn until(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Lets go of connections that are over.
    fn make_room(&mut self) {
        if self.now_ms < self.room_ms + ROOM_MS {
            return;
        }
        self.room_ms = self.now_ms;
        let over = |one: &Connection| one.tally.last_ms + UNANSWERED_MS < self.now_ms;
        let (now, groups) = (self.now_ms, &mut self.groups);
        self.open.retain(|_, one| {
            if over(one) {
                note(groups, one, now);
            }
            !over(one)
        });
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut groups = self.groups.clone();
        self.open.values().for_each(|one| note(&mut groups, one, self.now_ms));
        groups.into_iter().map(|(group, tally)| finding(group, tally)).collect()
    }
}

/// The same for both directions.
fn key(seen: &Observation<'_>) -> Key {
    if seen.conversation > 0 {
        return Key::Number(seen.conversation);
    }
    let mut ends = [(seen.src.address, seen.src.port), (seen.dst.address, seen.dst.port)];
    ends.sort_unstable();
    Key::Ends(ends)
}

fn note(groups: &mut BTreeMap<Group, Tally>, one: &Connection, now_ms: u64) {
    let Some((outcome, count)) = one.outcome(now_ms) else { return };
    let group = Group { outcome, client: one.client.clone(), server: one.server.clone(), port: one.port };
    if groups.len() < MOST_GROUPS || groups.contains_key(&group) {
        groups.entry(group).or_default().join(&Tally { count, ..one.tally });
    }
}

impl Connection {
    fn new(client: Seen<'_>, server: Seen<'_>) -> Self {
        Self { client: client.party(), server: server.party(), port: server.port, ..Self::default() }
    }

    fn add(&mut self, seen: &Observation<'_>, asks: bool) {
        self.tally.add(1, seen);
        let by_client =
            seen.from_client.unwrap_or(seen.src.address == self.client.address && seen.dst.port == self.port);
        let resets = seen.flags & RST != 0;
        if asks && !seen.duplicate {
            self.asked += seen.packets;
        }
        self.answered |= match by_client {
            // Who opens a connection acknowledges every answer; a RST acknowledges too.
            true => seen.flags & ACK != 0 && !(resets && seen.flags & SYN == 0),
            false => seen.packets > 0 && (!resets || seen.flags & (SYN_ACK | FIN) != 0),
        };
        self.ended |= seen.flags & FIN != 0;
        self.reset_by[usize::from(!by_client)] |= resets;
        self.probe |= by_client && resets && seen.flags & SYN != 0 && seen.packets <= PROBE_PACKETS;
    }

    fn outcome(&self, now_ms: u64) -> Option<(Outcome, u64)> {
        match (self.asked, self.answered, self.reset_by) {
            (1.., false, [_, true]) => Some((Outcome::Refused, 1)),
            (1.., false, [false, false]) if self.tally.first_ms + UNANSWERED_MS <= now_ms => {
                Some((Outcome::Unanswered, self.asked))
            }
            _ if self.ended || self.probe => None,
            (_, true, [true, _]) | (0, false, [true, false]) => Some((Outcome::ResetByClient, 1)),
            (_, true, [_, true]) | (0, false, [false, true]) => Some((Outcome::ResetByServer, 1)),
            _ => None,
        }
    }
}

fn finding(group: Group, tally: Tally) -> Finding {
    let Group { outcome, client, server, port } = group;
    let at = format!("{server} on TCP port {}", port.unwrap_or_default());
    let connections = some(tally.count, "connection", "connections");
    let (kind, sentence, evidence, remedy, flags) = match outcome {
        Outcome::Unanswered => (
            Kind::Unanswered,
            format!("{client} asked {at} for a connection and got no answer."),
            format!("{} (SYN) and no packet back", some(tally.count, "request", "requests")),
            "Check that the server's machine is up and reachable, and which filter stands between: a firewall, a security group, a NetworkPolicy.",
            "Flags & 2",
        ),
        Outcome::Refused => (
            Kind::Refused,
            format!("{at} refused {connections} from {client}: nothing listens there, or a filter rejects."),
            format!("{connections} answered by a reset (RST) instead of SYN+ACK"),
            "Start the server, or use the port it listens on: 'ss -ltn' on its machine lists them; a server that listens on 127.0.0.1 only refuses others too.",
            "Flags & 6",
        ),
        Outcome::ResetByClient => (
            Kind::Reset,
            format!("{client} broke off {connections} to {at}."),
            format!("{connections} with a reset (RST) from the client, and no end (FIN) from either side"),
            "Look at the client's log and timeouts: it gave up, crashed, or closed with data unread.",
            "Flags & 4",
        ),
        Outcome::ResetByServer => (
            Kind::Reset,
            format!("{at} broke off {connections} from {client}."),
            format!("{connections} with a reset (RST) from the server, and no end (FIN) from either side"),
            "Look at the server's log at that time: it crashed, was restarted, ran into a limit, or its idle timeout is shorter than the client's.",
            "Flags & 4",
        ),
    };
    let records = format!("{} AND {flags}", between(&client, &server, port));
    Finding {
        kind,
        sentence,
        evidence: vec![evidence],
        certainty: Certainty::Seen,
        remedy: remedy.into(),
        change: String::new(),
        client,
        server,
        protocol: Some(crate::observe::TCP),
        port,
        asked: String::new(),
        count: tally.count,
        first_ms: tally.first_ms,
        last_ms: tally.last_ms,
        records,
    }
}
