//! What the plugin, the agent and the collector must agree on, written once. A leaf: no other crate of this project below it.

pub mod duration;
pub mod files;
pub mod metrics;
pub mod plain;
pub mod selector;
