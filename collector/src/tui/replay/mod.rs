//! A finished capture on the screen of a running one: its records come from a file, and time is that of the capture.

mod axis;
mod clock;
mod reader;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use netobserv_explain::report::Report;
use netobserv_explain::scan;
use netobserv_explain::traffic::Watch;
use netobserv_wire::Flow;
use ratatui::Frame;
use ratatui::layout::Rect;

use super::app::{App, Facts, Over};
use super::data::Data;
use super::draw::{Canvas, draw, help};
use super::keys::{self, Effect};
use super::mouse::{self, Buttons};
use super::refresh::Refresh;
use super::scene::{Scene, locked};
use super::stage::Stage;
use super::terminal::Screen;
use super::theme::Theme;
use crate::cli::Look;
use crate::counts::Totals;
use axis::AXIS;
use clock::Clock;

/// Latest rows in tables.
const KEEP_ROWS: usize = 100_000;
/// Real time after which summaries are made again.
const SLOW: Duration = Duration::from_secs(1);
/// The line of the time axis.
const AXIS_LINE: u16 = 1;

/// Hands over all flows of a file, from its beginning, until the other side has enough.
pub type Open = Arc<dyn Fn(&mut dyn FnMut(Flow) -> anyhow::Result<()>) -> anyhow::Result<()> + Send + Sync>;

/// A capture that is replayed. Times are milliseconds since 1970.
#[derive(Clone)]
pub struct Replay {
    /// Its file, as it is shown.
    pub file: String,
    /// Its beginning and its end.
    pub from_ms: u64,
    /// Until when it is replayed.
    pub to_ms: u64,
    /// Where it begins.
    pub at_ms: u64,
    /// How many times as fast as it was.
    pub speed: f64,
    /// Reads it.
    pub open: Open,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("file", &self.file).finish_non_exhaustive()
    }
}

/// How a replay ends: the user leaves, and then, perhaps, why not all of it could be read.
#[derive(Clone, Debug, Default)]
pub struct Left {
    stage: Stage,
    failure: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Left {
    /// Returns when the user leaves.
    pub async fn left(&self) {
        self.stage.chosen().await;
    }

    /// Why not all of the file could be read.
    pub fn failure(&self) -> Option<anyhow::Error> {
        locked(&self.failure).take()
    }
}

/// What the thread that reads and the screen share.
struct Shared {
    clock: Mutex<Clock>,
    data: Mutex<Data>,
    watch: Mutex<Watch>,
    from_ms: u64,
    /// Counts how often the capture was begun.
    begun: Mutex<u64>,
    left: Left,
    failed: Mutex<Option<String>>,
}

impl Shared {
    fn offset(&self, at: u64) -> Duration {
        Duration::from_millis(at.saturating_sub(self.from_ms))
    }

    fn begin_again(&self) {
        *locked(&self.data) = Data::of_file(KEEP_ROWS);
        *locked(&self.watch) = Watch::default();
        *locked(&self.begun) += 1;
    }

    fn fail(&self, error: anyhow::Error) {
        *locked(&self.failed) = Some(format!("{error:#}"));
        *locked(&self.left.failure) = Some(error);
    }
}

impl Screen {
    /// Replays a capture. Must be called in a runtime, which brings the signals.
    ///
    /// # Errors
    /// When there is no terminal to take.
    pub fn replay(look: &Look, replay: Replay, left: &Left) -> io::Result<Self> {
        let mut clock = Clock::new(replay.from_ms, replay.to_ms, replay.speed);
        if replay.at_ms > replay.from_ms {
            clock.go(replay.at_ms);
        }
        let shared = Arc::new(Shared {
            clock: Mutex::new(clock),
            data: Mutex::new(Data::of_file(KEEP_ROWS)),
            watch: Mutex::default(),
            from_ms: replay.from_ms,
            begun: Mutex::default(),
            left: left.clone(),
            failed: Mutex::default(),
        });
        let facts = Facts { files: replay.file, ..Facts::default() };
        let theme = Theme::of(look);
        Self::show(Instant::now(), move |stop: Arc<AtomicBool>| {
            let (open, theirs) = (replay.open, shared.clone());
            let read = std::thread::Builder::new().name("screen-data".into());
            read.spawn(move || reader::run(&open, &theirs, &stop))?;
            Ok(Replayed::new(facts, theme, shared))
        })
    }
}

/// The scene.
struct Replayed {
    app: App,
    refresh: Refresh,
    buttons: Buttons,
    shared: Arc<Shared>,
    begun: u64,
    /// When summaries were made, and at which time of the capture, with how many flows.
    made: (Instant, Option<(u64, u64)>),
}

impl Replayed {
    fn new(facts: Facts, theme: Theme, shared: Arc<Shared>) -> Self {
        let app = App::new(facts, theme, (80, 24));
        Self {
            app,
            refresh: Refresh::default(),
            buttons: Buttons::new(),
            shared,
            begun: 0,
            made: (Instant::now(), None),
        }
    }

