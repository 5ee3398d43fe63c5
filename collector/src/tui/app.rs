//! The state of the screen: what the user chose, and what is shown of the data. Drawn without a look at the clock or the data.

use std::time::Duration;

use netobserv_wire::Flow;

use super::columns::Column;
use super::connections::ConnectionRow;
use super::data::kept::Kept;
use super::data::seconds::Second;
use super::detail::Detail;
use super::draw::{banner_lines, explanation_lines, lines};
use super::exact::Row;
use super::filter::Filter;
use super::problems::ProblemRow;
use super::push::Kernel;
use super::stage::{At, Choice, Periods};
use super::theme::Theme;
use super::top::TopRow;
use super::views::{Group, Metric, Names, Order, View, columns};
use crate::counts::Totals;

/// Fewest rows that `-` leaves.
pub(super) const FEWEST_ROWS: usize = 5;
/// Lines above the table (header, losses, views, choices, titles) and below it (filters, keys).
const LINES_ABOVE: u16 = 5;
const LINES_BELOW: u16 = 2;

/// What does not change during a capture.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) max_time: Option<Duration>,
    pub(super) max_bytes: Option<u64>,
    /// The files, as they are shown to the user.
    pub(super) files: String,
    /// Nodes that should report.
    pub(super) expected: Option<u64>,
    /// Options of the capture.
    pub(super) options: String,
}

impl Facts {
    /// The option without which the capture has nothing for a view, where it is off.
    pub(super) fn lacks(&self, view: View) -> Option<&'static str> {
        let option = match view {
            View::Drops => "enable_pkt_drop",
            View::Dns => "enable_dns",
            View::Rtt => "enable_rtt",
            _ => return None,
        };
        let value = |name: &str| {
            let found = self.options.split('|').map(|one| one.trim().trim_start_matches('-')).find_map(|one| {
                let (key, value) = one.split_once('=').unwrap_or((one, "true"));
                (key.replace('-', "_") == name).then_some(value)
            });
            found.map(|value| value == "true")
        };
        // A collector that was started by hand does not know.
        let is_on = self.options.is_empty() || value(option).or_else(|| value("enable_all")).unwrap_or(false);
        (!is_on).then_some(option)
    }
}

/// What lies over the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Over {
    #[default]
    Nothing,
    Help,
    Detail,
}

/// A node and how long nothing was heard of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Silent {
    pub(super) node: String,
    pub(super) time: Duration,
}

/// The order of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sort {
    pub(super) column: &'static Column,
    pub(super) descending: bool,
}

/// A row that was entered, and where.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) view: View,
    pub(super) row: Row,
    pub(super) cursor: Option<usize>,
    pub(super) offset: usize,
    /// The records of the row.
    pub(super) filter: Filter,
}

/// What is shown of the data.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Since the start of the capture.
    pub(super) elapsed: Duration,
    /// Whether it still captures.
    pub(super) stage: At,
    /// For how long it continues, and has rested.
    pub(super) periods: Periods,
    pub(super) totals: Totals,
    /// Flows a second.
    pub(super) rate: f64,
    pub(super) silent: Vec<Silent>,
    /// The filter that was put into the kernels.
    pub(super) kernel: Option<Kernel>,
    /// What is captured by name, and how many addresses that is now.
    pub(super) selected: Vec<String>,
    /// Rows on the screen, in the order in which they stand there.
    pub(super) rows: Vec<Flow>,
    /// Rows that pass the filters, and rows that there are.
    pub(super) matching: usize,
    pub(super) kept: usize,
    /// Rows that came since the pause.
    pub(super) news: u64,
    /// Rows that the views could not look at, because they came too fast.
    pub(super) missed: u64,
    pub(super) seen: u64,
    /// Filters have not seen all old rows yet.
    pub(super) searching: bool,
    /// Features that kernels cannot do, in words.
    pub(super) lacking: Vec<String>,
    /// Some flow had names.
    pub(super) has_names: bool,
    /// Some flow had a process.
    pub(super) has_processes: bool,
    /// Views of features of which there has been something.
    pub(super) present: Vec<View>,
    pub(super) top: Vec<TopRow>,
    /// Groups of Top that there is something for.
    pub(super) groups: Vec<Group>,
    /// Flows that Top let go.
    pub(super) let_go: u64,
    pub(super) problems: Vec<ProblemRow>,
    /// What is no problem, and could be better.
    pub(super) hints: Vec<String>,
    /// Those that pass the filters.
    pub(super) problems_shown: Vec<ProblemRow>,
    /// Conversations on the screen, and how many there are.
    pub(super) connections: Vec<ConnectionRow>,
    pub(super) all_connections: usize,
    pub(super) seconds: Vec<Second>,
    pub(super) detail: Option<Detail>,
    /// The last thing that was logged.
    pub(super) log: Option<String>,
    /// Widths that columns have had, by field: a column never gets narrower while it is shown.
    pub(super) widths: std::collections::HashMap<&'static str, u16>,
    /// Fields that some row on the screen had, as long as the view is the same.
    pub(super) filled: std::collections::HashSet<&'static str>,
}

