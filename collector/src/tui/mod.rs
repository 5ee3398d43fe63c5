//! The live screen. State (`app.rs`), keys, drawing and the terminal are apart; so is the data, which a thread of its own collects.

mod app;
mod columns;
mod connections;
mod data;
mod detail;
mod draw;
mod exact;
pub(crate) mod filter;
mod keys;
mod matches;
mod metrics;
mod mouse;
mod names;
pub(crate) mod packets;
mod problems;
mod push;
mod refresh;
mod replay;
mod report;
mod scene;
mod stage;
mod terminal;
mod theme;
mod top;
mod views;
mod writer;

pub use metrics::MetricsSource;
pub use packets::PacketSource;
pub use replay::{Left, Open, Replay};
pub use scene::Source;
pub use stage::{Choice, Stage};
pub use terminal::{Screen, forget_typed};

/// Parts of the screen that lines of text are made of, too.
pub(crate) mod text {
    pub(crate) use super::columns::{cause, micros, protocol, time};
}

#[cfg(test)]
mod tests;
