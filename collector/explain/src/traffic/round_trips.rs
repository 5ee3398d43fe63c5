//! Round trips that took longer than the same ones before.

use std::collections::hash_map::Entry;
use std::net::IpAddr;

use foldhash::HashMap;

use super::{Tally, between};
use crate::finding::{Certainty, Finding, Kind};
use crate::measure::Times;
use crate::observe::{Observation, Party};

/// Most pairs of ends.
const MOST: usize = 8_192;
/// Fewer measurements are no past.
const LEAST: u64 = 10;
/// A round trip below this is not slow, in milliseconds.
const SLOW_MS: u64 = 50;
/// What is slow is longer than usual by this factor.
const FACTOR: u64 = 4;
/// Slow records that make a finding, and one in so many of all.
const LEAST_SLOW: u64 = 3;
const ONE_IN: u64 = 20;

type Pair = (Option<IpAddr>, Option<IpAddr>, Option<u16>);

#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    pairs: HashMap<Pair, Past>,
    pub(super) beyond: u64,
}

#[derive(Debug)]
struct Past {
    client: Party,
    server: Party,
    times: Box<Times>,
    slow: Tally,
}

impl RoundTrips {
    pub(super) fn add(&mut self, seen: &Observation<'_>) {
        let (client, server) = seen.client_and_server();
        let pair = (client.address, server.address, server.port);
        let full = self.pairs.len() >= MOST;
        let past = match self.pairs.entry(pair) {
            Entry::Occupied(past) => past.into_mut(),
            Entry::Vacant(_) if full => {
                self.beyond += 1;
                return;
            }
            Entry::Vacant(place) => place.insert(Past {
                client: client.party(),
                server: server.party(),
                times: Box::default(),
                slow: Tally::default(),
            }),
        };
        let us = seen.rtt_ns / 1_000;
        past.times.add(us);
        if us >= SLOW_MS * 1_000 {
            past.slow.add(1, seen);
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        self.pairs.iter().filter_map(|(pair, past)| past.finding(pair.2)).collect()
    }
}

impl Past {
    fn finding(&self, port: Option<u16>) -> Option<Finding> {
        if self.times.count() < LEAST || self.slow.records == 0 {
            return None;
        }
        // A quarter of the round trips was shorter: what is usual, also when most of a capture is slow.
        let usual = self.times.percentile_us(25);
        let slow_us = (usual * FACTOR).max(SLOW_MS * 1_000);
        let slow = self.times.beyond(slow_us);
        if slow < LEAST_SLOW || slow * ONE_IN < self.times.count() {
            return None;
        }
        let ms = |us: u64| us as f64 / 1e3;
        let (client, server) = (&self.client, &self.server);
        Some(Finding {
            kind: Kind::Slow,
            sentence: format!(
                "Round trips between {client} and {server} (TCP port {}) took up to {:.0} ms; usually they take {:.1} ms.",
                port.unwrap_or_default(),
                ms(self.times.worst_us()),
                ms(usual)
            ),
            evidence: vec![format!("{slow} of {} records have more than {:.0} ms", self.times.count(), ms(slow_us))],
            certainty: Certainty::Seen,
            remedy: "Compare with the load of both ends and of the way between them at that time.".into(),
            change: String::new(),
            client: client.clone(),
            server: server.clone(),
            protocol: Some(crate::observe::TCP),
            port,
            asked: String::new(),
            count: slow,
            first_ms: self.slow.first_ms,
            last_ms: self.slow.last_ms,
            records: format!("{} AND TimeFlowRttNs > {}", between(client, server, port), slow_us * 1_000),
        })
    }
}
