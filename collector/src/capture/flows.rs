//! One capture of flows, from its first check to its last line.

use std::fs::File;
use std::sync::Arc;

use netobserv_contract::files::Claim;
use netobserv_explain::report::Report;
use tokio::sync::Notify;
use tracing::{debug, info};

use super::end::until_done;
use super::leave::Ending;
use super::rest::Resting;
use super::run::Run;
use super::{End, FIRST_NAMES, Period, Server, discard, keep, predicate, speakers, stop_view, took, until_end};
use crate::cli::{Observations, Options};
use crate::control::Running;
use crate::counts::{Counts, between};
use crate::enrich::Names;
use crate::feed::{self, Intake};
use crate::ingest::admission::Admission;
use crate::ingest::{Ingest, listen};
use crate::output::{Folder, Paths};
use crate::own::Own;
use crate::pipeline::{Pipeline, Sinks};
use crate::record::CaptureInfo;
use crate::signals::{Kind, Signals};
use crate::sink::json::{JsonSink, Limit};
use crate::sink::sqlite::{Hurry, SqliteSink};
use crate::sink::{Sink, SinkError};
use crate::summary;
use crate::tui::{self, Source, Stage};
use crate::view::{View, say};
use crate::why::{self, Watcher};

/// Captures until a limit, a signal or an error.
pub(super) async fn capture(options: Options) -> anyhow::Result<()> {
    let run = match Run::new(options)? {
        Ok(run) => run,
        Err(options) => return keep(&options, None).await,
    };
    let (mut flows, claim, intake) = Flows::start(run).await?;
    let mut running = flows.run.begin(Some(&flows.paths.json))?;
    let source = Source {
        started: flows.run.started,
        counts: flows.run.counts.clone(),
        intake,
        watcher: flows.watcher.clone(),
        stage: flows.stage.clone(),
    };
    let view = View::start(&flows.run.options, &flows.paths, source)?;
    claim.keep();
    let had_screen = matches!(view, View::Screen(_));
    let mut view = Some(view);
    let end = flows.until_end(&mut running, &mut view).await;
    flows.finish(end, running, view, had_screen).await
}

/// A capture of flows at work.
struct Flows {
    run: Run,
    paths: Paths,
    info: Arc<CaptureInfo>,
    watcher: Watcher,
    stage: Stage,
    server: Server,
    ingest: Ingest,
    sinks: Sinks,
    hurry: Arc<Hurry>,
}

impl Flows {
    /// Makes the files and receives from agents.
    async fn start(mut run: Run) -> anyhow::Result<(Self, Claim, Intake)> {
        let folder = Folder::prepare(&run.options.output_dir, "flow")?;
        let admission = Admission::open(&run.options.security)?;
        let listener = listen::bind(&run.options.listen).await?;
        let mut claim = folder.flows(&run.options.filename, run.start)?;
        let paths = Paths { json: claim.path(".json"), db: claim.path(".db") };
        run.follow("Flow").await?;

        let Run { options, counts, names, .. } = &run;
        let info = CaptureInfo::new(options.options.clone(), options.namespace.clone(), run.start);
        let info = Arc::new(info.with_names(names.clone()).goes_on(run.killed.as_ref()));
        let json = claim.files().swap_remove(0);
        let watcher = Watcher::new(options.asked.clone()).with_names(names.clone()).with_counts(counts.clone());
        let (mut files, hurry) = create_sinks(options, (json, &paths), counts, &info, names.as_ref(), &run.limit)?;
        files.push(Box::new(watcher.clone()));
        let (feed, intake) = feed::queue();
        let (pipeline, sinks) = Pipeline::start(files, counts.clone(), Some(feed))?;
        let pipeline = pipeline.with_names(names.clone()).with_query(predicate(options, counts));
        let pipeline =
            pipeline.without(Own::of_this_pod(options)).showing_all(options.observations == Observations::All);
        let ingest = Ingest::new(pipeline, counts.clone(), speakers(options, names.as_ref()));
        let server = run.serve(listener, ingest.clone(), admission).await;
        debug!("Ready ! Waiting for flows...");
        let stage = Stage::default();
        Ok((Self { run, paths, info, watcher, stage, server, ingest, sinks, hurry }, claim, intake))
    }

