//! DNS: names that do not exist, servers that fail or do not answer, and slow answers.
//!
//! A resolver appends the domains of its search path to a short name, one after the other, until one is answered. What does not exist
//! on the way there is no fault.

use std::collections::BTreeMap;
use std::net::IpAddr;

use foldhash::HashMap;

use super::{Tally, between};
use crate::finding::{Certainty, Finding, Kind, some};
use crate::observe::{Dns, Observation, Party, UDP};

/// Most names that are kept apart: answered, and not.
const MOST_ANSWERED: usize = 16_384;
const MOST_FAILED: usize = 4_096;
/// From here on an answer is slow, in microseconds.
const SLOW_US: u64 = 250_000;
/// Queries of one look-up follow each other within this time, in milliseconds.
const LOOK_UP_MS: u64 = 5_000;
const ETIMEDOUT: u32 = 110;
/// Names without an answer from which on a search path is worth a hint.
const LONG_PATH: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// When the name was answered: first, last.
    answered: BTreeMap<(Option<IpAddr>, String), (u64, u64)>,
    failed: HashMap<Failure, Failed>,
    pub(super) beyond: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Failure {
    outcome: Outcome,
    client: Option<IpAddr>,
    server: Option<IpAddr>,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    NoName,
    Timeout,
    Code(String),
    Slow,
}

#[derive(Debug)]
struct Failed {
    tally: Tally,
    client: Party,
    server: Party,
    port: Option<u16>,
    protocol: Option<u8>,
    worst_us: u64,
}

impl Names {
    pub(super) fn add(&mut self, seen: &Observation<'_>, dns: &Dns<'_>) {
        if seen.duplicate {
            return;
        }
        let name = dns.name.trim_end_matches('.').to_ascii_lowercase();
        // An answer goes to the client; a query without one comes from it.
        let (client, server) = if dns.answered { (seen.dst, seen.src) } else { (seen.src, seen.dst) };
        let outcome = match (dns.rcode, dns.errno) {
            ("" | "NoError", ETIMEDOUT) => Outcome::Timeout,
            ("" | "NoError", _) if dns.answered => {
                self.note_answer(client.address, &name, seen);
                if dns.latency_us < SLOW_US {
                    return;
                }
                Outcome::Slow
            }
            ("" | "NoError", _) => return,
            ("NXDomain", _) => Outcome::NoName,
            (code, _) => Outcome::Code(code.to_owned()),
        };
        let key = Failure { outcome, client: client.address, server: server.address, name };
        if self.failed.len() >= MOST_FAILED && !self.failed.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        let failed = self.failed.entry(key).or_insert_with(|| Failed {
            tally: Tally::default(),
            client: client.party(),
            server: server.party(),
            port: server.port,
            protocol: seen.protocol,
            worst_us: 0,
        });
        failed.tally.add(1, seen);
        failed.worst_us = failed.worst_us.max(dns.latency_us);
    }

    fn note_answer(&mut self, client: Option<IpAddr>, name: &str, seen: &Observation<'_>) {
        let key = (client, name.to_owned());
        if let Some((_, last)) = self.answered.get_mut(&key) {
            *last = (*last).max(seen.end_ms);
        } else if self.answered.len() < MOST_ANSWERED {
            self.answered.insert(key, (seen.end_ms, seen.end_ms));
        } else {
            self.beyond += 1;
        }
    }

    /// Queries that failed, without the steps of a search path.
    pub(super) fn errors(&self) -> u64 {
        let is_error = |failure: &Failure, failed: &Failed| match failure.outcome {
            Outcome::Slow => false,
            Outcome::NoName => !self.is_search_step(failure, &failed.tally),
            Outcome::Timeout | Outcome::Code(_) => true,
        };
        self.failed
            .iter()
            .filter(|(failure, failed)| is_error(failure, failed))
            .map(|(_, failed)| failed.tally.count)
            .sum()
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut groups: BTreeMap<(String, Option<IpAddr>, String), (Failure, Failed)> = BTreeMap::new();
        for (failure, failed) in &self.failed {
            let mut failure = failure.clone();
            if failure.outcome == Outcome::NoName {
                if self.is_search_step(&failure, &failed.tally) {
                    continue;
                }
                failure.name = self.shortest(&failure);
            }
            let slow = failure.outcome == Outcome::Slow;
            // Slow answers are one finding for each server, whatever the names.
            let name = if slow { String::new() } else { failure.name.clone() };
            let key = (format!("{:?} {:?}", failure.outcome, failure.server), failure.client, name);
            let group = groups
                .entry(key)
                .or_insert_with(|| (failure.clone(), Failed { tally: Tally::default(), ..failed.clone() }));
            group.1.tally.join(&failed.tally);
            if failed.worst_us >= group.1.worst_us {
                (group.0.name, group.1.worst_us) = (failure.name, failed.worst_us);
            }
        }
        groups.into_values().map(|(failure, failed)| self.finding(&failure, &failed)).collect()
    }

    fn is_search_step(&self, failure: &Failure, tally: &Tally) -> bool {
        self.answer_after(failure, tally).is_some()
    }

    /// The name that was answered when the same look-up went on: the same first labels, with a shorter domain behind them, or the name with a
    /// domain appended.
    fn answer_after(&self, failure: &Failure, tally: &Tally) -> Option<String> {
        let near =
            |(first, last): &(u64, u64)| *last + LOOK_UP_MS >= tally.first_ms && *first <= tally.last_ms + LOOK_UP_MS;
        let answered = |name: &String| self.answered.get(&(failure.client, name.clone())).is_some_and(near);
        if let Some(name) = shorter(&failure.name).find(answered) {
            return Some(name);
        }
        let longer = format!("{}.", failure.name);
        let mut following = self.answered.range((failure.client, longer.clone())..);
        let ((client, name), times) = following.next()?;
        (*client == failure.client && name.starts_with(&longer) && near(times)).then(|| name.clone())
    }

