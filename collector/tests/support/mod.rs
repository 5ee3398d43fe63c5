//! What the collector's tests and its benchmark share: the real program on a socket of its own, and agents to feed it.
#![allow(dead_code, unreachable_pub)] // Each test program uses a part.

pub mod animation;
pub mod client;
pub mod cluster;
pub mod packets;
pub mod pty;
pub mod raw;
pub mod records;
pub mod scene;
pub mod svg;

use std::path::{Path, PathBuf};
use std::time::Duration;

use netobserv_testkit::{Files, Finished, Process, Run, Signal, wait_for};
use tempfile::TempDir;

pub use client::Client;

/// Longest time for anything that should happen soon.
pub const SOON: Duration = Duration::from_secs(20);

/// A running collector with a folder of its own.
pub struct Collector {
    dir: TempDir,
    output: PathBuf,
    pub process: Process,
}

/// The program with these words.
pub fn program(words: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_netobserv-collector")).args(words)
}

/// The program with `get-flows`, a socket and an output folder below `dir`, and these words.
pub fn get_flows(dir: &Path, words: &[&str]) -> Run {
    capture(dir, "get-flows", &dir.join("output"), words)
}

/// The program with this command and these words, and a socket below `dir`.
fn capture(dir: &Path, command: &str, output: &Path, words: &[&str]) -> Run {
    let socket = format!("unix:{}", socket(dir).display());
    program(&[command, "--listen", &socket]).arg("--output-dir").arg(output).args(words)
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("socket")
}

impl Collector {
    /// Starts a capture with these words and waits until it listens.
    #[track_caller]
    pub fn start(words: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), words)
    }

    /// As [`Collector::start`], in this folder.
    #[track_caller]
    pub fn start_in(dir: TempDir, words: &[&str]) -> Self {
        let (run, output) = (get_flows(dir.path(), words), dir.path().join("output"));
        Self::started(dir, output, run)
    }

    /// As [`Collector::start`], with changes to how it is run.
    #[track_caller]
    pub fn start_with(words: &[&str], change: impl FnOnce(Run) -> Run) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (run, output) = (change(get_flows(dir.path(), words)), dir.path().join("output"));
        Self::started(dir, output, run)
    }

    /// Starts a capture of packets with these words, and tells where its files go.
    #[track_caller]
    pub fn start_packets(words: &[&str]) -> (Self, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let output = dir.path().join("output");
        let run = capture(dir.path(), "get-packets", &output, words);
        (Self::started(dir, output.clone(), run), output)
    }

    /// Starts a capture of metrics with these words.
    #[track_caller]
    pub fn start_metrics(words: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let output = dir.path().join("output");
        let run = capture(dir.path(), "get-metrics", &output, words);
        Self::started(dir, output, run)
    }

    #[track_caller]
    fn started(dir: TempDir, output: PathBuf, run: Run) -> Self {
        let mut process = run.start();
        let listens = wait_for(SOON, || process.stderr().contains("Started collector") || process.ended());
        assert!(listens && !process.ended(), "it does not listen: {}", process.stderr());
        Self { dir, output, process }
    }

    /// An agent or pipeline that is connected to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// The socket it listens on.
    pub fn socket(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// Where it writes.
    pub fn output(&self) -> PathBuf {
        self.output.clone()
    }

    /// The files.
    #[track_caller]
    pub fn files(&self) -> Files {
        Files::of(&self.output)
    }

    /// Waits until the JSON file has this many flows.
    #[track_caller]
    pub fn wait_for_flows(&self, flows: usize) {
        let files = self.files();
        assert!(wait_for(SOON, || files.flows().len() == flows), "{} flows, wanted {flows}", files.flows().len());
    }

    /// Sends a signal, waits for the end, and expects it to be a good one.
    #[track_caller]
    pub fn stop(self, signal: Signal) -> Ended {
        self.process.signal(signal);
        let ended = self.ended();
        assert!(ended.finished.success(), "{}", ended.finished);
        ended
    }

    /// Waits for the end.
    #[track_caller]
    pub fn ended(self) -> Ended {
        Ended { finished: self.process.wait(SOON), output: self.output, _dir: self.dir }
    }
}

/// A collector that has ended; its folder lives as long as this.
pub struct Ended {
    _dir: TempDir,
    output: PathBuf,
    pub finished: Finished,
}

impl Ended {
    /// The files.
    #[track_caller]
    pub fn files(&self) -> Files {
        Files::of(&self.output)
    }

    /// A value of table `capture`, as text.
    #[track_caller]
    pub fn said(&self, name: &str) -> String {
        let sql = "SELECT CAST(value AS TEXT) FROM capture WHERE name = ?";
        self.files().database().query_row(sql, [name], |row| row.get(0)).expect("a value")
    }
}
