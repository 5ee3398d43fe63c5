//! How many files this process may have open: each interface may take two, each network namespace some.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the rest of the agent needs: connections to the collector, namespaces, the files of /proc.
const RESERVE: usize = 40;
/// More than any machine has interfaces, and below the kernel's own bound (fs.nr_open).
const ENOUGH: u64 = 1 << 20;

/// Raises the limit as far as this process may.
pub(crate) fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    // With CAP_SYS_RESOURCE beyond the hard limit.
    if soft < ENOUGH && setrlimit(Resource::RLIMIT_NOFILE, ENOUGH, ENOUGH.max(hard)).is_err() && soft < hard {
        // As it was is what remains.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The limit.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// How many more files may be opened, those left out that the rest needs.
pub(crate) fn spare() -> usize {
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    usize::try_from(limit()).unwrap_or(usize::MAX).saturating_sub(open + RESERVE)
}
