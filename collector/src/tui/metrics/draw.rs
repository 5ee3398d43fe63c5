//! Draws the screen of metrics:
//!
//! ```text
//! Metrics  00:01:23  1,234 flows, lost nothing  214 of 10,000 series
//! ↑↓ metric  ←→ range 5m  space pause  q quit
//! › namespace_flows_total                    602/s   most 1,204/s
//!   ▁▂▃▅▇▆▅▃▂▁
//!   ...
//! Largest of node_egress_bytes_total
//!  43%   1.2GB  node1 → node2
//! ```

use netobserv_contract::metrics::Measure;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};

use super::TOP;
use super::state::{Graph, RANGES, State};
use crate::human;
use crate::summary::{clock, or_nothing};
use crate::tui::text::micros;
use crate::tui::theme::{Theme, bold, dim};

/// Lines of a graph with its title: at least and at most.
const GRAPH: (u16, u16) = (2, 6);

pub(super) fn draw(frame: &mut Frame, state: &State, theme: Theme) {
    let largest = TOP as u16 + 1;
    let rows = [Constraint::Length(2), Constraint::Min(GRAPH.0), Constraint::Length(largest), Constraint::Length(1)];
    let [head, body, below, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(header(state, theme)), head);
    graphs(frame, state, theme, body);
    frame.render_widget(Paragraph::new(top(state)), below);
    let log = state.log.clone().unwrap_or_default();
    frame.render_widget(Paragraph::new(Line::styled(log, dim())), foot);
    theme.fit(frame.buffer_mut());
}

fn header(state: &State, theme: Theme) -> Vec<Line<'static>> {
    let totals = &state.totals;
    let lost = totals.lost();
    let lost_style = if lost.is_empty() { theme.good() } else { theme.alarm() };
    let (used, over) = state.series;
    let mut first = vec![
        Span::styled("Metrics  ", bold()),
        Span::raw(format!("{}  {} flows, ", clock(state.elapsed), human::count(totals.flows))),
        Span::styled(format!("lost {}", or_nothing(&lost)), lost_style),
        Span::raw(format!("  {} of {} series", human::count(used), human::count(state.limit))),
    ];
    if over > 0 {
        first.push(Span::styled(format!(", {} observations under other", human::count(over)), theme.alarm()));
    }
    let paused = if state.paused { "  PAUSED" } else { "" };
    let keys = format!("↑↓ metric  ←→ range {}  space pause  q quit{paused}", RANGES[state.range].1);
    vec![Line::from(first), Line::styled(keys, dim())]
}

/// As many graphs as there is room for, the selected one among them.
fn graphs(frame: &mut Frame, state: &State, theme: Theme, area: Rect) {
    let height = (area.height / state.graphs.len().max(1) as u16).clamp(GRAPH.0, GRAPH.1);
    let visible = usize::from(area.height / height).max(1);
    let first = state.selected.saturating_sub(visible - 1);
    for (row, graph) in state.graphs.iter().skip(first).take(visible).enumerate() {
        let top = area.y + row as u16 * height;
        let place = Rect { y: top, height: height.min(area.bottom().saturating_sub(top)), ..area };
        one(frame, graph, (theme, first + row == state.selected), place);
    }
}

fn one(frame: &mut Frame, graph: &Graph, (theme, selected): (Theme, bool), area: Rect) {
    let [title, line] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let measure = graph.metric.measure;
    let (now, most) = (graph.now, graph.most);
    let mark = if selected { "› " } else { "  " };
    let name = format!("{mark}{:<44}", graph.metric.name());
    let style = if selected { bold() } else { Style::new() };
    let text = Line::from(vec![
        Span::styled(name, style),
        Span::styled(format!("{:>12}", rate(measure, now)), theme.accent()),
        Span::styled(format!("   most {}", rate(measure, most)), dim()),
    ]);
    frame.render_widget(Paragraph::new(text), title);
    // The newest value is at the right.
    let width = usize::from(line.width);
    let mut points = vec![0; width.saturating_sub(graph.points.len())];
    points.extend(&graph.points[graph.points.len().saturating_sub(width)..]);
    frame.render_widget(Sparkline::default().data(&points).style(theme.accent()), line);
}

fn rate(measure: Measure, value: u64) -> String {
    match measure {
        Measure::EgressBytes | Measure::IngressBytes | Measure::DropBytes => format!("{}/s", human::bytes(value)),
        Measure::Rtt | Measure::DnsLatency => micros(value),
        _ => format!("{}/s", human::count(value)),
    }
}

fn amount(measure: Measure, value: u64) -> String {
    match measure {
        Measure::EgressBytes | Measure::IngressBytes | Measure::DropBytes => human::bytes(value),
        _ => human::count(value),
    }
}

fn top(state: &State) -> Vec<Line<'static>> {
    let Some(metric) = state.metric() else { return vec![] };
    let of = if metric.measure.is_histogram() { "Most observations of" } else { "Largest of" };
    let mut lines = vec![Line::styled(format!("{of} {}", metric.name()), bold())];
    let total = state.top.iter().map(|series| series.of).max().unwrap_or(0).max(1);
    lines.extend(state.top.iter().map(|series| {
        let share = u128::from(series.amount) * 100 / u128::from(total);
        Line::raw(format!("  {share:>3}%  {:>10}  {}", amount(metric.measure, series.amount), series.labels))
    }));
    lines
}
