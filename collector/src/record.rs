//! What the database holds of the capture itself: the tables `capture` and `agent`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use crate::counts::between::Between;
use crate::counts::unwatched;
use crate::counts::{Agent, Counts, Totals};
use crate::enrich::Names;
use crate::human;
use crate::killed::Killed;
use crate::select::members::Time;
use crate::versions;

/// How often the tables are brought up to date.
const PERIOD: Duration = Duration::from_secs(1);

/// What a capture is and how it ended.
#[derive(Debug)]
pub struct CaptureInfo {
    /// Options, as the plugin joined them.
    pub options: String,
    /// Namespace of the capture.
    pub namespace: String,
    /// When it began.
    pub start: DateTime<Utc>,
    /// The names of flows, if there are any.
    names: Option<Arc<Names>>,
    /// What an earlier process of this capture has left, in words.
    killed: Option<String>,
    end: Mutex<Option<(DateTime<Utc>, String)>>,
}

impl CaptureInfo {
    /// A capture that begins.
    pub fn new(options: String, namespace: String, start: DateTime<Utc>) -> Self {
        Self { options, namespace, start, names: None, killed: None, end: Mutex::default() }
    }

    /// Adds which names are missing.
    #[must_use]
    pub fn with_names(mut self, names: Option<Arc<Names>>) -> Self {
        self.names = names;
        self
    }

    /// The capture began in an earlier process, which was killed.
    #[must_use]
    pub fn goes_on(mut self, killed: Option<&Killed>) -> Self {
        self.killed = killed.map(|killed| killed.lines("flows").join("; "));
        self
    }

    /// It has ended, for this reason.
    pub fn end(&self, reason: String) {
        *self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((Utc::now(), reason));
    }

