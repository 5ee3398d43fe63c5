//! A collector that a plugin started on this machine goes with it, also when the plugin is killed.

use anyhow::{Context, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

/// Set to 1 by whoever starts a collector that is to end with it.
const VARIABLE: &str = "NETOBSERV_DIE_WITH_PARENT";
/// The process that orphans are given to.
const INIT: i32 = 1;

/// Asks for SIGTERM at the end of the parent, if the environment says so.
pub fn die_with_parent() -> anyhow::Result<()> {
    if std::env::var_os(VARIABLE).is_none_or(|value| value != "1") {
        return Ok(());
    }
    set_pdeathsig(Signal::SIGTERM).with_context(|| format!("{VARIABLE}=1 is set, and the kernel refuses"))?;
    if getppid().as_raw() == INIT {
        bail!("{VARIABLE}=1 is set, and the parent has ended already");
    }
    Ok(())
}
