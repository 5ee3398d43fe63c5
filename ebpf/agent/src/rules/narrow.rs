//! One list of rules that keeps what several lists keep, each by itself: how a filter that comes while the agent runs is
//! held inside the one that it was started with.
//!
//! A pair of rules, one of each list, is where a packet would meet it: the first pair that matches is made of the first
//! rule that matches in each list.

use std::{num::NonZeroU32, ops::RangeInclusive};

use netobserv_ebpf_common::filter::MAX_RULES;

use super::{Action, Ports, Prefix, Rule, TcpFlags, parse::can_match};

/// Why there is no such list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NarrowError {
    /// No packet passes all of them.
    #[error("nothing that this capture keeps passes it")]
    Nothing,
    /// The kernel's tables have no room.
    #[error("together with the rules of this capture it is {0} rules; at most {MAX_RULES} are possible")]
    TooMany(usize),
    /// Two sets would have to hold for one end.
    #[error("only one of the lists may name sets of addresses")]
    Sets,
}

/// The list that keeps what all lists keep; an empty one keeps everything.
///
/// # Errors
/// When it would keep nothing, or be too long. A list is at most [`MAX_RULES`] long on its way, too.
pub fn narrow(lists: &[Vec<Rule>]) -> Result<Vec<Rule>, NarrowError> {
    if lists.iter().filter(|list| list.iter().any(Rule::has_sets)).count() > 1 {
        return Err(NarrowError::Sets);
    }
    let mut all: Vec<Rule> = Vec::new();
    for list in lists {
        all = both(&all, list)?;
        if all.len() > MAX_RULES {
            return Err(NarrowError::TooMany(all.len()));
        }
    }
    Ok(all)
}

fn both(a: &[Rule], b: &[Rule]) -> Result<Vec<Rule>, NarrowError> {
    let (a, b) = (with_rest(a), with_rest(b));
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    let mut rules: Vec<Rule> = pairs.flat_map(|(a, b)| meet(a, b)).collect();
    // The last pair is that of the rests, and stands for everything.
    let rest = rules.pop().unwrap_or_else(|| Rule::all(Action::Reject));
    let accepts = rules.iter().any(|rule| rule.action == Action::Accept);
    if rest.action == Action::Accept {
        rules.extend(accepts.then_some(rest));
        return Ok(rules);
    }
    while rules.last().is_some_and(|last| last.action == Action::Reject) {
        rules.pop();
    }
    if rules.is_empty() { Err(NarrowError::Nothing) } else { Ok(rules) }
}

/// A list that decides itself what becomes of packets that no rule matches.
fn with_rest(rules: &[Rule]) -> Vec<Rule> {
    let rest = if rules.iter().all(|rule| rule.action == Action::Reject) { Action::Accept } else { Action::Reject };
    [rules, &[Rule::all(rest)]].concat()
}

/// What matches both rules: any of these. Kept only if both keep it; sampled by the first rule, or else the second.
fn meet(a: &Rule, b: &Rule) -> Vec<Rule> {
    let action = if (a.action, b.action) == (Action::Accept, Action::Accept) { Action::Accept } else { Action::Reject };
    let common = || {
        Some(Rule {
            action,
            direction: same(a.direction, b.direction)?,
            protocol: same(a.protocol, b.protocol)?,
            source_port: overlap(a.source_port.as_ref(), b.source_port.as_ref())?,
            destination_port: overlap(a.destination_port.as_ref(), b.destination_port.as_ref())?,
            icmp_type: same(a.icmp_type, b.icmp_type)?,
            icmp_code: same(a.icmp_code, b.icmp_code)?,
            tcp_flags: flags(a.tcp_flags, b.tcp_flags)?,
            drops: a.drops || b.drops,
            sample: a.sample.or(b.sample),
            not_set: a.not_set.or(b.not_set),
            ..Rule::all(action)
        })
    };
    let Some(common) = common() else { return Vec::new() };
    let mut met = Vec::new();
    for Ends { this, peer } in ends(a, b) {
        for rule in any_port(&common, a.port.as_ref(), b.port.as_ref()) {
            let rule = Rule { cidr: this.0, set: this.1, peer: peer.0, peer_set: peer.1, ..rule };
            if can_match(&rule) && !met.contains(&rule) {
                met.push(rule);
            }
        }
    }
    met
}

