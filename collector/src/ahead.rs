//! Asking for memory before it is needed: a program that waits for each cache line in turn waits longest.

/// Flows that are prepared together.
pub(crate) const AHEAD: usize = 32;
/// Bytes.
pub(crate) const CACHE_LINE: usize = 64;

/// Asks for the cache line of a value, without waiting for it. Does nothing on processors that are not named here.
pub(crate) fn fetch<T>(value: &T) {
    let at = std::ptr::from_ref(value);
    // SAFETY: the instruction reads nothing that the program could see, and takes any address.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}
