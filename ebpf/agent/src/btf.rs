//! Byte offsets of struct members, names of enums and numbers of tracepoints, read from the running kernel's BTF.
//!
//! aya-ebpf has no relocations for kernel structs, so the agent looks the offsets up and writes them into the
//! programs' constants. Only what that needs is parsed, in place: the whole type graph would cost tens of MiB.
//! Format: Documentation/bpf/btf.rst of the kernel.

use std::{fs, io, path::Path};

/// Where the kernel shows its types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why an offset is not known.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel has no BTF, or it cannot be read.
    #[error("{}", unreadable(.0))]
    Unreadable(#[from] io::Error),
    /// Not the format that is known.
    #[error("kernel type information in {VMLINUX} is malformed")]
    Malformed,
    /// This kernel has no such struct or member.
    #[error("this kernel has no {0}")]
    Missing(String),
}

/// A folder of each sysfs.
const KERNEL: &str = "/sys/kernel";

fn unreadable(error: &io::Error) -> String {
    if Path::new(KERNEL).exists() {
        format!("no kernel type information in {VMLINUX} ({error}); the kernel needs CONFIG_DEBUG_INFO_BTF=y")
    } else {
        format!("/sys is not mounted here, and {VMLINUX} is needed: mount it with 'mount -t sysfs sysfs /sys'")
    }
}

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;

// BTF_KIND_*.
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;
const INT: u32 = 1;

/// The types of a kernel.
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    /// Where each type starts; the first is the imaginary `void`.
    types: Vec<u32>,
}

impl Btf {
    /// The running kernel's.
    pub fn of_this_kernel() -> Result<Self, BtfError> {
        Self::parse(fs::read(VMLINUX)?)
    }

