//! One capture of packets, from its first check to its last line.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, bail};
use chrono::Utc;
use netobserv_contract::files::Claim;
use netobserv_stdio as stdio;
use tokio::sync::{Notify, oneshot};
use tracing::{debug, info};

use super::{
    End, FIRST_NAMES, Period, Server, announce, begin, discard, drain, follow, gaps, keep, predicate, speakers,
    stop_view, took, until_end,
};
use crate::cli::Options;
use crate::cli::packets::PacketOptions;
use crate::control::Control;
use crate::counts::Counts;
use crate::enrich::Names;
use crate::feed::{Feed, Intake};
use crate::ingest::{admission::Admission, listen, packets::PacketIngest};
use crate::nodes;
use crate::output::Folder;
use crate::packets::filter::Filter;
use crate::packets::screen::{Sightings, packet_queue};
use crate::packets::summary;
use crate::packets::talks::NameLookup;
use crate::packets::tally::Tally;
use crate::packets::writer::{Done, Setup, Writer};
use crate::packets::{intake, intake::Outlet};
use crate::resume::{self, Start};
use crate::signals::{Kind, Signals};
use crate::sink::SinkError;
use crate::sink::output_file::OutputFile;
use crate::sink::pcapng::Section;
use crate::tui::PacketSource;
use crate::view::{View, each_second, has_screen};

/// Captures until a limit, a signal or an error.
#[allow(clippy::too_many_lines)] // One step after another, in the order that matters.
pub(crate) async fn capture(mut options: Options, mut wanted: PacketOptions) -> anyhow::Result<()> {
    let Start::Capture(killed) = resume::look(&mut options)? else { return keep(&options, None).await };
    let (started, start) = (crate::killed::began(killed.as_ref()), Utc::now());
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let sent = wanted.keylog_sent.then(|| Control::of(&options.output_dir));
    wanted.keylog = wanted.keylog.or_else(|| sent.as_ref().map(Control::keylog));
    let console = Console { to_stderr: wanted.to_stdout, quiet: options.quiet };
    let folder = folder(&options, &wanted)?;
    let listener = listen::bind(&options.listen).await?;

    let admission = Admission::open(&options.security)?;
    announce(&options, "Packet");
    let (counts, tally, limit) = (Arc::<Counts>::default(), Arc::<Tally>::default(), Arc::<Notify>::default());
    counts.goes_on(killed.as_ref());
    let names = super::names(&options);
    let agent_nodes = follow::begin(&options.selections, names.as_ref(), &counts).await?;
    options.expect_nodes = agent_nodes.unwrap_or(options.expect_nodes);
    if agent_nodes.map_or(options.background, |nodes| nodes > 0) {
        counts.beginning().agents_come_later();
    }
    let (intake, outlet) = intake::way();
    let (ending, several) = (wanted.format.ending(), wanted.rotation.is_some());
    let mut claim = folder.map(|folder| folder.packets(&options.filename, start, ending, several)).transpose()?;
    let path = claim.as_ref().map(|claim| claim.path(&format!(".{ending}")));
    let output_file = match claim.as_mut().zip(path.clone()) {
        None => OutputFile::pipe(),
        Some((claim, path)) => {
            let first = (claim.paths()[0].clone(), claim.files().swap_remove(0));
            OutputFile::disk(path, wanted.rotation, first)
        }
    };
    let who = names.clone().map(who);
    let (screen, sightings) = screen(&options, path.is_some()).unzip();
    let setup = Setup {
        section: section(&options),
        wanted: Filter::new(predicate(&options, &counts), &options.queries, names.as_ref()),
        filter: options.options.clone(),
        who: who.clone(),
        tally: tally.clone(),
        limit: (options.bytes_left(), limit.clone()),
        screen,
        options: wanted,
    };
    let mut writer_thread = WriterThread::start(setup, outlet, output_file)?;
    let ingest = PacketIngest::new(intake, counts.clone(), tally.clone(), speakers(&options, names.as_ref()));
    if let Some(names) = &names {
        // Agents that come earlier wait in the socket's queue.
        names.ready(FIRST_NAMES).await;
    }
    let server = Server::start(listener, ingest.clone(), (admission, counts.clone()));
    info!("Started collector on {}", options.listen);
    debug!("Ready ! Waiting for packets...");

    counts.beginning().expect(options.expect_nodes);
    if killed.is_some() {
        counts.beginning().has_begun(started);
    }
    nodes::tell_when_all_capture(options.expect_nodes, counts.clone());
    let mut running = begin(&options, path.as_deref(), (started, killed.as_ref()))?;
    let source =
        sightings.map(|intake| PacketSource { started, counts: counts.clone(), tally: tally.clone(), intake, who });
    let mut view = Some(match source.zip(path) {
        Some((source, path)) => View::packets(&options, &path, source)?,
        None => {
            let (told, heard) = (tally.clone(), counts.clone());
            let line = move || console.note(&summary::line(started.elapsed(), &told, &heard.totals()));
            View::Progress(tokio::spawn(each_second(line)))
        }
    });
    claim.into_iter().for_each(Claim::keep);
    let end = until_end(
        (&options, Period::of(&options)),
        (started, &counts),
        &mut signals,
        &limit,
        writer_thread.failed(),
        &mut running,
        &mut view,
    )
    .await;
    stdio::stdout().hurry();
    if matches!(end, End::Lease(_)) {
        crate::summary::mute();
    }
    stop_view(view).await;
    let in_vain = || end.is_in_vain(&options, &counts) && tally.packets.load(Relaxed) == 0;
    if !in_vain() {
        console.say(&end.farewell());
    }
    let first = end.signal();
    counts.end();
    if !matches!(end, End::Failed) {
        ingest.stop_agents();
        drain(&counts, writer_thread.failed(), &mut signals).await;
    }
    server.stop().await;
    ingest.close();
    counts.pushed().end(chrono::Utc::now());
    let (files, done) = writer_thread.end(&mut signals, first).await;
    sent.iter().for_each(Control::forget_secrets);
    if let Some(running) = running {
        running.end(&done.as_ref().map_or_else(|error| format!("failed: {error}"), |_| end.reason()));
    }
    if in_vain() {
        discard(&files);
        done?;
        return end.without_agents();
    }
    let account = summary::account(took(started, &counts), &end.reason(), &tally, &counts.totals(), &files);
    let outages = killed.iter().flat_map(|killed| killed.lines("packets")).map(|line| format!("  {line}"));
    for line in account.into_iter().chain(outages).chain(gaps(&options, names.as_deref(), &counts, "packets")) {
        console.say(&line);
    }
    if done? == Done::Gone {
        console.say("  standard output no longer has a reader");
    }
    keep(&options, Some(&end)).await
}

