//! A program on a terminal of its own, what a person would see there, and the modes that it leaves behind.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

use crate::{proc, wait_for};

/// Longest time for anything to appear; programs that load kernel programs take some on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with a program on it.
pub struct Terminal {
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

/// A program that is to be started on a terminal.
pub struct OnTerminal(CommandBuilder);

impl OnTerminal {
    /// This program, with nothing in its environment but PATH and the name of a usual terminal.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = CommandBuilder::new(program);
        command.env_clear();
        command.env("PATH", std::env::var("PATH").unwrap_or_default());
        command.env("TERM", "xterm-256color");
        Self(command)
    }

    /// With these arguments too.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        words.into_iter().for_each(|word| self.0.arg(word));
        self
    }

    /// With a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// In this folder.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.0.cwd(dir);
        self
    }

    /// Starts it on a terminal of this width and height.
    #[track_caller]
    pub fn start(self, (width, height): (u16, u16)) -> Terminal {
        let size = PtySize { rows: height, cols: width, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let child = pair.slave.spawn_command(self.0).expect("a program");
        drop(pair.slave);
        let keys = pair.master.take_writer().expect("its keys");
        let out = pair.master.try_clone_reader().expect("its screen");
        let terminal = vt100::Parser::new(height, width, 0);
        let seen = Arc::new(Mutex::new(Seen { terminal, bytes: Vec::new(), times: Vec::new() }));
        let reader = seen.clone();
        std::thread::spawn(move || read(out, &reader));
        Terminal { master: pair.master, child, keys, seen }
    }
}

/// What a [`Shell`] prints when it waits.
const PROMPT: &str = "ready> ";

/// A shell with job control on a terminal, as a person has it.
pub struct Shell {
    /// Its terminal.
    pub terminal: Terminal,
    dir: std::path::PathBuf,
    asked: u32,
}

impl Shell {
    /// Starts bash in a folder, with the environment of `like`.
    #[track_caller]
    pub fn start(like: OnTerminal, dir: &Path) -> Self {
        let mut command = CommandBuilder::new("bash");
        command.args(["--norc", "--noprofile", "-i"]);
        command.env_clear();
        for (name, value) in like.0.iter_full_env_as_str() {
            command.env(name, value);
        }
        command.env("PS1", PROMPT);
        command.env("HOME", dir);
        let terminal = OnTerminal(command).dir(dir).start((100, 30));
        terminal.wait_for(PROMPT);
        Self { terminal, dir: dir.to_owned(), asked: 0 }
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.terminal.press(&format!("{line}\r"));
    }

    /// What `stty -a` says of the terminal, as a program that the shell starts finds it. The shell must be waiting, with
    /// its prompt to be seen.
    ///
    /// # Panics
    /// When no prompt comes.
    #[track_caller]
    pub fn modes(&mut self) -> String {
        self.asked += 1;
        let name = format!("modes-{}", self.asked);
        self.terminal.wait_until("a prompt", |screen| screen.trim_end().ends_with(PROMPT.trim_end()));
        self.type_line(&format!("stty -a > {name}.part; mv {name}.part {name}"));
        let file = self.dir.join(name);
        assert!(wait_for(PATIENCE, || file.exists()), "no answer:\n{}", self.terminal.text());
        std::fs::read_to_string(file).expect("modes")
    }

    /// Asserts that the shell has its terminal: no alternate screen, the cursor visible, no mouse reports, and these modes.
    #[track_caller]
    pub fn assert_has_terminal(&mut self, modes: &str) {
        let plain = || {
            let screen = self.terminal.screen();
            let mouse = screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None;
            !screen.alternate_screen() && !screen.hide_cursor() && mouse
        };
        assert!(wait_for(PATIENCE, plain), "not the screen of before:\n{}", self.terminal.text());
        assert_eq!(self.modes(), modes);
    }
}

impl Terminal {
    /// Number of the program's process.
    pub fn pid(&self) -> i32 {
        self.child.process_id().expect("its number").cast_signed()
    }

    /// Types these characters; `\x1b[A` and the like are keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("a terminal that takes keys");
    }

    /// Changes the size, as a user who drags a corner.
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

    /// Bytes that came out since the first so many.
    pub fn bytes_since(&self, count: usize) -> Vec<u8> {
        self.seen.lock().unwrap().bytes[count..].to_vec()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait for a child")
    }

    /// When some of them came.
    pub fn times(&self) -> Vec<Instant> {
        self.seen.lock().unwrap().times.clone()
    }

    /// Waits until a text is on the screen.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    /// Waits until the screen is as wanted.
    ///
    /// # Panics
    /// After a minute, with the screen.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is: impl Fn(&str) -> bool) {
        assert!(wait_for(PATIENCE, || is(&self.text())), "waited for {what}:\n{}", self.text());
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = wait_for(PATIENCE, || {
            status = self.child.try_wait().expect("wait for a child");
            status.is_some()
        });
        assert!(ended, "it still runs:\n{}", self.text());
        status.expect("a status")
    }

    /// Asserts that the terminal is as it was before: echo and lines on, no alternate screen, cursor visible, mouse off.
    #[track_caller]
    pub fn assert_given_back(&self) {
        assert!(wait_for(PATIENCE, || self.is_given_back()), "the terminal is not given back:\n{}", self.text());
    }

    /// Whether it is as it was before.
    pub fn is_given_back(&self) -> bool {
        let screen = self.screen();
        let mouse = screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None;
        !screen.alternate_screen() && !screen.hide_cursor() && mouse && self.is_cooked()
    }

    /// Whether the terminal echoes and collects lines.
    pub fn is_cooked(&self) -> bool {
        let flags = self.master.get_termios().expect("its modes").local_flags.bits();
        flags & (libc::ECHO | libc::ICANON) == libc::ECHO | libc::ICANON
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        proc::signal(self.pid(), signal);
    }
}

impl Drop for Terminal {
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
