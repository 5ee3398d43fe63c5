//! The only file that touches the terminal: takes it, reads keys, draws ten times a second, gives it back.
//!
//! Keys come one by one and unechoed, but Ctrl-C and Ctrl-Z stay signals to the whole process group: a plugin that started
//! this program ends, or stops, with it.

use std::io::{self, Stdout, stdout};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event, KeyEventKind};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpid, getppid, getsid};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::signal::unix::SignalKind;

use super::app::{App, Facts};
use super::data::Data;
use super::draw::draw;
use super::feed::{Intake, Next};
use super::keys::{self, Effect};
use super::mouse::{self, Buttons};
use super::refresh::{Refresh, silent};
use super::theme::Theme;
use super::writer::{Budget, Counted};
use crate::cli::Options;
use crate::counts::Counts;
use crate::log::{self, HoldBack};
use crate::output::Paths;

/// Between two frames, and between two that keys ask for.
const FRAME: Duration = Duration::from_millis(100);
const KEY_FRAME: Duration = Duration::from_millis(25);
/// Between two looks of the data thread at whether it should end.
const DATA_TICK: Duration = Duration::from_millis(200);
/// Longest time for the last frame: a terminal that takes nothing any more does not hold up the end.
const LAST_FRAME: Duration = Duration::from_secs(2);

/// What the screen shows of a capture.
#[derive(Debug)]
pub struct Source {
    /// When it started.
    pub started: Instant,
    /// Its counters.
    pub counts: Arc<Counts>,
    /// Its flows.
    pub intake: Intake,
}

/// The screen at work, on threads of its own.
pub struct Screen {
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
    suspend: tokio::task::JoinHandle<()>,
    _log: HoldBack,
}

impl Screen {
    /// Takes the terminal. Must be called in a runtime, which brings the signals.
    ///
    /// # Errors
    /// When there is no terminal to take.
    pub fn start(options: &Options, paths: &Paths, source: Source) -> io::Result<Self> {
        let facts = Facts {
            max_time: options.max_time,
            max_bytes: options.max_bytes,
            files: format!("{}, .db", paths.json.display()),
            expected: Some(options.expect_nodes).filter(|nodes| *nodes > 0),
            options: options.options.clone(),
        };
        let stop = Arc::<AtomicBool>::default();
        let asked = Arc::<AtomicBool>::default();
        let suspend = tokio::spawn(watch_suspend(asked.clone()));
        let terminal = Taken::take()?;
        let hold = log::hold_back();
        let data = Arc::new(Mutex::new(Data::new(options.keep_rows)));
        let Source { started, counts, intake } = source;
        let (their_data, their_stop) = (data.clone(), stop.clone());
        let collect = std::thread::Builder::new().name("screen-data".into());
        collect.spawn(move || collect_data(&intake, &their_data, &their_stop, started))?;
        let (done, ended) = channel();
        let show = Shower { data, counts, started, stop: stop.clone(), suspend: asked };
        std::thread::Builder::new().name("screen".into()).spawn(move || show.run(facts, terminal, done))?;
        Ok(Self { stop, ended, suspend, _log: hold })
    }

    /// Gives the terminal back.
    pub fn stop(self) {
        self.stop.store(true, Relaxed);
        self.suspend.abort();
        // The other end is dropped when the thread ends, in whatever way.
        let _ = self.ended.recv_timeout(LAST_FRAME);
        give_back();
    }
}

/// Notes that the user wants the shell back.
async fn watch_suspend(asked: Arc<AtomicBool>) {
    let Ok(mut stops) = tokio::signal::unix::signal(SignalKind::from_raw(Signal::SIGTSTP as i32)) else { return };
    while stops.recv().await.is_some() {
        asked.store(true, Relaxed);
    }
}

fn collect_data(intake: &Intake, data: &Mutex<Data>, stop: &AtomicBool, started: Instant) {
    while !stop.load(Relaxed) {
        match intake.next(DATA_TICK) {
            Next::Rows(rows) => locked(data).add(rows, started.elapsed()),
            Next::Nothing => locked(data).idle(started.elapsed()),
            Next::End => return,
        }
        locked(data).missed = intake.missed();
    }
}

fn locked(data: &Mutex<Data>) -> MutexGuard<'_, Data> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}

type Backend = CrosstermBackend<Counted<Stdout>>;

/// What the drawing thread works with.
struct Shower {
    data: Arc<Mutex<Data>>,
    counts: Arc<Counts>,
    started: Instant,
    stop: Arc<AtomicBool>,
    suspend: Arc<AtomicBool>,
}

