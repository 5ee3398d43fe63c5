//! Puts programs on the kernel's own tracepoints, where they see the whole machine.

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

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut BtfTracePoint, KernelError> {
    let program = ebpf.program_mut(name).ok_or(KernelError::NotInObject(name))?;
    program.try_into().map_err(|_| KernelError::NotInObject(name))
}
