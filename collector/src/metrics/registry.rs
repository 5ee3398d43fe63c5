//! The sums of a capture, by metric and labels, with a limit on the number of series.

use std::sync::{Mutex, MutexGuard, PoisonError};

use netobserv_contract::metrics::{Level, Measure, Metric};
use netobserv_wire::Flow;

use super::histogram::Exemplar;
use super::labels::{self, Values};
use super::table::{Amounts, GROUPS, Room, Table};

/// The counters of a capture.
#[derive(Debug)]
pub struct Registry(Mutex<Sums>);

/// What a metric sums up to over all labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricTotals {
    /// What was counted, or the number of observations.
    pub count: u64,
    /// Sum of the observations, in nanoseconds.
    pub nanos: u128,
}

/// One of the largest series of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Largest {
    /// Its ends, and what else it is labeled with.
    pub labels: String,
    /// What was counted, or the number of observations.
    pub amount: u64,
    /// The same of all series together.
    pub of: u64,
}

/// The counters at one moment.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) tables: Vec<Table>,
    pub(super) room: Room,
}

impl Registry {
    /// Counts these metrics in at most `limit` series, and what is above in series labeled `other`.
    #[must_use]
    pub fn new(metrics: &[Metric], limit: u64) -> Self {
        let tables = Level::ALL.into_iter().flat_map(|level| GROUPS.map(|group| Table::new(level, group, metrics)));
        Self(Mutex::new(Sums { tables: tables.flatten().collect(), room: Room { used: 0, limit } }))
    }

    /// Counts flows. Of one that is counted in another record only drops are, which happen where they were seen.
    pub fn add(&self, flows: &[Flow]) {
        let mut sums = self.sums();
        flows.iter().for_each(|flow| sums.add(flow));
    }

    /// Series in use, and observations that had none of their own.
    #[must_use]
    pub fn series(&self) -> (u64, u64) {
        let sums = self.sums();
        (sums.room.used, sums.tables.iter().flat_map(|table| table.over).sum())
    }

    /// What every metric sums up to over all labels.
    #[must_use]
    pub fn totals(&self) -> Vec<(Metric, MetricTotals)> {
        let sums = self.sums();
        let all = sums.tables.iter().flat_map(|table| table.wanted().map(move |found| (table, found)));
        all.map(|(table, (place, measure))| {
            let (count, nanos) = table.total(place, measure);
            (Metric { level: table.level, measure }, MetricTotals { count, nanos })
        })
        .collect()
    }

    /// The same of one; `None` if it is not counted.
    #[must_use]
    pub fn sum(&self, metric: Metric) -> Option<u64> {
        self.totals().into_iter().find(|(found, _)| *found == metric).map(|(_, totals)| totals.count)
    }

    /// The largest series of a metric, the largest first.
    #[must_use]
    pub fn largest(&self, metric: Metric, most: usize) -> Vec<Largest> {
        let sums = self.sums();
        let of_level = sums.tables.iter().filter(|table| table.level == metric.level);
        let found = of_level.flat_map(|table| table.wanted().map(move |found| (table, found)));
        let Some((table, (place, measure))) = found.into_iter().find(|(_, (_, measure))| *measure == metric.measure)
        else {
            return vec![];
        };
        let mut rows: Vec<_> = table.rows_of(place).into_iter().map(|row| (row.total(place, measure).0, row)).collect();
        rows.sort_by_key(|(amount, _)| std::cmp::Reverse(*amount));
        let of = table.total(place, measure).0;
        let largest = rows.into_iter().take(most);
        largest.map(|(amount, row)| Largest { labels: labels::shown(&row.labels, metric.level), amount, of }).collect()
    }

    pub(super) fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    fn add(&mut self, flow: &Flow) {
        if flow.duplicate.is_none() {
            self.add_to(GROUPS[0], flow, &traffic(flow), &[]);
            self.add_dns(flow);
            self.add_events(flow);
        }
        self.add_drops(flow);
    }

    fn add_to(&mut self, group: &'static [Measure], flow: &Flow, amounts: &Amounts, more: &[&str]) {
        for table in self.tables.iter_mut().filter(|table| table.is_of(group)) {
            let mut values: Values<'_> = labels::ends(flow, table.level);
            values.extend(more.iter().copied());
            table.add(&values, amounts, &mut self.room);
        }
    }

    fn add_drops(&mut self, flow: &Flow) {
        let Some(drops) = flow.drops.as_deref().filter(|drops| drops.packets > 0 || drops.bytes > 0) else { return };
        let mut amounts = Amounts::default();
        (amounts.counters[0], amounts.counters[1]) = (Some(drops.packets), Some(drops.bytes));
        self.add_to(GROUPS[1], flow, &amounts, &[&drops.state, &drops.cause]);
    }

    fn add_dns(&mut self, flow: &Flow) {
        let Some(dns) = flow.dns.as_deref() else { return };
        let micros = dns.latency_us.or(dns.latency_ms.map(|ms| ms.saturating_mul(1_000)));
        let Some(nanos) = micros.map(|micros| micros.saturating_mul(1_000)).filter(|nanos| *nanos > 0) else { return };
        let amounts = Amounts { observed: Some(exemplar(flow, nanos)), ..Amounts::default() };
        self.add_to(GROUPS[2], flow, &amounts, &[&dns.rcode]);
    }

    /// Events are a JSON array of objects; those of ACLs name a policy.
    fn add_events(&mut self, flow: &Flow) {
        let Some(text) = flow.network_events.as_deref() else { return };
        let Ok(events) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return };
        let mut amounts = Amounts::default();
        amounts.counters[0] = Some(1);
        for event in events.iter().filter(|event| event["Feature"] == "acl") {
            let label = |name: &str| event[name].as_str().unwrap_or_default();
            let more = ["Type", "Namespace", "Name", "Action", "Direction"].map(label);
            self.add_to(GROUPS[3], flow, &amounts, &more);
        }
    }
}

/// What the first group counts.
fn traffic(flow: &Flow) -> Amounts {
    let (egress, ingress) = labels::directions(flow);
    let if_so = |holds: bool, amount| holds.then_some(amount);
    Amounts {
        counters: [
            if_so(egress, flow.bytes),
            if_so(ingress, flow.bytes),
            if_so(egress, flow.packets),
            if_so(ingress, flow.packets),
            Some(1),
            None,
        ],
        observed: (flow.rtt_ns > 0).then(|| exemplar(flow, flow.rtt_ns)),
    }
}

fn exemplar(flow: &Flow, nanos: u64) -> Exemplar {
    let conversation = flow.conversation.map_or(0, |conversation| conversation.id);
    Exemplar { conversation, nanos, at_ms: flow.end_ms }
}

#[cfg(test)]
mod tests;
