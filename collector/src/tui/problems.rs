//! The rows of view Problems: the findings of the capture in a few words, worst first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use netobserv_explain::finding::{Finding, Kind};
use netobserv_explain::observe::Party;
use netobserv_explain::scan;
use netobserv_wire::Flow;
use netobserv_wire::flow::{Process, Processes, Side};

use super::connections::etype;
use super::data::connections::{Connections, Key};
use super::names;

/// A problem that was seen this short a time ago still continues: the time between two tries of a connection, as a rule.
const NOW: Duration = Duration::from_secs(20);

/// What makes a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Which {
    pub(super) kind: Kind,
    pub(super) client: Option<IpAddr>,
    pub(super) server: Option<IpAddr>,
    /// None for all ports of a scan.
    pub(super) port: Option<u16>,
    pub(super) protocol: Option<u8>,
    /// What else distinguishes findings of the same kind and ends: the name that was asked for, a cause, the program that scans.
    pub(super) apart: String,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProblemRow {
    pub(super) which: Which,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) count: u64,
    /// Since it was last seen.
    pub(super) ago: Duration,
    pub(super) is_now: bool,
    pub(super) finding: Finding,
}

/// What is remembered of the findings, to know which continue.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// How often each was found, and when that last changed.
    seen: HashMap<Which, (u64, Duration)>,
}

impl Which {
    pub(super) fn of(finding: &Finding) -> Self {
        let apart = match finding.kind {
            Kind::DnsTimeout | Kind::DnsFailed | Kind::DnsNoName => what(finding),
            Kind::Dropped => cause(finding).to_owned(),
            Kind::Scan => end(&finding.client),
            _ => String::new(),
        };
        Self {
            kind: finding.kind,
            client: finding.client.address,
            server: finding.server.address,
            port: finding.port,
            protocol: finding.protocol,
            apart,
        }
    }
}

impl ProblemRow {
    /// Its kind in a word or two.
    pub(super) fn word(&self) -> &'static str {
        match self.which.kind {
            Kind::Dropped if is_unanswered(&self.finding) => "Blocked",
            kind => word(kind),
        }
    }

    /// Blocked or unanswered at this moment.
    pub(super) fn is_alarm(&self) -> bool {
        self.is_now && self.gravity() <= 1
    }

    /// Something does not work: what the first view shows, too.
    pub(super) fn is_grave(&self) -> bool {
        self.gravity() <= 3
    }

    /// A connection does not come about.
    pub(super) fn is_of_connections(&self) -> bool {
        self.gravity() <= 2 && self.which.kind != Kind::DnsTimeout || self.which.kind == Kind::Scan
    }

    fn gravity(&self) -> u8 {
        if is_unanswered(&self.finding) { gravity(self.which.kind).min(1) } else { gravity(self.which.kind) }
    }

    /// What the count counts.
    pub(super) fn unit(&self) -> &'static str {
        match self.which.kind {
            Kind::Scan => "ports",
            Kind::Unanswered => "tries",
            Kind::Refused | Kind::Reset => "connections",
            Kind::DnsTimeout | Kind::DnsFailed | Kind::DnsNoName | Kind::SlowDns => "queries",
            Kind::Slow => "records",
            _ => "packets",
        }
    }

    /// What filters look for words in.
    pub(super) fn text(&self) -> String {
        format!("{} {} {}", self.word(), self.what, self.who)
    }

    /// A record from its client to its server.
    pub(super) fn as_record(&self, connections: &Connections) -> Flow {
        let Which { client, server, port, protocol, .. } = self.which;
        let mut flow = Flow {
            src_addr: client,
            dst_addr: server,
            dst_port: port,
            proto: protocol,
            etype: etype(server),
            ..Flow::default()
        };
        let ends = [client, server].map(|address| address.and_then(|address| connections.ends.of(address)));
        let [src, dst] = ends.map(|end| {
            let comm = end.map(|end| end.process.clone()).unwrap_or_default();
            Process { comm, ..Process::default() }
        });
        flow.processes = Some(Box::new(Processes { src, dst }));
        for (end, side) in ends.into_iter().zip([Side::Src, Side::Dst]) {
            if let Some(holder) = end.and_then(|end| end.holder_ref()) {
                flow.set_holder(side, holder.clone());
            }
        }
        flow
    }

    /// Whether a conversation has it; the key goes from the client to the server.
    pub(super) fn is_of(&self, key: Key) -> bool {
        let ends = (self.which.client, self.which.server) == (key.src, key.dst);
        ends && self.which.protocol.is_none_or(|protocol| protocol == key.proto)
            && self.which.port.is_none_or(|port| port == key.dst_port)
    }
}

