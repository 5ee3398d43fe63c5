//! The object with the kernel programs: loading it, and taking its programs and maps.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::SchedClassifier,
};

use crate::btf::{Btf, BtfError};

/// Built by scripts/build-bpf.sh; a test below fails when it is older than its sources.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/netobserv.bpfel.o");

/// Names another object to load instead, for tests of a fresh build.
pub const OBJECT_OVERRIDE: &str = "NETOBSERV_BPF_OBJECT";

/// Oldest kernel that has all that the programs use: 5.11 for the coarse clock, 5.12 for `lock |=`.
pub const OLDEST: (u32, u32) = (5, 12);

/// Size of the ring buffers of features that are off.
pub(crate) const SMALLEST_RING: u32 = 4096;

/// Why the kernel programs are not running.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Struct offsets are not to be had.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// What the kernel reports of processes is missing.
    #[error("/proc is not mounted here, and the agent needs it: mount it with 'mount -t proc proc /proc'")]
    NoProc,
    /// Too old.
    #[error("kernel {0} is too old: {major}.{minor} or newer is needed", major = OLDEST.0, minor = OLDEST.1)]
    TooOld(String),
    /// EPERM, most often.
    #[error("not allowed to load eBPF programs ({0}); run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")]
    NotAllowed(String),
    /// A feature that was asked for.
    #[error("{setting}=true is not available on this kernel: {why}")]
    Unavailable {
        /// The setting that asks for it.
        setting: &'static str,
        /// What is missing.
        why: String,
    },
    /// The kernel refused the object.
    #[error("cannot load the kernel programs: {0}")]
    Load(String),
    /// An object given by NETOBSERV_BPF_OBJECT is not ours.
    #[error("the kernel object has no {0}")]
    NotInObject(&'static str),
}

/// The programs at the ingress and the egress of an interface.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// Where frames begin with an Ethernet header.
    pub ethernet: [&'static str; 2],
    /// Where they have none.
    pub bare: [&'static str; 2],
}

/// A part of the object, on or off: how it is set before the object is loaded, and which of its programs run.
pub trait Feature {
    /// Sets its constants and the sizes of its maps.
    fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>);

    /// Has the kernel verify its programs.
    ///
    /// # Errors
    /// The kernel's reason.
    fn load(&self, _: &mut Ebpf, _: &Btf) -> Result<(), KernelError> {
        Ok(())
    }

    /// Maps of programs that are never loaded. They are closed: each takes a file, and some machines allow few.
    fn unused(&self) -> &[&'static str] {
        &[]
    }
}

/// Loads the object: maps are made, programs are verified, nothing is attached yet.
///
/// # Errors
/// The kernel's reason, or an object that does not fit.
pub fn load(features: &[&dyn Feature], btf: &Btf) -> Result<Ebpf, KernelError> {
    let mut loader = EbpfLoader::new();
    // aya would parse all of the kernel's BTF, tens of MiB, for relocations that the object does not have.
    loader.btf(None);
    for feature in features {
        feature.configure(&mut loader);
    }
    let custom = std::env::var_os(OBJECT_OVERRIDE);
    let loaded = match &custom {
        Some(path) => loader.load_file(path),
        None => loader.load(OBJECT),
    };
    let mut ebpf = loaded.map_err(|error| classify(&error))?;
    for feature in features {
        feature.load(&mut ebpf, btf)?;
    }
    for map in features.iter().flat_map(|feature| feature.unused()) {
        drop(ebpf.take_map(map));
    }
    Ok(ebpf)
}

/// Has the kernel verify the programs of interfaces with Ethernet headers. Those for bare links follow when the first such link is
/// there: most machines have none.
///
/// # Errors
/// The kernel's reason.
pub fn load_ethernet(ebpf: &mut Ebpf, programs: &Programs) -> Result<(), KernelError> {
    programs.ethernet.iter().try_for_each(|name| load_classifier(ebpf, name).map(|_| ()))
}

/// A tc program of the object.
pub fn classifier<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, KernelError> {
    let program = ebpf.program_mut(name).ok_or(KernelError::NotInObject(name))?;
    program.try_into().map_err(|_| KernelError::NotInObject(name))
}

/// Has the kernel verify a tc program of the object, unless it has done so.
///
/// # Errors
/// The kernel's error.
pub fn load_classifier<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, KernelError> {
    let program = classifier(ebpf, name)?;
    if program.fd().is_err() {
        program.load().map_err(|error| classify(&error))?;
    }
    Ok(program)
}

