//! Conditions as any of several groups of what rules can ask for, each group with at least the packets that it stands for.

use netobserv_contract::selector::Term;

use super::rule::{PROTOCOLS, Rule};
use super::{MOST_RULES, Place};
use crate::expr::{End, Expr, Order, Part as Piece};
use crate::network::Network;
use crate::pcap::{DST_ADDR, DST_PORT, ETYPE, IPV4, IPV6, PROTO, SRC_ADDR, SRC_PORT};

/// Any of these groups; `None` is every packet.
#[derive(Clone, Debug)]
pub(super) struct Cover {
    groups: Option<Vec<Group>>,
    /// The groups have no packet that the condition does not want.
    exact: bool,
}

/// How much of a condition rules decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    Some,
    Nothing,
}

type Ports = (u16, u16);

/// All of these.
#[derive(Clone, Debug, Default, PartialEq)]
struct Group {
    src: Option<Place>,
    dst: Option<Place>,
    /// An end is in each of them.
    either: Vec<Place>,
    not: Option<Term>,
    proto: Option<u8>,
    sport: Option<Ports>,
    dport: Option<Ports>,
    port: Option<Ports>,
    /// Something was left out, for want of a rule that can ask for it.
    lossy: bool,
}

impl Cover {
    /// The groups of a condition, or of the opposite.
    pub(super) fn of(expr: &Expr, positive: bool) -> Self {
        let each = |exprs: &[Expr]| exprs.iter().map(|expr| Self::of(expr, positive)).collect::<Vec<_>>();
        match expr {
            Expr::All(exprs) if positive => Self::all(each(exprs)),
            Expr::Any(exprs) if !positive => Self::all(each(exprs)),
            Expr::All(exprs) | Expr::Any(exprs) => Self::any(each(exprs)),
            Expr::Not(expr) => Self::of(expr, !positive),
            Expr::Named(End::Either, term) if !positive => {
                Self::one(Group { not: Some(term.clone()), ..Group::default() })
            }
            // What is not equal may also be absent.
            _ if !positive => Self::everything(),
            leaf => group(leaf).map_or_else(Self::everything, Self::one),
        }
    }

    fn one(group: Group) -> Self {
        Self { groups: Some(vec![group]), exact: true }
    }

    fn everything() -> Self {
        Self { groups: None, exact: false }
    }

    /// What all have in common.
    pub(super) fn all(covers: Vec<Self>) -> Self {
        let mut all = Self { groups: None, exact: true };
        for cover in covers {
            all.exact &= cover.exact;
            let Some(groups) = cover.groups else { continue };
            let Some(before) = &all.groups else {
                all.groups = Some(groups);
                continue;
            };
            let both: Vec<Group> = before.iter().flat_map(|a| groups.iter().filter_map(|b| a.meet(b))).collect();
            if both.len() > MOST_RULES {
                all.groups.iter_mut().flatten().for_each(|group| group.lossy = true);
            } else {
                all.groups = Some(both);
            }
        }
        all
    }

    fn any(covers: Vec<Self>) -> Self {
        let exact = covers.iter().all(|cover| cover.exact);
        let groups: Option<Vec<Vec<Group>>> = covers.into_iter().map(|cover| cover.groups).collect();
        let mut merged: Vec<Group> = vec![];
        for group in groups.iter().flatten().flatten() {
            let both = merged.iter().enumerate().find_map(|(index, other)| Some((index, group.or(other)?)));
            match both {
                Some((index, both)) => merged[index] = both,
                None if merged.contains(group) => {}
                None => merged.push(group.clone()),
            }
        }
        match groups {
            Some(_) if merged.len() <= MOST_RULES => Self { groups: Some(merged), exact },
            _ => Self::everything(),
        }
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.groups.iter().flatten().any(|group| group.lossy)
    }

