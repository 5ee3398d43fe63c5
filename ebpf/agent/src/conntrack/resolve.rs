//! What translations mean for the records of a window: the other tuple, which end opened the connection, and whether the packets
//! are counted in another record.

use std::mem;

use smallvec::SmallVec;

use super::table::{Matches, Side, Table};
use crate::{
    flow::{FlowId, FlowRecord},
    translated::{Translated, Tuple},
};

/// Translations in a row that are followed: one in each of several network namespaces.
const MOST_STAGES: usize = 4;
/// Windows with packets after translation, and none before it, after which those are counted.
const MISSED: u8 = 3;
/// Packets that were seen later than this before the window's end may be seen at their next place in the next one.
const IN_FLIGHT_NS: u64 = 100_000_000;

/// The entries from a flow up to the first tuple.
type Path = SmallVec<[u32; MOST_STAGES]>;

/// A flow on its way through translations.
#[derive(Clone, Copy)]
struct Query {
    /// In the direction of the flow.
    tuple: Tuple,
    proto: u8,
    /// Echoes only: a request.
    request: Option<bool>,
}

/// Looks up whole windows.
pub(super) struct Resolver {
    pub(super) table: Table,
    /// Records of the window before that may yet prove to be duplicates.
    held: Vec<FlowRecord>,
}

impl Resolver {
    pub(super) fn new(table: Table) -> Self {
        Self { table, held: vec![] }
    }

    /// Completes the records of a window that ended at `end_ns`. A few may be held back for the next one.
    pub(super) fn window(&mut self, mut records: Vec<FlowRecord>, end_ns: u64) -> Vec<FlowRecord> {
        self.table.begin_window();
        if self.table.len() == 0 && self.held.is_empty() {
            return records;
        }
        records.append(&mut self.held);
        let known: Vec<_> = (0..records.len()).filter_map(|at| Some((at, self.see(&records[at])?))).collect();
        let mut waiting = vec![];
        for (at, matches) in known {
            let record = &mut records[at];
            let Some((translated, path)) = self.look_up(&record.id, &matches) else { continue };
            record.translated = Some(Box::new(translated));
            if translated.is_origin && !translated.duplicate && self.may_wait(&path, record.first_ns, end_ns) {
                waiting.push(at);
            }
        }
        // From the end, so that the numbers of the others stay.
        for at in waiting.into_iter().rev() {
            self.held.push(records.swap_remove(at));
        }
        records
    }

    /// Hands out what was held back.
    pub(super) fn finish(&mut self) -> Vec<FlowRecord> {
        if self.held.is_empty() { vec![] } else { self.window(vec![], u64::MAX) }
    }

    /// Notes that packets of a flow were seen. None if it is not translated.
    fn see(&mut self, record: &FlowRecord) -> Option<Matches> {
        let (tuple, _) = Tuple::of(&record.id)?;
        let mut matches = self.table.matches(&tuple, record.id.proto);
        // Namespaces may have the same addresses: the connection is one of a namespace where the flow was seen.
        let is_here = |(at, _): &(u32, Side)| {
            let netns = self.table.entry(*at).netns;
            record.sightings.iter().any(|sighting| sighting.place.netns == netns)
        };
        if matches.iter().any(is_here) {
            matches.retain(|found| is_here(found));
        }
        let window = self.table.window;
        for (at, side) in &matches {
            if *side == Side::Origin && record.packets > 0 {
                let entry = self.table.entry_mut(*at);
                (entry.seen, entry.seen_in, entry.missed) = (true, window, 0);
            }
        }
        (!matches.is_empty()).then_some(matches)
    }

