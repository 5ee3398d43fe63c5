//! Addresses that have one holder, as nearly all have, in a table made for the caches: a capture at full speed leaves nothing of it
//! there, and each line that is read is a wait for memory. What a flow takes of a holder lies in one line next to the address,
//! and where that is follows from the address alone, so that a program can ask for many at once.

use super::hash::Quick;
use super::ownership::{AddressOwner, Ownerships};
use crate::ahead::{CACHE_LINE, fetch};

/// Slots of a table that is not empty, at least.
const LEAST: usize = 64;

/// By address. Open addressing, linear probing: Knuth, The Art of Computer Programming, 6.4, algorithms L and R.
#[derive(Debug, Default)]
pub(super) struct FastAddressTable {
    /// None, or a power of two of them; at most half are taken.
    slots: Vec<Slot>,
    taken: usize,
}

/// One cache line.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Slot {
    address: u128,
    address_owner: Option<AddressOwner>,
}

const _: () = assert!(size_of::<Slot>() == CACHE_LINE);

impl FastAddressTable {
    /// Who has this address, and had no holder before.
    pub(super) fn get(&self, address: u128) -> Option<&AddressOwner> {
        if self.slots.is_empty() {
            return None;
        }
        self.slots[self.find(address)].address_owner.as_ref()
    }

    /// Brings an address into the caches, without waiting for it.
    pub(super) fn expect(&self, address: u128) {
        if !self.slots.is_empty() {
            fetch(&self.slots[self.home(address)]);
        }
    }

    /// Something changed for an address.
    pub(super) fn update(&mut self, address: u128, ownerships: Option<&Ownerships>) {
        match ownerships.and_then(Ownerships::only_open) {
            Some(address_owner) => self.put(address, address_owner.clone()),
            None => self.remove(address),
        }
    }

    fn put(&mut self, address: u128, address_owner: AddressOwner) {
        if self.taken * 2 >= self.slots.len() {
            let larger = vec![Slot::default(); (self.slots.len() * 2).max(LEAST)];
            let old = std::mem::replace(&mut self.slots, larger);
            for slot in old.into_iter().filter(|slot| slot.address_owner.is_some()) {
                let at = self.find(slot.address);
                self.slots[at] = slot;
            }
        }
        let at = self.find(address);
        let before = std::mem::replace(&mut self.slots[at], Slot { address, address_owner: Some(address_owner) });
        self.taken += usize::from(before.address_owner.is_none());
    }

    fn remove(&mut self, address: u128) {
        if self.get(address).is_none() {
            return;
        }
        self.taken -= 1;
        let mut free = self.find(address);
        self.slots[free].address_owner = None;
        let mut at = self.next(free);
        while self.slots[at].address_owner.is_some() {
            // One that was put behind the free slot because that was taken moves into it.
            let home = self.home(self.slots[at].address);
            if self.distance(home, at) >= self.distance(free, at) {
                self.slots.swap(free, at);
                free = at;
            }
            at = self.next(at);
        }
    }

    /// Where an address is or would be. There is a free slot.
    fn find(&self, address: u128) -> usize {
        let mut at = self.home(address);
        while self.slots[at].address_owner.is_some() && self.slots[at].address != address {
            at = self.next(at);
        }
        at
    }

    fn home(&self, address: u128) -> usize {
        Quick::of(address) as usize & (self.slots.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// Steps from one to the other.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::marks::Marks;
    use crate::enrich::ownership::Rank;
    use netobserv_wire::flow::HolderRef;
    use std::collections::HashMap;

    fn address_owner(from_ms: u64) -> AddressOwner {
        AddressOwner { from_ms, holder: HolderRef::default(), marks: Marks::default(), rank: Rank::Pod }
    }

    #[test]
    fn it_knows_what_a_map_knows() {
        let (mut fast, mut map) = (FastAddressTable::default(), HashMap::new());
        assert!(fast.get(1).is_none());
        let mut random = 1_u64;
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Few addresses, so that they come again; more are removed in the second half.
            let address = u128::from(random >> 54);
            let removed = (random >> 20) % 8 < if step < 10_000 { 2 } else { 5 };
            if removed {
                fast.remove(address);
                map.remove(&address);
            } else {
                fast.put(address, address_owner(step));
                map.insert(address, step);
            }
            assert_eq!(fast.taken, map.len());
            if step % 100 == 0 {
                for address in 0..1_024 {
                    assert_eq!(
                        fast.get(address).map(|address_owner| address_owner.from_ms),
                        map.get(&address).copied(),
                        "{address}"
                    );
                }
            }
        }
        (0..1_024).for_each(|address| fast.remove(address));
        assert!(fast.taken == 0 && fast.slots.iter().all(|slot| slot.address_owner.is_none()));
    }
}
