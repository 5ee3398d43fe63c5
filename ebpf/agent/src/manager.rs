//! The thread that attaches and detaches: entering namespaces blocks, and must not hold up the rest.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::Path,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{mpsc::UnboundedReceiver, watch},
};
use tracing::{debug, info, warn};

use crate::{
    attach::{AttachError, Probes, Seen},
    descriptors,
    error::AgentError,
    interfaces::{InterfaceId, Link, Names, Selection},
    netns,
    scope::Scope,
    settings::Settings,
    shared::Shared,
    watch::{self as links, Event, Interface},
    watching::Watching,
};

/// How often to look whether the programs are still at the head of their interfaces.
const LOOK: Duration = Duration::from_secs(1);
/// Looking takes at most one part in so many of the time.
const LOOK_SHARE: u32 = 20;
/// How often progress is reported while attaching.
const PROGRESS: Duration = Duration::from_millis(250);
/// Until then an interface that could not be watched at first counts as watched from the start.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The thread at work.
pub(crate) struct Manager {
    thread: JoinHandle<Probes>,
    stop: watch::Sender<bool>,
}

impl Manager {
    /// Lists the interfaces, and starts to attach to them.
    ///
    /// # Errors
    /// The interfaces cannot be followed, or one that is `required` is not there.
    pub(crate) async fn start(
        settings: &Settings,
        probes: Probes,
        shared: &Shared,
        required: bool,
    ) -> Result<Self, AgentError> {
        let (mut events, namespaces) = links::start(shared.follow_netns, shared.translations.clone())?;
        let (stop, stopped) = watch::channel(false);
        let mut state = State {
            probes,
            selection: settings.selection.clone(),
            names: shared.names.clone(),
            scope: shared.scope.clone(),
            watching: shared.watching.clone(),
            present: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            labels: HashMap::new(),
            failed: HashMap::new(),
            stopped,
        };
        shared.watching.begin();
        let (mut listed, mut first) = (0, vec![]);
        while listed < namespaces
            && let Some(event) = events.recv().await
        {
            match event {
                Event::Listed => listed += 1,
                event => {
                    if let Event::Added(interface) = &event {
                        state.present.insert(interface.name.clone());
                        if let Link::Unknown(number) = interface.link {
                            state.unreadable.insert(interface.name.clone(), AttachError::LinkType(number).to_string());
                        }
                    }
                    first.push(event);
                }
            }
        }
        if required {
            state.require()?;
        }
        let runtime = Handle::current();
        let thread = std::thread::spawn(move || state.run(&runtime, first, events));
        Ok(Self { thread, stop })
    }

    /// Ends the thread. What is attached stays so.
    pub(crate) fn stop(self) -> Probes {
        self.stop.send_replace(true);
        tokio::task::block_in_place(|| self.thread.join()).expect("the attaching thread does not panic")
    }
}

struct State {
    probes: Probes,
    selection: Selection,
    names: Names,
    scope: Scope,
    watching: Watching,
    /// Names that were there when the listing ended.
    present: BTreeSet<String>,
    /// Those of them whose frames cannot be read, and why.
    unreadable: BTreeMap<String, String>,
    /// What watched interfaces are called in reports.
    labels: HashMap<InterfaceId, String>,
    /// Since when an interface could not be watched, and why.
    failed: HashMap<InterfaceId, (Instant, String)>,
    stopped: watch::Receiver<bool>,
}

