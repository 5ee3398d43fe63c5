//! Numbers of a capture as a whole, which a script can ask for.

use crate::observe::{ACK, Observation, RST, SYN, SYN_ACK};

/// Buckets of times: four for each doubling, from a microsecond.
const BUCKETS: usize = 128;

/// Times, as good as two digits.
#[derive(Clone, Debug)]
pub struct Times {
    buckets: [u64; BUCKETS],
    count: u64,
    worst_us: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0, worst_us: 0 }
    }
}

/// Numbers of a capture.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    /// Dropped packets that were lost: those that lose nothing are not counted.
    pub drops: u64,
    /// Records of TCP with a reset.
    pub resets: u64,
    /// Finished DNS transactions, with an answer or after the time for one.
    pub dns: u64,
    /// Those that had no answer, or one that reports an error; names that a search path leads past are not counted.
    pub dns_errors: u64,
    /// Those without an answer.
    pub dns_timeouts: u64,
    /// Round trips of TCP.
    pub rtt: Times,
    /// Times to DNS answers.
    pub dns_times: Times,
}

impl Times {
    /// Adds a time.
    pub fn add(&mut self, us: u64) {
        self.buckets[bucket(us)] += 1;
        self.count += 1;
        self.worst_us = self.worst_us.max(us);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest, in microseconds.
    pub fn worst_us(&self) -> u64 {
        self.worst_us
    }

    /// A time that so many percent do not exceed, in microseconds: up to a quarter too much.
    pub fn percentile_us(&self, percent: u64) -> u64 {
        let mut below = 0;
        let at = self.buckets.iter().position(|number| {
            below += number;
            below * 100 >= self.count * percent
        });
        if self.count == 0 { 0 } else { upper_us(at.unwrap_or(0)).min(self.worst_us) }
    }

    /// How many are beyond a time.
    pub(crate) fn beyond(&self, us: u64) -> u64 {
        self.buckets.iter().skip(bucket(us) + 1).sum()
    }
}

impl Measures {
    pub(crate) fn add(&mut self, seen: &Observation<'_>) {
        if seen.protocol == Some(crate::observe::TCP) && !seen.duplicate {
            self.resets += u64::from(seen.flags & RST != 0);
        }
        if seen.rtt_ns > 0 {
            self.rtt.add(seen.rtt_ns / 1_000);
        }
        let Some(dns) = seen.dns.filter(|_| !seen.duplicate) else { return };
        let timeout = dns.errno == 110 && !dns.answered;
        self.dns += u64::from(dns.answered || timeout);
        self.dns_timeouts += u64::from(timeout);
        if dns.latency_us > 0 {
            self.dns_times.add(dns.latency_us);
        }
    }
}

/// Whether a record shows an answer of the server.
pub fn is_answer(seen: &Observation<'_>) -> bool {
    let only_reset = seen.flags & RST != 0 && seen.flags & (SYN | SYN_ACK) == 0;
    seen.packets > 0
        && !only_reset
        && (seen.protocol != Some(crate::observe::TCP) || seen.flags & ACK != 0 || seen.flags == 0)
}

/// The bucket of a time: two bits after the first one.
fn bucket(us: u64) -> usize {
    let us = us.max(4);
    let power = us.ilog2();
    let fraction = (us >> (power - 2)) & 3;
    ((power as usize - 2) * 4 + fraction as usize).min(BUCKETS - 1)
}

/// The first time beyond a bucket.
fn upper_us(bucket: usize) -> u64 {
    let (power, fraction) = (bucket / 4 + 2, bucket as u64 % 4);
    (4 + fraction + 1) << (power - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_as_good_as_a_quarter() {
        let mut times = Times::default();
        (1..=1_000).for_each(|ms| times.add(ms * 1_000));
        for (percent, exact) in [(1, 10_000), (50, 500_000), (95, 950_000), (100, 1_000_000)] {
            let is = times.percentile_us(percent);
            assert!((exact..=exact * 5 / 4).contains(&is), "{percent}: {is}");
        }
        assert_eq!(Times::default().percentile_us(95), 0);
    }
}
