//! The only file that touches the terminal: takes it, reads keys, draws ten times a second, gives it back.
//!
//! Keys come one by one and unechoed. Ctrl-C stays a signal to the whole process group, so that a plugin that started this
//! program ends with it. Ctrl-Z is a key: the shell takes the terminal as soon as the plugin stops, so it must have been
//! given back by then.

use std::io::{self, Stdout, stdout};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event, KeyEventKind};
use crossterm::execute;
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{
    FlushArg, InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcflush, tcgetattr, tcsetattr,
};
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
/// While a stop comes into effect: between two looks at whether it is over, and how many of them there are at most.
const STOP_TICK: Duration = Duration::from_millis(2);
const STOP_TICKS: u32 = 500;
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
    /// Takes the terminal and shows a scene, which is made when there is one, and notified when it is over. Must be called in a
    /// runtime, which brings the signals.
    ///
    /// # Errors
    /// When there is no terminal to take.
    pub(super) fn show<S: Scene>(
        started: Instant,
        scene: impl FnOnce(Arc<AtomicBool>) -> io::Result<S>,
    ) -> io::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let stops = Arc::<Stops>::default();
        let suspend = tokio::spawn(watch_stops(stops.clone()));
        let hold = log::hold_back();
        let terminal = Taken::take()?;
        let scene = scene(stop.clone())?;
        let (done, ended) = channel();
        let show = Shower { started, stop: stop.clone(), stops };
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
        forget_typed();
    }
}

/// The job control of the shell, by its signals.
#[derive(Debug, Default)]
struct Stops {
    /// The shell stops this program.
    asked: AtomicBool,
    /// It continues.
    over: AtomicBool,
}

async fn watch_stops(stops: Arc<Stops>) {
    let listen = |signal: Signal| tokio::signal::unix::signal(SignalKind::from_raw(signal as i32));
    let (Ok(mut stop), Ok(mut go_on)) = (listen(Signal::SIGTSTP), listen(Signal::SIGCONT)) else { return };
    loop {
        tokio::select! {
            _ = stop.recv() => stops.asked.store(true, Relaxed),
            _ = go_on.recv() => stops.over.store(true, Relaxed),
        }
    }
}

type Backend = CrosstermBackend<Counted<Stdout>>;

/// An empty screen. `Terminal::clear` would ask the terminal where its cursor is, and fail without an answer.
fn blank(written: &Arc<AtomicU64>) -> io::Result<Terminal<Backend>> {
    execute!(stdout(), Clear(ClearType::All))?;
    Terminal::new(Backend::new(Counted::new(stdout(), written.clone())))
}

/// What the drawing thread works with.
struct Shower {
    started: Instant,
    stop: Arc<AtomicBool>,
    stops: Arc<Stops>,
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
        let mut terminal = blank(&written)?;
        let size = terminal.size()?;
        scene.resize(size.width, size.height);
        let mut budget = Budget::new();
        let mut due = Instant::now();
        let mut pressed = true;
        while !self.stop.load(Relaxed) {
            if self.stops.asked.swap(false, Relaxed) && has_job_control() {
                self.suspend(getpid());
                terminal = blank(&written)?;
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
                // At a steady pace; one that the terminal does not keep leaves time for keys.
                due = (due + FRAME).max(Instant::now() + KEY_FRAME);
                pressed = false;
            }
            let wait = due.saturating_duration_since(Instant::now());
            match events(&mut scene, wait)? {
                Heard::Nothing => {}
                Heard::Key => {
                    pressed = true;
                    due = due.min(Instant::now() + KEY_FRAME);
                }
                Heard::Suspend if !has_job_control() => {}
                Heard::Suspend => {
                    self.suspend(Pid::from_raw(0));
                    terminal = blank(&written)?;
                    (pressed, due) = (true, Instant::now());
                }
                Heard::Redraw => {
                    terminal = blank(&written)?;
                    (pressed, due) = (true, Instant::now());
                }
            }
        }
        Ok(())
    }

    /// Gives the terminal to the shell until it continues this program, or all that belong to the capture (process 0, as
    /// kill(2) has it).
    fn suspend(&self, who: Pid) {
        give_back();
        self.stops.over.store(false, Relaxed);
        let _ = kill(who, Signal::SIGSTOP);
        // The signal stops all threads, but another one may be the first: this one must not run on and take the terminal.
        let mut patience = STOP_TICKS;
        while !self.stops.over.load(Relaxed) && patience > 0 {
            std::thread::sleep(STOP_TICK);
            patience -= 1;
        }
        let _ = take();
    }
}

/// Waits for events, and applies all that are there.
fn events(scene: &mut impl Scene, mut wait: Duration) -> io::Result<Heard> {
    let mut heard = Heard::Nothing;
    while event::poll(wait)? {
        wait = Duration::ZERO;
        heard = match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => match scene.key(key) {
                Effect::Redraw => Heard::Redraw,
                Effect::Suspend => Heard::Suspend,
                Effect::Quit => {
                    interrupt();
                    Heard::Key
                }
                Effect::None | Effect::Kernel | Effect::TakeBack | Effect::Leave | Effect::GoOn => Heard::Key,
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
    Suspend,
}

/// Drops what was typed and not read yet: the shell must not take it for a command.
pub fn forget_typed() {
    // Without a terminal nothing is typed.
    let _ = tcflush(std::io::stdin(), FlushArg::TCIFLUSH);
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

/// Switches a control character off (termios(3), _POSIX_VDISABLE on Linux).
const NO_CHARACTER: u8 = 0;

/// How the terminal was.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal while it is ours; dropped, it is the user's again. A panic gives it back before it is printed.
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
    ours.control_chars[SpecialCharacterIndices::VSUSP as usize] = NO_CHARACTER;
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

#[cfg(test)]
mod tests {
    use netobserv_testkit::terminal::OnTerminal;

    use super::*;

    /// Is run by the test below, alone, on a terminal.
    #[test]
    #[ignore = "needs a terminal of its own"]
    fn takes_the_terminal_and_panics() {
        let _taken = Taken::take().expect("a terminal");
        assert!(BEFORE.lock().is_ok_and(|before| before.is_some()));
        panic!("the screen broke");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        let this = std::env::current_exe().expect("this test program");
        let words = ["tui::terminal::tests::takes_the_terminal_and_panics", "--exact", "--ignored", "--nocapture"];
        let mut terminal = OnTerminal::new(this).args(words).start((100, 30));
        assert!(!terminal.wait().success());
        terminal.assert_given_back();
        // On the screen that was there before, not on the one that is gone.
        terminal.wait_for("the screen broke");
        let bytes = String::from_utf8_lossy(&terminal.bytes()).into_owned();
        let (taken, left) = (bytes.find("\x1b[?1049h").expect("taken"), bytes.find("\x1b[?1049l").expect("left"));
        assert!(taken < left && left < bytes.find("the screen broke").expect("told"), "{bytes:?}");
    }
}
