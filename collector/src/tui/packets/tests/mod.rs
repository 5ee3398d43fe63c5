//! The screen of packets without a terminal.

mod keys;
mod pictures;
mod world;
