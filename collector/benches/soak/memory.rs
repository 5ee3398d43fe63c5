//! Resident memory of a process over time: how much at most, and whether it stays where it is.

use std::time::{Duration, Instant};

use netobserv_testkit::memory::{mib, of_process};

/// Between two looks.
const EACH: Duration = Duration::from_secs(1);
/// What the last third may have more than the middle one: a part of it, and so many MiB.
const MORE: f64 = 1.05;
const MIB: f64 = 8.0;
/// A shorter time says nothing about growth.
const SHORTEST: usize = 45;

/// What was seen of a process.
#[derive(Debug)]
pub(crate) struct Memory {
    name: &'static str,
    pid: i32,
    most: f64,
    start: Instant,
    /// MiB, once a second.
    seen: Vec<f64>,
}

impl Memory {
    pub(crate) fn of(name: &'static str, pid: i32, most: f64) -> Self {
        Self { name, pid, most, start: Instant::now(), seen: Vec::new() }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Looks, when it is time.
    pub(crate) fn look(&mut self) {
        if self.start.elapsed() >= EACH * self.seen.len() as u32 {
            self.seen.extend(of_process(self.pid, "VmRSS").map(mib));
        }
    }

    pub(crate) fn now(&self) -> String {
        format!("{} {:.0} MiB", self.name, self.seen.last().unwrap_or(&0.0))
    }

    /// Prints what was seen, and returns what is wrong with it.
    pub(crate) fn verdict(&self) -> Vec<String> {
        let highest = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
        let third = self.seen.len() / 3;
        let parts = [&self.seen[..third], &self.seen[third..2 * third], &self.seen[2 * third..]].map(highest);
        println!(
            "{}: {:.0}, {:.0} and {:.0} MiB at most in the thirds of the time",
            self.name, parts[0], parts[1], parts[2]
        );
        let grows = self.seen.len() >= SHORTEST && parts[2] > parts[1] * MORE + MIB;
        let wrong = [
            (self.seen.is_empty(), format!("{}: its memory was never seen", self.name)),
            (highest(&parts) > self.most, format!("{}: more than {} MiB", self.name, self.most)),
            (grows, format!("{}: its memory grows", self.name)),
        ];
        wrong.into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect()
    }
}
