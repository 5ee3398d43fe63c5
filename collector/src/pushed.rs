//! A filter in the kernels of all nodes, put there from the screen. While it is, nothing else is captured; so when it was
//! is told wherever the capture is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use netobserv_wire::pbflow::KernelFilter;

/// The filters of one capture, the present one last.
#[derive(Debug, Default)]
pub struct Pushed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    periods: Vec<Period>,
    /// What agents are sent.
    wanted: KernelFilter,
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
    /// The filter as it was typed; the one that is taken back, if it is.
    pub text: String,
}

impl Pushed {
    /// From now on agents keep only what passes all lists (each a JSON array of rules), in place of any filter before.
    pub fn push(&self, text: String, lists: Vec<String>, now: DateTime<Utc>) {
        let mut state = self.state();
        state.close(now);
        // The time, so that no two captures have the same.
        let last = state.wanted.number;
        let number = now.timestamp_nanos_opt().map_or(1, i64::unsigned_abs).max(last + 1);
        state.wanted = KernelFilter { number, lists };
        state.periods.push(Period { text, from: now, to: None });
    }

    /// From now on agents keep what their own rules say.
    pub fn take_back(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        state.close(now);
        state.wanted = KernelFilter::default();
    }

    /// The capture has ended.
    pub fn end(&self, now: DateTime<Utc>) {
        self.state().close(now);
    }

    /// What an agent is told that has filter `number`.
    pub fn for_agent(&self, number: u64) -> Option<KernelFilter> {
        let state = self.state();
        let KernelFilter { number: wanted, lists } = &state.wanted;
        let lists = if number == *wanted { Vec::new() } else { lists.clone() };
        (*wanted != 0).then_some(KernelFilter { number: *wanted, lists })
    }

    /// What agents should have; `None` when there never was a filter.
    pub fn wanted(&self) -> Option<Wanted> {
        let state = self.state();
        state.periods.last().map(|period| Wanted { number: state.wanted.number, text: period.text.clone() })
    }

    /// How often a filter came or went.
    pub fn changes(&self) -> u64 {
        let state = self.state();
        state.periods.iter().map(|period| 1 + u64::from(period.to.is_some())).sum()
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
        self.state().periods.iter().map(period).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self, now: DateTime<Utc>) {
        if let Some(period) = self.periods.last_mut() {
            period.to.get_or_insert(now);
        }
    }
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
        assert_eq!(pushed.wanted(), Some(Wanted { number: 0, text: "port:80".into() }));
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