    fn ended(&self) -> Option<(DateTime<Utc>, String)> {
        self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// What the tables hold, so that only what changed is written.
#[derive(Debug, Default)]
pub struct Record {
    saved: BTreeMap<&'static str, Value>,
    agents: BTreeMap<String, u64>,
    totals: Totals,
    at: Option<Instant>,
    saved_between: bool,
}

impl Record {
    /// The statements that make the tables.
    pub const SCHEMA: &str = "
        CREATE TABLE capture (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
        CREATE TABLE member (id INTEGER PRIMARY KEY, selection TEXT, kind TEXT, namespace TEXT, name TEXT, node TEXT,
            address TEXT, protocol INTEGER, port INTEGER, since TEXT, until TEXT);
        CREATE TABLE agent (node TEXT PRIMARY KEY, version TEXT, interfaces INTEGER, interfaces_unwatched INTEGER, flows INTEGER, overflow_packets INTEGER,
            lost_kernel_packets INTEGER, lost_kernel_bytes INTEGER, lost_drop_events INTEGER, lost_dns_messages INTEGER,
            lost_export_flows INTEGER, lost_export_packets INTEGER, lost_export_bytes INTEGER) WITHOUT ROWID;
        CREATE TABLE between_nodes (ConversationId INTEGER, ToServer INTEGER, FromNode TEXT, ToNode TEXT, Sent INTEGER, Arrived INTEGER,
            Unsure INTEGER, PRIMARY KEY (ConversationId, ToServer)) WITHOUT ROWID;";

    /// Whether there is something new to save.
    pub fn is_due(&self, info: &CaptureInfo, counts: &Counts) -> bool {
        info.ended().is_some() || (self.is_old() && self.totals != counts.totals())
    }

    fn is_old(&self) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= PERIOD)
    }

    /// Saves what changed, at most once a second while the capture runs.
    pub fn save(&mut self, db: &Connection, info: &CaptureInfo, counts: &Counts) -> rusqlite::Result<()> {
        if !self.is_old() && info.ended().is_none() {
            return Ok(());
        }
        self.totals = counts.totals();
        self.at = Some(Instant::now());
        let told = [
            ("pushed_filters", counts.pushed().periods()),
            ("selected", counts.pushed().members().summary()),
            ("without_agent", counts.absences()),
            ("unwatched", unwatched::lines(&counts.agents())),
        ];
        let told =
            told.map(|(name, lines)| (name, if lines.is_empty() { Value::Null } else { lines.join("; ").into() }));
        for (name, value) in lines(info, &self.totals).into_iter().chain(told) {
            if self.saved.get(name) != Some(&value) {
                db.prepare_cached("INSERT OR REPLACE INTO capture VALUES (?, ?)")?.execute(params![name, value])?;
                self.saved.insert(name, value);
            }
        }
        for (index, time) in counts.pushed().members().news() {
            save_member(db, index, &time)?;
        }
        for (node, agent) in counts.agents() {
            if self.agents.insert(node.clone(), agent.flows) != Some(agent.flows) || info.ended().is_some() {
                save_agent(db, &node, &agent)?;
            }
        }
        if info.ended().is_some() && !std::mem::replace(&mut self.saved_between, true) {
            counts.between().iter().try_for_each(|between| save_between(db, between))?;
        }
        Ok(())
    }
}

fn lines(info: &CaptureInfo, totals: &Totals) -> Vec<(&'static str, Value)> {
    let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let (end, reason) =
        info.ended().map_or((Value::Null, Value::Null), |(end, reason)| (human::time(end).into(), reason.into()));
    let missing = info.names.as_ref().map_or(Value::Null, |names| names.missing().join("; ").into());
    vec![
        ("names_missing", missing),
        ("version", versions::OWN.to_owned().into()),
        ("plugin_version", versions::plugin().map_or(Value::Null, Into::into)),
        ("options", info.options.clone().into()),
        ("namespace", info.namespace.clone().into()),
        ("start", human::time(info.start).into()),
        ("end", end),
        ("end_reason", reason),
        ("collector_killed", info.killed.clone().map_or(Value::Null, Into::into)),
        ("agents", number(totals.agents)),
        ("interfaces", number(totals.interfaces)),
        ("interfaces_unwatched", number(totals.unwatched)),
        ("agents_without_last_word", number(totals.agents_without_last_word)),
        ("agents_started_anew", number(totals.agents_started_anew)),
        ("without_agent_ms", number(totals.without_agent_ms)),
        ("flows", number(totals.flows)),
        ("packets", number(totals.packets)),
        ("bytes", number(totals.bytes)),
        ("rows_json", number(totals.json_rows)),
        ("rows_sqlite", number(totals.sqlite_rows)),
        ("overflow_packets", number(totals.losses.overflow_packets)),
        ("portless_fragments", number(totals.losses.portless_fragments)),
        ("filtered_flows", number(totals.filtered_flows)),
        ("duplicate_records", number(totals.duplicates)),
        ("own_flows", number(totals.own_flows)),
        ("own_bytes", number(totals.own_bytes)),
        ("refused_connections", number(totals.refused_connections)),
        ("refused_messages", number(totals.refused_messages)),
        ("stretched_agents", number(totals.stretched_agents)),
        ("stretched_ms", number(totals.stretched_ms.into())),
        ("refused_flows", number(totals.refused_flows)),
        ("lost_kernel_packets", number(totals.losses.kernel_packets)),
        ("lost_kernel_bytes", number(totals.losses.kernel_bytes)),
        ("lost_drop_events", number(totals.losses.drop_events)),
        ("lost_dns_messages", number(totals.losses.dns_messages)),
        ("lost_export_flows", number(totals.losses.export_flows)),
        ("lost_export_packets", number(totals.losses.export_packets)),
        ("lost_export_bytes", number(totals.losses.export_bytes)),
        ("lost_unreadable_flows", number(totals.malformed_flows)),
        ("lost_json_flows", number(totals.json_lost)),
        ("lost_sqlite_flows", number(totals.sqlite_lost)),
        ("unnamed_json_flows", number(totals.json_unnamed)),
        ("unnamed_sqlite_flows", number(totals.sqlite_unnamed)),
    ]
}

fn save_between(db: &Connection, between: &Between) -> rusqlite::Result<()> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let saved =
        db.prepare_cached("INSERT OR REPLACE INTO between_nodes VALUES (?, ?, ?, ?, ?, ?, ?)")?.execute(params![
            number(between.conversation),
            between.to_server,
            between.from.as_str(),
            between.to.as_str(),
            number(between.sent),
            number(between.arrived),
            number(between.unsure),
        ]);
    saved.map(drop)
}

fn save_member(db: &Connection, index: usize, time: &Time) -> rusqlite::Result<()> {
    let (address, port) = time.element;
    let object = &time.object;
    let mut insert = db.prepare_cached("INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    let saved = insert.execute(params![
        i64::try_from(index).unwrap_or(i64::MAX),
        time.selection,
        object.kind,
        object.namespace,
        object.name,
        object.node,
        address.to_string(),
        port.map(|(protocol, _)| protocol),
        port.map(|(_, port)| port),
        human::time(time.from),
        time.to.map(human::time),
    ]);
    saved.map(drop)
}

fn save_agent(db: &Connection, node: &str, agent: &Agent) -> rusqlite::Result<()> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let losses = agent.losses;
    let mut insert =
        db.prepare_cached("INSERT OR REPLACE INTO agent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    let saved = insert.execute(params![
        node,
        agent.version,
        agent.interfaces,
        number(unwatched::count(&agent.unwatched)),
        number(agent.flows),
        number(losses.overflow_packets),
        number(losses.kernel_packets),
        number(losses.kernel_bytes),
        number(losses.drop_events),
        number(losses.dns_messages),
        number(losses.export_flows),
        number(losses.export_packets),
        number(losses.export_bytes),
    ]);
    saved.map(drop)
}
