//! Whether there is what a selection names, and if not, what is near.

use std::collections::BTreeSet;

use netobserv_contract::selector::{Kind, Selection, Term, Wanted};

use super::resolve::{View, is_service};

/// Names that an error has at most.
const NEAR: usize = 3;

/// Refuses a selection of which some name means nothing now, or all together do.
pub(super) fn check(view: &View<'_>, selection: &Selection) -> Result<(), String> {
    selection.terms.iter().try_for_each(|term| is_there(view, term))?;
    let anything = selection.terms.len() < 2 || !view.resolve(selection).is_empty();
    let words: Vec<_> = selection.terms.iter().map(Term::to_string).collect();
    if anything { Ok(()) } else { Err(format!("nothing is all of {} now", words.join(" and "))) }
}

fn is_there(view: &View<'_>, term: &Term) -> Result<(), String> {
    let objects = view.objects;
    let mut services = objects.services.values().filter(|service| is_service(term, service)).peekable();
    if term.kind == Kind::Service && services.peek().is_some() {
        // A name that stands for one outside has no address that the cluster knows.
        let mut outside = services.map(|service| service.external_name.as_deref());
        return match outside.clone().all(|name| name.is_some()).then(|| outside.next().flatten()).flatten() {
            Some(name) => Err(format!(
                "{term} is of type ExternalName and has no address: it is an alias of {name}; use --cidr with the addresses of that"
            )),
            None => Ok(()),
        };
    }
    let names = candidates(view, term.kind);
    let Wanted::Name(wanted) = &term.wanted else {
        let any = objects.pods.values().any(|pod| view.is_pod(term, pod));
        return if any { Ok(()) } else { Err(format!("there are no {term}")) };
    };
    let means = |full: &&String| {
        let (namespace, name) = full.split_once('/').unwrap_or(("", full.as_str()));
        wanted.matches(namespace, name)
    };
    if names.iter().any(|name| means(&name)) {
        return Ok(());
    }
    let near = near(&wanted.to_string(), &names);
    let near = if near.is_empty() { String::new() } else { format!("; there is {}", near.join(", ")) };
    Err(format!("there is no {term}{near}"))
}

/// Names of a kind, with their namespace if they have one.
fn candidates(view: &View<'_>, kind: Kind) -> BTreeSet<String> {
    let objects = view.objects;
    let full = |namespace: &str, name: &str| format!("{namespace}/{name}");
    let pods = objects.pods.values();
    // Workloads without a pod are known by their ReplicaSets and Jobs.
    let of_kinds = |kinds: &[&str]| -> BTreeSet<String> {
        let is = |kind: &str| kinds.contains(&kind);
        let owners = pods.clone().flat_map(|pod| {
            view.owners(pod)
                .into_iter()
                .map(move |owner| (owner.kind.as_str(), pod.namespace.as_str(), owner.name.as_str()))
        });
        let empty = objects.owners.values().flat_map(|owned| {
            let owner =
                owned.owner.as_ref().map(|owner| (owner.kind.as_str(), owned.namespace.as_str(), owner.name.as_str()));
            [Some((owned.kind, owned.namespace.as_str(), owned.name.as_str())), owner].into_iter().flatten()
        });
        owners.chain(empty).filter(|(kind, ..)| is(kind)).map(|(_, namespace, name)| full(namespace, name)).collect()
    };
    match kind {
        Kind::Pod => {
            let own = pods.clone().map(|pod| full(&pod.namespace, &pod.name));
            let kinds = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"];
            let others = pods.clone().filter_map(|pod| Some(full(&pod.namespace, &view.workload(pod)?.name)));
            own.chain(others).chain(of_kinds(&kinds)).collect()
        }
        Kind::Deployment => of_kinds(&["Deployment"]),
        Kind::StatefulSet => of_kinds(&["StatefulSet"]),
        Kind::DaemonSet => of_kinds(&["DaemonSet"]),
        Kind::Job => of_kinds(&["Job", "CronJob"]),
        Kind::Service => objects.services.values().map(|it| full(&it.identity.namespace, &it.identity.name)).collect(),
        Kind::Namespace => {
            let services = objects.services.values().map(|service| service.identity.namespace.clone());
            pods.map(|pod| pod.namespace.clone()).chain(services).collect()
        }
        Kind::Node => objects.nodes.values().map(|node| node.identity.name.clone()).collect(),
        Kind::Label => BTreeSet::new(),
    }
}

/// Those with nearly the same letters, the nearest first.
fn near(wanted: &str, names: &BTreeSet<String>) -> Vec<String> {
    let short = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let distance = |name: &str| {
        let whole = strsim::damerau_levenshtein(wanted, name);
        // The name alone is right, or nearly, and the namespace is wrong or missing.
        let alone = strsim::damerau_levenshtein(&short(wanted), &short(name));
        let begins = name.starts_with(wanted) || short(name).starts_with(&short(wanted));
        if begins { 0 } else { whole.min(alone + usize::from(wanted.contains('/'))) }
    };
    let most = (short(wanted).len() / 3).clamp(1, 3);
    let mut found: Vec<_> = names.iter().map(|name| (distance(name), name)).filter(|(far, _)| *far <= most).collect();
    found.sort_by_key(|(far, name)| (*far, name.len()));
    found.into_iter().take(NEAR).map(|(_, name)| name.clone()).collect()
}
