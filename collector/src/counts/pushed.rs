//! What the kernels of all nodes keep besides their rules: a filter that was put there from the screen, and the addresses of what
//! was selected by name. While there is a filter, nothing else is captured; so its times are reported with the capture.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use netobserv_wire::pbflow::{AddressSet, KernelFilter};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::counts::Agent;
use crate::select::members::Members;

/// The filters of one capture, the present one last, and the addresses that belong to what was selected.
#[derive(Debug, Default)]
pub struct Pushed {
    state: Mutex<State>,
    /// Counts the changes.
    changed: watch::Sender<u64>,
    members: Members,
    /// Agents keep nothing, and have sent what they had: what comes now is from after the limit.
    shut: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    periods: Vec<Period>,
    /// Of what agents are sent; 0 for nothing.
    number: u64,
    /// The filter of the screen; empty without one.
    lists: Vec<String>,
    /// The sets that rules name; None when they name none.
    sets: Option<Arc<Vec<AddressSet>>>,
    /// Times in which agents keep nothing: from a limit to the moment when the user continued.
    rests: Vec<Rest>,
}

#[derive(Debug)]
struct Rest {
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct Period {
    text: String,
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
}

/// What agents should have now, or should have given back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// 0 for none.
    pub number: u64,
    /// There is a filter of the screen.
    pub filters: bool,
    /// The filter as it was typed; the one that is taken back, if it is.
    pub text: String,
}

impl Pushed {
    /// From now on agents keep only what passes all lists (each a JSON array of rules), in place of any filter before.
    pub fn push(&self, text: String, lists: Vec<String>, now: DateTime<Utc>) {
        let mut state = self.state();
        state.close(now);
        state.lists = lists;
        state.renumber(now);
        state.periods.push(Period { text, from: now, to: None });
        drop(state);
        self.wake();
    }

    /// From now on agents keep what their own rules select.
    pub fn take_back(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        state.close(now);
        state.lists.clear();
        state.renumber(now);
        drop(state);
        self.wake();
    }

    /// From now on agents keep nothing, until [`Pushed::resume`].
    pub fn pause(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        state.rests.push(Rest { from: now, to: None });
        state.renumber(now);
        drop(state);
        self.wake();
    }

    /// From now on agents keep what they did before [`Pushed::pause`].
    pub fn resume(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        if let Some(rest) = state.rests.last_mut() {
            rest.to.get_or_insert(now);
        }
        state.renumber(now);
        drop(state);
        self.shut.store(false, Relaxed);
        self.wake();
    }

    /// What agents send from now on belongs to no period, until [`Pushed::resume`].
    pub fn shut(&self) {
        self.shut.store(true, Relaxed);
    }

    /// What agents send now belongs to no period.
    pub fn is_shut(&self) -> bool {
        self.shut.load(Relaxed)
    }

    /// From now on these addresses are in the sets that the agents' rules name.
    pub fn put_sets(&self, sets: Vec<AddressSet>, now: DateTime<Utc>) {
        let mut state = self.state();
        state.sets = Some(Arc::new(sets));
        state.renumber(now);
        drop(state);
        self.wake();
    }

