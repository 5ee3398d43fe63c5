//! TCX: the lists of programs at the two hooks of an interface (kernel 6.6 and newer). A program is held there by a link, which ends
//! with the process that holds it. Interfaces are named by their index in the network namespace of the calling thread.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use crate::sys;

use super::Hook;

// enum bpf_cmd, enum bpf_attach_type, flags and the layouts of union bpf_attr: include/uapi/linux/bpf.h.
const BPF_PROG_GET_FD_BY_ID: i64 = 13;
const BPF_OBJ_GET_INFO_BY_FD: i64 = 15;
const BPF_PROG_QUERY: i64 = 16;
const BPF_LINK_CREATE: i64 = 28;
const BPF_LINK_UPDATE: i64 = 29;
const BPF_F_BEFORE: u32 = 1 << 3;
/// BPF_MPROG_MAX, the most programs of a list (include/linux/bpf_mprog.h).
const MOST: usize = 64;

#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    _pad: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

#[repr(C)]
struct LinkAttr {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    _pad: u32,
    expected_revision: u64,
}

fn attach_type(hook: Hook) -> u32 {
    match hook {
        Hook::Ingress => 46,
        Hook::Egress => 47,
    }
}

/// Puts a program before all others. The kernel waits for a grace period of RCU: 5 to 15 ms, in which no other interface is changed.
pub(super) fn attach_first(program: BorrowedFd<'_>, ifindex: u32, hook: Hook) -> io::Result<OwnedFd> {
    let mut attr = LinkAttr {
        program: program.as_raw_fd() as u32,
        ifindex,
        attach_type: attach_type(hook),
        flags: BPF_F_BEFORE,
        relative: 0,
        _pad: 0,
        expected_revision: 0,
    };
    let fd = sys::bpf(BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the kernel has just made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Puts another program into the place that a link holds, at once.
pub(super) fn replace(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    sys::bpf(BPF_LINK_UPDATE, &mut [link.as_raw_fd() as u32, program.as_raw_fd() as u32, 0, 0]).map(drop)
}

/// The ids of the programs, in the order in which they run.
pub(super) fn programs(ifindex: u32, hook: Hook) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST];
    let mut attr = QueryAttr {
        ifindex,
        attach_type: attach_type(hook),
        program_ids: ids.as_mut_ptr() as u64,
        count: MOST as u32,
        ..QueryAttr::default()
    };
    match sys::bpf(BPF_PROG_QUERY, &mut attr) {
        Ok(_) => Ok(ids[..(attr.count as usize).min(MOST)].to_vec()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The name of a loaded program. Needs CAP_SYS_ADMIN.
pub(super) fn name(id: u32) -> io::Result<String> {
    let fd = sys::bpf(BPF_PROG_GET_FD_BY_ID, &mut [id, 0, 0])?;
    // SAFETY: the kernel has just made the descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // struct bpf_prog_info begins with two words of numbers, and has the name at byte 64, 16 bytes with the final zero.
    let mut info = [0_u64; 10];
    let address = info.as_mut_ptr() as u64;
    let length = size_of_val(&info) as u32;
    sys::bpf(BPF_OBJ_GET_INFO_BY_FD, &mut [u64::from(fd.as_raw_fd() as u32) | u64::from(length) << 32, address])?;
    let name = info[8..].iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    Ok(String::from_utf8(name).unwrap_or_default())
}