impl State {
    fn run(mut self, runtime: &Handle, first: Vec<Event>, mut events: UnboundedReceiver<Event>) -> Probes {
        self.apply(first);
        if !*self.stopped.borrow() {
            self.report();
            self.watching.begun();
        }
        let mut next_look = Instant::now() + LOOK;
        loop {
            let mut stopped = self.stopped.clone();
            let batch = runtime.block_on(async {
                let mut batch = vec![];
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => None,
                    () = tokio::time::sleep_until(next_look.into()) => Some(batch),
                    received = events.recv_many(&mut batch, 1024) => (received > 0).then_some(batch),
                }
            });
            match batch {
                Some(batch) if batch.is_empty() => next_look = self.check(),
                Some(batch) => self.apply(batch),
                None => return self.probes,
            }
        }
    }

    /// Interfaces that come together are attached together.
    fn apply(&mut self, events: Vec<Event>) {
        let mut waiting = vec![];
        for event in events {
            match event {
                Event::Added(interface) => waiting.extend(self.wanted(interface)),
                event => {
                    self.attach(std::mem::take(&mut waiting));
                    self.apply_other(event);
                }
            }
        }
        self.attach(waiting);
    }

    /// The interface, if it is to be watched and is not.
    fn wanted(&mut self, interface: Interface) -> Option<Interface> {
        let Interface { place, name, netns, .. } = &interface;
        self.names.set(*place, name);
        self.scope.follow(netns.inode);
        if !self.selection.matches(name) {
            if let Some(before) = self.labels.get(place).cloned() {
                self.watching.miss(before, format!("its new name, {name}, is not among those to capture"));
            }
            self.leave(*place);
            return None;
        }
        if !interface.up && matches!(interface.link, Link::Unknown(_)) {
            // Nothing passes, and there is news of it when it is up.
            return None;
        }
        let label = interface.label();
        self.labels.insert(*place, label);
        (!self.probes.is_watched(*place)).then_some(interface)
    }

    fn apply_other(&mut self, event: Event) {
        match event {
            Event::Removed(place) => {
                self.leave(place);
                self.failed.remove(&place);
            }
            Event::NetnsGone(inode) => self.leave_netns(inode),
            Event::NetnsRefused(path, error) => {
                let reason = refusal(&error);
                warn!("interfaces of {} are not watched: {reason}", path.display());
                self.watching.miss(all_of(&path), reason);
            }
            Event::NetnsFound(path) => self.watching.forget(&all_of(&path)),
            Event::Present(netns, present) => {
                self.probes.missing(netns, &present).into_iter().for_each(|place| self.leave(place));
            }
            Event::Added(_) | Event::Listed => {}
        }
        self.watching.set(self.probes.count());
    }

    fn leave(&mut self, place: InterfaceId) {
        self.scope.unwatch(place);
        self.probes.detach(place);
        self.labels.remove(&place);
        self.watching.set(self.probes.count());
    }

    fn leave_netns(&mut self, inode: u32) {
        self.scope.leave(inode);
        let left = self.probes.detach_netns(inode);
        let goes_on = netns::is_inhabited(inode);
        for place in left {
            if let Some(label) = self.labels.remove(&place).filter(|_| goes_on) {
                self.watching.miss(label, "the name of its network namespace was deleted".into());
            }
        }
    }

    fn attach(&mut self, interfaces: Vec<Interface>) {
        if interfaces.is_empty() {
            return;
        }
        let already = self.probes.count();
        self.watching.want(already + interfaces.len());
        let (mut reported, mut failures) = (Instant::now(), HashMap::<String, Vec<String>>::new());
        let Self { probes, scope, watching, failed, stopped, .. } = self;
        // Before the first packet comes, which is named by what is known then.
        interfaces.iter().for_each(|interface| scope.watch(interface.place));
        probes.attach(interfaces, |interface, went, count| {
            watching.set(count);
            if reported.elapsed() >= PROGRESS {
                reported = Instant::now();
                watching.report_now();
            }
            match went {
                Ok(()) => late(watching, failed.remove(&interface.place), interface),
                Err(AttachError::Gone) => {
                    scope.give_up(interface.place);
                    debug!("{} is gone", interface.label());
                }
                Err(error) => {
                    scope.give_up(interface.place);
                    let reason = error.to_string();
                    watching.miss(interface.label(), reason.clone());
                    failed.entry(interface.place).or_insert((Instant::now(), reason.clone()));
                    failures.entry(reason).or_default().push(interface.label());
                }
            }
            !*stopped.borrow()
        });
        for (reason, names) in failures {
            match names.as_slice() {
                [name] => warn!("{name} is not watched: {reason}"),
                names => warn!("{} and {} others are not watched: {reason}", names[0], names.len() - 1),
            }
        }
    }

    /// Returns when to look again.
    fn check(&mut self) -> Instant {
        let start = Instant::now();
        let Self { probes, watching, labels, .. } = self;
        probes.check(|place, seen| {
            let Some(label) = labels.get(&place) else { return };
            let reason = match seen {
                Seen::Fine => return,
                Seen::Retaken => {
                    "another eBPF program was in front of the capture's for a moment, and may have hidden packets"
                }
                Seen::Hidden => "another eBPF program stays in front of the capture's and may hide packets",
                Seen::PutBack => "another program removed the capture's for a moment",
                Seen::Removed => "another program removed the capture's",
            };
            debug!("{label}: {reason}");
            watching.miss(label.clone(), reason.into());
        });
        Instant::now() + LOOK.max(start.elapsed() * LOOK_SHARE)
    }

    fn require(&self) -> Result<(), AgentError> {
        let unreadable = self.selection.exact_names().find_map(|name| self.unreadable.get_key_value(name));
        if let Some((name, why)) = unreadable {
            return Err(AgentError::Unreadable { name: name.clone(), why: why.clone() });
        }
        let missing = self.selection.exact_names().find(|name| !self.present.contains(*name));
        missing
            .map_or(Ok(()), |name| Err(AgentError::UnknownInterface { name: name.to_owned(), present: self.present() }))
    }

    fn present(&self) -> String {
        self.present.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    fn report(&self) {
        match self.probes.count() {
            0 => warn!("no interface to watch yet; there are: {}", self.present()),
            count => info!("watching {count} interfaces"),
        }
    }
}

/// An interface that could not be watched at first is now.
fn late(watching: &Watching, failed: Option<(Instant, String)>, interface: &Interface) {
    match failed {
        Some((since, _)) if since.elapsed() < AT_ONCE => watching.forget(&interface.label()),
        Some((since, reason)) => {
            watching.miss(interface.label(), format!("for {} s: {reason}", since.elapsed().as_secs() + 1));
        }
        None => {}
    }
}

fn all_of(path: &Path) -> String {
    format!("all of {}", path.file_name().unwrap_or_default().to_string_lossy())
}

fn refusal(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => AttachError::Descriptors(descriptors::limit()).to_string(),
        _ => AttachError::Netns(io::Error::other(error.to_string())).to_string(),
    }
}
