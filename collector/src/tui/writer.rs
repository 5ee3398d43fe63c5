//! Standard output, a frame at a time: counts what goes out, so that a slow line is not flooded.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Collects a frame and writes it at once.
#[derive(Debug)]
pub(super) struct Counted<W> {
    inner: W,
    frame: Vec<u8>,
    written: Arc<AtomicU64>,
}

impl<W: Write> Counted<W> {
    /// `written` has the bytes that went out.
    pub(super) fn new(inner: W, written: Arc<AtomicU64>) -> Self {
        Self { inner, frame: Vec::new(), written }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.written.fetch_add(self.frame.len() as u64, Relaxed);
        let written = self.inner.write_all(&self.frame);
        self.frame.clear();
        written?;
        self.inner.flush()
    }
}

/// Bytes a second that fresh data may cost, and what may be saved up for a new view.
const RATE: f64 = 44.0 * 1024.0;
const SAVED: f64 = 16.0 * 1024.0;

/// Decides whether fresh data may be shown. Keys always may.
#[derive(Debug)]
pub(super) struct Budget {
    left: f64,
    seen: u64,
    at: Duration,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: SAVED, seen: 0, at: Duration::ZERO }
    }

    /// Whether there is some left at `now`, when `written` bytes have gone out in all.
    pub(super) fn allows(&mut self, now: Duration, written: u64) -> bool {
        let earned = now.saturating_sub(self.at).as_secs_f64() * RATE;
        self.left = (self.left + earned - (written - self.seen) as f64).min(SAVED);
        self.seen = written;
        self.at = now;
        self.left > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_out_at_once_and_is_counted() {
        let (mut out, written) = (Vec::new(), Arc::<AtomicU64>::default());
        let mut counted = Counted::new(&mut out, written.clone());
        counted.write_all(b"abc").unwrap();
        counted.write_all(b"de").unwrap();
        assert_eq!(written.load(Relaxed), 0);
        counted.flush().unwrap();
        assert_eq!((written.load(Relaxed), out.as_slice()), (5, b"abcde".as_slice()));
    }

    #[test]
    fn frames_that_cost_much_come_less_often() {
        let (mut budget, mut written, mut frames) = (Budget::new(), 0, 0);
        for tick in 1..=100 {
            if budget.allows(Duration::from_millis(tick * 100), written) {
                written += 10_000;
                frames += 1;
            }
        }
        assert!(written <= 10 * 64 * 1024 && (40..=60).contains(&frames), "{frames} frames, {written} bytes in 10 s");
    }
}
