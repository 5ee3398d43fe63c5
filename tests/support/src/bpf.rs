//! Which kernel programs are loaded and attached, asked of the kernel by bpf(2), as bpftool may be missing, and by tc for filters.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::netns::Netns;
use crate::proc::Run;

/// Commands and attach types of linux/bpf.h.
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const SCHED_CLS: u32 = 3;
/// BPF_F_BEFORE: before all others.
const BEFORE: u32 = 1 << 3;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

/// Names of this project's programs at interfaces start so: those that count flows, and those that copy packets.
pub const OURS: [&str; 2] = ["flow_", "packet_"];

/// A loaded program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Kernel id.
    pub id: u32,
    /// At most 15 characters.
    pub name: String,
}

impl Program {
    /// Whether it is one of this project's at interfaces, by its name.
    pub fn is_ours(&self) -> bool {
        OURS.iter().any(|ours| self.name.starts_with(ours))
    }
}

/// Programs on the TCX hooks of an interface, ingress first, then those that are filters.
///
/// # Panics
/// When the kernel refuses the question for another reason than a missing interface.
#[track_caller]
pub fn attached(ns: &Netns, interface: &str) -> Vec<Program> {
    ns.enter(|| attached_here(interface)).unwrap_or_else(|error| panic!("TCX programs of {interface}: {error}"))
}

/// As [`attached`], in the namespace of the calling thread. A missing interface has no programs.
pub fn attached_here(interface: &str) -> io::Result<Vec<Program>> {
    let Ok(index) = nix_index(interface) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for hook in [TCX_INGRESS, TCX_EGRESS] {
        found.extend(query(index, hook)?.into_iter().filter_map(program));
    }
    found.extend(filters_here(interface));
    Ok(found)
}

/// Programs that are filters on the clsact qdisc of an interface.
pub fn filters_here(interface: &str) -> Vec<Program> {
    // Without a clsact qdisc there is nothing to show, which tc calls an error.
    let show = |hook| Run::new("tc").args(["filter", "show", "dev", interface, hook]).finish().stdout;
    let shown = ["ingress", "egress"].map(show).concat();
    // filter protocol all pref 1 bpf chain 0 handle 0x1 flow_ingress direct-action not_in_hw id 7 tag ...
    let filter = |line: &str| {
        let (_, handle) = line.split_once(" handle 0x")?;
        let name = handle.split(' ').nth(1)?.to_owned();
        let id = line.split_once(" id ")?.1.split(' ').next()?.parse().ok()?;
        Some(Program { id, name })
    };
    shown.lines().filter_map(filter).collect()
}

fn nix_index(interface: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: a terminated string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// The part of `union bpf_attr` that BPF_PROG_QUERY reads.
#[repr(C)]
#[derive(Default)]
struct Query {
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

fn query(ifindex: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; 64];
    let mut attr = Query { ifindex, attach_type, program_ids: ids.as_mut_ptr() as u64, count: 64, ..Query::default() };
    match bpf(PROG_QUERY, &mut attr) {
        Ok(_) => Ok(ids[..attr.count as usize].to_vec()),
        // Nothing was ever attached here, or the interface went away just now.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A program that has gone meanwhile is `None`.
fn program(id: u32) -> Option<Program> {
    let fd = bpf(PROG_GET_FD_BY_ID, &mut [id, 0, 0]).ok()?;
    // SAFETY: the kernel made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).ok()?) };
    let name = program_name(&fd)?;
    Some(Program { id, name })
}

/// `struct bpf_prog_info`: the name stands at byte 64, 16 bytes with the final zero.
fn program_name(fd: &OwnedFd) -> Option<String> {
    #[repr(C)]
    struct Info {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut info = [0_u64; 10];
    let mut attr = Info { fd: fd.as_raw_fd().cast_unsigned(), len: 80, info: info.as_mut_ptr() as u64 };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).ok()?;
    let bytes: Vec<u8> = info[8..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Some(CStr::from_bytes_until_nul(&bytes).ok()?.to_string_lossy().into_owned())
}

/// Puts a program of somebody else in front of all others at both TCX hooks of an interface. It lets every packet pass, and none get
/// to the programs behind it (TCX_PASS). It is there until what this returns is dropped.
///
/// # Panics
/// When the kernel refuses.
#[track_caller]
pub fn put_in_front(ns: &Netns, interface: &str) -> Vec<OwnedFd> {
    // struct bpf_insn: r0 = 0; exit.
    let instructions = [0xb7_u64, 0x95];
    let license = c"GPL";
    let mut load = [u64::from(SCHED_CLS) | 2 << 32, instructions.as_ptr() as u64, license.as_ptr() as u64, 0, 0, 0];
    let program = bpf(PROG_LOAD, &mut load).expect("load a program");
    // SAFETY: the kernel made this descriptor for us.
    let program = unsafe { OwnedFd::from_raw_fd(program as i32) };
    ns.enter(|| {
        let index = nix_index(interface).expect("the interface");
        let link = |hook| {
            let mut attr = [program.as_raw_fd().cast_unsigned(), index, hook, BEFORE, 0, 0, 0, 0];
            let link = bpf(LINK_CREATE, &mut attr).expect("attach a program");
            // SAFETY: the kernel made this descriptor for us.
            unsafe { OwnedFd::from_raw_fd(link as i32) }
        };
        [TCX_INGRESS, TCX_EGRESS].map(link).into()
    })
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: every caller hands the attributes of its command, with pointers that outlive the call.
    match unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}
