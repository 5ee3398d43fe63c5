//! What the programs need of the kernel, as functions that are safe to call.
//!
//! Most of them are safe for one reason: before a program runs, the verifier proves each of its accesses. It refuses a program
//! with a pointer that may be wrong, so that the fault shows when the program is loaded, not in the kernel's memory.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{
        bpf_get_current_task, bpf_get_prandom_u32, bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_probe_read_kernel,
        generated,
    },
};

/// Values that any bits make a valid one of.
///
/// # Safety
/// The type has no bits that are invalid.
pub(crate) unsafe trait Bits: Copy {}

// SAFETY: numbers, and arrays of them.
unsafe impl Bits for u8 {}
// SAFETY: as above.
unsafe impl Bits for u16 {}
// SAFETY: as above.
unsafe impl Bits for u32 {}
// SAFETY: as above.
unsafe impl Bits for u64 {}
// SAFETY: as above.
unsafe impl<T: Bits, const N: usize> Bits for [T; N] {}
// SAFETY: an address; to use it needs a proof of its own.
unsafe impl Bits for *mut c_void {}

/// CLOCK_MONOTONIC in ns.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: reads a clock.
    unsafe { bpf_ktime_get_ns() }
}

/// The same as of the latest tick (1 to 4 ms), at half the price.
#[inline(always)]
pub(crate) fn tick_ns() -> u64 {
    // SAFETY: reads a clock.
    unsafe { generated::bpf_ktime_get_coarse_ns() }
}

/// Any number.
#[inline(always)]
pub(crate) fn random() -> u32 {
    // SAFETY: takes nothing, returns a number.
    unsafe { bpf_get_prandom_u32() }
}

/// The number of this CPU.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: takes nothing, returns a number.
    unsafe { bpf_get_smp_processor_id() }
}

/// Address of the running task's `task_struct`.
#[inline(always)]
pub(crate) fn task() -> u64 {
    // SAFETY: takes nothing, returns a number; reading there is checked by [`read`].
    unsafe { bpf_get_current_task() }
}

/// The cookie of a socket, or of the one that sends a packet.
#[inline(always)]
pub(crate) fn cookie(of: *mut c_void) -> u64 {
    // SAFETY: the verifier refuses a pointer that is neither a socket nor a context with one.
    unsafe { generated::bpf_get_socket_cookie(of) }
}

/// The member of a struct, from an address that need not be valid: zeros if nothing can be read there.
#[inline(always)]
pub(crate) fn read<T: Bits + Default>(base: u64, offset: u32) -> T {
    // SAFETY: the kernel checks the address, and any bits are a valid T.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.unwrap_or_default()
}

/// A member by a plain load: the verifier knows the type of the pointer, and the offset as a constant.
#[inline(always)]
pub(crate) fn member<T: Bits>(of: *const u8, offset: u32) -> T {
    // SAFETY: the verifier refuses a load outside the struct, and any bits are a valid T.
    unsafe { of.add(offset as usize).cast::<T>().read() }
}

/// Copies bytes of the packet, from an offset that may be beyond its end: false then.
///
/// # Safety
/// There is room for `length` bytes at `to`. The verifier proves it.
#[inline(always)]
pub(crate) unsafe fn load_bytes(skb: *mut __sk_buff, offset: u32, to: *mut c_void, length: u32) -> bool {
    // SAFETY: the caller has the room.
    unsafe { generated::bpf_skb_load_bytes(skb.cast(), offset, to, length) == 0 }
}

/// Copies bytes from an address that need not be valid: false then.
///
/// # Safety
/// As for [`load_bytes`].
#[inline(always)]
pub(crate) unsafe fn read_bytes(from: u64, to: *mut c_void, length: u32) -> bool {
    // SAFETY: the caller has the room, and the kernel checks where it reads.
    unsafe { generated::bpf_probe_read_kernel(to, length, from as *const c_void) == 0 }
}

/// Members of the context of a tc program.
pub(crate) mod skb {
    use aya_ebpf::bindings::__sk_buff;

    macro_rules! members {
        ($($name:ident)*) => {
            $(#[inline(always)]
            pub(crate) fn $name(skb: *mut __sk_buff) -> u32 {
                // SAFETY: the context is valid while the program runs; the verifier refuses any other pointer.
                unsafe { (*skb).$name }
            })*
        };
    }

    members!(gso_segs gso_size ifindex len protocol vlan_present vlan_proto vlan_tci);
}
