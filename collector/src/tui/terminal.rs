//! The only file that touches the terminal: takes the alternate screen, draws at most ten times a second, gives it back.
//!
//! The terminal stays in its normal mode, so that Ctrl-C is a signal to the whole process group.

use std::io::{self, Stdout, stdout};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::app::App;
use super::draw::draw;
use super::{Latest, colours};
use crate::cli::Options;
use crate::counts::Counts;
use crate::log::{self, HoldBack};
use crate::output::Paths;

/// Between two draws.
const FRAME: Duration = Duration::from_millis(100);

/// The screen at work, on a thread of its own.
pub struct Screen {
    stop: Sender<()>,
    thread: JoinHandle<()>,
    _log: HoldBack,
}

impl Screen {
    /// Takes the terminal.
    pub fn start(options: &Options, paths: &Paths, started: Instant, counts: Arc<Counts>, latest: Arc<Latest>) -> Self {
        let app = App {
            max_time: options.max_time,
            max_bytes: options.max_bytes,
            files: format!("{}, .db", paths.json.display()),
            colours: colours(),
            ..App::default()
        };
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let shown = show(app, started, &counts, &latest, || {
                matches!(stopped.recv_timeout(FRAME), Err(RecvTimeoutError::Timeout))
            });
            if let Err(error) = shown {
                tracing::warn!("the screen is off: {error}");
            }
        });
        Self { stop, thread, _log: log::hold_back() }
    }

    /// Gives the terminal back.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

fn show(mut app: App, started: Instant, counts: &Counts, latest: &Latest, go_on: impl Fn() -> bool) -> io::Result<()> {
    let _taken = Taken::take()?;
    let mut terminal: Terminal<CrosstermBackend<Stdout>> = Terminal::new(CrosstermBackend::new(stdout()))?;
    loop {
        app.tick(started.elapsed(), counts.totals(), latest.take());
        app.log = log::last_line();
        terminal.draw(|frame| draw(frame, &app))?;
        if !go_on() {
            return Ok(());
        }
    }
}

/// The terminal while it is ours; dropped, it is the user's again. A panic gives it back before it is told.
struct Taken;

impl Taken {
    fn take() -> io::Result<Self> {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            tell(panic);
        }));
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        Ok(Self)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // A terminal that is gone needs nothing.
    let _ = execute!(stdout(), Show, LeaveAlternateScreen);
}
