//! Findings from the records of a capture, one after the other, in a memory that has an end.

mod connections;
mod dns;
mod drops;
mod round_trips;

pub use drops::{is_copy_of_echo_reply, meaning};

use std::net::IpAddr;

use crate::finding::{self, Finding};
use crate::measure::Measures;
use crate::observe::{Observation, Party};
use connections::Connections;
use dns::Names;
use drops::DropsByCause;
use round_trips::RoundTrips;

/// Watches the records of a capture.
#[derive(Debug, Default)]
pub struct Watch {
    drops: DropsByCause,
    connections: Connections,
    names: Names,
    round_trips: RoundTrips,
    measures: Measures,
    records: u64,
    sampled: bool,
}

/// How often, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) records: u64,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
}

impl Tally {
    fn add(&mut self, count: u64, seen: &Observation<'_>) {
        self.first_ms = if self.records == 0 { seen.start_ms } else { self.first_ms.min(seen.start_ms) };
        self.last_ms = self.last_ms.max(seen.end_ms);
        self.count = self.count.saturating_add(count);
        self.records += 1;
    }

    fn join(&mut self, other: &Self) {
        self.first_ms = if self.records == 0 { other.first_ms } else { self.first_ms.min(other.first_ms) };
        self.last_ms = self.last_ms.max(other.last_ms);
        self.count = self.count.saturating_add(other.count);
        self.records += other.records;
    }
}

impl Watch {
    /// Looks at a record.
    pub fn add(&mut self, seen: &Observation<'_>) {
        self.records += 1;
        self.sampled |= seen.sampling > 1;
        self.measures.add(seen);
        if let Some(drops) = &seen.drops {
            self.drops.add(seen, drops);
        }
        self.drops.add_icmp(seen);
        if let Some(dns) = &seen.dns {
            self.names.add(seen, dns);
        }
        if seen.protocol == Some(crate::observe::TCP) {
            self.connections.add(seen);
            if seen.rtt_ns > 0 {
                self.round_trips.add(seen);
            }
        }
    }

    /// Numbers of the capture as a whole.
    pub fn measures(&self) -> Measures {
        let errors = self.names.errors();
        Measures { drops: self.drops.packets, dns_errors: errors, ..self.measures.clone() }
    }

    /// The capture has lasted until this time, milliseconds since 1970: what had no answer by then had enough time for one.
    pub fn until(&mut self, now_ms: u64) {
        self.connections.until(now_ms);
    }

    /// How many records were looked at.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// What went wrong so far, worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.drops.findings();
        // Of sampled packets, those that are missing may have been there.
        if !self.sampled {
            for finding in self.connections.findings() {
                join(&mut findings, finding);
            }
        }
        findings.extend(self.names.findings());
        findings.extend(self.round_trips.findings());
        finding::sort(&mut findings);
        findings
    }

    /// What is no fault, and could be better, in words.
    pub fn hints(&self) -> Vec<String> {
        self.names.hint().into_iter().collect()
    }

    /// What was too much for the memory, and what cannot be known, in words.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        let beyond = self.drops.beyond + self.connections.beyond + self.names.beyond + self.round_trips.beyond;
        if beyond > 0 {
            gaps.push(format!("{beyond} records had causes, connections or names beyond those that are kept apart: some findings may be missing"));
        }
        if self.sampled {
            gaps.push("packets were sampled: connections without an answer cannot be known".into());
        }
        gaps
    }
}

/// A connection without an answer whose packets were dropped is one finding, not two. So are many that were refused and the one whose
/// answer the capture missed, because it began in between.
fn join(findings: &mut Vec<Finding>, new: Finding) {
    use finding::Kind::{NoListener, Refused, Unanswered};
    let ends = |one: &Finding| (one.client.address, one.server.address, one.port);
    let same = findings.iter_mut().find(|one| {
        ends(one) == ends(&new) && one.protocol == new.protocol && matches!(new.kind, Unanswered | Refused)
    });
    match same {
        Some(one)
            if new.kind == Refused && (one.kind == NoListener || one.kind == Unanswered && one.count < new.count) =>
        {
            let evidence = std::mem::take(&mut one.evidence);
            *one = new;
            one.evidence.extend(evidence);
        }
        Some(drop) => drop.evidence.extend(new.evidence),
        None => findings.push(new),
    }
}

/// The condition that finds the records between two ends, both ways.
pub(crate) fn between(client: &Party, server: &Party, port: Option<u16>) -> String {
    let is = |field: &str, address: Option<IpAddr>| match address {
        Some(address) => format!("{field} = '{address}'"),
        None => format!("{field} IS NULL"),
    };
    let to = format!("{} AND {}", is("SrcAddr", client.address), is("DstAddr", server.address));
    let from = format!("{} AND {}", is("SrcAddr", server.address), is("DstAddr", client.address));
    match port {
        Some(port) => format!("({to} AND DstPort = {port} OR {from} AND SrcPort = {port})"),
        None => format!("({to} OR {from})"),
    }
}
