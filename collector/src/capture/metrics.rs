//! One capture of metrics, from its first check to its last line: flows that are counted and not kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use netobserv_contract::files::Claim;
use netobserv_contract::metrics::{ENDINGS, FOLDER, PREFIX, grafana};
use netobserv_stdio as stdio;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{debug, info};

use super::end::until_done;
use super::run::Run;
use super::{End, Period, Server, discard, keep, predicate, speakers, stop_view, took, until_end};
use crate::cli::Options;
use crate::cli::metrics::MetricsOptions;
use crate::control::Running;
use crate::ingest::{Ingest, admission::Admission, listen};
use crate::metrics::rates::{self, Rates};
use crate::metrics::registry::Registry;
use crate::metrics::server::{self, Served};
use crate::metrics::sink::{self, MetricsSink};
use crate::output::Folder;
use crate::own::Own;
use crate::pipeline::{Pipeline, Sinks};
use crate::signals::{Kind, Signals};
use crate::sink::SinkError;
use crate::summary;
use crate::tui::MetricsSource;
use crate::view::{View, each_second, has_screen, say};

/// Counts until a limit, a signal or an error.
pub(crate) async fn capture(options: Options, wanted: MetricsOptions) -> anyhow::Result<()> {
    let run = match Run::new(options)? {
        Ok(run) => run,
        Err(options) => return keep(&options, None).await,
    };
    let (mut metrics, claim) = Metrics::start(run, wanted).await?;
    let mut running = metrics.run.begin(Some(&metrics.files[0]))?;
    let mut view = Some(metrics.view()?);
    Claim::keep(claim);
    let end = metrics.until_end(&mut running, &mut view).await;
    metrics.finish(end, running, view).await
}

/// A capture of metrics at work.
struct Metrics {
    run: Run,
    /// The snapshot and the dashboard.
    files: [PathBuf; 2],
    registry: Arc<Registry>,
    /// Most series.
    series: u64,
    /// Snapshots that could not be written.
    lost: Arc<AtomicU64>,
    server: Server,
    ingest: Ingest,
    sinks: Sinks,
    /// The text exposition, where one is wanted.
    page: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Makes the files, receives from agents and answers scrapes.
    async fn start(mut run: Run, wanted: MetricsOptions) -> anyhow::Result<(Self, Claim)> {
        let folder = Folder::prepare(&run.options.output_dir, FOLDER)?;
        let admission = Admission::open(&run.options.security)?;
        let listener = listen::bind(&run.options.listen).await?;
        let page = page(&wanted).await?;
        let claim = folder.metrics(&run.options.filename, run.start)?;
        let files = ENDINGS.map(|ending| claim.path(ending));
        run.follow("Metric").await?;

        info!("Matching metrics:");
        wanted.metrics.iter().for_each(|metric| info!(" - {PREFIX}{}", metric.name()));
        let Run { options, counts, names, .. } = &run;
        let (lost, registry) = (Arc::<AtomicU64>::default(), Arc::new(Registry::new(&wanted.metrics, wanted.series)));
        let text = serde_json::to_vec_pretty(&grafana(&wanted.metrics))?;
        sink::replace(&files[1], &text).map_err(SinkError::write(&files[1]))?;
        let sink = MetricsSink::new(registry.clone(), counts.clone(), files[0].clone(), lost.clone());
        let (pipeline, sinks) = Pipeline::start(vec![Box::new(sink)], counts.clone(), None)?;
        let pipeline = pipeline.with_names(names.clone()).with_query(predicate(options, counts));
        let pipeline = pipeline.without(Own::of_this_pod(options));
        let ingest = Ingest::new(pipeline, counts.clone(), speakers(options, names.as_ref()));
        let server = run.serve(listener, ingest.clone(), admission).await;
        let page = page.map(|listener| {
            let served = Served { registry: registry.clone(), counts: run.counts.clone() };
            tokio::spawn(server::serve(listener, Arc::new(served)))
        });
        debug!("Ready ! Waiting for flows...");
        Ok((Self { run, files, registry, series: wanted.series, lost, server, ingest, sinks, page }, claim))
    }

    /// The screen, or a line of rates each second.
    fn view(&self) -> anyhow::Result<View> {
        let Run { options, started, counts, .. } = &self.run;
        let (started, counts, registry) = (*started, counts.clone(), self.registry.clone());
        if has_screen(options) {
            return View::metrics(options, MetricsSource { started, counts, registry, series: self.series });
        }
        let (rates, quiet) = (Rates::default(), options.quiet);
        let line = move || {
            let line = rates.line(started.elapsed(), &counts.totals(), registry.series().0);
            if !quiet {
                stdio::stderr().put(format!("{line}\n"));
            }
        };
        Ok(View::Progress(tokio::spawn(each_second(line))))
    }

    async fn until_end(&mut self, running: &mut Option<Running>, view: &mut Option<View>) -> End {
        let Run { options, counts, signals, limit, started, .. } = &mut self.run;
        let (limits, clock) = ((&*options, Period::of(options)), (*started, &**counts));
        until_end(limits, clock, signals, limit, self.sinks.failed(), running, view).await
    }

    /// Completes the snapshot, and prints what was counted.
    async fn finish(mut self, end: End, running: Option<Running>, view: Option<View>) -> anyhow::Result<()> {
        Run::hurries(&end);
        stop_view(view).await;
        let in_vain = |of: &Run| end.is_in_vain(&of.options, &of.counts) && of.counts.totals().flows == 0;
        if !in_vain(&self.run) {
            say(&self.run.options, &end.farewell());
        }
        let first = self.run.close(&end, (self.server, self.ingest), self.sinks.failed()).await;
        let finished = finish(self.sinks, &mut self.run.signals, first).await;
        // Until now: the last scrape may have what the agents sent last.
        self.page.iter().for_each(JoinHandle::abort);
        if let Some(running) = running {
            running.end(&finished.as_ref().map_or_else(|error| format!("failed: {error}"), |()| end.reason()));
        }
        if in_vain(&self.run) {
            discard(&self.files);
            finished?;
            return end.without_agents();
        }
        let Run { options, counts, started, .. } = &self.run;
        let files = [self.files[0].as_path(), self.files[1].as_path()];
        let written = rates::account(&self.registry, self.series, self.lost.load(Relaxed), &files);
        let account = summary::account_of(took(*started, counts), &end.reason(), &counts.totals(), written);
        account.into_iter().chain(self.run.missing("flows")).for_each(|line| say(options, &line));
        finished?;
        keep(options, Some(&end)).await
    }
}

/// The socket of the text exposition, where one is wanted.
async fn page(wanted: &MetricsOptions) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = &wanted.serve else { return Ok(None) };
    match listen::bind(address).await? {
        listen::Listener::Tcp(listener) => {
            info!("Metrics are at http://{}/metrics", listener.local_addr()?);
            Ok(Some(listener))
        }
        listen::Listener::Unix(..) => anyhow::bail!("metrics are served over TCP only"),
    }
}

/// Waits until the last flows are counted and the file is written; a user who asks again does not wait.
async fn finish(sinks: Sinks, signals: &mut Signals, first: Option<Kind>) -> Result<(), SinkError> {
    let joined = tokio::task::spawn_blocking(|| sinks.join());
    let hurried = || Some(Ok(Err(SinkError::Hurried)));
    until_done(joined, signals, first, hurried).await.unwrap_or(Err(SinkError::Panicked))
}
