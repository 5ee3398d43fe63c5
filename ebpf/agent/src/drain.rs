//! Empties the flow maps, once a window and whenever they fill up, on a thread of its own.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, PerCpuArray, RingBuf},
};
use netobserv_ebpf_common::{Counter, FlowCount, Key4, Key6, Overflow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    btf::Btf,
    dns::Dns,
    drops::Drops,
    flow::FlowRecord,
    kernel::{self, Feature, KernelError, Programs, SMALLEST_RING},
    losses::KernelLosses,
    merge::{Counted, Merger},
    rtt::Rtt,
    sys::{self, BatchReader, now_ns},
};

/// How often a look is taken at how full the maps are.
const LOOK: Duration = Duration::from_millis(50);
/// Entries read by one system call. Small enough that the buffers stay in the CPU's cache.
const CHUNK: usize = 2048;
/// Records taken from the ring buffer in one go; more than it holds would be to wait for a sender that is faster.
const MOST_OVERFLOW: usize = 100_000;
/// Flows of one window after which it is ended early, to bound memory.
const MOST_FLOWS: usize = 100_000;

/// The programs that count.
pub const PROGRAMS: Programs =
    Programs { ethernet: ["flow_ingress", "flow_egress"], bare: ["flow_in_bare", "flow_out_bare"] };
/// The flow maps: IPv4 and the rest, each in two copies that take turns.
const MAPS: [&str; 4] = ["FLOWS4_A", "FLOWS4_B", "FLOWS6_A", "FLOWS6_B"];

/// The flow maps before they are made.
pub struct FlowMaps {
    /// Entries of each; None where packets are captured instead.
    pub entries: Option<u32>,
}

impl Feature for FlowMaps {
    fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        for map in MAPS {
            loader.map_max_entries(map, self.entries.unwrap_or(1));
        }
        if self.entries.is_none() {
            loader.map_max_entries("OVERFLOW", SMALLEST_RING);
        }
    }

    fn load(&self, ebpf: &mut Ebpf, _: &Btf) -> Result<(), KernelError> {
        if self.entries.is_some() { kernel::load_ethernet(ebpf, &PROGRAMS) } else { Ok(()) }
    }
}

/// The kernel's maps, taken out of the loaded object.
pub struct Maps {
    /// From [`Key4`] to [`FlowCount`].
    flows4: [MapData; 2],
    /// From [`Key6`] to [`FlowCount`].
    flows6: [MapData; 2],
    /// Which of the two the programs write to.
    active: usize,
    switch: Array<MapData, u32>,
    counters: PerCpuArray<MapData, u64>,
    overflow: RingBuf<MapData>,
    dns: Option<Dns>,
    rtt: Option<Rtt>,
    drops: Option<Drops>,
    reader4: BatchReader<Key4, FlowCount>,
    reader6: BatchReader<Key6, FlowCount>,
}

impl Maps {
    /// Takes the maps out of the object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            flows4: [kernel::take_hash(ebpf, MAPS[0])?, kernel::take_hash(ebpf, MAPS[1])?],
            flows6: [kernel::take_hash(ebpf, MAPS[2])?, kernel::take_hash(ebpf, MAPS[3])?],
            active: 0,
            switch: kernel::take_map(ebpf, "ACTIVE")?,
            counters: kernel::take_map(ebpf, "COUNTERS")?,
            overflow: kernel::take_map(ebpf, "OVERFLOW")?,
            dns: None,
            rtt: None,
            drops: None,
            reader4: BatchReader::new(CHUNK),
            reader6: BatchReader::new(CHUNK),
        })
    }

    /// Also takes what features beyond counting write to.
    #[must_use]
    pub fn with_dns(mut self, dns: Option<Dns>) -> Self {
        self.dns = dns;
        self
    }

    /// The same for round-trip times and dropped packets.
    #[must_use]
    pub fn with_hooks(mut self, rtt: Option<Rtt>, drops: Option<Drops>) -> Self {
        (self.rtt, self.drops) = (rtt, drops);
        self
    }

    /// Makes the other maps active, waits for the programs that still write to the old ones, and empties those.
    /// Returns how many flows there were.
    ///
    /// # Errors
    /// The kernel's error; the capture cannot continue then.
    pub fn drain_active(&mut self, mut each: impl FnMut(Counted<'_>)) -> io::Result<usize> {
        let full = self.active;
        self.active = 1 - full;
        self.switch.set(0, self.active as u32, 0).map_err(io::Error::other)?;
        sys::wait_for_running_programs();
        let v4 = self.reader4.drain(self.flows4[full].fd().as_fd(), |key, count| each(Counted::V4(key, count)))?;
        let v6 = self.reader6.drain(self.flows6[full].fd().as_fd(), |key, count| each(Counted::V6(key, count)))?;
        Ok(v4 + v6)
    }

    /// Gives what the features' hooks found, up to the latest switch, to the flows.
    fn join_hooks(&mut self, merger: &mut Merger) -> io::Result<()> {
        let full = 1 - self.active;
        if let Some(rtt) = &mut self.rtt {
            rtt.drain(full, merger)?;
        }
        if let Some(drops) = &mut self.drops {
            drops.drain(full, merger)?;
        }
        Ok(())
    }

    /// Reads what overflowed. Returns how many packets that were.
    pub fn read_overflow(&mut self, mut each: impl FnMut(Counted<'_>)) -> usize {
        let mut count = 0;
        while count < MOST_OVERFLOW
            && let Some(item) = self.overflow.next()
        {
            if item.len() == size_of::<Overflow>() {
                // SAFETY: the kernel program wrote exactly this record; read_unaligned asks no alignment.
                let event = unsafe { item.as_ptr().cast::<Overflow>().read_unaligned() };
                each(Counted::V6(&event.key, &event.count));
                count += 1;
            }
        }
        count
    }

    /// A counter of the programs, all CPUs together.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&(counter as u32), 0).map_or(0, |per_cpu| per_cpu.iter().sum())
    }
}

