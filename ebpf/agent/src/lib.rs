//! The agent: loads the kernel programs, follows the interfaces, drains the flow maps and streams records to
//! the collector. The binary is a thin shell around [`agent::run`].

pub mod addresses;
pub mod agent;
pub mod attach;
pub mod btf;
pub mod conntrack;
mod descriptors;
pub mod dns;
pub mod doctor;
pub mod drain;
pub mod drops;
pub mod error;
pub mod export;
pub mod features;
pub mod filter;
pub mod flow;
#[doc(hidden)]
pub mod fuzz_targets;
pub mod interfaces;
pub mod kernel;
pub mod losses;
mod manager;
mod memory;
pub mod merge;
mod mode;
pub mod netns;
mod optional;
pub mod pace;
pub mod packets;
pub mod process;
pub mod pushed;
pub mod record;
pub mod rtt;
pub mod rules;
pub mod scope;
pub mod settings;
mod shared;
pub mod sys;
pub mod tls;
pub mod tracepoint;
pub mod translated;
pub mod watch;
pub mod watching;
