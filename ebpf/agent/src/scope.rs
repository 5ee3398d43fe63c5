//! What is being watched, for features whose hooks see the whole machine.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, RwLock},
};

use crate::interfaces::InterfaceId;

/// The watched interfaces and the followed namespaces; shared by the threads that watch and that report.
#[derive(Clone)]
pub struct Scope {
    /// The only namespace that is followed, or None if all are.
    only: Option<u32>,
    /// INTERFACES names no interfaces: all of them are wanted.
    all: bool,
    inside: Arc<RwLock<Inside>>,
}

#[derive(Default)]
struct Inside {
    watched: HashSet<InterfaceId>,
    /// Inode numbers.
    namespaces: HashSet<u32>,
    /// The first watched interface with each index, gone or not.
    first: HashMap<u32, InterfaceId>,
}

impl Scope {
    /// Nothing is watched yet. `only` is the inode number of the namespace if no other one is followed.
    pub fn new(only: Option<u32>, all: bool) -> Self {
        let inside = Inside { watched: HashSet::new(), namespaces: only.into_iter().collect(), first: HashMap::new() };
        Self { only, all, inside: Arc::new(RwLock::new(inside)) }
    }

    /// An interface is watched now.
    pub fn watch(&self, place: InterfaceId) {
        self.change(|inside| {
            inside.first.entry(place.ifindex).or_insert(place);
            inside.watched.insert(place)
        });
    }

    /// It is not any more.
    pub fn unwatch(&self, place: InterfaceId) {
        self.change(|inside| inside.watched.remove(&place));
    }

    /// It could not be watched at all.
    pub fn give_up(&self, place: InterfaceId) {
        self.change(|inside| {
            if inside.first.get(&place.ifindex) == Some(&place) {
                inside.first.remove(&place.ifindex);
            }
            inside.watched.remove(&place)
        });
    }

    /// A namespace is followed now.
    pub fn follow(&self, inode: u32) {
        self.change(|inside| inside.namespaces.insert(inode));
    }

    /// It has gone, and its interfaces with it.
    pub fn leave(&self, inode: u32) {
        self.change(|inside| {
            inside.watched.retain(|place| place.netns != inode);
            inside.namespaces.remove(&inode)
        });
    }

    fn change(&self, what: impl FnOnce(&mut Inside) -> bool) {
        what(&mut self.inside.write().expect("no panic under the lock"));
    }

    /// The watched interface with this index in the namespace with this number.
    pub fn watched(&self, netns: u32, ifindex: u32) -> Option<InterfaceId> {
        let place = match self.only {
            None => InterfaceId { netns, ifindex },
            Some(only) if only == netns => InterfaceId { netns: 0, ifindex },
            Some(_) => return None,
        };
        self.read(|inside| inside.watched.contains(&place)).then_some(place)
    }

    /// The first interface with this index that was watched: the only one, as long as the kernel programs do not report its
    /// namespace.
    pub fn first(&self, ifindex: u32) -> Option<InterfaceId> {
        let inside = self.inside.read().expect("no panic under the lock");
        inside.first.get(&ifindex).copied()
    }

    /// Whether what happens in this namespace, at no interface, is wanted.
    pub fn wants_all_of(&self, netns: u32) -> bool {
        self.all && self.read(|inside| inside.namespaces.contains(&netns))
    }

    fn read(&self, what: impl FnOnce(&Inside) -> bool) -> bool {
        what(&self.inside.read().expect("no panic under the lock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_is_told_by_its_number_though_its_places_have_none() {
        let scope = Scope::new(Some(77), true);
        scope.watch(InterfaceId { netns: 0, ifindex: 2 });
        assert_eq!(scope.watched(77, 2), Some(InterfaceId { netns: 0, ifindex: 2 }));
        assert_eq!(scope.watched(78, 2), None);
        assert_eq!(scope.watched(77, 3), None);
        assert!(scope.wants_all_of(77) && !scope.wants_all_of(78));
    }

    #[test]
    fn a_namespace_that_goes_takes_its_interfaces_along() {
        let scope = Scope::new(None, true);
        let place = InterfaceId { netns: 5, ifindex: 2 };
        scope.follow(5);
        scope.watch(place);
        assert_eq!(scope.watched(5, 2), Some(place));
        scope.leave(5);
        assert_eq!(scope.watched(5, 2), None);
        assert!(!scope.wants_all_of(5));
    }

    #[test]
    fn named_interfaces_are_wanted_and_nothing_else() {
        let scope = Scope::new(None, false);
        scope.follow(5);
        assert!(!scope.wants_all_of(5));
    }
}
