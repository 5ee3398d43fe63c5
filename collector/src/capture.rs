//! One capture from its first check to its last line.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Utc;
use netobserv_stdio::{self as stdio, Broken};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::cli::{Observations, Options};
use crate::control::{Asked, Control, Killed, Running, Status};
use crate::counts::Counts;
use crate::enrich::{self, Names};
use crate::human;
use crate::ingest::door::Door;
use crate::ingest::speakers::Speakers;
use crate::ingest::{Grpc, Ingest, Receiver, listen};
use crate::keeper::{self, Pod};
use crate::lines::Lines;
use crate::nodes;
use crate::once::between;
use crate::output::{Folder, Name, Paths};
use crate::own::Own;
use crate::pipeline::{Pipeline, Sinks};
use crate::pushed;
use crate::query::{Members, Predicate};
use crate::record::Story;
use crate::resume::{self, Start};
use crate::select::{self, Known};
use crate::signals::{Kind, Signals};
use crate::sink::json::{JsonSink, Limit};
use crate::sink::sqlite::{Hurry, SqliteSink};
use crate::sink::{Sink, SinkError};
use crate::summary;
use crate::tui::{self, Source, Stage};
use crate::unwatched;
use crate::versions;
use crate::view::{View, say};
use crate::why::{self, Watcher};

/// Longest silence of the agents that still owe their last word.
const GRACE: Duration = Duration::from_secs(2);
/// Longest time for all last words together: a large table on a slow machine takes a while.
const LONGEST: Duration = Duration::from_secs(30);
/// An agent that was silent for this long before the end is not waited for.
const ALIVE: Duration = Duration::from_secs(5);
/// Longest time for requests under way at the end. One that waits for room is answered in a second.
const LAST_REQUESTS: Duration = Duration::from_millis(1500);
/// Longest time for the terminal to take the last frame.
const LAST_FRAME: Duration = Duration::from_secs(2);
/// Longest time that agents wait for the first names.
pub(crate) const FIRST_NAMES: Duration = Duration::from_secs(2);
/// How often it is looked whether standard output has a reader.
const LOOK_AT_OUTPUT: Duration = Duration::from_millis(100);
/// How often the agents' last words are looked for.
const LOOK: Duration = Duration::from_millis(10);
/// Threads that receive. The sinks have their own.
const MOST_RECEIVERS: usize = 4;

/// Why a capture ends.
pub(crate) enum End {
    Signal(Kind),
    Limit(String),
    /// Somebody asked for it from outside.
    Asked,
    /// Its pod is being removed.
    Removed,
    /// Nobody renewed the lease for so long.
    Lease(Duration),
    /// Standard output takes no more.
    Output(Broken),
    Failed,
}

