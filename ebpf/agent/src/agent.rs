//! From settings to a running agent, and to its end.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    time::timeout,
};
use tracing::{info, warn};

use crate::{
    attach::{EndSwitch, Probes},
    conntrack::Translations,
    descriptors,
    error::AgentError,
    features::{self, Switches},
    filter::Filter,
    kernel,
    manager::Manager,
    memory,
    mode::{self, CaptureMode, DrainTask, Signals},
    netns, optional,
    pushed::{self, Pushed},
    rules::{Rule, sets::Sets},
    scope::Scope,
    settings::Settings,
    shared::Shared,
    sys,
    tracepoint::Hooks,
};

/// How long to wait for the collector before capturing without it.
const INTRODUCTION: Duration = Duration::from_secs(1);

/// Runs until SIGTERM, SIGINT or SIGHUP. When it returns, nothing is attached and all that could be sent is sent.
pub async fn run(settings: Settings) -> Result<(), AgentError> {
    // Signals that come while the kernel programs are being loaded must not kill half-way.
    let mut end = EndSignals::new()?;
    kernel::check_proc()?;
    let follow_netns = netns::may_enter_others();
    let mut switches = Switches {
        max_flows: settings.max_flows,
        sampling: settings.sampling,
        follow_netns,
        // One may come from the collector at any time.
        filter: true,
        sets: settings.rules.iter().any(Rule::has_sets),
        dns_port: settings.dns_port,
        rtt: settings.rtt,
        drops: settings.drops,
        snaplen: settings.snaplen,
        sockets: settings.process,
    };
    descriptors::raise();
    check_memory(&settings)?;
    let (mut ebpf, left_out) = optional::load(&mut switches, &settings.optional, features::load)?;
    left_out.iter().for_each(|what| warn!("not captured: {what}"));
    let settings = Settings { rtt: switches.rtt, drops: switches.drops, ..settings };
    let scope = Scope::new(own_netns(follow_netns)?, settings.selection.wants_all());
    let translations = (settings.translations && settings.snaplen.is_none()).then(Translations::default);
    let shared = Arc::new(Shared::new(scope, follow_netns, switches.sockets, translations));
    // Before the collector hears of this agent: its time begins when all is watched.
    shared.watching.begin();
    shared.watching.lacks(left_out);
    let (mode, hooks) = match settings.snaplen {
        Some(snaplen) => mode::packets(&settings, &mut ebpf, &shared, snaplen)?,
        None => mode::flows(&settings, &mut ebpf, &shared)?,
    };
    let mut filter = Filter::take(&mut ebpf, settings.sampling)?;
    let first = pushed::until_sets_come(&settings.rules);
    filter.replace(&first, &Sets::default()).map_err(AgentError::Filter)?;
    let pushed = Pushed::start(filter, settings.rules.clone());
    let end_switch = EndSwitch::take(&mut ebpf)?;
    let probes = Probes::new(ebpf, features::programs(&switches), settings.attach_mode, settings.direction)?;

    let (known, mut is_known) = watch::channel(false);
    let (lost, is_lost) = watch::channel(false);
    let (stop_asked, stop_wanted) = watch::channel(false);
    let (ending, is_ending) = watch::channel(false);
    let CaptureMode { work, send } = mode;
    let exporting = tokio::spawn(send(Signals { known, lost, stop_asked, ending: is_ending, pushed }));
    // What is counted before the collector knows of this agent could be missed if the capture ended right then. But
    // a collector that is late is no reason to miss the traffic.
    let _ = timeout(INTRODUCTION, is_known.wait_for(|known| *known)).await;

    let sources = StopSources { end: &mut end, stop: stop_wanted };
    let result = capture(&settings, (probes, hooks, end_switch), work, &shared, sources, is_lost).await;
    ending.send_replace(true);
    let _ = exporting.await;
    let (why, attached) = result?;
    // Nothing is counted any more, and to take the programs off may take longer than the collector waits.
    tokio::task::block_in_place(|| drop(attached));
    if why == Why::Collector {
        // In a cluster, to exit would be to be started again.
        info!("the capture has ended; waiting to be stopped");
        end.wait().await;
    }
    Ok(())
}

