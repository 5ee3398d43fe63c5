//! The real collector on a terminal of its own.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use netobserv_testkit::terminal::{OnTerminal, Terminal};
use netobserv_testkit::{Files, wait_for};
use tempfile::TempDir;

use super::{Client, SOON};

/// A collector on a terminal.
pub struct Pty {
    // Before its folder.
    terminal: Terminal,
    dir: TempDir,
}

impl Pty {
    /// Starts `get-flows` with these words, on a terminal of this size, and waits for the screen.
    #[track_caller]
    pub fn start(words: &[&str], size: (u16, u16)) -> Self {
        let pty = Self::start_with(words, size, &[("LANG", "C.UTF-8")]);
        pty.wait_for("flows/s");
        pty
    }

    /// Starts `get-packets` with these words, on a terminal of this size, and waits for the screen.
    #[track_caller]
    pub fn packets(words: &[&str], size: (u16, u16)) -> Self {
        let pty = Self::start_packets(words, size);
        pty.wait_for("packets/s");
        pty
    }

    /// Starts `get-metrics` with these words, on a terminal of this size, and waits for the screen.
    #[track_caller]
    pub fn metrics(words: &[&str], size: (u16, u16)) -> Self {
        let pty = Self::start_command("get-metrics", words, size, &[("LANG", "C.UTF-8")]);
        pty.wait_for("↑↓ metric");
        pty
    }

    /// As [`Pty::packets`], without waiting.
    #[track_caller]
    pub fn start_packets(words: &[&str], size: (u16, u16)) -> Self {
        Self::start_command("get-packets", words, size, &[("LANG", "C.UTF-8")])
    }

    /// As [`Pty::start`], with these variables, and without waiting.
    #[track_caller]
    pub fn start_with(words: &[&str], size: (u16, u16), env: &[(&str, &str)]) -> Self {
        Self::start_command("get-flows", words, size, env)
    }

    #[track_caller]
    fn start_command(name: &str, words: &[&str], size: (u16, u16), env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let listen = format!("unix:{}", dir.path().join("socket").display());
        let command = OnTerminal::new(env!("CARGO_BIN_EXE_netobserv-collector"))
            .args([name, "--listen", &listen, "--output-dir", "./output", "--filename", "capture"])
            .args(words)
            .dir(dir.path());
        let command = env.iter().fold(command, |command, (name, value)| command.env(name, value));
        Self { terminal: command.start(size), dir }
    }

    /// An agent or pipeline that is connected to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Waits until the process stands still, or goes on.
    #[track_caller]
    pub fn wait_stopped(&self, stopped: bool) {
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let is_stopped = || state().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
        assert!(wait_for(SOON, || is_stopped() == stopped), "{}", state());
    }

    /// Where its files are.
    pub fn output(&self) -> PathBuf {
        self.dir.path().join("output")
    }

    /// The files.
    #[track_caller]
    pub fn files(&self) -> Files {
        Files::of(&self.output())
    }
}

impl Deref for Pty {
    type Target = Terminal;

    fn deref(&self) -> &Terminal {
        &self.terminal
    }
}

impl DerefMut for Pty {
    fn deref_mut(&mut self) -> &mut Terminal {
        &mut self.terminal
    }
}
