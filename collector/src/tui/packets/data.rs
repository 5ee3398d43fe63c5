//! What the screen knows of a capture of packets: every conversation with its sums, and the latest packets. Both are bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use netobserv_wire::Flow;
use netobserv_wire::flow::{Drops, Endpoint, Enrichment, Interface};

use super::decode;
use super::numbers::{Base, Numbers};
use crate::packets::headers::{Ends, is_after, tcp_data, tcp_of};
use crate::packets::screen::Sightings;
use crate::packets::talks::{LOOK_AGAIN_NS, NameLookup, names};
use crate::packets::window::Seen;

/// Conversations that are remembered; of these the quarter that was silent for longest goes when there are more. One is about 1 KB.
const MOST_TALKS: usize = 16_384;
/// Packets that are kept to be shown, and bytes of all of them, and of one: the first.
const MOST_PACKETS: usize = 20_000;
const MOST_BYTES: usize = 16 << 20;
const MOST_OF_ONE: usize = 2_048;
/// Interfaces of a conversation that are shown.
const MOST_PLACES: usize = 8;
/// The flags of TCP that distinguish a client from a server (RFC 9293).
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Both directions between two ends, client first.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    /// As a flow from client to server, with what both have done: what filters look at.
    pub(super) flow: Flow,
    /// Packets and bytes from the client, and from the server.
    pub(super) packets: [u64; 2],
    pub(super) bytes: [u64; 2],
    /// TCP segments with data that were seen before at the same place.
    pub(super) resent: u64,
    /// First and last packet, ns since 1970.
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// The client is the first of the two ends of the key.
    client: (std::net::IpAddr, u16),
    /// For each direction the place where it was seen first, and the number behind the last byte seen there.
    sent: [Option<(usize, u32)>; 2],
    numbers: Numbers,
    looked_ns: u64,
}

/// A packet that is kept to be shown.
#[derive(Debug)]
pub(super) struct Kept {
    /// From 1, in the order in which they were written.
    pub(super) number: u64,
    pub(super) key: Ends,
    pub(super) from_client: bool,
    pub(super) time_ns: u64,
    pub(super) original: u32,
    pub(super) captured: usize,
    /// The first of its bytes.
    pub(super) data: Box<[u8]>,
    /// What its sequence numbers are counted from.
    pub(super) base: Base,
    pub(super) place: Arc<str>,
    pub(super) cause: Option<Arc<str>>,
    /// Packets that were lost at its place before it.
    pub(super) lost: u64,
    pub(super) id: u64,
    summary: OnceLock<(&'static str, String)>,
}

impl Kept {
    /// Protocol and meaning.
    pub(super) fn summary(&self) -> &(&'static str, String) {
        self.summary.get_or_init(|| decode::summary(&self.data, self.base))
    }
}

/// A packet with these bytes and nothing else.
#[cfg(test)]
pub(super) fn kept_for_tests(from_client: bool, data: Vec<u8>) -> Kept {
    Kept {
        number: 1,
        key: Ends::of(&data).conversation(),
        from_client,
        time_ns: 0,
        original: data.len() as u32,
        captured: data.len(),
        data: data.into(),
        base: Base::default(),
        place: "eth0".into(),
        cause: None,
        lost: 0,
        id: 0,
        summary: OnceLock::new(),
    }
}

/// All of it.
#[derive(Clone, Default)]
pub(super) struct Data {
    talks: HashMap<Ends, Talk>,
    ring: VecDeque<Arc<Kept>>,
    ring_bytes: usize,
    /// Packets that came here.
    pub(super) seen: u64,
    /// Packets that found no room on the way here.
    pub(super) missed: u64,
    /// Conversations that were forgotten.
    pub(super) let_go: u64,
    who: Option<NameLookup>,
}

impl Data {
    pub(super) fn new(who: Option<NameLookup>) -> Self {
        Self { who, ..Self::default() }
    }

    pub(super) fn add(&mut self, sightings: &Sightings) {
        for seen in &sightings.seen {
            let place = sightings.places.get(seen.place).cloned().unwrap_or_else(|| "?".into());
            self.add_one(seen, place);
        }
    }

    fn add_one(&mut self, seen: &Seen, place: Arc<str>) {
        self.seen += 1;
        let ends = Ends::of(&seen.packet.data);
        let key = ends.conversation();
        if self.talks.len() >= MOST_TALKS && !self.talks.contains_key(&key) {
            self.forget();
        }
        let talk = self.talks.entry(key).or_insert_with(|| Talk::new(&ends, seen));
        talk.look(self.who.as_ref(), &ends, seen);
        let from_client = talk.add(&ends, seen, &place);
        let base = talk.numbers.of(usize::from(!from_client), &seen.packet.data);
        self.keep(seen, (key, from_client), base, place);
    }

    /// Forgets the quarter of the conversations that was silent for longest.
    fn forget(&mut self) {
        let mut times: Vec<u64> = self.talks.values().map(|talk| talk.last_ns).collect();
        let (_, horizon, _) = times.select_nth_unstable(MOST_TALKS / 4);
        let (horizon, before) = (*horizon, self.talks.len());
        self.talks.retain(|_, talk| talk.last_ns > horizon);
        self.let_go += (before - self.talks.len()) as u64;
    }