    /// A key of the time axis; false if it is one of the screen.
    fn of_axis(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let free = self.app.over == Over::Nothing && self.app.input.is_empty() && !self.app.begun;
        let clock = &mut *locked(&self.shared.clock);
        match key.code {
            KeyCode::Char('n') if control => clock.next_problem(),
            KeyCode::Char('p') if control => clock.previous_problem(),
            KeyCode::Home if control => clock.go(clock.from),
            KeyCode::End if control => clock.go(clock.to),
            KeyCode::Char('q' | 'c') if control => self.shared.left.stage.leave(),
            _ if control || !free => return false,
            KeyCode::Char(' ') => clock.toggle(),
            KeyCode::Char('+') => clock.faster(1),
            KeyCode::Char('-') => clock.faster(-1),
            KeyCode::Char(']') => clock.jump(1),
            KeyCode::Char('[') => clock.jump(-1),
            KeyCode::Char('q') => self.shared.left.stage.leave(),
            _ => return false,
        }
        self.app.notice = None;
        true
    }

    /// A file has no kernel, and its end is no end of a capture.
    fn effect(&mut self, effect: Effect) -> Effect {
        match effect {
            Effect::Quit | Effect::Leave => self.shared.left.stage.leave(),
            Effect::Kernel | Effect::TakeBack => {
                self.app.notice = Some("the capture is finished: no kernel can filter it".into());
            }
            Effect::GoOn | Effect::None | Effect::Redraw | Effect::Suspend => return effect,
        }
        Effect::None
    }

    /// Summaries follow the time of the capture, which may be slow or stand still: then they follow real time.
    fn follow(&mut self, at: u64, flows: u64, stands: bool) {
        let (made, last) = self.made;
        if last != Some((at, flows)) && (stands || made.elapsed() >= SLOW) {
            self.made = (Instant::now(), Some((at, flows)));
            self.refresh.hurry();
        }
    }

    /// Forgets what was shown of a reading that has begun again.
    fn keep_up(&mut self) {
        let begun = *locked(&self.shared.begun);
        if std::mem::replace(&mut self.begun, begun) != begun {
            self.refresh = Refresh::default();
            (self.app.paused, self.app.cursor, self.app.offset, self.app.pinned) = (None, None, 0, false);
            self.app.shown.problems.clear();
        }
    }
}

impl Scene for Replayed {
    fn resize(&mut self, width: u16, height: u16) {
        self.app.size = (width, height);
    }

    fn counts(&mut self, _: Duration) {
        self.keep_up();
        let (at, elapsed, stands) = {
            let clock = locked(&self.shared.clock);
            (clock.at(), clock.elapsed(), clock.goal.is_none() && !clock.playing)
        };
        let flows = locked(&self.shared.data).seen;
        self.follow(at, flows, stands);
        self.refresh.counts(&mut self.app, elapsed, &Totals { flows, agents: 1, ..Totals::default() });
        self.app.shown.log.clone_from(&locked(&self.shared.failed));
        let shared = &self.shared;
        self.refresh.findings(&mut self.app, || {
            let mut watch = locked(&shared.watch);
            watch.until(at);
            let mut findings = watch.findings();
            scan::group(&mut findings);
            Report { findings, hints: watch.hints(), ..Report::default() }
        });
    }

    fn data(&mut self) {
        self.refresh.data(&mut self.app, &mut locked(&self.shared.data));
    }

    fn draw(&mut self, frame: &mut Frame) {
        let area = frame.area();
        let line = |y: u16| Rect { y: y.min(area.height.saturating_sub(1)), height: 1.min(area.height), ..area };
        let over = self.app.over;
        if over == Over::Help {
            self.app.over = Over::Nothing;
        }
        self.buttons = draw(frame, &self.app);
        self.app.over = over;
        let clock = locked(&self.shared.clock).clone();
        let mut canvas = Canvas::new(frame);
        axis::place(&mut canvas, &clock, &self.app, line(0));
        axis::axis(&mut canvas, &clock, self.app.theme, line(AXIS_LINE));
        if self.app.notice.is_none() {
            axis::keys(&mut canvas, &self.app, line(area.height.saturating_sub(1)));
        }
        if over == Over::Help {
            help::draw(&mut canvas, AXIS, &self.app.facts.files, area);
        }
        self.buttons.extend(canvas.finish(self.app.theme));
    }

    fn key(&mut self, key: KeyEvent) -> Effect {
        if self.of_axis(key) {
            return Effect::None;
        }
        let effect = keys::press(&mut self.app, key, &locked(&self.shared.data));
        self.effect(effect)
    }

    fn mouse(&mut self, mouse: MouseEvent) {
        let pressed = mouse.kind == MouseEventKind::Down(MouseButton::Left);
        if pressed && mouse.row == AXIS_LINE && self.app.over == Over::Nothing {
            let clock = &mut *locked(&self.shared.clock);
            if let Some(time) = axis::time_at(clock, usize::from(mouse.column), usize::from(self.app.size.0)) {
                clock.go(time);
            }
            return;
        }
        let effect = mouse::apply(&mut self.app, mouse, &self.buttons, &locked(&self.shared.data));
        self.effect(effect);
    }
}

#[cfg(test)]
mod tests;
