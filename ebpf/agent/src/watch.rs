//! Follows interfaces as they come and go, in this process's network namespace and in the named ones.
//! Netlink is spoken here, and for filters in [`crate::attach`].

use std::{
    collections::{HashMap, HashSet},
    future, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt};
use inotify::{EventMask, Inotify, WatchMask};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
};
use rtnetlink::{MulticastGroup, packet_core::NetlinkPayload};
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};
use tracing::{debug, warn};

use crate::{
    conntrack::Translations,
    interfaces::{InterfaceId, Link},
    netns::{self, Netns},
};

/// What happens to interfaces.
#[derive(Debug)]
pub enum Event {
    /// An interface is there, or has a new name.
    Added(Interface),
    /// It has gone.
    Removed(InterfaceId),
    /// All interfaces that the namespace had at first have been reported.
    Listed,
    /// The name of a namespace has gone, and with it, most often, the namespace.
    NetnsGone(u32),
    /// The interfaces of a namespace are not known, and why.
    NetnsRefused(PathBuf, io::Error),
    /// They are now.
    NetnsFound(PathBuf),
    /// Messages were lost: these are all the interfaces of a namespace (as in [`InterfaceId::netns`]) now.
    Present(u32, HashSet<u32>),
}

/// An interface.
#[derive(Debug)]
pub struct Interface {
    /// Where it is.
    pub place: InterfaceId,
    /// Its name there.
    pub name: String,
    /// How its frames begin.
    pub link: Link,
    /// Whether it is up.
    pub up: bool,
    /// Its namespace.
    pub netns: Arc<Netns>,
}

