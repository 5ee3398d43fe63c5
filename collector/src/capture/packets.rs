//! One capture of packets, from its first check to its last line.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::bail;
use netobserv_contract::files::Claim;
use netobserv_stdio as stdio;
use tokio::sync::{Notify, oneshot};
use tracing::debug;

use super::end::until_done;
use super::run::Run;
use super::{End, Period, Server, discard, keep, predicate, speakers, stop_view, took, until_end};
use crate::cli::Options;
use crate::cli::packets::PacketOptions;
use crate::control::{Control, Running};
use crate::enrich::Names;
use crate::feed::{Feed, Intake};
use crate::ingest::{admission::Admission, listen, packets::PacketIngest};
use crate::output::Folder;
use crate::packets::filter::Filter;
use crate::packets::screen::{Sightings, packet_queue};
use crate::packets::summary;
use crate::packets::talks::NameLookup;
use crate::packets::tally::Tally;
use crate::packets::writer::{Done, Setup, Writer};
use crate::packets::{intake, intake::Outlet};
use crate::signals::{Kind, Signals};
use crate::sink::SinkError;
use crate::sink::output_file::OutputFile;
use crate::sink::pcapng::Section;
use crate::tui::PacketSource;
use crate::view::{View, each_second, has_screen};

/// Captures until a limit, a signal or an error.
pub(crate) async fn capture(options: Options, wanted: PacketOptions) -> anyhow::Result<()> {
    let run = match Run::new(options)? {
        Ok(run) => run,
        Err(options) => return keep(&options, None).await,
    };
    let (mut packets, claim, sightings) = Packets::start(run, wanted).await?;
    let mut running = packets.run.begin(packets.path.as_deref())?;
    let mut view = Some(packets.view(sightings)?);
    claim.into_iter().for_each(Claim::keep);
    let end = packets.until_end(&mut running, &mut view).await;
    packets.finish(end, running, view).await
}

/// A capture of packets at work.
struct Packets {
    run: Run,
    /// The first file; None for standard output.
    path: Option<PathBuf>,
    console: Console,
    tally: Arc<Tally>,
    who: Option<NameLookup>,
    server: Server,
    ingest: PacketIngest,
    writer: WriterThread,
    /// Secrets of TLS that are sent from outside.
    sent: Option<Control>,
}

impl Packets {
    /// Makes the first file and receives from agents.
    async fn start(
        mut run: Run,
        mut wanted: PacketOptions,
    ) -> anyhow::Result<(Self, Option<Claim>, Option<Intake<Sightings>>)> {
        let sent = wanted.keylog_sent.then(|| Control::of(&run.options.output_dir));
        wanted.keylog = wanted.keylog.or_else(|| sent.as_ref().map(Control::keylog));
        let console = Console { to_stderr: wanted.to_stdout, quiet: run.options.quiet };
        let folder = folder(&run.options, &wanted)?;
        let listener = listen::bind(&run.options.listen).await?;
        let admission = Admission::open(&run.options.security)?;
        run.follow("Packet").await?;

        let Run { options, counts, names, .. } = &run;
        let tally = Arc::<Tally>::default();
        let (intake, outlet) = intake::way();
        let (claim, path, output_file) = first_file(folder, &run, &wanted)?;
        let who = names.clone().map(who);
        let (screen, sightings) = screen(options, path.is_some()).unzip();
        let setup = Setup {
            section: section(options),
            wanted: Filter::new(predicate(options, counts), &options.queries, names.as_ref()),
            filter: options.options.clone(),
            who: who.clone(),
            tally: tally.clone(),
            limit: (options.bytes_left(), run.limit.clone()),
            screen,
            options: wanted,
        };
        let writer = WriterThread::start(setup, outlet, output_file)?;
        let ingest = PacketIngest::new(intake, counts.clone(), tally.clone(), speakers(options, names.as_ref()));
        let server = run.serve(listener, ingest.clone(), admission).await;
        debug!("Ready ! Waiting for packets...");
        Ok((Self { run, path, console, tally, who, server, ingest, writer, sent }, claim, sightings))
    }

    /// The screen, or a line of progress each second.
    fn view(&self, sightings: Option<Intake<Sightings>>) -> anyhow::Result<View> {
        let (started, counts, tally, who) =
            (self.run.started, self.run.counts.clone(), self.tally.clone(), self.who.clone());
        let Some((intake, path)) = sightings.zip(self.path.as_deref()) else {
            let console = self.console;
            let line = move || console.note(&summary::line(started.elapsed(), &tally, &counts.totals()));
            return Ok(View::Progress(tokio::spawn(each_second(line))));
        };
        View::packets(&self.run.options, path, PacketSource { started, counts, tally, intake, who })
    }

    async fn until_end(&mut self, running: &mut Option<Running>, view: &mut Option<View>) -> End {
        let Run { options, counts, signals, limit, started, .. } = &mut self.run;
        let (limits, clock) = ((&*options, Period::of(options)), (*started, &**counts));
        until_end(limits, clock, signals, limit, self.writer.failed(), running, view).await
    }

    /// Completes the files, and prints what was captured.
    async fn finish(mut self, end: End, running: Option<Running>, view: Option<View>) -> anyhow::Result<()> {
        Run::hurries(&end);
        stop_view(view).await;
        let in_vain =
            |of: &Run, tally: &Tally| end.is_in_vain(&of.options, &of.counts) && tally.packets.load(Relaxed) == 0;
        if !in_vain(&self.run, &self.tally) {
            self.console.say(&end.farewell());
        }
        let first = self.run.close(&end, (self.server, self.ingest), self.writer.failed()).await;
        let (files, done) = self.writer.end(&mut self.run.signals, first).await;
        self.sent.iter().for_each(Control::forget_secrets);
        if let Some(running) = running {
            running.end(&done.as_ref().map_or_else(|error| format!("failed: {error}"), |_| end.reason()));
        }
        if in_vain(&self.run, &self.tally) {
            discard(&files);
            done?;
            return end.without_agents();
        }
        let (time, totals) = (took(self.run.started, &self.run.counts), self.run.counts.totals());
        let account = summary::account(time, &end.reason(), &self.tally, &totals, &files);
        account.into_iter().chain(self.run.missing("packets")).for_each(|line| self.console.say(&line));
        if done? == Done::Gone {
            self.console.say("  standard output no longer has a reader");
        }
        keep(&self.run.options, Some(&end)).await
    }
}

/// The first file with its name, or standard output.
fn first_file(
    folder: Option<Folder>,
    run: &Run,
    wanted: &PacketOptions,
) -> anyhow::Result<(Option<Claim>, Option<PathBuf>, OutputFile)> {
    let (ending, several) = (wanted.format.ending(), wanted.rotation.is_some());
    let claim = folder.map(|folder| folder.packets(&run.options.filename, run.start, ending, several)).transpose()?;
    let Some(mut claim) = claim else { return Ok((None, None, OutputFile::pipe())) };
    let path = claim.path(&format!(".{ending}"));
    let first = (claim.paths()[0].clone(), claim.files().swap_remove(0));
    let output_file = OutputFile::disk(path.clone(), wanted.rotation, first);
    Ok((Some(claim), Some(path), output_file))
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
    async fn end(&mut self, signals: &mut Signals, first: Option<Kind>) -> (Vec<PathBuf>, Result<Done, SinkError>) {
        let hurried = || Some(Ok((vec![], Err(SinkError::Hurried))));
        let ended = until_done(&mut self.ended, signals, first, hurried).await;
        ended.unwrap_or_else(|_| (vec![], Err(SinkError::Panicked)))
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
