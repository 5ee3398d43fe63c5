//! How long packets are counted into one record. When records wait to be sent, because the collector, the network, or this agent for
//! want of CPU is too slow, longer windows make fewer of them before there is no more room.

use std::time::Duration;

use tracing::info;

/// Longest window. Longer ones would report events too late.
const LONGEST: Duration = Duration::from_secs(30);

/// Part of a queue that is taken: waiting, and room for.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Records that wait.
    pub waiting: usize,
    /// Records that there is room for in all.
    pub capacity: usize,
}

/// The length of the windows.
#[derive(Debug)]
pub struct Pace {
    usual: Duration,
    now: Duration,
}

impl Pace {
    /// The usual pace.
    pub fn new(usual: Duration) -> Self {
        Self { usual, now: usual }
    }

    /// Length of the window now.
    pub fn window(&self) -> Duration {
        self.now
    }

    /// Whether windows are longer than they should be.
    pub fn is_stretched(&self) -> bool {
        self.now > self.usual
    }

    /// Length of the next window. Twice as long from a quarter full on, back again below a sixteenth: in between it stays.
    pub fn next(&mut self, Fill { waiting, capacity }: Fill) -> Duration {
        let before = self.now;
        if waiting > capacity / 4 {
            self.now = (self.now * 2).min(LONGEST).max(self.usual);
        } else if waiting < capacity / 16 {
            self.now = (self.now / 2).max(self.usual);
        }
        if self.now > before {
            info!("records wait to be sent: counting for {:?} at a time", self.now);
        }
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(usual_s: u64, fills: &[usize]) -> Vec<u64> {
        let mut pace = Pace::new(Duration::from_secs(usual_s));
        fills.iter().map(|waiting| pace.next(Fill { waiting: *waiting, capacity: 160 }).as_secs()).collect()
    }

    #[test]
    fn windows_grow_while_records_wait_and_shrink_when_they_are_gone() {
        let fills = [0, 40, 41, 80, 160, 160, 160, 160, 41, 20, 10, 9, 0, 0, 0, 0, 0];
        assert_eq!(windows(1, &fills), [1, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 15, 7, 3, 1, 1, 1]);
    }

    #[test]
    fn a_long_window_stays_as_it_is() {
        assert_eq!(windows(60, &[160, 160, 0]), [60, 60, 60]);
    }
}
