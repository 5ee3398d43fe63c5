//! A pod's file system and its first process: a root of its own with the image's programs, volumes bound into it, and
//! nothing writable but those.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use netobserv_testkit::proc::binaries;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chdir, chroot, dup2_stderr, dup2_stdout, execve, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};

/// Folders of the machine that programs with shared libraries, and programs that look at the kernel, need.
const HOST: [&str; 7] = ["/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/etc/ssl"];

/// The programs in the image's root.
const COLLECTOR: &str = "network-observability-cli";
const AGENT: &str = "netobserv-agent";

/// Longest time for other threads to start their processes.
const SOON: Duration = Duration::from_secs(10);

/// How to start the first process of a pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Init {
    /// The folder that becomes `/`.
    pub root: PathBuf,
    /// Volumes: a folder or file of this machine, and where it appears.
    pub volumes: Vec<(PathBuf, PathBuf)>,
    /// User and group.
    pub uid: u32,
    /// The command line.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// Copies of the programs for the pods of a cluster. Mounts would follow a program that is built anew during the test, and a
/// copy for each pod is so much to write that a slow disk keeps pods from starting for many seconds.
///
/// # Panics
/// When they cannot be made.
pub fn keep_programs(folder: &Path) {
    let bins = binaries();
    for (program, name) in [(&bins.collector, COLLECTOR), (&bins.agent, AGENT)] {
        fs::copy(program, folder.join(name)).unwrap_or_else(|error| panic!("copy {}: {error}", program.display()));
    }
}

/// Lays out an image in a folder: ours, with those [programs](keep_programs), or one with the machine's own shell and tools.
/// What an earlier pod of the same name has left there goes.
///
/// # Panics
/// When that fails.
pub fn lay_out(root: &Path, ours: Option<&Path>) {
    let _ = fs::remove_dir_all(root);
    let make = |folder: &str| fs::create_dir_all(root.join(folder)).expect("a folder of a pod");
    ["etc", "output", "programs", "run", "tmp", "etc/netobserv/tls"].into_iter().for_each(make);
    match ours {
        Some(programs) => {
            make("bin");
            for (program, place) in [
                (COLLECTOR, COLLECTOR),
                (COLLECTOR, "netobserv-collector"),
                (COLLECTOR, "bin/tar"),
                (COLLECTOR, "bin/sleep"),
                (AGENT, AGENT),
            ] {
                fs::hard_link(programs.join(program), root.join(place)).expect("a program of a pod");
            }
        }
        None => symlink("usr/bin", root.join("bin")).expect("a link of a pod"),
    }
    for place in HOST {
        let (host, inside) = (Path::new(place), root.join(place.trim_start_matches('/')));
        match fs::read_link(host) {
            Ok(target) => symlink(target, inside).expect("a link of a pod"),
            Err(_) if host.is_dir() => fs::create_dir_all(inside).expect("a folder of a pod"),
            Err(_) => {}
        }
    }
}

/// Becomes the process that a file describes. The network namespace is the one it was started in.
///
/// # Errors
/// What the system refused.
pub fn become_pod(file: &Path) -> Result<Infallible, String> {
    let text = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let init: Init = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    enter(&init).map_err(|error| format!("cannot start the pod: {error}"))
}

fn enter(init: &Init) -> Result<Infallible, Box<dyn std::error::Error>> {
    let log = File::options().create(true).append(true).open(&init.log)?;
    dup2_stdout(&log)?;
    dup2_stderr(&log)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    flag(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    bind(&init.root, &init.root)?;
    for place in HOST.map(Path::new).into_iter().filter(|place| place.is_dir() && !place.is_symlink()) {
        bind(place, &inside(&init.root, place))?;
    }
    flag(&init.root, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY)?;
    for (from, to) in &init.volumes {
        bind(from, &inside(&init.root, to))?;
    }
    chroot(&init.root)?;
    chdir("/")?;
    setgroups(&[])?;
    setgid(Gid::from_raw(init.uid))?;
    setuid(Uid::from_raw(init.uid))?;
    // The kernel forgets it with a change of user.
    set_pdeathsig(Signal::SIGKILL)?;
    let words = strings(init.command.iter().cloned())?;
    let env = strings(init.env.iter().map(|(name, value)| format!("{name}={value}")))?;
    let program = CString::new(find(&init.command[0]))?;
    let started = Instant::now();
    loop {
        match execve(&program, &words, &env) {
            // A process that another thread of the test starts at this moment holds the copy open for writing until its own exec.
            Err(Errno::ETXTBSY) if started.elapsed() < SOON => yield_now(),
            result => return Ok(result?),
        }
    }
}

/// A word without a slash is looked for where the image's PATH says.
fn find(word: &str) -> String {
    if word.contains('/') { word.to_owned() } else { format!("/bin/{word}") }
}

fn strings(words: impl Iterator<Item = String>) -> Result<Vec<CString>, std::ffi::NulError> {
    words.map(CString::new).collect()
}

fn inside(root: &Path, place: &Path) -> PathBuf {
    root.join(place.strip_prefix("/").unwrap_or(place))
}

fn bind(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
}

fn flag(place: &Path, flags: MsFlags) -> nix::Result<()> {
    mount(None::<&str>, place, None::<&str>, flags, None::<&str>)
}
