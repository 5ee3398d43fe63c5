//! From rules to the tables that the kernel programs look a packet up in. No system call is made here.

use std::{collections::BTreeSet, net::IpAddr};

use netobserv_ebpf_common::filter::{
    ADDRESS_BITS, AddressKey, AddressMasks, FAMILY_4, FAMILY_6, MAX_RULES, PORTS, PortMasks, Tables,
};

use super::{
    Action, Ports, Prefix, Rule, holds,
    sets::{Elements, Sets, SetsError},
};

/// What one bank of the kernel's tables is filled with.
pub struct Compiled {
    /// All but ports and addresses. Their number is not set.
    pub tables: Box<Tables>,
    /// By port number; None when no rule asks for ports.
    pub ports: Option<Vec<PortMasks>>,
    /// By prefix: its length, its key without the bank, and the rules that all of it fits.
    pub addresses: Vec<(u32, AddressKey, AddressMasks)>,
    /// The elements of the sets, with their classes.
    pub elements: Elements,
}

/// Compiles at most [`MAX_RULES`] rules; `sampling` holds where they have none.
///
/// # Errors
/// The sets are too large, or too many different things.
pub fn compile(rules: &[Rule], sets: &Sets, sampling: u32) -> Result<Compiled, SetsError> {
    let rules = Set(&rules[..rules.len().min(MAX_RULES)]);
    let elements = Elements::of(rules.0, sets)?;
    let mut tables = Box::new(rules.tables(sampling.max(1)));
    tables.set_ports = u32::from(elements.has_ports());
    Ok(Compiled { tables, ports: rules.ports(), addresses: rules.addresses(), elements })
}

struct Set<'a>(&'a [Rule]);

impl Set<'_> {
    /// The rules for which something holds.
    fn with(&self, holds: impl Fn(&Rule) -> bool) -> u64 {
        self.0.iter().enumerate().filter(|(_, rule)| holds(rule)).fold(0, |mask, (index, _)| mask | 1 << index)
    }

    /// For each value of a byte, the rules that it fits.
    fn by_byte(&self, fits: impl Fn(&Rule, u8) -> bool) -> [u64; 256] {
        std::array::from_fn(|byte| self.with(|rule| fits(rule, byte as u8)))
    }

    fn tables(&self, sampling: u32) -> Tables {
        let only_rejects = self.0.iter().all(|rule| rule.action == Action::Reject);
        let sample = |rule: &Rule| rule.sample.map_or(sampling, std::num::NonZeroU32::get);
        Tables {
            proto: self.by_byte(|rule, proto| rule.protocol.is_none_or(|wanted| wanted == proto)),
            tcp_flags: self.by_byte(|rule, flags| rule.tcp_flags.is_none_or(|wanted| wanted.fit(flags))),
            icmp_type: self.by_byte(|rule, kind| rule.icmp_type.is_none_or(|wanted| wanted == kind)),
            icmp_code: self.by_byte(|rule, code| rule.icmp_code.is_none_or(|wanted| wanted == code)),
            // Two directions; a third index stands for "unknown", which every rule passes.
            direction: std::array::from_fn(|at| {
                self.with(|rule| at > 1 || rule.direction.is_none_or(|wanted| usize::from(wanted) == at))
            }),
            drops: self.with(|rule| rule.drops),
            rejects: self.with(|rule| rule.action == Action::Reject),
            with_ports: self.with(Rule::has_ports),
            with_flags: self.with(|rule| rule.tcp_flags.is_some()),
            with_icmp: self.with(Rule::has_icmp),
            with_addresses: self.with(|rule| rule.cidr.is_some() || rule.peer.is_some() || rule.has_sets()),
            with_sets: self.with(Rule::has_sets),
            elsewhere: AddressMasks {
                cidr: self.with(|rule| rule.cidr.is_none()),
                peer: self.with(|rule| rule.peer.is_none()),
            },
            samples: std::array::from_fn(|index| self.0.get(index).map_or(sampling, sample)),
            other_sample: if only_rejects { sampling } else { 0 },
            samples_differ: u32::from(self.0.iter().any(|rule| rule.sample.is_some())),
            number: 0,
            set_ports: 0,
        }
    }

    fn ports(&self) -> Option<Vec<PortMasks>> {
        if self.with(Rule::has_ports) == 0 {
            return None;
        }
        let mut rows = vec![PortMasks::default(); PORTS as usize];
        for (index, rule) in self.0.iter().enumerate() {
            let bit = 1 << index;
            mark(&mut rows, rule.source_port.as_ref(), |row| row.src |= bit);
            mark(&mut rows, rule.destination_port.as_ref(), |row| row.dst |= bit);
            mark(&mut rows, rule.port.as_ref(), |row| row.any |= bit);
        }
        Some(rows)
    }

    fn addresses(&self) -> Vec<(u32, AddressKey, AddressMasks)> {
        let prefixes: BTreeSet<Prefix> = self.0.iter().flat_map(|rule| [rule.cidr, rule.peer]).flatten().collect();
        // The kernel finds the longest prefix only: so each one carries the rules of the shorter ones around it.
        let masks = |prefix: &Prefix| AddressMasks {
            cidr: self.with(|rule| rule.cidr.is_none_or(|wanted| wanted.covers(prefix))),
            peer: self.with(|rule| rule.peer.is_none_or(|wanted| wanted.covers(prefix))),
        };
        prefixes
            .iter()
            .map(|prefix| (ADDRESS_BITS + u32::from(prefix.length()), key(prefix.address()), masks(prefix)))
            .collect()
    }
}

