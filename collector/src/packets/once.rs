//! One copy of each packet: which of its sightings is written.
//!
//! A packet between two pods is seen at up to five interfaces: both ends of links, a bridge, and the network cards of two nodes.
//! A file with all of them reads as four retransmissions for each packet. Here the first sighting in order of time is kept, and the
//! others are left out and counted. Two rules decide, and both prefer a packet too many to one too few:
//!
//! 1. The identity of a packet is the same at all interfaces. Each interface and direction counts how often it saw an identity; only
//!    a count that no other has reached yet is a new packet. So real copies, such as repeated datagrams without an IP
//!    identification, stay.
//! 2. Segments of TCP may be put together or cut between two interfaces (GSO, GRO), which gives them another identity. Bytes that
//!    are already in the file are left out when they come from another interface than the one that the flow was first seen at;
//!    from that one they are a retransmission, and stay. Two connections may have one pair of addresses and ports: one after the
//!    other, or where a bridge shows packets whose addresses are translated by half. Their sequence numbers are far apart.
//!
//! What is remembered is bounded; when it is full the older half is forgotten, and copies that come later than that are written.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use netobserv_wire::packet::Direction;
use smallvec::SmallVec;

use super::headers::{Ends, is_after, tcp_data};
use super::window::Seen;

/// Identities and flows that are remembered: twice this many of each at most, some 10 MB in all.
const GENERATION: usize = 65_536;
/// How long an interface may be silent before another one takes its place as the first of a flow, ns of packet time.
const SILENT_NS: u64 = 1_000_000_000;

/// Sequence numbers further than this from the last are of another connection: more than senders have on the way, bytes.
const FAR: u32 = 16 << 20;

/// An interface and a direction at it.
type SeenAt = (usize, Direction);

/// Decides which sightings are written.
#[derive(Debug, Default)]
pub struct Once {
    packets: Generations<u64, Copies>,
    flows: Generations<Ends, Stream>,
    /// Losses at each interface that sightings reported which were left out: the next that is written there reports them.
    lost: HashMap<usize, u64>,
}

/// Sightings of one identity.
#[derive(Debug, Default)]
struct Copies {
    written: u32,
    seen: SmallVec<[(SeenAt, u32); 2]>,
}

/// One direction of a TCP connection.
#[derive(Debug)]
struct Stream {
    first: SeenAt,
    last_ns: u64,
    /// Sequence number behind the highest byte that is written.
    end: u32,
}

impl Once {
    /// Whether this sighting is written. Sightings come in order of time. Packets that were dropped, or have no
    /// identity, always are.
    pub fn keeps(&mut self, seen: &mut Seen) -> bool {
        let keeps = self.is_first(seen);
        if !keeps && seen.lost > 0 {
            *self.lost.entry(seen.place).or_default() += seen.lost;
        } else if keeps && let Some(lost) = self.lost.remove(&seen.place) {
            seen.lost += lost;
        }
        keeps
    }

    fn is_first(&mut self, seen: &Seen) -> bool {
        let packet = &seen.packet;
        if packet.cause.is_some() || packet.id == 0 {
            return true;
        }
        let spot = (seen.place, packet.direction);
        let copies = self.packets.get(packet.id);
        let count = copies.count(spot);
        if count <= copies.written {
            return false;
        }
        copies.written = count;
        match tcp_data(&packet.data) {
            Some(data) => self.is_new_data(spot, packet.time_ns, Ends::of(&packet.data), data),
            None => true,
        }
    }

    fn is_new_data(&mut self, spot: SeenAt, time_ns: u64, ends: Ends, (start, end): (u32, u32)) -> bool {
        let stream = self.flows.get_or(ends, || Stream { first: spot, last_ns: time_ns, end: start });
        let is_far = end.wrapping_sub(stream.end).cast_signed().unsigned_abs() > FAR;
        if time_ns.saturating_sub(stream.last_ns) > SILENT_NS {
            stream.first = spot;
            stream.end = if is_far { start } else { stream.end };
        } else if is_far {
            return true;
        }
        let is_new = is_after(end, stream.end);
        if is_new {
            stream.end = end;
        }
        if spot == stream.first {
            stream.last_ns = time_ns;
        }
        is_new || spot == stream.first
    }
}

impl Copies {
    /// How often it was seen at a spot, this time included.
    fn count(&mut self, spot: SeenAt) -> u32 {
        if let Some((_, count)) = self.seen.iter_mut().find(|(seen, _)| *seen == spot) {
            *count += 1;
            return *count;
        }
        self.seen.push((spot, 1));
        1
    }
}

/// A map that forgets its older half when it is full.
#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V, RandomState>,
    old: HashMap<K, V, RandomState>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: HashMap::default(), old: HashMap::default() }
    }
}

impl<K: std::hash::Hash + Eq + Copy, V> Generations<K, V> {
    fn get(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.get_or(key, V::default)
    }