/// The way to the screen, where there is a terminal for it that nothing else is written to.
fn screen(options: &Options, into_file: bool) -> Option<(Feed<Sightings>, Intake<Sightings>)> {
    (into_file && has_screen(options)).then(packet_queue)
}

/// Asks the cluster's names.
fn who(names: Arc<Names>) -> NameLookup {
    Arc::new(move |question| names.find(question))
}

/// Where the files go; None for standard output.
fn folder(options: &Options, wanted: &PacketOptions) -> anyhow::Result<Option<Folder>> {
    if !wanted.to_stdout {
        return Ok(Some(Folder::prepare(&options.output_dir, "pcap")?));
    }
    if std::io::stdout().is_terminal() {
        bail!("standard output is a terminal: send it to a program, such as `| tshark -r -`, or leave -w out");
    }
    Ok(None)
}

/// The description of the capture in the files.
fn section(options: &Options) -> Section {
    let os = nix::sys::utsname::uname().map_or_else(
        |_| std::env::consts::OS.to_owned(),
        |names| format!("{} {}", names.sysname().to_string_lossy(), names.release().to_string_lossy()),
    );
    let comment = match options.options.as_str() {
        "" => String::new(),
        asked => format!("Options: {asked}\nNamespace: {}", options.namespace),
    };
    Section { os, comment }
}

/// The writer's thread.
struct WriterThread {
    failed: Arc<Notify>,
    ended: oneshot::Receiver<(Vec<PathBuf>, Result<Done, SinkError>)>,
}

impl WriterThread {
    fn start(setup: Setup, outlet: Outlet, output_file: OutputFile) -> anyhow::Result<Self> {
        let writer = Writer::new(setup, outlet, output_file)?;
        let (failed, (say, ended)) = (Arc::<Notify>::default(), oneshot::channel());
        let notify = failed.clone();
        std::thread::Builder::new().name("packets".into()).spawn(move || drop(say.send(writer.run(&notify))))?;
        Ok(Self { failed, ended })
    }

    /// Returns when it has failed.
    fn failed(&self) -> impl Future<Output = ()> + use<> {
        let failed = self.failed.clone();
        async move { failed.notified().await }
    }

    /// Waits until all is written. A user who asks again does not wait for a reader that is slow.
    async fn end(&mut self, signals: &mut Signals, mut first: Option<Kind>) -> (Vec<PathBuf>, Result<Done, SinkError>) {
        loop {
            tokio::select! {
                ended = &mut self.ended => return ended.unwrap_or_else(|_| (vec![], Err(SinkError::Panicked))),
                kind = signals.next() => {
                    if first.is_some_and(|first| first.hurried_by(kind)) {
                        return (vec![], Err(SinkError::Hurried));
                    }
                    first = first.or(Some(kind));
                }
            }
        }
    }
}

/// Where words to the user go.
#[derive(Clone, Copy)]
struct Console {
    /// Packets have standard output for themselves.
    to_stderr: bool,
    /// There are none.
    quiet: bool,
}

impl Console {
    fn say(self, line: &str) {
        if self.quiet {
            return;
        }
        if self.to_stderr {
            crate::summary::complain(line);
        } else {
            crate::summary::say(line);
        }
    }

    /// Prints something that is not worth a wait.
    fn note(self, line: &str) {
        let stream = if self.to_stderr { stdio::stderr() } else { stdio::stdout() };
        stream.put(format!("{line}\n"));
    }
}
