//! Which interfaces are wanted, and what they are called.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use regex::Regex;

/// An interface of a namespace. `netns` is 0 where only one namespace is followed, as in the kernel's records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct InterfaceId {
    /// Inode number of the network namespace, or 0.
    pub netns: u32,
    /// Interface index inside it.
    pub ifindex: u32,
}

/// How the frames of an interface begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// With an Ethernet header.
    Ethernet,
    /// With an IP header, or with one that the kernel knows the length of: tunnels, PPP and the like.
    Bare,
    /// With something that the programs cannot read; the number is ARPHRD_* of include/uapi/linux/if_arp.h.
    Unknown(u16),
}

/// One item of a list of interfaces: `eth0`, or `/veth.*/`.
#[derive(Debug, Clone)]
enum Pattern {
    Exact(String),
    Regex(Regex),
}

impl Pattern {
    fn parse(item: &str) -> Result<Self, String> {
        let inner = item.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        match inner {
            Some(expression) => Regex::new(expression).map(Self::Regex).map_err(|error| {
                format!("{item}: not a regular expression ({})", error.to_string().lines().last().unwrap_or_default())
            }),
            None => Ok(Self::Exact(item.to_owned())),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

/// INTERFACES and EXCLUDE_INTERFACES: exclusion wins, and an empty list of wanted ones wants all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    wanted: Vec<Pattern>,
    excluded: Vec<Pattern>,
}

impl Selection {
    /// From two comma lists. An error names the wrong item.
    pub fn parse(wanted: &str, excluded: &str) -> Result<Self, String> {
        Ok(Self { wanted: patterns(wanted)?, excluded: patterns(excluded)? })
    }

    /// Whether the interface is to be watched.
    pub fn matches(&self, name: &str) -> bool {
        let wanted = self.wanted.is_empty() || self.wanted.iter().any(|p| p.matches(name));
        wanted && !self.excluded.iter().any(|p| p.matches(name))
    }

    /// Whether no interface is left out but by exclusion.
    pub fn wants_all(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The wanted names that are written out, for a check that they exist.
    pub fn exact_names(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().filter_map(|p| match p {
            Pattern::Exact(name) => Some(name.as_str()),
            Pattern::Regex(_) => None,
        })
    }
}

fn patterns(list: &str) -> Result<Vec<Pattern>, String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Pattern::parse).collect()
}

/// Names of the interfaces that were ever watched; shared by the threads that watch and that report.
/// A name stays after its interface has gone: its last flows are still to be reported.
#[derive(Clone, Default)]
pub struct Names(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    names: HashMap<InterfaceId, Arc<str>>,
    /// The namespaces that a name was seen in, each once.
    namespaces: HashMap<Arc<str>, Vec<u32>>,
}

impl Names {
    /// Learns a name, or that the interface was renamed.
    pub fn set(&self, place: InterfaceId, name: &str) {
        let mut known = self.0.write().expect("no panic under the lock");
        let name: Arc<str> = name.into();
        let namespaces = known.namespaces.entry(name.clone()).or_default();
        if !namespaces.contains(&place.netns) {
            namespaces.push(place.netns);
        }
        known.names.insert(place, name);
    }

    /// The name for a reader: `NAME@NAMESPACE` where another namespace had an interface of this name as well, and `if<index>` for
    /// an interface without a known name.
    pub fn label(&self, place: InterfaceId) -> String {
        let known = self.0.read().expect("no panic under the lock");
        let Some(name) = known.names.get(&place) else { return format!("if{}", place.ifindex) };
        match known.namespaces.get(name) {
            Some(namespaces) if namespaces.len() > 1 => format!("{name}@{}", place.netns),
            _ => name.as_ref().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusion_wins_and_empty_wants_all() {
        let selection = Selection::parse("", "lo").unwrap();
        assert!(selection.matches("eth0"));
        assert!(!selection.matches("lo"));
        let selection = Selection::parse("eth0, /^veth/,lo", "lo,/veth9/").unwrap();
        assert!(selection.matches("eth0") && selection.matches("veth1"));
        assert!(!selection.matches("lo") && !selection.matches("veth9") && !selection.matches("eth01"));
        assert_eq!(selection.exact_names().collect::<Vec<_>>(), ["eth0", "lo"]);
    }

    #[test]
    fn a_broken_regex_is_named() {
        let error = Selection::parse("eth0,/veth(/", "").unwrap_err();
        assert!(error.starts_with("/veth(/: not a regular expression"), "{error}");
    }

    #[test]
    fn names_fall_back_to_the_index() {
        let names = Names::default();
        let place = InterfaceId { netns: 1, ifindex: 7 };
        assert_eq!(names.label(place), "if7");
        names.set(place, "eth0");
        assert_eq!(names.label(place), "eth0");
    }

    #[test]
    fn a_name_of_two_namespaces_is_qualified_and_no_other() {
        let names = Names::default();
        let at = |netns, ifindex| InterfaceId { netns, ifindex };
        for (place, name) in [(at(1, 2), "eth0"), (at(1, 3), "eth1"), (at(1, 4), "eth1"), (at(9, 2), "eth0")] {
            names.set(place, name);
        }
        assert_eq!([at(1, 2), at(9, 2)].map(|place| names.label(place)), ["eth0@1", "eth0@9"]);
        assert_eq!([at(1, 3), at(1, 4)].map(|place| names.label(place)), ["eth1", "eth1"]);
    }
}