    /// The longest way along a search path, in words: no fault, and it costs time.
    pub(super) fn hint(&self) -> Option<String> {
        let mut steps: BTreeMap<(Option<IpAddr>, String), (usize, &Party)> = BTreeMap::new();
        for (failure, failed) in self.failed.iter().filter(|(failure, _)| failure.outcome == Outcome::NoName) {
            if let Some(answer) = self.answer_after(failure, &failed.tally) {
                steps.entry((failure.client, answer)).or_insert((0, &failed.client)).0 += 1;
            }
        }
        let ((_, name), (number, client)) = steps.into_iter().max_by_key(|(_, (number, _))| *number)?;
        (number >= LONG_PATH).then(|| {
            let names = number + 1;
            format!("search path: {names} names asked for each answer ({client} for {name}); a dot at the end of the name avoids that")
        })
    }

    /// Of the names of one look-up that do not exist, the one that was typed.
    fn shortest(&self, failure: &Failure) -> String {
        let missing = |name: &String| {
            let key = Failure { name: name.clone(), ..failure.clone() };
            self.failed.contains_key(&key)
        };
        shorter(&failure.name).filter(missing).min_by_key(String::len).unwrap_or_else(|| failure.name.clone())
    }

    /// A service of the same name in another namespace, that any client was answered for.
    fn elsewhere(&self, name: &str) -> Option<&str> {
        let (first, rest) = name.split_once('.')?;
        let domain = rest.split_once('.').map(|(_, domain)| domain).filter(|domain| domain.starts_with("svc"));
        self.answered.keys().map(|(_, name)| name.as_str()).find(|other| {
            let Some((other_first, other_rest)) = other.split_once('.') else { return false };
            let other_domain = other_rest.split_once('.').map(|(_, domain)| domain);
            other_first == first
                && *other != name
                && match domain {
                    Some(domain) => other_domain == Some(domain),
                    None => other_domain.is_some_and(|domain| domain.starts_with("svc.")) && !rest.contains('.'),
                }
        })
    }

    fn finding(&self, failure: &Failure, failed: &Failed) -> Finding {
        let Failed { tally, client, server, .. } = failed;
        let name = if failure.name.is_empty() { "a name that was not captured" } else { &failure.name };
        let queries = some(tally.count, "query", "queries");
        let asked = format!("{client} asked {server} for {name}");
        let elsewhere = self.elsewhere(&failure.name).filter(|_| failure.outcome == Outcome::NoName);
        let (kind, sentence, condition, remedy) = match &failure.outcome {
            Outcome::NoName => (
                Kind::DnsNoName,
                format!("{asked}, which does not exist."),
                "DnsFlagsResponseCode = 'NXDomain'".to_owned(),
                match elsewhere {
                    Some(other) => format!("{other} exists: use that name, with its namespace."),
                    None => "Correct the name where the client has it from; in a cluster NAME.NAMESPACE finds a service of another namespace.".into(),
                },
            ),
            Outcome::Timeout => (
                Kind::DnsTimeout,
                format!("{asked} and got no answer."),
                "DnsErrno = 110".to_owned(),
                "Check that the DNS server runs and is reachable on port 53, UDP and TCP: a policy that isolates egress has to allow it.".into(),
            ),
            Outcome::Code(code) => (
                Kind::DnsFailed,
                format!("{asked}, and the server answered {code}."),
                format!("DnsFlagsResponseCode = '{}'", code.replace('\'', "''")),
                "Look at the log of the DNS server and of the servers that it asks in turn.".into(),
            ),
            Outcome::Slow => (
                Kind::SlowDns,
                format!("{server} took up to {} ms to answer {client} ({name}).", failed.worst_us / 1_000),
                format!("DnsLatencyMs >= {}", SLOW_US / 1_000),
                "Look at the load of the DNS server and at the servers that it asks in turn.".into(),
            ),
        };
        let mut evidence = vec![queries];
        evidence.extend(elsewhere.map(|other| format!("{other} was answered in this capture")));
        let answered = self.answered.contains_key(&(failure.client, failure.name.clone()));
        if answered && failure.outcome != Outcome::Slow {
            evidence.push("other queries of this client for the name were answered".into());
        }
        Finding {
            kind,
            sentence,
            evidence,
            certainty: Certainty::Seen,
            remedy,
            change: String::new(),
            client: client.clone(),
            server: server.clone(),
            protocol: failed.protocol.or(Some(UDP)),
            port: failed.port,
            asked: failure.name.clone(),
            count: tally.count,
            first_ms: tally.first_ms,
            last_ms: tally.last_ms,
            records: format!("{} AND {condition}", between(client, server, failed.port)),
        }
    }
}

impl Clone for Failed {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), server: self.server.clone(), ..*self }
    }
}

/// A name without some labels in the middle or at its end: what its look-up tries next, with a shorter domain.
fn shorter(name: &str) -> impl Iterator<Item = String> {
    let labels: Vec<&str> = name.split('.').collect();
    let number = labels.len();
    let cuts = (1..number).flat_map(move |from| (from + 1..=number).map(move |to| (from, to)));
    cuts.map(move |(from, to)| [&labels[..from], &labels[to..]].concat().join("."))
}
