//! A program that is waited for: with input, a limit of time, and an eye on Ctrl-C.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::echo::Echo;
use super::relay::Relay;
use super::{Ending, ProcessError, Program, quoted};

/// Between two looks at the clock and at the signals; the end of the program itself is noticed at once.
const TICK: Duration = Duration::from_millis(25);
/// From a request to end until the program is killed, where programs can be asked.
#[cfg(unix)]
const GRACE: Duration = Duration::from_secs(2);

/// Where a job's streams go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Nothing to read but the given input; what it writes is kept.
    Kept,
    /// Like `Kept`, but what it writes on standard output is written to ours as it comes.
    Shown,
    /// Like `Shown`, and what it writes on standard error is output again as it comes; only the end of that is kept.
    Heard,
    /// All three are those of this program: a person sits there.
    Terminal,
}

/// What to start, and how.
#[derive(Debug)]
pub struct Job<'a> {
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its standard input.
    pub input: Option<&'a [u8]>,
    /// Its streams.
    pub streams: Streams,
    /// In a process group of its own, out of reach of the Ctrl-C of the terminal.
    pub shielded: bool,
    /// Longest time; `None` for any.
    pub limit: Option<Duration>,
}

/// Why a job was ended by this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Its time was over.
    TimedOut(Duration),
    /// The user wants to stop.
    Interrupted,
}

/// A job that is over.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub ending: Ending,
    /// Why it was ended, when it was.
    pub cut: Option<Cut>,
    /// What it wrote, rewound to the start.
    pub output: File,
    /// What it wrote on standard error; the end of it where it was heard.
    pub errors: String,
}

