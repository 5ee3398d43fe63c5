//! One capture from its first check to its last line.

mod agents;
mod end;
mod follow;
mod gaps;
mod leave;
mod metrics;
mod packets;
mod rest;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Utc;
use netobserv_stdio as stdio;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use self::end::stdout_broken;
pub(crate) use self::end::{End, Period, drain, until_end};
pub(crate) use self::gaps::gaps;
use self::leave::Ending;
use self::rest::Resting;
use crate::cli::{Observations, Options};
use crate::control::{Control, Running, Status};
use crate::counts::Counts;
use crate::counts::between;
use crate::enrich::{self, Names};
use crate::feed;
use crate::ingest::admission::Admission;
use crate::ingest::speakers::Speakers;
use crate::ingest::{Grpc, Ingest, Receiver, listen};
use crate::keeper::{self, Pod};
use crate::killed::Killed;
use crate::lines::Lines;
use crate::nodes;
use crate::output::{Folder, Name, Paths};
use crate::own::Own;
use crate::pipeline::{Pipeline, Sinks};
use crate::query::{Members, Predicate};
use crate::record::CaptureInfo;
use crate::resume::{self, Start};
use crate::select::Known;
use crate::signals::{Kind, Signals};
use crate::sink::json::{JsonSink, Limit};
use crate::sink::sqlite::{Hurry, SqliteSink};
use crate::sink::{Sink, SinkError};
use crate::summary;
use crate::tui::{self, Source, Stage};
use crate::versions;
use crate::view::{View, say};
use crate::why::{self, Watcher};

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
        (None, None) => runtime.block_on(capture(options)),
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

