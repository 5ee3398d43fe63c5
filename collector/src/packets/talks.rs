//! The flows of the packets, with the names of both ends and what was written of them.

use std::collections::HashMap;
use std::sync::Arc;

use netobserv_wire::flow::HolderRef;

use super::headers::{self, Ends};
use crate::enrich::index::Question;

/// Flows that are remembered: twice this many at most. A flow that was forgotten begins again.
const GENERATION: usize = 32_768;
/// How often a flow's names are looked up again, ns of packet time.
pub const LOOK_AGAIN_NS: u64 = 1_000_000_000;

/// Finds out who has an address.
pub type NameLookup = Arc<dyn Fn(&Question) -> Option<HolderRef> + Send + Sync>;

/// Who is at both ends, sender first.
pub type Names = [Option<HolderRef>; 2];

/// One flow.
#[derive(Debug, Default)]
pub struct Talk {
    /// Names of the ends.
    pub names: Names,
    looked_ns: u64,
    /// The file in which the names were written as they are, from 1.
    told: u32,
}

/// The flows so far.
pub struct Talks {
    who: Option<NameLookup>,
    young: HashMap<Ends, Talk>,
    old: HashMap<Ends, Talk>,
}

impl Talks {
    /// No flow yet; `who` names their ends.
    pub fn new(who: Option<NameLookup>) -> Self {
        Self { who, young: HashMap::new(), old: HashMap::new() }
    }

    /// The flow of a frame, and whether what is known of it is still to be written in this file.
    pub fn of(&mut self, ends: &Ends, frame: &[u8], time_ns: u64, file: u32) -> (&Talk, bool) {
        if !self.young.contains_key(ends) {
            if self.young.len() >= GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            let talk = self.old.remove(ends).unwrap_or_default();
            self.young.insert(*ends, talk);
        }
        let talk = self.young.entry(*ends).or_default();
        if let Some(who) = &self.who {
            talk.look(who, ends, frame, time_ns);
        }
        let is_new = talk.told != file;
        talk.told = file;
        (talk, is_new)
    }
}

impl Talk {
    fn look(&mut self, who: &NameLookup, ends: &Ends, frame: &[u8], time_ns: u64) {
        let never = self.looked_ns == 0;
        if !never && time_ns < self.looked_ns.saturating_add(LOOK_AGAIN_NS) {
            return;
        }
        self.looked_ns = time_ns;
        let names = names(who, ends, frame, time_ns);
        // A name that is gone is no news: its pod was deleted, the packets are still its own.
        if names.iter().zip(&self.names).any(|(now, before)| now.is_some() && now != before) {
            self.names = names;
            self.told = 0;
        }
    }
}

/// Who is at both ends of a frame, sender first.
pub fn names(who: &NameLookup, ends: &Ends, frame: &[u8], time_ns: u64) -> Names {
    let Some((src, dst)) = ends.addresses else { return Names::default() };
    let macs = headers::macs(frame);
    let at_ms = time_ns / 1_000_000;
    let end = |address, mac, port: Option<u16>| who(&Question { address, mac, port: ends.proto.zip(port), at_ms });
    [
        end(src, macs.map(|(src, _)| src), ends.ports.map(|(src, _)| src)),
        end(dst, macs.map(|(_, dst)| dst), ends.ports.map(|(_, dst)| dst)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::Holder;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    fn ends(port: u16) -> Ends {
        let addresses = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        Ends { etype: 0x0800, addresses: Some(addresses), ports: Some((port, 80)), ..Ends::default() }
    }

    #[test]
    fn a_flow_is_told_once_in_each_file() {
        let mut talks = Talks::new(None);
        let mut is_new = |port, file| talks.of(&ends(port), &[], 5, file).1;
        assert_eq!(
            [is_new(1, 1), is_new(1, 1), is_new(2, 1), is_new(1, 2), is_new(1, 2)],
            [true, false, true, true, false]
        );
    }

    #[test]
    fn it_is_told_again_when_a_name_becomes_known() {
        let known = Arc::new(AtomicBool::new(false));
        let seen = known.clone();
        let who: NameLookup = Arc::new(move |end| {
            let holder = Holder { name: end.address.to_string().into(), ..Holder::default() };
            seen.load(Relaxed).then(|| holder.into())
        });
        let mut talks = Talks::new(Some(who));
        assert!(talks.of(&ends(1), &[], 5, 1).1);
        known.store(true, Relaxed);
        assert!(!talks.of(&ends(1), &[], 6, 1).1, "not looked up for each packet");
        let (talk, is_new) = talks.of(&ends(1), &[], 6 + LOOK_AGAIN_NS, 1);
        assert_eq!((talk.names[1].as_ref().unwrap().name.as_str(), is_new), ("10.0.0.2", true));
        known.store(false, Relaxed);
        assert!(!talks.of(&ends(1), &[], 6 + 2 * LOOK_AGAIN_NS, 1).1, "a name that is gone is no news");
    }

    #[test]
    fn memory_is_bounded_and_the_lively_stay() {
        let mut talks = Talks::new(None);
        talks.of(&ends(0), &[], 5, 1);
        for number in 0..3 * GENERATION {
            let other = Ends { etype: (number / 65_536) as u16, ..ends((number % 65_536) as u16) };
            talks.of(&other, &[], 5, 1);
            assert!(!talks.of(&ends(0), &[], 5, 1).1, "it was forgotten at {number}");
        }
        assert!(talks.young.len() + talks.old.len() <= 2 * GENERATION);
    }
}
