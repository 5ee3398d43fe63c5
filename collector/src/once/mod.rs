//! Each packet counts once, however many nodes have seen it.
//!
//! The rule: **the client's node counts a conversation, in both directions**. What the application sent and got is what passed there;
//! the service that it asked for and the pod that answered are both known there. If the client is on no captured node, the server's
//! node counts, and if neither is, the first node that reports. All other records of the same packets are kept, and marked as
//! duplicates. (Packets that one node sees under two tuples are marked by its agent: [`Duplicate::Translation`].)
//!
//! Records of the two nodes come in any order. One that should be a duplicate waits, for little more than a window, until the node that
//! is to count has reported the conversation. If it does not, because its filters or interfaces leave the conversation out, the record
//! counts: the rule alone never makes packets disappear. When a node's agent starts or ends, another node may count from that moment
//! on; up to one window of conversations in progress then counts twice or not at all.
//!
//! The difference between what both nodes counted is the loss between them, see [`between`](crate::counts::between).

pub(crate) mod conversation;
mod nodes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use netobserv_wire::Flow;
use netobserv_wire::field::Side;
use netobserv_wire::flow::{Conversation, Duplicate, HolderRef, Xlat};

use crate::counts::Counts;
use crate::counts::between::Between;
use crate::room::Room;
use nodes::{Nodes, Number};

/// Conversations that are remembered; 80 bytes each.
const MOST: usize = 262_144;
/// When there are more, those without a packet for this long are forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// Conversations whose server does not have the lower port.
const MOST_INVERTED: usize = 65_536;
/// Rows that wait.
const MOST_WAITING: usize = 8_192;
/// A node may report so much later than its window ends.
const LATE: Duration = Duration::from_millis(500);
/// How often waiting rows are looked through.
const PERIOD: Duration = Duration::from_millis(100);
/// A conversation without a packet for this long before the end had none on its way.
const QUIET_MS: u64 = 2_000;
/// `FlowDirection` of what stays within a node.
const WITHIN: u8 = 2;

/// Decides what counts.
#[derive(Debug)]
pub struct Once {
    counts: Arc<Counts>,
    /// A query may keep the records of one node and not those of the other.
    selects: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    started: Instant,
    nodes: Nodes,
    conversations: HashMap<u64, Entry, RandomState>,
    /// Conversations that were opened by the end with the lower port.
    inverted: HashSet<u64, RandomState>,
    waiting: VecDeque<Waiting>,
    looked: Instant,
    /// What is known of conversations that were forgotten.
    past: Vec<Between>,
}

/// A conversation that nodes have reported.
#[derive(Debug, Default)]
struct Entry {
    /// The node that counts.
    owner: Number,
    /// The server's node, if it is another one.
    server: Option<Number>,
    /// When the owner reported it last, ms since the start.
    reported_ms: u32,
    /// Latest packet, ms since 1970.
    last_ms: u64,
    /// Packets to the client and to the server that the owner has seen.
    counted: [u64; 2],
    /// The same of the server's node.
    at_server: [u64; 2],
    /// Most packets in a record.
    most: u64,
    /// Both nodes have seen all of it.
    complete: bool,
    /// Nothing but a loss explains that one node has not seen it at all.
    plain: bool,
}

/// A record that should not count, while the one that should has not come.
#[derive(Debug)]
struct Waiting {
    row: Flow,
    at: Number,
    since: Instant,
    room: Room,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Counts,
    Counted(Duplicate),
    Unknown,
}

impl Once {
    /// For the agents that `counts` knows. `selects`: a query chooses among records.
    pub fn new(counts: Arc<Counts>, selects: bool) -> Self {
        let now = Instant::now();
        let state = State {
            started: now,
            nodes: Nodes::default(),
            conversations: HashMap::default(),
            inverted: HashSet::default(),
            waiting: VecDeque::new(),
            looked: now,
            past: Vec::new(),
        };
        Self { counts, selects, state: Mutex::new(state) }
    }

    /// Sets the conversation of each row.
    pub fn identify(&self, rows: &mut [Flow]) {
        let mut state = self.state();
        rows.iter_mut().for_each(|row| state.identify(row));
    }

    /// Marks rows that another record counts. Rows for which that is not known yet are taken out and wait; rows of earlier calls for
    /// which it is known now are added, with their places. `node` sent the rows; empty = not known.
    pub fn mark(&self, rows: &mut Vec<Flow>, room: &mut Room, node: &str, now: Instant) {
        if node.is_empty() {
            return;
        }
        let mut state = self.state();
        state.refresh(&self.counts, now);
        let Some(at) = state.nodes.number(node).filter(|_| state.nodes.are_several()) else { return };
        let mut kept = 0;
        for index in 0..rows.len() {
            let verdict = state.judge(&rows[index], at, now, !self.selects);
            if let (Verdict::Unknown, Some(room)) = (verdict, state.room_to_wait(room)) {
                let row = std::mem::take(&mut rows[index]);
                state.waiting.push_back(Waiting { row, at, since: now, room });
                continue;
            }
            // No room to wait: the other node is watched, so it counts the packets.
            let duplicate = match verdict {
                Verdict::Counts => None,
                Verdict::Counted(duplicate) => Some(duplicate),
                Verdict::Unknown => Some(Duplicate::Server),
            };
            rows[index].duplicate = rows[index].duplicate.or(duplicate);
            rows.swap(kept, index);
            kept += 1;
        }
        rows.truncate(kept);
        state.release(now, rows, room, false);
    }

