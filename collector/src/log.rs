//! Log lines go to standard error; while the screen owns the terminal they are held back, and the screen shows the last event in
//! words of its own: a line made for a terminal holds color codes, which a screen would print as text.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use netobserv_contract::plain;
use netobserv_stdio as stdio;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, fmt};

/// Bytes that are held back at most; the oldest lines go first.
const HELD: usize = 64 << 10;

static BACK: Mutex<Option<Back>> = Mutex::new(None);

/// What is held back.
#[derive(Default)]
struct Back {
    /// The lines as standard error will get them.
    lines: Vec<u8>,
    /// The last event: its level and its words, without time and colors.
    last: Option<String>,
}

/// Logs from `level` up, on a terminal in colors if they are wanted; messages of libraries from warnings up only.
pub fn start(level: LevelFilter, colours: bool) {
    let filter = EnvFilter::new(format!("{},netobserv_collector={level}", level.min(LevelFilter::WARN)));
    let on_stderr = fmt::layer().with_target(false).fmt_fields(fields());
    let on_stderr = on_stderr.with_ansi(io::stderr().is_terminal() && colours).with_writer(|| Held);
    let on_screen = fmt::layer().with_target(false).fmt_fields(fields());
    let on_screen = on_screen.without_time().with_ansi(false).with_writer(|| Last);
    tracing_subscriber::registry().with(filter).with(on_stderr).with(on_screen).init();
}

/// What others wrote is in messages and values: peers, the API server, names.
fn fields() -> impl for<'writer> fmt::FormatFields<'writer> + 'static {
    let written = fmt::format::debug_fn(|out, field, value| {
        let value = format!("{value:?}");
        let value = plain::line(&value);
        if field.name() == "message" { write!(out, "{value}") } else { write!(out, "{field}={value}") }
    });
    written.delimited(" ")
}

/// Holds lines back while the guard lives; then they are printed. Lines from before are on the terminal when this returns: one that
/// came later would move the screen.
pub fn hold_back() -> HoldBack {
    *BACK.lock().unwrap_or_else(PoisonError::into_inner) = Some(Back::default());
    for stream in [stdio::stderr(), stdio::stdout()] {
        // An empty piece is written when all before it is.
        let _ = stream.write([]);
    }
    HoldBack(())
}

/// The last event since lines are held back, as plain text.
pub fn last_line() -> Option<String> {
    BACK.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.last.clone()
}

/// Prints the held lines when dropped.
#[derive(Debug)]
pub struct HoldBack(());

impl Drop for HoldBack {
    fn drop(&mut self) {
        let back = BACK.lock().unwrap_or_else(PoisonError::into_inner).take();
        stdio::stderr().put(back.unwrap_or_default().lines);
    }
}

struct Held;

impl Write for Held {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut back = BACK.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Back { lines, .. }) = back.as_mut() else {
            // A thread that logs must not wait for a terminal that takes no bytes.
            stdio::stderr().put(line);
            return Ok(line.len());
        };
        lines.extend_from_slice(line);
        if lines.len() > HELD {
            let half = lines.len() / 2;
            let cut = lines[half..].iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| half + at + 1);
            lines.drain(..cut);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps the last event for the screen; without one nothing is kept.
struct Last;

impl Write for Last {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if let Some(back) = BACK.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let text = String::from_utf8_lossy(event);
            back.last = Some(text.trim().chars().map(|char| if char.is_control() { ' ' } else { char }).collect());
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_back_and_the_oldest_go_first() {
        let guard = hold_back();
        for number in 0..HELD / 8 {
            writeln!(Held, "line {number:06}").unwrap();
        }
        assert_eq!(last_line(), None);
        Last.write_all(b" INFO two\nlines \x1b[2J\n").unwrap();
        assert_eq!(last_line().unwrap(), "INFO two lines  [2J");
        {
            let mut back = BACK.lock().unwrap();
            let lines = &mut back.as_mut().unwrap().lines;
            assert!(lines.len() <= HELD && lines.starts_with(b"line "));
            lines.clear();
        }
        drop(guard);
        assert_eq!(last_line(), None);
    }
}
