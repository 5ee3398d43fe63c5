//! Programs in a running pod. As in a real cluster, the program is not a child that dies with `oc`: when the connection is
//! lost it loses its pipes or its terminal, and that is all it notices.
#![allow(clippy::disallowed_methods)] // The door to programs in pods.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crossterm::terminal;
use nix::sys::signal::{SigHandler, Signal};
use portable_pty::{CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

use super::Oc;
use super::words::Words;
use crate::world::PodState;

pub(crate) fn exec(oc: &Oc, words: &Words) -> Result<u8, String> {
    let name = words
        .plain
        .first()
        .map(|name| name.trim_start_matches("pod/"))
        .ok_or("error: pod, type/name or --filename must be specified")?;
    let object = oc.api.get(&format!("/api/v1/namespaces/{}/pods/{name}", words.namespace()))?;
    let object = object.ok_or_else(|| format!("Error from server (NotFound): pods \"{name}\" not found"))?;
    if object["spec"]["nodeName"].as_str().is_some_and(|node| oc.world.has_stopped(node)) {
        std::thread::sleep(DIALING);
        return Err("Error from server: error dialing backend: dial tcp 10.77.0.9:10250: i/o timeout".into());
    }
    let gone = || format!("error: unable to upgrade connection: container not found (\"{name}\")");
    let pod = oc.world.pod(words.namespace(), name).ok_or_else(gone)?;
    let tty = (words.has("t") || words.has("tty")) && io::stdin().is_terminal();
    if words.has("tty") && !tty {
        eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
    }
    let code = if tty { in_terminal(&pod, &words.rest) } else { with_pipes(&pod, &words.rest, words.has("i")) };
    let code = code.map_err(|error| format!("error: Internal error occurred: {error}"))?;
    if code != 0 {
        eprintln!("command terminated with exit code {code}");
    }
    Ok(code)
}

/// So long an API server tries to reach a kubelet.
const DIALING: Duration = Duration::from_secs(30);

/// The words that enter the pod and run a program there.
fn entering(pod: &PodState, command: &[String]) -> Vec<String> {
    let mut words =
        vec![format!("--target={}", pod.pid), "--mount".into(), "--net".into(), "--root".into(), "--wd".into()];
    words.extend([format!("--setuid={}", pod.uid), format!("--setgid={}", pod.uid), "--".into()]);
    words.extend(command.iter().cloned());
    words
}

fn with_pipes(pod: &PodState, command: &[String], input: bool) -> io::Result<u8> {
    let mut child = Command::new("/usr/bin/nsenter")
        .args(entering(pod, command))
        .env_clear()
        .envs(pod.env.iter().cloned())
        .stdin(if input { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    if command.iter().any(|word| word.starts_with("get-")) {
        hold(&child)?;
    }
    if let Some(stdin) = child.stdin.take() {
        std::thread::spawn(|| pump(io::stdin(), stdin));
    }
    let errors = child.stderr.take().map(|from| std::thread::spawn(|| pump(from, io::stderr())));
    if let Some(from) = child.stdout.take()
        && pump(from, io::stdout()).is_err()
    {
        // The program goes on, as in a real cluster.
        die_of_a_broken_pipe();
    }
    if let Some(thread) = errors {
        let _ = thread.join();
    }
    let status = child.wait()?;
    Ok(u8::try_from(status.code().unwrap_or(137)).unwrap_or(1))
}

/// Copies each piece as it comes; an error when it cannot be written.
fn pump(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut piece = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        to.write_all(&piece[..count]).and_then(|()| to.flush())?;
    }
    Ok(())
}

/// As a Go program does, which the real `oc` is.
fn die_of_a_broken_pipe() {
    // SAFETY: the default action is no handler.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let _ = nix::sys::signal::raise(Signal::SIGPIPE);
}

/// What a container runtime does: it keeps the pipes of a program open after `oc exec` has died, and reads nothing.
fn hold(child: &Child) -> io::Result<()> {
    let of = |fd: Option<BorrowedFd<'_>>| {
        fd.map_or_else(|| Ok(Stdio::null()), |fd| fd.try_clone_to_owned().map(Stdio::from))
    };
    Command::new(std::env::current_exe()?)
        .args(["hold-pipes", &child.id().to_string()])
        .stdin(of(child.stdout.as_ref().map(AsFd::as_fd))?)
        .stdout(of(child.stderr.as_ref().map(AsFd::as_fd))?)
        .stderr(Stdio::null())
        .status()
        .map(drop)
}

/// Leaves a process behind, which is no child of `oc`, that [keeps](keep_pipes) what this one has inherited.
///
/// # Errors
/// When it cannot be started.
pub fn hold_pipes(pid: &str) -> Result<(), String> {
    let holder = std::env::current_exe()
        .and_then(|program| Command::new(program).args(["keep-pipes", pid]).process_group(0).spawn());
    holder.map(drop).map_err(|error| error.to_string())
}

/// Holds what it has inherited open until a process is gone.
pub fn keep_pipes(pid: i32) {
    while netobserv_testkit::proc::alive(pid) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn in_terminal(pod: &PodState, command: &[String]) -> io::Result<u8> {
    let pair = native_pty_system().openpty(size()).map_err(io::Error::other)?;
    let mut builder = CommandBuilder::new("/usr/bin/nsenter");
    builder.args(entering(pod, command));
    builder.env_clear();
    builder.env("TERM", std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".into()));
    pod.env.iter().for_each(|(name, value)| builder.env(name, value));
    let mut child = pair.slave.spawn_command(builder).map_err(io::Error::other)?;
    drop(pair.slave);
    let (from, to) = (pair.master.try_clone_reader(), pair.master.take_writer());
    let (from, to) = (from.map_err(io::Error::other)?, to.map_err(io::Error::other)?);
    terminal::enable_raw_mode()?;
    std::thread::spawn(|| pump(io::stdin(), to));
    let screen = std::thread::spawn(|| pump(from, io::stdout()));
    let status = wait(child.as_mut(), pair.master.as_ref());
    let _ = screen.join();
    terminal::disable_raw_mode()?;
    let status = status?;
    // As `with_pipes`: 128 and the signal, of which only SIGKILL is used.
    Ok(if status.signal().is_some() { 137 } else { u8::try_from(status.exit_code()).unwrap_or(1) })
}

/// Waits for the end, and hands on the size of the terminal when it changes.
fn wait(child: &mut (dyn portable_pty::Child + Send + Sync), master: &dyn MasterPty) -> io::Result<ExitStatus> {
    let mut known = size();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let now = size();
        if (now.rows, now.cols) != (known.rows, known.cols) {
            master.resize(now).map_err(io::Error::other)?;
            known = now;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn size() -> PtySize {
    let (cols, rows) = terminal::size().unwrap_or((80, 24));
    PtySize { rows, cols, ..PtySize::default() }
}