    /// What there is to know, and the entries from the flow to the first tuple. `matches` are those of the flow.
    fn look_up(&mut self, id: &FlowId, matches: &Matches) -> Option<(Translated, Path)> {
        let (tuple, request) = Tuple::of(id)?;
        let mut query = Query { tuple, proto: id.proto, request };
        let (mut path, mut found, mut target) = (Path::new(), None, None);
        let mut here = matches.clone();
        while path.len() < MOST_STAGES
            && let Some((at, side, forward, next)) = self.step(query, &here, true)
        {
            if path.is_empty() && side == Side::Middle {
                let tuple = self.table.entry(at).tuple(Side::Target);
                target = Some(if forward { tuple } else { tuple.reversed(query.proto) });
            }
            path.push(at);
            (query.tuple, found) = (next, Some((at, forward)));
            here = self.beyond(at, query);
        }
        if let Some((at, source_opened)) = found {
            let duplicate = path.iter().any(|at| self.counts_before(*at));
            let translated = self.translated(at, query, source_opened, Some(duplicate));
            return Some((Translated { target, ..translated }, path));
        }
        let (mut stages, mut source_opened) = (0, None);
        while stages < MOST_STAGES
            && let Some((at, _, forward, next)) = self.step(query, &here, false)
        {
            source_opened.get_or_insert(forward);
            (query.tuple, found, stages) = (next, Some((at, forward)), stages + 1);
            here = self.beyond(at, query);
        }
        let (at, _) = found?;
        Some((self.translated(at, query, source_opened?, None), Path::new()))
    }

    /// The entries of the tuple at the other end of an entry; most have none.
    fn beyond(&self, at: u32, query: Query) -> Matches {
        if self.table.entry(at).chained { self.table.matches(&query.tuple, query.proto) } else { Matches::new() }
    }

    /// The latest translation that a tuple is seen `after`, or before; at which side; whether it has the direction of the first
    /// packet; and the tuple at the other end of the translation.
    fn step(&self, query: Query, matches: &Matches, after: bool) -> Option<(u32, Side, bool, Tuple)> {
        let Query { tuple, proto, request } = query;
        let candidates = matches.iter().copied().filter(|(_, side)| side.is_after() == after);
        let oriented =
            candidates.map(|(at, side)| (at, side, tuple.goes_with(&self.table.entry(at).tuple(side), proto)));
        let fitting = oriented.filter(|(.., forward)| request.is_none_or(|request| request == *forward));
        let (at, side, forward) = fitting.max_by_key(|(at, ..)| {
            let entry = self.table.entry(*at);
            (entry.open, entry.number)
        })?;
        let other = self.table.entry(at).tuple(if after { Side::Origin } else { Side::Target });
        Some((at, side, forward, if forward { other } else { other.reversed(proto) }))
    }

    /// Whether packets of a connection are counted before its translation.
    fn counts_before(&mut self, at: u32) -> bool {
        let window = self.table.window;
        let entry = self.table.entry_mut(at);
        if entry.seen && entry.seen_in != window && entry.missed_in != window {
            (entry.missed_in, entry.missed) = (window, entry.missed + 1);
            entry.seen = entry.missed < MISSED;
        }
        entry.seen
    }

    /// Whether to wait for a window because packets may be on their way to where they are counted.
    fn may_wait(&mut self, path: &[u32], first_ns: u64, end_ns: u64) -> bool {
        let fresh = path.iter().all(|at| !self.table.entry(*at).counted);
        let wait = fresh && first_ns.saturating_add(IN_FLIGHT_NS) > end_ns;
        if !wait {
            path.iter().for_each(|at| self.table.entry_mut(*at).counted = true);
        }
        wait
    }

    /// `duplicate` is None for a flow before translation.
    fn translated(&self, at: u32, query: Query, source_opened: bool, duplicate: Option<bool>) -> Translated {
        let mut tuple = query.tuple;
        let icmp_id = if super::tuple::is_icmp(query.proto) { mem::take(&mut tuple.src_port) } else { 0 };
        Translated {
            is_origin: duplicate.is_some(),
            tuple,
            target: None,
            zone: self.table.entry(at).zone,
            icmp_id,
            source_opened,
            duplicate: duplicate.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
