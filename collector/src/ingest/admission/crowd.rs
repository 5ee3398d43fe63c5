//! How many connections come from one address: what they have on their way before it is read takes memory, a quarter of a megabyte each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ingest::Peer;

/// Connections from one address. An agent has one, and two for a while when it connects again.
const MOST: usize = 64;

/// Open connections by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection that is counted until it is dropped.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Crowd,
    address: Option<IpAddr>,
}

impl Crowd {
    /// Counts a connection; `None` if there are too many from its address.
    pub(super) fn enter(&self, peer: Peer) -> Option<Member> {
        let address = peer.address();
        if let Some(address) = address {
            let mut crowd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let number = crowd.entry(address).or_default();
            if *number >= MOST {
                return None;
            }
            *number += 1;
        }
        Some(Member { crowd: self.clone(), address })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut crowd = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = crowd.get_mut(&address) {
            *number -= 1;
            if *number == 0 {
                crowd.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let (crowd, at) = (Crowd::default(), |last: u8| Peer::at(SocketAddr::from(([10, 0, 0, last], 1))));
        let mut members: Vec<_> = (0..MOST).map(|_| crowd.enter(at(1)).unwrap()).collect();
        assert!(crowd.enter(at(1)).is_none());
        assert!(crowd.enter(at(2)).is_some());
        members.pop();
        members.push(crowd.enter(at(1)).unwrap());
        drop(members);
        assert!(crowd.0.lock().unwrap().is_empty());
    }
}
