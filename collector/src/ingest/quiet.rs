//! Log lines that a peer could have repeated without end: each kind is printed once in a while, with the number of those left out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a line of one kind is printed.
const QUIET: Duration = Duration::from_secs(10);
/// Kinds that are remembered; with more, all of them begin again.
const MOST_KINDS: usize = 1_024;

/// When lines of each kind were printed.
#[derive(Debug)]
pub(super) struct Quiet<K>(Mutex<HashMap<K, Printed>>);

#[derive(Debug)]
struct Printed {
    at: Instant,
    /// How often one was left out since.
    left_out: u64,
}

impl<K> Default for Quiet<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Quiet<K> {
    /// How many lines of this kind were left out since the last one; `None` if this one is to be left out too.
    pub(super) fn left_out(&self, kind: K, now: Instant) -> Option<u64> {
        let mut printed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match printed.get_mut(&kind) {
            Some(printed) if now.duration_since(printed.at) < QUIET => {
                printed.left_out += 1;
                None
            }
            earlier => {
                let left_out = earlier.map_or(0, |printed| printed.left_out);
                if printed.len() >= MOST_KINDS {
                    printed.clear();
                }
                printed.insert(kind, Printed { at: now, left_out: 0 });
                Some(left_out)
            }
        }
    }
}

/// How the number of those left out is printed.
pub(super) fn more_like_it(left_out: u64) -> String {
    if left_out > 0 { format!(" ({left_out} more like it)") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_one_kind_is_printed_once_in_a_while() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        let printed =
            [0, 1, 2, 9, 10, 11, 30].map(|second| quiet.left_out("slow", start + Duration::from_secs(second)));
        assert_eq!(printed, [Some(0), None, None, None, Some(3), None, Some(1)]);
        assert_eq!(quiet.left_out("other", start), Some(0));
    }

    #[test]
    fn kinds_without_end_take_no_memory_without_end() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        (0..10 * MOST_KINDS).for_each(|kind| assert!(quiet.left_out(kind, start).is_some()));
        assert!(quiet.0.lock().unwrap().len() <= MOST_KINDS);
    }
}
