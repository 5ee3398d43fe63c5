//! What a user without a screen reads while metrics are counted: a line of rates each second, and the account at the end.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::registry::Registry;
use crate::counts::Totals;
use crate::human;
use crate::summary;

/// The line of a moment has the rates since the line before it.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<Option<(Instant, Totals)>>);

impl Rates {
    pub(crate) fn line(&self, elapsed: Duration, totals: &Totals, series: u64) -> String {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || (now.checked_sub(elapsed).unwrap_or(now), Totals::default());
        let (since, before) = last.replace((now, *totals)).unwrap_or_else(begin);
        let rate = |number: u64, before: u64| per_second(number.saturating_sub(before), now.duration_since(since));
        format!(
            "{}; {} flows/s, {} packets/s, {}/s, {} series",
            summary::line(elapsed, totals),
            human::count(rate(totals.flows, before.flows)),
            human::count(rate(totals.packets, before.packets)),
            human::bytes(rate(totals.bytes, before.bytes)),
            human::count(series),
        )
    }
}

fn per_second(number: u64, time: Duration) -> u64 {
    // A line comes each second; the first may come at once.
    (number as f64 / time.as_secs_f64().max(0.1)) as u64
}

/// What the capture counted, and into how many series.
pub(crate) fn account(registry: &Registry, limit: u64, lost: u64, files: &[&Path]) -> Vec<String> {
    let (used, over) = registry.series();
    let mut lines = vec![format!("  {} series of at most {}", human::count(used), human::count(limit))];
    let above = format!(
        "  {} observations had no series of their own and are under the label other: use --max-series, or a shorter --include_list",
        human::count(over)
    );
    lines.extend((over > 0).then_some(above));
    lines.extend((lost > 0).then(|| format!("  not counted after an error: {} flows", human::count(lost))));
    lines.extend(files.iter().map(|file| format!("  {}", file.display())));
    lines
}
