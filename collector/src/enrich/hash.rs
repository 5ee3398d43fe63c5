//! A quick hash, for keys that cannot be chosen from outside: places that come from the API server.

use std::hash::{BuildHasherDefault, Hasher};

/// Makes [`Quick`] hashes.
pub(crate) type QuickHash = BuildHasherDefault<Quick>;

/// The hash of one key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quick(u64);

impl Quick {
    /// The hash of a number.
    pub(crate) fn of(number: u128) -> u64 {
        let mut hash = Self::default();
        hash.write_u128(number);
        hash.finish()
    }

    fn mix(&mut self, word: u64) {
        // An odd number near 2^64 divided by the golden ratio: Knuth, The Art of Computer Programming, 6.4.
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.mix(u64::from(*byte)));
    }

    fn write_u128(&mut self, number: u128) {
        self.mix(number as u64);
        self.mix((number >> 64) as u64);
    }

    fn write_u16(&mut self, number: u16) {
        self.mix(u64::from(number));
    }

    fn write_isize(&mut self, number: isize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        // Tables look at the lowest and the highest bits; multiplication leaves the lowest poor.
        self.0 ^ (self.0 >> 32)
    }
}