    /// The rules, none for what cannot be; and how much they decide.
    pub(super) fn rules(&self, directions: bool) -> (Option<Vec<Rule>>, Part) {
        let Some(groups) = &self.groups else { return (None, Part::Nothing) };
        let (mut rules, mut exact) = (vec![], self.exact && !self.is_lossy());
        for group in groups {
            let (rule, whole) = group.rule(directions);
            // The ends of a packet are of one family.
            if let (Some(Place::Net(this)), Some(Place::Net(peer))) = (&rule.this, &rule.peer)
                && this.is_v4() != peer.is_v4()
            {
                continue;
            }
            exact &= whole;
            if rule == Rule::default() {
                return (None, Part::Nothing);
            }
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        (Some(rules), if exact { Part::All } else { Part::Some })
    }
}

/// What a single condition asks for; `None` if no rule can.
fn group(leaf: &Expr) -> Option<Group> {
    let place = |end: End, place: Place| match end {
        End::Src => Group { src: Some(place), ..Group::default() },
        End::Dst => Group { dst: Some(place), ..Group::default() },
        End::Either => Group { either: vec![place], ..Group::default() },
    };
    let of = |field| match field {
        SRC_ADDR => Some(End::Src),
        DST_ADDR => Some(End::Dst),
        _ => None,
    };
    match leaf {
        Expr::Within(field, network) => Some(place(of(*field)?, Place::Net(*network))),
        Expr::Text(field, true, pieces) => match pieces.as_slice() {
            [Piece::Literal(text)] => Some(place(of(*field)?, Place::Net(Network::host(text.parse().ok()?)))),
            _ => None,
        },
        Expr::Named(end, term) => Some(place(*end, Place::Named(term.clone()))),
        Expr::Number(ETYPE, Order::Equal, number @ (IPV4 | IPV6)) => {
            Some(place(End::Either, Place::Net(Network::all(*number == IPV4))))
        }
        Expr::Number(PROTO, Order::Equal, number) => {
            let proto = u8::try_from(*number).ok().filter(|proto| PROTOCOLS.iter().any(|(known, _)| known == proto));
            Some(Group { proto: Some(proto?), ..Group::default() })
        }
        Expr::Number(SRC_PORT, order, number) => {
            Some(Group { sport: Some(ports(*order, *number)?), ..Group::default() })
        }
        Expr::Number(DST_PORT, order, number) => {
            Some(Group { dport: Some(ports(*order, *number)?), ..Group::default() })
        }
        _ => None,
    }
}

fn ports(order: Order, number: i64) -> Option<Ports> {
    let (first, last) = match order {
        Order::Equal => (number, number),
        Order::Greater => (number + 1, 65_535),
        Order::AtLeast => (number, 65_535),
        Order::Less => (0, number - 1),
        Order::AtMost => (0, number),
        Order::Different => return None,
    };
    let range = u16::try_from(first).ok()?..=u16::try_from(last).ok()?;
    (!range.is_empty()).then(|| range.into_inner())
}

impl Group {
    /// What both have in common; `None` if that is no packet.
    fn meet(&self, other: &Self) -> Option<Self> {
        let mut lossy = self.lossy || other.lossy;
        let mut met = Self {
            src: end(self.src.as_ref(), other.src.as_ref(), &mut lossy)?,
            dst: end(self.dst.as_ref(), other.dst.as_ref(), &mut lossy)?,
            either: self.either.clone(),
            not: self.not.clone().or(other.not.clone()),
            proto: same(self.proto, other.proto)?,
            sport: overlap(self.sport, other.sport)?,
            dport: overlap(self.dport, other.dport)?,
            port: self.port.or(other.port),
            lossy: false,
        };
        lossy |= self.not.is_some() && other.not.is_some() && self.not != other.not;
        for place in &other.either {
            met.also_in(place, &mut lossy)?;
        }
        if let (Some(a), Some(b)) = (self.port, other.port) {
            let within = |a: Ports, b: Ports| b.0 <= a.0 && a.1 <= b.1;
            met.port = Some(if within(b, a) { b } else { a });
            lossy |= !within(a, b) && !within(b, a);
        }
        let with_ports = [met.port, met.sport, met.dport].iter().any(Option::is_some);
        let can = !with_ports || met.proto.is_none_or(|proto| matches!(proto, 6 | 17 | 132));
        can.then_some(Self { lossy, ..met })
    }

