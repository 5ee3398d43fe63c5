//! Where packets are seen: the interfaces of all nodes, each with a number that holds for the whole capture.

use std::collections::HashMap;
use std::sync::Arc;

use netobserv_wire::netobserv::PacketInterface;

/// Places of one node, and of all nodes. Packets that are seen at others share a place, one for each node.
const MOST_OF_NODE: usize = 16_384;
const MOST: usize = 400_000;
/// Lives of an agent whose numbers are known: the present one, and the one before, of which packets may still be on their way.
const LIVES: usize = 2;
/// Name of the place for all that has no place of its own.
const OTHERS: &str = "others";

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
    nodes: HashMap<Arc<str>, Node>,
}

/// What one node's agents call its places.
#[derive(Debug, Default)]
struct Node {
    by_name: HashMap<(u32, Box<str>), usize>,
    /// The latest life last.
    lives: Vec<(u64, HashMap<u32, usize>)>,
    others: Option<usize>,
}

/// What a batch reports of one agent.
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
    /// Records what an agent reports of its interfaces.
    pub fn heard(&mut self, source: &Source, interfaces: &[PacketInterface]) {
        for interface in interfaces {
            self.number_of(source, interface);
        }
    }

    /// Number of the place that an agent calls `id`. One that it never described gets its number for a name.
    pub fn find(&mut self, source: &Source, id: u32) -> usize {
        let known = self.nodes.get(&source.node).and_then(|node| node.number(source.instance, id));
        known.unwrap_or_else(|| {
            self.number_of(source, &PacketInterface { id, name: format!("#{id}"), ..PacketInterface::default() })
        })
    }

    /// All places, by number.
    pub fn all(&self) -> &[Place] {
        &self.all
    }

    /// Number of a place, from now on also by what the agent calls it, with what was counted there.
    fn number_of(&mut self, source: &Source, interface: &PacketInterface) -> usize {
        let (all, node) = (&mut self.all, self.nodes.entry(source.node.clone()).or_default());
        let key = (interface.netns, interface.name.as_str().into());
        if let Some(number) = node.by_name.get(&key).copied() {
            node.call(source.instance, interface.id, number);
            all[number].count(source.instance, interface);
            return number;
        }
        if node.by_name.len() >= MOST_OF_NODE || all.len() >= MOST {
            let others = || PacketInterface { name: OTHERS.into(), ..PacketInterface::default() };
            return *node.others.get_or_insert_with(|| add(all, source, &others()));
        }
        let number = add(all, source, interface);
        node.by_name.insert(key, number);
        node.call(source.instance, interface.id, number);
        number
    }
}

fn add(all: &mut Vec<Place>, source: &Source, interface: &PacketInterface) -> usize {
    let mut place = Place {
        node: source.node.clone(),
        name: interface.name.as_str().into(),
        netns: interface.netns,
        drops: interface.drops,
        counted: Counted::default(),
        before: Counted::default(),
        instance: source.instance,
    };
    place.count(source.instance, interface);
    all.push(place);
    all.len() - 1
}

impl Place {
    fn count(&mut self, instance: u64, interface: &PacketInterface) {
        if self.instance != instance {
            self.before = self.counted;
            self.instance = instance;
        }
        self.counted = Counted::of(interface).plus(self.before);
    }
}

impl Node {
    fn number(&self, instance: u64, id: u32) -> Option<usize> {
        self.lives.iter().find(|(life, _)| *life == instance)?.1.get(&id).copied()
    }

    fn call(&mut self, instance: u64, id: u32, number: usize) {
        let life = self.lives.iter().position(|(life, _)| *life == instance).unwrap_or_else(|| {
            if self.lives.len() == LIVES {
                self.lives.remove(0);
            }
            self.lives.push((instance, HashMap::new()));
            self.lives.len() - 1
        });
        let ids = &mut self.lives[life].1;
        // Several of them may be one place.
        if ids.len() < MOST_OF_NODE || ids.contains_key(&id) {
            ids.insert(id, number);
        }
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

    #[test]
    fn places_without_end_take_no_memory_without_end() {
        let (mut places, most) = (Places::default(), MOST_OF_NODE as u32);
        for id in 0..most + 100 {
            places.find(&source("a", 1), id);
        }
        let others = places.find(&source("a", 1), most + 200);
        assert_eq!((places.all().len(), others, &*places.all()[others].name), (MOST_OF_NODE + 1, MOST_OF_NODE, OTHERS));
        assert_eq!(places.find(&source("a", 1), 7), 7, "those that are known keep their places");
        let other = places.find(&source("b", 1), 1);
        assert_eq!(&*places.all()[other].name, "#1", "another node has its own");
        for life in 0..1_000 {
            places.heard(&source("b", life), &[interface(1, "eth0", 1)]);
        }
        assert_eq!(places.nodes["b"].lives.len(), LIVES);
    }
}
