//! Numbers that differ from run to run, so that tests try other amounts and moments each time, and that come again for the
//! seed that a failed test prints.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

/// Names the seed of a run; without it there is another one each time.
pub const VARIABLE: &str = "NETOBSERV_TEST_SEED";

/// A row of numbers (SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Those of this test in this run. Says the seed, which is shown when the test fails.
    pub fn of(test: &str) -> Self {
        let seed = seed();
        println!("{VARIABLE}={seed} {test}");
        let state = test.bytes().fold(seed, |state, byte| mix(state ^ u64::from(byte)));
        Self { state }
    }

    /// The same numbers in each run.
    pub fn seeded(seed: u64) -> Self {
        Self { state: mix(seed) }
    }

    /// A number in a range.
    pub fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        range.start() + mix(self.state) % (range.end() - range.start() + 1)
    }

    /// A time in a range of milliseconds.
    pub fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(range))
    }
}

fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// # Panics
/// When the variable is no number.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let given = || std::env::var(VARIABLE).ok().map(|text| text.parse().expect("a seed is a number"));
    // Small, to be typed again.
    *SEED.get_or_init(|| given().unwrap_or_else(|| RandomState::new().build_hasher().finish() % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_again_and_stay_in_their_range() {
        let row = |test: &str| {
            let mut dice = Dice::of(test);
            (0..1_000).map(|_| dice.number(3..=9)).collect::<Vec<_>>()
        };
        assert_eq!(row("a"), row("a"));
        assert_ne!(row("a"), row("b"));
        let mut seen = row("a");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [3, 4, 5, 6, 7, 8, 9]);
    }
}
