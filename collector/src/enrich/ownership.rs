//! Who held an address when: holders come and go, and addresses are used again.

use netobserv_wire::flow::{Holder, HolderRef};
use smallvec::SmallVec;

use super::marks::Marks;

/// How far the clocks of nodes and API server may be apart, and the precision of the API's times.
const SKEW_MS: u64 = 1_000;

/// Of two that have the same address at the same time, the first in this order is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Pod,
    Node,
    Service,
    /// What is known only at second hand: from an agent, or from a list of endpoints.
    Behind,
}

/// The end of a tenure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It still has the address.
    Open,
    /// It had the address until then.
    At(u64),
    /// It was found gone then; how long before is not known.
    Before(u64),
}

/// One holder's time at an address.
#[derive(Clone, Debug)]
pub(super) struct Ownership {
    /// Number of the object.
    pub(super) id: u64,
    pub(super) end: End,
    pub(super) address_owner: AddressOwner,
}

/// What a flow takes of a tenure.
#[derive(Clone, Debug)]
pub(super) struct AddressOwner {
    pub(super) from_ms: u64,
    pub(super) holder: HolderRef,
    /// Of this holder.
    pub(super) marks: Marks,
    pub(super) rank: Rank,
}

impl AddressOwner {
    /// Whether the holder may have been there already, by some clock.
    pub(super) fn begun(&self, at_ms: u64) -> bool {
        self.from_ms <= at_ms + SKEW_MS
    }
}

impl Ownership {
    fn had(&self, at_ms: u64) -> bool {
        match self.end {
            End::Open => true,
            End::At(until) | End::Before(until) => at_ms <= until.saturating_add(SKEW_MS),
        }
    }

    /// Whether it surely had the address then although another had it already, by the API's word.
    fn had_still(&self, at_ms: u64) -> bool {
        self.address_owner.from_ms <= at_ms && matches!(self.end, End::At(until) if at_ms <= until)
    }
}

/// All tenures of one address, the oldest first. Mostly there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Ownerships(SmallVec<[Ownership; 1]>);

impl Ownerships {
    /// Who held the address at this time.
    pub(super) fn at(&self, at_ms: u64) -> Option<&Ownership> {
        if let [only] = self.0.as_slice() {
            return Some(only).filter(|only| only.address_owner.begun(at_ms) && only.had(at_ms));
        }
        [Rank::Pod, Rank::Node, Rank::Service, Rank::Behind].into_iter().find_map(|rank| self.of_rank(rank, at_ms))
    }

    fn of_rank(&self, rank: Rank, at_ms: u64) -> Option<&Ownership> {
        let mut newest_first = self.0.iter().rev().filter(|ownership| ownership.address_owner.rank == rank);
        let latest = newest_first.clone().find(|ownership| ownership.address_owner.from_ms <= at_ms);
        let Some(latest) = latest else {
            // It had no holder yet; by another clock, it may have had one.
            let first = newest_first.next_back()?;
            return Some(first).filter(|first| first.address_owner.begun(at_ms) && first.had(at_ms));
        };
        let before = newest_first.find(|ownership| {
            ownership.address_owner.from_ms <= latest.address_owner.from_ms && ownership.id != latest.id
        });
        let held = before.filter(|before| before.had_still(at_ms)).unwrap_or(latest);
        Some(held).filter(|held| held.had(at_ms))
    }

    /// Who held it at this time, when that was one only.
    pub(super) fn only_one_at(&self, at_ms: u64) -> Option<&Ownership> {
        let mut holders =
            self.0.iter().filter(|ownership| ownership.address_owner.begun(at_ms) && ownership.had(at_ms));
        let found = self.at(at_ms)?;
        holders.all(|other| other.id == found.id || other.end != End::Open).then_some(found)
    }

    /// How flows carry this holder, if the object was it before.
    pub(super) fn shared(&self, id: u64, holder: &Holder) -> Option<HolderRef> {
        let known = self.0.iter().find(|known| known.id == id && *known.address_owner.holder == *holder)?;
        Some(known.address_owner.holder.clone())
    }

