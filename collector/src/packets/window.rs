//! Puts the packets of several agents in order of time.
//!
//! Agents send a few times a second, each on its own beat, so a packet may arrive after later ones of another node. A packet is
//! held until everything that arrived a moment after it is there too. One that comes later still is let through at once, and
//! counted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use netobserv_wire::packet::{HEAD, Packet};

/// How long a packet waits: agents send at least every 100 ms, the rest is for the way.
pub const WAIT: Duration = Duration::from_millis(300);
/// The same where secrets come from a pod, by way of a user's machine: they are to stand before the packets they belong to, also
/// when two calls of `oc` take seconds.
pub const LONG_WAIT: Duration = Duration::from_secs(10);
/// Bytes of packets that may wait; from there on the older half goes, whatever its age.
pub const MOST_BYTES: usize = 24 << 20;

/// A packet and the number of the place where it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The packet.
    pub packet: Packet,
    /// What [`Places`](super::places::Places) calls the interface.
    pub place: usize,
    /// Packets that were lost there since the one before.
    pub lost: u64,
}

/// Packets that wait.
#[derive(Debug)]
pub struct Window {
    wait: Duration,
    held: Vec<Seen>,
    bytes: usize,
    /// When packets arrived, with the latest time among all that had arrived by then.
    arrivals: VecDeque<(Instant, u64)>,
    /// Time of the latest packet that was let through.
    passed: u64,
    late: u64,
}

/// Bytes that a packet takes up.
pub fn cost(packet: &Packet) -> usize {
    HEAD + packet.data.len()
}

impl Default for Window {
    fn default() -> Self {
        Self::new(WAIT)
    }
}

impl Window {
    /// Holds packets for this long.
    pub fn new(wait: Duration) -> Self {
        Self { wait, held: vec![], bytes: 0, arrivals: VecDeque::new(), passed: 0, late: 0 }
    }

    /// Takes packets in that arrived `now`.
    pub fn add(&mut self, packets: impl Iterator<Item = Seen>, now: Instant) {
        let mut latest = self.arrivals.back().map_or(0, |(_, time)| *time);
        for seen in packets {
            latest = latest.max(seen.packet.time_ns);
            self.bytes += cost(&seen.packet);
            self.held.push(seen);
        }
        self.arrivals.push_back((now, latest));
    }

    /// Lets those through whose time has come, oldest first.
    pub fn due(&mut self, now: Instant) -> impl Iterator<Item = Seen> {
        let mut horizon = 0;
        while let Some((_, latest)) = self.arrivals.front().filter(|(at, _)| now.duration_since(*at) >= self.wait) {
            horizon = *latest;
            self.arrivals.pop_front();
        }
        let crowded = self.is_crowded();
        if horizon > 0 || crowded {
            // Sorts what is sorted in long runs in hardly more than one pass.
            self.held.sort_by_key(|seen| seen.packet.time_ns);
        }
        let due = self.held.partition_point(|seen| seen.packet.time_ns <= horizon);
        self.pass(if crowded { due.max(self.held.len().div_ceil(2)) } else { due })
    }

    /// Lets all through, oldest first.
    pub fn all(&mut self) -> impl Iterator<Item = Seen> {
        self.arrivals.clear();
        self.held.sort_by_key(|seen| seen.packet.time_ns);
        self.pass(self.held.len())
    }

    /// More waits than should: some is to be let through now.
    pub fn is_crowded(&self) -> bool {
        self.bytes > MOST_BYTES
    }

    /// Packets that came too late to be in order.
    pub fn late(&self) -> u64 {
        self.late
    }

    fn pass(&mut self, number: usize) -> impl Iterator<Item = Seen> {
        let gone = self.held.drain(..number);
        let (bytes, passed, late) = (&mut self.bytes, &mut self.passed, &mut self.late);
        gone.inspect(move |seen| {
            *bytes -= cost(&seen.packet);
            *late += u64::from(seen.packet.time_ns < *passed);
            *passed = seen.packet.time_ns.max(*passed);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(times: &[u64]) -> impl Iterator<Item = Seen> {
        times.iter().map(|time| Seen { packet: Packet { time_ns: *time, ..Packet::default() }, place: 0, lost: 0 })
    }

    fn times(seen: impl Iterator<Item = Seen>) -> Vec<u64> {
        seen.map(|seen| seen.packet.time_ns).collect()
    }

    #[test]
    fn packets_of_several_nodes_come_out_in_order() {
        let (mut window, start) = (Window::default(), Instant::now());
        window.add(seen(&[10, 30, 50]), start);
        window.add(seen(&[20, 40, 60]), start + WAIT / 2);
        assert!(times(window.due(start + WAIT / 2)).is_empty());
        assert_eq!(times(window.due(start + WAIT)), [10, 20, 30, 40, 50]);
        window.add(seen(&[55]), start + WAIT);
        assert_eq!(times(window.due(start + 2 * WAIT)), [55, 60]);
        assert_eq!(window.late(), 0);
    }

    #[test]
    fn a_late_packet_is_let_through_and_counted() {
        let (mut window, start) = (Window::default(), Instant::now());
        window.add(seen(&[10, 30]), start);
        assert_eq!(times(window.due(start + WAIT)), [10, 30]);
        window.add(seen(&[20, 40]), start + WAIT);
        assert_eq!(times(window.all()), [20, 40]);
        assert_eq!(window.late(), 1);
    }

    #[test]
    fn packets_of_one_time_keep_their_order() {
        let (mut window, start) = (Window::default(), Instant::now());
        let one = |place| Seen { packet: Packet { time_ns: 5, ..Packet::default() }, place, lost: 0 };
        window.add((0..100).map(one), start);
        assert!(window.due(start + WAIT).map(|seen| seen.place).eq(0..100));
    }

    #[test]
    fn a_crowd_does_not_wait() {
        let (mut window, start) = (Window::default(), Instant::now());
        let large = Packet { data: vec![0; MOST_BYTES / 4].into(), ..Packet::default() };
        window
            .add((0..6).map(|n| Seen { packet: Packet { time_ns: 9 - n, ..large.clone() }, place: 0, lost: 0 }), start);
        assert_eq!(times(window.due(start)), [4, 5, 6]);
        assert!(times(window.due(start)).is_empty());
        assert_eq!(times(window.all()), [7, 8, 9]);
        assert_eq!(window.bytes, 0);
    }
}
