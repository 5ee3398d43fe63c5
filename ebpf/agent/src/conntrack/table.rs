//! Translated connections, in little room: a hundred thousand of them take about 8 MiB.

use std::{collections::VecDeque, hash::BuildHasher, net::Ipv6Addr};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::tuple::{Key, Translation, is_icmp};
use crate::translated::Tuple;

/// Windows for which a connection that has gone is kept: its last packets are still to be reported.
const KEPT: u32 = 3;

/// One side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// Before translation.
    Origin,
    /// After it.
    Target,
    /// Between the two: destinations are translated before sources, and a bridge that has netfilter look at its frames shows that.
    Middle,
}

impl Side {
    const ALL: [Self; 3] = [Self::Origin, Self::Target, Self::Middle];

    pub(super) fn is_after(self) -> bool {
        self != Self::Origin
    }
}

/// The entries of which a tuple is one side.
pub(super) type Matches = SmallVec<[(u32, Side); 2]>;

/// A tuple: most are of IPv4, and those of IPv6 are elsewhere.
#[derive(Debug)]
enum Ends {
    V4 { src: [u8; 4], dst: [u8; 4], src_port: u16, dst_port: u16 },
    V6(Box<Tuple>),
}

impl Ends {
    fn of(tuple: Tuple) -> Self {
        let v4 = |address: [u8; 16]| Ipv6Addr::from(address).to_ipv4_mapped().map(|v4| v4.octets());
        match (v4(tuple.src), v4(tuple.dst)) {
            (Some(src), Some(dst)) => Self::V4 { src, dst, src_port: tuple.src_port, dst_port: tuple.dst_port },
            _ => Self::V6(Box::new(tuple)),
        }
    }

    fn tuple(&self) -> Tuple {
        let mapped = |address: [u8; 4]| netobserv_ebpf_common::mapped(u32::from_ne_bytes(address));
        match *self {
            Self::V4 { src, dst, src_port, dst_port } => {
                Tuple { src: mapped(src), dst: mapped(dst), src_port, dst_port }
            }
            Self::V6(ref tuple) => **tuple,
        }
    }
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Entry {
    origin: Ends,
    target: Ends,
    pub(super) proto: u8,
    pub(super) zone: u16,
    /// One of its tuples is another side of another connection.
    pub(super) chained: bool,
    id: u32,
    pub(super) netns: u32,
    /// Later ones have larger numbers.
    pub(super) number: u32,
    /// Of the list, or of the lists before the event, in which it was there.
    list: u8,
    pub(super) open: bool,
    /// Packets were seen before translation.
    pub(super) seen: bool,
    /// The window in which they were seen last.
    pub(super) seen_in: u32,
    /// The window in which packets were last seen after translation and none before it.
    pub(super) missed_in: u32,
    /// Number of such windows in a row.
    pub(super) missed: u8,
    /// Packets after translation were counted, as none were seen before.
    pub(super) counted: bool,
}

impl Entry {
    pub(super) fn tuple(&self, side: Side) -> Tuple {
        match side {
            Side::Origin => self.origin.tuple(),
            Side::Target => self.target.tuple(),
            Side::Middle => {
                let Tuple { dst, dst_port, .. } = self.target.tuple();
                Tuple { dst, dst_port, ..self.origin.tuple() }
            }
        }
    }

