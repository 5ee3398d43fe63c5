//! Empties the ring buffer, on a thread of its own.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{HashMap as BpfHashMap, Map, MapData, PerCpuArray, RingBuf},
};
use netobserv_ebpf_common::{
    Counter,
    packets::{DROPPED, LostAt, MOST, PacketHead},
};
use netobserv_wire::packet::{BATCH_BYTES, HEAD};

use super::{
    DROPS_PROGRAM, HOT_RINGS, LOST, RING,
    causes::CauseList,
    clock::Clock,
    frame::{self, Stamp},
    hot::{self, HotRings},
    queue::{Pending, Queue},
    table::{InterfaceTable, SeenAt, Tally},
};
use crate::{
    interfaces::InterfaceId,
    kernel::{self, KernelError},
    losses::KernelLosses,
    scope::Scope,
    tracepoint,
};

/// Pause when the ring buffer was empty. At 10 Gbit/s, 6 MB come in the meantime.
const PAUSE: Duration = Duration::from_millis(5);
/// Longest time that a packet waits for its batch to fill.
const OLDEST: Duration = Duration::from_millis(50);
/// How often the kernel's losses are read.
const LOOK: Duration = Duration::from_millis(500);
/// Packets read in one go, before the clock is read and other things are due.
const TURN: usize = 10_000;

/// The kernel's side.
pub struct Ring {
    hot: HotRings,
    packets: RingBuf<MapData>,
    lost: BpfHashMap<MapData, u64, LostAt>,
    counters: PerCpuArray<MapData, u64>,
    /// Of the program that sees dropped packets.
    drops: Option<OwnedFd>,
}

impl Ring {
    /// Takes the maps out of an object that was loaded for packets.
    pub fn take(ebpf: &mut Ebpf, drops: bool) -> Result<Self, KernelError> {
        let Some(Map::Array(hot)) = ebpf.take_map(HOT_RINGS) else { return Err(KernelError::NotInObject(HOT_RINGS)) };
        let hot = HotRings::map(hot, hot::count()).map_err(|error| KernelError::Load(error.to_string()))?;
        Ok(Self {
            hot,
            packets: kernel::take_map(ebpf, RING)?,
            lost: kernel::take_map(ebpf, LOST)?,
            counters: kernel::take_map(ebpf, "COUNTERS")?,
            drops: drops.then(|| tracepoint::descriptor(ebpf, DROPS_PROGRAM)).transpose()?,
        })
    }

    /// Reads at most `most` packets. Returns how many there were.
    pub fn read(&mut self, most: usize, mut each: impl FnMut(&PacketHead, &[u8])) -> usize {
        let mut count = self.hot.read(most, &mut each);
        while count < most
            && let Some(item) = self.packets.next()
        {
            count += 1;
            if let Some((head, data)) = split(&item) {
                each(&head, data);
            }
        }
        count
    }

    /// What found no room so far: by index and, in the upper half, namespace, or [`DROPPED`].
    pub fn lost(&self) -> Vec<(u64, LostAt)> {
        self.lost.iter().filter_map(Result::ok).collect()
    }

    fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&(counter as u32), 0).map_or(0, |per_cpu| per_cpu.iter().sum())
    }

    fn report(&self, losses: &KernelLosses) {
        losses.packets.store(self.counter(Counter::LostPackets), Relaxed);
        losses.bytes.store(self.counter(Counter::LostBytes), Relaxed);
        losses.drops.store(self.drops.as_ref().map_or(0, |program| tracepoint::passed_over(program.as_fd())), Relaxed);
    }
}

/// The head and the captured bytes of an entry, which may be longer than both.
fn split(entry: &[u8]) -> Option<(PacketHead, &[u8])> {
    let (head, rest) = entry.split_at_checked(size_of::<PacketHead>())?;
    // SAFETY: as many bytes as a PacketHead has, which any bits make a valid one of; read_unaligned asks no alignment.
    let head = unsafe { head.as_ptr().cast::<PacketHead>().read_unaligned() };
    Some((head, rest.get(..head.captured as usize)?))
}

/// What a reader hands on to.
pub struct Parts {
    /// Which interfaces are watched.
    pub scope: Scope,
    /// Where the packets were seen.
    pub table: InterfaceTable,
    /// Why they were dropped.
    pub causes: CauseList,
    /// Where the batches go.
    pub queue: Arc<Queue>,
    /// Where the kernel's losses go.
    pub losses: Arc<KernelLosses>,
    /// Most bytes of a frame.
    pub snaplen: u32,
}

