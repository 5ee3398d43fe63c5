//! What every stage saw and what it could not keep: filled by the stages, read by the screen, the
//! summary and the files.

pub mod between;
pub mod pushed;
mod totals;
pub mod unwatched;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use chrono::Utc;
use netobserv_wire::Flow;
use netobserv_wire::pbflow::{AgentStatus, UnwatchedInterfaces};

use crate::absence::{Absence, Attendance, SILENCE};
use crate::begin::Beginning;
use crate::killed::Killed;
use between::Between;
use pushed::Pushed;
pub use totals::{Losses, Totals};

/// Nodes of one capture. A cluster has 5,000 at most.
pub(crate) const MOST_NODES: usize = 6_000;
/// More times without an agent than these are counted and not listed.
const MOST_ABSENCES: usize = 100;

/// The counters of one capture.
#[derive(Debug, Default)]
pub struct Counts {
    flows: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    refused_flows: AtomicU64,
    malformed_flows: AtomicU64,
    filtered_flows: AtomicU64,
    own_flows: AtomicU64,
    own_bytes: AtomicU64,
    duplicates: AtomicU64,
    between: OnceLock<Vec<Between>>,
    refused_connections: AtomicU64,
    refused_messages: AtomicU64,
    json: SinkCounts,
    sqlite: SinkCounts,
    agents: Mutex<BTreeMap<String, Agent>>,
    pushed: Pushed,
    /// Nodes on which agents were started during the capture, and when.
    starting: Mutex<BTreeMap<String, Instant>>,
    /// When the agents were asked to end.
    ending: OnceLock<Instant>,
    /// How often the collector was killed, and a capture continued.
    kills: AtomicU64,
    beginning: Beginning,
}

/// The counters of one sink.
#[derive(Debug, Default)]
pub struct SinkCounts {
    /// Rows in the file.
    pub rows: AtomicU64,
    /// Bytes of the file.
    pub bytes: AtomicU64,
    /// Rows that are not in the file because it could not be written.
    pub lost: AtomicU64,
    /// Rows with an end that has no name, which might have been filled in at the end had there been time.
    pub unnamed: AtomicU64,
}

/// What one agent reported of itself.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Flows that it sent.
    pub flows: u64,
    /// Interfaces with probes on them.
    pub interfaces: u32,
    /// Interfaces that it is to put probes on.
    pub interfaces_wanted: u32,
    /// It is still putting them there.
    pub attaching: bool,
    /// Interfaces that it did not watch, or not all the time.
    pub unwatched: Vec<UnwatchedInterfaces>,
    /// Its version.
    pub version: String,
    /// How long it counts packets into one record, in milliseconds; 0 if it has not reported that.
    pub window_ms: u32,
    /// How long it counted packets into one record at most because records waited to be sent, in milliseconds; 0 if it never had to.
    pub stretched_ms: u32,
    /// Number of the filter that it was sent last; 0 is none.
    pub filter: u64,
    /// Why that is not in force; empty if it is.
    pub filter_error: String,
    /// Why it does not know address translations, or not all of them; empty if it does.
    pub no_translations: String,
    /// Features that its kernel cannot do, with the reasons.
    pub lacking: String,
    /// Translations that it did not record.
    pub lost_translations: u64,
    /// Its losses, restarts included.
    pub losses: Losses,
    /// Losses of its earlier lives.
    before: Losses,
    instance: u64,
    /// Earlier lives that ended without a last word.
    broken_off: u64,
    heard: Instant,
    last: bool,
    attendance: Attendance,
}

/// Peers send the numbers: a sum stops at the largest there is.
fn add(sum: &AtomicU64, more: u64) {
    let _ = sum.fetch_update(Relaxed, Relaxed, |sum| Some(sum.saturating_add(more)));
}

impl Counts {
    /// Counts flows that are on their way to the sinks; duplicates apart.
    pub fn accepted(&self, flows: &[Flow]) {
        let counting = flows.iter().filter(|flow| flow.duplicate.is_none());
        let sum = |(number, packets, bytes): (u64, u64, u64), flow: &Flow| {
            (number + 1, packets.saturating_add(flow.packets), bytes.saturating_add(flow.bytes))
        };
        let (number, packets, bytes) = counting.fold((0, 0, 0), sum);
        self.flows.fetch_add(number, Relaxed);
        self.duplicates.fetch_add(flows.len() as u64 - number, Relaxed);
        add(&self.packets, packets);
        add(&self.bytes, bytes);
    }

    /// Counts flows for which there was no room.
    pub fn refused(&self, flows: u64) {
        self.refused_flows.fetch_add(flows, Relaxed);
    }

    /// Counts flows that could not be read.
    pub fn malformed(&self, flows: u64) {
        self.malformed_flows.fetch_add(flows, Relaxed);
    }

    /// Counts flows that the query did not want.
    pub fn filtered(&self, flows: u64) {
        self.filtered_flows.fetch_add(flows, Relaxed);
    }

