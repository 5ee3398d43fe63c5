//! Interfaces that were not watched, in words.

use std::fmt;

use crate::pbflow::UnwatchedInterfaces;

/// Most names in one line.
const MOST_NAMES: usize = 5;

impl fmt::Display for UnwatchedInterfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        let named = self.names.len().min(MOST_NAMES);
        write!(f, "{} interface{plural}: {}: {}", self.count, self.reason, self.names[..named].join(", "))?;
        match u64::from(self.count).saturating_sub(named as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
