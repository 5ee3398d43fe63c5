//! Which packets are wanted: the first rule that matches decides.
//!
//! There are two banks of tables. The agent fills the one that is not in use and then changes over, so that
//! each packet is judged by one list of rules, whole. The common crate describes the tables.

use core::hint::black_box;

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{
        Array, HashMap,
        lpm_trie::{Key, LpmTrie},
    },
};
use netobserv_ebpf_common::{
    ETH_IPV4, Key6, NO_IP,
    filter::{
        ADDRESS_BITS, AddressKey, AddressMasks, FAMILY_4, FAMILY_6, MAX_PREFIXES, PORTS, PortMasks, SET_CLASSES,
        SET_ENTRIES, SetClass, SetKey, SetMasks, Tables,
    },
};

use crate::{
    bpf,
    packet::{ICMP, ICMPV6, SCTP, TCP, UDP},
    settings::SAMPLING,
    verdicts::{CacheSlot, Words},
};

/// Whether there are rules, or may be.
#[unsafe(no_mangle)]
pub(crate) static FILTER: Global<u32> = Global::new(0);

/// The bank in use, or NO_RULES of the common crate, which is none of them.
#[map]
static FILTER_BANK: Array<u32> = Array::with_max_entries(1, 0);
#[map]
static FILTER_TABLES: Array<Tables> = Array::with_max_entries(2, 0);
/// Both banks; the agent makes it one entry when there is no filter.
#[map]
static FILTER_PORTS: Array<PortMasks> = Array::with_max_entries(2 * PORTS, 0);
#[map]
static FILTER_ADDRESSES: LpmTrie<AddressKey, AddressMasks> = LpmTrie::with_max_entries(2 * MAX_PREFIXES as u32, 0);
/// Elements of the sets that rules name. Both banks share the entries, so that a change of few elements of many is a few writes;
/// entries take memory when they are there. The agent makes it one entry when no rule names a set.
#[map]
static FILTER_SETS: HashMap<SetKey, SetClass> = HashMap::with_max_entries(SET_ENTRIES, BPF_F_NO_PREALLOC);
/// What a class of elements fits, first those of bank 0.
#[map]
static FILTER_CLASSES: Array<SetMasks> = Array::with_max_entries(2 * SET_CLASSES, 0);

/// The rules in force.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    bank: u32,
    tables: &'static Tables,
}

impl Rules {
    /// None when there is no filter now.
    #[inline(always)]
    pub(crate) fn in_force() -> Option<Self> {
        if FILTER.load() == 0 {
            return None;
        }
        let bank = *FILTER_BANK.get(0)?;
        let tables = FILTER_TABLES.get(bank)?;
        Some(Self { bank, tables })
    }

    /// Whether packets of one flow can get different answers. Otherwise the answer for the first holds for all. Sets change while
    /// flows last: an address that was taken out is not counted one packet longer.
    #[inline(always)]
    pub(crate) fn look_at_each_packet(&self) -> bool {
        self.tables.with_flags | self.tables.with_sets != 0
    }

    /// Where the verdict on a packet is remembered.
    #[inline(always)]
    pub(crate) fn place<K: Words>(&self, key: &K, tcp_flags: u32) -> CacheSlot {
        let tcp_flags = if self.tables.with_flags != 0 { tcp_flags } else { 0 };
        CacheSlot::of(key, tcp_flags, self.tables.number)
    }

    /// Whether some rule has a sample of its own: then chance is asked after the rules.
    #[inline(always)]
    pub(crate) fn sample(&self) -> bool {
        self.tables.samples_differ != 0
    }
}

/// Of packets like this one, 1 in so many is kept; 0 = none. Without a filter that is the sampling of all packets.
///
/// IPv4 addresses in `key` are mapped; its device does not matter. The direction may be
/// [`netobserv_ebpf_common::filter::DIRECTION_UNKNOWN`].
#[inline(always)]
pub(crate) fn sampling(key: &Key6, tcp_flags: u32, dropped: bool) -> u32 {
    if FILTER.load() == 0 {
        return SAMPLING.load();
    }
    judge(key, tcp_flags, u32::from(dropped))
}

/// True for one packet in `sampling`, by chance.
#[inline(always)]
pub(crate) fn chance(sampling: u32) -> bool {
    sampling <= 1 || bpf::random() % sampling == 0
}

/// A call of its own: each family and each bank of flows has one to make.
#[inline(never)]
fn judge(key: &Key6, tcp_flags: u32, dropped: u32) -> u32 {
    let Some(Rules { bank, tables }) = Rules::in_force() else { return SAMPLING.load() };
    let at = &key.at;
    let mut rules = tables.proto[usize::from(at.proto)] & tables.direction[usize::from(at.direction & 3)];
    if dropped == 0 {
        rules &= !tables.drops;
    }
    if tables.with_ports != 0 {
        rules &= if matches!(at.proto, TCP | UDP | SCTP) { ports(bank, key) } else { !tables.with_ports };
    }
    if tables.with_flags != 0 {
        rules &= if at.proto == TCP { tables.tcp_flags[(tcp_flags & 0xff) as usize] } else { !tables.with_flags };
    }
    if tables.with_icmp != 0 {
        rules &= if matches!(at.proto, ICMP | ICMPV6) {
            tables.icmp_type[usize::from(at.src_port & 0xff)] & tables.icmp_code[usize::from(at.dst_port & 0xff)]
        } else {
            !tables.with_icmp
        };
    }
    // The dearest question last, and only if its answer matters: a first rule without addresses has matched.
    if rules & rules.wrapping_neg() & tables.with_addresses != 0 {
        rules &= addresses(bank, tables, key);
    }
    verdict(tables, rules)
}

