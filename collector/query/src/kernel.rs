//! What of a condition the kernel can decide: rules that keep at least all packets that the condition wants. The collector asks the
//! whole condition of what they keep, so a rule may keep too much, but never too little.

mod cover;
mod rule;

use netobserv_contract::selector::Term;

use crate::expr::Expr;
use cover::{Cover, Part};
pub use rule::{Condition, Rule};

/// As many rules as the kernel looks at.
const MOST_RULES: usize = 64;

/// A condition, split into what each side decides.
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// The first rule that matches decides; without any, the kernel keeps everything.
    pub rules: Vec<Rule>,
    /// No packet can meet the condition.
    pub impossible: bool,
    /// Parts that the rules decide, in words.
    pub in_kernel: Vec<String>,
    /// Parts of which the rules decide something, and the collector the rest.
    pub in_both: Vec<String>,
    /// Parts that the collector decides alone.
    pub in_collector: Vec<String>,
}

/// Splits a condition. Of flows, rules keep both directions, as what is known of one may come from the other; of packets, only the
/// direction that is asked for, if the kernel can.
#[must_use]
pub fn split(expr: &Expr, directions: bool) -> Split {
    let factors: &[Expr] = if let Expr::All(factors) = expr { factors } else { std::slice::from_ref(expr) };
    let mut split = Split::default();
    let (mut rest, mut sides, mut rejected) = (vec![], vec![], vec![]);
    for factor in factors {
        match rejects(factor, directions).filter(|rules| rejected.len() + rules.len() < MOST_RULES / 2) {
            Some(rules) => {
                split.in_kernel.push(factor.to_string());
                rejected.extend(rules);
            }
            None => {
                let cover = Cover::of(factor, true);
                sides.push((factor.to_string(), cover.rules(directions).1));
                rest.push(cover);
            }
        }
    }
    let all = Cover::all(rest);
    let (mut rules, whole) = all.rules(directions);
    if rules.as_ref().is_some_and(|rules| rules.len() + rejected.len() > MOST_RULES) {
        rules = None;
    }
    for (text, alone) in sides {
        let side = match (alone, &rules) {
            (_, None) | (Part::Nothing, _) => &mut split.in_collector,
            (Part::All, Some(_)) if whole == Part::All || !all.is_lossy() => &mut split.in_kernel,
            _ => &mut split.in_both,
        };
        side.push(text);
    }
    split.impossible = rules.as_ref().is_some_and(Vec::is_empty);
    split.rules = rejected.into_iter().chain(rules.unwrap_or_default()).collect();
    split
}

/// Rules that leave out exactly what `not (...)` does.
fn rejects(factor: &Expr, directions: bool) -> Option<Vec<Rule>> {
    let Expr::Not(inner) = factor else { return None };
    // The rule for it has a condition of its own.
    if matches!(**inner, Expr::Named(..)) {
        return None;
    }
    let (rules, part) = Cover::of(inner, true).rules(directions);
    let rules = rules.filter(|rules| part == Part::All && !rules.is_empty())?;
    Some(rules.into_iter().map(|rule| Rule { reject: true, ..rule }).collect())
}

/// What an end of a packet is in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Net(crate::network::Network),
    Named(Term),
}

#[cfg(test)]
mod tests;
