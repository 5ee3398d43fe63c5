//! What goes wrong, until it is told otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

/// Faults of the server. None by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Kinds, in the plural, that nobody may read or write: 403.
    pub forbidden: BTreeSet<String>,
    /// Kinds, in the plural, that the server does not have: 404.
    pub absent: BTreeSet<String>,
    /// Every request is answered this late.
    pub delay: Duration,
    /// Every request is answered with this status: 500, 503, 429.
    pub broken: Option<u16>,
    /// Watches say nothing, not even bookmarks: a connection that hangs.
    pub silent: bool,
}
