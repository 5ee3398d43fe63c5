//! A rule of the agents.

use std::fmt;

use netobserv_contract::selector::Term;

use super::Place;

/// One rule: all conditions that it has must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// What matches is left out, not kept.
    pub reject: bool,
    pub(super) this: Option<Place>,
    pub(super) peer: Option<Place>,
    pub(super) not: Option<Term>,
    pub(super) proto: Option<u8>,
    pub(super) port: Option<(u16, u16)>,
    pub(super) sport: Option<(u16, u16)>,
    pub(super) dport: Option<(u16, u16)>,
}

/// The value of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A text.
    Text(String),
    /// A number.
    Number(u32),
}

/// Protocols by their numbers (IANA), as rules name them.
pub(super) const PROTOCOLS: [(u8, &str); 5] = [(6, "TCP"), (17, "UDP"), (132, "SCTP"), (1, "ICMP"), (58, "ICMPv6")];

impl Rule {
    /// The conditions by the keys that agents have for them. `number` is that by which the agents know what a cluster has.
    pub fn conditions(&self, mut number: impl FnMut(&Term) -> u32) -> Vec<(&'static str, Condition)> {
        let mut conditions = vec![];
        if self.reject {
            conditions.push(("action", Condition::Text("Reject".into())));
        }
        for (place, net, named) in [(&self.this, "ip_cidr", "set"), (&self.peer, "peer_cidr", "peer_set")] {
            match place {
                Some(Place::Net(network)) => conditions.push((net, Condition::Text(network.to_string()))),
                Some(Place::Named(term)) => conditions.push((named, Condition::Number(number(term)))),
                None => {}
            }
        }
        conditions.extend(self.not.iter().map(|term| ("not_set", Condition::Number(number(term)))));
        conditions.extend(self.protocol().map(|name| ("protocol", Condition::Text(name.into()))));
        for (range, one, several) in [
            (self.port, "port", "port_range"),
            (self.sport, "source_port", "source_port_range"),
            (self.dport, "destination_port", "destination_port_range"),
        ] {
            conditions.extend(range.map(|(first, last)| match first == last {
                true => (one, Condition::Number(first.into())),
                false => (several, Condition::Text(format!("{first}-{last}"))),
            }));
        }
        conditions
    }

    fn protocol(&self) -> Option<&'static str> {
        PROTOCOLS.iter().find(|(number, _)| Some(*number) == self.proto).map(|(_, name)| *name)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |what: &str, range: Option<(u16, u16)>| {
            range.map(|(first, last)| match first == last {
                true => format!("{what} {first}"),
                false => format!("{what}s {first} to {last}"),
            })
        };
        let place = |place: &Option<Place>, what: &str| {
            place.as_ref().map(|place| match place {
                Place::Net(network) => format!("{what} in {network}"),
                Place::Named(term) => format!("{what} is {term}"),
            })
        };
        let parts = [
            self.protocol().map(str::to_owned),
            ports("port", self.port),
            ports("source port", self.sport),
            ports("destination port", self.dport),
            place(&self.this, "one end"),
            place(&self.peer, "the other end"),
            self.not.as_ref().map(|term| format!("no end is {term}")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        write!(f, "{} {}", if self.reject { "leave out" } else { "keep" }, parts.join(", "))
    }
}