impl Interface {
    /// Its name, with that of its namespace unless that is this process's own.
    pub fn label(&self) -> String {
        match self.netns.name() {
            Some(netns) => format!("{}@{netns}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Starts to follow this process's namespace and, if `others`, those with a name. Returns the events and how many
/// namespaces there are now: as many [`Event::Listed`] will come. `translations` are followed in the same namespaces.
pub fn start(others: bool, translations: Option<Translations>) -> io::Result<(mpsc::UnboundedReceiver<Event>, usize)> {
    // Watch the folder before reading it: a namespace made in between is seen twice rather than never.
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut watcher = Watcher { sender, others, translations, by_path: HashMap::new(), awaited: Vec::new() };
    let changes = if others { watch_folder()? } else { None };
    let own = Arc::new(Netns::own()?);
    let own_inode = own.inode;
    let own_task = watcher.follow(own)?;
    let mut count = 1;
    if others {
        for path in netns::named() {
            count += usize::from(watcher.add(path, own_inode));
        }
    }
    tokio::spawn(watcher.run(changes, own_inode, own_task));
    Ok((receiver, count))
}

const CHANGES: WatchMask =
    WatchMask::CREATE.union(WatchMask::DELETE).union(WatchMask::MOVED_FROM).union(WatchMask::MOVED_TO);

fn watch_folder() -> io::Result<Option<Inotify>> {
    let inotify = Inotify::init()?;
    match inotify.watches().add(netns::NAMED, CHANGES) {
        Ok(_) => Ok(Some(inotify)),
        // No folder: no namespace has been named since the machine started. Made later, it is not followed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_folder_and_retry(inotify),
        Err(error) => Err(error),
    }
}

/// `ip netns add` makes the folder when it is missing; so do we, to be able to watch it.
fn make_folder_and_retry(inotify: Inotify) -> io::Result<Option<Inotify>> {
    if let Err(error) = std::fs::create_dir_all(netns::NAMED) {
        debug!("{}: {error}; namespaces made later are not followed", netns::NAMED);
        return Ok(None);
    }
    inotify.watches().add(netns::NAMED, CHANGES)?;
    Ok(Some(inotify))
}

struct Watcher {
    sender: mpsc::UnboundedSender<Event>,
    others: bool,
    translations: Option<Translations>,
    by_path: HashMap<PathBuf, (u32, JoinHandle<()>)>,
    /// Names that stand for no namespace yet, and until when to try.
    awaited: Vec<(PathBuf, Instant)>,
}

/// `ip netns add` makes a file, and mounts the namespace on it a moment later: longer than this it never takes.
const MOUNTED_BY: Duration = Duration::from_secs(5);
/// How often the interfaces of a namespace are asked for before they are given up.
const LISTING_TRIES: u32 = 3;
/// How often to look whether it is mounted.
const TRY_AGAIN: Duration = Duration::from_millis(20);

impl Watcher {
    async fn run(mut self, changes: Option<Inotify>, own_inode: u32, own_task: JoinHandle<()>) {
        let Some(inotify) = changes else {
            let _ = own_task.await;
            return;
        };
        let mut events = match inotify.into_event_stream([0; 4096]) {
            Ok(events) => events,
            Err(error) => return warn!("cannot watch {}: {error}", netns::NAMED),
        };
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.sender.closed() => return,
                () = tokio::time::sleep(TRY_AGAIN), if !self.awaited.is_empty() => {
                    self.try_again(own_inode);
                    continue;
                }
            };
            let Some(Ok(event)) = event else { return };
            let Some(name) = event.name else { continue };
            let path = Path::new(netns::NAMED).join(name);
            if event.mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM) {
                self.remove(&path).await;
            } else {
                self.add(path, own_inode);
            }
        }
    }

    fn try_again(&mut self, own_inode: u32) {
        for (path, until) in std::mem::take(&mut self.awaited) {
            if Instant::now() > until {
                debug!("{}: no network namespace", path.display());
                continue;
            }
            self.add(path.clone(), own_inode);
            // Still not there: the first deadline holds.
            if let Some(again) = self.awaited.iter_mut().find(|(awaited, _)| *awaited == path) {
                again.1 = until;
            }
        }
    }

    /// Whether a namespace is followed now that was not before.
    fn add(&mut self, path: PathBuf, own_inode: u32) -> bool {
        let netns = match Netns::open(&path) {
            Ok(netns) => netns,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(error) => return self.refused(path, error),
        };
        let known = self.by_path.values().any(|(inode, _)| *inode == netns.inode);
        if netns.inode == own_inode || known {
            return false;
        }
        let inode = netns.inode;
        match self.follow(Arc::new(netns)) {
            Ok(task) => {
                let _ = self.sender.send(Event::NetnsFound(path.clone()));
                self.by_path.insert(path, (inode, task));
                true
            }
            Err(error) => self.refused(path, error),
        }
    }

    /// To be tried again. The error of setns(2) for a file that no namespace is mounted on yet is no refusal.
    fn refused(&mut self, path: PathBuf, error: io::Error) -> bool {
        if error.raw_os_error() != Some(libc::EINVAL) {
            let _ = self.sender.send(Event::NetnsRefused(path.clone(), error));
        }
        self.awaited.push((path, Instant::now() + MOUNTED_BY));
        false
    }

    /// A name has gone. The namespace may have another, or a new one.
    async fn remove(&mut self, path: &Path) {
        self.awaited.retain(|(awaited, _)| awaited != path);
        let Some((inode, task)) = self.by_path.remove(path) else { return };
        let is_it = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|file| file.ino() as u32 == inode);
        if let Some(other) = netns::named().into_iter().find(is_it) {
            self.by_path.insert(other, (inode, task));
            return;
        }
        // The socket inside would keep the namespace alive.
        task.abort();
        let _ = task.await;
        let _ = self.sender.send(Event::NetnsGone(inode));
    }

