//! What the counters were, second by second: the graphs of the screen.

use std::collections::VecDeque;

use netobserv_contract::metrics::Metric;

use super::registry::{MetricTotals, Registry};

/// As long as the longest range of the graphs.
const KEPT: usize = 6 * 3600;

/// The totals of all metrics, once a second.
#[derive(Debug)]
pub(crate) struct History {
    metrics: Vec<Metric>,
    last: Vec<MetricTotals>,
    /// For each metric the newest value last: a count, or the mean of the observations in microseconds.
    seconds: Vec<VecDeque<u64>>,
}

impl History {
    pub(crate) fn new(registry: &Registry) -> Self {
        let (metrics, last): (Vec<_>, Vec<_>) = registry.totals().into_iter().unzip();
        let seconds = vec![VecDeque::new(); metrics.len()];
        Self { metrics, last, seconds }
    }

    /// The metrics, in the order of all calls.
    pub(crate) fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Notes what was counted in the last `seconds`, one or more if the screen was late.
    pub(crate) fn note(&mut self, registry: &Registry, seconds: usize) {
        let now = registry.totals();
        for (index, (metric, now)) in now.into_iter().enumerate() {
            let before = std::mem::replace(&mut self.last[index], now);
            let count = now.count.saturating_sub(before.count);
            let value = if metric.measure.is_histogram() {
                let micros = now.nanos.saturating_sub(before.nanos) / 1_000;
                u64::try_from(micros.checked_div(u128::from(count)).unwrap_or(0)).unwrap_or(u64::MAX)
            } else {
                count / seconds.max(1) as u64
            };
            let values = &mut self.seconds[index];
            values.extend(std::iter::repeat_n(value, seconds.min(KEPT)));
            values.drain(..values.len().saturating_sub(KEPT));
        }
    }

    /// The newest value of a metric, and the highest of the last `range` seconds.
    pub(crate) fn extremes(&self, index: usize, range: usize) -> (u64, u64) {
        let values = &self.seconds[index];
        (values.back().copied().unwrap_or(0), values.iter().rev().take(range).copied().max().unwrap_or(0))
    }

    /// The last `range` seconds of a metric as at most `most` means of equal times, the newest last.
    pub(crate) fn points(&self, index: usize, range: usize, most: usize) -> Vec<u64> {
        let values = &self.seconds[index];
        let each = range.div_ceil(most.max(1)).max(1);
        let wanted = values.iter().rev().take(range).copied().collect::<Vec<_>>();
        let mean =
            |part: &[u64]| (part.iter().map(|value| u128::from(*value)).sum::<u128>() / part.len() as u128) as u64;
        let mut points: Vec<u64> = wanted.chunks(each).map(mean).collect();
        points.reverse();
        points
    }
}

#[cfg(test)]
mod tests {
    use netobserv_contract::metrics::chosen;
    use netobserv_wire::Flow;

    use super::*;

    #[test]
    fn counters_are_rates_and_histograms_are_means() {
        let registry = Registry::new(&chosen("node_flows_total,node_rtt_seconds").unwrap(), 100);
        let mut history = History::new(&registry);
        let flow = |rtt_ns| Flow { rtt_ns, ..Flow::default() };
        registry.add(&[flow(1_000_000), flow(3_000_000)]);
        history.note(&registry, 1);
        history.note(&registry, 1);
        registry.add(&vec![flow(0); 6]);
        history.note(&registry, 3);
        let of = |name: &str| history.metrics().iter().position(|metric| metric.name() == name).unwrap();
        assert_eq!(history.points(of("node_flows_total"), 300, 300), [2, 0, 2, 2, 2], "three seconds with six flows");
        assert_eq!(history.points(of("node_rtt_seconds"), 300, 300), [2_000, 0, 0, 0, 0]);
    }

    #[test]
    fn a_range_fits_its_graph() {
        let registry = Registry::new(&chosen("node_flows_total").unwrap(), 100);
        let mut history = History::new(&registry);
        for _ in 0..10 {
            registry.add(&[Flow::default(), Flow::default()]);
            history.note(&registry, 1);
        }
        assert_eq!(history.points(0, 300, 100), [2, 2, 2, 2], "three seconds each, the oldest of what is left");
        assert_eq!((history.points(0, 5, 100), history.extremes(0, 5)), (vec![2; 5], (2, 2)));
        for _ in 0..3 {
            history.note(&registry, KEPT);
        }
        assert_eq!(history.seconds[0].len(), KEPT);
    }
}
