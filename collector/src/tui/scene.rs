//! What the terminal shows: a scene. The one here is that of flows; a thread of its own collects their data.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::Frame;

use super::app::{App, Facts};
use super::data::Data;
use super::draw::draw;
use super::keys::{self, Effect};
use super::mouse::{self, Buttons};
use super::push::{self, Kernel};
use super::refresh::{Refresh, silent};
use super::report;
use super::stage::{At, Stage};
use super::terminal::Screen;
use super::theme::Theme;
use crate::cli::Options;
use crate::counts::{Counts, unwatched};
use crate::feed::{Intake, Next};
use crate::log;
use crate::output::Paths;
use crate::why::Watcher;

/// Between two looks of a data thread at whether it should end.
pub(super) const DATA_TICK: Duration = Duration::from_millis(200);

/// Something that a terminal shows and that keys change.
pub(super) trait Scene: Send + 'static {
    /// The terminal has this size from now on.
    fn resize(&mut self, width: u16, height: u16);
    /// Brings counts and times up to date.
    fn counts(&mut self, now: Duration);
    /// Brings the rest up to date; left out when the terminal is slow.
    fn data(&mut self);
    /// Draws itself.
    fn draw(&mut self, frame: &mut Frame);
    /// Applies a key.
    fn key(&mut self, key: KeyEvent) -> Effect;
    /// Applies what the mouse did.
    fn mouse(&mut self, mouse: MouseEvent);
}

/// What the screen shows of a capture of flows.
#[derive(Debug)]
pub struct Source {
    /// When it started.
    pub started: Instant,
    /// Its counters.
    pub counts: Arc<Counts>,
    /// Its flows.
    pub intake: Intake,
    /// What goes wrong in it.
    pub watcher: Watcher,
    /// How far it is.
    pub stage: Stage,
}

impl Screen {
    /// Shows flows. Must be called in a runtime, which brings the signals.
    ///
    /// # Errors
    /// When there is no terminal to take.
    pub fn flows(options: &Options, paths: &Paths, source: Source) -> io::Result<Self> {
        let facts = facts(options, format!("{}, .db", paths.json.display()));
        let data = Arc::new(Mutex::new(Data::new(options.keep_rows)));
        let Source { started, counts, intake, watcher, stage } = source;
        let of_report = data.clone();
        stage.reports(Box::new(move |problems| report::lines(&locked(&of_report), problems)));
        let look = options.look.clone();
        Self::show(started, move |stop| {
            let their_data = data.clone();
            let collect = std::thread::Builder::new().name("screen-data".into());
            collect.spawn(move || collect_data(&intake, &their_data, &stop, started))?;
            let app = App::new(facts, Theme::of(&look), (80, 24));
            Ok(Flows {
                app,
                refresh: Refresh::default(),
                buttons: Buttons::new(),
                data,
                counts,
                watcher,
                stage,
                is_frozen: false,
            })
        })
    }
}

/// What does not change during a capture; `files` as they are shown to the user.
pub(super) fn facts(options: &Options, files: String) -> Facts {
    Facts {
        max_time: options.max_time,
        max_bytes: options.max_bytes,
        files,
        expected: Some(options.expect_nodes).filter(|nodes| *nodes > 0),
        options: options.options.clone(),
    }
}

fn collect_data(intake: &Intake, data: &Mutex<Data>, stop: &AtomicBool, started: Instant) {
    while !stop.load(Relaxed) {
        match intake.next(DATA_TICK) {
            Next::Rows(rows) => locked(data).add(rows, started.elapsed()),
            Next::Nothing => locked(data).idle(started.elapsed()),
            Next::End => return,
        }
        locked(data).set_missed(intake.missed());
    }
}

pub(super) fn locked<T>(data: &Mutex<T>) -> MutexGuard<'_, T> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The scene of flows.
struct Flows {
    app: App,
    refresh: Refresh,
    buttons: Buttons,
    data: Arc<Mutex<Data>>,
    counts: Arc<Counts>,
    watcher: Watcher,
    stage: Stage,
    /// The capture is over: counts and times do not change any more.
    is_frozen: bool,
}

impl Scene for Flows {
    fn resize(&mut self, width: u16, height: u16) {
        self.app.size = (width, height);
    }

    fn counts(&mut self, now: Duration) {
        let periods = self.stage.periods();
        self.app.facts.max_time = periods.limit.or(self.app.facts.max_time);
        (self.app.shown.stage, self.app.shown.periods) = (self.stage.at(), periods);
        let is_over = matches!(self.app.shown.stage, At::Finished(_));
        if std::mem::replace(&mut self.is_frozen, is_over) && is_over {
            return;
        }
        self.refresh.counts(&mut self.app, now, &self.counts.totals());
        let captures = self.app.shown.stage == At::Capturing;
        self.app.shown.silent = if captures { silent(&self.counts, Instant::now()) } else { Vec::new() };
        self.app.shown.kernel = Kernel::of(&self.counts);
        self.app.shown.selected = push::selected(&self.counts);
        self.app.shown.lacking = unwatched::lacking(&self.counts.agents());
        self.app.shown.log = log::last_line();
        self.refresh.findings(&mut self.app, || self.watcher.report());
    }

    fn data(&mut self) {
        self.refresh.data(&mut self.app, &mut locked(&self.data));
    }

    fn draw(&mut self, frame: &mut Frame) {
        self.buttons = draw(frame, &self.app);
    }

    fn key(&mut self, key: KeyEvent) -> Effect {
        let effect = keys::press(&mut self.app, key, &locked(&self.data));
        self.filter_in_kernel(effect)
    }

    fn mouse(&mut self, mouse: MouseEvent) {
        let effect = mouse::apply(&mut self.app, mouse, &self.buttons, &locked(&self.data));
        self.filter_in_kernel(effect);
    }
}

impl Flows {
    /// Does what an effect wants of the kernels; the others are the terminal's.
    fn filter_in_kernel(&mut self, effect: Effect) -> Effect {
        match effect {
            Effect::Kernel => push::toggle(&mut self.app, &self.counts, Utc::now()),
            Effect::TakeBack => self.counts.pushed().take_back(Utc::now()),
            Effect::Leave => self.stage.leave(),
            Effect::GoOn => self.stage.go_on(),
            other => return other,
        }
        self.app.shown.kernel = Kernel::of(&self.counts);
        Effect::None
    }
}
