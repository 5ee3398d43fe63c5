//! What the benchmarks of this crate share.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

const BPF_PROG_LOAD: i64 = 5;
const LONGEST_NAME: usize = 15;

/// Whether to measure; prints why not.
pub(crate) fn wanted() -> bool {
    // `cargo test --benches` starts a benchmark too, without --bench: but it is no test.
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("a benchmark: run scripts/bench.sh");
        return false;
    }
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED: loading eBPF programs needs root");
    }
    root
}

/// A program that returns `verdict` and does nothing else. `kind` is a BPF_PROG_TYPE_* of include/uapi/linux/bpf.h.
pub(crate) fn empty_program(kind: u32, verdict: i32, name: &str) -> io::Result<OwnedFd> {
    // struct bpf_insn: mov32 r0, verdict; exit.
    let instructions: [u64; 2] = [u64::from(verdict as u32) << 32 | 0xb4, 0x95];
    let license = c"GPL";
    #[repr(C)]
    #[derive(Default)]
    struct LoadAttr {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log: [u64; 2],
        kern_version: u32,
        flags: u32,
        name: [u8; LONGEST_NAME + 1],
    }
    let mut attr = LoadAttr {
        prog_type: kind,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..Default::default()
    };
    attr.name[..name.len()].copy_from_slice(name.as_bytes());
    bpf(BPF_PROG_LOAD, &attr)
}

/// A command of bpf(2) that makes a descriptor.
pub(crate) fn bpf<A>(command: i64, attr: &A) -> io::Result<OwnedFd> {
    // SAFETY: attr is a prefix of union bpf_attr, and what it points to lives until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<A>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The one in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
