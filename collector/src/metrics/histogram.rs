//! A distribution of times. Sums are whole nanoseconds: what many flows add up to is exact.

use netobserv_contract::metrics::BUCKETS;

/// One observation that a bucket shows as an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    /// The conversation it belongs to.
    pub(super) conversation: u64,
    /// What was observed.
    pub(super) nanos: u64,
    /// When, in milliseconds since 1970.
    pub(super) at_ms: u64,
}

/// A classic histogram: each bucket counts what is above the bound before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    pub(super) buckets: [u64; BUCKETS.len() + 1],
    pub(super) sum_nanos: u128,
    pub(super) exemplars: [Option<Exemplar>; BUCKETS.len() + 1],
}

impl Histogram {
    pub(super) fn observe(&mut self, seen: Exemplar) {
        let seconds = seen.nanos as f64 / 1e9;
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket] += 1;
        self.sum_nanos += u128::from(seen.nanos);
        if seen.conversation != 0 {
            self.exemplars[bucket] = Some(seen);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for nanos in [5_000_000, 5_000_001, 1_000_000_000, 1_000_000_001] {
            histogram.observe(Exemplar { conversation: 7, nanos, at_ms: 1 });
        }
        assert_eq!(histogram.buckets, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((histogram.count(), histogram.sum_nanos), (4, 2_010_000_002));
        assert_eq!(histogram.exemplars[0].unwrap().nanos, 5_000_000);
    }
}
