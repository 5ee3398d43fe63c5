//! Amounts of memory as the kernel tells them in files of lines such as `VmRSS:   1234 kB`.

use std::path::Path;

/// Bytes of a process in memory now, or at most until now: `VmRSS` or `VmHWM` of proc_pid_status(5). `None` when it is gone.
#[track_caller]
pub fn of_process(pid: i32, name: &str) -> Option<u64> {
    bytes(format!("/proc/{pid}/status"), name)
}

/// Bytes of memory that nothing uses: `MemFree` of proc_meminfo(5).
///
/// # Panics
/// When the kernel does not say.
#[track_caller]
pub fn free() -> u64 {
    bytes("/proc/meminfo", "MemFree").expect("what memory there is")
}

/// Bytes in MiB, to be printed.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[track_caller]
fn bytes(file: impl AsRef<Path>, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let amount = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
    // A process that has just ended has no memory any more.
    Some(amount?.parse::<u64>().expect("a number of kB") << 10)
}