    /// Counts flows of the capture itself that were left out.
    pub fn own(&self, flows: u64, bytes: u64) {
        self.own_flows.fetch_add(flows, Relaxed);
        self.own_bytes.fetch_add(bytes, Relaxed);
    }

    /// Keeps what the nodes at both ends of conversations have seen, at the end.
    pub fn set_between(&self, between: Vec<Between>) {
        let _ = self.between.set(between);
    }

    /// What the nodes at both ends of conversations have seen; empty before the end.
    pub fn between(&self) -> &[Between] {
        self.between.get().map_or(&[], Vec::as_slice)
    }

    /// Counts a connection that was not let in.
    pub fn refused_connection(&self) {
        self.refused_connections.fetch_add(1, Relaxed);
    }

    /// Counts a message that was refused for good.
    pub fn rejected(&self) {
        self.refused_messages.fetch_add(1, Relaxed);
    }

    /// Whether there is room for what this node reports of itself.
    pub fn has_room_for(&self, node: &str) -> bool {
        let agents = self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        node.is_empty() || agents.len() < MOST_NODES || agents.contains_key(node)
    }

    /// The counters of the JSON file.
    pub fn json(&self) -> &SinkCounts {
        &self.json
    }

    /// The counters of the SQLite file.
    pub fn sqlite(&self) -> &SinkCounts {
        &self.sqlite
    }

    /// The filters that were put into the kernels of all nodes.
    pub fn pushed(&self) -> &Pushed {
        &self.pushed
    }

    /// When the time of the capture begins.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// Records what an agent reported, and that it sent `flows` with it.
    pub fn heard(&self, status: &AgentStatus, flows: u64, now: Instant) {
        let mut agents = self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_full = agents.len() >= MOST_NODES;
        match agents.get_mut(&status.node) {
            Some(agent) => agent.update(status, now, self.ending.get().is_some()),
            None if is_full => {}
            None => drop(agents.insert(status.node.clone(), Agent::new(status, now))),
        }
        if let Some(agent) = agents.get_mut(&status.node) {
            agent.flows = agent.flows.saturating_add(flows);
        }
        let attaching = agents.values().filter(|agent| agent.attaching).count();
        self.beginning.heard(agents.len() as u64, attaching as u64, now);
    }

    /// When the latest of the agents was heard of that still owe their last word; agents that were
    /// silent for the `window` before `since` do not count.
    pub fn owed_since(&self, since: Instant, window: Duration) -> Option<Instant> {
        let agents = self.agents();
        let owing = agents.values().filter(|agent| !agent.last && agent.heard + window >= since);
        owing.map(|agent| agent.heard).max()
    }

    /// The capture began in an earlier process, which was killed.
    pub fn goes_on(&self, killed: Option<&Killed>) {
        self.kills.store(killed.map_or(0, |killed| killed.outages.len() as u64), Relaxed);
    }

    /// From now on agents may end.
    pub fn end(&self) {
        self.ending.get_or_init(Instant::now);
    }

    /// Whether the agents were asked to end.
    pub fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Times in which nodes captured nothing, in words, by node.
    pub fn absences(&self) -> Vec<String> {
        let (now, wall) = (Instant::now(), Utc::now());
        let agents = self.agents();
        let lines = self.absences_by_node(&agents, now).into_iter();
        let mut lines: Vec<String> = lines
            .flat_map(|(node, all)| all.into_iter().map(move |absence| absence.line(&node, (now, wall))))
            .collect();
        let more = lines.len().saturating_sub(MOST_ABSENCES);
        lines.truncate(MOST_ABSENCES);
        lines.extend((more > 0).then(|| format!("nodes had no agent {more} times more")));
        lines
    }

    /// An agent is to start on this node from now on, because something that is captured is there.
    pub fn starts_agent(&self, node: &str, now: Instant) {
        let mut starting = self.starting.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        starting.entry(node.to_owned()).or_insert(now);
    }

    fn absences_by_node(&self, agents: &BTreeMap<String, Agent>, now: Instant) -> BTreeMap<String, Vec<Absence>> {
        let end = self.ending.get();
        let at = end.copied().unwrap_or(now);
        let of = |(node, agent): (&String, &Agent)| (node.clone(), agent.attendance.absences(at, end.is_some()));
        let mut all: BTreeMap<String, Vec<Absence>> = agents.iter().map(of).collect();
        let starting = self.starting.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for (node, from) in starting.iter() {
            let first = agents.get(node).map(|agent| agent.attendance.first());
            all.entry(node.clone()).or_default().insert(0, Absence::before_the_first(*from, first, at));
        }
        all
    }

