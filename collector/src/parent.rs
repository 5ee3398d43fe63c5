//! A collector that a plugin started on this machine goes with it, also when the plugin is killed.

use anyhow::{Context, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

/// The parent of a collector that is to end with it writes its own process number here.
const VARIABLE: &str = "NETOBSERV_DIE_WITH_PARENT";

/// Asks for SIGTERM at the end of the parent, if the environment requests it.
pub fn die_with_parent() -> anyhow::Result<()> {
    let Ok(parent) = std::env::var(VARIABLE) else { return Ok(()) };
    set_pdeathsig(Signal::SIGTERM).with_context(|| format!("{VARIABLE}={parent} is set, and the kernel refuses"))?;
    if getppid().to_string() != parent {
        bail!("{VARIABLE}={parent} is set, and that process is not the parent (any more)");
    }
    Ok(())
}
