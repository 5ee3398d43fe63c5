//! Puts compiled rules into the kernel's tables, also while programs read them.

use std::{io, os::fd::AsFd};

use aya::{
    Ebpf, EbpfLoader,
    maps::{
        Array, Map, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use netobserv_ebpf_common::filter::{AddressKey, AddressMasks, NO_RULES, PORTS, SET_CLASSES, SetMasks, Tables};

use crate::{
    kernel::{self, Feature, KernelError},
    rules::{
        Rule,
        compile::{Compiled, compile},
        sets::Sets,
    },
    sys,
};
use elements::Table;

mod elements;

/// The filter's maps before they are made.
pub struct FilterMaps {
    /// 1 = there is a filter.
    pub on: u32,
    /// Its rules may name sets of addresses.
    pub sets: bool,
}

impl Feature for FilterMaps {
    fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader.override_global("FILTER", &self.on, true);
        if self.on == 0 {
            loader.map_max_entries("FILTER_PORTS", 1).map_max_entries("FILTER_VERDICTS", 1);
        }
        if !self.sets {
            loader.map_max_entries("FILTER_SETS", 1);
        }
    }
}

/// The filter of the loaded programs.
pub struct Filter {
    /// The bank that programs read, or [`NO_RULES`].
    bank: u32,
    switch: Array<MapData, u32>,
    tables: Array<MapData, Tables>,
    ports: MapData,
    addresses: LpmTrie<MapData, AddressKey, AddressMasks>,
    /// The keys of each bank.
    prefixes: [Vec<Key<AddressKey>>; 2],
    elements: Table,
    classes: Array<MapData, SetMasks>,
    sampling: u32,
    /// Of the latest list; not 0 from the first on.
    number: u32,
}

impl Filter {
    /// Takes the filter's maps out of an object that was loaded with the filter switched on. Until the first
    /// [`Filter::replace`] its programs keep nothing.
    pub fn take(ebpf: &mut Ebpf, sampling: u32) -> Result<Self, KernelError> {
        let Some(Map::Array(ports)) = ebpf.take_map("FILTER_PORTS") else {
            return Err(KernelError::NotInObject("FILTER_PORTS"));
        };
        Ok(Self {
            bank: 0,
            switch: kernel::take_map(ebpf, "FILTER_BANK")?,
            tables: kernel::take_map(ebpf, "FILTER_TABLES")?,
            ports,
            addresses: kernel::take_map(ebpf, "FILTER_ADDRESSES")?,
            prefixes: Default::default(),
            elements: Table::take(ebpf)?,
            classes: kernel::take_map(ebpf, "FILTER_CLASSES")?,
            sampling,
            number: 0,
        })
    }

    /// Puts other rules in force, or none, with the sets that they name. When this returns, no packet is judged by the old ones any
    /// more. Flows that they let in are counted until the agent's window ends, as a flow is judged by its first packet; but where
    /// rules name sets, each packet is.
    ///
    /// # Errors
    /// The kernel's error at writing a map, or that the sets are too large; the old rules are still in force then.
    pub fn replace(&mut self, rules: &[Rule], sets: &Sets) -> io::Result<()> {
        if rules.is_empty() {
            return self.change_over(NO_RULES);
        }
        let bank = u32::from(self.bank == 0);
        // Verdicts that the programs remember belong to a list by its number.
        self.number = self.number.checked_add(1).unwrap_or(1);
        let mut compiled = compile(rules, sets, self.sampling).map_err(io::Error::other)?;
        compiled.tables.number = self.number;
        self.elements.fill(bank as usize, &compiled.elements.keys)?;
        self.fill(bank, &compiled).map_err(io::Error::other)?;
        self.change_over(bank)
    }

    fn change_over(&mut self, bank: u32) -> io::Result<()> {
        self.switch.set(0, bank, 0).map_err(io::Error::other)?;
        self.bank = bank;
        // From here on no program reads the other bank: the next call may write to it.
        sys::wait_for_running_programs();
        Ok(())
    }

    fn fill(&mut self, bank: u32, compiled: &Compiled) -> Result<(), MapError> {
        let prefixes = &mut self.prefixes[bank as usize];
        while let Some(key) = prefixes.last() {
            self.addresses.remove(key)?;
            prefixes.pop();
        }
        for (bits, key, masks) in &compiled.addresses {
            let mut key = *key;
            key[0] = bank as u8;
            let key = Key::new(*bits, key);
            self.addresses.insert(&key, masks, 0)?;
            prefixes.push(key);
        }
        for (class, masks) in (bank * SET_CLASSES..).zip(&compiled.elements.classes) {
            self.classes.set(class, masks, 0)?;
        }
        if let Some(rows) = &compiled.ports {
            let first = bank * PORTS;
            let keys: Vec<u32> = (first..first + PORTS).collect();
            sys::write_batch(self.ports.fd().as_fd(), &keys, rows)?;
        }
        self.tables.set(bank, *compiled.tables, 0)
    }
}
