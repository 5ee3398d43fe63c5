//! The real collector on a terminal of its own, and what a person would see there.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use netobserv_testkit::{Files, Signal, wait_for};
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use tempfile::TempDir;

use super::{Client, SOON};

/// A collector on a terminal.
pub struct Pty {
    dir: TempDir,
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    seen: Arc<Mutex<Seen>>,
}

/// What came out of it.
struct Seen {
    terminal: vt100::Parser,
    bytes: Vec<u8>,
    /// When some came.
    times: Vec<Instant>,
}

impl Pty {
    /// Starts `get-flows` with these words, on a terminal of this size, and waits for the screen.
    #[track_caller]
    pub fn start(words: &[&str], (width, height): (u16, u16)) -> Self {
        let pty = Self::start_with(words, (width, height), &[("LANG", "C.UTF-8")]);
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
    fn start_command(name: &str, words: &[&str], (width, height): (u16, u16), env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let size = PtySize { rows: height, cols: width, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_netobserv-collector"));
        command.env_clear();
        command.env("TERM", "xterm-256color");
        env.iter().for_each(|(name, value)| command.env(name, value));
        command.args([name, "--listen", &format!("unix:{}", dir.path().join("socket").display())]);
        command.cwd(dir.path());
        command.args(["--output-dir", "./output", "--filename", "capture"]);
        command.args(words);
        let child = pair.slave.spawn_command(command).expect("a collector");
        drop(pair.slave);
        let keys = pair.master.take_writer().expect("its keys");
        let out = pair.master.try_clone_reader().expect("its screen");
        let seen = Arc::new(Mutex::new(Seen {
            terminal: vt100::Parser::new(height, width, 0),
            bytes: Vec::new(),
            times: Vec::new(),
        }));
        let reader = seen.clone();
        std::thread::spawn(move || read(out, &reader));
        Self { dir, master: pair.master, child, keys, seen }
    }

    /// An agent or pipeline that is connected to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub fn pid(&self) -> i32 {
        self.child.process_id().expect("its number").cast_signed()
    }

    /// Types these characters; `\x1b[A` and the like are keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("a terminal that takes keys");
    }

    pub fn resize(&self, width: u16, height: u16) {
        self.seen.lock().unwrap().terminal.screen_mut().set_size(height, width);
        self.master.resize(PtySize { rows: height, cols: width, ..PtySize::default() }).expect("another size");
    }

    /// What a person sees.
    pub fn text(&self) -> String {
        self.seen.lock().unwrap().terminal.screen().contents()
    }

    /// The same with colours.
    pub fn screen(&self) -> vt100::Screen {
        self.seen.lock().unwrap().terminal.screen().clone()
    }

    /// Bytes that came out until now.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// When some of them came.
    pub fn times(&self) -> Vec<Instant> {
        self.seen.lock().unwrap().times.clone()
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, is: impl Fn(&str) -> bool) {
        assert!(wait_for(SOON, || is(&self.text())), "waited for {what}:\n{}", self.text());
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = wait_for(SOON, || {
            status = self.child.try_wait().expect("wait for a child");
            status.is_some()
        });
        assert!(ended, "it still runs:\n{}", self.text());
        status.expect("a status")
    }

    /// Waits until the process stands still, or goes on.
    #[track_caller]
    pub fn wait_stopped(&self, stopped: bool) {
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let is_stopped = || state().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
        assert!(wait_for(SOON, || is_stopped() == stopped), "{}", state());
    }

    /// Asserts that the terminal is as it was before: echo and lines on, no alternate screen, cursor visible, mouse off.
    #[track_caller]
    pub fn assert_given_back(&self) {
        let given_back = || {
            let screen = self.screen();
            let mouse = screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None;
            !screen.alternate_screen() && !screen.hide_cursor() && mouse && self.is_cooked()
        };
        assert!(wait_for(SOON, given_back), "the terminal is not given back:\n{}", self.text());
    }

    /// Whether the terminal echoes and collects lines.
    pub fn is_cooked(&self) -> bool {
        let flags = self.master.get_termios().expect("its modes").local_flags.bits();
        flags & (libc::ECHO | libc::ICANON) == libc::ECHO | libc::ICANON
    }

    pub fn signal(&self, signal: Signal) {
        netobserv_testkit::proc::signal(self.pid(), signal);
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

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn read(mut out: impl Read, seen: &Mutex<Seen>) {
    let mut buffer = [0; 16 << 10];
    // A terminal whose last user is gone gives an error.
    while let Ok(length @ 1..) = out.read(&mut buffer) {
        let mut seen = seen.lock().unwrap();
        seen.terminal.process(&buffer[..length]);
        seen.bytes.extend_from_slice(&buffer[..length]);
        seen.times.push(Instant::now());
    }
}
