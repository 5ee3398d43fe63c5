//! Where packets are seen: the interfaces of all nodes, each with a number that holds for the whole capture.

use std::collections::HashMap;
use std::sync::Arc;

use netobserv_wire::netobserv::PacketInterface;

/// Packets and bytes that an interface counted, from the start of the capture; earlier lives of its agent are in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets that the rules chose.
    pub received: u64,
    /// Those that found no room in the kernel.
    pub lost_ring: u64,
    /// Those that found no room in the agent's queue.
    pub lost_queue: u64,
}

/// One interface of one node.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node.
    pub node: Arc<str>,
    /// Name of the interface, or `drop@<node>`.
    pub name: Box<str>,
    /// Inode number of its network namespace; 0 = the agent's.
    pub netns: u32,
    /// Where dropped packets are seen.
    pub drops: bool,
    /// What it counted.
    pub counted: Counted,
    /// Of earlier lives of the agent.
    before: Counted,
    instance: u64,
}

/// The places so far.
#[derive(Debug, Default)]
pub struct Places {
    all: Vec<Place>,
    by_name: HashMap<(Arc<str>, u32, Box<str>), usize>,
    by_id: HashMap<(Arc<str>, u64, u32), usize>,
}

/// What a batch says of one agent.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its node.
    pub node: Arc<str>,
    /// The life of the agent.
    pub instance: u64,
}

impl Counted {
    fn of(interface: &PacketInterface) -> Self {
        Self {
            received: interface.received_packets,
            lost_ring: interface.lost_ring_packets,
            lost_queue: interface.lost_queue_packets,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            received: self.received.saturating_add(other.received),
            lost_ring: self.lost_ring.saturating_add(other.lost_ring),
            lost_queue: self.lost_queue.saturating_add(other.lost_queue),
        }
    }

    /// Packets that are in no file for want of room before the collector.
    pub fn lost(&self) -> u64 {
        self.lost_ring.saturating_add(self.lost_queue)
    }
}

impl Places {
    /// Notes what an agent says of its interfaces.
    pub fn heard(&mut self, source: &Source, interfaces: &[PacketInterface]) {
        for interface in interfaces {
            let number = self.number_of(source, interface);
            self.by_id.insert((source.node.clone(), source.instance, interface.id), number);
            let place = &mut self.all[number];
            if place.instance != source.instance {
                place.before = place.counted;
                place.instance = source.instance;
            }
            place.counted = Counted::of(interface).plus(place.before);
        }
    }

    /// Number of the place that an agent calls `id`. One that it never told of gets its number for a name.
    pub fn find(&mut self, source: &Source, id: u32) -> usize {
        if let Some(number) = self.by_id.get(&(source.node.clone(), source.instance, id)) {
            return *number;
        }
        self.heard(source, &[PacketInterface { id, name: format!("#{id}"), ..PacketInterface::default() }]);
        self.all.len() - 1
    }

    /// All places, by number.
    pub fn all(&self) -> &[Place] {
        &self.all
    }

    fn number_of(&mut self, source: &Source, interface: &PacketInterface) -> usize {
        let key = (source.node.clone(), interface.netns, interface.name.as_str().into());
        let next = self.all.len();
        let number = *self.by_name.entry(key).or_insert(next);
        if number == next {
            self.all.push(Place {
                node: source.node.clone(),
                name: interface.name.as_str().into(),
                netns: interface.netns,
                drops: interface.drops,
                counted: Counted::default(),
                before: Counted::default(),
                instance: source.instance,
            });
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(node: &str, instance: u64) -> Source {
        Source { node: node.into(), instance }
    }

    fn interface(id: u32, name: &str, received_packets: u64) -> PacketInterface {
        PacketInterface { id, name: name.into(), received_packets, lost_ring_packets: 1, ..PacketInterface::default() }
    }

    #[test]
    fn an_interface_keeps_its_number_when_its_agent_is_started_anew() {
        let mut places = Places::default();
        places.heard(&source("a", 1), &[interface(1, "eth0", 5), interface(2, "eth1", 6)]);
        places.heard(&source("b", 1), &[interface(1, "eth0", 7)]);
        places.heard(&source("a", 1), &[interface(1, "eth0", 9)]);
        places.heard(&source("a", 2), &[interface(1, "eth1", 4)]);
        assert_eq!((places.find(&source("a", 1), 2), places.find(&source("a", 2), 1)), (1, 1));
        let counted: Vec<_> = places.all().iter().map(|place| (place.counted.received, place.counted.lost())).collect();
        assert_eq!(counted, [(9, 1), (10, 2), (7, 1)]);
    }

    #[test]
    fn the_same_name_in_two_namespaces_is_two_places() {
        let mut places = Places::default();
        let elsewhere = PacketInterface { netns: 7, ..interface(2, "eth0", 0) };
        places.heard(&source("a", 1), &[interface(1, "eth0", 0), elsewhere]);
        assert_eq!(places.all().len(), 2);
    }

    #[test]
    fn a_place_that_nobody_told_of_has_a_number_for_a_name() {
        let mut places = Places::default();
        assert_eq!((places.find(&source("a", 1), 7), places.find(&source("a", 1), 7)), (0, 0));
        assert_eq!(&*places.all()[0].name, "#7");
    }
}
