//! One capture from its first check to its last line.

mod agents;
mod end;
mod flows;
mod follow;
mod gaps;
mod leave;
mod metrics;
mod packets;
mod rest;
mod run;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use self::end::stdout_broken;
pub(crate) use self::end::{End, Period, drain, until_end};
pub(crate) use self::gaps::gaps;
use crate::cli::Options;
use crate::control::{Control, Running, Status};
use crate::counts::Counts;
use crate::enrich::{self, Names};
use crate::ingest::admission::Admission;
use crate::ingest::speakers::Speakers;
use crate::ingest::{Grpc, Receiver, listen};
use crate::keeper::{self, Pod};
use crate::killed::Killed;
use crate::lines::Lines;
use crate::output::Name;
use crate::query::{Members, Predicate};
use crate::select::Known;
use crate::summary;
use crate::versions;
use crate::view::View;

/// Longest time for requests under way at the end. One that waits for room is answered in a second.
const LAST_REQUESTS: Duration = Duration::from_millis(1500);
/// Longest time for the terminal to take the last frame.
const LAST_FRAME: Duration = Duration::from_secs(2);
/// Longest time that agents wait for the first names.
pub(crate) const FIRST_NAMES: Duration = Duration::from_secs(2);
/// Threads that receive. The sinks have their own.
const MOST_RECEIVERS: usize = 4;

/// Captures until a limit, a signal or an error.
pub fn run(options: Options) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MOST_RECEIVERS));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("receiver")
        .enable_all()
        .build()?;
    let result = match (options.packets.clone(), options.metrics.clone()) {
        (Some(packets), _) => runtime.block_on(packets::capture(options, packets)),
        (None, Some(metrics)) => runtime.block_on(metrics::capture(options, metrics)),
        (None, None) => runtime.block_on(flows::capture(options)),
    };
    // A thread may hang in a terminal that takes no more bytes.
    runtime.shutdown_timeout(LAST_FRAME);
    result
}

/// What flows or packets must match.
pub(crate) fn predicate(options: &Options, counts: &Counts) -> Option<Predicate> {
    let (selections, members) = (options.selections.clone(), counts.pushed().members().clone());
    let known: Arc<dyn Members> = Arc::new(Known { selections, members });
    Predicate::new(&options.queries, &known)
}

/// How long the capture has taken, from the moment when the agents watched their interfaces.
pub(crate) fn took(started: Instant, counts: &Counts) -> Duration {
    let now = Instant::now();
    now.saturating_duration_since(counts.beginning().of(started, now))
}

/// Stays with the files until they were fetched, where that was asked for.
pub(crate) async fn keep(options: &Options, end: Option<&End>) -> anyhow::Result<()> {
    match Pod::of_this_process(&options.output_dir).filter(|_| options.background) {
        // A signal is that of a pod which is being removed.
        Some(pod) if end.is_some_and(|end| end.signal().is_some()) => {
            keeper::keep_for_the_last_fetch(pod).await;
            Ok(())
        }
        Some(pod) => keeper::keep(pod).await,
        None => Ok(()),
    }
}

/// Removes the files of a capture that has not begun.
pub(crate) fn discard(paths: &[PathBuf]) {
    for path in paths {
        // Another program may have removed it.
        let _ = std::fs::remove_file(path);
    }
}

/// Makes the capture known to those who ask for its session: with its file, and what an earlier process has left.
pub(crate) fn begin(
    options: &Options,
    file: Option<&Path>,
    (started, killed): (Instant, Option<&Killed>),
) -> anyhow::Result<Option<Running>> {
    let Some(session) = options.session.clone() else { return Ok(None) };
    let control = Control::of(&options.output_dir);
    let below = file.and_then(|file| file.strip_prefix(&options.output_dir).ok());
    let files = killed.iter().flat_map(|killed| killed.files.iter().map(PathBuf::as_path)).chain(below);
    let status = Status {
        session,
        keep_s: Some(options.keep.as_secs()),
        files: files.map(|file| file.display().to_string()).collect(),
        outages: killed.map(|killed| killed.outages.clone()).unwrap_or_default(),
        ..Status::default()
    };
    let running = Running::begin(control, status, options.lease).map(|running| running.since(started));
    running.map(Some).with_context(|| format!("cannot capture into {}", options.output_dir.display()))
}

/// Gives the terminal back, unless it hangs. Lines continue until the pipeline is closed.
pub(crate) async fn stop_view(view: Option<View>) -> Option<Lines> {
    let view = view?;
    match timeout(LAST_FRAME, tokio::task::spawn_blocking(|| view.stop())).await {
        Ok(stopped) => stopped.ok().flatten(),
        Err(_) => {
            summary::mute();
            None
        }
    }
}

/// Prints what begins: a capture of this `kind`.
pub(crate) fn announce(options: &Options, kind: &str) {
    match &options.filename {
        Name::Given(name) | Name::Reserved(name) => info!("Starting {kind} Capture for {name}..."),
        Name::StartTime => info!("Starting {kind} Capture..."),
    }
    if !options.options.is_empty() {
        info!("Option(s): {}", options.options);
    }
    versions::compare_with_plugin();
}

/// Who names the ends of flows, if there is something to name them by.
pub(crate) fn names(options: &Options) -> Option<Arc<Names>> {
    let names = Names::new(options.subnets.clone()).with_roster(options.selections.roster());
    // Only captures of flows report causes.
    let decides = options.kube && options.packets.is_none() && options.metrics.is_none();
    let names = Arc::new(if decides { names.with_objects() } else { names });
    if options.kube {
        enrich::watch::start(&names);
    }
    (options.kube || !options.subnets.is_empty()).then_some(names)
}

/// Who may speak for a node: in a session of the plugin there is one agent on each, in another capture anybody may.
pub(crate) fn speakers(options: &Options, names: Option<&Arc<Names>>) -> Speakers {
    if options.session.is_some() { Speakers::strict(names.cloned()) } else { Speakers::lenient() }
}

/// The HTTP/2 server at work.
pub(crate) struct Server {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start<R: Receiver>(
        listener: listen::Listener,
        ingest: Grpc<R>,
        admission: (Admission, Arc<Counts>),
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            if let Err(error) = listen::serve(listener, ingest, admission, stopped).await {
                warn!("the server ended: {error}");
            }
        });
        Self { stop, task }
    }

    /// Lets the requests under way end, for a short time.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.send(());
        if timeout(LAST_REQUESTS, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