/// None: no packet has both. Some(None): no condition.
type Both<T> = Option<Option<T>>;

fn same<T: Copy + PartialEq>(a: Option<T>, b: Option<T>) -> Both<T> {
    match (a, b) {
        (Some(a), Some(b)) => (a == b).then_some(Some(a)),
        _ => Some(a.or(b)),
    }
}

fn flags(a: Option<TcpFlags>, b: Option<TcpFlags>) -> Both<TcpFlags> {
    let (Some(a), Some(b)) = (a, b) else { return Some(a.or(b)) };
    let agree = (a.set ^ b.set) & a.mask & b.mask == 0;
    agree.then_some(Some(TcpFlags { mask: a.mask | b.mask, set: a.set | b.set }))
}

fn overlap(a: Option<&Ports>, b: Option<&Ports>) -> Both<Ports> {
    let (Some(a), Some(b)) = (a, b) else { return Some(a.or(b).cloned()) };
    let cut = |a: &RangeInclusive<u16>, b: &RangeInclusive<u16>| *a.start().max(b.start())..=*a.end().min(b.end());
    let ports: Ports =
        a.iter().flat_map(|a| b.iter().map(move |b| cut(a, b))).filter(|range| !range.is_empty()).collect();
    (!ports.is_empty()).then_some(Some(ports))
}

/// What an end must lie in: a network, and a set.
type InterfaceId = (Option<Prefix>, Option<NonZeroU32>);

/// The end that a rule is about, and the other.
struct Ends {
    this: InterfaceId,
    peer: InterfaceId,
}

/// One end may be the `ip_cidr` of both rules, or of one and the peer of the other.
fn ends(a: &Rule, b: &Rule) -> Vec<Ends> {
    let of = |rule: &Rule| ((rule.cidr, rule.set), (rule.peer, rule.peer_set));
    let ((a_this, a_peer), (b_this, b_peer)) = (of(a), of(b));
    let ways = [((a_this, b_this), (a_peer, b_peer)), ((a_this, b_peer), (a_peer, b_this))];
    // Where one rule has no condition on the ends, the other way round is the same.
    let differ = [of(a), of(b)].iter().all(|ends| *ends != Default::default());
    let met = ways.into_iter().take(if differ { 2 } else { 1 });
    let met = met.filter_map(|(x, y)| Some((common(x)?, common(y)?)));
    // A peer alone means the same as an `ip_cidr` alone, so that equal ways are seen to be equal.
    let ends = met.map(|(this, peer)| if this == (None, None) { (peer, this) } else { (this, peer) });
    ends.map(|(this, peer)| Ends { this, peer }).collect()
}

/// Only one of the rules names sets.
fn common((a, b): (InterfaceId, InterfaceId)) -> Option<InterfaceId> {
    Some((inner((a.0, b.0))?, a.1.or(b.1)))
}

/// Of two networks one lies inside the other, or they have nothing in common.
fn inner((a, b): (Option<Prefix>, Option<Prefix>)) -> Both<Prefix> {
    match (a, b) {
        (Some(a), Some(b)) if a.covers(&b) => Some(Some(b)),
        (Some(a), Some(b)) => b.covers(&a).then_some(Some(a)),
        _ => Some(a.or(b)),
    }
}

