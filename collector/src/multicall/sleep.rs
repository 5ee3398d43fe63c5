//! `sleep`: keeps the collector's pod running until a capture is started in it, and while its files are fetched.
//!
//! It is process 1 of its container, to which the kernel gives no signal that it does not ask for, and which inherits
//! every process whose parent has gone.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::time::TimeSpec;

/// What a person who forgot the words reads.
const USAGE: &str = "usage: sleep NUMBER[s|m|h|d]... | infinity";
/// Longest single wait for the kernel: the sum of several is not limited.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

pub(super) fn run(words: Vec<OsString>) -> ExitCode {
    let Some(time) = total(&words) else {
        eprintln!("sleep: {USAGE}");
        return ExitCode::FAILURE;
    };
    if let Some(pod) = super::session::pod().filter(|_| time == Duration::MAX) {
        return super::session::keep(pod).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    match wait(time) {
        Ok(None) => ExitCode::SUCCESS,
        // As a shell reports it.
        Ok(Some(signal)) => ExitCode::from(128 + signal as u8),
        Err(error) => {
            eprintln!("sleep: cannot wait for signals: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The sum of the words; `None` when one is not a time, or there is none.
fn total(words: &[OsString]) -> Option<Duration> {
    let times = words.iter().map(|word| time(word.to_str()?)).collect::<Option<Vec<_>>>()?;
    (!times.is_empty()).then(|| times.into_iter().fold(Duration::ZERO, Duration::saturating_add))
}

fn time(word: &str) -> Option<Duration> {
    if matches!(word, "infinity" | "inf") {
        return Some(Duration::MAX);
    }
    let unit = match word.chars().last()? {
        's' | '0'..='9' | '.' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        'd' => 86400.0,
        _ => return None,
    };
    let number: f64 = word.trim_end_matches(['s', 'm', 'h', 'd']).parse().ok()?;
    (number >= 0.0).then(|| Duration::try_from_secs_f64(number * unit).unwrap_or(Duration::MAX))
}

/// Returns the signal that came first, if one did.
fn wait(time: Duration) -> nix::Result<Option<Signal>> {
    let ends: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ends), None)?;
    bury_children()?;
    let start = Instant::now();
    loop {
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        match next_of(&ends, left.min(LONGEST_WAIT)) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            signal => return signal.map(Some),
        }
    }
}

/// The kernel buries the children that come to process 1.
pub(super) fn bury_children() -> nix::Result<()> {
    // SAFETY: no handler of ours runs.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.map(drop)
}

/// sigtimedwait(2): the next of these signals, or `EAGAIN` after `time`.
fn next_of(signals: &SigSet, time: Duration) -> nix::Result<Signal> {
    let time = TimeSpec::from_duration(time);
    // SAFETY: both point to values that live during the call; the signal's details are not wanted.
    let number = unsafe { nix::libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), time.as_ref()) };
    Errno::result(number).and_then(Signal::try_from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(line: &str) -> Option<Duration> {
        total(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn times_are_added_up() {
        assert_eq!(sum("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(sum("1m 1h 1d 1s"), Some(Duration::from_secs(60 + 3600 + 86400 + 1)));
        assert_eq!(sum("infinity"), Some(Duration::MAX));
        assert_eq!(sum("1 infinity"), Some(Duration::MAX));
        for wrong in ["", "x", "-1", "1w", "nan", "s"] {
            assert_eq!(sum(wrong), None, "{wrong}");
        }
    }
}
