//! Waiting for a condition by looking, so that no test sleeps and hopes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(10);

/// Milliseconds since 1970 by this machine's clock, as flows have them.
///
/// # Panics
/// When the clock is before 1970.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as u64
}

/// Looks at `condition` until it holds; false when `timeout` passed first.
#[must_use]
pub fn wait_for(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(STEP);
    }
}

/// Waits until `read` gives the same value for `quiet` on end, and returns it.
///
/// # Panics
/// When the value still changes after 30 s.
#[track_caller]
pub fn settled<T: PartialEq + std::fmt::Debug>(quiet: Duration, mut read: impl FnMut() -> T) -> T {
    let mut value = read();
    let mut since = Instant::now();
    let done = wait_for(Duration::from_secs(30), || {
        let now = read();
        if now != value {
            value = now;
            since = Instant::now();
        }
        since.elapsed() >= quiet
    });
    assert!(done, "never settled: {value:?}");
    value
}
