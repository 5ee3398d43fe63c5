//! The live screen of a capture of metrics: a graph for each metric, and the largest series of the one that is selected. It reads the
//! collector's own counters, so that it needs no Prometheus.

mod draw;
mod state;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{KeyEvent, MouseEvent, MouseEventKind};
use ratatui::Frame;

use super::keys::Effect;
use super::scene::Scene;
use super::terminal::Screen;
use super::theme::Theme;
use crate::cli::Options;
use crate::counts::Counts;
use crate::log;
use crate::metrics::history::History;
use crate::metrics::registry::Registry;
use state::State;

/// Series of the selected metric.
const TOP: usize = 6;

/// What the screen shows of a capture of metrics.
pub struct MetricsSource {
    /// When it started.
    pub started: Instant,
    /// What was received and lost.
    pub counts: Arc<Counts>,
    /// The counters.
    pub registry: Arc<Registry>,
    /// Most series.
    pub series: u64,
}

impl Screen {
    /// Shows metrics. Must be called in a runtime, which brings the signals.
    ///
    /// # Errors
    /// When there is no terminal to take.
    pub fn metrics(options: &Options, source: MetricsSource) -> io::Result<Self> {
        let theme = Theme::of(&options.look);
        Self::show(source.started, move |_| {
            let history = History::new(&source.registry);
            let state = State::new(history.metrics(), source.series);
            Ok(Metrics { state, theme, history, source, noted: Duration::ZERO })
        })
    }
}

/// The scene of metrics.
struct Metrics {
    state: State,
    theme: Theme,
    history: History,
    source: MetricsSource,
    /// The second up to which the history goes.
    noted: Duration,
}

impl Scene for Metrics {
    fn resize(&mut self, width: u16, height: u16) {
        self.state.size = (width, height);
    }

    fn counts(&mut self, now: Duration) {
        let seconds = now.as_secs().saturating_sub(self.noted.as_secs());
        if seconds > 0 {
            self.history.note(&self.source.registry, seconds as usize);
            self.noted = now;
        }
        self.state.elapsed = now;
        self.state.totals = self.source.counts.totals();
        self.state.series = self.source.registry.series();
        self.state.log = log::last_line();
    }

    fn data(&mut self) {
        if self.state.paused {
            return;
        }
        self.state.graphs(&self.history);
        let metric = self.state.metric();
        self.state.top = metric.map(|metric| self.source.registry.largest(metric, TOP)).unwrap_or_default();
    }

    fn draw(&mut self, frame: &mut Frame) {
        draw::draw(frame, &self.state, self.theme);
    }

    fn key(&mut self, key: KeyEvent) -> Effect {
        self.state.press(key)
    }

    fn mouse(&mut self, mouse: MouseEvent) {
        match mouse.kind {
            MouseEventKind::ScrollDown => self.state.select(1),
            MouseEventKind::ScrollUp => self.state.select(-1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
