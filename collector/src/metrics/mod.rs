//! Metrics: counters and histograms of the flows, for Prometheus and for the screen.
//!
//! The collector counts each packet of the cluster once, with the names it has: [`registry`] sums up, [`text`] writes what
//! `server` answers, and `sink` connects both with the pipeline of flows.

mod histogram;
pub(crate) mod history;
mod labels;
pub(crate) mod rates;
pub mod registry;
pub(crate) mod server;
pub(crate) mod sink;
mod table;
pub mod text;
