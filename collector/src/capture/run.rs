//! What captures of all kinds do alike, from the first check to the last line.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use chrono::{DateTime, Utc};
use netobserv_stdio as stdio;
use tokio::sync::Notify;
use tracing::info;

use super::{End, FIRST_NAMES, Server, announce, begin, drain, follow, gaps, names};
use crate::cli::Options;
use crate::control::Running;
use crate::counts::Counts;
use crate::enrich::Names;
use crate::ingest::admission::Admission;
use crate::ingest::listen::Listener;
use crate::ingest::{Grpc, Receiver};
use crate::killed::{self, Killed};
use crate::nodes;
use crate::resume::{self, Start};
use crate::signals::{Kind, Signals};
use crate::summary;

/// A capture that was asked for.
pub(super) struct Run {
    pub(super) options: Options,
    /// An earlier process of it.
    pub(super) killed: Option<Killed>,
    /// When it began, perhaps in that process.
    pub(super) started: Instant,
    /// When this process began.
    pub(super) start: DateTime<Utc>,
    pub(super) signals: Signals,
    pub(super) counts: Arc<Counts>,
    pub(super) names: Option<Arc<Names>>,
    /// Notified when the files are as large as they may get.
    pub(super) limit: Arc<Notify>,
}

impl Run {
    /// Makes it ready, without a file or a connection yet.
    ///
    /// # Errors
    /// What is left of an earlier process cannot be read, or signals cannot be received.
    ///
    /// Gives the options back when the capture has ended earlier: only its files are kept.
    pub(super) fn new(mut options: Options) -> anyhow::Result<Result<Self, Options>> {
        let Start::Capture(killed) = resume::look(&mut options)? else { return Ok(Err(options)) };
        let (started, start) = (killed::began(killed.as_ref()), Utc::now());
        let signals = Signals::listen().context("cannot listen to signals")?;
        let counts = Arc::<Counts>::default();
        counts.goes_on(killed.as_ref());
        Ok(Ok(Self { options, killed, started, start, signals, counts, names: None, limit: Arc::default() }))
    }

    /// Announces a capture of this `kind`, and begins to follow the cluster's objects.
    ///
    /// # Errors
    /// Something that is selected by name does not exist.
    pub(super) async fn follow(&mut self, kind: &str) -> anyhow::Result<()> {
        announce(&self.options, kind);
        self.names = names(&self.options);
        follow::begin(&mut self.options, self.names.as_ref(), &self.counts).await
    }

    /// Receives from agents, once the first names are known.
    pub(super) async fn serve<R: Receiver>(&self, listener: Listener, ingest: Grpc<R>, admission: Admission) -> Server {
        if let Some(names) = &self.names {
            // Agents that come earlier wait in the socket's queue.
            names.ready(FIRST_NAMES).await;
        }
        let server = Server::start(listener, ingest, (admission, self.counts.clone()));
        info!("Started collector on {}", self.options.listen);
        server
    }

    /// Begins to wait for the agents, and makes the capture known to those who ask for its session, with its file.
    ///
    /// # Errors
    /// The state cannot be written.
    pub(super) fn begin(&self, file: Option<&Path>) -> anyhow::Result<Option<Running>> {
        let expected = self.options.expect_nodes;
        self.counts.beginning().expect(expected);
        if self.killed.is_some() {
            self.counts.beginning().has_begun(self.started);
        }
        nodes::tell_when_all_capture(expected, self.counts.clone());
        begin(&self.options, file, (self.started, self.killed.as_ref()))
    }

    /// Stops printing to a terminal that is gone. What is printed from now on does not wait.
    pub(super) fn hurries(end: &End) {
        stdio::stdout().hurry();
        if matches!(end, End::Lease(_)) {
            summary::mute();
        }
    }

    /// Takes what the agents still have, until one of the files has `failed`, and ends the server.
    pub(super) async fn close<R: Receiver>(
        &mut self,
        end: &End,
        (server, ingest): (Server, Grpc<R>),
        failed: impl Future<Output = ()>,
    ) -> Option<Kind> {
        let first = end.signal();
        self.counts.end();
        if !matches!(end, End::Failed) {
            ingest.stop_agents();
            drain(&self.counts, failed, &mut self.signals).await;
        }
        server.stop().await;
        ingest.close();
        self.counts.pushed().end(Utc::now());
        first
    }

    /// Lines of the summary about what may be missing of `what`, after the numbers.
    pub(super) fn missing(&self, what: &str) -> Vec<String> {
        let outages = self.killed.iter().flat_map(|killed| killed.lines(what)).map(|line| format!("  {line}"));
        outages.chain(gaps(&self.options, self.names.as_deref(), &self.counts, what)).collect()
    }
}
