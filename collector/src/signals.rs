//! The signals that end a capture, as events.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for signals.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    no_agent: Signal,
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// The terminal was closed.
    HangUp,
    /// SIGUSR1: the agent that was to be started with this collector could not start.
    NoAgent,
}

impl Signals {
    /// From now on the signals do not end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            no_agent: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Kind {
        tokio::select! {
            _ = self.interrupt.recv() => Kind::Interrupt,
            _ = self.terminate.recv() => Kind::Terminate,
            _ = self.hang_up.recv() => Kind::HangUp,
            _ = self.no_agent.recv() => Kind::NoAgent,
        }
    }
}

impl Kind {
    /// Whether a second signal, after this first one, means that the user cannot wait. A plugin adds SIGTERM to
    /// the terminal's Ctrl-C, and a closing terminal sends SIGHUP more than once: that is no hurry.
    pub fn hurried_by(self, second: Kind) -> bool {
        self == second && second != Kind::HangUp
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Interrupt => "interrupted",
            Kind::Terminate => "terminated",
            Kind::HangUp => "terminal closed",
            Kind::NoAgent => "ended without an agent",
        })
    }
}
