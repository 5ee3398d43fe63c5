//! The interfaces that packets are seen at, as the collector knows them, and what is counted for each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use netobserv_wire::netobserv::PacketInterface;

use crate::interfaces::{InterfaceId, Names};

/// Where a packet is seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SeenAt {
    /// At an interface.
    At(InterfaceId),
    /// In the hands of the kernel, which dropped it.
    Dropped,
}

/// A number of packets, and their lengths on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Tally {
    /// One packet.
    pub fn one(bytes: u64) -> Self {
        Self { packets: 1, bytes }
    }

    /// Adds another number.
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// All of them; shared by the thread that reads and the one that sends.
#[derive(Clone)]
pub struct InterfaceTable(Arc<Mutex<Inner>>);

struct Inner {
    ids: HashMap<SeenAt, u32>,
    /// Number `id` at `id - 1`.
    all: Vec<PacketInterface>,
    names: Names,
    node: String,
}

impl InterfaceTable {
    /// None yet.
    pub fn new(names: Names, node: &str) -> Self {
        let inner = Inner { ids: HashMap::new(), all: vec![], names, node: node.to_owned() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// The number of a at, which the collector gets from then on.
    pub fn id(&self, at: SeenAt) -> u32 {
        self.with(|inner| inner.id(at))
    }

    /// Adds what was chosen at these spots, by their numbers.
    pub fn received(&self, tallies: impl IntoIterator<Item = (u32, Tally)>) {
        self.with(|inner| {
            for (id, tally) in tallies {
                let place = &mut inner.all[id as usize - 1];
                place.received_packets += tally.packets;
                place.received_bytes += tally.bytes;
            }
        });
    }

    /// Adds what found no room in the queue.
    pub fn lost_in_queue(&self, tallies: impl IntoIterator<Item = (u32, Tally)>) {
        self.with(|inner| {
            for (id, tally) in tallies {
                let place = &mut inner.all[id as usize - 1];
                place.lost_queue_packets += tally.packets;
                place.lost_queue_bytes += tally.bytes;
            }
        });
    }

    /// Sets how much found no room in the ring buffer so far. It was received as well.
    pub fn lost_in_ring(&self, at: SeenAt, now: Tally) {
        self.with(|inner| {
            let id = inner.id(at);
            let place = &mut inner.all[id as usize - 1];
            place.received_packets += now.packets - place.lost_ring_packets;
            place.received_bytes += now.bytes - place.lost_ring_bytes;
            (place.lost_ring_packets, place.lost_ring_bytes) = (now.packets, now.bytes);
        });
    }

    /// Everything, to be sent.
    pub fn all(&self) -> Vec<PacketInterface> {
        self.with(|inner| inner.all.clone())
    }

    fn with<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> T {
        what(&mut self.0.lock().expect("no panic under the lock"))
    }
}

impl Inner {
    fn id(&mut self, at: SeenAt) -> u32 {
        if let Some(id) = self.ids.get(&at) {
            return *id;
        }
        let id = self.all.len() as u32 + 1;
        let new = match at {
            SeenAt::At(place) => PacketInterface {
                id,
                name: self.names.label(place),
                ifindex: place.ifindex,
                netns: place.netns,
                ..Default::default()
            },
            SeenAt::Dropped => {
                PacketInterface { id, name: format!("drop@{}", self.node), drops: true, ..Default::default() }
            }
        };
        self.all.push(new);
        self.ids.insert(at, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_received_is_delivered_or_lost() {
        let names = Names::default();
        let place = InterfaceId { netns: 0, ifindex: 7 };
        names.set(place, "eth0");
        let table = InterfaceTable::new(names, "node1");
        let eth0 = table.id(SeenAt::At(place));
        table.received([(eth0, Tally { packets: 10, bytes: 1000 })]);
        table.lost_in_queue([(eth0, Tally { packets: 4, bytes: 400 })]);
        for packets in [2, 5] {
            table.lost_in_ring(SeenAt::At(place), Tally { packets, bytes: packets * 100 });
        }
        let all = table.all();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].name.as_str(), all[0].ifindex, all[0].id), ("eth0", 7, eth0));
        assert_eq!((all[0].received_packets, all[0].received_bytes), (15, 1500));
        assert_eq!((all[0].lost_ring_packets, all[0].lost_queue_packets, all[0].lost_packets()), (5, 4, 9));
    }

    #[test]
    fn dropped_packets_have_one_place_on_a_node() {
        let table = InterfaceTable::new(Names::default(), "node1");
        assert_eq!((table.id(SeenAt::Dropped), table.id(SeenAt::Dropped)), (1, 1));
        assert_eq!((table.all()[0].name.as_str(), table.all()[0].drops), ("drop@node1", true));
    }
}
