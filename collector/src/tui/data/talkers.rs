//! Totals of every flow (addresses, ports, protocol) since the start: what the views Top and Problems are made of.
//!
//! The table is bounded. When it is full the smaller half goes; what it had is kept as one sum, so that totals stay exact.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::RandomState;
use netobserv_wire::Flow;
use netobserv_wire::flow::HolderRef;

/// Most flows with totals of their own, and most ends with names. An entry is about 200 bytes.
const MOST: usize = 65_536;

/// What makes a flow: one direction of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::tui) struct Key {
    pub(in crate::tui) src: Option<IpAddr>,
    pub(in crate::tui) dst: Option<IpAddr>,
    pub(in crate::tui) src_port: u16,
    pub(in crate::tui) dst_port: u16,
    pub(in crate::tui) proto: u8,
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tui) struct Sums {
    pub(in crate::tui) bytes: u64,
    pub(in crate::tui) packets: u64,
    pub(in crate::tui) drops: u64,
    pub(in crate::tui) dns_errors: u64,
}

/// One flow.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tui) struct Talk {
    pub(in crate::tui) sums: Sums,
    /// OR of the TCP flags.
    pub(in crate::tui) flags: u32,
    /// Whether the source is the client, where the record says so.
    pub(in crate::tui) from_client: Option<bool>,
    /// Since the start of the capture.
    pub(in crate::tui) first: Duration,
    pub(in crate::tui) last: Duration,
    /// Indices for [`Talkers::end`].
    pub(in crate::tui) ends: [u32; 2],
    named: bool,
}

/// One end of flows.
#[derive(Clone, Debug)]
pub(in crate::tui) struct End {
    pub(in crate::tui) address: IpAddr,
    pub(in crate::tui) holder: Option<HolderRef>,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::tui) struct Talkers {
    talks: HashMap<Key, Talk, RandomState>,
    index: HashMap<IpAddr, u32, RandomState>,
    ends: Vec<End>,
    /// Flows that were let go, and what they had.
    pub(in crate::tui) let_go: (u64, Sums),
}

/// Index of an end without a name of its own.
pub(in crate::tui) const NOBODY: u32 = u32::MAX;

impl Key {
    pub(in crate::tui) fn of(flow: &Flow) -> Self {
        Self {
            src: flow.src_addr,
            dst: flow.dst_addr,
            src_port: flow.src_port.unwrap_or(0),
            dst_port: flow.dst_port.unwrap_or(0),
            proto: flow.proto.unwrap_or(0),
        }
    }

    /// The other direction.
    pub(in crate::tui) fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..self }
    }

    /// Whether this is the client's direction: a server has the lower port.
    pub(in crate::tui) fn to_server(self) -> bool {
        (self.dst_port, self.dst) <= (self.src_port, self.src)
    }
}

impl Sums {
    fn of(flow: &Flow) -> Self {
        Self {
            bytes: flow.bytes,
            packets: flow.packets,
            drops: flow.drops.as_ref().map_or(0, |drops| drops.packets),
            dns_errors: super::problems::dns_error(flow).is_some().into(),
        }
    }

    pub(in crate::tui) fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.packets = self.packets.saturating_add(other.packets);
        self.drops = self.drops.saturating_add(other.drops);
        self.dns_errors = self.dns_errors.saturating_add(other.dns_errors);
    }
}

impl Talkers {
    pub(in crate::tui) fn add(&mut self, flow: &Flow, now: Duration) {
        if self.talks.len() >= MOST {
            self.let_half_go();
        }
        let key = Key::of(flow);
        let mut is_new = false;
        let talk = self.talks.entry(key).or_insert_with(|| {
            is_new = true;
            Talk { first: now, ends: [NOBODY; 2], ..Talk::default() }
        });
        talk.sums.add(Sums::of(flow));
        talk.flags |= flow.flags.unwrap_or(0);
        talk.from_client = flow.conversation.and_then(|conversation| conversation.from_client).or(talk.from_client);
        talk.last = now;
        if is_new || (!talk.named && flow.k8s.is_some()) {
            talk.named = flow.k8s.is_some();
            let names = flow.k8s.as_ref();
            let sides = [
                (key.src, names.and_then(|k8s| k8s.src.holder.as_ref())),
                (key.dst, names.and_then(|k8s| k8s.dst.holder.as_ref())),
            ];
            talk.ends = sides.map(|(address, holder)| intern(&mut self.index, &mut self.ends, address, holder));
        }
    }