/// Marks the rows of some ports, or all of them when there is no condition.
fn mark(rows: &mut [PortMasks], ports: Option<&Ports>, set: impl Fn(&mut PortMasks)) {
    for (port, row) in (0..=u16::MAX).zip(rows) {
        if ports.is_none_or(|ports| holds(ports, port)) {
            set(row);
        }
    }
}

fn key(address: IpAddr) -> AddressKey {
    let mut key = AddressKey::default();
    match address {
        IpAddr::V4(v4) => {
            key[1] = FAMILY_4;
            key[4..8].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            key[1] = FAMILY_6;
            key[4..].copy_from_slice(&v6.octets());
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn compiled(text: &str) -> Compiled {
        compile(&parse(text).unwrap(), &Sets::default(), 1).unwrap()
    }

    #[test]
    fn a_rule_without_a_condition_stands_everywhere() {
        let Compiled { tables, ports, addresses, .. } = compiled(r#"[{"protocol":"TCP"},{},{"ip_cidr":"10.0.0.0/8"}]"#);
        assert_eq!((tables.proto[6], tables.proto[17]), (0b111, 0b110));
        assert_eq!((tables.with_ports, tables.with_addresses), (0, 0b100));
        assert_eq!(tables.elsewhere, AddressMasks { cidr: 0b011, peer: 0b111 });
        assert!(ports.is_none());
        assert_eq!(addresses[0].2, AddressMasks { cidr: 0b111, peer: 0b111 });
    }

    #[test]
    fn a_longer_prefix_has_the_rules_of_the_shorter_ones() {
        let addresses = compiled(
            r#"[{"ip_cidr":"10.0.0.0/8"},{"ip_cidr":"10.1.0.0/16","peer_cidr":"0.0.0.0/0"},{"ip_cidr":"::/0"}]"#,
        )
        .addresses;
        let find = |bits| addresses.iter().find(|(found, ..)| *found == bits).unwrap().2;
        assert_eq!(find(32 + 8), AddressMasks { cidr: 0b001, peer: 0b111 });
        assert_eq!(find(32 + 16), AddressMasks { cidr: 0b011, peer: 0b111 });
        let v6 = addresses.iter().find(|(_, key, _)| key[1] == FAMILY_6).unwrap().2;
        assert_eq!(v6, AddressMasks { cidr: 0b100, peer: 0b101 });
    }

    #[test]
    fn what_no_rule_matches_is_kept_when_all_reject() {
        assert_eq!(compiled("[]").tables.other_sample, 1);
        assert_eq!(compiled(r#"[{"action":"Reject"}]"#).tables.other_sample, 1);
        assert_eq!(compiled(r#"[{"action":"Reject"},{}]"#).tables.other_sample, 0);
        let rules = parse(r#"[{"sample":5},{"action":"Reject"}]"#).unwrap();
        let tables = compile(&rules, &Sets::default(), 20).unwrap().tables;
        assert_eq!((tables.samples[0], tables.samples[1], tables.samples_differ), (5, 20, 1));
    }

    #[test]
    fn the_sixty_fourth_rule_has_its_bit() {
        let rules = vec!["{}"; 64].join(",");
        assert_eq!(compiled(&format!("[{rules}]")).tables.proto[0], u64::MAX);
    }
}
