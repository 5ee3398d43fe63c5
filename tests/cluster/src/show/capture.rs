//! The plugin at work in the show: on a terminal of its own whose screen is handed on, or with pipes whose lines are.

use std::time::{Duration, Instant};

use netobserv_testkit::terminal::Terminal;
use netobserv_testkit::{Process, Signal, wait_for};

use crate::stage::Stage;
use crate::{Failure, go_on};

/// Longest time for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) enum Capture {
    Screen { terminal: Terminal, size: (u16, u16), given: usize },
    Lines { process: Process, given: [usize; 2] },
}

impl Capture {
    pub(crate) fn screen(terminal: Terminal) -> Self {
        Self::Screen { terminal, size: Stage::size(), given: 0 }
    }

    pub(crate) fn lines(process: Process) -> Self {
        Self::Lines { process, given: [0; 2] }
    }

    /// What is to be seen: the screen, or all lines until now.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Screen { terminal, .. } => terminal.text(),
            Self::Lines { process, .. } => process.stdout(),
        }
    }

    /// Types keys; lines take none.
    pub(crate) fn press(&mut self, keys: &str) {
        if let Self::Screen { terminal, .. } = self {
            terminal.press(keys);
        }
    }

    pub(crate) fn ctrl_c(&mut self) {
        match self {
            Self::Screen { terminal, .. } => terminal.press("\x03"),
            Self::Lines { process, .. } => process.signal_group(Signal::SIGINT),
        }
    }

    /// Exit code, once it has ended.
    fn ended(&mut self) -> Option<bool> {
        match self {
            Self::Screen { terminal, .. } => terminal.ended().map(|status| status.success()),
            Self::Lines { process, .. } => process.succeeded(),
        }
    }

    /// Hands on what is new.
    fn pump(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        match self {
            Self::Screen { terminal, size, given } => {
                let now = Stage::size();
                if now != *size {
                    *size = now;
                    terminal.resize(now.0, now.1);
                }
                let new = terminal.bytes_since(*given);
                *given += new.len();
                stage.hand_on(&new, terminal.screen().alternate_screen())?;
            }
            Self::Lines { process, given } => {
                for (text, given) in [process.stdout(), process.stderr()].iter().zip(given) {
                    let new = &text.as_bytes()[*given..];
                    // Whole lines: those of the two do not mix.
                    let end = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
                    stage.hand_on(&new[..end], false)?;
                    *given += end;
                }
            }
        }
        go_on()
    }

    /// Hands on until something is so.
    pub(crate) fn until(
        &mut self,
        stage: &mut Stage,
        what: &str,
        mut is_so: impl FnMut(&str) -> bool,
    ) -> Result<(), Failure> {
        let mut outcome = Ok(());
        let came = wait_for(PATIENCE, || {
            outcome = self.pump(stage);
            if outcome.is_ok() && self.ended().is_some() {
                outcome = Err(Failure::Ended { what: what.to_owned(), shown: self.shown() });
            }
            outcome.is_err() || is_so(&self.shown())
        });
        outcome?;
        if came { Ok(()) } else { Err(Failure::Waited { what: what.to_owned(), shown: self.shown() }) }
    }

    /// Hands on for a while.
    pub(crate) fn look(&mut self, stage: &mut Stage, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        self.until(stage, "its end was asked for", |_| Instant::now() >= end)
    }

    /// Hands on until it has ended well.
    pub(crate) fn finish(mut self, stage: &mut Stage, line: &str) -> Result<(), Failure> {
        let mut outcome = Ok(None);
        let _ = wait_for(PATIENCE, || {
            outcome = self.pump(stage).map(|()| self.ended());
            !matches!(outcome, Ok(None))
        });
        // What came between the last look and the end.
        self.pump(stage)?;
        match outcome? {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::Command { line: line.to_owned(), code: 1, said: self.shown() }),
            None => Err(Failure::Waited { what: "its end".into(), shown: self.shown() }),
        }
    }
}
