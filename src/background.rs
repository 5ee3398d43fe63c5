//! What looks after a capture that runs in the background: `follow`, `stop` and `copy`.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use crate::copy::{self, CopyError};
use crate::oc::{COLLECTOR, Call, Oc, OcError, exit_code};
use crate::options::Access;
use crate::preflight::NamespaceOwner;
use crate::process::job::Streams;
use crate::progress::{Progress, warn};
use crate::signal::Interrupts;
use crate::terminal::user_and_host;

/// Longest time to finish the files: a large database is indexed at the end.
const FINISH: std::time::Duration = std::time::Duration::from_secs(300);

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum BackgroundError {
    /// A call failed.
    #[error(transparent)]
    Oc(#[from] OcError),
    /// The files did not arrive.
    #[error("{0}; if the capture is still running, end it with '{1} netobserv stop' and copy again")]
    Copy(CopyError, &'static str),
    /// Signals cannot be caught.
    #[error("cannot catch signals: {0}")]
    Signals(#[from] ctrlc::Error),
    /// Nothing is there.
    #[error("there is no capture in namespace {0}: use -n for another one")]
    NoCapture(String),
    /// Its collector is not there any more.
    #[error(
        "the collector of the capture in namespace {namespace} is gone, and its files with it: '{cli} netobserv cleanup' removes the rest"
    )]
    NoCollector {
        /// Where it was.
        namespace: String,
        /// `oc` or `kubectl`.
        cli: &'static str,
    },
    /// The log broke off.
    #[error("the log of the collector ended with exit code {0}")]
    Log(u8),
}

/// Shows the log of the collector until it ends or the user has seen enough.
///
/// # Errors
///
/// See [`BackgroundError`].
pub fn follow(access: &Access, called_as: &OsStr) -> Result<(), BackgroundError> {
    let oc = Oc::find(called_as, access, Interrupts::listen()?)?;
    let call = Call::follow(&access.namespace);
    let done =
        oc.attend(&call, Streams::Shown, &mut || oc.is_interrupted() || netobserv_stdio::stdout().broken().is_some())?;
    if done.cut.is_some() || done.ending.is_good() {
        return Ok(());
    }
    missing(&oc, access)?;
    oc.check(&call, &done)?;
    Err(BackgroundError::Log(exit_code(done.ending)))
}

/// Ends the capture: its files are finished, then its agents go.
///
/// # Errors
///
/// See [`BackgroundError`].
pub fn stop(access: &Access, called_as: &OsStr) -> Result<(), BackgroundError> {
    let oc = Oc::find(called_as, access, Interrupts::listen()?)?;
    let (progress, session) = (Progress::new(access, false), holder(&oc, access)?.session);
    // Agents of a capture that cannot be asked to end are removed anyway.
    let finished = oc.run(&Call::finish(&access.namespace, FINISH.min(access.timeout)));
    match finished {
        Err(error @ OcError::Interrupted { .. }) => return Err(error.into()),
        Err(error) => warn(&format!("warning: {error}")),
        Ok(_) => {}
    }
    progress.print("Deleting daemonset... ");
    let answer = oc.run(&Call::delete("daemonset", Some(&access.namespace), &session, access.timeout))?;
    progress.answer(&answer);
    let cli = oc.name();
    progress.print(&format!(
        "Use '{cli} netobserv copy' to copy the files, and '{cli} netobserv cleanup' to remove the rest"
    ));
    Ok(())
}

/// Fetches the files of the capture.
///
/// # Errors
///
/// See [`BackgroundError`].
pub fn copy(access: &Access, output_dir: &Path, called_as: &OsStr) -> Result<(), BackgroundError> {
    let oc = Oc::find(called_as, access, Interrupts::listen()?)?;
    let progress = Progress::new(access, false);
    progress.print(&format!("Copying collector files to {}...", output_dir.display()));
    let copied = copy::run(&oc, &access.namespace, output_dir, progress);
    copied.or_else(|error| {
        if matches!(error, CopyError::Oc(OcError::Failed(_))) {
            missing(&oc, access)?;
        }
        Err(BackgroundError::Copy(error, oc.name()))
    })
}

/// After a call that failed: whether that is because there is no capture, or no collector.
fn missing(oc: &Oc, access: &Access) -> Result<(), BackgroundError> {
    // A cluster that does not answer is no sign of either: the failed call's error has more.
    let Ok(found) = oc.json::<Value>(&Call::namespace(&access.namespace)) else { return Ok(()) };
    if found.as_ref().and_then(NamespaceOwner::of).is_none() {
        return Err(BackgroundError::NoCapture(access.namespace.clone()));
    }
    let Ok(Some(workload)) = oc.json::<Value>(&Call::workload(&access.namespace)) else { return Ok(()) };
    let is_collector = |item: &Value| item["kind"] == "Pod" && item["metadata"]["name"] == COLLECTOR;
    if workload["items"].as_array().is_some_and(|items| items.iter().any(is_collector)) {
        return Ok(());
    }
    Err(BackgroundError::NoCollector { namespace: access.namespace.clone(), cli: oc.name() })
}

fn holder(oc: &Oc, access: &Access) -> Result<NamespaceOwner, BackgroundError> {
    let found: Option<Value> = oc.json(&Call::held_namespace(&access.namespace, &user_and_host()))?;
    let holder = found.as_ref().and_then(NamespaceOwner::of);
    holder.ok_or_else(|| BackgroundError::NoCapture(access.namespace.clone()))
}
