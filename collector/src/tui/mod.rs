//! The live screen. State ([`app`]), columns, drawing and the terminal are apart.

mod app;
mod columns;
mod draw;
mod terminal;

use std::collections::VecDeque;
use std::sync::{Mutex, TryLockError};

use netobserv_wire::Flow;

pub use terminal::Screen;

/// Flows that wait for the screen. More than the tallest terminal shows is of no use.
const KEPT: usize = 128;

/// Whether colours are wanted (<https://no-color.org>).
pub fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The latest flows, on their way to the screen. Full or in use, it drops: the screen never makes anybody wait.
#[derive(Debug, Default)]
pub struct Latest(Mutex<VecDeque<Flow>>);

impl Latest {
    /// Shows some of these, the last ones first.
    pub fn offer(&self, flows: &[Flow]) {
        let mut latest = match self.0.try_lock() {
            Ok(latest) => latest,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Under load, what is there is young enough until the next draw.
        if latest.len() < KEPT {
            let last = flows.len().saturating_sub(KEPT - latest.len());
            latest.extend(flows[last..].iter().cloned());
        }
    }

    /// What came since the last call.
    fn take(&self) -> VecDeque<Flow> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

#[cfg(test)]
mod tests;