    /// Adds a tenure, or changes that of the same object.
    pub(super) fn put(&mut self, ownership: Ownership) {
        if let Some(known) = self.0.iter_mut().find(|known| known.id == ownership.id) {
            known.end = ownership.end;
            known.address_owner.holder = ownership.address_owner.holder;
            known.address_owner.marks = ownership.address_owner.marks;
            return;
        }
        let place = self.0.partition_point(|known| known.address_owner.from_ms <= ownership.address_owner.from_ms);
        self.0.insert(place, ownership);
    }

    /// Of an address that had one holder, who still has it.
    pub(super) fn only_open(&self) -> Option<&AddressOwner> {
        match self.0.as_slice() {
            [only] if only.end == End::Open => Some(&only.address_owner),
            _ => None,
        }
    }

    /// Ends the tenure of an object.
    pub(super) fn end(&mut self, id: u64, end: End) {
        if let Some(ownership) = self.0.iter_mut().find(|ownership| ownership.id == id) {
            ownership.end = end;
        }
    }

    /// Forgets an object, if its time is over; `true` when none is left.
    pub(super) fn forget(&mut self, id: u64) -> bool {
        self.0.retain(|ownership| ownership.id != id || ownership.end == End::Open);
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership(id: u64, rank: Rank, from_ms: u64, end: End) -> Ownership {
        Ownership {
            id,
            end,
            address_owner: AddressOwner { from_ms, holder: HolderRef::default(), marks: Marks::default(), rank },
        }
    }

    #[track_caller]
    fn check(ownerships: &[(u64, Rank, u64, End)], wanted: &[(u64, Option<u64>)]) {
        let mut all = Ownerships::default();
        ownerships.iter().for_each(|&(id, rank, from, end)| all.put(ownership(id, rank, from, end)));
        for (at, id) in wanted {
            assert_eq!(all.at(*at).map(|ownership| ownership.id), *id, "at {at}");
        }
    }

    #[test]
    fn one_holder_has_its_time_and_a_little_more() {
        let one = [(1, Rank::Pod, 10_000, End::At(20_000))];
        check(&one, &[(8_000, None), (9_500, Some(1)), (15_000, Some(1)), (20_900, Some(1)), (22_000, None)]);
    }

    #[test]
    fn an_address_that_is_used_again_is_named_by_time() {
        let two = [(1, Rank::Pod, 10_000, End::At(20_500)), (2, Rank::Pod, 30_000, End::Open)];
        check(&two, &[(15_000, Some(1)), (25_000, None), (30_000, Some(2)), (99_000, Some(2))]);
    }

    #[test]
    fn the_first_keeps_it_until_its_sure_end() {
        // The second began, by the API's word, in the second in which the first ended.
        let two = [(1, Rank::Pod, 10_000, End::At(20_500)), (2, Rank::Pod, 20_000, End::Open)];
        check(&two, &[(20_400, Some(1)), (20_600, Some(2))]);
        let unsure = [(1, Rank::Pod, 10_000, End::Before(60_000)), (2, Rank::Pod, 20_000, End::Open)];
        check(&unsure, &[(19_000, Some(1)), (20_400, Some(2))]);
    }

    #[test]
    fn a_pod_comes_before_a_node_and_a_node_before_a_service() {
        let three =
            [(1, Rank::Service, 1, End::Open), (2, Rank::Node, 5, End::Open), (3, Rank::Pod, 7_000, End::At(9_000))];
        check(&three, &[(3, Some(2)), (8_000, Some(3)), (20_000, Some(2))]);
    }

    #[test]
    fn two_at_the_same_time_are_ambiguous() {
        let mut ownerships = Ownerships::default();
        ownerships.put(ownership(1, Rank::Pod, 10_000, End::Open));
        assert_eq!(ownerships.only_one_at(20_000).map(|ownership| ownership.id), Some(1));
        ownerships.put(ownership(2, Rank::Pod, 15_000, End::Open));
        assert!(ownerships.only_one_at(20_000).is_none());
        assert_eq!(ownerships.only_one_at(12_000).map(|ownership| ownership.id), Some(1));
        ownerships.end(1, End::At(17_000));
        assert_eq!(ownerships.only_one_at(20_000).map(|ownership| ownership.id), Some(2));
        assert!(!ownerships.forget(1) && !ownerships.forget(2), "the second is still there");
    }
}
