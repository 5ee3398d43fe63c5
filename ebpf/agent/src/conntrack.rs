//! Address translation: the connections that the kernel translates, so that what is seen of one before and after is known to be
//! the same packets.
//!
//! Nothing of this is on the way of packets, and nothing holds up the draining of the maps: the connections are read and the records
//! completed on a thread of its own, between the draining and the queue to the collector. A machine without translation has an
//! empty table, and its records go through as they are.

use std::{
    future, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, sync_channel},
    },
    time::Duration,
};

use crate::{descriptors, flow::FlowRecord, netns::Netns, sys::now_ns, translated::Unknown};

mod listener;
mod message;
mod resolve;
mod source;
mod table;
mod tuple;

use listener::Listener;
pub(crate) use message::read_any;
use resolve::Resolver;
use source::Source;
use table::Table;

/// Most connections that are kept: about 18 MiB.
const MOST: usize = 200_000;
/// Windows that wait to be completed.
const WAITING: usize = 4;
/// How often the kernel's messages are read.
const LISTEN: Duration = Duration::from_millis(100);
/// Longer than it takes a packet from its first interface to where its connection is noted, on a busy machine too. A window waits for
/// this, so that what
/// was seen in it is known.
const SETTLE: Duration = Duration::from_millis(100);
/// How often to look whether the kernel tracks connections by now.
const RETRY: Duration = Duration::from_secs(2);

/// The sockets that connections are read from; shared by the threads that follow namespaces and that read.
#[derive(Clone, Default)]
pub struct Translations {
    /// Sockets that are not read yet.
    opened: Arc<Mutex<Vec<Arc<Source>>>>,
    /// What could not be found out.
    pub unknown: Unknown,
}

impl Translations {
    /// Begins to follow the namespace of this thread, which is `netns`, until what is returned is dropped.
    pub(crate) fn open(&self, netns: &Netns) -> Option<Arc<Source>> {
        if !source::is_tracking() {
            return None;
        }
        let label = netns.name().unwrap_or("this machine").to_owned();
        if !source::reports_new() {
            self.unknown
                .add(&label, "connections that begin are not reported (net.netfilter.nf_conntrack_events is 0)");
        }
        // Interfaces come first.
        if descriptors::spare() == 0 {
            self.unknown.add(&label, &format!("no file descriptor is left (the limit is {})", descriptors::limit()));
            return None;
        }
        match Source::open(netns.inode, label.clone()) {
            Ok(source) => {
                let source = Arc::new(source);
                lock(&self.opened).push(source.clone());
                Some(source)
            }
            Err(error) => {
                self.unknown.add(&label, &refusal(&error));
                None
            }
        }
    }

    /// Continues with what [`Translations::open`] returned, or opens it as soon as the kernel begins to track connections.
    pub(crate) async fn follow(&self, netns: &Netns, mut source: Option<Arc<Source>>) {
        let mut tracking = source.is_some() || source::is_tracking();
        while !tracking {
            tokio::time::sleep(RETRY).await;
            tracking = source::is_tracking();
            if tracking {
                source = netns.run(|| self.open(netns)).ok().flatten();
            }
        }
        future::pending::<()>().await;
        drop(source);
    }
}

/// Why a namespace is not followed.
fn refusal(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "the connection tracking may not be read (CAP_NET_ADMIN)".into(),
        Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOENT) => {
            "the kernel does not report its connections (module nf_conntrack_netlink)".into()
        }
        _ => format!("the connection tracking cannot be read: {error}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Message {
    /// Records of a window, and when it ended.
    Window(Vec<FlowRecord>, u64),
    /// Answered when all that came before has gone on.
    Flush(SyncSender<()>),
}

/// The thread that completes records. It ends when this is dropped.
pub struct Translator(SyncSender<Message>);

impl Translator {
    /// Starts it; records are passed on to `next`, in their order but for those of packets that were on their way when a window ended.
    pub fn start(translations: Translations, next: impl FnMut(Vec<FlowRecord>) + Send + 'static) -> Self {
        let (sender, messages) = sync_channel(WAITING);
        std::thread::spawn(move || run(&messages, translations, next));
        Self(sender)
    }

    /// Hands the records of a window over.
    ///
    /// # Errors
    /// The records, if the thread is no more.
    pub fn pass(&self, records: Vec<FlowRecord>) -> Result<(), Vec<FlowRecord>> {
        match self.0.send(Message::Window(records, now_ns())) {
            Err(SendError(Message::Window(records, _))) => Err(records),
            _ => Ok(()),
        }
    }

    /// Returns when all records have gone on.
    pub fn flush(&self) {
        let (done, wait) = sync_channel::<()>(0);
        if self.0.send(Message::Flush(done)).is_ok() {
            // Nothing is ever sent: the other end is let go of.
            let _ = wait.recv();
        }
    }
}

fn run(messages: &Receiver<Message>, translations: Translations, mut next: impl FnMut(Vec<FlowRecord>)) {
    let mut listener = Listener::new(translations);
    let mut resolver = Resolver::new(Table::new(MOST));
    loop {
        match messages.recv_timeout(LISTEN) {
            Ok(Message::Window(records, end_ns)) => {
                let settled = SETTLE.saturating_sub(Duration::from_nanos(now_ns().saturating_sub(end_ns)));
                if listener.is_following() {
                    std::thread::sleep(settled);
                }
                listener.read(&mut resolver.table);
                next(resolver.window(records, end_ns));
            }
            Ok(Message::Flush(done)) => {
                next(resolver.finish());
                drop(done);
            }
            Err(RecvTimeoutError::Timeout) => listener.read(&mut resolver.table),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
}

#[cfg(test)]
mod tests;
