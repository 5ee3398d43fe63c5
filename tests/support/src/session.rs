//! A local capture with the real programs, in a folder of its own: started, known to be attached, stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::netns::Netns;
use crate::proc::{Finished, Process, Run, binaries};
use crate::terminal::OnTerminal;
use crate::{Files, bpf, wait_for};

/// Most time that starting a capture may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most time that ending one may take, a million records on their way to the disk included.
const LAST_WORDS: Duration = Duration::from_secs(120);
/// Programs on an interface that is captured: one for each direction.
const HOOKS: usize = 2;

/// `oc-netobserv flows --local` under way.
pub struct LocalCapture {
    dir: TempDir,
    process: Process,
}

impl LocalCapture {
    /// Starts a capture with these options, in an empty folder, in a process group of its own.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), options)
    }

    /// As [`LocalCapture::start`], in this folder.
    #[track_caller]
    pub fn start_in(dir: TempDir, options: &[&str]) -> Self {
        let run = command(dir.path(), options);
        Self::start_run(dir, run)
    }

    /// Starts what [`command`] prepared in `dir`.
    #[track_caller]
    pub fn start_run(dir: TempDir, run: Run) -> Self {
        Self { dir, process: run.own_group().start() }
    }

    /// Starts a capture of one interface and waits until the programs are attached.
    #[track_caller]
    pub fn of(ns: &Netns, interface: &str, options: &[&str]) -> Self {
        let named = format!("--interfaces={interface}");
        let mut capture = Self::start(&[&[named.as_str()], options].concat());
        capture.wait_attached(ns, interface);
        capture
    }

    /// As [`LocalCapture::of`], of packets.
    #[track_caller]
    pub fn packets(ns: &Netns, interface: &str, options: &[&str]) -> Self {
        Self::packets_at(&[(ns, interface)], options)
    }

    /// As [`LocalCapture::of`], of metrics.
    #[track_caller]
    pub fn metrics(ns: &Netns, interface: &str, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let named = format!("--interfaces={interface}");
        let run = command_of("metrics", dir.path(), &[&[named.as_str()], options].concat());
        let mut capture = Self::start_run(dir, run);
        capture.wait_attached(ns, interface);
        capture
    }

    /// As [`LocalCapture::packets`], of several interfaces.
    #[track_caller]
    pub fn packets_at(interfaces: &[(&Netns, &str)], options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let names: Vec<&str> = interfaces.iter().map(|(_, name)| *name).collect();
        let named = format!("--interfaces={}", names.join(","));
        let run = command_of("packets", dir.path(), &[&[named.as_str()], options].concat());
        let mut capture = Self::start_run(dir, run);
        interfaces.iter().for_each(|(ns, name)| capture.wait_attached(ns, name));
        capture
    }

    /// Waits until both of our programs sit on an interface.
    ///
    /// # Panics
    /// After 30 s, or when the capture ended instead.
    #[track_caller]
    pub fn wait_attached(&mut self, ns: &Netns, interface: &str) {
        self.wait_programs(ns, interface, HOOKS);
    }

    /// As [`LocalCapture::wait_attached`], for an interface that several captures look at.
    #[track_caller]
    pub fn wait_programs(&mut self, ns: &Netns, interface: &str, count: usize) {
        self.wait_until(&format!("{count} programs on {interface}"), || ours(ns, interface) == count);
    }

    /// Waits for something that happens while the capture runs.
    ///
    /// # Panics
    /// After 30 s, or when the capture ended instead, with what the programs said.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let came = wait_for(PATIENCE, || self.process.ended() || condition());
        let ended = self.process.ended();
        assert!(
            came && !ended,
            "waited for: {what}; the capture {}\nstdout: {}\nstderr: {}",
            if ended { "has ended" } else { "goes on" },
            self.process.stdout(),
            self.process.stderr()
        );
    }

    /// Process id of the plugin.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// What it has printed on standard error so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.ended()
    }

    /// Whether the JSON file holds a record by now.
    pub fn has_records(&self) -> bool {
        let names = std::fs::read_dir(output(self.dir.path()).join("flow")).into_iter().flatten().flatten();
        let mut files = names.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
        files.any(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"Packets\"")))
    }

    /// Process id of its child that runs this program.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[track_caller]
    pub fn child(&self, program: &str) -> i32 {
        let found = self.process.children(program);
        assert_eq!(found.len(), 1, "one {program} below the plugin");
        found[0]
    }

    /// The folder that the capture was started in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The files as they are now.
    #[track_caller]
    pub fn files(&self) -> Files {
        Files::of(&output(self.dir.path()))
    }

    /// Ctrl-C, as a terminal sends it to the whole process group, and waits for the end.
    #[track_caller]
    pub fn ctrl_c(self) -> Ended {
        self.process.signal_group(Signal::SIGINT);
        self.ended()
    }

    /// SIGTERM to the plugin alone, and waits for the end.
    #[track_caller]
    pub fn terminate(self) -> Ended {
        self.process.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Ends the capture and expects it to end well.
    #[track_caller]
    pub fn stop(self) -> Ended {
        let ended = self.terminate();
        assert!(ended.finished.success(), "{}", ended.finished);
        ended
    }

    /// Waits for an end that something else brought about.
    #[track_caller]
    pub fn ended(self) -> Ended {
        let finished = self.process.wait(LAST_WORDS);
        Ended { dir: self.dir, finished }
    }
}

/// A capture that has ended; its folder lives as long as this.
pub struct Ended {
    dir: TempDir,
    /// How the plugin ended and what it said.
    pub finished: Finished,
}

impl Ended {
    /// The folder that the capture was started in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The one file of a capture of packets.
    ///
    /// # Panics
    /// When there is not exactly one, with what the programs said.
    #[track_caller]
    pub fn packets(&self) -> PathBuf {
        let entries = std::fs::read_dir(output(self.dir.path()).join("pcap")).into_iter().flatten().flatten();
        let found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        assert_eq!(found.len(), 1, "{found:?}\n{}", self.finished);
        found[0].clone()
    }

    /// The files of the capture.
    ///
    /// # Panics
    /// When they are not there, with what the programs said.
    #[track_caller]
    pub fn files(&self) -> Files {
        assert!(output(self.dir.path()).join("flow").is_dir(), "no output folder\n{}", self.finished);
        Files::of(&output(self.dir.path()))
    }
}

/// `oc-netobserv flows --local <options>` in a folder, not yet started.
pub fn command(dir: &Path, options: &[&str]) -> Run {
    command_of("flows", dir, options)
}

/// As [`command`], for a terminal.
pub fn on_terminal(what: &str, dir: &Path, options: &[&str]) -> OnTerminal {
    let binaries = binaries();
    OnTerminal::new(&binaries.plugin)
        .args([what, "--local"])
        .args(options)
        .dir(dir)
        .env("LANG", "C.UTF-8")
        .env("NETOBSERV_AGENT_BIN", &binaries.agent)
        .env("NETOBSERV_COLLECTOR_BIN", &binaries.collector)
}

fn command_of(what: &str, dir: &Path, options: &[&str]) -> Run {
    let binaries = binaries();
    Run::new(&binaries.plugin)
        .args([what, "--local"])
        .args(options)
        .dir(dir)
        .env("NETOBSERV_AGENT_BIN", &binaries.agent)
        .env("NETOBSERV_COLLECTOR_BIN", &binaries.collector)
}

/// Number of our programs on an interface.
pub fn ours(ns: &Netns, interface: &str) -> usize {
    bpf::attached(ns, interface).iter().filter(|program| program.is_ours()).count()
}

fn output(dir: &Path) -> PathBuf {
    dir.join("output")
}
