//! The tests' one door to other programs: started with their output captured, ended with the test.
#![allow(clippy::disallowed_methods)] // This is the door.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::netns::Netns;
use crate::wait_for;

/// How long a helper command may take.
const HELPER: Duration = Duration::from_secs(30);

/// A program about to be started.
pub struct Run {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    dir: Option<PathBuf>,
    netns: Option<OwnedFd>,
    uid: Option<u32>,
    own_group: bool,
}

impl Run {
    /// A program by path, or by name on PATH.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            dir: None,
            netns: None,
            uid: None,
            own_group: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// Sets a variable on top of the test's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.as_ref().into(), value.as_ref().into());
        self
    }

    /// Working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().into());
        self
    }

    /// Starts inside a network namespace.
    #[must_use]
    pub fn netns(mut self, ns: &Netns) -> Self {
        self.netns = Some(ns.open());
        self
    }

    /// Starts as this user and group, without supplementary groups.
    #[must_use]
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// Starts as the leader of a process group, as a shell does with a foreground job.
    #[must_use]
    pub fn own_group(mut self) -> Self {
        self.own_group = true;
        self
    }

    /// Starts it. The program is killed when the starting thread ends.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(self) -> Process {
        let line = self.line();
        let own_group = self.own_group;
        let mut command = self.command();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start `{line}`: {error}"));
        let out = Tap::on(child.stdout.take());
        let err = Tap::on(child.stderr.take());
        Process { line, child, own_group, status: None, out, err }
    }

    /// Runs it to its end, at most 30 s.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.start().wait(HELPER)
    }

    /// Runs it to its end and returns its standard output.
    ///
    /// # Panics
    /// When it fails, quoting the command line and what it said.
    #[track_caller]
    pub fn output(self) -> String {
        let done = self.finish();
        assert!(done.success(), "{done}");
        done.stdout
    }

    fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    fn command(self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(&self.env);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        if self.own_group {
            command.process_group(0);
        }
        let netns = self.netns;
        // SAFETY: only async-signal-safe system calls between fork and exec.
        unsafe { command.pre_exec(move || before_exec(netns.as_ref())) };
        command
    }
}

