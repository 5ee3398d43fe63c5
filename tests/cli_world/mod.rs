//! A world in which the plugin meets stand-ins for the agent and the collector, which write down what happens to them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest time for anything in these tests; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// One run of the plugin, in a folder of its own.
pub(crate) struct World {
    dir: TempDir,
    env: Vec<(String, String)>,
}

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
}

impl World {
    pub(crate) fn new() -> Self {
        let fakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli_world");
        let world = Self { dir: tempfile::tempdir().expect("a temporary folder"), env: Vec::new() };
        let bin = world.path("bin");
        std::fs::create_dir(&bin).expect("a folder for programs");
        #[cfg(unix)]
        std::os::unix::fs::symlink(fakes.join("fake-oc"), bin.join("oc")).expect("a link");
        let path = std::env::var("PATH").expect("PATH is set");
        world
            .env("PATH", &format!("{}:{path}", bin.display()))
            .env("USER", "me")
            .env("HOSTNAME", "here")
            .env("NETOBSERV_AGENT_BIN", fakes.join("fake-agent").to_str().expect("UTF-8"))
            .env("NETOBSERV_COLLECTOR_BIN", fakes.join("fake-collector").to_str().expect("UTF-8"))
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs to the end.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        Running { child: self.command(words).spawn().expect("the plugin starts") }.outcome()
    }

    /// The same with words of any bytes.
    #[track_caller]
    pub(crate) fn run_os(&self, words: &[std::ffi::OsString]) -> Outcome {
        Running { child: self.command(words).spawn().expect("the plugin starts") }.outcome()
    }