impl Problems {
    /// The rows, worst first, in it those that continue, then the most frequent.
    pub(super) fn rows(&mut self, findings: Vec<Finding>, now: Duration) -> Vec<ProblemRow> {
        let mut rows: Vec<ProblemRow> = Vec::new();
        for finding in findings {
            let which = Which::of(&finding);
            let (count, at) = self.seen.entry(which.clone()).or_insert((finding.count, now));
            if *count != finding.count {
                (*count, *at) = (finding.count, now);
            }
            let ago = now.saturating_sub(*at);
            match rows.iter_mut().find(|row| row.which == which) {
                Some(row) => {
                    row.count = row.count.saturating_add(finding.count);
                    row.ago = row.ago.min(ago);
                }
                None => rows.push(row(which, finding, ago)),
            }
        }
        self.seen.retain(|which, _| rows.iter().any(|row| row.which == *which));
        rows.iter_mut().for_each(|row| row.is_now = row.ago < NOW);
        rows.sort_by_cached_key(|row| (row.gravity(), !row.is_now, std::cmp::Reverse(row.count), row.who.clone()));
        rows
    }
}

fn row(which: Which, finding: Finding, ago: Duration) -> ProblemRow {
    let server = end(&finding.server);
    let server = finding.port.map_or(server.clone(), |port| format!("{server}:{port}"));
    ProblemRow {
        who: format!("{} → {server}", end(&finding.client)),
        what: what(&finding),
        count: finding.count,
        ago,
        is_now: false,
        which,
        finding,
    }
}

/// What an end is called.
pub(super) fn end(party: &Party) -> String {
    if party.name.is_empty() { names::address(party.address) } else { party.name.clone() }
}

/// The effect of a kind of finding, worst first.
fn gravity(kind: Kind) -> u8 {
    match kind {
        Kind::Policy | Kind::Service | Kind::HostPort | Kind::NodeNotReady | Kind::DroppedByFilter | Kind::NoRoute => 0,
        Kind::Unanswered | Kind::DnsTimeout => 1,
        Kind::Refused | Kind::NoListener => 2,
        // After the ports of others at the same server.
        Kind::DnsFailed | Kind::Scan => 3,
        Kind::TooBig | Kind::Reset => 4,
        Kind::DnsNoName => 5,
        Kind::Slow | Kind::SlowDns => 6,
        _ => 7,
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Policy | Kind::DroppedByFilter => "Blocked",
        Kind::Service | Kind::HostPort => "No server",
        Kind::NodeNotReady => "Node down",
        Kind::NoRoute => "No route",
        Kind::Unanswered => "Unanswered",
        Kind::Refused | Kind::NoListener => "Refused",
        Kind::Scan => "Scan",
        Kind::TooBig => "Too big",
        Kind::DnsTimeout | Kind::DnsFailed | Kind::DnsNoName => "DNS",
        Kind::Reset => "Broken off",
        Kind::NoRoom => "Full",
        Kind::Damaged => "Damaged",
        Kind::SlowDns | Kind::Slow => "Slow",
        _ => "Dropped",
    }
}

/// Whether the client had no answer at all.
fn is_unanswered(finding: &Finding) -> bool {
    finding.kind == Kind::Unanswered || finding.evidence.iter().any(|line| line.contains("no packet back"))
}

/// The kernel's name of the cause of drops.
fn cause(finding: &Finding) -> &str {
    let named = finding.evidence.iter().find_map(|line| line.split_once("for the cause "));
    named.map_or("", |(_, rest)| rest.split(',').next().unwrap_or_default())
}

/// What happened, without the ends, which have columns of their own.
fn what(finding: &Finding) -> String {
    let Finding { client, server, sentence, .. } = finding;
    let asked = format!("{client} asked {server} for ");
    let unanswered = is_unanswered(finding);
    let tail = |words: &str| sentence.rsplit_once(words).map_or(sentence.as_str(), |(_, tail)| tail);
    let text = match finding.kind {
        Kind::DroppedByFilter if unanswered => "a firewall rule drops every SYN, 0 answers",
        Kind::DroppedByFilter => "a firewall rule drops packets",
        Kind::NoRoute => "there is no way to the destination",
        Kind::Unanswered => "no packet came back",
        Kind::Refused => "nothing listens there, or a filter rejects",
        Kind::NoListener => "nothing listens there",
        Kind::Scan => {
            let seconds = scan::seconds(finding.first_ms, finding.last_ms);
            return format!("tried {} closed ports in {seconds} s", crate::human::count(finding.count));
        }
        Kind::TooBig => "packets are larger than the way lets through",
        Kind::Reset if sentence.starts_with(&client.to_string()) => "the client broke off",
        Kind::Reset => "the server broke off",
        Kind::NoRoom => "a buffer or queue was full",
        Kind::Damaged => "the checksum was wrong",
        Kind::DnsTimeout | Kind::DnsFailed | Kind::DnsNoName => sentence.strip_prefix(&asked).unwrap_or(sentence),
        Kind::SlowDns | Kind::Slow => {
            let time = tail(" took ");
            return format!("took {}", time.trim_end_matches('.'));
        }
        Kind::Dropped if unanswered => return format!("every SYN is dropped ({}), 0 answers", cause(finding)),
        Kind::Dropped => return format!("the kernel dropped packets: {}", cause(finding)),
        _ => sentence,
    };
    text.trim_end_matches('.').to_owned()
}
