//! What the screen of metrics shows, and what keys change of it.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use netobserv_contract::metrics::Metric;

use crate::counts::Totals;
use crate::metrics::history::History;
use crate::metrics::registry::Largest;
use crate::tui::keys::Effect;

/// Ranges of the graphs, in seconds, with their names.
pub(super) const RANGES: [(usize, &str); 5] =
    [(300, "5m"), (600, "10m"), (1_800, "30m"), (3_600, "1h"), (21_600, "6h")];

/// One metric.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) metric: Metric,
    /// The newest last.
    pub(super) points: Vec<u64>,
    /// Of the last second.
    pub(super) now: u64,
    /// The highest second of the range.
    pub(super) most: u64,
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct State {
    pub(super) size: (u16, u16),
    pub(super) elapsed: Duration,
    pub(super) totals: Totals,
    /// Series in use, and observations above the limit.
    pub(super) series: (u64, u64),
    pub(super) limit: u64,
    pub(super) log: Option<String>,
    pub(super) graphs: Vec<Graph>,
    pub(super) selected: usize,
    /// One of [`RANGES`].
    pub(super) range: usize,
    pub(super) paused: bool,
    pub(super) top: Vec<Largest>,
}

impl State {
    pub(super) fn new(metrics: &[Metric], limit: u64) -> Self {
        Self {
            size: (80, 24),
            elapsed: Duration::ZERO,
            totals: Totals::default(),
            series: (0, 0),
            limit,
            log: None,
            graphs: metrics
                .iter()
                .map(|metric| Graph { metric: *metric, points: Vec::new(), now: 0, most: 0 })
                .collect(),
            selected: 0,
            range: 0,
            paused: false,
            top: Vec::new(),
        }
    }

    /// The selected metric.
    pub(super) fn metric(&self) -> Option<Metric> {
        self.graphs.get(self.selected).map(|graph| graph.metric)
    }

    /// Brings the graphs up to date.
    pub(super) fn graphs(&mut self, history: &History) {
        let (range, width) = (RANGES[self.range].0, usize::from(self.size.0).max(1));
        for (index, graph) in self.graphs.iter_mut().enumerate() {
            graph.points = history.points(index, range, width);
            (graph.now, graph.most) = history.extremes(index, range);
        }
    }

    /// Moves the selection, which stops at the ends.
    pub(super) fn select(&mut self, step: isize) {
        let last = self.graphs.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(step).min(last);
    }

    fn widen(&mut self, step: isize) {
        self.range = self.range.saturating_add_signed(step).min(RANGES.len() - 1);
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Effect {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, control) {
            (KeyCode::Char('q' | 'c'), true) | (KeyCode::Char('q'), false) => return Effect::Quit,
            (KeyCode::Char('l'), true) => return Effect::Redraw,
            (KeyCode::Char('z'), true) => return Effect::Suspend,
            (KeyCode::Char(' ') | KeyCode::Null, _) => self.paused = !self.paused,
            (KeyCode::Down | KeyCode::Tab, _) => self.select(1),
            (KeyCode::Up | KeyCode::BackTab, _) => self.select(-1),
            (KeyCode::Home, _) => self.selected = 0,
            (KeyCode::End, _) => self.select(isize::MAX),
            (KeyCode::Right | KeyCode::Char('+'), _) => self.widen(1),
            (KeyCode::Left | KeyCode::Char('-'), _) => self.widen(-1),
            _ => {}
        }
        Effect::None
    }
}
