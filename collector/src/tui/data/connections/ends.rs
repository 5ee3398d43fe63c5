//! The ends of conversations: an address with what is known of it, each once.

use std::collections::HashMap;
use std::net::IpAddr;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use netobserv_wire::Flow;
use netobserv_wire::flow::{Holder, HolderRef, Side};

/// Most ends. One takes about 150 bytes.
const MOST: usize = 65_536;
/// Number of an end that is not kept.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// An address, and the process or the object of the cluster that has it.
#[derive(Clone, Debug)]
pub(in crate::tui) struct End {
    pub(in crate::tui) address: IpAddr,
    pub(in crate::tui) process: CompactString,
    holder: Option<HolderRef>,
}

/// All of them, by number.
#[derive(Debug, Default)]
pub(in crate::tui) struct Ends {
    list: Vec<End>,
    index: HashMap<(IpAddr, CompactString), u32, RandomState>,
}

impl End {
    /// Its object of the cluster.
    pub(in crate::tui) fn holder(&self) -> Option<&Holder> {
        self.holder.as_deref()
    }

    /// The same, to be shared.
    pub(in crate::tui) fn holder_ref(&self) -> Option<&HolderRef> {
        self.holder.as_ref()
    }
}

impl Ends {
    /// The number of an end of a record. Of an address, the latest object of the cluster counts.
    pub(super) fn number(&mut self, flow: &Flow, side: Side) -> u32 {
        let address = if side == Side::Src { flow.src_addr } else { flow.dst_addr };
        let Some(address) = address else { return UNKNOWN };
        let process = flow.processes.as_deref().map_or("", |both| super::process(both, side));
        let holder = flow.holder(side);
        let key = (address, CompactString::from(process));
        if let Some(known) = self.index.get(&key) {
            if let (Some(holder), Some(end)) = (holder, self.list.get_mut(*known as usize)) {
                end.holder = Some(holder.clone());
            }
            return *known;
        }
        if self.list.len() >= MOST {
            return UNKNOWN;
        }
        let new = self.list.len() as u32;
        self.list.push(End { address, process: key.1.clone(), holder: holder.cloned() });
        self.index.insert(key, new);
        new
    }

    pub(in crate::tui) fn get(&self, number: u32) -> Option<&End> {
        self.list.get(number as usize)
    }

    /// The end with this address, of whatever process.
    pub(in crate::tui) fn of(&self, address: IpAddr) -> Option<&End> {
        let plain = self.index.get(&(address, CompactString::default()));
        plain.and_then(|number| self.get(*number))
    }

    pub(in crate::tui) fn iter(&self) -> impl Iterator<Item = &End> {
        self.list.iter()
    }
}
