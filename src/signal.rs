//! Ctrl-C, SIGTERM and SIGHUP become a message or a count: everything else happens in the normal flow of the program.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A closing terminal sends SIGHUP more than once (kernel and shell); a person does not press Ctrl-C twice in this time.
pub(crate) const ONE_SIGNAL: Duration = Duration::from_millis(500);

/// Calls `note` for each signal, on a thread of its own. Once a process.
///
/// # Errors
///
/// The handler could not be installed.
pub fn listen(note: impl Fn() + Send + 'static) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(note)
}

/// How often the user wanted to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupts(Arc<Mutex<Count>>);

#[derive(Debug, Default)]
struct Count {
    number: u32,
    last: Option<Instant>,
    /// The next signal only repeats what is known already.
    expected: bool,
}

impl Interrupts {
    /// Counts signals from now on. Once a process.
    ///
    /// # Errors
    ///
    /// The handler could not be installed.
    pub fn listen() -> Result<Self, ctrlc::Error> {
        let interrupts = Self::default();
        let noting = interrupts.clone();
        listen(move || noting.note(Instant::now()))?;
        Ok(interrupts)
    }

    fn note(&self, now: Instant) {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if count.last.is_none_or(|last| now.duration_since(last) > ONE_SIGNAL) {
            count.number += u32::from(!std::mem::take(&mut count.expected));
            count.last = Some(now);
        }
    }

    /// The end is under way for another reason, and the next signal repeats it: Wireshark closes its pipe, then sends SIGTERM.
    pub fn expect_one(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).expected = true;
    }

    /// The number of interrupts so far.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).number
    }

    /// An interrupt after this moment shows as a greater [`Interrupts::number`]: a step that must not be interrupted by the same one
    /// that led to it compares with that.
    #[must_use]
    pub fn beyond(&self, number: u32) -> bool {
        self.number() > number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes_of_a_signal_count_once() {
        let (interrupts, start) = (Interrupts::default(), Instant::now());
        assert!(!interrupts.beyond(0));
        for millis in [0, 1, 400] {
            interrupts.note(start + Duration::from_millis(millis));
        }
        assert_eq!(interrupts.number(), 1);
        interrupts.note(start + Duration::from_millis(600));
        assert!(interrupts.beyond(1));
    }

    #[test]
    fn a_signal_that_is_expected_does_not_count() {
        let (interrupts, start) = (Interrupts::default(), Instant::now());
        interrupts.expect_one();
        interrupts.note(start);
        interrupts.note(start + Duration::from_millis(100));
        assert_eq!(interrupts.number(), 0);
        interrupts.note(start + Duration::from_millis(700));
        assert_eq!(interrupts.number(), 1, "one that comes later is the user's");
    }
}