/// In the child: enters the namespace, and dies with the test.
fn before_exec(netns: Option<&OwnedFd>) -> std::io::Result<()> {
    // SAFETY: plain system calls with an open descriptor.
    unsafe {
        if let Some(fd) = netns
            && libc::setns(fd.as_raw_fd(), libc::CLONE_NEWNET) != 0
        {
            return Err(std::io::Error::last_os_error());
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    Ok(())
}

/// A started program. Dropped, it is killed, with its process group if it has its own.
pub struct Process {
    line: String,
    child: Child,
    own_group: bool,
    status: Option<ExitStatus>,
    out: Tap,
    err: Tap,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) {
        self::signal(self.pid(), signal);
    }

    /// Sends a signal to its whole process group, as a terminal does with Ctrl-C. Needs [`Run::own_group`].
    pub fn signal_group(&self, signal: Signal) {
        assert!(self.own_group, "`{}` shares the test's process group", self.line);
        let _ = killpg(Pid::from_raw(self.pid()), signal);
    }

    /// What it printed until now.
    pub fn stdout(&self) -> String {
        self.out.text()
    }

    /// What it said on stderr until now.
    pub fn stderr(&self) -> String {
        self.err.text()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("wait for a child");
        }
        self.status.is_some()
    }

    /// Whether it ended well, once it has ended.
    pub fn succeeded(&mut self) -> Option<bool> {
        self.ended().then(|| self.status.is_some_and(|status| status.success()))
    }

    /// Process ids of its direct children that run a program of this name.
    pub fn children(&self, name: &str) -> Vec<i32> {
        children_of(self.pid()).into_iter().filter(|pid| program_of(*pid).as_deref() == Some(name)).collect()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// After `timeout`, with what it said until then.
    #[track_caller]
    pub fn wait(mut self, timeout: Duration) -> Finished {
        let ended = wait_for(timeout, || self.ended());
        assert!(
            ended,
            "`{}` still runs after {timeout:?}\nstdout: {}\nstderr: {}",
            self.line,
            self.stdout(),
            self.stderr()
        );
        // Looked at before the drop of `self` kills them.
        let orphans = if self.own_group { group(self.pid()) } else { Vec::new() };
        Finished {
            line: self.line.clone(),
            status: self.status.expect("it ended"),
            orphans,
            stdout: self.out.finish(),
            stderr: self.err.finish(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test has failed: what its programs said may be why.
            let (stdout, stderr) = (self.stdout(), self.stderr());
            if !(stdout.is_empty() && stderr.is_empty()) {
                eprintln!("--- `{}`\nstdout: {stdout}\nstderr: {stderr}", self.line);
            }
        }
        if self.own_group {
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        }
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The command line.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Programs of its process group that still ran when it had ended.
    pub orphans: Vec<String>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Exit code 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Exit code; 128 + signal number when a signal ended it, as shells say.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` ended with {}\nstdout: {}\nstderr: {}", self.line, self.code(), self.stdout, self.stderr)
    }
}

/// Reads a pipe on a thread of its own, so that the program never blocks on it.
struct Tap {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Tap {
    fn on(pipe: Option<impl Read + Send + 'static>) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = text.clone();
        let reader = pipe.map(|pipe| std::thread::spawn(move || drain(pipe, &sink)));
        Self { text, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("reader thread")).into_owned()
    }

    /// All of it. A grandchild that outlives the program holds the pipe open: not waited for beyond 2 s.
    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = wait_for(Duration::from_secs(2), || reader.is_finished());
        }
        self.text()
    }
}

fn drain(mut pipe: impl Read, sink: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 8192];
    while let Ok(n @ 1..) = pipe.read(&mut chunk) {
        sink.lock().expect("test thread").extend_from_slice(&chunk[..n]);
    }
}

/// Sends a signal to one process; one that has gone is no error.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether a process of this id exists and is not a zombie.
pub fn alive(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

/// File name of the program that a process runs.
pub fn program_of(pid: i32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(path.file_name()?.to_string_lossy().trim_end_matches(" (deleted)").to_owned())
}

/// Process ids of the direct children.
pub fn children_of(parent: i32) -> Vec<i32> {
    pids(|stat| stat.parent == parent)
}

/// Names of the programs that run in a process group.
fn group(id: i32) -> Vec<String> {
    pids(|stat| stat.group == id && stat.state != 'Z').into_iter().filter_map(program_of).collect()
}

fn pids(wanted: impl Fn(&Stat) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| wanted(&stat))).collect()
}

/// Fields 3 to 5 of proc_pid_stat(5).
struct Stat {
    state: char,
    parent: i32,
    group: i32,
}

fn stat(pid: i32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// Paths of the workspace's programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `oc-netobserv`.
    pub plugin: PathBuf,
    /// `netobserv-agent`.
    pub agent: PathBuf,
    /// `netobserv-collector`.
    pub collector: PathBuf,
}

/// The programs of the workspace, built once a test process with the profile of the test itself.
/// `NETOBSERV_BIN_DIR` names a folder of ready ones instead.
///
/// # Panics
/// When the build fails, with the compiler's words.
pub fn binaries() -> &'static Binaries {
    // A failure is kept as well: one attempt, not one a test.
    static BINARIES: OnceLock<Result<Binaries, String>> = OnceLock::new();
    let binaries = BINARIES.get_or_init(|| {
        let dir = std::env::var_os("NETOBSERV_BIN_DIR").map_or_else(build, |dir| Ok(PathBuf::from(dir)))?;
        Ok(Binaries {
            plugin: dir.join("oc-netobserv"),
            agent: dir.join("netobserv-agent"),
            collector: dir.join("netobserv-collector"),
        })
    });
    binaries.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// Builds the programs and returns their folder: `<target>/<profile>`, two above this test's own file.
fn build() -> Result<PathBuf, String> {
    let own = std::env::current_exe().expect("path of this test");
    let dir = own.ancestors().nth(2).expect("<target>/<profile>/deps/<test>").to_path_buf();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let release = dir.ends_with("release").then_some("--release");
    // Cargo tells a test of which package it is, and a crate that asks for that in its build (ring does) would be built anew.
    let told = |name: &OsString| {
        name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    };
    let told = std::env::vars_os().map(|(name, _)| name).filter(told).flat_map(|name| ["-u".into(), name]);
    let run = Run::new("env").args(told).arg(cargo).args(["build", "--quiet", "--workspace", "--bins"]).args(release);
    let run = run.dir(root);
    let done = run.start().wait(Duration::from_secs(900));
    if done.success() { Ok(dir) } else { Err(done.to_string()) }
}
