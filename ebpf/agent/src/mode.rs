//! What there is to do for a capture of flows or of packets, in addition to watching the interfaces: emptying what the kernel
//! programs fill, and sending.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use aya::Ebpf;
use futures_util::future::BoxFuture;
use netobserv_wire::netobserv::Encoding;
use tokio::sync::watch;
use tracing::warn;

use crate::{
    addresses::Addresses,
    btf::Btf,
    conntrack::Translator,
    dns::Dns,
    drain::{Drainer, Maps},
    drops::{self, Causes, Drops},
    export::{
        Exporter, Outbox,
        flows::{FlowOutbox, Queue},
    },
    flow::FlowRecord,
    kernel::KernelError,
    pace::Pace,
    packets::{
        self,
        causes::CauseList,
        outbox::PacketOutbox,
        queue::Queue as PacketQueue,
        reader::{Parts, Reader, Ring},
        table::InterfaceTable,
    },
    process::{AttributionThread, sockets::Sockets},
    pushed::Pushed,
    record::{Recorder, own_address},
    rtt::{self, Rtt},
    scope::Scope,
    settings::{Settings, Target},
    shared::Shared,
    tracepoint::Hooks,
};

/// Most flows that wait for the collector: about 30 MiB.
const QUEUE: usize = 200_000;

/// Both halves of it.
pub(crate) struct CaptureMode {
    /// For a thread of its own.
    pub(crate) work: DrainTask,
    /// Sends until the end.
    pub(crate) send: ExportTask,
}

/// Takes out of the kernel what the programs put there until it is asked to stop, and then what is left. Can be begun again.
pub(crate) type DrainTask = Box<dyn FnMut(&AtomicBool) -> io::Result<()> + Send>;

/// Sends what the work has found.
pub(crate) type ExportTask = Box<dyn FnOnce(Signals) -> BoxFuture<'static, ()> + Send>;

/// Between the exporter and the rest.
pub(crate) struct Signals {
    /// Set when the collector has answered for the first time.
    pub(crate) known: watch::Sender<bool>,
    /// Set while the collector has been silent for too long.
    pub(crate) lost: watch::Sender<bool>,
    /// Set when the collector asks to stop.
    pub(crate) stop_asked: watch::Sender<bool>,
    /// True when what is left is the last.
    pub(crate) ending: watch::Receiver<bool>,
    /// The filter that the collector may send.
    pub(crate) pushed: Pushed,
}

/// Printed before the reason.
pub(crate) const NO_NAMES: &str = "flows have no names of processes";

/// Counting flows.
pub(crate) fn flows(
    settings: &Settings,
    ebpf: &mut Ebpf,
    shared: &Shared,
) -> Result<(CaptureMode, Hooks), KernelError> {
    let maps = Maps::take(ebpf)?;
    let dns = (settings.dns_port != 0).then(|| Dns::new(ebpf, settings.dns_patience)).transpose()?;
    let (maps, hooks) = hook(settings, ebpf, maps.with_dns(dns), &shared.scope)?;
    let queue = Arc::new(Queue::new(QUEUE));
    let named = queue.clone();
    let sockets = shared.knows_sockets.then(|| Sockets::start(ebpf));
    let sockets = sockets.and_then(|sockets| sockets.inspect_err(|error| warn!("{NO_NAMES}: {error}")).ok());
    let naming = sockets.map(|sockets| Arc::new(AttributionThread::start(sockets, move |records| named.push(records))));
    let line = Line { naming, queue: queue.clone() };
    // First, as it needs the windows in their order.
    let translated = line.clone();
    let translations = shared.translations.clone();
    let translator = translations.map(|all| Translator::start(all, move |records| translated.pass(records)));
    let outbox = FlowOutbox {
        recorder: Recorder::new(shared.names.clone(), settings.agent_ip.or_else(own_address)),
        queue: queue.clone(),
        unknown: shared.translations.as_ref().map(|translations| translations.unknown.clone()),
        message_max: settings.message_max_flows,
        sending: vec![],
    };
    let mut drainer = Drainer::new(maps, settings.max_flows, shared.losses.clone());
    let mut pace = Pace::new(settings.window);
    let work = Box::new(move |stop: &AtomicBool| {
        let drained = drainer.run(pace.window(), stop, |records| {
            let left = match &translator {
                Some(translator) => translator.pass(records),
                None => Err(records),
            };
            left.unwrap_or_else(|records| line.pass(records));
            let window = pace.next(queue.fill());
            queue.record_window(window, pace.is_stretched());
            window
        });
        translator.iter().for_each(Translator::flush);
        line.naming.iter().for_each(|naming| naming.flush());
        drained
    });
    Ok((CaptureMode { work, send: sender(settings, shared, outbox) }, hooks))
}