/// Refuses to begin where the agent would be killed.
fn check_memory(settings: &Settings) -> Result<(), AgentError> {
    let needed = memory::needed(settings);
    match memory::limit() {
        Some(limit) if limit < needed => Err(AgentError::Memory {
            limit: limit >> 20,
            needed: needed.div_ceil(1 << 20),
            max_flows: settings.max_flows,
        }),
        _ => Ok(()),
    }
}

/// The number of this process's network namespace; None if all are followed.
fn own_netns(follow_others: bool) -> io::Result<Option<u32>> {
    if follow_others { Ok(None) } else { Ok(Some(netns::Netns::own()?.inode)) }
}

/// What ended a capture, or a part of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Signal,
    Collector,
    /// The collector is silent.
    Lost,
}

/// From where a capture is ended.
struct StopSources<'a> {
    end: &'a mut EndSignals,
    /// By the collector.
    stop: watch::Receiver<bool>,
}

/// What is attached to the kernel.
type Attached = (Probes, Hooks);

/// Attaches, and drains until the end. Then nothing is counted any more, though the programs are still attached. While the collector is
/// silent for too long, nothing is attached and nothing is done.
async fn capture(
    settings: &Settings,
    (mut probes, mut hooks, mut end_switch): (Probes, Hooks, EndSwitch),
    mut work: DrainTask,
    shared: &Shared,
    mut sources: StopSources<'_>,
    mut lost: watch::Receiver<bool>,
) -> Result<(Why, Attached), AgentError> {
    let mut required = settings.require_interfaces;
    let mut off: Option<Instant> = None;
    loop {
        let manager = Manager::start(settings, probes, shared, std::mem::take(&mut required)).await?;
        shared.unwatched_since(off.take());
        let (draining, mut drained) = Draining::start(work);
        let why = tokio::select! {
            why = sources.wait() => why,
            // The thread has failed; its error comes with the join below.
            _ = &mut drained => Why::Signal,
            _ = lost.wait_for(|lost| *lost) => Why::Lost,
        };
        let since = Instant::now();
        // First the end of counting, everywhere at once, then the last drain: so nothing can be counted after it.
        end_switch.set(true);
        sys::wait_for_running_programs();
        probes = manager.stop();
        work = tokio::task::block_in_place(|| draining.stop())?;
        if why == Why::Collector {
            return Ok((why, (probes, hooks)));
        }
        // Where the collector has not ended the capture, its last word is to be the last of the agent.
        tokio::task::block_in_place(|| probes.detach_all());
        hooks.detach();
        if why == Why::Signal {
            return Ok((why, (probes, hooks)));
        }
        shared.watching.set(0);
        warn!("no collector for {:?}: off all interfaces until it answers", settings.lost_timeout);
        tokio::select! {
            why = sources.wait() => {
                shared.unwatched_since(Some(since));
                return Ok((why, (probes, hooks)));
            }
            _ = lost.wait_for(|lost| !*lost) => off = Some(since),
        }
        info!("the collector answers again: capturing on");
        end_switch.set(false);
        probes.hook(&mut hooks)?;
    }
}

/// SIGTERM, SIGINT and SIGHUP.
struct EndSignals(Signal, Signal, Signal);

impl EndSignals {
    fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?))
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
            _ = self.2.recv() => {}
        }
    }
}

impl StopSources<'_> {
    async fn wait(&mut self) -> Why {
        tokio::select! {
            () = self.end.wait() => Why::Signal,
            _ = self.stop.wait_for(|stop| *stop) => Why::Collector,
        }
    }
}

/// The thread that empties the maps, or the ring buffer.
struct Draining {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(DrainTask, io::Result<()>)>,
}

impl Draining {
    /// The receiver resolves when the thread ends, asked or not.
    fn start(mut work: DrainTask) -> (Self, oneshot::Receiver<()>) {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, receiver) = oneshot::channel::<()>();
        let flag = stop.clone();
        let thread = std::thread::spawn(move || {
            let result = work(&flag);
            drop(ended);
            (work, result)
        });
        (Self { stop, thread }, receiver)
    }

    fn stop(self) -> Result<DrainTask, AgentError> {
        self.stop.store(true, Relaxed);
        let (work, result) = self.thread.join().expect("the draining thread does not panic");
        result.map(|()| work).map_err(AgentError::Drain)
    }
}