    /// Whether it ends without an agent that could capture anything.
    fn in_vain(&self, end: &End) -> bool {
        end.is_in_vain(&self.run.options, &self.run.counts) && self.run.counts.totals().flows == 0
    }

    /// Returns when it ends. At a limit the screen stays, as its user has not asked for the end, and may continue for another period.
    async fn until_end(&mut self, running: &mut Option<Running>, view: &mut Option<View>) -> End {
        let had_screen = matches!(view, Some(View::Screen(_)));
        let mut period = Period::of(&self.run.options);
        loop {
            let Run { options, counts, signals, limit, started, .. } = &mut self.run;
            let (limits, clock) = ((&*options, period), (*started, &**counts));
            let end = until_end(limits, clock, signals, limit, self.sinks.failed(), running, view).await;
            let timed = period.filter(|_| matches!(end, End::Time(_)));
            if !end.is_limit() || !had_screen || view.is_none() || self.in_vain(&end) {
                return end;
            }
            let Run { options, counts, signals, .. } = &mut self.run;
            let resting = Resting { options, counts, stage: &self.stage };
            match resting.until_chosen((end.reason(), timed), signals, running).await {
                Some(next) => period = Some(next),
                None => return end,
            }
        }
    }

    /// Completes the files, and prints what was captured and what went wrong.
    async fn finish(
        mut self,
        end: End,
        running: Option<Running>,
        view: Option<View>,
        had_screen: bool,
    ) -> anyhow::Result<()> {
        Run::hurries(&end);
        let in_vain = self.in_vain(&end);
        let lines = stop_view(view).await;
        if !in_vain {
            say(&self.run.options, &end.farewell());
        }
        let first = self.run.close(&end, (self.server, self.ingest), self.sinks.failed()).await;
        self.info.end(end.reason());
        let names = self.run.names.as_deref();
        let finished = finish(self.sinks, &mut self.run.signals, first, &self.hurry, names).await;
        let Run { options, counts, .. } = &self.run;
        let time = took(self.run.started, counts).saturating_sub(self.stage.rested());
        let report = match &finished {
            Ok(()) if !in_vain => Some(report(&self.watcher, names, &self.paths).await),
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
            discard(&[self.paths.json, self.paths.db]);
            finished?;
            return end.without_agents();
        }
        let account = summary::account(time, &end.reason(), &counts.totals(), &self.paths);
        let account = account.into_iter().chain(between::lines(counts.between()));
        account.chain(self.run.missing("flows")).for_each(|line| say(options, &line));
        finished?;
        let Some((report, saved)) = report else { return keep(options, None).await };
        let ending = Ending { options, report: &report, had_screen, paths: &self.paths };
        ending.lines(&self.stage).iter().for_each(|line| say(options, line));
        saved?;
        tui::forget_typed();
        keep(options, Some(&end)).await?;
        why::verdict(&report)
    }
}

/// The findings, and whether they are in the database. They are written before the capture reports that its files are finished.
async fn report(watcher: &Watcher, names: Option<&Names>, paths: &Paths) -> (Report, anyhow::Result<()>) {
    if let Some(names) = names.filter(|_| watcher.has_findings()) {
        names.decided(FIRST_NAMES).await;
    }
    let report = watcher.report();
    let saved = watcher.save(&report, &paths.db);
    (report, saved)
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

/// Waits until the files are finished. A user who asks again does not get the indices.
async fn finish(
    sinks: Sinks,
    signals: &mut Signals,
    first: Option<Kind>,
    hurry: &Hurry,
    names: Option<&Names>,
) -> Result<(), SinkError> {
    let joined = tokio::task::spawn_blocking(|| sinks.join());
    let without_indices = || {
        hurry.up();
        names.iter().for_each(|names| names.hurry());
        None
    };
    until_done(joined, signals, first, without_indices).await.unwrap_or(Err(SinkError::Panicked))
}