    /// What belongs to what was selected, and did.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Has all that wait look again. They look at the state: it must not be held here.
    pub fn wake(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Waits until agents are to have another filter than that of `number`, for `at_most`, or until `ended` is true.
    pub async fn other_than(&self, number: u64, at_most: Duration, ended: impl Fn() -> bool) {
        let mut changed = self.changed.subscribe();
        let other = changed.wait_for(|_| ended() || self.state().number != number);
        // Of no interest which of them it was.
        let _ = timeout(at_most, other).await;
    }

    /// The capture has ended.
    pub fn end(&self, now: DateTime<Utc>) {
        self.state().close(now);
    }

    /// What an agent that has filter `number` is sent.
    pub fn for_agent(&self, number: u64) -> Option<KernelFilter> {
        let state = self.state();
        if state.number == 0 {
            return None;
        }
        if state.number == number {
            return Some(KernelFilter { number, ..KernelFilter::default() });
        }
        let sets = state.sets.as_deref().cloned().unwrap_or_default();
        let nothing = state.rests();
        Some(KernelFilter { number: state.number, lists: state.lists.clone(), sets, nothing })
    }

    /// The number of what agents should have; 0 is none.
    pub fn number(&self) -> u64 {
        self.state().number
    }

    /// What agents should have; `None` when there never was a filter.
    pub fn wanted(&self) -> Option<Wanted> {
        let state = self.state();
        let last = state.periods.last()?;
        Some(Wanted { number: state.number, filters: !state.lists.is_empty(), text: last.text.clone() })
    }

    /// How often a filter came or went, or what belongs to a selection changed.
    pub fn changes(&self) -> u64 {
        let state = self.state();
        let of_filters: u64 = state.periods.iter().map(|period| 1 + u64::from(period.to.is_some())).sum();
        of_filters + state.rests.len() as u64 + self.members.changes()
    }

    /// In words, when the capture kept only what.
    pub fn periods(&self) -> Vec<String> {
        let clock = |time: DateTime<Utc>| time.format("%H:%M:%S").to_string();
        let period = |period: &Period| match period.to {
            Some(to) => {
                format!("from {} to {} UTC only this was captured: {}", clock(period.from), clock(to), period.text)
            }
            None => format!("from {} UTC on only this is captured: {}", clock(period.from), period.text),
        };
        let state = self.state();
        let rest = |rest: &Rest| {
            let to = clock(rest.to?);
            Some(format!(
                "from {} to {to} UTC nothing was captured: the time was over, and then extended",
                clock(rest.from)
            ))
        };
        state.periods.iter().map(period).chain(state.rests.iter().filter_map(rest)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Another number for what agents should have now.
    fn renumber(&mut self, now: DateTime<Utc>) {
        if self.lists.is_empty() && self.sets.is_none() && !self.rests() {
            self.number = 0;
            return;
        }
        // The time, so that no two captures have the same.
        self.number = now.timestamp_nanos_opt().map_or(1, i64::unsigned_abs).max(self.number + 1);
    }

    fn rests(&self) -> bool {
        self.rests.last().is_some_and(|rest| rest.to.is_none())
    }

    fn close(&mut self, now: DateTime<Utc>) {
        if let Some(period) = self.periods.last_mut() {
            period.to.get_or_insert(now);
        }
    }
}

/// Agents that keep something else than they should, with their reasons.
pub(crate) fn refusals(agents: &BTreeMap<String, Agent>) -> impl Iterator<Item = String> {
    let refused = agents.iter().filter(|(_, agent)| !agent.filter_error.is_empty());
    refused.map(|(node, agent)| format!("{node} did not apply the latest filter: {}", agent.filter_error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_get_what_they_do_not_have() {
        let (pushed, now) = (Pushed::default(), Utc::now());
        assert_eq!((pushed.for_agent(0), pushed.wanted()), (None, None));
        pushed.push("port:443".into(), vec!["[]".into()], now);
        let first = pushed.for_agent(0).unwrap();
        assert_eq!(first.lists, ["[]"]);
        assert!(pushed.for_agent(first.number).unwrap().lists.is_empty(), "it has them");
        pushed.push("port:80".into(), vec!["[1]".into()], now);
        let second = pushed.for_agent(first.number).unwrap();
        assert!(second.number > first.number && second.lists == ["[1]"]);
        pushed.take_back(now);
        assert_eq!(pushed.for_agent(second.number), None);
        assert_eq!(pushed.wanted(), Some(Wanted { number: 0, filters: false, text: "port:80".into() }));
    }

    #[tokio::test]
    async fn sets_stay_when_a_filter_goes() {
        let (pushed, now) = (Pushed::default(), Utc::now());
        let set = AddressSet { number: 1, ipv4: vec![10, 0, 0, 1], ..AddressSet::default() };
        pushed.put_sets(vec![set.clone()], now);
        assert_eq!(pushed.wanted(), None, "the screen has no filter");
        let first = pushed.for_agent(0).unwrap();
        assert_eq!((first.sets.as_slice(), first.lists.len()), (&[set.clone()][..], 0));
        pushed.push("port:80".into(), vec!["[1]".into()], now);
        pushed.take_back(now);
        let last = pushed.for_agent(first.number).unwrap();
        assert!(last.number > first.number && last.sets == [set] && last.lists.is_empty());
        // It returns at once: the agent has another one.
        pushed.other_than(first.number, Duration::MAX, || false).await;
        pushed.other_than(last.number, Duration::MAX, || true).await;
        pushed.other_than(last.number, Duration::ZERO, || false).await;
    }

    #[test]
    fn a_rest_keeps_nothing_and_leaves_the_filter_of_before() {
        let at = |second: i64| DateTime::from_timestamp(1_709_741_900 + second, 0).unwrap();
        let pushed = Pushed::default();
        pushed.pause(at(0));
        assert!(pushed.for_agent(0).is_some_and(|filter| filter.nothing && filter.lists.is_empty()));
        assert_eq!((pushed.wanted(), pushed.periods()), (None, vec![]), "it may be the end");
        pushed.resume(at(5));
        assert_eq!(pushed.for_agent(1), None);
        let line = "from 16:18:20 to 16:18:25 UTC nothing was captured: the time was over, and then extended";
        assert_eq!(pushed.periods(), [line]);
        pushed.push("port:80".into(), vec!["[1]".into()], at(6));
        pushed.pause(at(7));
        assert!(pushed.for_agent(0).is_some_and(|filter| filter.nothing && filter.lists == ["[1]"]));
        pushed.resume(at(8));
        assert!(pushed.for_agent(0).is_some_and(|filter| !filter.nothing && filter.lists == ["[1]"]));
    }

    #[test]
    fn when_it_was_is_told() {
        let at = |second: i64| DateTime::from_timestamp(1_709_741_900 + second, 0).unwrap();
        let pushed = Pushed::default();
        pushed.push("port:443 tcp".into(), vec![], at(0));
        pushed.take_back(at(65));
        pushed.push("udp".into(), vec![], at(70));
        let first = "from 16:18:20 to 16:19:25 UTC only this was captured: port:443 tcp";
        assert_eq!(pushed.periods(), [first, "from 16:19:30 UTC on only this is captured: udp"]);
        pushed.end(at(80));
        assert_eq!(pushed.periods()[1], "from 16:19:30 to 16:19:40 UTC only this was captured: udp");
        assert_eq!(pushed.changes(), 4);
    }
}
