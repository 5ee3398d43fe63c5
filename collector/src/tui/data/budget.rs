//! How many rows the costly views may look at. Above it the screen would slow down the capture on a machine with few cores.

use std::time::Duration;

/// Rows a second, and rows at once.
const RATE: u64 = 30_000;
const BURST: f64 = 60_000.0;

/// A bucket that fills by [`RATE`] a second.
#[derive(Debug)]
pub(super) struct Budget {
    left: f64,
    at: Duration,
    most: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: BURST, at: Duration::ZERO, most: BURST }
    }
}

impl Budget {
    /// Allows everything.
    pub(super) fn without_limit() -> Self {
        Self { left: f64::INFINITY, most: f64::INFINITY, ..Self::default() }
    }

    /// Whether this many rows may be read, at `now` after the start.
    pub(super) fn allows(&mut self, rows: usize, now: Duration) -> bool {
        let gained = now.saturating_sub(self.at).as_secs_f64() * RATE as f64;
        (self.left, self.at) = ((self.left + gained).min(self.most), now);
        let allowed = self.left > 0.0;
        if allowed {
            // The last batch may be larger than what is left; the next ones pay for it.
            self.left -= rows as f64;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_the_rate_after_a_burst() {
        let mut budget = Budget::default();
        let (mut shown, mut at) = (0, Duration::ZERO);
        while at < Duration::from_secs(10) {
            shown += if budget.allows(2_000, at) { 2_000 } else { 0 };
            at += Duration::from_millis(5);
        }
        let most = BURST as u64 + 10 * RATE;
        assert!(shown <= most + 2_000 && shown + 4_000 >= most, "{shown} of {most}");
    }

    #[test]
    fn a_slow_capture_is_shown_whole() {
        let mut budget = Budget::default();
        let allowed = |second| budget.allows(RATE as usize, Duration::from_secs(second));
        assert!((0..100).all(allowed));
    }
}
