//! Sets of addresses that rules name by number. The collector sends them, and sends them again whenever they change.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU32};

use netobserv_ebpf_common::filter::{FAMILY_4, FAMILY_6, MAX_SET_ELEMENTS, SET_CLASSES, SetKey, SetMasks};
use netobserv_wire::pbflow::{AddressSet, ip::IpFamily};

use super::Rule;

/// Why sets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetsError {
    /// The kernel's table has no room.
    #[error("{0} addresses; at most {MAX_SET_ELEMENTS} are possible")]
    TooMany(usize),
    /// As many rules name sets that overlap in as many ways.
    #[error("the sets overlap in {0} ways; at most {SET_CLASSES} are possible")]
    TooDifferent(usize),
    /// It is not a list of addresses.
    #[error("set {0} is damaged: {1}")]
    Damaged(u32, &'static str),
}

/// Sets by number. One that is not there is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets(BTreeMap<u32, Vec<SetKey>>);

impl Sets {
    /// Reads what the collector sent.
    ///
    /// # Errors
    /// It cannot be read, or is too large.
    pub fn read(sent: &[AddressSet]) -> Result<Self, SetsError> {
        let mut sets = Self::default();
        for set in sent {
            let elements = sets.0.entry(set.number).or_default();
            elements.extend(addresses::<4>(set.number, &set.ipv4)?.map(|bytes| key(bytes.into(), 0, 0)));
            elements.extend(addresses::<16>(set.number, &set.ipv6)?.map(|bytes| key(bytes.into(), 0, 0)));
            for port in &set.ports {
                let damaged = |why| SetsError::Damaged(set.number, why);
                let family = port.address.as_ref().and_then(|ip| ip.ip_family.as_ref());
                let address = match family.ok_or_else(|| damaged("a port without an address"))? {
                    IpFamily::Ipv4(bits) => IpAddr::from(bits.to_be_bytes()),
                    IpFamily::Ipv6(bytes) => {
                        let bytes: [u8; 16] = bytes.as_slice().try_into().map_err(|_| damaged("not 16 bytes"))?;
                        bytes.into()
                    }
                };
                let number = |number: u32, why| u16::try_from(number).map_err(|_| damaged(why));
                let proto = u8::try_from(port.protocol).map_err(|_| damaged("a protocol above 255"))?;
                elements.push(key(address, proto, number(port.port, "a port above 65535")?));
            }
        }
        let count = sets.0.values().map(Vec::len).sum();
        if count > MAX_SET_ELEMENTS { Err(SetsError::TooMany(count)) } else { Ok(sets) }
    }
}

fn addresses<const N: usize>(number: u32, bytes: &[u8]) -> Result<impl Iterator<Item = [u8; N]>, SetsError> {
    let (addresses, rest) = bytes.as_chunks::<N>();
    let whole = rest.is_empty().then_some(addresses.iter().copied());
    whole.ok_or(SetsError::Damaged(number, "its last address is not whole"))
}

/// An element as the kernel's table has it.
pub fn key(address: IpAddr, proto: u8, port: u16) -> SetKey {
    let mut key = SetKey::default();
    (key[1], (key[2], key[3])) = (proto, port.to_be_bytes().into());
    match address {
        IpAddr::V4(v4) => {
            key[0] = FAMILY_4;
            key[4..8].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            key[0] = FAMILY_6;
            key[4..].copy_from_slice(&v6.octets());
        }
    }
    key
}

/// The elements of the sets that rules name, each with what it fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements {
    /// In order, each once, with the number of its class.
    pub keys: Vec<(SetKey, u16)>,
    /// The first is that of addresses in no set.
    pub classes: Vec<SetMasks>,
}

impl Elements {
    pub(super) fn of(rules: &[Rule], sets: &Sets) -> Result<Self, SetsError> {
        let mut members: Vec<(SetKey, u32)> = Vec::new();
        let named = |number: &u32| {
            let is = |set: Option<NonZeroU32>| set.is_some_and(|set| set.get() == *number);
            rules.iter().any(|rule| is(rule.set) || is(rule.peer_set) || is(rule.not_set))
        };
        for (number, elements) in sets.0.iter().filter(|(number, _)| named(number)) {
            members.extend(elements.iter().map(|element| (*element, *number)));
        }
        members.sort_unstable();
        members.dedup();
        let mut numbers: BTreeMap<Vec<u32>, u16> = BTreeMap::from([(Vec::new(), 0)]);
        let mut classes = vec![masks(rules, &[], true)];
        let mut keys = Vec::with_capacity(members.len());
        // Most have the sets of the one before.
        let mut last = (Vec::new(), true, 0);
        for of_one in members.chunk_by(|(a, _), (b, _)| a == b) {
            let key = of_one[0].0;
            let plain = key[1] == 0;
            if plain == last.1 && of_one.iter().map(|(_, number)| number).eq(&last.0) {
                keys.push((key, last.2));
                continue;
            }
            let in_sets: Vec<u32> = of_one.iter().map(|(_, number)| *number).collect();
            // A port of an address adds to what the address fits, so its class is one of its own.
            let name = if plain { in_sets.clone() } else { [&[0], in_sets.as_slice()].concat() };
            let class = *numbers.entry(name).or_insert_with(|| {
                classes.push(masks(rules, &in_sets, plain));
                u16::try_from(classes.len() - 1).unwrap_or(u16::MAX)
            });
            keys.push((key, class));
            last = (in_sets, plain, class);
        }
        match classes.len() {
            count if count > SET_CLASSES as usize => Err(SetsError::TooDifferent(count)),
            _ => Ok(Self { keys, classes }),
        }
    }

