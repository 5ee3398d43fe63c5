//! Network namespaces with a name that carries the process id, so that what a killed test left behind can
//! be told from what runs now.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

use crate::proc::{Run, signal};

/// Where iproute2, and our agent, look for named namespaces.
const NETNS_DIR: &str = "/run/netns";
/// Every name starts so.
const PREFIX: &str = "nst";

/// A named network namespace, deleted with its interfaces when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes `nst<pid>x<n>-<label>`. Loopback is down, IPv6 neither solicits routers nor checks for
    /// duplicates: a fresh interface sends as little as the kernel allows.
    ///
    /// # Panics
    /// When `ip netns add` fails (no root, no iproute2).
    #[track_caller]
    pub fn new(label: &str) -> Self {
        sweep_once();
        let name = unique(label);
        Run::new("ip").args(["netns", "add", &name]).output();
        let ns = Self { name };
        ns.quieten("default");
        ns.quieten("all");
        ns
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `/run/netns/<name>`.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.name)
    }

    /// A descriptor for setns(2).
    pub fn open(&self) -> OwnedFd {
        File::open(self.path()).expect("a namespace that this test made").into()
    }

    /// Runs `work` inside, on a thread of its own. A socket made inside stays inside.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let fd = self.open();
        let inside = move || {
            setns(fd, CloneFlags::CLONE_NEWNET).expect("enter a network namespace");
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A program about to be started inside.
    pub fn run(&self, program: &str) -> Run {
        Run::new(program).netns(self)
    }

    /// `ip <words>` inside; returns its output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        self.run("ip").args(words.split_whitespace()).output()
    }

    /// Writes a setting under `/proc/sys/net`, such as `ipv4/ip_forward`, of this namespace.
    #[track_caller]
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        self.enter(|| fs::write(&path, value)).unwrap_or_else(|error| panic!("{path} = {value}: {error}"));
    }

    /// Switches off what IPv6 sends by itself on an interface (`default`: on those to come).
    pub fn quieten(&self, interface: &str) {
        for setting in ["accept_ra", "router_solicitations", "accept_dad", "dad_transmits"] {
            self.sysctl(&format!("ipv6/conf/{interface}/{setting}"), "0");
        }
    }

    /// Switches IPv6 off: then an interface without addresses sends nothing by itself at all.
    pub fn no_ipv6(&self) {
        self.sysctl("ipv6/conf/default/disable_ipv6", "1");
        self.sysctl("ipv6/conf/all/disable_ipv6", "1");
    }
}

impl Drop for Netns {
    /// With the programs that are still in it: what a test had others start must not outlive it.
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// A name for an interface, at most 15 characters (IFNAMSIZ), that no other test on this machine uses.
pub fn unique_interface(label: &str) -> String {
    let name = format!("{label}{:x}{}", std::process::id(), letters(next()));
    assert!(name.len() <= 15, "{name} is too long for an interface");
    name
}

fn unique(label: &str) -> String {
    format!("{PREFIX}{}x{}-{label}", std::process::id(), next())
}

fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A number in the letters g to z, which hexadecimal does not use.
fn letters(mut number: u32) -> String {
    let mut text = String::new();
    loop {
        text.push(char::from(b'g' + (number % 20) as u8));
        number /= 20;
        if number == 0 {
            return text;
        }
    }
}

fn remove(name: &str) {
    processes_in(&Path::new(NETNS_DIR).join(name)).into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
    let _ = Run::new("ip").args(["netns", "del", name]).finish();
}

/// Programs in a namespace, this one apart: its threads may be in several.
fn processes_in(path: &Path) -> Vec<i32> {
    let Ok(wanted) = fs::metadata(path).map(|namespace| (namespace.dev(), namespace.ino())) else { return Vec::new() };
    let is_in = |pid: &i32| {
        let namespace = fs::metadata(format!("/proc/{pid}/ns/net"));
        namespace.is_ok_and(|namespace| (namespace.dev(), namespace.ino()) == wanted)
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id().cast_signed()).filter(is_in).collect()
}

/// Removes namespaces whose test process is gone (killed, so that nothing was dropped).
fn sweep_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for name in names() {
            if maker(&name).is_some_and(|pid| !crate::proc::alive(pid)) {
                remove(&name);
            }
        }
    });
}

/// Names of all namespaces under `/run/netns`.
pub fn names() -> HashSet<String> {
    let entries = fs::read_dir(NETNS_DIR).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The process id in a name of ours.
fn maker(name: &str) -> Option<i32> {
    name.strip_prefix(PREFIX)?.split_once('x')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_process() {
        assert_eq!(maker("nst42x7-left"), Some(42));
        assert_eq!(maker("someone-elses"), None);
    }

    #[test]
    fn interface_names_differ_and_fit() {
        let made: HashSet<String> = (0..500).map(|_| unique_interface("va")).collect();
        assert_eq!(made.len(), 500);
    }
}
