//! From when to when an address belonged to what was selected, for the database, the screen and the summary.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use netobserv_contract::selector::Term;

use super::resolve::{Element, Object, Resolved, count};
use crate::query::Seen;

/// Most times that are remembered: some 40 MB.
const MOST: usize = 200_000;

/// Agents get a change a moment after it is known here, and the clocks of nodes differ by as much.
const TOLERANCE_MS: u64 = 1_000;

/// The times of a capture. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Members(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    selections: BTreeMap<u32, Selected>,
    times: Vec<Time>,
    /// Times that have changed since the database was brought up to date.
    news: BTreeSet<usize>,
    /// There was no room for so many.
    forgotten: u64,
    changes: u64,
}

/// One selection.
#[derive(Debug, Default)]
struct Selected {
    words: String,
    addresses: usize,
    nodes: usize,
    /// By element, whose it is, and the number of its time.
    now: BTreeMap<Element, (Object, Option<usize>)>,
    ever: BTreeSet<IpAddr>,
    /// From when on the elements of now belong; 0 for those that were there when the capture began.
    since: HashMap<Element, u64>,
    /// When elements belonged, and do no more.
    past: HashMap<Element, Vec<(u64, u64)>>,
}

/// A time in which an address, or a port of one, belonged to a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    /// The selection, in words.
    pub selection: String,
    /// What has the address.
    pub object: Object,
    /// The address, and the port if it is not all of it.
    pub element: Element,
    /// When it became known.
    pub from: DateTime<Utc>,
    /// When it was taken out; None while it belongs.
    pub to: Option<DateTime<Utc>>,
}

impl Members {
    /// These are the elements of a selection from now on. Returns whether agents have to hear of it.
    pub(super) fn put(&self, number: u32, words: &str, resolved: &Resolved, now: DateTime<Utc>) -> bool {
        let mut state = self.state();
        let State { selections, times, news, forgotten, changes } = &mut *state;
        let known = selections.contains_key(&number);
        let selected = selections.entry(number).or_default();
        let same = |element: &Element, object: &Object| resolved.get(element) == Some(object);
        let (stay, gone) = std::mem::take(&mut selected.now)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(element, (object, _))| same(element, object));
        let mut changed = !known || gone.keys().any(|element| !resolved.contains_key(element));
        *changes += 1;
        let now_ms = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        for element in gone.keys().filter(|element| !resolved.contains_key(element)) {
            let from = selected.since.remove(element).unwrap_or_default();
            selected.past.entry(*element).or_default().push((from, now_ms));
        }
        for index in gone.values().filter_map(|(_, index)| *index) {
            times[index].to = Some(now);
            news.insert(index);
        }
        selected.now = stay;
        for (element, object) in resolved {
            if selected.now.contains_key(element) {
                continue;
            }
            changed |= !gone.contains_key(element);
            selected.since.entry(*element).or_insert(if known { now_ms } else { 0 });
            let index = (times.len() < MOST).then_some(times.len());
            match index {
                Some(index) => {
                    let (selection, object) = (words.to_owned(), object.clone());
                    times.push(Time { selection, object, element: *element, from: now, to: None });
                    news.insert(index);
                    selected.ever.insert(element.0);
                }
                None => *forgotten += 1,
            }
            selected.now.insert(*element, (object.clone(), index));
        }
        words.clone_into(&mut selected.words);
        (selected.addresses, selected.nodes) = count(resolved);
        changed
    }

    /// Whether an end belonged to a selection when it was seen.
    pub fn had(&self, number: u32, seen: &Seen) -> bool {
        let Some(address) = seen.address else { return false };
        let state = self.state();
        let Some(selected) = state.selections.get(&number) else { return false };
        let within = |from: u64, to: u64| {
            from <= seen.to_ms.saturating_add(TOLERANCE_MS) && seen.from_ms <= to.saturating_add(TOLERANCE_MS)
        };
        let elements = [Some((address, None)), seen.port.map(|port| (address, Some(port)))];
        elements.into_iter().flatten().any(|element| {
            let now = selected.since.get(&element).is_some_and(|from| within(*from, u64::MAX));
            let past =
                || selected.past.get(&element).is_some_and(|times| times.iter().any(|(from, to)| within(*from, *to)));
            now || past()
        })
    }

    /// The number of the selection that is this alone; None if it is not followed.
    pub fn number(&self, term: &Term) -> Option<u32> {
        let words = term.to_string();
        self.state().selections.iter().find(|(_, selected)| selected.words == words).map(|(number, _)| *number)
    }

    /// The nodes of what belongs to these selections now.
    pub fn nodes(&self, numbers: &[u32]) -> BTreeSet<String> {
        let state = self.state();
        let selected = numbers.iter().filter_map(|number| state.selections.get(number));
        let nodes = selected.flat_map(|selected| selected.now.values()).map(|(object, _)| &object.node);
        nodes.filter(|node| !node.is_empty()).cloned().collect()
    }

    /// What is meant now, each selection in words; empty without any.
    pub fn now(&self) -> Vec<String> {
        self.state().selections.values().map(Selected::now).collect()
    }

    /// The same, with what was meant before.
    pub fn summary(&self) -> Vec<String> {
        let state = self.state();
        let lines = state.selections.values().map(|selected| {
            let ever = selected.ever.len();
            let more = if ever > selected.addresses { format!(" at the end, {ever} in all") } else { String::new() };
            format!("captured {}{more}", selected.now())
        });
        let forgotten = (state.forgotten > 0)
            .then(|| format!("{} times of addresses found no room in the list of them", state.forgotten));
        lines.chain(forgotten).collect()
    }

    /// How often something may have changed.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Times that have changed since the last call, by number.
    pub fn news(&self) -> Vec<(usize, Time)> {
        let mut state = self.state();
        let news = std::mem::take(&mut state.news);
        news.into_iter().map(|index| (index, state.times[index].clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Selected {
    fn now(&self) -> String {
        let Self { words, addresses, nodes, .. } = self;
        let es = if *addresses == 1 { "" } else { "es" };
        let on = match nodes {
            0 => String::new(),
            1 => " on 1 node".into(),
            nodes => format!(" on {nodes} nodes"),
        };
        format!("{words}: {addresses} address{es}{on}")
    }
}