impl Done {
    /// Its standard output as text.
    #[must_use]
    pub fn text(&mut self) -> String {
        let mut bytes = Vec::new();
        // An unnamed file of ours can be read.
        let _ = self.output.seek(SeekFrom::Start(0)).and_then(|_| self.output.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The line that a person could type.
#[must_use]
pub fn line(program: &Path, args: &[OsString]) -> String {
    let words = std::iter::once(program.as_os_str()).chain(args.iter().map(OsString::as_os_str));
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// Runs a job to its end. `stop` is asked again and again whether to end it; it may look at how much was written.
///
/// # Errors
///
/// It cannot be started.
pub fn run(program: &Program, job: &Job<'_>, stop: &mut dyn FnMut(&File) -> bool) -> Result<Done, ProcessError> {
    let refused = |source| ProcessError::Refused { path: program.path.clone(), source };
    let output = tempfile::tempfile().map_err(refused)?;
    let expression = expression(program, job, &output).map_err(refused)?;
    let (expression, relay) = relayed(expression, job.streams).map_err(refused)?;
    let (expression, errors) = Errors::of(expression, job.streams).map_err(refused)?;
    let handle = Arc::new(expression.start().map_err(refused)?);
    // Ours is a way into the pipe, too.
    drop(expression);
    let cut = wait(&handle, job.limit, &mut || stop(&output)).map_err(refused)?;
    if cut.is_some() {
        end(&handle);
    }
    let ending = Ending::of(handle.wait().map(|output| output.status));
    if let Some(relay) = relay {
        relay.finish();
    }
    Ok(Done { ending, cut, output, errors: errors.text().map_err(refused)? })
}

/// Standard output goes through this program, where that is wanted.
fn relayed(expression: duct::Expression, streams: Streams) -> io::Result<(duct::Expression, Option<Relay>)> {
    if !matches!(streams, Streams::Shown | Streams::Heard) {
        return Ok((expression, None));
    }
    let (from, to) = io::pipe()?;
    Ok((expression.stdout_file(to), Some(Relay::start(from))))
}

/// Where standard error goes.
enum Errors {
    /// Where ours goes.
    Ours,
    Kept(File),
    Heard(Echo),
}

impl Errors {
    fn of(expression: duct::Expression, streams: Streams) -> io::Result<(duct::Expression, Self)> {
        Ok(match streams {
            Streams::Terminal => (expression, Self::Ours),
            // Unnamed files, not pipes: a process that the program leaves behind cannot hold us up.
            Streams::Kept | Streams::Shown => {
                let file = tempfile::tempfile()?;
                (expression.stderr_file(file.try_clone()?), Self::Kept(file))
            }
            Streams::Heard => {
                let (from, to) = io::pipe()?;
                (expression.stderr_file(to), Self::Heard(Echo::start(from)))
            }
        })
    }

    /// What was written, once the program has ended.
    fn text(self) -> io::Result<String> {
        match self {
            Self::Ours => Ok(String::new()),
            Self::Kept(mut file) => {
                let mut output = Vec::new();
                file.rewind()?;
                file.read_to_end(&mut output)?;
                Ok(String::from_utf8_lossy(&output).into_owned())
            }
            Self::Heard(echo) => Ok(echo.finish()),
        }
    }
}

fn wait(handle: &duct::Handle, limit: Option<Duration>, stop: &mut dyn FnMut() -> bool) -> io::Result<Option<Cut>> {
    let start = Instant::now();
    loop {
        if handle.wait_timeout(TICK)?.is_some() {
            return Ok(None);
        }
        if stop() {
            return Ok(Some(Cut::Interrupted));
        }
        if let Some(limit) = limit.filter(|limit| start.elapsed() >= *limit) {
            return Ok(Some(Cut::TimedOut(limit)));
        }
    }
}

/// Asks the program to end, then ends it.
fn end(handle: &duct::Handle) {
    #[cfg(unix)]
    {
        let _ = duct::unix::HandleExt::send_signal(handle, super::TERMINATE);
        let _ = handle.wait_timeout(GRACE);
    }
    let _ = handle.kill();
}

#[allow(clippy::disallowed_methods, reason = "this module is the only place where the plugin starts programs")]
fn expression(program: &Program, job: &Job<'_>, output: &File) -> io::Result<duct::Expression> {
    let mut expression = duct::cmd(&program.path, &job.args).unchecked();
    if job.streams != Streams::Terminal {
        expression = match job.input {
            Some(input) => expression.stdin_bytes(input),
            None => expression.stdin_null(),
        };
    }
    if job.streams == Streams::Kept {
        expression = expression.stdout_file(output.try_clone()?);
    }
    #[cfg(unix)]
    if job.shielded {
        expression = expression.before_spawn(|command| {
            std::os::unix::process::CommandExt::process_group(command, 0);
            Ok(())
        });
    }
    Ok(expression)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Program, Vec<OsString>) {
        let program = Program { title: "the shell", path: which::which("sh").expect("a shell") };
        (program, vec!["-c".into(), script.into()])
    }

    #[track_caller]
    fn done(script: &str, input: Option<&[u8]>, limit: Option<Duration>) -> Done {
        let (program, args) = shell(script);
        let job = Job { args, input, streams: Streams::Kept, shielded: true, limit };
        run(&program, &job, &mut |_| false).expect("it starts")
    }

    #[test]
    fn what_goes_in_and_what_comes_out() {
        let mut done = done("cat; echo bad >&2; exit 3", Some(b"a\nb"), None);
        assert_eq!((done.text().as_str(), done.errors.as_str()), ("a\nb", "bad\n"));
        assert_eq!((done.ending, done.cut), (Ending::Code(3), None));
    }

    #[test]
    fn a_limit_ends_it_and_what_it_left_behind_holds_nobody_up() {
        let limit = Duration::from_millis(50);
        let mut done = done("echo begun; sleep 60 & wait", None, Some(limit));
        assert_eq!((done.cut, done.text().as_str()), (Some(Cut::TimedOut(limit)), "begun\n"));
    }

    #[test]
    fn a_wish_to_stop_ends_it() {
        let (program, args) = shell("echo begun; sleep 60 & wait");
        let job = Job { args, input: None, streams: Streams::Kept, shielded: false, limit: None };
        let mut begun = |output: &File| output.metadata().is_ok_and(|metadata| metadata.len() == 6);
        let done = run(&program, &job, &mut begun).expect("it starts");
        assert_eq!((done.cut, done.ending), (Some(Cut::Interrupted), Ending::Signal(15)));
    }

    #[test]
    fn a_line_can_be_typed() {
        let args = ["a b".into(), "x'y".into(), "--q=$(id)".into(), String::new().into()];
        assert_eq!(line(Path::new("/bin/oc"), &args), r"/bin/oc 'a b' 'x'\''y' '--q=$(id)' ''");
    }
}
