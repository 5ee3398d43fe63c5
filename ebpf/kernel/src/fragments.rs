//! Later fragments of an IP packet carry no ports: they are looked up under the first fragment's name.

use aya_ebpf::{macros::map, maps::LruHashMap};
use netobserv_ebpf_common::{Counter, FragmentKey};

use crate::counters::counter;

/// Least recently used out: a packet whose first fragment is forgotten is still counted, with ports 0.
#[map]
static FRAGMENTS: LruHashMap<FragmentKey, [u16; 2]> = LruHashMap::with_max_entries(8192, 0);

/// Remembers the ports of a first fragment.
#[inline(always)]
pub(crate) fn remember(key: &FragmentKey, ports: [u16; 2]) {
    let _ = FRAGMENTS.insert(key, ports, 0);
}

/// The ports of the first fragment; 0 if it was not seen, which is counted.
#[inline(always)]
pub(crate) fn ports(key: &FragmentKey) -> [u16; 2] {
    // SAFETY: the kernel may overwrite the ports meanwhile with those of another packet; any bits are valid numbers.
    let known = unsafe { FRAGMENTS.get(key) };
    if known.is_none() {
        counter(Counter::PortlessFragments, 1);
    }
    known.copied().unwrap_or_default()
}
