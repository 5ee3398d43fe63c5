//! Batches that wait for the collector, bounded by bytes.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;

use super::table::{InterfaceTable, Tally};

/// Packets on their way.
#[derive(Debug, Default)]
pub struct Pending {
    /// Records, as `netobserv_wire::packet` lays them out.
    pub payload: Vec<u8>,
    /// Where they were seen, by the places' numbers. A few of them, so a list is as fast as a map.
    pub tallies: Vec<(u32, Tally)>,
}

impl Pending {
    /// Counts a packet.
    pub fn count(&mut self, place: u32, bytes: u64) {
        match self.tallies.iter_mut().find(|(known, _)| *known == place) {
            Some((_, tally)) => tally.add(Tally::one(bytes)),
            None => self.tallies.push((place, Tally::one(bytes))),
        }
    }

    /// All of them.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.tallies.iter().for_each(|(_, tally)| total.add(*tally));
        total
    }
}

/// What waits. A batch that finds no room is counted and gone.
pub struct Queue {
    waiting: Mutex<Waiting>,
    most: usize,
    table: InterfaceTable,
    lost_packets: AtomicU64,
    lost_bytes: AtomicU64,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Pending>,
    /// Of their payloads.
    bytes: usize,
}

impl Queue {
    /// A queue of at most so many bytes.
    pub fn new(most: usize, table: InterfaceTable) -> Self {
        let (waiting, lost_packets, lost_bytes, changed) = Default::default();
        Self { waiting, most, table, lost_packets, lost_bytes, changed }
    }

    /// Adds a batch if there is room.
    pub fn push(&self, batch: Pending) {
        self.table.received(batch.tallies.iter().copied());
        let mut waiting = self.waiting.lock().expect("no panic under the lock");
        if waiting.bytes + batch.payload.capacity() > self.most {
            drop(waiting);
            return self.lose(&batch);
        }
        waiting.bytes += batch.payload.capacity();
        waiting.batches.push_back(batch);
        drop(waiting);
        self.changed.notify_one();
    }

    /// The oldest batch, and whether none is left.
    pub fn take(&self) -> (Option<Pending>, bool) {
        let mut waiting = self.waiting.lock().expect("no panic under the lock");
        let taken = waiting.batches.pop_front();
        waiting.bytes -= taken.as_ref().map_or(0, |batch| batch.payload.capacity());
        (taken, waiting.batches.is_empty())
    }

    /// Counts packets that are lost.
    pub fn lose(&self, batch: &Pending) {
        let Tally { packets, bytes } = batch.total();
        self.lost_packets.fetch_add(packets, Relaxed);
        self.lost_bytes.fetch_add(bytes, Relaxed);
        self.table.lost_in_queue(batch.tallies.iter().copied());
    }

    /// What was lost here so far.
    pub fn lost(&self) -> Tally {
        Tally { packets: self.lost_packets.load(Relaxed), bytes: self.lost_bytes.load(Relaxed) }
    }

    /// Resolves when a batch has come.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        interfaces::{InterfaceId, Names},
        packets::table::SeenAt,
    };

    #[test]
    fn a_batch_without_room_is_counted_at_its_places() {
        let table = InterfaceTable::new(Names::default(), "node1");
        let [a, b] = [1, 2].map(|ifindex| table.id(SeenAt::At(InterfaceId { netns: 0, ifindex })));
        let queue = Queue::new(250, table.clone());
        for _ in 0..3 {
            let mut batch = Pending { payload: vec![0; 100], ..Default::default() };
            [(a, 60), (b, 30), (a, 10)].into_iter().for_each(|(place, bytes)| batch.count(place, bytes));
            queue.push(batch);
        }
        assert_eq!(queue.lost(), Tally { packets: 3, bytes: 100 });
        assert_eq!(table.all().iter().map(|place| place.lost_queue_packets).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(table.all().iter().map(|place| place.received_packets).collect::<Vec<_>>(), [6, 3]);
        assert!(!queue.take().1 && queue.take().1 && queue.take().0.is_none());
        queue.push(Pending { payload: vec![0; 250], ..Default::default() });
        assert_eq!(queue.take().0.map(|batch| batch.payload.len()), Some(250), "room has come back");
    }
}