    /// The tuples that packets may have; the one in the middle only where both ends are translated.
    fn tuples(&self) -> impl Iterator<Item = (u32, Tuple)> {
        let all = [0, 1, 2].map(|number| (number, self.tuple(Side::ALL[number as usize])));
        let [origin, target, middle] = all.map(|(_, tuple)| tuple.key(self.proto));
        let has_middle = ![origin, target].contains(&middle);
        all.into_iter().take(if has_middle { 3 } else { 2 })
    }
}

/// Numbers in the index that each entry has.
const SIDES: u32 = Side::ALL.len() as u32;

/// All connections whose addresses are translated.
pub(super) struct Table {
    entries: Slab<Entry>,
    /// Numbers of entries, times [`SIDES`], and the number of the side.
    index: HashTable<u32>,
    hasher: RandomState,
    /// Entries that have gone, and the window in which they went.
    gone: VecDeque<(u32, u32)>,
    most: usize,
    /// Connections that found no room.
    refused: u64,
    born: u32,
    /// Number of the window.
    pub(super) window: u32,
}

impl Table {
    /// A table of at most so many connections.
    pub(super) fn new(most: usize) -> Self {
        Self {
            entries: Slab::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            gone: VecDeque::new(),
            most,
            refused: 0,
            born: 0,
            window: 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Adds a connection of a namespace; `list` is the latest list of that namespace.
    pub(super) fn open(&mut self, netns: u32, connection: Translation, list: u8) {
        let Translation { origin, target, proto, zone, id } = connection;
        let same = self.find(netns, &connection);
        if let Some(number) = same {
            let entry = &mut self.entries[number as usize];
            let known = entry.target.tuple();
            // Echoes of two hosts are one flow, however many identifiers they have.
            if is_icmp(proto) && known.key(proto) == target.key(proto) || known == target && entry.id == id {
                (entry.origin, entry.target) = (Ends::of(origin), Ends::of(target));
                (entry.id, entry.list) = (id, list);
                return;
            }
            self.retire(number);
        }
        if self.entries.len() >= self.most {
            self.refused += 1;
            return;
        }
        let chained = self.chain(&origin, &target, proto);
        self.born += 1;
        let (number, open, seen, counted) = (self.born, true, false, false);
        let (seen_in, missed_in, missed) = (0, 0, 0);
        let entry = Entry {
            origin: Ends::of(origin),
            target: Ends::of(target),
            proto,
            zone,
            chained,
            id,
            netns,
            number,
            list,
            open,
            seen,
            seen_in,
            missed_in,
            missed,
            counted,
        };
        let tuples: SmallVec<[_; SIDES as usize]> = entry.tuples().collect();
        let at = self.entries.insert(entry) as u32;
        for (side, tuple) in tuples {
            let hash = self.hasher.hash_one(tuple.key(proto));
            let (entries, hasher) = (&self.entries, &self.hasher);
            self.index.insert_unique(hash, at * SIDES + side, |number| hasher.hash_one(key_of(entries, *number)));
        }
    }

    /// Whether the sides of a new connection are other sides of others, which are then marked, too.
    fn chain(&mut self, origin: &Tuple, target: &Tuple, proto: u8) -> bool {
        let before = self.matches(origin, proto).into_iter().filter(|(_, side)| side.is_after());
        let after = self.matches(target, proto).into_iter().filter(|(_, side)| !side.is_after());
        let others: Matches = before.chain(after).collect();
        others.iter().for_each(|(at, _)| self.entry_mut(*at).chained = true);
        !others.is_empty()
    }

    /// A connection has gone.
    pub(super) fn close(&mut self, netns: u32, connection: &Translation) {
        if let Some(at) = self.find(netns, connection).filter(|at| self.entries[*at as usize].id == connection.id) {
            self.retire(at);
        }
    }

    /// Those of a namespace that were in none of the lists that `listed` is true of have gone.
    pub(super) fn sweep(&mut self, netns: u32, listed: impl Fn(u8) -> bool) {
        let missing = |(_, entry): &(usize, &Entry)| entry.netns == netns && entry.open && !listed(entry.list);
        let missing: Vec<u32> = self.entries.iter().filter(missing).map(|(at, _)| at as u32).collect();
        missing.into_iter().for_each(|at| self.retire(at));
    }

    /// A window begins: connections that went long ago are forgotten.
    pub(super) fn begin_window(&mut self) {
        self.window += 1;
        while let Some((_, at)) = self.gone.pop_front_if(|(window, _)| *window + KEPT < self.window) {
            let entry = &self.entries[at as usize];
            for (side, tuple) in entry.tuples() {
                let hash = self.hasher.hash_one(tuple.key(entry.proto));
                if let Ok(found) = self.index.find_entry(hash, |number| *number == at * SIDES + side) {
                    found.remove();
                }
            }
            self.entries.remove(at as usize);
        }
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
            self.index.shrink_to(0, |_| 0);
        }
    }

    /// The entries of which `tuple` is one side, in either direction.
    pub(super) fn matches(&self, tuple: &Tuple, proto: u8) -> Matches {
        let key = tuple.key(proto);
        let found = self.index.iter_hash(self.hasher.hash_one(key));
        let found = found.filter(|number| key_of(&self.entries, **number) == key);
        found.map(|number| side(*number)).collect()
    }

    pub(super) fn entry(&self, at: u32) -> &Entry {
        &self.entries[at as usize]
    }

    pub(super) fn entry_mut(&mut self, at: u32) -> &mut Entry {
        &mut self.entries[at as usize]
    }

    /// The open entry of these ends before translation.
    fn find(&self, netns: u32, connection: &Translation) -> Option<u32> {
        let is_it = |(at, side): &(u32, Side)| {
            let entry = self.entry(*at);
            let place = (entry.netns, entry.zone) == (netns, connection.zone);
            let (known, proto) = (entry.origin.tuple(), connection.proto);
            let same = known == connection.origin || is_icmp(proto) && known.goes_with(&connection.origin, proto);
            *side == Side::Origin && entry.open && place && same
        };
        self.matches(&connection.origin, connection.proto).into_iter().find(is_it).map(|(at, _)| at)
    }

    fn retire(&mut self, at: u32) {
        self.entries[at as usize].open = false;
        self.gone.push_back((self.window, at));
    }
}

/// An entry and one of its sides, from a number in the index.
fn side(number: u32) -> (u32, Side) {
    (number / SIDES, Side::ALL[(number % SIDES) as usize])
}

fn key_of(entries: &Slab<Entry>, number: u32) -> Key {
    let (at, side) = side(number);
    let entry = &entries[at as usize];
    entry.tuple(side).key(entry.proto)
}
