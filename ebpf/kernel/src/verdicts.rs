//! Remembers the verdicts of the filter rules on recent packets: to look it up costs a tenth of asking the rules again.
//!
//! Each CPU has a table of its own, in which the key's hash names the one place where an entry can stand; the
//! last one there wins. The whole key is compared. Entries carry the number of their list of rules: a new list makes
//! all of them void at once.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use netobserv_ebpf_common::{
    Key4, Key6, Point,
    filter::{FAMILY_4, FAMILY_6, VERDICTS, Verdict},
};

/// The agent makes it one entry when there is no filter.
#[map]
static FILTER_VERDICTS: PerCpuArray<Verdict> = PerCpuArray::with_max_entries(VERDICTS, 0);

// Digits of pi and e, made odd: multiplying by them spreads the bits of a key to the upper end.
const SPREAD: [u64; 5] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1, 0xb7e1_5162_8aed_2a6b, 0xbf71_5880_9cf4_f3c7];

/// A key that verdicts are remembered for.
pub(crate) trait Words {
    /// Whether the address takes more than the first word.
    const WIDE: bool;

    /// The addresses.
    fn addresses(&self) -> [u64; 4];

    /// Ports, protocol, direction.
    fn point(&self) -> &Point;
}

impl Words for Key4 {
    const WIDE: bool = false;

    #[inline(always)]
    fn addresses(&self) -> [u64; 4] {
        [u64::from(self.src) | u64::from(self.dst) << 32, 0, 0, 0]
    }

    #[inline(always)]
    fn point(&self) -> &Point {
        &self.at
    }
}

impl Words for Key6 {
    const WIDE: bool = true;

    #[inline(always)]
    fn addresses(&self) -> [u64; 4] {
        // SAFETY: the key is aligned to 8 bytes, and begins with both addresses.
        unsafe { (&raw const *self).cast::<[u64; 4]>().read() }
    }

    #[inline(always)]
    fn point(&self) -> &Point {
        &self.at
    }
}

/// Where the verdict on a packet is remembered.
pub(crate) struct CacheSlot {
    words: [u64; 5],
    wide: bool,
    rules: u32,
    entry: Option<*mut Verdict>,
}

impl CacheSlot {
    /// The place of a packet under the list of rules with this number. `tcp_flags` are 0 where the rules do not ask.
    #[inline(always)]
    pub(crate) fn of<K: Words>(key: &K, tcp_flags: u32, rules: u32) -> Self {
        let [a, b, c, d] = key.addresses();
        let at = key.point();
        let family = if K::WIDE { FAMILY_6 } else { FAMILY_4 };
        let rest = u64::from(at.src_port)
            | u64::from(at.dst_port) << 16
            | u64::from(at.proto) << 32
            | u64::from(tcp_flags & 0xff) << 40
            | u64::from(at.direction) << 48
            | u64::from(family) << 56;
        let words = [a, b, c, d, rest];
        let mut hash = a.wrapping_mul(SPREAD[0]);
        if K::WIDE {
            hash ^= b.wrapping_mul(SPREAD[1]) ^ c.wrapping_mul(SPREAD[2]) ^ d.wrapping_mul(SPREAD[3]);
        }
        // In two steps: addresses and ports that count up together would meet in few places otherwise.
        hash = (hash ^ hash >> 32 ^ rest).wrapping_mul(SPREAD[4]);
        // The number of entries is a power of two.
        let index = (hash >> (64 - VERDICTS.trailing_zeros())) as u32;
        Self { words, wide: K::WIDE, rules, entry: FILTER_VERDICTS.get_ptr_mut(index) }
    }

    /// The verdict of the rules.
    #[inline(always)]
    pub(crate) fn recall(&self) -> Option<u32> {
        // SAFETY: this CPU's own entry of the map, which nothing else writes while the program runs.
        let entry = unsafe { &*self.entry? };
        let [a, b, c, d, rest] = self.words;
        let narrow = entry.rules == self.rules && entry.words[0] == a && entry.words[4] == rest;
        let same = narrow && (!self.wide || entry.words[1] == b && entry.words[2] == c && entry.words[3] == d);
        same.then_some(entry.sampling)
    }

    /// Records the verdict of the rules.
    #[inline(always)]
    pub(crate) fn remember(&self, sampling: u32) {
        if let Some(entry) = self.entry {
            // SAFETY: as above.
            unsafe { entry.write(Verdict { words: self.words, sampling, rules: self.rules }) }
        }
    }
}
