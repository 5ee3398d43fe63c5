//! Memory for messages on their way in, in three parts.
//!
//! - Each peer may have messages of so many bytes under way, as it announces them: one that claims too much makes only itself wait.
//! - All peers share the common part, and take from it as their bytes arrive: what is claimed and never sent takes nothing.
//! - When the common part is used up by messages that have arrived in part, none of them could be completed. So one of them at a time
//!   may use the last part, which is as large as the largest message, and that one has to hurry.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::peer::Peer;

/// What memory is given out in.
pub(super) const PAGE: usize = 4096;
/// Largest message. Ten thousand records are 1.5 to 2 MB.
pub(super) const MAX_MESSAGE: usize = 16 << 20;
/// Bytes of the common part.
const COMMON: usize = 32 << 20;
/// Peers whose shares are remembered, before those that have nothing under way are forgotten.
const MOST_IDLE: usize = 1_024;

/// Who has a share: an address, or the Unix socket.
type Owner = Option<IpAddr>;

/// The memory of a collector.
#[derive(Debug)]
pub(super) struct Memory {
    common: Arc<Semaphore>,
    last: Arc<Semaphore>,
    shares: Mutex<HashMap<Owner, Arc<Semaphore>>>,
}

/// What a message holds, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    _share: OwnedSemaphorePermit,
    common: Arc<Semaphore>,
    last: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    hurried: Option<OwnedSemaphorePermit>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::of(COMMON / PAGE)
    }
}

impl Memory {
    /// Memory with so many pages in common.
    pub(super) fn of(pages: usize) -> Self {
        Self { common: Arc::new(Semaphore::new(pages)), last: Arc::new(Semaphore::new(1)), shares: Mutex::default() }
    }

    /// Waits until a peer may send a message of so many bytes, at most [`MAX_MESSAGE`], for at most this time.
    pub(super) async fn hold(&self, peer: Peer, bytes: usize, patience: Duration) -> Option<Hold> {
        let share = self.share(peer.address()).acquire_many_owned(pages(bytes) as u32);
        let share = timeout(patience, share).await.ok()?.ok()?;
        let (common, last) = (self.common.clone(), self.last.clone());
        Some(Hold { _share: share, common, last, taken: None, hurried: None })
    }

    /// Keeps others from the last part.
    #[cfg(test)]
    pub(super) fn take_last(&self) -> OwnedSemaphorePermit {
        self.last.clone().try_acquire_owned().expect("only one asks")
    }

    fn share(&self, owner: Owner) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() >= MOST_IDLE {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        shares.entry(owner).or_insert_with(|| Arc::new(Semaphore::new(MAX_MESSAGE / PAGE))).clone()
    }
}

impl Hold {
    /// Waits, for at most this time, until there is memory for so many bytes in all. False if there is none.
    pub(super) async fn grow(&mut self, bytes: usize, patience: Duration) -> bool {
        let taken = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = pages(bytes).saturating_sub(taken) as u32;
        if more == 0 || self.hurried.is_some() {
            return true;
        }
        let (common, last) = (self.common.clone(), self.last.clone());
        let grown = timeout(patience, async {
            tokio::select! {
                biased;
                taken = common.acquire_many_owned(more) => (taken.ok(), None),
                hurried = last.acquire_owned() => (None, hurried.ok()),
            }
        });
        let Ok((more, hurried)) = grown.await else { return false };
        self.hurried = hurried;
        match (&mut self.taken, more) {
            (Some(taken), Some(more)) => taken.merge(more),
            (taken, more) => *taken = taken.take().or(more),
        }
        true
    }

    /// It has the last part, which others wait for.
    pub(super) fn is_hurried(&self) -> bool {
        self.hurried.is_some()
    }
}

fn pages(bytes: usize) -> usize {
    bytes.div_ceil(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const SOON: Duration = Duration::from_millis(20);

    fn peer(last: u8) -> Peer {
        Peer::at(SocketAddr::from(([10, 0, 0, last], 1)))
    }

    #[tokio::test]
    async fn what_one_peer_claims_keeps_no_other_waiting() {
        let memory = Memory::default();
        let claimed = memory.hold(peer(1), MAX_MESSAGE, SOON).await.unwrap();
        assert!(memory.hold(peer(1), PAGE, SOON).await.is_none(), "it has its share");
        let mut other = memory.hold(peer(2), MAX_MESSAGE, SOON).await.unwrap();
        assert!(other.grow(MAX_MESSAGE, SOON).await && !other.is_hurried());
        drop(claimed);
        assert!(memory.hold(peer(1), PAGE, SOON).await.is_some());
    }

    #[tokio::test]
    async fn of_messages_that_have_arrived_in_part_one_at_a_time_is_completed() {
        let memory = Memory::of(2);
        let mut holds = Vec::new();
        for last in 1..=3 {
            holds.push(memory.hold(peer(last), 4 * PAGE, SOON).await.unwrap());
        }
        let [first, second, third] = &mut holds[..] else { unreachable!("three") };
        assert!(first.grow(1, SOON).await && second.grow(PAGE, SOON).await);
        assert!(first.grow(PAGE, SOON).await, "this page is its own");
        assert!(second.grow(4 * PAGE, SOON).await && second.is_hurried(), "the last part");
        assert!(!first.grow(4 * PAGE, SOON).await && !third.grow(1, SOON).await);
        let gone = holds.remove(1);
        drop(gone);
        let [first, third] = &mut holds[..] else { unreachable!("two") };
        assert!(third.grow(1, SOON).await && !third.is_hurried());
        assert!(first.grow(4 * PAGE, SOON).await && first.is_hurried());
    }

    #[tokio::test]
    async fn peers_without_end_take_no_memory_without_end() {
        let memory = Memory::default();
        let kept = memory.hold(peer(1), PAGE, SOON).await.unwrap();
        for number in 0..10 * MOST_IDLE as u32 {
            let peer = Peer::at(SocketAddr::from((number.to_be_bytes(), 1)));
            drop(memory.hold(peer, 1, SOON).await.unwrap());
        }
        assert!(memory.shares.lock().unwrap().len() <= MOST_IDLE);
        drop(kept);
    }
}