    pub(in crate::tui) fn iter(&self) -> impl Iterator<Item = (&Key, &Talk)> {
        self.talks.iter()
    }

    pub(in crate::tui) fn get(&self, key: Key) -> Option<&Talk> {
        self.talks.get(&key)
    }

    pub(in crate::tui) fn end(&self, index: u32) -> Option<&End> {
        self.ends.get(index as usize)
    }

    pub(in crate::tui) fn ends(&self) -> usize {
        self.ends.len()
    }

    /// The end with this address.
    pub(in crate::tui) fn end_of(&self, address: IpAddr) -> Option<&End> {
        self.index.get(&address).and_then(|index| self.end(*index))
    }

    fn let_half_go(&mut self) {
        let mut bytes: Vec<_> = self.talks.values().map(|talk| talk.sums.bytes).collect();
        let half = bytes.len() / 2;
        let (_, median, _) = bytes.select_nth_unstable(half);
        let (median, gone, mut room) = (*median, &mut self.let_go, half);
        self.talks.retain(|_, talk| {
            let stays = talk.sums.bytes > median || (talk.sums.bytes == median && room > half / 2);
            if stays {
                room = room.saturating_sub(1);
            } else {
                gone.0 += 1;
                gone.1.add(talk.sums);
            }
            stays
        });
    }
}

fn intern(
    index: &mut HashMap<IpAddr, u32, RandomState>,
    ends: &mut Vec<End>,
    address: Option<IpAddr>,
    holder: Option<&HolderRef>,
) -> u32 {
    let Some(address) = address else { return NOBODY };
    if let Some(known) = index.get(&address) {
        if let (Some(holder), Some(end)) = (holder, ends.get_mut(*known as usize)) {
            end.holder = Some(holder.clone());
        }
        return *known;
    }
    if ends.len() >= MOST {
        return NOBODY;
    }
    let new = ends.len() as u32;
    index.insert(address, new);
    ends.push(End { address, holder: holder.cloned() });
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::Holder;

    fn flow(number: u32, bytes: u64) -> Flow {
        let src_addr = Some(IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
        Flow { src_addr, dst_addr: "10.255.0.1".parse().ok(), bytes, packets: 1, ..Flow::default() }
    }

    #[test]
    fn sums_are_exact_also_when_small_flows_are_let_go() {
        let mut talkers = Talkers::default();
        let many = MOST as u32 * 2;
        for number in 0..many {
            talkers.add(&flow(number, if number % 1_000 == 0 { 1_000_000 } else { 60 }), Duration::ZERO);
        }
        let mut sums = talkers.let_go.1;
        talkers.iter().for_each(|(_, talk)| sums.add(talk.sums));
        assert_eq!(sums.packets, u64::from(many));
        assert!(talkers.talks.len() <= MOST && talkers.let_go.0 > 0, "bounded");
        assert!(talkers.get(Key::of(&flow(0, 0))).is_some(), "the large ones stay");
        assert!(talkers.ends() <= MOST);
    }

    #[test]
    fn names_that_come_late_are_taken() {
        let mut talkers = Talkers::default();
        talkers.add(&flow(1, 5), Duration::ZERO);
        let mut named = flow(1, 6);
        let mut k8s = netobserv_wire::flow::Enrichment::default();
        k8s.src.holder = Some(Holder { name: "web".into(), ..Holder::default() }.into());
        named.k8s = Some(k8s);
        talkers.add(&named, Duration::from_secs(1));
        let talk = talkers.get(Key::of(&named)).unwrap();
        assert_eq!((talk.sums.bytes, talk.first, talk.last), (11, Duration::ZERO, Duration::from_secs(1)));
        assert_eq!(talkers.end(talk.ends[0]).unwrap().holder.as_ref().unwrap().name, "web");
    }

    #[test]
    fn the_direction_to_the_server_goes_to_the_lower_port() {
        let key = Key { src_port: 40_000, dst_port: 443, ..Key::default() };
        assert!(key.to_server() && !key.reversed().to_server());
    }
}