    /// What the agents reported, by node.
    pub fn agents(&self) -> BTreeMap<String, Agent> {
        self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Agents that watch interfaces.
    pub fn capturing(&self) -> u64 {
        let agents = self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        agents.values().filter(|agent| agent.interfaces > 0 && !agent.attaching && !agent.last).count() as u64
    }

    /// All counters now.
    pub fn totals(&self) -> Totals {
        let agents = self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        let absent = self.absences_by_node(&agents, now);
        let absent: Vec<Duration> = absent.values().map(|all| all.iter().map(Absence::time).sum()).collect();
        Totals {
            flows: self.flows.load(Relaxed),
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            refused_flows: self.refused_flows.load(Relaxed),
            malformed_flows: self.malformed_flows.load(Relaxed),
            filtered_flows: self.filtered_flows.load(Relaxed),
            own_flows: self.own_flows.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            own_bytes: self.own_bytes.load(Relaxed),
            refused_connections: self.refused_connections.load(Relaxed),
            refused_messages: self.refused_messages.load(Relaxed),
            json_rows: self.json.rows.load(Relaxed),
            json_bytes: self.json.bytes.load(Relaxed),
            json_lost: self.json.lost.load(Relaxed),
            json_unnamed: self.json.unnamed.load(Relaxed),
            sqlite_rows: self.sqlite.rows.load(Relaxed),
            sqlite_lost: self.sqlite.lost.load(Relaxed),
            sqlite_unnamed: self.sqlite.unnamed.load(Relaxed),
            agents: agents.len() as u64,
            agents_without_last_word: agents.values().filter(|agent| !agent.last).count() as u64,
            interfaces: agents.values().map(|agent| u64::from(agent.interfaces)).sum(),
            attaching: if agents.values().any(|agent| agent.attaching) {
                agents.values().map(|agent| u64::from(agent.interfaces_wanted)).sum()
            } else {
                0
            },
            unwatched: agents.values().map(|agent| unwatched::count(&agent.unwatched)).sum(),
            agents_started_anew: agents.values().map(|agent| agent.broken_off).sum(),
            stretched_agents: agents.values().filter(|agent| agent.stretched_ms > 0).count() as u64,
            stretched_ms: agents.values().map(|agent| agent.stretched_ms).max().unwrap_or(0),
            filter_changes: self.pushed.changes(),
            collector_kills: self.kills.load(Relaxed),
            without_agent_ms: u64::try_from(absent.iter().sum::<Duration>().as_millis()).unwrap_or(u64::MAX),
            without_agent_nodes: absent.iter().filter(|time| !time.is_zero()).count() as u64,
            losses: agents.values().fold(Losses::default(), |sum, agent| sum.plus(agent.losses)),
        }
    }
}

impl Agent {
    fn new(status: &AgentStatus, now: Instant) -> Self {
        let (losses, unwatched) = (Losses::of(status), unwatched::reported(status));
        unwatched::warn_of_new(&status.node, &[], &unwatched);
        Self {
            flows: 0,
            interfaces: status.interfaces,
            interfaces_wanted: status.interfaces_wanted,
            attaching: status.attaching,
            unwatched,
            version: status.version.clone(),
            window_ms: status.window_ms,
            stretched_ms: status.stretched_ms,
            filter: status.filter,
            filter_error: status.filter_error.clone(),
            no_translations: status.no_translations.clone(),
            lacking: status.lacking.clone(),
            lost_translations: status.lost_translations,
            losses,
            before: Losses::default(),
            instance: status.instance,
            broken_off: 0,
            heard: now,
            last: status.last,
            attendance: Attendance::new(status, now),
        }
    }

    /// How long nothing was heard of it, or of another one in its place; `None` when it ended with the capture.
    pub fn silent_for(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.attendance.silent_since()?))
    }

    /// Whether it watches all of its interfaces.
    pub fn watches(&self, now: Instant) -> bool {
        let silent = self.silent_for(now).is_some_and(|silent| silent > SILENCE);
        self.interfaces > 0 && !self.attaching && !self.last && !silent
    }

    fn update(&mut self, status: &AgentStatus, now: Instant, ending: bool) {
        self.attendance.update(status, now, ending);
        let losses = Losses::of(status);
        self.broken_off += u64::from(self.instance != status.instance && !self.last);
        if self.instance != status.instance || losses.plus(self.before).any_below(self.losses) {
            self.before = self.losses;
            self.instance = status.instance;
        }
        self.losses = losses.plus(self.before);
        // One that has taken its probes off before its last word had them until then.
        if !(status.last && status.interfaces == 0) {
            self.interfaces = status.interfaces;
        }
        self.interfaces_wanted = status.interfaces_wanted;
        self.attaching = status.attaching && !status.last;
        let unwatched = unwatched::reported(status);
        unwatched::warn_of_new(&status.node, &self.unwatched, &unwatched);
        self.unwatched = unwatched;
        self.window_ms = status.window_ms;
        self.stretched_ms = self.stretched_ms.max(status.stretched_ms);
        self.version.clone_from(&status.version);
        self.filter = status.filter;
        self.filter_error.clone_from(&status.filter_error);
        self.no_translations.clone_from(&status.no_translations);
        self.lacking.clone_from(&status.lacking);
        self.lost_translations = status.lost_translations;
        self.heard = now;
        self.last = status.last;
    }
}

#[cfg(test)]
mod tests;
