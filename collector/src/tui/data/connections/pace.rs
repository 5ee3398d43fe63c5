//! How fast a connection is now, and how it was in the last minute.

use std::time::Duration;

/// Steps of the history, and how long one is.
pub(in crate::tui) const STEPS: usize = 20;
const STEP_MS: u32 = 3_000;
/// Records that come within this time belong to the same report of an agent.
const SAME_REPORT_MS: u32 = 800;
/// A rate is that of at least, and at most, this time.
const SHORTEST_MS: u32 = 1_000;
const LONGEST_MS: u32 = 10_000;
/// Without another report a rate holds for this many times the time that it was measured over, and at least this long.
const HOLDS: u32 = 2;
const HOLDS_MS: u32 = 3_000;

/// Bytes in each direction of the latest report, and bytes of both in each step of the last minute.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tui) struct Pace {
    arrived: u32,
    span: u32,
    bytes: [u64; 2],
    /// A circle; `step` is the number of the newest one.
    history: [f32; STEPS],
    step: u32,
    class: u8,
}

/// Milliseconds since the start.
pub(super) fn ms(now: Duration) -> u32 {
    u32::try_from(now.as_millis()).unwrap_or(u32::MAX)
}

impl Pace {
    /// Bytes came `now` in a record of this length, to the server (0) or from it (1).
    pub(super) fn add(&mut self, bytes: u64, direction: usize, length_ms: u64, now: Duration) {
        let (now, length) = (ms(now), u32::try_from(length_ms).unwrap_or(u32::MAX).min(STEPS as u32 * STEP_MS));
        let since = now.saturating_sub(self.arrived);
        if self.span == 0 || since > SAME_REPORT_MS {
            // The report covers the time since the one before, or else as much as its records show.
            let known = self.span > 0 && since <= LONGEST_MS;
            self.span = if known { since } else { length }.clamp(SHORTEST_MS, LONGEST_MS);
            (self.arrived, self.bytes) = (now, [0; 2]);
        }
        self.bytes[direction] = self.bytes[direction].saturating_add(bytes);
        self.spread(bytes, length, now);
    }

    /// Puts bytes into the steps that a record was sent in.
    fn spread(&mut self, bytes: u64, length: u32, now: u32) {
        self.turn(now);
        let from = now.saturating_sub(length);
        let whole = f64::from((now - from).max(1));
        for step in from / STEP_MS..=now / STEP_MS {
            let (start, end) = (from.max(step * STEP_MS), now.min((step + 1).saturating_mul(STEP_MS)));
            let share = if from == now { 1.0 } else { f64::from(end.saturating_sub(start)) / whole };
            if step + STEPS as u32 > self.step {
                self.history[step as usize % STEPS] += (bytes as f64 * share) as f32;
            }
        }
    }

    /// Forgets the steps that are more than a minute ago.
    fn turn(&mut self, now: u32) {
        let step = now / STEP_MS;
        for gone in (self.step + 1..=step).take(STEPS) {
            self.history[gone as usize % STEPS] = 0.0;
        }
        if step > self.step + STEPS as u32 {
            self.history = [0.0; STEPS];
        }
        self.step = self.step.max(step);
    }

    /// Bytes a second, to the server and from it.
    pub(in crate::tui) fn rates(&self, now: Duration) -> [u64; 2] {
        if self.span == 0 || ms(now).saturating_sub(self.arrived) > self.holds() {
            return [0; 2];
        }
        self.bytes.map(|bytes| bytes.saturating_mul(1_000) / u64::from(self.span))
    }

    fn holds(&self) -> u32 {
        self.span.saturating_mul(HOLDS).max(HOLDS_MS)
    }

    /// How long the next report may take.
    pub(in crate::tui) fn patience(&self) -> Duration {
        Duration::from_millis(self.holds().into())
    }

    /// Bytes of each step of the last minute, the oldest first.
    pub(in crate::tui) fn history(&self, now: Duration) -> [u64; STEPS] {
        let mut turned = *self;
        turned.turn(ms(now));
        std::array::from_fn(|at| turned.history[(turned.step as usize + 1 + at) % STEPS] as u64)
    }

    /// The power of two of the rate, which changes only when the rate has changed by half: what rows are ordered by, so that they
    /// do not change their order all the time.
    pub(in crate::tui) fn class(&mut self, now: Duration) -> u8 {
        let rate = self.rates(now).iter().sum::<u64>();
        let class = |rate: u64| (u64::BITS - rate.leading_zeros()) as u8;
        let wanted = class(rate);
        let stays = rate > 0 && (class(rate.saturating_mul(3) / 2) == self.class || class(rate * 2 / 3) == self.class);
        if !stays {
            self.class = wanted;
        }
        self.class
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_rate_is_that_of_the_latest_report_and_ends_without_another() {
        let mut pace = Pace::default();
        for (second, bytes) in [(5, 5_000), (10, 10_000), (15, 20_000)] {
            pace.add(bytes, 0, 4_900, at(second * 1_000));
            pace.add(bytes / 2, 1, 4_900, at(second * 1_000 + 20));
        }
        assert_eq!(pace.rates(at(15_100)), [4_000, 2_000]);
        assert_eq!(pace.rates(at(21_000)), [4_000, 2_000], "until the next report is late");
        assert_eq!(pace.rates(at(26_000)), [0, 0]);
        pace.add(70, 0, 0, at(60_000));
        assert_eq!(pace.rates(at(60_000)), [70, 0], "over a second at least");
    }

    #[test]
    fn the_last_minute_has_the_bytes_when_they_were_sent() {
        let mut pace = Pace::default();
        pace.add(900, 0, 9_000, at(12_000));
        let history = pace.history(at(12_000));
        assert_eq!(history.iter().sum::<u64>(), 900);
        assert_eq!(history[STEPS - 4..], [300, 300, 300, 0]);
        assert_eq!(pace.history(at(30_000))[STEPS - 10..STEPS - 7], [300, 300, 300]);
        assert_eq!(pace.history(at(200_000)), [0; STEPS]);
        pace.add(7, 1, 0, at(200_000));
        assert_eq!(pace.history(at(200_000))[STEPS - 1], 7);
    }

    #[test]
    fn small_changes_do_not_change_the_order() {
        let mut pace = Pace::default();
        pace.add(1_000, 0, 1_000, at(1_000));
        let class = pace.class(at(1_000));
        for (second, bytes) in [(2, 1_030), (3, 1_000), (4, 1_100)] {
            pace.add(bytes, 0, 1_000, at(second * 1_000));
            assert_eq!(pace.class(at(second * 1_000)), class, "{bytes}");
        }
        pace.add(4_000, 0, 1_000, at(5_000));
        assert!(pace.class(at(5_000)) > class);
        assert_eq!(pace.class(at(60_000)), 0);
    }
}
