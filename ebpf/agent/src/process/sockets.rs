//! The machine's sockets and who has them, in all network namespaces: one look at /proc.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::text::{self, Socket};
use crate::merge::FlowId;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// The tables of a namespace.
const TABLES: [(&str, u8); 4] = [("tcp", TCP), ("tcp6", TCP), ("udp", UDP), ("udp6", UDP)];
/// A look that takes longer is cut short: what it has not seen is not named.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// An open socket: whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    /// Inode number of its namespace.
    pub(super) netns: u32,
    pub(super) pid: u32,
    /// Number of the open file in that process.
    pub(super) fd: u32,
    /// Number of the socket's own file: no other has it at the same time.
    pub(super) inode: u64,
    /// Of the look that saw it first, CLOCK_MONOTONIC in ns.
    pub(super) since_ns: u64,
}

impl Held {
    /// Whether the process has it still.
    pub(super) fn is_open(&self) -> bool {
        socket_inode(&format!("/proc/{}/fd/{}", self.pid, self.fd)) == Some(self.inode)
    }
}

/// What a look at /proc found.
#[derive(Default)]
pub(super) struct Sockets {
    /// Connected ones, by the flow that they receive.
    connected: HashMap<FlowId, SmallVec<[Held; 1]>>,
    /// The others, by protocol and port: their address too.
    bound: HashMap<(u8, u16), Vec<([u8; 16], Held)>>,
    /// The namespaces that were looked into.
    namespaces: HashSet<u32>,
    /// Those that have an address.
    addresses: HashMap<[u8; 16], SmallVec<[u32; 1]>>,
    /// When each socket was first seen.
    since: HashMap<u64, u64>,
}

impl Sockets {
    /// Looks at all processes and all namespaces that have one. `now_ns` is CLOCK_MONOTONIC.
    pub(super) fn look(before: &Self, now_ns: u64) -> Self {
        let deadline = Instant::now() + LONGEST_LOOK;
        let (mut holders, mut namespaces) = (HashMap::new(), HashMap::new());
        for pid in numbers("/proc") {
            let Ok(netns) = fs::metadata(format!("/proc/{pid}/ns/net")) else { continue };
            namespaces.entry(netns.ino() as u32).or_insert(pid);
            for fd in numbers(&format!("/proc/{pid}/fd")) {
                if let Some(inode) = socket_inode(&format!("/proc/{pid}/fd/{fd}")) {
                    hold(&mut holders, inode, (pid, fd));
                }
            }
            if Instant::now() > deadline {
                break;
            }
        }
        let mut found = Self::default();
        for (netns, pid) in namespaces {
            if Instant::now() < deadline {
                found.read_namespace(netns, pid, &holders, before, now_ns);
            }
        }
        found
    }

    fn read_namespace(
        &mut self,
        netns: u32,
        through: u32,
        holders: &HashMap<u64, (u32, u32)>,
        before: &Self,
        now_ns: u64,
    ) {
        let read = |name: &str| fs::read_to_string(format!("/proc/{through}/net/{name}")).unwrap_or_default();
        for (table, proto) in TABLES {
            for Socket { flow, inode } in read(table).lines().skip(1).filter_map(|line| text::socket(line, proto)) {
                if let Some(&(pid, fd)) = holders.get(&inode) {
                    let since_ns = before.since.get(&inode).copied().unwrap_or(now_ns);
                    self.since.insert(inode, since_ns);
                    self.add(flow, Held { netns, pid, fd, inode, since_ns });
                }
            }
        }
        let mut own = text::own_ipv4(&read("fib_trie"));
        own.extend(text::own_ipv6(&read("if_inet6")));
        self.namespaces.insert(netns);
        for address in own {
            let homes = self.addresses.entry(address).or_default();
            if !homes.contains(&netns) {
                homes.push(netns);
            }
        }
    }

    fn add(&mut self, flow: FlowId, held: Held) {
        if flow.src_port == 0 {
            self.bound.entry((flow.proto, flow.dst_port)).or_default().push((flow.dst, held));
        } else {
            self.connected.entry(flow).or_default().push(held);
        }
    }

    /// The namespaces that have an address: among those where a flow was `seen`, if one of them has it.
    pub(super) fn homes(&self, address: &[u8; 16], seen: &[u32]) -> SmallVec<[u32; 2]> {
        if is_loopback(address) {
            // All have it, and such a packet leaves none.
            return seen.into();
        }
        let Some(all) = self.addresses.get(address) else { return SmallVec::new() };
        let here: SmallVec<[u32; 2]> = all.iter().copied().filter(|netns| seen.contains(netns)).collect();
        if here.is_empty() { all.iter().copied().collect() } else { here }
    }

    /// Whether the addresses of this namespace are known.
    pub(super) fn knows(&self, netns: u32) -> bool {
        self.namespaces.contains(&netns)
    }

    /// The connected sockets that receive this flow in one of these namespaces.
    pub(super) fn connected(&self, flow: &FlowId, homes: &[u32]) -> SmallVec<[Held; 1]> {
        let held = self.connected.get(flow).into_iter().flatten();
        held.filter(|held| homes.contains(&held.netns)).copied().collect()
    }