    fn get_or(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_else(make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::headers::tcp_of;
    use netobserv_testkit::Frame;
    use netobserv_wire::Packet;
    use netobserv_wire::packet::identity;

    const CLIENT: usize = 0;
    const SERVER: usize = 1;

    fn seen(place: usize, time_ms: u64, frame: &[u8]) -> Seen {
        let packet = Packet {
            time_ns: time_ms * 1_000_000,
            id: identity(frame),
            data: frame.to_vec().into(),
            direction: Direction::In,
            ..Packet::default()
        };
        Seen { packet, place, lost: 0 }
    }

    fn frame() -> Frame {
        Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4("10.0.0.1", "10.0.0.2")
    }

    /// A segment with so much payload from this sequence number on.
    fn segment(seq: u32, length: usize) -> Vec<u8> {
        let mut bytes = frame().tcp(5_000, 80, 0x18).payload(length).build();
        let at = tcp_of(&bytes).unwrap().0;
        bytes[at + 4..at + 8].copy_from_slice(&seq.to_be_bytes());
        bytes
    }

    #[test]
    fn the_first_sighting_is_kept() {
        let mut once = Once::default();
        let ping = frame().icmp(8, 0).build();
        assert_eq!([CLIENT, SERVER, 2].map(|place| once.keeps(&mut seen(place, 1, &ping))), [true, false, false]);
    }

    #[test]
    fn real_copies_stay_as_often_as_one_place_saw_them() {
        let mut once = Once::default();
        let datagram = frame().udp(1_000, 53).payload(9).build();
        let mut kept = |place, time| once.keeps(&mut seen(place, time, &datagram));
        assert_eq!([kept(CLIENT, 1), kept(SERVER, 2), kept(CLIENT, 3), kept(SERVER, 4)], [true, false, true, false]);
        assert!(kept(SERVER, 5), "one that the client's side missed");
    }

    #[test]
    fn both_directions_of_loopback_are_one_packet() {
        let (mut once, ping) = (Once::default(), frame().icmp(8, 0).build());
        let mut out = seen(CLIENT, 1, &ping);
        out.packet.direction = Direction::Out;
        assert_eq!((once.keeps(&mut out), once.keeps(&mut seen(CLIENT, 1, &ping))), (true, false));
    }

    #[test]
    fn segments_that_are_put_together_or_cut_on_the_way_are_known() {
        let mut once = Once::default();
        assert!(once.keeps(&mut seen(CLIENT, 1, &segment(u32::MAX - 999, 3_000))));
        for part in [0, 1_000, 2_000] {
            assert!(!once.keeps(&mut seen(SERVER, 2, &segment((u32::MAX - 999).wrapping_add(part), 1_000))), "{part}");
        }
        assert!(once.keeps(&mut seen(CLIENT, 3, &segment(2_000, 1_000))), "new data");
        assert!(!once.keeps(&mut seen(SERVER, 4, &segment(500, 2_500))), "put together, with some that came before");
    }

    #[test]
    fn a_retransmission_is_kept_once() {
        let mut once = Once::default();
        let mut again = segment(1, 100);
        again[18..20].copy_from_slice(&[7, 7]);
        assert!(once.keeps(&mut seen(CLIENT, 1, &segment(1, 100))));
        assert!(once.keeps(&mut seen(CLIENT, 200, &again)), "at the sender's side");
        assert!(!once.keeps(&mut seen(SERVER, 201, &again)));
    }

    #[test]
    fn two_connections_of_one_five_tuple_stay_whole() {
        let (mut once, far) = (Once::default(), 3 << 30);
        for part in 0..3 {
            assert!(once.keeps(&mut seen(CLIENT, 1, &segment(1 + part * 1_000, 1_000))));
            assert!(once.keeps(&mut seen(SERVER, 1, &segment(far + part * 1_000, 1_000))), "before those of the first");
        }
        assert!(!once.keeps(&mut seen(SERVER, 2, &segment(1, 3_000))), "the first, put together");
        // The second continues alone.
        assert!(once.keeps(&mut seen(SERVER, 3_000, &segment(far + 3_000, 1_000))));
        assert!(!once.keeps(&mut seen(CLIENT, 3_001, &segment(far + 3_000, 500))), "the second, cut");
    }

    #[test]
    fn another_place_takes_over_when_the_first_is_silent() {
        let mut once = Once::default();
        assert!(once.keeps(&mut seen(CLIENT, 1, &segment(1, 100))));
        assert!(once.keeps(&mut seen(SERVER, 5_000, &segment(101, 100))), "the client's agent is gone");
        let mut again = segment(101, 100);
        again[18..20].copy_from_slice(&[7, 7]);
        assert!(once.keeps(&mut seen(SERVER, 5_200, &again)), "its retransmissions count now");
    }

    #[test]
    fn dropped_packets_are_always_kept() {
        let (mut once, ping) = (Once::default(), frame().icmp(8, 0).build());
        let mut dropped = seen(SERVER, 2, &ping);
        dropped.packet.cause = Some("NETFILTER_DROP".into());
        assert!(once.keeps(&mut seen(CLIENT, 1, &ping)) && once.keeps(&mut dropped));
    }

    #[test]
    fn losses_that_a_left_out_sighting_reported_are_on_the_next() {
        let (mut once, ping) = (Once::default(), frame().icmp(8, 0).build());
        assert!(once.keeps(&mut seen(CLIENT, 1, &ping)));
        assert!(!once.keeps(&mut Seen { lost: 5, ..seen(SERVER, 2, &ping) }));
        let mut next = Seen { lost: 2, ..seen(SERVER, 3, &frame().icmp(0, 0).build()) };
        assert!(once.keeps(&mut next));
        assert_eq!(next.lost, 7);
    }

    #[test]
    fn memory_is_bounded() {
        let mut once = Once::default();
        for number in 0..3 * GENERATION as u32 {
            assert!(once.keeps(&mut seen(CLIENT, 1, &segment(number * 4, 4))));
        }
        assert!(once.packets.young.len() + once.packets.old.len() <= 2 * GENERATION);
    }
}