/// A map of the object, taken out so that its owner can move to another thread.
pub fn take_map<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, KernelError> {
    let map = ebpf.take_map(name).ok_or(KernelError::NotInObject(name))?;
    T::try_from(map).map_err(|_| KernelError::NotInObject(name))
}

/// A hash map of the object, as what its descriptor can be had from.
pub fn take_hash(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, KernelError> {
    match ebpf.take_map(name) {
        Some(Map::HashMap(data)) => Ok(data),
        _ => Err(KernelError::NotInObject(name)),
    }
}

/// Capabilities, the release and network namespaces are read there; without it each would seem to be missing.
pub(crate) fn check_proc() -> Result<(), KernelError> {
    if std::path::Path::new("/proc/self").exists() { Ok(()) } else { Err(KernelError::NoProc) }
}

/// The release as `uname -r` prints it.
pub(crate) fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

pub(crate) fn check_version(release: &str) -> Result<(), KernelError> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST => Err(KernelError::TooOld(release.to_owned())),
        // A release that cannot be read is no reason to refuse: the verifier decides.
        _ => Ok(()),
    }
}

/// The whole chain of causes as one line; a refusal for want of rights is distinguished, because it is the common one.
pub(crate) fn classify(error: &dyn std::error::Error) -> KernelError {
    let mut text = error.to_string();
    let mut denied = false;
    let mut cause = error.source();
    while let Some(error) = cause {
        // EACCES, the other "permission denied", is the verifier's way to refuse a program.
        denied |= error.downcast_ref::<std::io::Error>().is_some_and(|io| io.raw_os_error() == Some(libc::EPERM));
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if denied { KernelError::NotAllowed(line) } else { KernelError::Load(line) }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use sha2::{Digest, Sha256};

    use super::*;

    /// The same list, order and format as `sources_hash` in scripts/build-bpf.sh.
    fn sources_hash(root: &Path) -> String {
        let mut files = vec!["ebpf/kernel/Cargo.toml".to_owned(), "ebpf/kernel/Cargo.lock".to_owned()];
        for dir in ["ebpf/kernel/src", "ebpf/common/src"] {
            for entry in fs::read_dir(root.join(dir)).unwrap() {
                files.push(format!("{dir}/{}", entry.unwrap().file_name().to_str().unwrap()));
            }
        }
        files.sort();
        let lines: String = files.iter().map(|f| format!("{}  {f}\n", hex(&fs::read(root.join(f)).unwrap()))).collect();
        hex(lines.as_bytes())
    }

    fn hex(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn object_is_as_new_as_its_sources() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let info = fs::read_to_string(here.join("bpf/netobserv.bpfel.o.info")).unwrap();
        let now = format!("sources {}", sources_hash(&here.join("../..")));
        assert_eq!(info.lines().next(), Some(now.as_str()), "run scripts/build-bpf.sh and commit the object");
    }

    /// `undocumented_unsafe_blocks` for the crate that clippy cannot build.
    #[test]
    fn unsafe_code_of_the_kernel_programs_has_its_reason() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/src");
        let mut without = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for (at, line) in lines.iter().enumerate() {
                let before = &lines[at.saturating_sub(8)..at];
                let near = &before[before.len().saturating_sub(3)..];
                let is_missing = if line.trim_start().starts_with("//") {
                    false
                } else if line.contains("unsafe {") || line.contains("unsafe impl") {
                    !near.iter().any(|line| line.contains("// SAFETY: "))
                } else {
                    line.contains("unsafe fn") && !line.starts_with(' ') && !before.contains(&"/// # Safety")
                };
                if is_missing {
                    without.push(format!("{}:{}: {line}", path.display(), at + 1));
                }
            }
        }
        assert!(without.is_empty(), "{}", without.join("\n"));
    }

    #[test]
    fn old_kernels_are_refused_by_name() {
        let error = check_version("5.10.0-28-amd64").unwrap_err().to_string();
        assert_eq!(error, "kernel 5.10.0-28-amd64 is too old: 5.12 or newer is needed");
        assert!(check_version("5.14.0-427.el9.x86_64").is_ok());
        assert!(check_version("6.18.44").is_ok());
        assert!(check_version("").is_ok());
    }
}
