//! Counters of what happens to packets, and which of the two sets of maps is active.

use core::arch::asm;

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray},
};
use netobserv_ebpf_common::{COUNTERS as SLOTS, Counter};

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(SLOTS, 0);

/// 0: the maps A are active, 1: B.
#[map]
static ACTIVE: Array<u32> = Array::with_max_entries(1, 0);

/// Whether the maps B are active.
#[inline(always)]
pub(crate) fn second() -> bool {
    ACTIVE.get(0).is_some_and(|active| *active != 0)
}

/// Adds to one of the counters.
#[inline(always)]
pub(crate) fn counter(slot: Counter, add: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(slot as u32) {
        // SAFETY: the map's own value of this CPU, which nothing else writes meanwhile.
        unsafe { *value += add }
    }
}

// core has no read-modify-write atomics for the BPF target; these are the plain ones, which return nothing.

/// Adds to a number that other CPUs may change at the same time.
///
/// # Safety
/// It is the value of a map.
#[inline(always)]
pub(crate) unsafe fn atomic_add(to: *mut u64, value: u64) {
    // SAFETY: one instruction, on a value that the verifier has checked.
    unsafe { asm!("lock *(u64 *)({to} + 0) += {value}", to = in(reg) to, value = in(reg) value) }
}

/// Sets bits of a number that other CPUs may change at the same time.
///
/// # Safety
/// It is the value of a map.
#[inline(always)]
pub(crate) unsafe fn atomic_or(to: *mut u32, value: u32) {
    // SAFETY: one instruction, on a value that the verifier has checked.
    unsafe { asm!("lock *(u32 *)({to} + 0) |= {value}", to = in(reg) to, value = in(wreg) value) }
}