    /// Adds the rows for which it is known now whether they count; all of them at the `end`.
    pub fn release(&self, rows: &mut Vec<Flow>, room: &mut Room, now: Instant, end: bool) {
        let mut state = self.state();
        state.refresh(&self.counts, now);
        state.release(now, rows, room, end);
    }

    /// What both nodes of conversations have seen, at the end.
    pub fn between(&self) -> Vec<Between> {
        self.between_at(chrono::Utc::now().timestamp_millis() as u64)
    }

    fn between_at(&self, end_ms: u64) -> Vec<Between> {
        let state = self.state();
        let all = state.conversations.iter();
        let all = all.flat_map(|(id, entry)| entry.between(*id, &state.nodes, end_ms));
        state.past.iter().cloned().chain(all).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refresh(&mut self, counts: &Counts, now: Instant) {
        for gone in self.nodes.refresh(counts, now, chrono::Utc::now().timestamp_millis() as u64) {
            self.is_gone(gone);
        }
    }

    fn identify(&mut self, row: &mut Flow) {
        let Some(shown) = conversation::shown(row) else { return };
        let from_client = match (shown.seen, shown.guessed) {
            (Some(seen), Some(guessed)) => {
                if seen == guessed {
                    self.inverted.remove(&shown.id);
                } else if self.inverted.len() < MOST_INVERTED {
                    self.inverted.insert(shown.id);
                }
                Some(seen)
            }
            (Some(seen), None) => Some(seen),
            (None, guessed) => guessed.map(|guessed| guessed != self.inverted.contains(&shown.id)),
        };
        row.conversation = Some(Conversation { id: shown.id, from_client });
    }

    fn judge(&mut self, row: &Flow, at: Number, now: Instant, plain: bool) -> Verdict {
        let Some(conversation) = row.conversation.filter(|_| row.duplicate.is_none()) else { return Verdict::Counts };
        if row.k8s.as_ref().is_some_and(|k8s| k8s.flow_direction == Some(WITHIN)) {
            return Verdict::Counts;
        }
        let to_server = conversation.from_client.unwrap_or(true);
        let hosts = hosts(row, to_server);
        let [client, server] = hosts.map(|host| self.nodes.watched(&host?.host_name, row.start_ms));
        let counts = client.or(server);
        let (fresh, now_ms) = (self.patience(), self.elapsed_ms(now));
        let Some(entry) = self.conversations.get_mut(&conversation.id) else {
            if counts.is_some_and(|counts| counts != at) {
                return Verdict::Unknown;
            }
            self.make_room(now_ms);
            let server = server.filter(|server| *server != at);
            let sees_all = |node| self.nodes.sees_all(node, row.start_ms);
            let complete = client == Some(at) && row.sampling <= 1 && sees_all(at) && server.is_some_and(sees_all);
            let plain = plain && row.xlat.is_none() && row.origin.is_none();
            let mut entry = Entry { owner: at, server, complete, plain, ..Entry::default() };
            entry.count(row, to_server, now_ms);
            self.conversations.insert(conversation.id, entry);
            return Verdict::Counts;
        };
        if entry.owner == at || counts == Some(at) {
            let counted = entry.owner != at && entry.has_counted(row);
            entry.complete &= entry.owner == at;
            entry.owner = at;
            if counted {
                entry.reported_ms = now_ms;
                return Verdict::Counted(Duplicate::Server);
            }
            entry.count(row, to_server, now_ms);
            return Verdict::Counts;
        }
        let age = Duration::from_millis(now_ms.saturating_sub(entry.reported_ms).into());
        if age > fresh || self.nodes.ended_before(entry.owner, row.start_ms) {
            return Verdict::Unknown;
        }
        if server == Some(at) {
            entry.server = server;
            entry.at_server[usize::from(to_server)] += row.packets;
            entry.seen(row);
            return Verdict::Counted(Duplicate::Server);
        }
        Verdict::Counted(Duplicate::Forwarder)
    }

    /// A place for a row that waits.
    fn room_to_wait(&self, room: &mut Room) -> Option<Room> {
        if self.waiting.len() < MOST_WAITING { room.split(1) } else { None }
    }

    fn release(&mut self, now: Instant, rows: &mut Vec<Flow>, room: &mut Room, end: bool) {
        if now < self.looked + PERIOD && !end {
            return;
        }
        self.looked = now;
        let patience = self.patience();
        for waiting in std::mem::take(&mut self.waiting) {
            match self.judge(&waiting.row, waiting.at, now, false) {
                Verdict::Unknown if now < waiting.since + patience && !end => self.waiting.push_back(waiting),
                verdict => self.let_go(waiting, verdict, now, rows, room),
            }
        }
    }

    /// How long the report of another node may take.
    fn patience(&self) -> Duration {
        self.nodes.window() * 2 + LATE
    }

    /// Since the start.
    fn elapsed_ms(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.started).as_millis() as u32
    }

