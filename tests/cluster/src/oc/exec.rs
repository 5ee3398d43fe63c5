//! Programs in a running pod. As in a real cluster, the program is not a child that dies with `oc`: when the connection is
//! lost it loses its pipes or its terminal, and that is all it notices.
#![allow(clippy::disallowed_methods)] // The door to programs in pods.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crossterm::terminal;
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
    object.ok_or_else(|| format!("Error from server (NotFound): pods \"{name}\" not found"))?;
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
    if let Some(stdin) = child.stdin.take() {
        std::thread::spawn(|| pump(io::stdin(), stdin));
    }
    let errors = child.stderr.take().map(|from| std::thread::spawn(|| pump(from, io::stderr())));
    if let Some(from) = child.stdout.take() {
        pump(from, io::stdout());
    }
    if let Some(thread) = errors {
        let _ = thread.join();
    }
    let status = child.wait()?;
    Ok(u8::try_from(status.code().unwrap_or(137)).unwrap_or(1))
}

/// Copies each piece as it comes.
fn pump(mut from: impl Read, mut to: impl Write) {
    let mut piece = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).and_then(|()| to.flush()).is_err() {
            break;
        }
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
    Ok(u8::try_from(status?.exit_code()).unwrap_or(1))
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