#[inline(always)]
fn verdict(tables: &Tables, rules: u64) -> u32 {
    if rules == 0 {
        return tables.other_sample;
    }
    let first = rules & rules.wrapping_neg();
    if first & tables.rejects != 0 {
        return 0;
    }
    // The compiler knows that this is below 64 and drops the mask; the verifier does not, as it reads from a table.
    tables.samples[(black_box(first.trailing_zeros()) & 63) as usize]
}

#[inline(always)]
fn ports(bank: u32, key: &Key6) -> u64 {
    let row = |port: u16| FILTER_PORTS.get(bank * PORTS + u32::from(port));
    match (row(key.at.src_port), row(key.at.dst_port)) {
        (Some(src), Some(dst)) => src.src & dst.dst & (src.any | dst.any),
        _ => 0,
    }
}

/// Either end may be the one of `ip_cidr` and `set`; the other then has to be the peer.
#[inline(always)]
fn addresses(bank: u32, tables: &Tables, key: &Key6) -> u64 {
    let nowhere = key.at.proto == 0 && key.at.src_port == NO_IP;
    let (src, dst) = if nowhere {
        (&tables.elsewhere, &tables.elsewhere)
    } else if key.at.eth_proto == ETH_IPV4 {
        let mut at = AddressAt::new(bank, FAMILY_4, 32);
        (at.masks(tables, &v4(&key.src)), at.masks(tables, &v4(&key.dst)))
    } else {
        let mut at = AddressAt::new(bank, FAMILY_6, 128);
        (at.masks(tables, &key.src), at.masks(tables, &key.dst))
    };
    if tables.with_sets == 0 {
        return src.cidr & dst.peer | dst.cidr & src.peer;
    }
    let mut at = ElementAt::new(bank, nowhere, tables, key);
    let (source, destination) = (at.masks(&key.src, key.at.src_port), at.masks(&key.dst, key.at.dst_port));
    let one = src.cidr & source.this & dst.peer & destination.peer;
    let other = dst.cidr & destination.this & src.peer & source.peer;
    (one | other) & !(source.not | destination.not)
}

#[inline(always)]
fn v4(mapped: &[u8; 16]) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&mapped[12..]);
    address
}

/// Where an address is looked up.
struct AddressAt(Key<AddressKey>);

impl AddressAt {
    #[inline(always)]
    fn new(bank: u32, family: u8, bits: u32) -> Self {
        let mut data = [0; 20];
        (data[0], data[1]) = (bank as u8, family);
        Self(Key::new(ADDRESS_BITS + bits, data))
    }

    #[inline(always)]
    fn masks<'a>(&mut self, tables: &'a Tables, address: &[u8; 16]) -> &'a AddressMasks {
        self.0.data[4..].copy_from_slice(address);
        FILTER_ADDRESSES.get(&self.0).unwrap_or(&tables.elsewhere)
    }
}

/// Where an end is looked up in the sets.
struct ElementAt {
    key: SetKey,
    bank: u32,
    nowhere: bool,
    v4: bool,
    /// Of ends with ports, if elements have some; else 0.
    proto: u8,
}

impl ElementAt {
    #[inline(always)]
    fn new(bank: u32, nowhere: bool, tables: &Tables, key: &Key6) -> Self {
        let v4 = key.at.eth_proto == ETH_IPV4;
        let with_ports = tables.set_ports != 0 && matches!(key.at.proto, TCP | UDP | SCTP);
        let proto = if with_ports { key.at.proto } else { 0 };
        Self { key: [0; 20], bank, nowhere, v4, proto }
    }

    #[inline(always)]
    fn masks(&mut self, address: &[u8; 16], port: u16) -> SetMasks {
        if self.nowhere {
            return self.of_class(0);
        }
        self.key = [0; 20];
        if self.v4 {
            self.key[0] = FAMILY_4;
            self.key[4..8].copy_from_slice(&address[12..]);
        } else {
            self.key[0] = FAMILY_6;
            self.key[4..].copy_from_slice(address);
        }
        let mut masks = self.look_up();
        if self.proto != 0 {
            self.key[1] = self.proto;
            self.key[2..4].copy_from_slice(&port.to_be_bytes());
            let by_port = self.look_up();
            masks.this |= by_port.this;
            masks.peer |= by_port.peer;
            masks.not |= by_port.not;
        }
        masks
    }

    #[inline(always)]
    fn look_up(&self) -> SetMasks {
        // SAFETY: the agent may change the classes meanwhile, of the bank that is not in use.
        let class = match unsafe { FILTER_SETS.get(&self.key) } {
            Some(classes) => classes[(self.bank & 1) as usize],
            None => 0,
        };
        self.of_class(class)
    }

    #[inline(always)]
    fn of_class(&self, class: u16) -> SetMasks {
        FILTER_CLASSES.get(self.bank * SET_CLASSES + u32::from(class)).copied().unwrap_or_default()
    }
}
