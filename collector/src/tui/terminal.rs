//! The only file that touches the terminal: takes it, reads keys, draws ten times a second, gives it back.
//!
//! Keys come one by one and unechoed, but Ctrl-C and Ctrl-Z stay signals to the whole process group: a plugin that started
//! this program ends, or stops, with it.

use std::io::{self, Stdout, stdout};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
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

use super::keys::Effect;
use super::scene::Scene;
use super::writer::{Budget, Counted};
use crate::log::{self, HoldBack};

/// Between two frames, and between two that keys ask for.
const FRAME: Duration = Duration::from_millis(100);
const KEY_FRAME: Duration = Duration::from_millis(25);
/// Longest time for the last frame: a terminal that takes nothing any more does not hold up the end.
const LAST_FRAME: Duration = Duration::from_secs(2);

/// The screen at work, on threads of its own.
pub struct Screen {
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
    suspend: tokio::task::JoinHandle<()>,
    _log: HoldBack,
}

impl Screen {
    /// Takes the terminal and shows a scene, which is made when there is one, and told when it is over. Must be called in a
    /// runtime, which brings the signals.
    ///
    /// # Errors
    /// When there is no terminal to take.
    pub(super) fn show<S: Scene>(
        started: Instant,
        scene: impl FnOnce(Arc<AtomicBool>) -> io::Result<S>,
    ) -> io::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let asked = Arc::<AtomicBool>::default();
        let suspend = tokio::spawn(watch_suspend(asked.clone()));
        let terminal = Taken::take()?;
        let hold = log::hold_back();
        let scene = scene(stop.clone())?;
        let (done, ended) = channel();
        let show = Shower { started, stop: stop.clone(), suspend: asked };
        std::thread::Builder::new().name("screen".into()).spawn(move || show.run(scene, terminal, done))?;
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

type Backend = CrosstermBackend<Counted<Stdout>>;

/// What the drawing thread works with.
struct Shower {
    started: Instant,
    stop: Arc<AtomicBool>,
    suspend: Arc<AtomicBool>,
}

impl Shower {
    fn run(self, scene: impl Scene, terminal: Taken, done: Sender<()>) {
        if let Err(error) = self.show(scene) {
            tracing::warn!("the screen is off: {error}");
        }
        drop(terminal);
        drop(done);
    }

    fn show(&self, mut scene: impl Scene) -> io::Result<()> {
        let written = Arc::<AtomicU64>::default();
        let mut terminal = Terminal::new(Backend::new(Counted::new(stdout(), written.clone())))?;
        let size = terminal.size()?;
        scene.resize(size.width, size.height);
        let mut budget = Budget::new();
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
                scene.counts(now);
                if budget.allows(now, written.load(Relaxed)) || pressed {
                    scene.data();
                }
                terminal.draw(|frame| {
                    let area = frame.area();
                    scene.resize(area.width, area.height);
                    scene.draw(frame);
                })?;
                due = Instant::now() + FRAME;
                pressed = false;
            }
            let wait = due.saturating_duration_since(Instant::now());
            match events(&mut scene, wait)? {
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
}

/// Waits for events, and applies all that are there.
fn events(scene: &mut impl Scene, mut wait: Duration) -> io::Result<Heard> {
    let mut heard = Heard::Nothing;
    while event::poll(wait)? {
        wait = Duration::ZERO;
        heard = match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => match scene.key(key) {
                Effect::None => Heard::Key,
                Effect::Redraw => Heard::Redraw,
                Effect::Quit => {
                    interrupt();
                    Heard::Key
                }
            },
            Event::Mouse(mouse) => {
                scene.mouse(mouse);
                Heard::Key
            }
            Event::Resize(..) => Heard::Key,
            _ => heard,
        };
    }
    Ok(heard)
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