    fn let_go(
        &mut self,
        Waiting { mut row, at, room: places, .. }: Waiting,
        verdict: Verdict,
        now: Instant,
        rows: &mut Vec<Flow>,
        room: &mut Room,
    ) {
        row.duplicate = match (verdict, row.conversation) {
            (Verdict::Counted(duplicate), _) => Some(duplicate),
            (Verdict::Unknown, Some(conversation)) => self.take_over(&row, conversation, at, now),
            _ => None,
        };
        room.join(places);
        rows.push(row);
    }

    /// The node that should count has not reported the conversation: from now on this one counts, unless the other has counted
    /// these packets.
    fn take_over(&mut self, row: &Flow, conversation: Conversation, at: Number, now: Instant) -> Option<Duplicate> {
        let now_ms = self.elapsed_ms(now);
        self.make_room(now_ms);
        let entry = self.conversations.entry(conversation.id).or_default();
        let counted = entry.owner != at && entry.has_counted(row);
        (entry.owner, entry.complete) = (at, false);
        if counted {
            return Some(Duplicate::Server);
        }
        entry.count(row, conversation.from_client.unwrap_or(true), now_ms);
        None
    }

    fn make_room(&mut self, now_ms: u32) {
        if self.conversations.len() < MOST {
            return;
        }
        let (end_ms, idle) = (u64::MAX, IDLE.as_millis() as u32);
        let (nodes, past) = (&self.nodes, &mut self.past);
        self.conversations.retain(|id, entry| {
            let stays = now_ms.saturating_sub(entry.reported_ms) < idle;
            if !stays {
                past.extend(entry.between(*id, nodes, end_ms).into_iter().filter(|between| between.lost() > 0));
            }
            stays
        });
        self.past.truncate(MOST);
        if self.conversations.len() >= MOST {
            // The next records decide again who counts; what was lost of these conversations is not known.
            self.conversations.clear();
        }
    }

    fn is_gone(&mut self, node: Number) {
        let touched = self.conversations.values_mut();
        touched
            .filter(|entry| entry.owner == node || entry.server == Some(node))
            .for_each(|entry| entry.complete = false);
    }
}

impl Entry {
    fn count(&mut self, row: &Flow, to_server: bool, now_ms: u32) {
        self.counted[usize::from(to_server)] += row.packets;
        self.reported_ms = now_ms;
        self.seen(row);
    }

    /// Whether most of the time of a record is before the latest packet that was counted.
    fn has_counted(&self, row: &Flow) -> bool {
        self.last_ms >= row.start_ms && self.last_ms - row.start_ms >= row.end_ms.saturating_sub(self.last_ms)
    }

    fn seen(&mut self, row: &Flow) {
        self.last_ms = self.last_ms.max(row.end_ms);
        self.most = self.most.max(row.packets);
    }

    /// Packets sent and arrived in each direction, if both nodes saw all of it.
    fn between(&self, conversation: u64, nodes: &Nodes, end_ms: u64) -> Vec<Between> {
        let Some(server) = self.server.filter(|_| self.complete) else { return Vec::new() };
        if self.at_server == [0; 2] && !self.plain {
            return Vec::new();
        }
        let unsure = if self.last_ms + QUIET_MS <= end_ms { 0 } else { self.most * 2 };
        let one = |to_server, from, to, sent, arrived| Between {
            conversation,
            to_server,
            from: nodes.name(from).clone(),
            to: nodes.name(to).clone(),
            sent,
            arrived,
            unsure,
        };
        let [to_client, to_server] = [0, 1].map(|way| (self.counted[way], self.at_server[way]));
        let there = one(true, self.owner, server, to_server.0, to_server.1);
        vec![there, one(false, server, self.owner, to_client.1, to_client.0)]
    }
}

/// Who is at the client's end and at the server's, as far as they are on a node. A client's address may be known only before
/// translation, and a node that translates for a client from outside stands for it.
fn hosts(row: &Flow, to_server: bool) -> [Option<&HolderRef>; 2] {
    let (client, server) = if to_server { (Side::Src, Side::Dst) } else { (Side::Dst, Side::Src) };
    let clients = [holder(row.origin.as_deref(), client), row.holder(client), holder(row.xlat.as_deref(), client)];
    let servers = [holder(row.xlat.as_deref(), server), row.holder(server)];
    [first_on_node(&clients), first_on_node(&servers)]
}

fn first_on_node<'a>(holders: &[Option<&'a HolderRef>]) -> Option<&'a HolderRef> {
    holders.iter().flatten().copied().find(|holder| !holder.host_name.is_empty())
}

fn holder(tuple: Option<&Xlat>, side: Side) -> Option<&HolderRef> {
    let tuple = tuple?;
    if side == Side::Src { tuple.src.as_ref() } else { tuple.dst.as_ref() }
}

#[cfg(test)]
mod tests;
