//! What the names of a cluster mean in the fields of a record: where records are all there is, on the screen and in files.

use netobserv_contract::selector::{Kind, Pattern, Term, Wanted};
use regex::bytes::Regex;

use crate::expr::{End, Expr, Part};
use crate::fields::{self, FieldId};

/// The fields in which records have what `term` names; None for labels, which records do not have.
#[must_use]
pub fn in_fields(end: End, term: &Term) -> Option<Expr> {
    match end {
        End::Src => at("Src", term),
        End::Dst => at("Dst", term),
        End::Either => Some(Expr::Any(vec![at("Src", term)?, at("Dst", term)?])),
    }
}

fn at(end: &str, term: &Term) -> Option<Expr> {
    let Wanted::Name(name) = &term.wanted else { return None };
    let field = |what: &str| fields::by_name(&format!("{end}K8S_{what}"));
    let is = |what: &str, value: &str| Some(Expr::Text(field(what)?, true, vec![Part::Literal(value.to_owned())]));
    let fits = |what: &str, pattern: &Pattern| matches(field(what)?, pattern);
    let any = |values: Vec<Option<Expr>>| values.into_iter().collect::<Option<_>>().map(Expr::any);
    let all = |values: Vec<Option<Expr>>| values.into_iter().collect::<Option<_>>().map(Expr::all);
    let what = match term.kind {
        Kind::Namespace => fits("Namespace", &name.name),
        Kind::Node => any(vec![fits("HostName", &name.name), all(vec![is("Type", "Node"), fits("Name", &name.name)])]),
        Kind::Pod => all(vec![is("Type", "Pod"), any(vec![fits("Name", &name.name), fits("OwnerName", &name.name)])]),
        Kind::Service => all(vec![is("Type", "Service"), fits("Name", &name.name)]),
        Kind::Deployment => all(vec![is("OwnerType", "Deployment"), fits("OwnerName", &name.name)]),
        Kind::StatefulSet => all(vec![is("OwnerType", "StatefulSet"), fits("OwnerName", &name.name)]),
        Kind::DaemonSet => all(vec![is("OwnerType", "DaemonSet"), fits("OwnerName", &name.name)]),
        Kind::Job => {
            all(vec![any(vec![is("OwnerType", "Job"), is("OwnerType", "CronJob")]), fits("OwnerName", &name.name)])
        }
        Kind::Label => None,
    };
    match &name.namespace {
        Some(namespace) => all(vec![what, fits("Namespace", namespace)]),
        None => what,
    }
}

fn matches(field: FieldId, pattern: &Pattern) -> Option<Expr> {
    let text = pattern.as_str();
    if !text.contains('*') {
        return Some(Expr::Text(field, true, vec![Part::Literal(text.to_owned())]));
    }
    let parts: Vec<_> = text.split('*').map(regex::escape).collect();
    Some(Expr::Regex(field, true, Regex::new(&format!("^{}$", parts.join(".*"))).ok()?))
}
