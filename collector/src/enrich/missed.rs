//! Which addresses had no name when a flow came: a bitmap, so that it costs nothing however many there are.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits: 128 KiB. With 10,000 addresses outside of the cluster, one in a hundred is taken for another.
const BITS: usize = 1 << 20;

/// A set of addresses that may answer yes wrongly, and never no wrongly.
#[derive(Debug)]
pub(super) struct Missed(Box<[AtomicU64]>);

impl Default for Missed {
    fn default() -> Self {
        Self((0..BITS / 64).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Missed {
    /// This one had no name.
    pub(super) fn note(&self, address: IpAddr) {
        let (word, bit) = self.place(address);
        // Mostly it is set already, and a read leaves the cache line with all readers.
        if word.load(Relaxed) & bit == 0 {
            word.fetch_or(bit, Relaxed);
        }
    }

    /// Whether this one may have had no name.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let (word, bit) = self.place(address);
        word.load(Relaxed) & bit != 0
    }

    fn place(&self, address: IpAddr) -> (&AtomicU64, u64) {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let bit = hasher.finish() as usize % BITS;
        (&self.0[bit / 64], 1 << (bit % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_there_and_little_else() {
        let missed = Missed::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        (0..10_000).for_each(|number| missed.note(address(number)));
        assert!((0..10_000).all(|number| missed.contains(address(number))));
        assert!((20_000..30_000).filter(|number| missed.contains(address(*number))).count() < 300);
    }
}
