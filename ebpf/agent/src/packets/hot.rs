//! The rings that single CPUs write, read in place.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::NonNull,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};

use aya::maps::MapData;
use netobserv_ebpf_common::packets::{HOT, HOT_CPUS, Hot, PacketHead, entry_size};

/// How many there are: one for each CPU that the machine can have.
pub fn count() -> u32 {
    aya::util::nr_cpus().map_or(1, |cpus| cpus as u32).min(HOT_CPUS)
}

/// All of them, mapped into memory.
pub struct HotRings {
    rings: NonNull<Hot>,
    count: usize,
    /// Of each ring: bytes read, and the time of the entry that comes next, if there is one.
    next: Vec<(u64, Option<u64>)>,
    /// Keeps the map alive.
    _map: MapData,
}

// SAFETY: the memory is shared with the kernel only, and all of it belongs to this value.
unsafe impl Send for HotRings {}

impl HotRings {
    /// Maps them.
    ///
    /// # Errors
    /// The error of mmap(2).
    pub fn map(map: MapData, count: u32) -> io::Result<Self> {
        let count = count as usize;
        let (protection, fd) = (libc::PROT_READ | libc::PROT_WRITE, map.fd().as_fd().as_raw_fd());
        let (start, length) = (std::ptr::null_mut(), count * size_of::<Hot>());
        // SAFETY: a new mapping, of a map of so many values of this size.
        let at = unsafe { libc::mmap(start, length, protection, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let rings = NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { rings, count, next: vec![(0, None); count], _map: map })
    }

    /// Reads at most `most` packets, in the order of their times as far as they are there. Returns how many there were.
    pub fn read(&mut self, most: usize, mut each: impl FnMut(&PacketHead, &[u8])) -> usize {
        (0..self.count).for_each(|ring| self.refresh(ring));
        let mut count = 0;
        while count < most
            && let Some(ring) = self.oldest()
        {
            let (at, _) = self.next[ring];
            // SAFETY: `refresh` has seen an entry there.
            let (head, data) = unsafe { entry(self.ring(ring), at) };
            each(&head, data);
            let end = at + entry_size(head.captured);
            self.next[ring].0 = end;
            // What was read may be written again from here on.
            self.tail(ring).store(end, Release);
            self.refresh(ring);
            count += 1;
        }
        count
    }

    /// The ring whose next entry is the oldest.
    fn oldest(&self) -> Option<usize> {
        let times = self.next.iter().enumerate().filter_map(|(ring, (_, time))| Some((ring, (*time)?)));
        times.min_by_key(|(_, time)| *time).map(|(ring, _)| ring)
    }

    /// Notes the time of the entry that comes next.
    fn refresh(&mut self, ring: usize) {
        let at = self.next[ring].0;
        // The programs have written all of an entry before they count it.
        let some = self.head(ring).load(Acquire) != at;
        // SAFETY: there is an entry.
        self.next[ring].1 = some.then(|| unsafe { entry(self.ring(ring), at) }.0.time_ns);
    }

    fn ring(&self, ring: usize) -> *const Hot {
        assert!(ring < self.count);
        // SAFETY: inside the mapping.
        unsafe { self.rings.as_ptr().add(ring) }
    }

    fn head(&self, ring: usize) -> &AtomicU64 {
        // SAFETY: aligned to 8 bytes, and written by whole words.
        unsafe { AtomicU64::from_ptr((&raw const (*self.ring(ring)).head).cast_mut()) }
    }

    fn tail(&self, ring: usize) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr((&raw const (*self.ring(ring)).tail).cast_mut()) }
    }
}

/// The entry behind so many bytes.
///
/// # Safety
/// There must be one, and its place must not be given back while it is used.
unsafe fn entry<'a>(ring: *const Hot, at: u64) -> (PacketHead, &'a [u8]) {
    // SAFETY: the programs keep entries inside `data`, as the verifier has proven.
    unsafe {
        let entry = (&raw const (*ring).data).cast::<u8>().add(at as usize & (HOT - 1));
        let head = entry.cast::<PacketHead>().read_unaligned();
        (head, std::slice::from_raw_parts(entry.add(size_of::<PacketHead>()), head.captured as usize))
    }
}

impl Drop for HotRings {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and nothing borrows from it any more.
        unsafe { libc::munmap(self.rings.as_ptr().cast(), self.count * size_of::<Hot>()) };
    }
}
