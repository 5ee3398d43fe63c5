//! Memory for the files that are about to be written.
//!
//! Many a virtual machine gives memory that is free back to its host, and pays for it when it is used again: here that made writing
//! a file ten times slower than the same write a moment later. How much is paid depends on what the machine did before, and
//! not on the collector. So memory that a run may fill is used once, just before.

use std::hint::black_box;
use std::time::Duration;

use netobserv_testkit::memory::free;

/// Bytes of files a second, as far as was seen.
const RATE: u64 = 1 << 30;
/// Bytes that stay free.
const SPARE: u64 = 1 << 30;
const PAGE: usize = 4096;

/// Memory for the files of so much time.
pub(crate) fn memory(time: Duration) {
    let wanted = (time.as_secs_f64() * RATE as f64) as u64;
    let mut bytes = Vec::<u8>::with_capacity(wanted.min(free().saturating_sub(SPARE)) as usize);
    for byte in bytes.spare_capacity_mut().iter_mut().step_by(PAGE) {
        byte.write(1);
    }
    black_box(bytes);
}