    /// Adds that an end is in this place, too.
    fn also_in(&mut self, place: &Place, lossy: &mut bool) -> Option<()> {
        for known in &mut self.either {
            match (&*known, place) {
                (a, b) if a == b => return Some(()),
                (Place::Net(a), Place::Net(b)) if a.is_v4() != b.is_v4() => return None,
                (Place::Net(a), Place::Net(b)) if b.covers(*a) => return Some(()),
                (Place::Net(a), Place::Net(b)) if a.covers(*b) => {
                    *known = place.clone();
                    return Some(());
                }
                (Place::Net(_), Place::Net(_)) => {}
                // The same end may be in both, which no rule can ask for.
                (Place::Net(_), Place::Named(_)) => {
                    *lossy = true;
                    *known = place.clone();
                    return Some(());
                }
                (Place::Named(_), _) => {
                    *lossy = true;
                    return Some(());
                }
            }
        }
        if self.either.len() < 2 {
            self.either.push(place.clone());
        } else {
            *lossy = true;
        }
        Some(())
    }

    /// What is in either of both, if one group can ask for it: the same at the sender and at the receiver.
    fn or(&self, other: &Self) -> Option<Self> {
        let bare = |group: &Self| Self { src: None, dst: None, sport: None, dport: None, ..group.clone() };
        if bare(self) != bare(other) {
            return None;
        }
        let ends = |group: &Self| (group.src.clone(), group.dst.clone(), group.sport, group.dport);
        let turned = |group: &Self| (group.dst.clone(), group.src.clone(), group.dport, group.sport);
        if ends(self) != turned(other) || self.either.len() > 1 {
            return None;
        }
        match ends(self) {
            (None, None, Some(port), None) | (None, None, None, Some(port)) if self.port.is_none() => {
                Some(Self { port: Some(port), ..bare(self) })
            }
            (Some(place), None, None, None) | (None, Some(place), None, None) if self.either.is_empty() => {
                Some(Self { either: vec![place], ..bare(self) })
            }
            _ => None,
        }
    }

    /// The rule, and whether it has no packet more.
    fn rule(&self, directions: bool) -> (Rule, bool) {
        let mut rule = Rule { not: self.not.clone(), proto: self.proto, ..Rule::default() };
        let directed = self.src.is_some() || self.dst.is_some();
        let mut exact = !directed;
        (rule.this, rule.peer) = match (self.src.clone().or(self.dst.clone()), self.src.as_ref().and(self.dst.clone()))
        {
            (None, _) => (self.either.first().cloned(), self.either.get(1).cloned()),
            ends => ends,
        };
        // No condition is on port 0, so that a range which has it is left out.
        let asked = |range: Option<Ports>| range.filter(|(first, _)| *first > 0);
        exact &= [self.port, self.sport, self.dport].iter().flatten().all(|(first, _)| *first > 0);
        rule.port = asked(self.port);
        if directions {
            (rule.sport, rule.dport) = (asked(self.sport), asked(self.dport));
        } else if self.sport.is_some() || self.dport.is_some() {
            exact = false;
            rule.port = rule.port.or(asked(self.sport)).or(asked(self.dport));
        }
        (rule, exact)
    }
}

/// `None`: no packet has both.
fn same(a: Option<u8>, b: Option<u8>) -> Option<Option<u8>> {
    match (a, b) {
        (Some(a), Some(b)) => (a == b).then_some(Some(a)),
        _ => Some(a.or(b)),
    }
}

fn overlap(a: Option<Ports>, b: Option<Ports>) -> Option<Option<Ports>> {
    let (Some(a), Some(b)) = (a, b) else { return Some(a.or(b)) };
    let both = (a.0.max(b.0), a.1.min(b.1));
    (both.0 <= both.1).then_some(Some(both))
}

/// One end in two places.
fn end(a: Option<&Place>, b: Option<&Place>, lossy: &mut bool) -> Option<Option<Place>> {
    match (a, b) {
        (Some(Place::Net(a)), Some(Place::Net(b))) if a.covers(*b) => Some(Some(Place::Net(*b))),
        (Some(Place::Net(a)), Some(Place::Net(b))) => b.covers(*a).then_some(Some(Place::Net(*a))),
        (Some(a), Some(b)) if a == b => Some(Some(a.clone())),
        (Some(named @ Place::Named(_)), Some(_)) | (Some(_), Some(named)) => {
            *lossy = true;
            Some(Some(named.clone()))
        }
        _ => Some(a.or(b).cloned()),
    }
}