/// Drains maps into a [`Merger`].
pub struct Drainer {
    maps: Maps,
    merger: Merger,
    losses: Arc<KernelLosses>,
    /// `Created` at the latest switch.
    created: u64,
    /// Keys created since then after which the maps are switched before the window ends.
    enough: u64,
}

impl Drainer {
    /// A drainer of maps of `max_flows` entries.
    pub fn new(maps: Maps, max_flows: u32, losses: Arc<KernelLosses>) -> Self {
        Self {
            maps,
            merger: Merger::default(),
            losses,
            created: 0,
            // The counter is of both families together: so this is early, never late.
            enough: u64::from(max_flows) * 2 / 3,
        }
    }

    /// Works until `stop`, handing the records of each window to `emit`, which returns how long the next one is; then drains once
    /// more.
    pub fn run(
        &mut self,
        mut window: Duration,
        stop: &AtomicBool,
        mut emit: impl FnMut(Vec<FlowRecord>) -> Duration,
    ) -> io::Result<()> {
        let mut end = Instant::now() + window;
        while !stop.load(Relaxed) {
            let overflown = self.wait(end)?;
            if let Some(dns) = &mut self.maps.dns {
                dns.read();
            }
            let now = Instant::now();
            let full = overflown > 0 || self.maps.counter(Counter::Created) - self.created >= self.enough;
            if now >= end || full {
                self.switch_and_drain()?;
            }
            if now >= end || self.merger.active() >= MOST_FLOWS {
                window = emit(self.records());
            }
            if now >= end {
                // The next whole window that is still to come, should this one have taken too long.
                let late = now.duration_since(end).as_nanos() / window.as_nanos();
                end += window * (late as u32 + 1);
            }
        }
        if let Some(dns) = &mut self.maps.dns {
            dns.end();
        }
        // Both sets of maps: the programs are off the interfaces by now.
        self.switch_and_drain()?;
        emit(self.end_window()?);
        Ok(())
    }

    /// Waits for overflowing packets, for the window's end or for the next look. Returns how many packets overflowed.
    fn wait(&mut self, end: Instant) -> io::Result<usize> {
        let timeout = LOOK.min(end.saturating_duration_since(Instant::now()));
        // SAFETY: the ring buffer, and its descriptor with it, outlives this call.
        let ring = unsafe { BorrowedFd::borrow_raw(self.maps.overflow.as_raw_fd()) };
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(ring, PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(self.read_overflow()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_overflow(&mut self) -> usize {
        self.maps.read_overflow(|counted| self.merger.add(counted))
    }

    fn switch_and_drain(&mut self) -> io::Result<()> {
        self.created = self.maps.counter(Counter::Created);
        self.maps.drain_active(|counted| self.merger.add(counted))?;
        self.read_overflow();
        self.maps.join_hooks(&mut self.merger)?;
        self.read_losses();
        Ok(())
    }

    /// Drains, and hands out the records of the flows that had packets since the last time.
    ///
    /// # Errors
    /// As [`Maps::drain_active`].
    pub fn end_window(&mut self) -> io::Result<Vec<FlowRecord>> {
        self.switch_and_drain()?;
        Ok(self.records())
    }

    fn records(&mut self) -> Vec<FlowRecord> {
        let kernel_lost = self.maps.counter(Counter::LostDns);
        if let Some(dns) = &mut self.maps.dns {
            dns.join(&mut self.merger, now_ns(), kernel_lost);
            self.losses.dns_messages.store(kernel_lost + dns.lost(), Relaxed);
        }
        self.merger.end_window()
    }

    fn read_losses(&self) {
        self.losses.packets.store(self.maps.counter(Counter::LostPackets), Relaxed);
        self.losses.bytes.store(self.maps.counter(Counter::LostBytes), Relaxed);
        self.losses.overflow_packets.store(self.maps.counter(Counter::OverflowPackets), Relaxed);
        self.losses.portless_fragments.store(self.maps.counter(Counter::PortlessFragments), Relaxed);
        let missed = self.maps.drops.as_ref().map_or(0, Drops::missed);
        self.losses.drops.store(self.maps.counter(Counter::LostDrops) + missed, Relaxed);
    }
}
