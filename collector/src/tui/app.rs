//! What the screen shows: filled on every tick, drawn without a look at the clock.

use std::collections::VecDeque;
use std::time::Duration;

use netobserv_wire::Flow;

use super::KEPT;
use crate::counts::Totals;

/// Over which time the flows a second are counted.
const RATE_TIME: Duration = Duration::from_secs(2);

/// The state of the screen.
#[derive(Debug, Default)]
pub(super) struct App {
    /// Since the start of the capture.
    pub(super) elapsed: Duration,
    pub(super) max_time: Option<Duration>,
    pub(super) max_bytes: Option<u64>,
    /// The files, as they are told to the user.
    pub(super) files: String,
    pub(super) totals: Totals,
    /// Oldest first.
    pub(super) flows: VecDeque<Flow>,
    /// Flows a second.
    pub(super) rate: f64,
    /// The last thing that was logged.
    pub(super) log: Option<String>,
    pub(super) colours: bool,
    /// When there were how many flows.
    pub(super) marks: VecDeque<(Duration, u64)>,
}

impl App {
    /// Takes in what has happened until `elapsed`.
    pub(super) fn tick(&mut self, elapsed: Duration, totals: Totals, news: VecDeque<Flow>) {
        self.elapsed = elapsed;
        self.totals = totals;
        self.flows.extend(news);
        let surplus = self.flows.len().saturating_sub(KEPT);
        self.flows.drain(..surplus);
        self.count_rate();
    }

    fn count_rate(&mut self) {
        self.marks.push_back((self.elapsed, self.totals.flows));
        while self.marks.get(1).is_some_and(|(at, _)| self.elapsed.saturating_sub(*at) >= RATE_TIME) {
            self.marks.pop_front();
        }
        if let Some((at, flows)) = self.marks.front() {
            let time = self.elapsed.saturating_sub(*at).as_secs_f64();
            self.rate = if time > 0.0 { self.totals.flows.saturating_sub(*flows) as f64 / time } else { 0.0 };
        }
    }
}
