//! The one file that starts other programs.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

mod echo;
pub mod job;
mod relay;
pub mod terminal;

/// SIGTERM, the same number on every Unix.
#[cfg(unix)]
const TERMINATE: i32 = 15;

/// SIGUSR1 of Linux.
#[cfg(target_os = "linux")]
const NO_AGENT: i32 = 10;

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is nowhere.
    #[error("{name} is neither next to this program nor in PATH: build it with 'cargo build', or set {variable}")]
    Missing {
        /// File name of the program.
        name: &'static str,
        /// The variable that may name it.
        variable: &'static str,
    },
    /// It is not along PATH, and where this program is cannot be known.
    #[error(
        "{name} is not in PATH, and the folder of this program cannot be determined ({source}): is /proc mounted? Else set \
         {variable}"
    )]
    Nowhere {
        /// File name of the program.
        name: &'static str,
        /// The variable that may name it.
        variable: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The variable names something that is not there.
    #[error("{variable}={}: {source}", path.display())]
    Misnamed {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
        /// The system's error.
        source: which::Error,
    },
    /// The system refuses to start it.
    #[error("cannot start {}: {source}", path.display())]
    Refused {
        /// The program.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A program of ours on this machine.
#[derive(Debug, Clone)]
pub struct Program {
    /// What messages call it: "the agent".
    pub title: &'static str,
    path: PathBuf,
}

impl Program {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A program along PATH, or at this path.
    #[must_use]
    pub fn along_path(title: &'static str, name: &std::ffi::OsStr) -> Option<Self> {
        which::which(name).ok().map(|path| Self { title, path })
    }

    /// Looks at the environment variable, then next to this very program, then along PATH.
    ///
    /// # Errors
    ///
    /// It is not there, or not executable.
    pub fn find(title: &'static str, name: &'static str, variable: &'static str) -> Result<Self, ProcessError> {
        if let Some(path) = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from) {
            let path = which::which(&path).map_err(|source| ProcessError::Misnamed { variable, path, source })?;
            return Ok(Self { title, path });
        }
        let here = std::env::current_exe();
        let beside = here.as_deref().ok().and_then(Path::parent).and_then(|dir| which::which(dir.join(name)).ok());
        match (beside.or_else(|| which::which(name).ok()), here) {
            (Some(path), _) => Ok(Self { title, path }),
            (None, Ok(_)) => Err(ProcessError::Missing { name, variable }),
            (None, Err(source)) => Err(ProcessError::Nowhere { name, variable, source }),
        }
    }
}

/// How a program is to be started.
#[derive(Debug, Default)]
pub struct Invocation {
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables on top of this program's own.
    pub env: Vec<(&'static str, OsString)>,
    /// It has neither the keyboard nor a voice: no standard input, and its standard error is kept for [`Child::last_error`].
    pub quiet: bool,
    /// Print on standard error what is started.
    pub verbose: bool,
}

impl Invocation {
    /// The line that a person could type.
    fn shown(&self, path: &Path) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", quoted(&value.to_string_lossy())));
        let args = self.args.iter().map(|arg| quoted(&arg.to_string_lossy()));
        env.chain(std::iter::once(quoted(&path.to_string_lossy()))).chain(args).collect::<Vec<_>>().join(" ")
    }
}

/// `text` as a shell would want it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.,:=_-@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A running program.
#[derive(Debug)]
pub struct Child {
    /// What messages call it.
    pub title: &'static str,
    handle: Arc<duct::Handle>,
    voice: Option<File>,
}

impl Child {
    /// Starts `program` in this process group, so that it shares the Ctrl-C of the terminal.
    ///
    /// Must be called on the main thread: the child asks the kernel to end it together with the *thread* that started it.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn start(program: &Program, invocation: &Invocation) -> Result<Self, ProcessError> {
        if invocation.verbose {
            let line = invocation.shown(&program.path);
            let _ = writeln!(io::stderr(), "+ {}", netobserv_contract::plain::line(&line));
        }
        let refused = |source| ProcessError::Refused { path: program.path.clone(), source };
        // An unnamed file, not a pipe: it need not be read, and a child that outlives us can keep writing.
        let voice = invocation.quiet.then(tempfile::tempfile).transpose().map_err(refused)?;
        let handle = expression(program, invocation, voice.as_ref()).and_then(|e| e.start()).map_err(refused)?;
        Ok(Self { title: program.title, handle: Arc::new(handle), voice })
    }

    /// Waits for the end of a program that ends by itself.
    #[must_use]
    pub fn wait(&self) -> Ending {
        Ending::of(self.handle.wait().map(|output| output.status))
    }

    /// Calls `note` on a thread of its own when the program has ended.
    pub fn when_ended(&self, note: impl FnOnce(Ending) + Send + 'static) {
        let handle = Arc::clone(&self.handle);
        std::thread::spawn(move || note(Ending::of(handle.wait().map(|output| output.status))));
    }

    /// Asks it to end cleanly. Nothing happens when it has ended already.
    pub fn terminate(&self) {
        #[cfg(unix)]
        let _ = duct::unix::HandleExt::send_signal(self.handle.as_ref(), TERMINATE);
        #[cfg(not(unix))]
        self.kill();
    }

    /// Asks the collector to end, as the agent could not start and there is nothing to report.
    pub fn end_without_agent(&self) {
        #[cfg(target_os = "linux")]
        let _ = duct::unix::HandleExt::send_signal(self.handle.as_ref(), NO_AGENT);
        #[cfg(not(target_os = "linux"))]
        self.terminate();
    }

    /// Ends it at once.
    pub fn kill(&self) {
        let _ = self.handle.kill();
    }

    /// What a quiet program last_error last: the text of its last `error: ` line, else its last line.
    #[must_use]
    pub fn last_error(&mut self) -> Option<String> {
        let voice = self.voice.as_mut()?;
        let mut text = Vec::new();
        voice.rewind().and_then(|()| voice.read_to_end(&mut text)).ok()?;
        last_word(&String::from_utf8_lossy(&text))
    }
}

