//! Gives names to the ends of flows, and to none the name of another process.
//!
//! A record has the socket that sent the flow's first packet of the window, and the record of the other direction in the same
//! window which socket sends that, so receives this. Whose they were all the time, [`SocketOwners`] knows, after a walk over all open files that began when
//! the window was over.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use tracing::debug;

use super::{
    cgroup::Cgroups,
    owners::{ProcessIdentity, SocketOwners},
    sockets::Sockets,
};
use crate::flow::{FlowId, FlowRecord, Process, SEVERAL};

/// Time between walks, as a multiple of the CPU's time that the last one took: what would cost more has no names.
const REST: u32 = 20;

pub(super) struct ProcessAttribution {
    sockets: Sockets,
    owners: SocketOwners,
    cgroups: Cgroups,
    /// Events lost since the start.
    lost: u64,
    next_walk: Instant,
}

impl ProcessAttribution {
    pub(super) fn new(sockets: Sockets) -> Self {
        let mut attribution = Self {
            sockets,
            owners: SocketOwners::default(),
            cgroups: Cgroups::find(),
            lost: 0,
            next_walk: Instant::now(),
        };
        attribution.walk();
        attribution
    }

    /// Takes in what has happened to sockets. If some of that was lost, nothing is known any more.
    pub(super) fn listen(&mut self) {
        let owners = &mut self.owners;
        let lost = self.sockets.events(|seen| owners.event(seen));
        if lost != self.lost {
            debug!("{lost} events of sockets were lost; names begin again");
            self.lost = lost;
            self.owners = SocketOwners::default();
        }
    }

    /// Names the ends of the flows of a window that is over.
    pub(super) fn name(&mut self, records: &mut [FlowRecord]) {
        self.listen();
        let known = records.iter().filter(|record| !matches!(record.cookie, 0 | SEVERAL));
        let senders: HashMap<FlowId, u64> = known.clone().map(|record| (record.id, record.cookie)).collect();
        // Those of the next window begin later, also if this comes late.
        let Some(oldest_ns) = known.map(|record| record.first_ns).min() else { return };
        if Instant::now() < self.next_walk {
            return;
        }
        self.walk();
        let mut processes = HashMap::new();
        records.iter_mut().for_each(|record| self.name_record(record, &senders, &mut processes));
        self.owners.forget(oldest_ns);
    }

    fn walk(&mut self) {
        let started = time(ClockId::CLOCK_THREAD_CPUTIME_ID);
        if let Err(error) = self.try_walk() {
            debug!("cannot walk over the open files: {error}");
            self.owners = SocketOwners::default();
        }
        let took = time(ClockId::CLOCK_THREAD_CPUTIME_ID).saturating_sub(started);
        self.next_walk = Instant::now() + took * REST;
    }

    fn try_walk(&mut self) -> io::Result<()> {
        let now_ns = || time(ClockId::CLOCK_MONOTONIC).as_nanos() as u64;
        let mut rows = Vec::new();
        let begin_ns = now_ns();
        self.sockets.open(|row| rows.push(*row))?;
        self.owners.walk(begin_ns, now_ns(), &rows);
        self.listen();
        Ok(())
    }

    fn name_record(
        &self,
        record: &mut FlowRecord,
        senders: &HashMap<FlowId, u64>,
        processes: &mut HashMap<ProcessIdentity, Arc<Process>>,
    ) {
        let mut end = |flow: FlowId| {
            // ProcessIdentity sends a flow receives the other direction.
            let cookie = *senders.get(&flow)?;
            let process = self.owners.owner(cookie, &flow.reversed(), record.first_ns, record.last_ns)?;
            Some(processes.entry(process).or_insert_with(|| Arc::new(super::describe(&process, &self.cgroups))).clone())
        };
        let (src, dst) = (end(record.id), end(record.id.reversed()));
        if src.is_some() || dst.is_some() {
            let extra = record.extra.get_or_insert_default();
            (extra.src, extra.dst) = (src, dst);
        }
    }
}

fn time(clock: ClockId) -> Duration {
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}