/// Captures until a limit, a signal or an error.
pub fn run(options: Options) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MOST_RECEIVERS));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("receiver")
        .enable_all()
        .build()?;
    let result = match options.packets.clone() {
        Some(packets) => runtime.block_on(crate::packets::capture::capture(options, packets)),
        None => runtime.block_on(capture(options)),
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

async fn capture(mut options: Options) -> anyhow::Result<()> {
    let Start::Capture(killed) = resume::look(&mut options)? else { return keep(&options).await };
    let (started, start) = (resume::began(killed.as_ref()), Utc::now());
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let folder = Folder::prepare(&options.output_dir, "flow")?;
    let door = Door::open(&options.security)?;
    let listener = listen::bind(&options.listen).await?;
    let mut claim = folder.flows(&options.filename, start)?;
    let paths = Paths { json: claim.path(".json"), db: claim.path(".db") };

    announce(&options, "Flow");
    let counts = Arc::<Counts>::default();
    counts.goes_on(killed.as_ref());
    let names = names(&options);
    select::begin(&options.selections, names.as_ref(), &counts).await?;
    let story = Story::new(options.options.clone(), options.namespace.clone(), start).with_names(names.clone());
    let story = story.goes_on(killed.as_ref());
    let story = Arc::new(story);
    let limit = Arc::<Notify>::default();
    let json = claim.files().swap_remove(0);
    let watcher = Watcher::new(options.asked.clone()).with_names(names.clone()).with_counts(counts.clone());
    let (mut files, hurry) = create_sinks(&options, (json, &paths), &counts, &story, &names, &limit)?;
    files.push(Box::new(watcher.clone()));
    let (feed, intake) = tui::queue();
    let (pipeline, sinks) = Pipeline::start(files, counts.clone(), Some(feed))?;
    let pipeline = pipeline.with_names(names.clone()).with_query(predicate(&options, &counts));
    let pipeline = pipeline.without(Own::of_this_pod(&options)).showing_all(options.observations == Observations::All);
    let ingest = Ingest::new(pipeline, counts.clone(), speakers(&options, &names));
    if let Some(names) = &names {
        // Agents that come earlier wait in the socket's queue.
        names.ready(FIRST_NAMES).await;
    }
    let server = Server::start(listener, ingest.clone(), (door, counts.clone()));
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
    let end =
        until_end(&options, (started, &counts), &mut signals, &limit, sinks.failed(), &mut running, &mut view).await;
    stdio::stdout().hurry();
    if matches!(end, End::Lease(_)) {
        summary::mute();
    }
    let in_vain = || end.is_in_vain(&options, &counts) && counts.totals().flows == 0;
    // At a limit the screen stays: whoever reads it has not asked for the end.
    let had_screen = matches!(view, Some(View::Screen(_)));
    let stays = matches!(end, End::Limit(_)) && had_screen && !in_vain();
    stage.ends(end.reason());
    let mut lines = if stays { None } else { stop_view(view.take()).await };
    if !stays && !in_vain() {
        say(&options, &end.farewell());
    }
    let first = end.signal();
    counts.end();
    let mut hurried = false;
    if !matches!(end, End::Failed) {
        ingest.stop_agents();
        hurried = drain(&counts, sinks.failed(), &mut signals).await;
    }
    server.stop().await;
    ingest.close();
    counts.pushed().end(Utc::now());
    story.end(end.reason());
    let (finished, last) = finish(sinks, &mut signals, first, &hurry, names.as_deref()).await;
    let time = took(started, &counts);
    if stays {
        stage.finished();
        if finished.is_ok() && !hurried && last.is_none() {
            until_left(&stage, &mut signals, &mut running).await;
        }
        lines = stop_view(view.take()).await;
        say(&options, &end.farewell());
    }
    if let Some(mut running) = running {
        let totals = counts.totals();
        running.lacks_names(totals.json_unnamed.max(totals.sqlite_unnamed));
        running.end(&finished.as_ref().map_or_else(|error| format!("failed: {error}"), |()| end.reason()));
    }
    if let Some(lines) = lines {
        tokio::task::spawn_blocking(|| lines.finish()).await?;
    }
    if in_vain() {
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
    if let Some(names) = names.as_ref().filter(|_| watcher.has_findings()) {
        names.decided(FIRST_NAMES).await;
    }
    let report = watcher.report();
    for line in report.summary().into_iter().chain(report.demand_lines()) {
        say(&options, &line);
    }
    stage.report().iter().for_each(|line| say(&options, line));
    if had_screen && options.session.is_none() {
        say(&options, &format!("Read it again: oc-netobserv why --from={}", paths.db.display()));
    }
    watcher.save(&report, &paths.db)?;
    tui::forget_typed();
    keep(&options).await?;
    why::verdict(&report)
}

/// Stays with a screen whose capture is over until the user leaves, or is gone.
async fn until_left(stage: &Stage, signals: &mut Signals, running: &mut Option<Running>) {
    let asked = async {
        match running {
            Some(running) => drop(running.asked().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stage.left() => {}
        _ = signals.next() => {}
        () = asked => {}
        _ = stdout_broken() => {}
    }
}

/// How long the capture has taken, from the moment when the agents watched their interfaces.
pub(crate) fn took(started: Instant, counts: &Counts) -> Duration {
    let now = Instant::now();
    now.saturating_duration_since(counts.beginning().of(started, now))
}

/// Stays with the files until they were fetched, where that was asked for.
pub(crate) async fn keep(options: &Options) -> anyhow::Result<()> {
    match Pod::of_this_process(&options.output_dir).filter(|_| options.background) {
        Some(pod) => keeper::keep(pod).await,
        None => Ok(()),
    }
}

/// Removes the files of a capture that has not begun.
pub(crate) fn discard(paths: &[PathBuf]) {
    for path in paths {
        // Somebody may have taken it away.
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

/// Nodes on which packets before and after address translation may count twice, by reason.
fn translations(counts: &Counts) -> Vec<String> {
    let mut reasons = std::collections::BTreeMap::<String, Vec<String>>::new();
    for (node, agent) in counts.agents() {
        let lost = (agent.lost_translations > 0).then(|| "some messages of the kernel were lost".to_owned());
        if let Some(reason) = lost.or_else(|| Some(agent.no_translations).filter(|reason| !reason.is_empty())) {
            reasons.entry(reason).or_default().push(node);
        }
    }
    let line = |(reason, nodes): (String, Vec<String>)| {
        let (first, number) = (&nodes[0], nodes.len());
        let others = if number > 1 { format!(" and {} more", number - 1) } else { String::new() };
        format!("  translated packets may count twice on {first}{others}: {reason}")
    };
    reasons.into_iter().map(line).collect()
}

/// What may be missing though nothing was lost on the way: what a filter from the screen kept out, the `what` of times without an agent,
/// names, and the `what` of nodes that were never heard.
pub(crate) fn gaps(options: &Options, names: Option<&Names>, counts: &Counts, what: &str) -> Vec<String> {
    let pushed = counts.pushed();
    let kept = pushed.members().summary().into_iter().chain(pushed.periods());
    let mut lines: Vec<String> = kept.map(|line| format!("  {line}")).collect();
    lines.extend(pushed::refusals(&counts.agents()).map(|line| format!("  {line}")));
    lines.extend(unwatched::lines(&counts.agents()).into_iter().map(|line| format!("  {line}")));
    lines.extend(translations(counts));
    let absences = counts.absences().into_iter();
    lines.extend(absences.map(|absence| format!("  {absence}: {what} of that time are missing")));
    let missing = names.map(Names::missing).into_iter().flatten();
    lines.extend(missing.map(|missing| format!("  names may be missing, {missing}")));
    let (heard, expected) = (counts.totals().agents, options.expect_nodes);
    let silence = format!("  {heard} of {expected} nodes sent something: {what} of the others are missing");
    lines.extend((heard < expected).then_some(silence));
    let versions = versions::differences(versions::plugin().as_deref(), &counts.agents());
    lines.extend(versions.map(|line| format!("  {line}")));
    lines
}

/// Gives the terminal back, unless it hangs. Lines go on until the pipeline is closed.
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

/// Says what begins: a capture of this `kind`.
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
    let decides = options.kube && options.packets.is_none();
    let names = Arc::new(if decides { names.with_objects() } else { names });
    if options.kube {
        enrich::watch::start(&names);
    }
    (options.kube || !options.subnets.is_empty()).then_some(names)
}

/// Who may speak for a node: in a session of the plugin there is one agent on each, in another capture anybody may.
pub(crate) fn speakers(options: &Options, names: &Option<Arc<Names>>) -> Speakers {
    if options.session.is_some() { Speakers::strict(names.clone()) } else { Speakers::lenient() }
}

/// One sink for each file.
type Files = Vec<Box<dyn Sink>>;

/// The files, and what cuts their last hour short.
fn create_sinks(
    options: &Options,
    (file, paths): (File, &Paths),
    counts: &Arc<Counts>,
    story: &Arc<Story>,
    names: &Option<Arc<Names>>,
    reached: &Arc<Notify>,
) -> Result<(Files, Arc<Hurry>), SinkError> {
    let limit = Limit { bytes: options.bytes_left(), reached: reached.clone() };
    let json = JsonSink::new(file, paths.json.clone(), counts.clone(), limit)?.with_names(names.clone());
    info!("Creating database...");
    let sqlite = SqliteSink::create(&paths.db, counts.clone(), story.clone())?.with_names(names.clone());
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
    pub(crate) fn start<R: Receiver>(listener: listen::Listener, ingest: Grpc<R>, door: (Door, Arc<Counts>)) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            if let Err(error) = listen::serve(listener, ingest, door, stopped).await {
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

pub(crate) async fn until_end(
    options: &Options,
    (started, counts): (Instant, &Counts),
    signals: &mut Signals,
    limit: &Notify,
    failed: impl Future<Output = ()>,
    running: &mut Option<Running>,
    view: &mut Option<View>,
) -> End {
    let time = async {
        match options.max_time {
            Some(time) => passed(time, started, counts).await,
            None => std::future::pending().await,
        }
    };
    let outlives_terminal = running.as_ref().is_some_and(Running::has_lease);
    let asked = async {
        match running {
            Some(running) => running.asked().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(time, asked, failed);
    loop {
        tokio::select! {
            kind = signals.next() => {
                if kind != Kind::HangUp || !outlives_terminal {
                    return End::Signal(kind);
                }
                stop_view(view.take()).await;
                info!("the terminal is gone: capturing on while the session is renewed");
            }
            () = &mut time => return End::Limit(human::duration(options.max_time.unwrap_or_default())),
            () = limit.notified() => return End::Limit(human::bytes(options.max_bytes.unwrap_or_default())),
            asked = &mut asked => return match asked {
                Asked::Finish => End::Asked,
                Asked::Removed => End::Removed,
                Asked::Lease(time) => End::Lease(time),
            },
            // In the background it is a log.
            broken = stdout_broken(), if !options.background => return End::Output(broken),
            // Packets that go to standard output fail with it.
            () = &mut failed => return stdio::stdout().broken().map_or(End::Failed, End::Output),
        }
    }
}

/// Returns when standard output takes no more.
async fn stdout_broken() -> Broken {
    loop {
        if let Some(broken) = stdio::stdout().broken() {
            return broken;
        }
        sleep(LOOK_AT_OUTPUT).await;
    }
}

/// Returns when a capture has taken so long, which does not count before the agents watch their interfaces.
async fn passed(time: Duration, started: Instant, counts: &Counts) {
    loop {
        let now = Instant::now();
        let left = time.saturating_sub(now.saturating_duration_since(counts.beginning().of(started, now)));
        if left.is_zero() {
            return;
        }
        // Agents may be heard of, and begin, in the meantime.
        sleep(left.min(LOOK)).await;
    }
}

impl End {
    pub(crate) fn reason(&self) -> String {
        match self {
            End::Signal(kind) => kind.to_string(),
            End::Limit(limit) => format!("reached {limit}"),
            End::Asked => "finished on request".into(),
            End::Removed => "ended: the pod of the collector is being removed".into(),
            End::Lease(time) => format!("ended: nobody renewed it for {}", human::duration(*time)),
            End::Output(Broken::Gone) => "ended: the reader of standard output has gone".into(),
            End::Output(broken) => format!("ended: cannot write standard output: {broken}"),
            End::Failed => "failed".into(),
        }
    }

    pub(crate) fn farewell(&self) -> String {
        match self {
            End::Limit(limit) => format!("Capture reached {limit}, exiting now..."),
            other => format!("Capture {}, exiting now...", other.reason()),
        }
    }

    /// Whether a capture without flows or packets has not begun: no agent could start, and the program that started this one
    /// reports why.
    pub(crate) fn is_in_vain(&self, options: &Options, counts: &Counts) -> bool {
        options.child && (matches!(self, End::Signal(Kind::NoAgent)) || counts.totals().agents == 0)
    }

    /// The end of a capture that has not begun: an error, unless it was asked to end.
    pub(crate) fn without_agents(&self) -> anyhow::Result<()> {
        match self {
            End::Signal(_) => Ok(()),
            other => {
                anyhow::bail!("no agent reported anything until the capture {}: nothing was captured", other.reason())
            }
        }
    }

    pub(crate) fn signal(&self) -> Option<Kind> {
        if let End::Signal(kind) = self { Some(*kind) } else { None }
    }
}

/// Waits for what the agents still have: until each has said its last word, those that owe it are silent, or a second signal comes.
///
/// True when a signal came.
pub(crate) async fn drain(counts: &Counts, failed: impl Future<Output = ()>, signals: &mut Signals) -> bool {
    tokio::select! {
        () = last_words(counts) => false,
        kind = signals.next() => {
            debug!("{kind} again: not waiting for the agents");
            true
        }
        () = failed => false,
    }
}

async fn last_words(counts: &Counts) {
    let since = Instant::now();
    while let Some(heard) = counts.owed_since(since, ALIVE) {
        if heard.max(since).elapsed() > GRACE || since.elapsed() > LONGEST {
            return warn!("some agents did not say their last word");
        }
        sleep(LOOK).await;
    }
}

/// Waits until the files are finished; gives the first signal, too. A user who asks again does not get the indices.
async fn finish(
    sinks: Sinks,
    signals: &mut Signals,
    first: Option<Kind>,
    hurry: &Hurry,
    names: Option<&Names>,
) -> (Result<(), SinkError>, Option<Kind>) {
    let mut first = first;
    let mut joined = tokio::task::spawn_blocking(|| sinks.join());
    loop {
        tokio::select! {
            result = &mut joined => return (result.unwrap_or(Err(SinkError::Panicked)), first),
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