/// Makes batches of packets.
pub struct Reader {
    ring: Ring,
    parts: Parts,
    clock: Clock,
    /// Numbers of the places by index and namespace, as the kernel reports them.
    ids: HashMap<(u32, u32), u32>,
    /// The latest of them, as most packets follow one from the same place.
    latest: ((u32, u32), u32),
    batch: Pending,
    /// When its first packet was read.
    begun: Instant,
}

impl Reader {
    /// A reader of an empty ring buffer.
    pub fn new(ring: Ring, parts: Parts) -> Self {
        let (ids, latest, batch) = Default::default();
        Self { ring, parts, clock: Clock::now(), ids, latest, batch, begun: Instant::now() }
    }

    /// Works until `stop`; then takes what is left, as the programs are off the interfaces by then.
    ///
    /// # Errors
    /// None so far: it is the shape of a draining thread's work.
    pub fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut looked = Instant::now();
        loop {
            let last = stop.load(Relaxed);
            let count = self.turn();
            if last && count < TURN {
                break;
            }
            if !self.batch.payload.is_empty() && self.begun.elapsed() >= OLDEST {
                self.flush();
            }
            if looked.elapsed() >= LOOK {
                self.read_losses();
                looked = Instant::now();
            }
            if count == 0 {
                sleep(PAUSE);
            }
        }
        self.flush();
        self.read_losses();
        Ok(())
    }

    /// Reads what is there. Returns how many packets that were.
    fn turn(&mut self) -> usize {
        self.clock.refresh();
        let Self { ring, parts, clock, ids, latest, batch, begun } = self;
        ring.read(TURN, |head, data| {
            let key = (head.ifindex, head.netns);
            let interface = if head.reason != 0 {
                parts.dropped(head)
            } else if latest.0 == key && latest.1 != 0 {
                Some(latest.1)
            } else {
                let id = *ids
                    .entry(key)
                    .or_insert_with(|| parts.table.id(SeenAt::At(parts.place(head.ifindex, head.netns))));
                *latest = (key, id);
                Some(id)
            };
            let Some(interface) = interface else { return };
            if batch.payload.is_empty() {
                *begun = Instant::now();
                batch.payload.reserve_exact(BATCH_BYTES + HEAD + MOST);
            }
            let stamp = Stamp { time_ns: clock.wall(head.time_ns), interface, cause: parts.causes.number(head.reason) };
            frame::append(&mut batch.payload, head, data, parts.snaplen as usize, stamp);
            batch.count(interface, frame::length(head));
            if batch.payload.len() >= BATCH_BYTES {
                parts.queue.push(std::mem::take(batch));
            }
        })
    }

    fn flush(&mut self) {
        if !self.batch.payload.is_empty() {
            // A small batch must not hold the memory of a large one while it waits.
            self.batch.payload.shrink_to_fit();
            self.parts.queue.push(std::mem::take(&mut self.batch));
        }
    }

    fn read_losses(&self) {
        self.ring.report(&self.parts.losses);
        for (key, LostAt { packets, bytes }) in self.ring.lost() {
            let at = match key {
                DROPPED => SeenAt::Dropped,
                _ => SeenAt::At(self.parts.place(key as u32, (key >> 32) as u32)),
            };
            self.parts.table.lost_in_ring(at, Tally { packets, bytes });
        }
    }
}

impl Parts {
    /// The interface that the kernel means: it names the namespace only where two have the same index.
    fn place(&self, ifindex: u32, netns: u32) -> InterfaceId {
        let stamp = InterfaceId { netns, ifindex };
        if netns == 0 { self.scope.first(ifindex).unwrap_or(stamp) } else { stamp }
    }

    /// The place of dropped packets, if this one is of a watched interface, or of none in a namespace that is watched as a
    /// whole.
    fn dropped(&self, head: &PacketHead) -> Option<u32> {
        let PacketHead { netns, ifindex, .. } = *head;
        let wanted = self.scope.watched(netns, ifindex).is_some() || ifindex == 0 && self.scope.wants_all_of(netns);
        wanted.then(|| self.table.id(SeenAt::Dropped))
    }
}
