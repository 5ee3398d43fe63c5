//! The end of a capture, at one moment for all programs: to take them off a thousand interfaces takes far longer.

use aya_ebpf::{macros::map, maps::Array};

/// 1: the capture has ended. The agent sets it.
#[map]
static ENDED: Array<u32> = Array::with_max_entries(1, 0);

/// Whether there is nothing to count any more.
#[inline(always)]
pub(crate) fn capture() -> bool {
    ENDED.get(0).is_some_and(|ended| *ended != 0)
}