#[allow(clippy::too_many_lines)] // One step after another, in the order that matters.
async fn capture(mut options: Options) -> anyhow::Result<()> {
    let Start::Capture(killed) = resume::look(&mut options)? else { return keep(&options, None).await };
    let (started, start) = (crate::killed::began(killed.as_ref()), Utc::now());
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let folder = Folder::prepare(&options.output_dir, "flow")?;
    let admission = Admission::open(&options.security)?;
    let listener = listen::bind(&options.listen).await?;
    let mut claim = folder.flows(&options.filename, start)?;
    let paths = Paths { json: claim.path(".json"), db: claim.path(".db") };

    announce(&options, "Flow");
    let counts = Arc::<Counts>::default();
    counts.goes_on(killed.as_ref());
    let names = names(&options);
    let agent_nodes = follow::begin(&options.selections, names.as_ref(), &counts).await?;
    options.expect_nodes = agent_nodes.unwrap_or(options.expect_nodes);
    if agent_nodes.map_or(options.background, |nodes| nodes > 0) {
        counts.beginning().agents_come_later();
    }
    let info = CaptureInfo::new(options.options.clone(), options.namespace.clone(), start).with_names(names.clone());
    let info = info.goes_on(killed.as_ref());
    let info = Arc::new(info);
    let limit = Arc::<Notify>::default();
    let json = claim.files().swap_remove(0);
    let watcher = Watcher::new(options.asked.clone()).with_names(names.clone()).with_counts(counts.clone());
    let (mut files, hurry) = create_sinks(&options, (json, &paths), &counts, &info, names.as_ref(), &limit)?;
    files.push(Box::new(watcher.clone()));
    let (feed, intake) = feed::queue();
    let (pipeline, sinks) = Pipeline::start(files, counts.clone(), Some(feed))?;
    let pipeline = pipeline.with_names(names.clone()).with_query(predicate(&options, &counts));
    let pipeline = pipeline.without(Own::of_this_pod(&options)).showing_all(options.observations == Observations::All);
    let ingest = Ingest::new(pipeline, counts.clone(), speakers(&options, names.as_ref()));
    if let Some(names) = &names {
        // Agents that come earlier wait in the socket's queue.
        names.ready(FIRST_NAMES).await;
    }
    let server = Server::start(listener, ingest.clone(), (admission, counts.clone()));
    info!("Started collector on {}", options.listen);
    debug!("Ready ! Waiting for flows...");

    counts.beginning().expect(options.expect_nodes);
    if killed.is_some() {
        counts.beginning().has_begun(started);
    }
    nodes::tell_when_all_capture(options.expect_nodes, counts.clone());
    let mut running = begin(&options, Some(&paths.json), (started, killed.as_ref()))?;
    let stage = Stage::default();
    let source = Source { started, counts: counts.clone(), intake, watcher: watcher.clone(), stage: stage.clone() };
    let mut view = Some(View::start(&options, &paths, source)?);
    claim.keep();
    let had_screen = matches!(view, Some(View::Screen(_)));
    let in_vain = |end: &End| end.is_in_vain(&options, &counts) && counts.totals().flows == 0;
    let resting = Resting { options: &options, counts: &counts, stage: &stage };
    let mut period = Period::of(&options);
    let end = loop {
        let clock = (started, &*counts);
        let end =
            until_end((&options, period), clock, &mut signals, &limit, sinks.failed(), &mut running, &mut view).await;
        let timed = period.filter(|_| matches!(end, End::Time(_)));
        // At a limit the screen stays: its user has not asked for the end.
        if !end.is_limit() || !had_screen || view.is_none() || in_vain(&end) {
            break end;
        }
        period = match resting.until_chosen((end.reason(), timed), &mut signals, &mut running).await {
            Some(next) => Some(next),
            None => break end,
        };
    };
    stdio::stdout().hurry();
    if matches!(end, End::Lease(_)) {
        summary::mute();
    }
    let in_vain = in_vain(&end);
    let lines = stop_view(view.take()).await;
    if !in_vain {
        say(&options, &end.farewell());
    }
    let first = end.signal();
    counts.end();
    if !matches!(end, End::Failed) {
        ingest.stop_agents();
        drain(&counts, sinks.failed(), &mut signals).await;
    }
    server.stop().await;
    ingest.close();
    counts.pushed().end(Utc::now());
    info.end(end.reason());
    let finished = finish(sinks, &mut signals, first, &hurry, names.as_deref()).await;
    let time = took(started, &counts).saturating_sub(stage.rested());
    // Before the capture reports that its files are finished: the findings are written into one of them.
    let report = match &finished {
        Ok(()) if !in_vain => {
            if let Some(names) = names.as_ref().filter(|_| watcher.has_findings()) {
                names.decided(FIRST_NAMES).await;
            }
            let report = watcher.report();
            let saved = watcher.save(&report, &paths.db);
            Some((report, saved))
        }
        _ => None,
    };
    if let Some(mut running) = running {
        let totals = counts.totals();
        running.lacks_names(totals.json_unnamed.max(totals.sqlite_unnamed));
        running.end(&finished.as_ref().map_or_else(|error| format!("failed: {error}"), |()| end.reason()));
    }
    if let Some(lines) = lines {
        tokio::task::spawn_blocking(|| lines.finish()).await?;
    }
    if in_vain {
        discard(&[paths.json, paths.db]);
        finished?;
        return end.without_agents();
    }
    let account = summary::account(time, &end.reason(), &counts.totals(), &paths);
    let account = account.into_iter().chain(between::lines(counts.between()));
    let outages = killed.iter().flat_map(|killed| killed.lines("flows")).map(|line| format!("  {line}"));
    for line in account.chain(outages).chain(gaps(&options, names.as_deref(), &counts, "flows")) {
        say(&options, &line);
    }
    finished?;
    let Some((report, saved)) = report else { return keep(&options, None).await };
    let ending = Ending { options: &options, report: &report, had_screen, paths: &paths };
    ending.lines(&stage).iter().for_each(|line| say(&options, line));
    saved?;
    tui::forget_typed();
    keep(&options, Some(&end)).await?;
    why::verdict(&report)
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

/// One sink for each file.
type Files = Vec<Box<dyn Sink>>;

/// The files, and what cuts their last hour short.
fn create_sinks(
    options: &Options,
    (file, paths): (File, &Paths),
    counts: &Arc<Counts>,
    info: &Arc<CaptureInfo>,
    names: Option<&Arc<Names>>,
    reached: &Arc<Notify>,
) -> Result<(Files, Arc<Hurry>), SinkError> {
    let limit = Limit { bytes: options.bytes_left(), reached: reached.clone() };
    let json = JsonSink::new(file, paths.json.clone(), counts.clone(), limit)?.with_names(names.cloned());
    info!("Creating database...");
    let sqlite = SqliteSink::create(&paths.db, counts.clone(), info.clone())?.with_names(names.cloned());
    info!("flows db created");
    info!("flows table created");
    let hurry = sqlite.hurry();
    Ok((vec![Box::new(json), Box::new(sqlite)], hurry))
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

/// Waits until the files are finished. A user who asks again does not get the indices.
async fn finish(
    sinks: Sinks,
    signals: &mut Signals,
    first: Option<Kind>,
    hurry: &Hurry,
    names: Option<&Names>,
) -> Result<(), SinkError> {
    let mut first = first;
    let mut joined = tokio::task::spawn_blocking(|| sinks.join());
    loop {
        tokio::select! {
            result = &mut joined => return result.unwrap_or(Err(SinkError::Panicked)),
            kind = signals.next() => {
                if first.is_some_and(|first| first.hurried_by(kind)) {
                    hurry.up();
                    names.iter().for_each(|names| names.hurry());
                }
                first = first.or(Some(kind));
            }
        }
    }
}