/// The state.
#[derive(Debug)]
pub(super) struct App {
    pub(super) facts: Facts,
    pub(super) theme: Theme,
    pub(super) size: (u16, u16),
    pub(super) view: View,
    /// As chosen; without a choice it depends on whether there are names.
    pub(super) names: Option<Names>,
    pub(super) group: Group,
    pub(super) metric: Metric,
    /// What is being typed.
    pub(super) input: String,
    pub(super) filters: Vec<Filter>,
    /// A filter was begun with `/`.
    pub(super) begun: bool,
    /// The rows that were entered, one in the other.
    pub(super) path: Vec<Step>,
    /// The rows that a paused table shows.
    pub(super) paused: Option<Kept>,
    /// The pause was asked for; else it lasts as long as a row is selected.
    pub(super) pinned: bool,
    /// By what Connections are ordered.
    pub(super) order: Order,
    /// The row that was left, for the cursor to go back to.
    pub(super) back: Option<Row>,
    /// `q` was pressed: does the user want to end?
    pub(super) asks: bool,
    /// What the user wants of a capture that has reached its limit.
    pub(super) choice: Option<Choice>,
    /// Place of the selected row in the list: from the newest row on, or from the top of a sorted one.
    pub(super) cursor: Option<usize>,
    /// Places that are scrolled away.
    pub(super) offset: usize,
    /// As many rows as chosen, else as many as fit.
    pub(super) most_rows: Option<usize>,
    pub(super) sort: Option<Sort>,
    /// Columns, or characters of a raw row, that are scrolled away to the left.
    pub(super) scroll: usize,
    pub(super) over: Over,
    /// Lines of the detail that are scrolled away.
    pub(super) detail_scroll: u16,
    /// What the last key came to, until the next one.
    pub(super) notice: Option<String>,
    pub(super) shown: Shown,
}

impl App {
    pub(super) fn new(facts: Facts, theme: Theme, size: (u16, u16)) -> Self {
        Self {
            facts,
            theme,
            size,
            view: View::default(),
            names: None,
            group: Group::default(),
            metric: Metric::default(),
            input: String::new(),
            filters: Vec::new(),
            begun: false,
            path: Vec::new(),
            paused: None,
            pinned: false,
            order: Order::default(),
            back: None,
            asks: false,
            choice: None,
            cursor: None,
            offset: 0,
            most_rows: None,
            sort: None,
            scroll: 0,
            over: Over::default(),
            detail_scroll: 0,
            notice: None,
            shown: Shown::default(),
        }
    }

    /// The enrichment: without a choice, names where there are any.
    pub(super) fn names(&self) -> Names {
        self.names.unwrap_or(match &self.shown {
            Shown { has_names: true, .. } => Names::Resource,
            Shown { has_processes: true, .. } => Names::Process,
            _ => Names::Ports,
        })
    }

    pub(super) fn columns(&self) -> Vec<&'static Column> {
        columns(self.view, self.names())
    }

    /// Rows that fit on the screen.
    pub(super) fn page(&self) -> usize {
        usize::from(self.size.1.saturating_sub(LINES_ABOVE + LINES_BELOW)).max(1)
    }

    /// Rows that are wanted on the screen.
    pub(super) fn height(&self) -> usize {
        let page = match self.view {
            View::Connections => self.page().saturating_sub(banner_lines(self)),
            View::Problems => {
                self.page().saturating_sub(explanation_lines(self)) / lines(&self.shown.problems_shown, self.size.0)
            }
            _ => self.page(),
        };
        self.most_rows.unwrap_or(usize::MAX).min(page).max(1)
    }

    /// What is being typed; `/text/` is a regular expression also when its first `/` began it.
    pub(super) fn typed(&self) -> Option<Filter> {
        let is_regex = self.begun && self.input.len() > 1 && self.input.ends_with('/');
        let text = if is_regex { format!("/{}", self.input) } else { self.input.clone() };
        (!self.input.is_empty()).then(|| Filter::parse(&text))
    }

    /// The filters that were typed.
    pub(super) fn typed_filters(&self) -> Vec<Filter> {
        self.filters.iter().cloned().chain(self.typed()).collect()
    }

    /// All filters, those of rows that were entered included.
    pub(super) fn active_filters(&self) -> Vec<Filter> {
        self.path.iter().map(|step| step.filter.clone()).chain(self.typed_filters()).collect()
    }

    /// Entries of the list that the cursor moves through.
    pub(super) fn list_len(&self) -> usize {
        match self.view {
            View::Top => self.shown.top.len(),
            View::Problems => self.shown.problems_shown.len(),
            View::Connections => self.shown.all_connections,
            View::Graph => 0,
            _ => self.shown.matching,
        }
    }

    /// Whether the list begins at the top of the screen; flows in their own order have the newest at the bottom.
    pub(super) fn is_top_down(&self) -> bool {
        !self.view.is_table() || self.sort.is_some()
    }

    /// Index of the selected row on the screen.
    pub(super) fn selected_line(&self) -> Option<usize> {
        let place = self.cursor?.checked_sub(self.offset)?;
        let lines = self.list_len().saturating_sub(self.offset).min(self.height());
        let line = if self.is_top_down() { Some(place) } else { lines.checked_sub(place + 1) };
        line.filter(|line| *line < lines)
    }

    /// The selected flow.
    pub(super) fn selected(&self) -> Option<&Flow> {
        self.selected_line().filter(|_| self.view.is_table()).and_then(|line| self.shown.rows.get(line))
    }
}
