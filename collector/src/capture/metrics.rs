//! One capture of metrics, from its first check to its last line: flows that are counted and not kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Context;
use chrono::Utc;
use netobserv_contract::files::Claim;
use netobserv_contract::metrics::{ENDINGS, FOLDER, PREFIX, grafana};
use netobserv_stdio as stdio;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tracing::{debug, info};

use super::{
    End, FIRST_NAMES, Period, Server, announce, begin, discard, drain, follow, gaps, keep, names, predicate, speakers,
    stop_view, took, until_end,
};
use crate::cli::Options;
use crate::cli::metrics::MetricsOptions;
use crate::counts::Counts;
use crate::ingest::{Ingest, admission::Admission, listen};
use crate::metrics::rates::{self, Rates};
use crate::metrics::registry::Registry;
use crate::metrics::server::{self, Served};
use crate::metrics::sink::{self, MetricsSink};
use crate::nodes;
use crate::output::Folder;
use crate::own::Own;
use crate::pipeline::{Pipeline, Sinks};
use crate::resume::{self, Start};
use crate::signals::{Kind, Signals};
use crate::sink::SinkError;
use crate::summary;
use crate::tui::MetricsSource;
use crate::view::{View, each_second, has_screen, say};

/// Counts until a limit, a signal or an error.
pub(crate) async fn capture(mut options: Options, wanted: MetricsOptions) -> anyhow::Result<()> {
    let Start::Capture(killed) = resume::look(&mut options)? else { return keep(&options, None).await };
    let (started, start) = (crate::killed::began(killed.as_ref()), Utc::now());
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let folder = Folder::prepare(&options.output_dir, FOLDER)?;
    let admission = Admission::open(&options.security)?;
    let listener = listen::bind(&options.listen).await?;
    let page = page(&wanted).await?;
    let claim = folder.metrics(&options.filename, start)?;
    let [snapshot, dashboard] = ENDINGS.map(|ending| claim.path(ending));

    announce(&options, "Metric");
    info!("Matching metrics:");
    wanted.metrics.iter().for_each(|metric| info!(" - {PREFIX}{}", metric.name()));
    let (counts, limit, lost) = (Arc::<Counts>::default(), Arc::<Notify>::default(), Arc::<AtomicU64>::default());
    counts.goes_on(killed.as_ref());
    let names = names(&options);
    follow::begin(&mut options, names.as_ref(), &counts).await?;
    let registry = Arc::new(Registry::new(&wanted.metrics, wanted.series));
    let text = serde_json::to_vec_pretty(&grafana(&wanted.metrics))?;
    sink::replace(&dashboard, &text).map_err(SinkError::write(&dashboard))?;
    let sink = MetricsSink::new(registry.clone(), counts.clone(), snapshot.clone(), lost.clone());
    let (pipeline, sinks) = Pipeline::start(vec![Box::new(sink)], counts.clone(), None)?;
    let pipeline = pipeline.with_names(names.clone()).with_query(predicate(&options, &counts));
    let ingest =
        Ingest::new(pipeline.without(Own::of_this_pod(&options)), counts.clone(), speakers(&options, names.as_ref()));
    if let Some(names) = &names {
        // Agents that come earlier wait in the socket's queue.
        names.ready(FIRST_NAMES).await;
    }
    let server = Server::start(listener, ingest.clone(), (admission, counts.clone()));
    info!("Started collector on {}", options.listen);
    let page = page.map(|listener| {
        let served = Served { registry: registry.clone(), counts: counts.clone() };
        tokio::spawn(server::serve(listener, Arc::new(served)))
    });
    debug!("Ready ! Waiting for flows...");

    counts.beginning().expect(options.expect_nodes);
    if killed.is_some() {
        counts.beginning().has_begun(started);
    }
    nodes::tell_when_all_capture(options.expect_nodes, counts.clone());
    let mut running = begin(&options, Some(&snapshot), (started, killed.as_ref()))?;
    let mut view = Some(if has_screen(&options) {
        let (counts, registry) = (counts.clone(), registry.clone());
        View::metrics(&options, MetricsSource { started, counts, registry, series: wanted.series })?
    } else {
        let (rates, counts, registry, quiet) = (Rates::default(), counts.clone(), registry.clone(), options.quiet);
        let line = move || {
            let line = rates.line(started.elapsed(), &counts.totals(), registry.series().0);
            if !quiet {
                stdio::stderr().put(format!("{line}\n"));
            }
        };
        View::Progress(tokio::spawn(each_second(line)))
    });
    Claim::keep(claim);
    let limits = (&options, Period::of(&options));
    let end =
        until_end(limits, (started, &counts), &mut signals, &limit, sinks.failed(), &mut running, &mut view).await;
    stdio::stdout().hurry();
    if matches!(end, End::Lease(_)) {
        summary::mute();
    }
    stop_view(view).await;
    let in_vain = || end.is_in_vain(&options, &counts) && counts.totals().flows == 0;
    if !in_vain() {
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
    let finished = finish(sinks, &mut signals, first).await;
    // Until now: the last scrape may have what the agents sent last.
    page.iter().for_each(tokio::task::JoinHandle::abort);
    if let Some(running) = running {
        running.end(&finished.as_ref().map_or_else(|error| format!("failed: {error}"), |()| end.reason()));
    }
    if in_vain() {
        discard(&[snapshot, dashboard]);
        finished?;
        return end.without_agents();
    }
    let files: [&PathBuf; 2] = [&snapshot, &dashboard];
    let written = rates::account(&registry, wanted.series, lost.load(Relaxed), &files.map(PathBuf::as_path));
    let account = summary::account_of(took(started, &counts), &end.reason(), &counts.totals(), written);
    let outages = killed.iter().flat_map(|killed| killed.lines("flows")).map(|line| format!("  {line}"));
    for line in account.into_iter().chain(outages).chain(gaps(&options, names.as_deref(), &counts, "flows")) {
        say(&options, &line);
    }
    finished?;
    keep(&options, Some(&end)).await
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
async fn finish(sinks: Sinks, signals: &mut Signals, mut first: Option<Kind>) -> Result<(), SinkError> {
    let mut joined = tokio::task::spawn_blocking(|| sinks.join());
    loop {
        tokio::select! {
            result = &mut joined => return result.unwrap_or(Err(SinkError::Panicked)),
            kind = signals.next() => {
                if first.is_some_and(|first| first.hurried_by(kind)) {
                    return Err(SinkError::Hurried);
                }
                first = first.or(Some(kind));
            }
        }
    }
}