    /// Starts, for a test that acts while it runs.
    #[track_caller]
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        Running { child: self.command(words).spawn().expect("the plugin starts") }
    }

    /// Runs a script of the repository on the same cluster.
    #[track_caller]
    pub(crate) fn run_script(&self, script: &str, words: &[&str]) -> Outcome {
        let mut command = self.program(&Path::new(env!("CARGO_MANIFEST_DIR")).join(script), words);
        command.env("NETOBSERV", env!("CARGO_BIN_EXE_oc-netobserv"));
        Running { child: command.spawn().expect("the script starts") }.outcome()
    }

    /// Runs lines of a shell, for which `$NETOBSERV` is the plugin.
    #[track_caller]
    pub(crate) fn run_shell(&self, lines: &str) -> Outcome {
        let mut command = self.program(Path::new("sh"), &["-c", lines]);
        command.env("NETOBSERV", env!("CARGO_BIN_EXE_oc-netobserv"));
        Running { child: command.spawn().expect("the shell starts") }.outcome()
    }

    fn command(&self, words: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_oc-netobserv")), words)
    }

    #[allow(clippy::disallowed_methods, reason = "the door of these tests to the program under test")]
    fn program(&self, program: &Path, words: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        let mut command = Command::new(program);
        command.args(words).current_dir(self.dir.path()).env_remove("COLUMNS").env("TMPDIR", self.temporary());
        command.env_remove("NETOBSERV_NAMESPACE").env_remove("NETOBSERV_K8S_CLI").env("FAKE_CLUSTER", self.cluster());
        command.env("FAKE_LOG", self.log_file()).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs with a terminal, on which `input` is typed as soon as `prompt` is on it. What is seen, and the exit code.
    #[track_caller]
    pub(crate) fn run_on_terminal(&self, words: &[&str], dialogue: &[(&str, &str)]) -> (String, u32) {
        let size = portable_pty::PtySize { rows: 40, cols: 200, pixel_width: 0, pixel_height: 0 };
        let pair = portable_pty::native_pty_system().openpty(size).expect("a terminal");
        let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_oc-netobserv"));
        command.args(words);
        command.cwd(self.dir.path());
        for name in ["COLUMNS", "NETOBSERV_NAMESPACE", "NETOBSERV_K8S_CLI"] {
            command.env_remove(name);
        }
        command.env("FAKE_CLUSTER", self.cluster());
        self.env.iter().for_each(|(name, value)| command.env(name, value));
        let mut child = pair.slave.spawn_command(command).expect("the plugin starts");
        drop(pair.slave);
        let (mut reader, mut writer) =
            (pair.master.try_clone_reader().expect("a reader"), pair.master.take_writer().expect("a writer"));
        let (sender, pieces) = std::sync::mpsc::channel::<Vec<u8>>();
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut block) {
                let _ = sender.send(block[..read].to_vec());
            }
        });
        let (mut seen, mut dialogue) = (String::new(), dialogue.iter());
        let mut next = dialogue.next();
        let mut from = 0;
        while let Ok(piece) = pieces.recv_timeout(PATIENCE) {
            seen.push_str(&String::from_utf8_lossy(&piece));
            while let Some((prompt, input)) = next.filter(|(prompt, _)| seen[from..].contains(prompt)) {
                from += seen[from..].find(prompt).expect("it is there") + prompt.len();
                writer.write_all(input.as_bytes()).expect("typing works");
                next = dialogue.next();
            }
        }
        assert!(next.is_none(), "{next:?} was not reached in {seen}");
        (seen.replace("\r\n", "\n"), child.wait().expect("waiting works").exit_code())
    }

    /// The folder the plugin runs in.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the plugin puts its socket.
    pub(crate) fn temporary(&self) -> PathBuf {
        let dir = self.dir.path().join("tmp");
        std::fs::create_dir_all(&dir).expect("a folder for temporary files");
        dir
    }

    /// The folder of the cluster that `fake-oc` keeps.
    pub(crate) fn cluster(&self) -> PathBuf {
        let dir = self.path("cluster");
        std::fs::create_dir_all(&dir).expect("a folder for the cluster");
        dir
    }

    /// A file of the cluster, such as `answers/rollout` or `pod/flow/x.json`.
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.cluster().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file of the cluster");
        self
    }

    /// The calls of `oc`, words quoted for a shell; session ids are written SESSION.
    pub(crate) fn calls(&self) -> Vec<String> {
        let session = std::fs::read_to_string(self.cluster().join("session")).unwrap_or_else(|_| "?".to_owned());
        let calls = std::fs::read_to_string(self.cluster().join("calls")).unwrap_or_default();
        calls.lines().map(|line| line.replace(session.trim(), "SESSION")).collect()
    }

    /// What is in the cluster, as `kind.name`.
    pub(crate) fn objects(&self) -> Vec<String> {
        let dir = std::fs::read_dir(self.cluster().join("objects"));
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> =
            dir.into_iter().flatten().map(|e| name(e).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Waits until a call with this in it was made.
    #[track_caller]
    pub(crate) fn wait_for_call(&self, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.calls().iter().any(|line| line.contains(part)) {
            assert!(Instant::now() < deadline, "no '{part}' in {:#?}", self.calls());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The same for `PART#N`: until N calls with it were made.
    #[track_caller]
    pub(crate) fn wait_for_call_number(&self, step: &str) {
        let (part, number) = step.split_once('#').unwrap_or((step, "1"));
        let number: usize = number.parse().expect("a number");
        let deadline = Instant::now() + PATIENCE;
        while self.calls().iter().filter(|line| line.contains(part)).count() < number {
            assert!(Instant::now() < deadline, "no '{step}' in {:#?}", self.calls());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log_file(&self) -> PathBuf {
        let path = self.path("log");
        if !path.exists() {
            std::fs::write(&path, "").expect("a log");
        }
        path
    }

    /// What the stand-ins wrote down.
    pub(crate) fn log(&self) -> Vec<String> {
        std::fs::read_to_string(self.log_file()).expect("the log").lines().map(str::to_owned).collect()
    }

    /// The log without settings: the order of events.
    pub(crate) fn events(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| !line.contains(" env ") && !line.contains(" args ")).collect()
    }

    /// Waits for a line of the log.
    #[track_caller]
    pub(crate) fn wait_for(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().iter().any(|l| l == line) {
            assert!(Instant::now() < deadline, "no '{line}' in {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The one JSON file, read by a JSON parser.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let [json] = self.files("json").try_into().expect("one JSON file");
        serde_json::from_slice(&std::fs::read(json).expect("readable")).expect("valid JSON")
    }

    /// The files of one ending in `output/flow`.
    pub(crate) fn files(&self, ending: &str) -> Vec<PathBuf> {
        let dir = std::fs::read_dir(self.path("output/flow"));
        let paths = dir.into_iter().flatten().map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|e| e == ending)).collect()
    }

    /// `./output/flow/<time>` with the time of the only capture.
    #[track_caller]
    pub(crate) fn base(&self) -> String {
        let [db] = self.files("db").try_into().expect("one database");
        format!("./output/flow/{}", db.file_stem().expect("a name").to_str().expect("UTF-8"))
    }
}

/// The plugin at work.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Sends a signal by its name (`INT`).
    #[allow(clippy::disallowed_methods, reason = "the door of these tests to the program under test")]
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    /// Kills it, whoever it leaves behind.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killing works");
        self.child.wait().expect("waiting works");
    }

    /// Waits for its end. What it prints is read meanwhile: a pipe holds 64 KiB.
    #[allow(clippy::disallowed_methods, reason = "the door of these tests to the program under test")]
    #[track_caller]
    pub(crate) fn outcome(self) -> Outcome {
        let (id, (done, ended)) = (self.child.id().to_string(), channel());
        std::thread::spawn(move || done.send(self.child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(PATIENCE) else {
            let _ = Command::new("kill").args(["-9", &id]).status();
            panic!("the plugin did not end");
        };
        let Output { status, stdout, stderr } = output.expect("waiting works");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Outcome { stdout: text(stdout), stderr: text(stderr), code: status.code() }
    }
}
