//! Bytes of a packet, wherever they are read from.

use core::ffi::c_void;

use aya_ebpf::bindings::__sk_buff;

use crate::bpf;

/// Where the bytes of a packet are read from.
pub(crate) trait Source: Copy {
    /// Copies `len` bytes at `offset`; false if the packet ends before.
    fn copy(self, offset: u32, to: *mut c_void, len: u32) -> bool;
}

impl Source for *mut __sk_buff {
    #[inline(always)]
    fn copy(self, offset: u32, to: *mut c_void, len: u32) -> bool {
        // SAFETY: the one caller, `load`, has an array of so many bytes.
        unsafe { bpf::load_bytes(self, offset, to, len) }
    }
}

/// N bytes at `offset`, or None if the packet ends before.
#[inline(always)]
pub(crate) fn load<const N: usize>(from: impl Source, offset: usize) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    from.copy(offset as u32, bytes.as_mut_ptr().cast(), N as u32).then_some(bytes)
}