impl Shower {
    fn run(self, facts: Facts, terminal: Taken, done: Sender<()>) {
        if let Err(error) = self.show(facts) {
            tracing::warn!("the screen is off: {error}");
        }
        drop(terminal);
        drop(done);
    }

    fn show(&self, facts: Facts) -> io::Result<()> {
        let written = Arc::<AtomicU64>::default();
        let mut terminal = Terminal::new(Backend::new(Counted::new(stdout(), written.clone())))?;
        let size = terminal.size()?;
        let mut app = App::new(facts, Theme::of_environment(), (size.width, size.height));
        let (mut refresh, mut budget, mut buttons) = (Refresh::default(), Budget::new(), Buttons::new());
        let mut due = Instant::now();
        let mut pressed = true;
        while !self.stop.load(Relaxed) {
            if self.suspend.swap(false, Relaxed) && has_job_control() {
                suspend();
                terminal.clear()?;
                pressed = true;
            }
            if Instant::now() >= due {
                let now = self.started.elapsed();
                self.counts(&mut app, &mut refresh, now);
                if budget.allows(now, written.load(Relaxed)) || pressed {
                    refresh.data(&mut app, &locked(&self.data));
                }
                terminal.draw(|frame| {
                    let area = frame.area();
                    app.size = (area.width, area.height);
                    buttons = draw(frame, &app);
                })?;
                due = Instant::now() + FRAME;
                pressed = false;
            }
            let wait = due.saturating_duration_since(Instant::now());
            match self.events(&mut app, &buttons, wait)? {
                Heard::Nothing => {}
                Heard::Key => {
                    pressed = true;
                    due = due.min(Instant::now() + KEY_FRAME);
                }
                Heard::Redraw => {
                    terminal.clear()?;
                    (pressed, due) = (true, Instant::now());
                }
            }
        }
        Ok(())
    }

    fn counts(&self, app: &mut App, refresh: &mut Refresh, now: Duration) {
        refresh.counts(app, now, self.counts.totals());
        app.shown.silent = silent(&self.counts, Instant::now());
        app.shown.log = log::last_line();
    }

    /// Waits for events, and applies all that are there.
    fn events(&self, app: &mut App, buttons: &Buttons, mut wait: Duration) -> io::Result<Heard> {
        let mut heard = Heard::Nothing;
        while event::poll(wait)? {
            wait = Duration::ZERO;
            let event = event::read()?;
            let data = locked(&self.data);
            heard = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => match keys::press(app, key, &data.kept) {
                    Effect::None => Heard::Key,
                    Effect::Redraw => Heard::Redraw,
                    Effect::Quit => {
                        interrupt();
                        Heard::Key
                    }
                },
                Event::Mouse(mouse) => {
                    mouse::apply(app, mouse, buttons, &data.kept);
                    Heard::Key
                }
                Event::Resize(..) => Heard::Key,
                _ => heard,
            };
        }
        Ok(heard)
    }
}

/// What events ask for.
enum Heard {
    Nothing,
    Key,
    Redraw,
}

/// As Ctrl-C on the terminal: to all that belong to this capture.
fn interrupt() {
    let _ = kill(Pid::from_raw(0), Signal::SIGINT);
}

/// Whether a shell is there that could continue a stopped program. There is none behind `oc exec`.
fn has_job_control() -> bool {
    let parent = getppid();
    parent.as_raw() > 0 && matches!((getsid(Some(parent)), getsid(None)), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// Gives the terminal to the shell until it continues this program.
fn suspend() {
    give_back();
    let _ = kill(getpid(), Signal::SIGSTOP);
    let _ = take();
}

/// How the terminal was.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal while it is ours; dropped, it is the user's again. A panic gives it back before it is told.
struct Taken;

impl Taken {
    fn take() -> io::Result<Self> {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            tell(panic);
        }));
        take()?;
        Ok(Self)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    let before = tcgetattr(stdout())?;
    let mut ours = before.clone();
    ours.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::IEXTEN);
    ours.input_flags.remove(InputFlags::ICRNL | InputFlags::IXON);
    tcsetattr(stdout(), SetArg::TCSADRAIN, &ours)?;
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    execute!(stdout(), EnterAlternateScreen, Hide, EnableMouseCapture)
}

/// Does nothing when it is given back already.
fn give_back() {
    let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    // A terminal that is gone needs nothing.
    let _ = execute!(stdout(), DisableMouseCapture, Show, LeaveAlternateScreen);
    let _ = tcsetattr(stdout(), SetArg::TCSADRAIN, &before);
}