#[allow(clippy::disallowed_methods, reason = "this file is the only place where the plugin starts programs")]
fn expression(program: &Program, invocation: &Invocation, voice: Option<&File>) -> io::Result<duct::Expression> {
    let mut expression = duct::cmd(&program.path, &invocation.args).unchecked();
    for (name, value) in &invocation.env {
        expression = expression.env(name, value);
    }
    if let Some(voice) = voice {
        expression = expression.stdin_null().stderr_file(voice.try_clone()?);
    }
    Ok(expression)
}

fn last_word(text: &str) -> Option<String> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .filter_map(|line| line.strip_prefix("error: "))
        .next_back()
        .or_else(|| lines().next_back())
        .map(str::to_owned)
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ending {
    fn of(status: io::Result<ExitStatus>) -> Self {
        // Waiting for a child of ours fails only when the system has lost it.
        let Ok(status) = status else { return Self::Code(-1) };
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            return Self::Signal(signal);
        }
        Self::Code(status.code().unwrap_or(-1))
    }

    /// Exit code 0.
    #[must_use]
    pub fn is_good(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(number) => match signal_name(number) {
                Some(name) => write!(f, "was killed by signal {number} ({name})"),
                None => write!(f, "was killed by signal {number}"),
            },
        }
    }
}

/// The signals that have the same number everywhere and that a person can meet here.
fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [(i32, &str); 9] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
    ];
    NAMES.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_in_words() {
        assert_eq!(Ending::Code(1).to_string(), "ended with exit code 1");
        assert_eq!(Ending::Signal(9).to_string(), "was killed by signal 9 (SIGKILL)");
        assert_eq!(Ending::Signal(64).to_string(), "was killed by signal 64");
        assert!(Ending::Code(0).is_good() && !Ending::Signal(15).is_good());
    }

    #[test]
    fn the_last_error_line_counts() {
        assert_eq!(last_word("INFO x\nerror: no root\n"), Some("no root".to_owned()));
        assert_eq!(last_word("error: a\nerror: b\nINFO bye\n"), Some("b".to_owned()));
        assert_eq!(last_word("thread panicked\n\n"), Some("thread panicked".to_owned()));
        assert_eq!(last_word("\n"), None);
    }

    #[test]
    fn a_shown_line_can_be_typed() {
        let invocation = Invocation {
            args: vec!["--a=b c".into(), "it's".into(), "".into()],
            env: vec![("INTERFACES", "/^veth$/".into())],
            ..Invocation::default()
        };
        assert_eq!(invocation.shown(Path::new("/x/agent")), r"INTERFACES='/^veth$/' /x/agent '--a=b c' 'it'\''s' ''");
    }
}
