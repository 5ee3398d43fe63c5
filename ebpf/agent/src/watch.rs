//! Follows interfaces as they come and go, in this process's network namespace and in the named ones.
//! The only file that speaks netlink.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt};
use inotify::{EventMask, Inotify, WatchMask};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkLayerType, LinkMessage},
};
use rtnetlink::{MulticastGroup, packet_core::NetlinkPayload};
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};
use tracing::{debug, warn};

use crate::{
    interfaces::{Link, Place},
    netns::{self, Netns},
};

/// What happens to interfaces.
#[derive(Debug)]
pub enum Event {
    /// An interface is there, or has a new name.
    Added(Interface),
    /// It has gone.
    Removed(Place),
    /// All interfaces that the namespace had at first have been told.
    Listed,
    /// The name of a namespace has gone, and with it, most often, the namespace.
    NetnsGone(u32),
    /// Messages were lost: these are all the interfaces of a namespace (as in [`Place::netns`]) now.
    Present(u32, HashSet<u32>),
}

/// An interface.
#[derive(Debug)]
pub struct Interface {
    /// Where it is.
    pub place: Place,
    /// Its name there.
    pub name: String,
    /// How its frames begin.
    pub link: Link,
    /// Its namespace.
    pub netns: Arc<Netns>,
}

/// Starts to follow this process's namespace and, if `others`, those with a name. Returns the events and how many
/// namespaces there are now: as many [`Event::Listed`] will come.
pub async fn start(others: bool) -> io::Result<(mpsc::Receiver<Event>, usize)> {
    // Watch the folder before reading it: a namespace made in between is seen twice rather than never.
    let (sender, receiver) = mpsc::channel(256);
    let mut watcher = Watcher { sender, others, by_path: HashMap::new(), awaited: Vec::new() };
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

fn watch_folder() -> io::Result<Option<Inotify>> {
    let inotify = Inotify::init()?;
    match inotify.watches().add(netns::NAMED, WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVED_TO) {
        Ok(_) => Ok(Some(inotify)),
        // No folder: nobody has named a namespace since the machine started. Made later, it is not followed.
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
    inotify.watches().add(netns::NAMED, WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVED_TO)?;
    Ok(Some(inotify))
}

struct Watcher {
    sender: mpsc::Sender<Event>,
    others: bool,
    by_path: HashMap<PathBuf, (u32, JoinHandle<()>)>,
    /// Names that stand for no namespace yet, and until when to try.
    awaited: Vec<(PathBuf, Instant)>,
}

/// `ip netns add` makes a file, and mounts the namespace on it a moment later: longer than this it never takes.
const MOUNTED_BY: Duration = Duration::from_secs(5);
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
                () = tokio::time::sleep(TRY_AGAIN), if !self.awaited.is_empty() => {
                    self.try_again(own_inode);
                    continue;
                }
            };
            let Some(Ok(event)) = event else { return };
            let Some(name) = event.name else { continue };
            let path = Path::new(netns::NAMED).join(name);
            if event.mask.contains(EventMask::DELETE) {
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
        let Ok(netns) = Netns::open(&path) else { return false };
        let known = self.by_path.values().any(|(inode, _)| *inode == netns.inode);
        if netns.inode == own_inode || known {
            return false;
        }
        let inode = netns.inode;
        match self.follow(Arc::new(netns)) {
            Ok(task) => {
                self.by_path.insert(path, (inode, task));
                true
            }
            Err(_) => {
                self.awaited.push((path, Instant::now() + MOUNTED_BY));
                false
            }
        }
    }

    async fn remove(&mut self, path: &Path) {
        self.awaited.retain(|(awaited, _)| awaited != path);
        if let Some((inode, task)) = self.by_path.remove(path) {
            // The socket inside would keep the namespace alive.
            task.abort();
            let _ = task.await;
            let _ = self.sender.send(Event::NetnsGone(inode)).await;
        }
    }

    /// Follows one namespace in a task of its own.
    fn follow(&self, netns: Arc<Netns>) -> io::Result<JoinHandle<()>> {
        let runtime = Handle::current();
        // A netlink socket belongs to the namespace that it was made in.
        let (connection, handle, messages) = netns.run(|| {
            let _context = runtime.enter();
            rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
        })??;
        let (sender, tell_apart) = (self.sender.clone(), self.others);
        Ok(tokio::spawn(async move {
            let netns_number = if tell_apart { netns.inode } else { 0 };
            let follower = Follower { netns, netns_number, sender };
            // When this task ends, so does the connection: it lives in the same task.
            tokio::select! {
                () = connection => {}
                () = follower.run(handle, messages) => {}
            }
        }))
    }
}

struct Follower {
    netns: Arc<Netns>,
    netns_number: u32,
    sender: mpsc::Sender<Event>,
}

impl Follower {
    async fn run<S>(self, handle: rtnetlink::Handle, mut messages: S)
    where
        S: futures_util::Stream<
                Item = (rtnetlink::packet_core::NetlinkMessage<RouteNetlinkMessage>, rtnetlink::sys::SocketAddr),
            > + Unpin,
    {
        self.list(&handle).await;
        let _ = self.sender.send(Event::Listed).await;
        while let Some((message, _)) = messages.next().await {
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => self.added(&link).await,
                // With the bridge family it only says that a port has left its bridge.
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
                    if link.header.interface_family == AddressFamily::Unspec =>
                {
                    let _ = self.sender.send(Event::Removed(self.place(&link))).await;
                }
                // The kernel had more to tell than the socket could hold.
                NetlinkPayload::Overrun(_) => {
                    let present = self.list(&handle).await;
                    let _ = self.sender.send(Event::Present(self.netns_number, present)).await;
                }
                _ => {}
            }
        }
    }

    /// Tells all interfaces that there are. Returns their indexes.
    async fn list(&self, handle: &rtnetlink::Handle) -> HashSet<u32> {
        let mut present = HashSet::new();
        let mut links = handle.link().get().execute();
        while let Ok(Some(link)) = links.try_next().await {
            present.insert(link.header.index);
            self.added(&link).await;
        }
        present
    }

    fn place(&self, link: &LinkMessage) -> Place {
        Place { netns: self.netns_number, ifindex: link.header.index }
    }

    async fn added(&self, link: &LinkMessage) {
        let Some(name) = name(link) else { return };
        let (place, kind) = (self.place(link), frames(link.header.link_layer_type));
        let interface = Interface { place, name: name.to_owned(), link: kind, netns: self.netns.clone() };
        let _ = self.sender.send(Event::Added(interface)).await;
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

/// Removes the clsact qdisc from an interface of the calling thread's namespace, unless filters are on it.
pub(crate) fn remove_clsact_if_empty(interface: &str) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            let connection = tokio::spawn(connection);
            let index = index as i32;
            for ingress in [true, false] {
                let filters = handle.traffic_filter(index).get();
                let filters = if ingress { filters.ingress() } else { filters.egress() };
                if filters.execute().try_next().await.is_ok_and(|filter| filter.is_some()) {
                    return Ok(());
                }
            }
            let mut request = handle.qdisc().del(index);
            // TC_H_CLSACT, its one possible parent, and ffff: as its handle (include/uapi/linux/pkt_sched.h).
            request.message_mut().header.parent = 0xffff_fff1_u32.into();
            request.message_mut().header.handle = 0xffff_0000_u32.into();
            let removed = request.execute().await;
            connection.abort();
            removed.map_err(io::Error::other)
        })
        .or_else(|error: io::Error| if error.raw_os_error() == Some(libc::ENODEV) { Ok(()) } else { Err(error) })
}
