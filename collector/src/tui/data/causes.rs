//! Dropped packets by cause, of all records.

use std::collections::BTreeMap;

use netobserv_wire::Flow;
use netobserv_wire::flow::Drops;
use serde::Deserialize;

/// Most causes that are kept apart; the kernel has about a hundred.
const MOST: usize = 256;
/// What is beyond that.
const OTHERS: &str = "others";

/// Packets by the kernel's name of their cause.
#[derive(Debug, Default)]
pub(in crate::tui) struct Causes(BTreeMap<String, u64>);

/// An element of the list of causes that a record has.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::tui) struct Cause {
    /// The kernel's name.
    pub(in crate::tui) cause: String,
    pub(in crate::tui) packets: u64,
    /// Of these packets.
    #[serde(default)]
    pub(in crate::tui) bytes: u64,
}

/// All causes of a record, the one with the most packets first.
pub(in crate::tui) fn of(drops: &Drops) -> Vec<Cause> {
    let mut causes: Vec<Cause> = serde_json::from_str(&drops.causes).unwrap_or_default();
    if causes.is_empty() {
        causes.push(Cause { cause: drops.cause.to_string(), packets: drops.packets, bytes: drops.bytes });
    }
    causes.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.cause.cmp(&b.cause)));
    causes
}

impl Causes {
    pub(super) fn add(&mut self, flow: &Flow) {
        let Some(drops) = &flow.drops else { return };
        for Cause { cause, packets, .. } in of(drops) {
            let is_full = self.0.len() >= MOST && !self.0.contains_key(&cause);
            let sum = self.0.entry(if is_full { OTHERS.into() } else { cause }).or_default();
            *sum = sum.saturating_add(packets);
        }
    }

    pub(in crate::tui) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, packets)| (name.as_str(), *packets))
    }
}
