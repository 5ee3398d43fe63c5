//! Puts programs on the kernel's own tracepoints, where they see the whole machine.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use aya::{
    Btf as AyaBtf, Ebpf, Endianness,
    programs::{BtfTracePoint, ProgramError, tp_btf::BtfTracePointLink},
};

use crate::{
    btf::{self, Btf, BtfError},
    kernel::{self, KernelError},
};

/// Loads a program; its tracepoint must exist.
pub fn load(ebpf: &mut Ebpf, btf: &Btf, program: &'static str, tracepoint: &str) -> Result<(), KernelError> {
    let missing = || BtfError::Missing(format!("tracepoint {tracepoint}"));
    let (id, _) = btf.tracepoint(tracepoint)?.ok_or_else(missing)?;
    let stub = btf::stub(&format!("btf_trace_{tracepoint}"), id);
    let endianness = if cfg!(target_endian = "big") { Endianness::Big } else { Endianness::Little };
    let stub = AyaBtf::parse(&stub, endianness).map_err(|_| BtfError::Malformed)?;
    self::program(ebpf, program)?.load(tracepoint, &stub).map_err(|error| kernel::classify(&error))
}

/// Switches a loaded program on, until the link is dropped.
pub fn attach(ebpf: &mut Ebpf, program: &'static str) -> Result<BtfTracePointLink, KernelError> {
    let program = self::program(ebpf, program)?;
    let mut attach = || -> Result<_, ProgramError> {
        let id = program.attach()?;
        program.take_link(id)
    };
    attach().map_err(|error| kernel::classify(&error))
}

/// Programs of features that sit at no interface.
#[derive(Default)]
pub struct Hooks {
    programs: Vec<&'static str>,
    links: Vec<BtfTracePointLink>,
}

impl Hooks {
    /// Adds a loaded program and switches it on.
    pub fn add(&mut self, ebpf: &mut Ebpf, program: &'static str) -> Result<(), KernelError> {
        self.links.push(attach(ebpf, program)?);
        self.programs.push(program);
        Ok(())
    }

    /// Switches all of them on again.
    pub fn attach(&mut self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        self.links = self.programs.iter().map(|program| attach(ebpf, program)).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Switches all of them off.
    pub fn detach(&mut self) {
        self.links.clear();
    }
}

/// How often the kernel passed a program over, because it was at work on the same CPU already: it interrupted itself.
/// The kernel counts that from 5.12 on.
pub fn passed_over(program: BorrowedFd<'_>) -> u64 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// The descriptor of a loaded program.
pub fn descriptor(ebpf: &mut Ebpf, name: &'static str) -> Result<OwnedFd, KernelError> {
    let program = program(ebpf, name)?.fd().map_err(|error| kernel::classify(&error))?;
    program.as_fd().try_clone_to_owned().map_err(|error| KernelError::Load(error.to_string()))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut BtfTracePoint, KernelError> {
    let program = ebpf.program_mut(name).ok_or(KernelError::NotInObject(name))?;
    program.try_into().map_err(|_| KernelError::NotInObject(name))
}