/// To the queue, by way of the names if there are any to be had.
#[derive(Clone)]
struct Line {
    naming: Option<Arc<AttributionThread>>,
    queue: Arc<Queue>,
}

impl Line {
    fn pass(&self, records: Vec<FlowRecord>) {
        let nameless = match &self.naming {
            Some(naming) => naming.pass(records),
            None => Err(records),
        };
        // Where names are late, these come before those that wait for them, which does no harm.
        nameless.unwrap_or_else(|records| self.queue.push(records));
    }
}

/// Copying packets, at most `snaplen` bytes of each.
pub(crate) fn packets(
    settings: &Settings,
    ebpf: &mut Ebpf,
    shared: &Shared,
    snaplen: u32,
) -> Result<(CaptureMode, Hooks), KernelError> {
    let (mut causes, mut hooks) = (Causes::default(), Hooks::default());
    if settings.drops {
        causes = Causes::find(&Btf::of_this_kernel()?)?.unwrap_or_default();
        hooks.add(ebpf, packets::DROPS_PROGRAM)?;
    }
    let ring = Ring::take(ebpf, settings.drops)?;
    let (table, causes) = (InterfaceTable::new(shared.names.clone(), &settings.node), CauseList::new(causes));
    let queue = Arc::new(PacketQueue::new(packets::QUEUE_BYTES, table.clone()));
    let outbox = PacketOutbox {
        queue: queue.clone(),
        table: table.clone(),
        causes: causes.clone(),
        encoding: if matches!(settings.target, Target::Unix(_)) { Encoding::Plain } else { Encoding::Zstd },
        sending: vec![],
    };
    let (scope, losses) = (shared.scope.clone(), shared.losses.clone());
    let mut reader = Reader::new(ring, Parts { scope, table, causes, queue, losses, snaplen });
    Ok((CaptureMode { work: Box::new(move |stop| reader.run(stop)), send: sender(settings, shared, outbox) }, hooks))
}

/// Starts to send when it gets its signals.
fn sender(settings: &Settings, shared: &Shared, outbox: impl Outbox) -> ExportTask {
    let (losses, watching, unwatched_ms) =
        (shared.losses.clone(), shared.watching.clone(), shared.unwatched_ms.clone());
    let (target, node) = (settings.target.clone(), settings.node.clone());
    let (heartbeat, patience) = (settings.window, settings.lost_timeout);
    Box::new(move |Signals { known, lost, stop_asked, ending, pushed }| {
        let exporter = Exporter {
            outbox,
            losses,
            watching,
            unwatched_ms,
            node,
            addresses: Addresses::default(),
            heartbeat,
            patience,
            known,
            lost,
            stop_asked,
            pushed,
        };
        Box::pin(exporter.run(target, ending))
    })
}

/// Switches on the features whose programs sit at no interface.
fn hook(settings: &Settings, ebpf: &mut Ebpf, maps: Maps, scope: &Scope) -> Result<(Maps, Hooks), KernelError> {
    let (mut rtt, mut drops, mut hooks) = (None, None, Hooks::default());
    if settings.rtt {
        rtt = Some(Rtt::take(ebpf)?);
        hooks.add(ebpf, rtt::PROGRAM)?;
    }
    if settings.drops {
        let causes = Causes::find(&Btf::of_this_kernel()?)?.unwrap_or_default();
        drops = Some(Drops::take(ebpf, causes, scope.clone())?);
        hooks.add(ebpf, drops::PROGRAM)?;
    }
    Ok((maps.with_hooks(rtt, drops), hooks))
}
