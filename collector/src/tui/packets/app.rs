//! The state of the screen of packets: three levels, one in the other. Conversations, the packets of one, a packet.

use std::sync::Arc;
use std::time::Duration;

use super::columns::Column;
use super::data::{Data, Kept, Talk};
use super::stream::Line;
use crate::counts::Totals;
use crate::packets::headers::Ends;
use crate::tui::app::{Facts, Silent};
use crate::tui::filter::Filter;
use crate::tui::theme::Theme;

/// Lines above the list (header, losses, where one is, choices, titles) and below it (filters, keys).
const LINES_AROUND: u16 = 5 + 2;

/// How deep one has looked.
#[derive(Clone, Debug, Default)]
pub(super) enum Level {
    /// All conversations.
    #[default]
    Talks,
    /// The packets of this one.
    Packets(Ends),
    /// A packet of it, and lines that are scrolled away.
    Packet(Ends, Arc<Kept>, usize),
    /// What both ends of it sent, as text, and lines that are scrolled away.
    Stream(Ends, usize),
}

/// The order of the conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) column: Column,
    pub(super) descending: bool,
}

/// A list through which a cursor moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) cursor: Option<usize>,
    /// Lines that are scrolled away.
    pub(super) offset: usize,
    /// Lines that there are.
    pub(super) len: usize,
}

/// What is shown of the data.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) elapsed: Duration,
    pub(super) totals: Totals,
    /// What was lost, stage by stage.
    pub(super) lost: Vec<String>,
    /// Packets a second.
    pub(super) rate: f64,
    /// Bytes of the files.
    pub(super) file_bytes: u64,
    pub(super) silent: Vec<Silent>,
    /// What is captured by name, and how many addresses that is now.
    pub(super) selected: Vec<String>,
    pub(super) log: Option<String>,
    /// Conversations, or packets of one, on the screen.
    pub(super) talks: Vec<Talk>,
    pub(super) packets: Vec<Arc<Kept>>,
    /// What both ends sent.
    pub(super) stream: Vec<Line>,
    /// The conversation that was opened.
    pub(super) open: Option<Talk>,
    /// Keys of the conversations on the screen.
    pub(super) keys: Vec<Ends>,
    /// Entries of the list, the filters aside.
    pub(super) kept: usize,
    /// Packets that the screen has seen, that it had no room for, and those since the pause.
    pub(super) seen: u64,
    pub(super) missed: u64,
    pub(super) news: u64,
    pub(super) let_go: u64,
}

/// The state.
pub(super) struct App {
    pub(super) facts: Facts,
    pub(super) theme: Theme,
    pub(super) size: (u16, u16),
    pub(super) level: Level,
    /// What is being typed.
    pub(super) input: String,
    /// Of the conversations, and of the packets.
    pub(super) filters: [Vec<Filter>; 2],
    pub(super) lists: [List; 2],
    pub(super) sort: Sort,
    /// Addresses instead of names.
    pub(super) addresses: bool,
    /// The data that a paused screen shows.
    pub(super) paused: Option<Box<Data>>,
    /// The pause was asked for; else it came with a selection.
    pub(super) paused_by_hand: bool,
    pub(super) help: bool,
    pub(super) shown: Shown,
}

impl App {
    pub(super) fn new(facts: Facts, theme: Theme, size: (u16, u16)) -> Self {
        Self {
            facts,
            theme,
            size,
            level: Level::default(),
            input: String::new(),
            filters: Default::default(),
            lists: Default::default(),
            sort: Sort { column: Column::Bytes, descending: true },
            addresses: false,
            paused: None,
            paused_by_hand: false,
            help: false,
            shown: Shown::default(),
        }
    }

    /// Lines of a list that fit on the screen.
    pub(super) fn page(&self) -> usize {
        usize::from(self.size.1.saturating_sub(LINES_AROUND)).max(1)
    }

    /// Which of the two lists is shown, or lies behind the packet.
    fn which(&self) -> usize {
        usize::from(!matches!(self.level, Level::Talks))
    }

    pub(super) fn list(&self) -> &List {
        &self.lists[self.which()]
    }

    pub(super) fn list_mut(&mut self) -> &mut List {
        &mut self.lists[self.which()]
    }

    pub(super) fn kept_filters(&self) -> &[Filter] {
        &self.filters[self.which()]
    }

    pub(super) fn kept_filters_mut(&mut self) -> &mut Vec<Filter> {
        &mut self.filters[self.which()]
    }

    /// All filters of the list, what is being typed included.
    pub(super) fn active_filters(&self) -> Vec<Filter> {
        let typed = (!self.input.is_empty()).then(|| Filter::parse(&self.input));
        self.kept_filters().iter().cloned().chain(typed).collect()
    }

    /// The line of the screen on which the cursor is.
    pub(super) fn selected_line(&self) -> Option<usize> {
        let list = self.list();
        list.cursor?.checked_sub(list.offset).filter(|line| *line < self.page())
    }
}

impl List {
    /// Moves the cursor to this place, and scrolls to it.
    pub(super) fn select(&mut self, place: usize, page: usize) {
        let Some(end) = self.len.checked_sub(1) else { return };
        let place = place.min(end);
        self.cursor = Some(place);
        self.offset = self.offset.min(place).max((place + 1).saturating_sub(page));
    }

    /// There are so many lines now; the cursor stays on one of them.
    pub(super) fn resize(&mut self, len: usize, page: usize) {
        self.len = len;
        self.offset = self.offset.min(len.saturating_sub(page.min(len)));
        if let Some(cursor) = self.cursor.filter(|_| len > 0) {
            self.select(cursor, page);
        } else {
            self.cursor = None;
        }
    }
}