    fn keep(&mut self, seen: &Seen, (key, from_client): (Ends, bool), base: Base, place: Arc<str>) {
        let packet = &seen.packet;
        let data = &packet.data[..packet.data.len().min(MOST_OF_ONE)];
        self.ring_bytes += data.len();
        self.ring.push_back(Arc::new(Kept {
            number: self.seen,
            key,
            from_client,
            time_ns: packet.time_ns,
            original: packet.original,
            captured: packet.data.len(),
            data: data.into(),
            base,
            place,
            cause: packet.cause.clone(),
            lost: seen.lost,
            id: packet.id,
            summary: OnceLock::new(),
        }));
        while self.ring.len() > MOST_PACKETS || self.ring_bytes > MOST_BYTES {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.data.len();
        }
    }

    /// All conversations.
    pub(super) fn talks(&self) -> impl Iterator<Item = (&Ends, &Talk)> {
        self.talks.iter()
    }

    pub(super) fn talk(&self, key: &Ends) -> Option<&Talk> {
        self.talks.get(key)
    }

    /// The packets of a conversation that are still kept, the oldest first.
    pub(super) fn packets(&self, key: Ends) -> impl Iterator<Item = &Arc<Kept>> {
        self.ring.iter().filter(move |kept| kept.key == key)
    }
}

impl Talk {
    fn new(ends: &Ends, seen: &Seen) -> Self {
        let client = if is_from_client(ends, &seen.packet.data) { *ends } else { ends.turned() };
        let flow = Flow {
            src_addr: client.addresses.map(|(src, _)| src),
            dst_addr: client.addresses.map(|(_, dst)| dst),
            src_port: client.ports.map(|(src, _)| src),
            dst_port: client.ports.map(|(_, dst)| dst),
            proto: client.proto,
            etype: client.etype,
            sampling: seen.packet.sampling,
            start_ms: seen.packet.time_ns / 1_000_000,
            ..Flow::default()
        };
        Self {
            flow,
            packets: [0; 2],
            bytes: [0; 2],
            resent: 0,
            first_ns: seen.packet.time_ns,
            last_ns: seen.packet.time_ns,
            client: sender(&client),
            sent: [None; 2],
            numbers: Numbers::default(),
            looked_ns: 0,
        }
    }

    /// Counts a packet; true when the client sent it.
    fn add(&mut self, ends: &Ends, seen: &Seen, place: &str) -> bool {
        let packet = &seen.packet;
        let from_client = sender(ends) == self.client;
        let side = usize::from(!from_client);
        self.packets[side] += 1;
        self.bytes[side] += u64::from(packet.original);
        self.flow.packets += 1;
        self.flow.bytes += u64::from(packet.original);
        self.first_ns = self.first_ns.min(packet.time_ns);
        self.last_ns = self.last_ns.max(packet.time_ns);
        self.flow.end_ms = self.last_ns / 1_000_000;
        if let Some(cause) = &packet.cause {
            let drops = self.flow.drops.get_or_insert_default();
            **drops = Drops {
                packets: drops.packets + 1,
                bytes: drops.bytes + u64::from(packet.original),
                cause: (&**cause).into(),
                ..Drops::default()
            };
        } else if let Some((from, to)) = tcp_data(&packet.data) {
            self.count_resent(side, seen.place, from, to);
        }
        let known = self.flow.interfaces.iter().any(|known| known.name == *place);
        if !known && self.flow.interfaces.len() < MOST_PLACES {
            self.flow.interfaces.push(Interface { name: place.into(), ..Interface::default() });
        }
        from_client
    }

    /// A packet is seen at several places: only the first one of a direction shows what was sent again.
    fn count_resent(&mut self, side: usize, place: usize, from: u32, to: u32) {
        let (at, next) = *self.sent[side].get_or_insert((place, from));
        if at != place {
            return;
        }
        self.resent += u64::from(is_after(next, from));
        if is_after(to, next) {
            self.sent[side] = Some((place, to));
        }
    }

