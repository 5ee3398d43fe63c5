//! What happened in each of the last seconds: the view Graph.

use std::collections::VecDeque;
use std::time::Duration;

use netobserv_wire::Flow;
use netobserv_wire::flow::Dns;

/// Seconds that are kept: two dots a column on the widest terminal.
const MOST: usize = 600;
/// Steps of the histogram: four to each doubling of a time in microseconds.
const STEPS: usize = 4 * 40;

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::tui) struct Second {
    pub(in crate::tui) flows: u64,
    pub(in crate::tui) bytes: u64,
    pub(in crate::tui) packets: u64,
    pub(in crate::tui) drops: u64,
    /// Median and 95th percentile, microseconds; 0 when there were none.
    pub(in crate::tui) dns_us: [u64; 2],
    pub(in crate::tui) rtt_us: [u64; 2],
}

/// The last seconds, oldest first.
#[derive(Debug, Default)]
pub(in crate::tui) struct Seconds {
    done: VecDeque<Second>,
    current: Second,
    /// Number of the current second since the start.
    number: u64,
    dns: Histogram,
    rtt: Histogram,
}

impl Seconds {
    /// Time passes until `now`; seconds without traffic are zero.
    pub(in crate::tui) fn advance(&mut self, now: Duration) {
        while self.number < now.as_secs() {
            let done = Second { dns_us: self.dns.take(), rtt_us: self.rtt.take(), ..std::mem::take(&mut self.current) };
            self.done.push_back(done);
            if self.done.len() > MOST {
                self.done.pop_front();
            }
            // After a long suspension only the last seconds matter.
            self.number = (self.number + 1).max(now.as_secs().saturating_sub(MOST as u64));
        }
    }

    pub(in crate::tui) fn add(&mut self, flow: &Flow) {
        self.current.flows += 1;
        self.current.bytes = self.current.bytes.saturating_add(flow.bytes);
        self.current.packets = self.current.packets.saturating_add(flow.packets);
        if let Some(drops) = &flow.drops {
            self.current.drops = self.current.drops.saturating_add(drops.packets);
        }
        if flow.rtt_ns > 0 {
            self.rtt.add(flow.rtt_ns / 1_000);
        }
        if let Some(micros) = flow.dns.as_deref().and_then(dns_micros) {
            self.dns.add(micros);
        }
    }

    /// Seconds that are over.
    pub(in crate::tui) fn done(&self) -> impl DoubleEndedIterator<Item = &Second> + ExactSizeIterator {
        self.done.iter()
    }
}

/// How long an answer took. Of whole milliseconds, which are all that a flowlogs-pipeline sends, none means less than one: how
/// much is not known.
fn dns_micros(dns: &Dns) -> Option<u64> {
    dns.latency_us.or_else(|| dns.latency_ms.filter(|ms| *ms > 0).map(|ms| ms.saturating_mul(1_000)))
}

/// Times, to 19 %.
#[derive(Debug)]
struct Histogram {
    /// How many of each step, and the longest of them.
    steps: [(u32, u64); STEPS],
    count: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { steps: [(0, 0); STEPS], count: 0 }
    }
}

impl Histogram {
    fn add(&mut self, micros: u64) {
        let step = ((micros.max(1) as f64).log2() * 4.0) as usize;
        let (count, longest) = &mut self.steps[step.min(STEPS - 1)];
        (*count, *longest) = (*count + 1, micros.max(*longest));
        self.count += 1;
    }

    /// Median and 95th percentile; then it is empty.
    fn take(&mut self) -> [u64; 2] {
        if self.count == 0 {
            return [0; 2];
        }
        let full = std::mem::take(self);
        [50, 95].map(|percent| full.percentile(percent))
    }

    fn percentile(&self, percent: u32) -> u64 {
        let wanted = (u64::from(self.count) * u64::from(percent)).div_ceil(100);
        let mut seen = 0;
        let step = self.steps.iter().find(|(count, _)| {
            seen += u64::from(*count);
            seen >= wanted
        });
        // A time that was measured, not one that lies somewhere in the step.
        step.map_or(0, |(_, longest)| *longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::Drops;

    #[test]
    fn a_second_sums_up_and_gaps_are_zero() {
        let mut seconds = Seconds::default();
        let drops = Drops { packets: 2, ..Drops::default() };
        seconds.add(&Flow { bytes: 100, packets: 3, drops: Some(Box::new(drops)), ..Flow::default() });
        seconds.add(&Flow { bytes: 1, packets: 1, ..Flow::default() });
        seconds.advance(Duration::from_millis(3_500));
        let done: Vec<_> = seconds.done().collect();
        assert_eq!(done.len(), 3);
        assert_eq!((done[0].bytes, done[0].packets, done[0].drops, done[0].flows), (101, 4, 2, 2));
        assert_eq!(*done[1], Second::default());
    }

    #[test]
    fn percentiles_are_close() {
        let mut seconds = Seconds::default();
        for milli in 1..=100 {
            let dns = Dns { latency_ms: Some(milli), ..Dns::default() };
            seconds.add(&Flow { rtt_ns: milli * 1_000_000, dns: Some(Box::new(dns)), ..Flow::default() });
        }
        seconds.advance(Duration::from_secs(1));
        let second = seconds.done().next().unwrap();
        for (value, wanted) in second.rtt_us.into_iter().chain(second.dns_us).zip([50_000, 95_000, 50_000, 95_000]) {
            assert!(value.abs_diff(wanted) < wanted / 5, "{value} instead of {wanted}");
        }
    }

    #[test]
    fn a_latency_on_the_graph_is_one_that_was_measured() {
        let dns = |latency_us, latency_ms| Dns { latency_us, latency_ms, ..Dns::default() };
        for (latencies, shown) in [
            (vec![dns(Some(431), Some(0)); 3], [431, 431]),
            (vec![dns(None, Some(7)); 3], [7_000, 7_000]),
            (vec![dns(None, Some(0)), dns(None, None)], [0, 0]),
        ] {
            let mut seconds = Seconds::default();
            for dns in latencies {
                seconds.add(&Flow { dns: Some(Box::new(dns)), ..Flow::default() });
            }
            seconds.advance(Duration::from_secs(1));
            assert_eq!(seconds.done().next().unwrap().dns_us, shown);
        }
    }

    #[test]
    fn a_long_suspension_is_quick() {
        let mut seconds = Seconds::default();
        seconds.advance(Duration::from_secs(u64::MAX / 2));
        assert!(seconds.done().len() <= MOST);
    }
}
