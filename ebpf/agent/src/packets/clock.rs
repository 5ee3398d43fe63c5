//! From the kernel programs' clock to the time of day.

use nix::time::{ClockId, clock_gettime};

/// Readings of which the quickest pair counts.
const TRIES: usize = 3;
/// A difference below this is how far apart two readings were, not a change of the time of day (ns).
const JITTER: i64 = 10_000;

/// The time of day, less CLOCK_MONOTONIC.
pub struct Clock {
    offset: i64,
}

impl Clock {
    /// As it is now.
    pub fn now() -> Self {
        Self { offset: measure() }
    }

    /// Looks again: the time of day can be set. Differences too small for that are passed over, or packets would change
    /// places.
    pub fn refresh(&mut self) {
        let offset = measure();
        if (offset - self.offset).abs() > JITTER {
            self.offset = offset;
        }
    }

    /// Ns since 1970 at a monotonic time.
    pub fn wall(&self, monotonic_ns: u64) -> u64 {
        monotonic_ns.saturating_add_signed(self.offset)
    }
}

fn measure() -> i64 {
    let read = |clock| clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec());
    let pair = || {
        let before = read(ClockId::CLOCK_MONOTONIC);
        let wall = read(ClockId::CLOCK_REALTIME);
        let after = read(ClockId::CLOCK_MONOTONIC);
        (after - before, wall - before - (after - before) / 2)
    };
    (0..TRIES).map(|_| pair()).min_by_key(|(width, _)| *width).map_or(0, |(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_becomes_the_time_of_day() {
        let mut clock = Clock::now();
        let monotonic: std::time::Duration = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let stamp = std::time::Duration::from_nanos(clock.wall(monotonic.as_nanos() as u64));
        assert!(now.abs_diff(stamp) < std::time::Duration::from_secs(1), "{stamp:?} at {now:?}");
        let before = clock.offset;
        clock.refresh();
        assert!(clock.offset == before || (clock.offset - before).abs() > JITTER);
    }
}
