//! Filters that show exactly the records that a row of a summary counts.

use std::collections::{BTreeMap, HashSet};

use netobserv_explain::finding::Kind;
use netobserv_explain::scan;
use netobserv_explain::traffic::Watch;
use netobserv_wire::Flow;

use super::data::Data;
use super::data::connections::number;
use super::data::kept::Kept;
use super::problems::{ProblemRow, Which, end};
use super::top::{self, Member};
use super::views::Group;
use crate::why::observation;

/// Which row.
#[derive(Clone, Debug)]
pub(super) enum Row {
    /// Of Connections, by the number of the conversation.
    Connection(u64),
    /// Of Top.
    Top(Group, Member),
    /// Of Problems; in records the condition of round trips that are slow, nanoseconds.
    Problem(Which, Option<u64>),
}

/// A row, and the conversations that belong to it by now.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    row: Row,
    numbers: HashSet<u64>,
}

/// Kinds that a conversation has as a whole; the others are of single records.
const OF_CONVERSATIONS: [Kind; 4] = [Kind::Unanswered, Kind::Refused, Kind::Reset, Kind::Scan];
/// What is enough time for an answer, in milliseconds.
const LATER_MS: u64 = 60_000;

impl Row {
    /// The row of a problem.
    pub(super) fn problem(problem: &ProblemRow) -> Self {
        let slow = problem.finding.records.rsplit_once("TimeFlowRttNs > ");
        Self::Problem(problem.which.clone(), slow.and_then(|(_, ns)| ns.parse().ok()))
    }
}

impl Exact {
    pub(super) fn new(row: Row, data: &Data) -> Self {
        let mut exact = Self { row, numbers: HashSet::new() };
        exact.update(data);
        exact
    }

    /// The row.
    pub(super) fn row(&self) -> &Row {
        &self.row
    }

    /// Takes in conversations that have come to belong to the row.
    pub(super) fn update(&mut self, data: &Data) {
        match &self.row {
            Row::Connection(number) => drop(self.numbers.insert(*number)),
            Row::Top(group, member) => self.numbers = top::numbers(&data.connections, *group, member),
            Row::Problem(which, _) if OF_CONVERSATIONS.contains(&which.kind) => {
                self.numbers.extend(conversations(which, &data.kept));
            }
            Row::Problem(..) => {}
        }
    }

    /// Whether the row counts a record.
    pub(super) fn holds(&self, flow: &Flow) -> bool {
        match &self.row {
            Row::Problem(which, slow) if !OF_CONVERSATIONS.contains(&which.kind) => {
                is_between(which, flow)
                    && slow.map_or_else(|| is_found(which, std::iter::once(flow)), |slow| flow.rtt_ns > slow)
            }
            _ => self.numbers.contains(&number(flow)),
        }
    }
}

/// Whether a record is of the two ends, in either direction.
fn is_between(which: &Which, flow: &Flow) -> bool {
    let ends = [(flow.src_addr, flow.src_port), (flow.dst_addr, flow.dst_port)];
    let fits = |client: usize, server: usize| {
        let port = which.port.is_none_or(|port| ends[server].1.unwrap_or(0) == port);
        (ends[client].0, ends[server].0) == (which.client, which.server) && port
    };
    which.protocol.is_none_or(|protocol| flow.proto.unwrap_or(0) == protocol) && (fits(0, 1) || fits(1, 0))
}

/// The conversations that have the problem.
fn conversations(which: &Which, kept: &Kept) -> Vec<u64> {
    let mut records: BTreeMap<u64, Vec<&Flow>> = BTreeMap::new();
    for (_, flow) in kept.newest_first().filter(|(_, flow)| is_between(which, flow)) {
        records.entry(number(flow)).or_default().push(flow);
    }
    let having = records.into_iter().filter(|(_, flows)| is_found(which, flows.iter().rev().copied()));
    having.map(|(number, _)| number).collect()
}

/// Whether these records alone, the oldest first, make the finding.
fn is_found<'a>(which: &Which, flows: impl Iterator<Item = &'a Flow>) -> bool {
    let (mut watch, mut last_ms) = (Watch::default(), 0);
    for flow in flows {
        watch.add(&observation(flow));
        last_ms = last_ms.max(flow.end_ms);
    }
    watch.until(last_ms + LATER_MS);
    watch.findings().iter().any(|finding| {
        let found = Which::of(finding);
        // Of a scan every port counts; of a name that was typed, what the search path made of it.
        let is_scan = which.kind == Kind::Scan && scan::is_part(found.kind) && end(&finding.client) == which.apart;
        let apart =
            found.apart == which.apart || which.kind == Kind::DnsNoName && is_longer(&found.apart, &which.apart);
        (found.kind == which.kind && apart || is_scan)
            && (found.client, found.server) == (which.client, which.server)
            && which.port.is_none_or(|port| found.port == Some(port))
    })
}

/// Whether a sentence begins with a name that has labels behind those of the other.
fn is_longer(sentence: &str, of: &str) -> bool {
    let name = |text: &str| text.split(',').next().unwrap_or_default().to_owned();
    name(sentence).strip_prefix(&name(of)).is_some_and(|rest| rest.starts_with('.'))
}
