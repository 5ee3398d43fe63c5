//! The kernel's table of the elements of sets. Both banks share its entries: what is written is the difference to what the bank
//! held, so that one pod more among 100,000 is one entry.

use std::{io, iter::Peekable, os::fd::AsFd};

use aya::{Ebpf, maps::MapData};
use netobserv_ebpf_common::filter::{SetClass, SetKey};

use crate::{
    kernel::{self, KernelError},
    sys,
};

/// The table, and what is in it.
pub(super) struct Table {
    map: MapData,
    /// In the order of the keys.
    held: Vec<(SetKey, SetClass)>,
}

impl Table {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self { map: kernel::take_hash(ebpf, "FILTER_SETS")?, held: Vec::new() })
    }

    /// Has a bank hold these elements, which are in order, each with its class, and no others. Programs that read the other bank
    /// see no change.
    pub(super) fn fill(&mut self, bank: usize, wanted: &[(SetKey, u16)]) -> io::Result<()> {
        let old = std::mem::take(&mut self.held);
        let (mut keys, mut values, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let mut new = Vec::with_capacity(old.len().max(wanted.len()));
        for (key, before, class) in merge(old.iter().copied().peekable(), wanted.iter().copied().peekable()) {
            let mut classes = before.unwrap_or_default();
            classes[bank] = class;
            if classes == SetClass::default() {
                gone.push(key);
                continue;
            }
            if before != Some(classes) {
                keys.push(key);
                values.push(classes);
            }
            new.push((key, classes));
        }
        let written = sys::remove_batch(self.map.fd().as_fd(), &gone)
            .and_then(|()| sys::write_batch(self.map.fd().as_fd(), &keys, &values));
        if let Err(error) = written {
            // How far it came is not known: the next time everything is written.
            self.held = self.start_over(bank, &old);
            return Err(error);
        }
        self.held = new;
        Ok(())
    }

    /// Takes the bank out of all entries, one by one, and returns what is left.
    fn start_over(&self, bank: usize, old: &[(SetKey, SetClass)]) -> Vec<(SetKey, SetClass)> {
        let left = old.iter().map(|(key, classes)| {
            let mut classes = *classes;
            classes[bank] = 0;
            (*key, classes)
        });
        let (left, gone): (Vec<_>, Vec<_>) = left.partition(|(_, classes)| *classes != SetClass::default());
        for (key, _) in gone {
            let _ = sys::remove_batch(self.map.fd().as_fd(), &[key]);
        }
        for (key, classes) in &left {
            let _ = sys::write_batch(self.map.fd().as_fd(), &[*key], &[*classes]);
        }
        left
    }
}

/// Each key of both, in order: what it had, and the class that it is to have.
fn merge(
    mut held: Peekable<impl Iterator<Item = (SetKey, SetClass)>>,
    mut wanted: Peekable<impl Iterator<Item = (SetKey, u16)>>,
) -> impl Iterator<Item = (SetKey, Option<SetClass>, u16)> {
    std::iter::from_fn(move || {
        let least = held.peek().map(|(key, _)| *key).into_iter().chain(wanted.peek().map(|(key, _)| *key)).min()?;
        let before = held.next_if(|(key, _)| *key == least).map(|(_, classes)| classes);
        let class = wanted.next_if(|(key, _)| *key == least).map_or(0, |(_, class)| class);
        Some((least, before, class))
    })
}