    /// Asks for the names of both ends, at first and, while one is missing, every second.
    fn look(&mut self, who: Option<&NameLookup>, ends: &Ends, seen: &Seen) {
        let Some(who) = who else { return };
        let time_ns = seen.packet.time_ns;
        let holder =
            |end: fn(&Enrichment) -> &Endpoint| self.flow.k8s.as_ref().and_then(|k8s| end(k8s).holder.as_ref());
        let named = holder(|k8s| &k8s.src).is_some() && holder(|k8s| &k8s.dst).is_some();
        if self.looked_ns != 0 && (named || time_ns < self.looked_ns.saturating_add(LOOK_AGAIN_NS)) {
            return;
        }
        self.looked_ns = time_ns;
        let [mut src, mut dst] = names(who, ends, &seen.packet.data, time_ns);
        if sender(ends) != self.client {
            std::mem::swap(&mut src, &mut dst);
        }
        if src.is_some() || dst.is_some() {
            let k8s = self.flow.k8s.get_or_insert_default();
            k8s.src.holder = src.or(k8s.src.holder.take());
            k8s.dst.holder = dst.or(k8s.dst.holder.take());
        }
    }
}

/// The sender; none without addresses.
fn sender(ends: &Ends) -> (std::net::IpAddr, u16) {
    let nobody = std::net::Ipv4Addr::UNSPECIFIED.into();
    (ends.addresses.map_or(nobody, |(src, _)| src), ends.ports.map_or(0, |(src, _)| src))
}

/// The one who opens a TCP connection is a client; else who has the higher port, or who speaks first.
fn is_from_client(ends: &Ends, frame: &[u8]) -> bool {
    match tcp_flags(frame).map(|flags| flags & (SYN | ACK)) {
        Some(SYN) => true,
        Some(flags) if flags == SYN | ACK => false,
        _ => ends.ports.is_none_or(|(src, dst)| src >= dst),
    }
}

fn tcp_flags(frame: &[u8]) -> Option<u8> {
    let (at, _) = tcp_of(frame)?;
    frame.get(at + 13).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_testkit::Frame;
    use netobserv_wire::Packet;
    use netobserv_wire::flow::Holder;

    fn frame(to_server: bool, port: u16) -> Frame {
        let (src, dst) = if to_server { ("10.0.0.1", "10.0.0.2") } else { ("10.0.0.2", "10.0.0.1") };
        let frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(src, dst);
        if to_server { frame.tcp(port, 80, 24) } else { frame.tcp(80, port, 24) }
    }

    fn sightings(frames: &[(u64, Vec<u8>)]) -> Sightings {
        let seen = frames.iter().map(|(time_ns, frame)| {
            let original = frame.len() as u32;
            let packet = Packet { time_ns: *time_ns, original, data: frame.clone().into(), ..Packet::default() };
            Seen { packet, place: 0, lost: 0 }
        });
        Sightings { seen: seen.collect(), places: [Arc::from("n1/eth0")].into() }
    }

    #[test]
    fn both_directions_are_one_conversation_with_its_client_first() {
        let mut data = Data::new(None);
        data.add(&sightings(&[(5, frame(false, 9_000).build()), (7, frame(true, 9_000).payload(10).build())]));
        let talks: Vec<_> = data.talks().collect();
        assert_eq!(talks.len(), 1);
        let (key, talk) = talks[0];
        assert_eq!((talk.flow.src_port, talk.flow.dst_port), (Some(9_000), Some(80)));
        assert_eq!((talk.packets, talk.bytes, talk.first_ns, talk.last_ns), ([1, 1], [64, 54], 5, 7));
        let from_client: Vec<_> = data.packets(*key).map(|kept| kept.from_client).collect();
        assert_eq!(from_client, [false, true]);
    }

    #[test]
    fn data_that_was_sent_again_is_told() {
        let (mut data, segment) = (Data::new(None), frame(true, 9_000).payload(10).build());
        data.add(&sightings(&[(1, segment.clone()), (2, frame(false, 9_000).build()), (3, segment)]));
        assert_eq!(data.talks().map(|(_, talk)| talk.resent).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn ends_get_their_names_as_soon_as_there_are_any() {
        let known = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let asked = known.clone();
        let who: NameLookup = Arc::new(move |end| {
            let holder = Holder { name: end.address.to_string().into(), ..Holder::default() };
            asked.load(std::sync::atomic::Ordering::Relaxed).then(|| holder.into())
        });
        let mut data = Data::new(Some(who));
        let name = |data: &Data| data.talks().find_map(|(_, talk)| talk.flow.k8s.as_ref()?.src.holder.clone());
        data.add(&sightings(&[(5, frame(true, 9_000).build())]));
        assert_eq!(name(&data), None);
        known.store(true, std::sync::atomic::Ordering::Relaxed);
        data.add(&sightings(&[(5 + LOOK_AGAIN_NS, frame(false, 9_000).build())]));
        assert_eq!(name(&data).unwrap().name, "10.0.0.1");
    }

    #[test]
    fn memory_is_bounded() {
        let mut data = Data::new(None);
        let large = frame(true, 1).payload(60_000).build();
        let packets: Vec<_> = (0..10_000).map(|time| (time, large.clone())).collect();
        data.add(&sightings(&packets));
        assert!(data.ring_bytes <= MOST_BYTES && data.ring.iter().all(|kept| kept.data.len() == MOST_OF_ONE));
        assert_eq!((data.ring.back().unwrap().number, data.ring.back().unwrap().captured), (10_000, large.len()));
        let others: Vec<_> = (0..20_000).map(|n| (n + 1, frame(true, 20_000 + n as u16).build())).collect();
        data.add(&sightings(&others));
        assert!(data.talks.len() <= MOST_TALKS && data.ring.len() <= MOST_PACKETS, "{}", data.talks.len());
        assert_eq!(data.talks.len() as u64 + data.let_go, 20_001);
    }
}