    /// Follows one namespace in a task of its own.
    fn follow(&self, netns: Arc<Netns>) -> io::Result<JoinHandle<()>> {
        let runtime = Handle::current();
        // A netlink socket belongs to the namespace that it was made in.
        let translations = self.translations.clone();
        let (connected, source) = netns.run(|| {
            let _context = runtime.enter();
            let source = translations.as_ref().and_then(|translations| translations.open(&netns));
            (rtnetlink::new_multicast_connection(&[MulticastGroup::Link]), source)
        })?;
        let (connection, handle, messages) = connected?;
        let (sender, tell_apart) = (self.sender.clone(), self.others);
        let listener = sender.clone();
        Ok(tokio::spawn(async move {
            let netns_number = if tell_apart { netns.inode } else { 0 };
            let follower = Follower { netns: netns.clone(), netns_number, sender };
            let translating = async {
                match translations {
                    Some(translations) => translations.follow(&netns, source).await,
                    None => future::pending().await,
                }
            };
            // When this task ends, so does the connection: it lives in the same task.
            tokio::select! {
                () = listener.closed() => {}
                () = connection => {}
                () = follower.run(handle, messages) => {}
                () = translating => {}
            }
        }))
    }
}

struct Follower {
    netns: Arc<Netns>,
    netns_number: u32,
    sender: mpsc::UnboundedSender<Event>,
}

impl Follower {
    async fn run<S>(self, handle: rtnetlink::Handle, mut messages: S)
    where
        S: futures_util::Stream<
                Item = (rtnetlink::packet_core::NetlinkMessage<RouteNetlinkMessage>, rtnetlink::sys::SocketAddr),
            > + Unpin,
    {
        self.list(&handle).await;
        let _ = self.sender.send(Event::Listed);
        while let Some((message, _)) = messages.next().await {
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => self.added(&link),
                // With the bridge family it only means that a port has left its bridge.
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
                    if link.header.interface_family == AddressFamily::Unspec =>
                {
                    let _ = self.sender.send(Event::Removed(self.place(&link)));
                }
                // The kernel had more to report than the socket could hold.
                NetlinkPayload::Overrun(_) => {
                    let present = self.list(&handle).await;
                    let _ = self.sender.send(Event::Present(self.netns_number, present));
                }
                _ => {}
            }
        }
    }

    /// Reports all interfaces that there are. Returns their indexes.
    async fn list(&self, handle: &rtnetlink::Handle) -> HashSet<u32> {
        let mut present = HashSet::new();
        for try_number in 1.. {
            let mut links = handle.link().get().execute();
            let error = loop {
                match links.try_next().await {
                    Ok(Some(link)) => {
                        present.insert(link.header.index);
                        self.added(&link);
                    }
                    Ok(None) => return present,
                    Err(error) => break error,
                }
            };
            if try_number == LISTING_TRIES {
                let _ = self.sender.send(Event::NetnsRefused(self.netns.path.clone(), io::Error::other(error)));
                break;
            }
        }
        present
    }

    fn place(&self, link: &LinkMessage) -> InterfaceId {
        InterfaceId { netns: self.netns_number, ifindex: link.header.index }
    }

    fn added(&self, link: &LinkMessage) {
        let Some(name) = name(link) else { return };
        let (place, kind) = (self.place(link), frames(link.header.link_layer_type));
        let up = link.header.flags.contains(LinkFlags::Up);
        let interface = Interface { place, name: name.to_owned(), link: kind, up, netns: self.netns.clone() };
        let _ = self.sender.send(Event::Added(interface));
    }
}

/// How frames begin on a link of this type.
fn frames(kind: LinkLayerType) -> Link {
    use LinkLayerType as T;
    match kind {
        T::Ether | T::Loopback => Link::Ethernet,
        // tun, WireGuard, XFRM; IPIP and VTI, for IPv4 and IPv6; GRE; 6in4; PPP, SLIP; modems; IP over InfiniBand.
        T::None | T::Tunnel | T::Tunnel6 | T::Ipgre | T::Ip6gre | T::Sit | T::Ppp | T::Rawip | T::Infiniband => {
            Link::Bare
        }
        T::Slip | T::Cslip | T::Slip6 | T::Cslip6 => Link::Bare,
        other => Link::Unknown(other as u16),
    }
}

fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}
