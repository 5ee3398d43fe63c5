//! Whether this machine lets a test load kernel programs, and how a test says that it was skipped.

use std::fs;
use std::path::Path;

/// Capability numbers of linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// Set to `1` where skipping would hide a broken test machine.
pub const REQUIRE: &str = "NETOBSERV_REQUIRE_PRIVILEGED";

/// `Err` says in one sentence what is missing: root, a capability, or kernel BTF.
pub fn privileged() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root".into());
    }
    let effective = effective_capabilities();
    for (bit, name) in [(CAP_NET_ADMIN, "CAP_NET_ADMIN"), (CAP_SYS_ADMIN, "CAP_SYS_ADMIN"), (CAP_BPF, "CAP_BPF")] {
        if effective & (1 << bit) == 0 {
            return Err(format!("needs {name}"));
        }
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err("needs a kernel with BTF (/sys/kernel/btf/vmlinux is missing)".into());
    }
    Ok(())
}

/// The name of the function that `inner` is defined in.
pub fn function_of<T>(inner: &T) -> &'static str {
    let path = std::any::type_name_of_val(inner);
    let outer = path.rsplit_once("::").map_or(path, |(outer, _)| outer);
    outer.split("::").filter(|part| !part.starts_with('{')).last().unwrap_or(outer)
}

/// Prints `SKIPPED: <test>: <why>` on stderr, past libtest's capture.
///
/// # Panics
/// When [`REQUIRE`] is `1`.
pub fn skip(test: &str, why: &str) {
    assert_ne!(std::env::var(REQUIRE).as_deref(), Ok("1"), "{test} {why}, and {REQUIRE}=1 forbids skipping");
    let line = format!("SKIPPED: {test}: {why}\n");
    // `eprintln!` is captured for a test that passes; the person must see this line.
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), line.as_bytes());
}

/// The `CapEff` mask of this process; 0 when it cannot be read.
fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_knows_its_name() {
        fn here() {}
        let inside = || {
            fn here() {}
            function_of(&here)
        };
        assert_eq!([function_of(&here), inside()], ["a_test_knows_its_name"; 2]);
    }
}
