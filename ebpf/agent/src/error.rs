//! Why an agent ends.

use std::io;

use crate::kernel::KernelError;

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The kernel programs do not run.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Interfaces, threads or signals.
    #[error("cannot follow the network interfaces: {0}")]
    Interfaces(#[from] io::Error),
    /// REQUIRE_INTERFACES.
    #[error("unknown interface {name}; there are: {present}")]
    UnknownInterface {
        /// The one that was asked for.
        name: String,
        /// Those that exist.
        present: String,
    },
    /// REQUIRE_INTERFACES, and the interface is there.
    #[error("cannot watch interface {name}: {why}")]
    Unreadable {
        /// The one that was asked for.
        name: String,
        /// What is in the way.
        why: String,
    },
    /// The control group of this process has too little.
    #[error(
        "the agent may use {limit} MiB of memory here and needs {needed}: raise the limit, \
         or have it hold fewer flows at once (CACHE_MAX_FLOWS, now {max_flows})"
    )]
    Memory {
        /// What it may use, in MiB.
        limit: u64,
        /// What it needs, in MiB.
        needed: u64,
        /// Flows in the kernel's maps.
        max_flows: u32,
    },
    /// The filter rules did not get into the kernel.
    #[error("cannot put the filter rules into the kernel: {0}")]
    Filter(io::Error),
    /// Reading the flow maps failed.
    #[error("cannot read the flow maps: {0}")]
    Drain(io::Error),
}
