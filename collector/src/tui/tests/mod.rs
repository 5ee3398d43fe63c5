//! Pictures of the screen at fixed sizes, and what keys do, with time and data that never change.

mod keys;
mod pictures;
mod world;