    /// The sockets that receive this flow among others, in one of these namespaces: those on its very address, else those on
    /// all of its family, else those on both families.
    pub(super) fn bound(&self, flow: &FlowId, homes: &[u32]) -> SmallVec<[Held; 1]> {
        let sockets = self.bound.get(&(flow.proto, flow.dst_port)).into_iter().flatten();
        let fits = |(address, held): &([u8; 16], Held)| {
            homes.contains(&held.netns).then_some((closeness(address, &flow.dst)?, *held))
        };
        let fitting: SmallVec<[(u8, Held); 2]> = sockets.filter_map(fits).collect();
        let best = fitting.iter().map(|(closeness, _)| *closeness).max();
        fitting.iter().filter(|(closeness, _)| Some(*closeness) == best).map(|(_, held)| *held).collect()
    }
}

/// How well a socket with this address fits what is sent to `to`; None if it does not get it.
fn closeness(address: &[u8; 16], to: &[u8; 16]) -> Option<u8> {
    match *address {
        address if address == *to => Some(2),
        text::ANY_IPV4 => text::is_mapped(to).then_some(1),
        // What listens on :: takes both families, unless its program says otherwise.
        address if address == [0; 16] => Some(u8::from(!text::is_mapped(to))),
        _ => None,
    }
}

fn is_loopback(address: &[u8; 16]) -> bool {
    std::net::Ipv6Addr::from(*address).to_canonical().is_loopback()
}

/// The oldest process has the socket; but what the first process of the machine holds, it holds for another.
fn hold(holders: &mut HashMap<u64, (u32, u32)>, inode: u64, (pid, fd): (u32, u32)) {
    let holder = holders.entry(inode).or_insert((pid, fd));
    if holder.0 == 1 || (pid != 1 && pid < holder.0) {
        *holder = (pid, fd);
    }
}

/// The entries of a folder of /proc that are numbers.
fn numbers(folder: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Number of the socket that an open file is.
fn socket_inode(path: &str) -> Option<u64> {
    let target = fs::read_link(path).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use netobserv_ebpf_common::mapped;

    use super::*;

    fn held(netns: u32, pid: u32) -> Held {
        Held { netns, pid, fd: 3, inode: 7, since_ns: 0 }
    }

    fn to(dst: [u8; 16]) -> FlowId {
        FlowId { src: dst, dst, src_port: 9, dst_port: 80, eth_proto: 0x0800, proto: TCP }
    }

    #[test]
    fn an_address_that_two_namespaces_have_is_told_by_where_the_flow_was_seen() {
        let address = mapped(7);
        let mut sockets = Sockets::default();
        sockets.addresses.insert(address, [1, 2].into_iter().collect());
        assert_eq!(sockets.homes(&address, &[3, 2])[..], [2]);
        assert_eq!(sockets.homes(&address, &[3]).len(), 2);
        assert!(sockets.homes(&mapped(8), &[1, 2]).is_empty());
        assert_eq!(sockets.homes(&mapped(u32::from_ne_bytes([127, 0, 0, 1])), &[5])[..], [5]);
    }

    #[test]
    fn the_socket_on_the_very_address_comes_first() {
        let mut sockets = Sockets::default();
        let all = [(text::ANY_IPV4, 10), ([0; 16], 11), (mapped(7), 12), (mapped(8), 13)];
        sockets.bound.insert((TCP, 80), all.map(|(address, pid)| (address, held(1, pid))).to_vec());
        let pids = |flow: &FlowId, homes: &[u32]| sockets.bound(flow, homes).iter().map(|h| h.pid).collect::<Vec<_>>();
        assert_eq!(pids(&to(mapped(7)), &[1]), [12]);
        assert_eq!(pids(&to(mapped(9)), &[1]), [10]);
        assert_eq!(pids(&to([0xfd; 16]), &[1]), [11]);
        assert_eq!(pids(&to(mapped(7)), &[2]), [0; 0]);
    }

    #[test]
    fn the_first_process_of_the_machine_holds_for_others() {
        let mut holders = HashMap::new();
        for (inode, pid) in [(1, 1), (1, 50), (1, 40), (2, 60), (2, 1)] {
            hold(&mut holders, inode, (pid, 3));
        }
        assert_eq!((holders[&1].0, holders[&2].0), (40, 60));
    }

    #[test]
    fn an_own_listener_is_found_and_known_when_it_has_gone() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets = Sockets::look(&Sockets::default(), 5);
        let own = sockets.namespaces.iter().copied().collect::<Vec<_>>();
        let mut flow = to(mapped(u32::from_ne_bytes([127, 0, 0, 1])));
        flow.dst_port = listener.local_addr().unwrap().port();
        let found = sockets.bound(&flow, &own);
        assert_eq!((found[0].pid, found[0].since_ns), (std::process::id(), 5));
        assert!(found[0].is_open() && sockets.connected(&flow, &own).is_empty());
        assert_eq!(Sockets::look(&sockets, 9).bound(&flow, &own)[0].since_ns, 5);
        drop(listener);
        assert!(!found[0].is_open());
    }
}