    /// From the bytes of a BTF blob in this machine's byte order.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let mut btf = Self { bytes, strings: 0, types: vec![0] };
        if btf.bytes.len() < HEADER || btf.u32(0)? as u16 != MAGIC {
            return Err(BtfError::Malformed);
        }
        let header = btf.u32(4)? as usize;
        let start = header + btf.u32(8)? as usize;
        let end = start + btf.u32(12)? as usize;
        btf.strings = header + btf.u32(16)? as usize;
        let mut at = start;
        while at < end {
            btf.types.push(at as u32);
            at += 12 + btf.tail(at)?;
        }
        Ok(btf)
    }

    /// Byte offset of `path` ("nd_net.net") in `struct name`.
    pub fn offset(&self, name: &str, path: &str) -> Result<u32, BtfError> {
        let missing = || BtfError::Missing(format!("{name}.{path}"));
        let mut id = self.find(STRUCT, name)?.ok_or_else(missing)?;
        let mut bits = 0;
        for part in path.split('.') {
            let (offset, member) = self.member(self.strip(id)?, part)?.ok_or_else(missing)?;
            bits += offset;
            id = member;
        }
        Ok(bits / 8)
    }

    /// Numbers and names of an enum; None if this kernel has no such enum.
    pub fn enum_names(&self, name: &str) -> Result<Option<Vec<(u32, String)>>, BtfError> {
        let Some(id) = self.find(ENUM, name)? else { return Ok(None) };
        let at = self.at(id)?;
        let count = self.u32(at + 4)? & 0xffff;
        let member = |i| {
            let at = at + 12 + 8 * i as usize;
            Ok((self.u32(at + 4)?, String::from_utf8_lossy(self.name(at)?).into_owned()))
        };
        (0..count).map(member).collect::<Result<_, BtfError>>().map(Some)
    }

    /// Type number and number of arguments of a tracepoint; None if this kernel does not have it.
    pub fn tracepoint(&self, name: &str) -> Result<Option<(u32, u32)>, BtfError> {
        // A typedef of a pointer to a function whose first argument is the tracer's own.
        let Some(id) = self.find(TYPEDEF, &format!("btf_trace_{name}"))? else { return Ok(None) };
        let function = self.u32(self.at(self.u32(self.at(id)? + 8)?)? + 8)?;
        let arguments = self.u32(self.at(function)? + 4)? & 0xffff;
        Ok(Some((id, arguments.saturating_sub(1))))
    }

    /// Type number of a function; None if this kernel does not have it.
    pub fn function(&self, name: &str) -> Result<Option<u32>, BtfError> {
        self.find(FUNC, name)
    }

    fn find(&self, kind: u32, name: &str) -> Result<Option<u32>, BtfError> {
        for id in 1..self.types.len() as u32 {
            if self.kind(id)? == kind && self.name(self.at(id)?)? == name.as_bytes() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Bit offset and type of a member, looked for in anonymous structs and unions too.
    fn member(&self, id: u32, name: &str) -> Result<Option<(u32, u32)>, BtfError> {
        if !matches!(self.kind(id)?, STRUCT | UNION) {
            return Ok(None);
        }
        let at = self.at(id)?;
        let info = self.u32(at + 4)?;
        for i in 0..(info & 0xffff) as usize {
            let member = at + 12 + i * 12;
            let (kind, raw) = (self.u32(member + 4)?, self.u32(member + 8)?);
            // With the kind flag, the upper byte is the size of a bit field.
            let offset = if info >> 31 == 1 { raw & 0x00ff_ffff } else { raw };
            let found = self.name(member)?;
            if found == name.as_bytes() {
                return Ok(Some((offset, kind)));
            }
            if found.is_empty()
                && let Some((inner, kind)) = self.member(self.strip(kind)?, name)?
            {
                return Ok(Some((offset + inner, kind)));
            }
        }
        Ok(None)
    }

    /// The type behind typedefs and qualifiers.
    fn strip(&self, mut id: u32) -> Result<u32, BtfError> {
        while matches!(self.kind(id)?, TYPEDEF..=RESTRICT | TYPE_TAG) {
            id = self.u32(self.at(id)? + 8)?;
        }
        Ok(id)
    }

    /// Bytes that follow the common part of a type.
    fn tail(&self, at: usize) -> Result<usize, BtfError> {
        let info = self.u32(at + 4)?;
        let count = (info & 0xffff) as usize;
        Ok(match (info >> 24) & 0x1f {
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            ENUM | FUNC_PROTO => 8 * count,
            STRUCT | UNION | DATASEC | ENUM64 => 12 * count,
            _ => 0,
        })
    }

    fn kind(&self, id: u32) -> Result<u32, BtfError> {
        if id == 0 {
            return Ok(0);
        }
        Ok((self.u32(self.at(id)? + 4)? >> 24) & 0x1f)
    }

    fn at(&self, id: u32) -> Result<usize, BtfError> {
        self.types.get(id as usize).map(|at| *at as usize).ok_or(BtfError::Malformed)
    }

    fn name(&self, at: usize) -> Result<&[u8], BtfError> {
        let start = self.strings + self.u32(at)? as usize;
        let rest = self.bytes.get(start..).ok_or(BtfError::Malformed)?;
        rest.split(|b| *b == 0).next().ok_or(BtfError::Malformed)
    }

    fn u32(&self, at: usize) -> Result<u32, BtfError> {
        let word = self.bytes.get(at..at + 4).ok_or(BtfError::Malformed)?;
        Ok(u32::from_ne_bytes(word.try_into().expect("four bytes")))
    }
}

/// A BTF blob in which there is nothing but the typedef `name`, as number `id`.
///
/// aya asks for the kernel's whole BTF to look up one number, and would take tens of MiB for it.
pub fn stub(name: &str, id: u32) -> Vec<u8> {
    lone(TYPEDEF, name, id)
}

/// The same with nothing but the function `name`.
pub fn function_stub(name: &str, id: u32) -> Vec<u8> {
    lone(FUNC, name, id)
}

/// Types that are distinguished by a name, a kind and the number of another type.
fn lone(kind: u32, name: &str, id: u32) -> Vec<u8> {
    let strings = [b"\0", name.as_bytes(), b"\0"].concat();
    // A forward declaration is the shortest type: name, kind, nothing.
    let filler = [1u32, FWD << 24, 0];
    // Of type 0, void.
    let lone = [1u32, kind << 24, 0];
    let types = 12 * id;
    let header = [u32::from(MAGIC) | 1 << 16, HEADER as u32, 0, types, types, strings.len() as u32];
    let words = header.into_iter().chain(std::iter::repeat_n(filler, id as usize - 1).flatten()).chain(lone);
    words.flat_map(u32::to_ne_bytes).chain(strings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_members_of_this_kernel_or_says_why_not() {
        match Btf::of_this_kernel() {
            Ok(btf) => {
                assert!(btf.offset("sk_buff", "dev").unwrap() > 0);
                assert!(btf.offset("net_device", "nd_net.net").unwrap() > 0);
                let error = btf.offset("sk_buff", "no_such_member").unwrap_err().to_string();
                assert_eq!(error, "this kernel has no sk_buff.no_such_member");
                let tcp = btf.enum_names("tcp_ca_state").unwrap().unwrap();
                assert!(tcp.contains(&(4, "TCP_CA_Loss".into())), "{tcp:?}");
                assert_eq!(btf.enum_names("no_such_enum").unwrap(), None);
                assert_eq!(btf.tracepoint("tcp_probe").unwrap().unwrap().1, 2);
                assert_eq!(btf.tracepoint("no_such_tracepoint").unwrap(), None);
            }
            Err(BtfError::Unreadable(why)) => println!("SKIPPED: no BTF here: {why}"),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_stub_has_its_typedef_where_the_kernel_has_it() {
        let btf = Btf::parse(stub("btf_trace_x", 7)).unwrap();
        assert_eq!(btf.types.len(), 8);
        assert_eq!(btf.find(TYPEDEF, "btf_trace_x").unwrap(), Some(7));
        let btf = Btf::parse(function_stub("bpf_iter_x", 7)).unwrap();
        assert_eq!((btf.function("bpf_iter_x").unwrap(), btf.function("btf_trace_x").unwrap()), (Some(7), None));
    }

    #[test]
    fn garbage_is_malformed() {
        for bytes in [vec![], vec![0; 100], [0x9f, 0xeb, 1, 0].repeat(10)] {
            assert!(matches!(Btf::parse(bytes), Err(BtfError::Malformed)));
        }
    }
}