    pub(super) fn has_ports(&self) -> bool {
        self.keys.iter().any(|(key, _)| key[1] != 0)
    }
}

/// What an element fits that is in these sets; with the rules that name none, where asked for.
fn masks(rules: &[Rule], sets: &[u32], with_others: bool) -> SetMasks {
    let with = |fits: &dyn Fn(&Rule) -> bool| {
        rules.iter().enumerate().filter(|(_, rule)| fits(rule)).fold(0, |mask, (index, _)| mask | 1 << index)
    };
    let within = |set: Option<NonZeroU32>| set.map(|number| sets.contains(&number.get()));
    SetMasks {
        this: with(&|rule| within(rule.set).unwrap_or(with_others)),
        peer: with(&|rule| within(rule.peer_set).unwrap_or(with_others)),
        not: with(&|rule| within(rule.not_set).unwrap_or(false)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;
    use netobserv_wire::pbflow::{AddressPort, Ip};

    fn set(number: u32, ipv4: &[[u8; 4]]) -> AddressSet {
        AddressSet { number, ipv4: ipv4.concat(), ..AddressSet::default() }
    }

    #[test]
    fn elements_have_the_rules_of_all_their_sets() {
        let rules = parse(r#"[{"set":1},{"set":2,"peer_set":1},{"not_set":2},{}]"#).unwrap();
        let sets = Sets::read(&[set(1, &[[10, 0, 0, 1], [10, 0, 0, 2]]), set(2, &[[10, 0, 0, 2]])]).unwrap();
        let Elements { keys, classes } = Elements::of(&rules, &sets).unwrap();
        let of = |last: u8| {
            let wanted = key([10, 0, 0, last].into(), 0, 0);
            classes[keys.iter().find(|(key, _)| *key == wanted).map_or(0, |(_, class)| usize::from(*class))]
        };
        assert_eq!(of(1), SetMasks { this: 0b1101, peer: 0b1111, not: 0 });
        assert_eq!(of(2), SetMasks { this: 0b1111, peer: 0b1111, not: 0b0100 });
        assert_eq!(of(3), SetMasks { this: 0b1100, peer: 0b1101, not: 0 });
    }

    #[test]
    fn a_set_that_no_rule_names_takes_no_room() {
        let sets = Sets::read(&[set(1, &[[10, 0, 0, 1]])]).unwrap();
        assert!(Elements::of(&parse("[{}]").unwrap(), &sets).unwrap().keys.is_empty());
    }

    #[test]
    fn a_port_adds_to_its_address() {
        let ip = Ip { ip_family: Some(IpFamily::Ipv4(0x0a00_0001)) };
        let ports = vec![AddressPort { address: Some(ip), protocol: 6, port: 80 }];
        let sets = Sets::read(&[AddressSet { number: 1, ports, ..AddressSet::default() }]).unwrap();
        let elements = Elements::of(&parse(r#"[{"set":1},{}]"#).unwrap(), &sets).unwrap();
        assert_eq!(elements.keys, [(key([10, 0, 0, 1].into(), 6, 80), 1)]);
        assert_eq!(elements.classes[1], SetMasks { this: 0b01, peer: 0, not: 0 });
        assert!(elements.has_ports());
    }

    #[test]
    fn what_is_damaged_or_too_much_is_refused() {
        let error = |set: AddressSet| Sets::read(&[set]).unwrap_err().to_string();
        let half = AddressSet { number: 3, ipv6: vec![0; 20], ..AddressSet::default() };
        assert_eq!(error(half), "set 3 is damaged: its last address is not whole");
        assert_eq!(error(set(1, &vec![[1; 4]; 100_001])), "100001 addresses; at most 100000 are possible");
        let ports = vec![AddressPort::default()];
        let no_address = AddressSet { number: 3, ports, ..AddressSet::default() };
        assert_eq!(error(no_address), "set 3 is damaged: a port without an address");
    }
}
