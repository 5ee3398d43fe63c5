//! Log lines go to standard error; while the screen owns the terminal they are held back.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use netobserv_contract::plain;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

/// Bytes that are held back at most; the oldest lines go first.
const HELD: usize = 64 << 10;

static BACK: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Logs from `level` up, on a terminal in colours if they are wanted; what libraries say, from warnings up only.
pub fn start(level: LevelFilter, colours: bool) {
    let filter = EnvFilter::new(format!("{},netobserv_collector={level}", level.min(LevelFilter::WARN)));
    // What others wrote is in messages and values: peers, the API server, names.
    let fields = format::debug_fn(|out, field, value| {
        let value = format!("{value:?}");
        let value = plain::line(&value);
        if field.name() == "message" { write!(out, "{value}") } else { write!(out, "{field}={value}") }
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(fields.delimited(" "))
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && colours)
        .with_writer(|| Held)
        .init();
}

/// Holds lines back while the guard lives; then they are printed.
pub fn hold_back() -> HoldBack {
    *BACK.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    HoldBack(())
}

/// The last line that is held back.
pub fn last_line() -> Option<String> {
    let back = BACK.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(back.as_ref()?).into_owned();
    text.lines().last().map(str::to_owned)
}

/// Prints the held lines when dropped.
#[derive(Debug)]
pub struct HoldBack(());

impl Drop for HoldBack {
    fn drop(&mut self) {
        let lines = BACK.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nowhere left to complain to.
        let _ = io::stderr().write_all(&lines.unwrap_or_default());
    }
}

struct Held;

impl Write for Held {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut back = BACK.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lines) = back.as_mut() else {
            // A terminal that is gone is no reason to panic, which is what the caller would do.
            let _ = io::stderr().write_all(line);
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
        io::stderr().flush()
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
        assert_eq!(last_line().unwrap(), format!("line {:06}", HELD / 8 - 1));
        {
            let mut back = BACK.lock().unwrap();
            let lines = back.as_mut().unwrap();
            assert!(lines.len() <= HELD && lines.starts_with(b"line "));
            lines.clear();
        }
        drop(guard);
        assert_eq!(last_line(), None);
    }
}