/// `port` of both rules: one end's port fits both, or each end's fits one.
fn any_port(common: &Rule, a: Option<&Ports>, b: Option<&Ports>) -> Vec<Rule> {
    let (Some(a), Some(b)) = (a, b) else { return vec![Rule { port: a.or(b).cloned(), ..common.clone() }] };
    let each = |src: &Ports, dst: &Ports| {
        Some(Rule {
            source_port: overlap(common.source_port.as_ref(), Some(src))?,
            destination_port: overlap(common.destination_port.as_ref(), Some(dst))?,
            ..common.clone()
        })
    };
    let one = overlap(Some(a), Some(b)).map(|port| Rule { port, ..common.clone() });
    [one, each(a, b), each(b, a)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn list(text: &str) -> Vec<Rule> {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[track_caller]
    fn assert_narrow(lists: &[&str], wanted: &str) {
        let lists: Vec<_> = lists.iter().map(|text| list(text)).collect();
        assert_eq!(narrow(&lists), Ok(list(wanted)));
    }

    #[test]
    fn a_filter_on_nothing_is_the_filter() {
        assert_narrow(&["[]"], "[]");
        assert_narrow(&["[]", r#"[{"port":443}]"#], r#"[{"port":443}]"#);
        assert_narrow(&["[]", r#"[{"port":53,"action":"Reject"}]"#], r#"[{"port":53,"action":"Reject"}]"#);
        assert_narrow(&["[{}]", "[]"], "[{}]");
    }

    #[test]
    fn conditions_come_together() {
        assert_narrow(
            &["[]", r#"[{"protocol":"TCP"}]"#, r#"[{"ip_cidr":"10.0.0.1/32"}]"#, r#"[{"port":22,"action":"Reject"}]"#],
            r#"[{"protocol":"TCP","ip_cidr":"10.0.0.1/32","port":22,"action":"Reject"},
                {"protocol":"TCP","ip_cidr":"10.0.0.1/32"}]"#,
        );
        assert_narrow(
            &[r#"[{"ip_cidr":"10.0.0.0/8"}]"#, r#"[{"ip_cidr":"10.0.0.1/32"}]"#],
            r#"[{"ip_cidr":"10.0.0.1/32"},{"ip_cidr":"10.0.0.0/8","peer_ip":"10.0.0.1"}]"#,
        );
        assert_narrow(
            &[r#"[{"port":443}]"#, r#"[{"port":40000}]"#],
            r#"[{"source_port":443,"destination_port":40000},{"source_port":40000,"destination_port":443}]"#,
        );
    }

    #[test]
    fn sets_stay_with_their_end() {
        assert_narrow(
            &[r#"[{"set":1,"peer_set":2,"not_set":3}]"#, r#"[{"port":443}]"#],
            r#"[{"set":1,"peer_set":2,"not_set":3,"port":443}]"#,
        );
        assert_narrow(
            &[r#"[{"set":1}]"#, r#"[{"ip_cidr":"10.0.0.0/8"}]"#],
            r#"[{"set":1,"ip_cidr":"10.0.0.0/8"},{"set":1,"peer_cidr":"10.0.0.0/8"}]"#,
        );
        let both = narrow(&[list(r#"[{"set":1}]"#), list(r#"[{"not_set":2}]"#)]);
        assert_eq!(both, Err(NarrowError::Sets));
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        let error = |lists: &[&str]| narrow(&lists.iter().map(|text| list(text)).collect::<Vec<_>>()).unwrap_err();
        assert_eq!(error(&[r#"[{"protocol":"TCP"}]"#, r#"[{"protocol":"UDP"}]"#]), NarrowError::Nothing);
        assert_eq!(error(&[r#"[{"port":80,"protocol":"TCP"}]"#, r#"[{"protocol":"ICMP"}]"#]), NarrowError::Nothing);
        let many = (1..=40).map(|n| format!(r#"{{"ip_cidr":"10.{n}.0.0/16"}}"#)).collect::<Vec<_>>().join(",");
        let wide =
            error(&[&format!("[{many}]"), r#"[{"ip_cidr":"192.0.2.1/32"}]"#, r#"[{"port":1,"action":"Reject"}]"#]);
        assert!(matches!(wide, NarrowError::TooMany(_)), "{wide:?}");
    }
}
