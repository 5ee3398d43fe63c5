//! The live screen of a capture of packets: conversations, the packets of one, the layers and bytes of a packet.
//!
//! What it shows comes through a queue that never makes the writer wait; a thread of its own counts it.

mod app;
mod columns;
mod data;
pub(crate) mod decode;
mod draw;
mod keys;
pub(crate) mod numbers;
mod refresh;
mod stream;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::Frame;

use super::keys::Effect;
use super::mouse::Buttons;
use super::scene::{DATA_TICK, Scene, facts, locked};
use super::terminal::Screen;
use super::theme::Theme;
use crate::cli::Options;
use crate::counts::Counts;
use crate::feed::{Intake, Next};
use crate::log;
use crate::packets::screen::Sightings;
use crate::packets::talks::NameLookup;
use crate::packets::tally::Tally;
use app::App;
use data::Data;
#[cfg(test)]
pub(super) use draw::KEYS;

/// What the screen shows of a capture of packets.
pub struct PacketSource {
    /// When it started.
    pub started: Instant,
    /// What the agents counted.
    pub counts: Arc<Counts>,
    /// What the collector counted.
    pub tally: Arc<Tally>,
    /// Its packets.
    pub intake: Intake<Sightings>,
    /// Names ends.
    pub who: Option<NameLookup>,
}

impl Screen {
    /// Shows packets that are written to `file`. Must be called in a runtime, which brings the signals.
    ///
    /// # Errors
    /// When there is no terminal to take.
    pub fn packets(options: &Options, file: &Path, source: PacketSource) -> io::Result<Self> {
        let facts = facts(options, file.display().to_string());
        let PacketSource { started, counts, tally, intake, who } = source;
        let data = Arc::new(Mutex::new(Data::new(who)));
        let look = options.look.clone();
        Self::show(started, move |stop| {
            let their_data = data.clone();
            let collect = std::thread::Builder::new().name("screen-data".into());
            collect.spawn(move || collect_data(&intake, &their_data, &stop))?;
            let app = App::new(facts, Theme::of(&look), (80, 24));
            let (marks, buttons, due) = (refresh::Marks::new(), Buttons::new(), Instant::now());
            Ok(Packets { app, marks, buttons, data, counts, tally, due })
        })
    }
}

fn collect_data(intake: &Intake<Sightings>, data: &Mutex<Data>, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        match intake.next(DATA_TICK) {
            Next::Rows(sightings) => locked(data).add(&sightings),
            Next::Nothing => {}
            Next::End => return,
        }
        locked(data).missed = intake.missed();
    }
}

/// The scene of packets.
struct Packets {
    app: App,
    marks: refresh::Marks,
    buttons: Buttons,
    data: Arc<Mutex<Data>>,
    counts: Arc<Counts>,
    tally: Arc<Tally>,
    /// When the list is made again, unless a key wants it at once.
    due: Instant,
}

/// Many conversations take a while to look through: so many times as long is left to the thread that counts.
const REST: u32 = 10;

impl Scene for Packets {
    fn resize(&mut self, width: u16, height: u16) {
        self.app.size = (width, height);
    }

    fn counts(&mut self, now: Duration) {
        refresh::counts(&mut self.app, &mut self.marks, now, (&self.counts, &self.tally));
        self.app.shown.log = log::last_line();
    }

    fn data(&mut self) {
        let start = Instant::now();
        if start >= self.due {
            refresh::data(&mut self.app, &locked(&self.data));
            self.due = start + start.elapsed() * REST;
        }
    }

    fn draw(&mut self, frame: &mut Frame) {
        self.buttons = draw::draw(frame, &self.app);
    }

    fn key(&mut self, key: KeyEvent) -> Effect {
        self.due = Instant::now();
        keys::press(&mut self.app, key, &locked(&self.data))
    }

    fn mouse(&mut self, mouse: MouseEvent) {
        self.due = Instant::now();
        keys::mouse(&mut self.app, mouse, &self.buttons, &locked(&self.data));
    }
}

#[cfg(test)]
mod tests;
