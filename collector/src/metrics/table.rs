//! The series of the metrics that share their labels: one look-up for all of them.

use std::hash::{BuildHasher, Hasher};

use compact_str::CompactString;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use netobserv_contract::metrics::{BUCKETS, Level, Measure, Metric};

use super::histogram::{Exemplar, Histogram};

/// Lines that a histogram takes in the text exposition, which is what a Prometheus calls series: buckets, sum and count.
const HISTOGRAM_SERIES: u64 = BUCKETS.len() as u64 + 3;
/// What everything above the limit is labeled.
pub(super) const OTHER: &str = "other";
/// Most measures with the same labels.
const MOST: usize = 6;

/// One set of labels.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) labels: Box<[CompactString]>,
    /// Bit N: measure N of the table was counted here.
    seen: u8,
    pub(super) counters: [u64; MOST],
    pub(super) histogram: Option<Box<Histogram>>,
}

/// Series under the limit.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) used: u64,
    pub(super) limit: u64,
}

impl Room {
    /// Whether there was room for these.
    fn take(&mut self, series: u64) -> bool {
        let fits = self.used + series <= self.limit;
        self.used += if fits { series } else { 0 };
        fits
    }
}

/// Measures with the same labels.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) level: Level,
    /// All of the group; those that are wanted have their bit in `wanted`.
    group: &'static [Measure],
    wanted: u8,
    rows: HashTable<Row>,
    other: Row,
    /// Observations of each measure that had no series of their own.
    pub(super) over: [u64; MOST],
    hasher: FixedState,
}

/// What one flow adds to one set of labels: an amount for each counter of the group, and a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amounts {
    pub(super) counters: [Option<u64>; MOST],
    pub(super) observed: Option<Exemplar>,
}

/// Measures that go together.
pub(super) const GROUPS: [&[Measure]; 4] = [
    &[
        Measure::EgressBytes,
        Measure::IngressBytes,
        Measure::EgressPackets,
        Measure::IngressPackets,
        Measure::Flows,
        Measure::Rtt,
    ],
    &[Measure::DropPackets, Measure::DropBytes],
    &[Measure::DnsLatency],
    &[Measure::PolicyEvents],
];

impl Table {
    /// `None` when none of its metrics is wanted.
    pub(super) fn new(level: Level, group: &'static [Measure], metrics: &[Metric]) -> Option<Self> {
        let is_wanted = |measure: &Measure| metrics.contains(&Metric { level, measure: *measure });
        let bits = group.iter().enumerate().filter(|(_, measure)| is_wanted(measure)).map(|(bit, _)| 1 << bit);
        let wanted = bits.sum();
        let labels = Metric { level, measure: group[0] }.labels().map(|_| CompactString::from(OTHER)).collect();
        (wanted != 0).then(|| Self {
            level,
            group,
            wanted,
            rows: HashTable::new(),
            other: Row { labels, ..Row::default() },
            over: [0; MOST],
            hasher: FixedState::default(),
        })
    }

    pub(super) fn is_of(&self, group: &'static [Measure]) -> bool {
        self.group == group
    }

    /// Adds a flow. What has no room under the limit is added to the series `other`.
    pub(super) fn add(&mut self, labels: &[&str], amounts: &Amounts, room: &mut Room) {
        let counted = (0..self.group.len()).filter(|bit| match self.group[*bit].is_histogram() {
            true => amounts.observed.is_some(),
            false => amounts.counters[*bit].is_some(),
        });
        let bits = counted.fold(0u8, |bits, bit| bits | 1 << bit) & self.wanted;
        if bits == 0 {
            return;
        }
        let hash = hash(&self.hasher, labels.iter().copied());
        let is_it = |row: &Row| row.labels.iter().map(CompactString::as_str).eq(labels.iter().copied());
        let seen = self.rows.find(hash, is_it).map_or(0, |row| row.seen);
        let new = bits & !seen;
        let cost: u64 = self.measures(new).map(|(_, measure)| series_of(measure)).sum();
        let fits = room.take(cost);
        if !fits {
            bits_of(new).for_each(|bit| self.over[bit] += 1);
            self.other.add(new, amounts);
        }
        let own = if fits { bits } else { bits & seen };
        if own != 0 {
            let hasher = &self.hasher;
            let rehash = |row: &Row| self::hash(hasher, row.labels.iter().map(CompactString::as_str));
            self.rows.entry(hash, is_it, rehash).or_insert_with(|| Row::new(labels)).get_mut().add(own, amounts);
        }
    }

    fn measures(&self, bits: u8) -> impl Iterator<Item = (usize, Measure)> {
        let group = self.group;
        bits_of(bits).map(move |bit| (bit, group[bit]))
    }

    /// The wanted measures, with their places in the rows.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (usize, Measure)> {
        self.measures(self.wanted)
    }

    /// The rows of a measure in the order of their labels, that of everything above the limit last.
    pub(super) fn rows_of(&self, place: usize) -> Vec<&Row> {
        let has_it = |row: &&Row| row.seen & 1 << place != 0;
        let mut rows: Vec<&Row> = self.rows.iter().filter(has_it).collect();
        rows.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        rows.extend(Some(&self.other).filter(has_it));
        rows
    }

    /// What a measure sums up to over all labels: what was counted, or the number of observations and their nanoseconds.
    pub(super) fn total(&self, place: usize, measure: Measure) -> (u64, u128) {
        let rows = self.rows.iter().chain([&self.other]).map(|row| row.total(place, measure));
        rows.fold((0, 0), |(count, nanos), row| (count.saturating_add(row.0), nanos + row.1))
    }
}

impl Row {
    fn new(labels: &[&str]) -> Self {
        Self { labels: labels.iter().map(|label| CompactString::from(*label)).collect(), ..Self::default() }
    }

    /// What a measure sums up to under these labels.
    pub(super) fn total(&self, place: usize, measure: Measure) -> (u64, u128) {
        if measure.is_histogram() {
            return self.histogram.as_ref().map_or((0, 0), |histogram| (histogram.count(), histogram.sum_nanos));
        }
        (self.counters[place], 0)
    }

    /// A peer's numbers may be anything: a sum stops at the largest there is.
    fn add(&mut self, bits: u8, amounts: &Amounts) {
        self.seen |= bits;
        for bit in bits_of(bits) {
            match (amounts.counters[bit], amounts.observed) {
                (Some(amount), _) => self.counters[bit] = self.counters[bit].saturating_add(amount),
                (None, Some(observed)) => self.histogram.get_or_insert_default().observe(observed),
                (None, None) => {}
            }
        }
    }
}

fn bits_of(bits: u8) -> impl Iterator<Item = usize> {
    (0..MOST).filter(move |bit| bits & 1 << bit != 0)
}

fn series_of(measure: Measure) -> u64 {
    if measure.is_histogram() { HISTOGRAM_SERIES } else { 1 }
}

fn hash<'a>(state: &FixedState, labels: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = state.build_hasher();
    for label in labels {
        hasher.write(label.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish()
}
