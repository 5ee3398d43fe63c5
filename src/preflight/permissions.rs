//! What the user must be allowed to do for a capture, reported at once: what is missing, and the role that would give it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::thread;

use super::joined;
use crate::oc::{Call, DASHBOARDS, Oc, OcError};
use crate::options::Settings;

/// Questions asked at the same time.
const AT_ONCE: usize = 6;

/// A right: verbs on a kind of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    group: &'static str,
    resource: &'static str,
    /// `exec` of `pods/exec`.
    part: Option<&'static str>,
    verbs: &'static [&'static str],
    /// Where it is needed, if not in the namespace of the capture.
    namespace: Option<&'static str>,
}

const fn need(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Need {
    Need { group, resource, part: None, verbs, namespace: None }
}

const READ: &[&str] = &["get", "list", "watch"];
const APPLY_AND_REMOVE: &[&str] = &["get", "create", "patch", "delete"];
const APPLY_AND_FIND: &[&str] = &["get", "list", "create", "patch", "delete"];
const POLICIES: &str = "policy.networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// What the calls of this program need, and everything that the roles in `yaml/` grant: Kubernetes lets no user grant what
/// he may not do himself. `tests/yaml_rights.rs` compares the two.
const NEEDS: [Need; 20] = [
    need("", "namespaces", &["get", "list", "watch", "create", "delete"]),
    need("", "serviceaccounts", APPLY_AND_REMOVE),
    need("", "services", &["get", "list", "watch", "create", "patch", "delete"]),
    need("", "secrets", APPLY_AND_REMOVE),
    need(RBAC, "roles", APPLY_AND_REMOVE),
    need(RBAC, "rolebindings", APPLY_AND_REMOVE),
    need(RBAC, "clusterroles", APPLY_AND_FIND),
    need(RBAC, "clusterrolebindings", APPLY_AND_FIND),
    need("apps", "daemonsets", APPLY_AND_FIND),
    need("", "pods", &["get", "list", "watch", "create", "delete"]),
    Need { group: "", resource: "pods", part: Some("exec"), verbs: &["create"], namespace: None },
    Need { group: "", resource: "pods", part: Some("log"), verbs: &["get"], namespace: None },
    need("", "nodes", READ),
    need("apps", "replicasets", READ),
    need("batch", "jobs", READ),
    need("discovery.k8s.io", "endpointslices", READ),
    need("networking.k8s.io", "networkpolicies", READ),
    need(POLICIES, "adminnetworkpolicies", READ),
    need(POLICIES, "baselineadminnetworkpolicies", READ),
    need(POLICIES, "clusternetworkpolicies", READ),
];
/// On OpenShift, which has its own such rule for the use of the constraints.
const SCC: Need =
    need("security.openshift.io", "securitycontextconstraints", &["get", "list", "create", "patch", "delete", "use"]);

/// Of metrics that a Prometheus of the Prometheus operator reads.
const MONITOR: Need = need("monitoring.coreos.com", "servicemonitors", APPLY_AND_REMOVE);
/// Of metrics that OpenShift reads: its Prometheus finds the collector with rights that the capture grants, and the dashboard is in
/// a namespace that the console reads.
const OPENSHIFT_MONITORING: [Need; 3] = [
    MONITOR,
    need("", "endpoints", READ),
    Need { namespace: Some(DASHBOARDS), ..need("", "configmaps", APPLY_AND_FIND) },
];

/// What is made for those who read metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    None,
    ServiceMonitor,
    OpenShift,
}

/// What a capture is to make.
pub(super) struct Wanted {
    /// There are security context constraints.
    pub(super) scc: bool,
    pub(super) monitoring: Rights,
}

impl Wanted {
    fn needs(&self) -> Vec<Need> {
        let monitoring = match self.monitoring {
            Rights::None => &[][..],
            Rights::ServiceMonitor => &[MONITOR],
            Rights::OpenShift => &OPENSHIFT_MONITORING,
        };
        NEEDS.iter().chain(self.scc.then_some(&SCC)).chain(monitoring).copied().collect()
    }
}

impl Need {
    fn full_resource(&self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }

    /// `pods/exec`, for messages and roles.
    fn path(&self) -> String {
        self.part.map_or_else(|| self.resource.to_owned(), |part| format!("{}/{part}", self.resource))
    }
}

/// What the user may not do.
#[derive(Debug, thiserror::Error)]
pub struct Missing {
    /// Needs with the verbs that are missing.
    needs: Vec<(Need, Vec<&'static str>)>,
    all: Vec<Need>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let missing = self.needs.iter().map(|(need, verbs)| format!("{} {}", verbs.join(", "), need.path()));
        write!(f, "you may not: {}. ", missing.collect::<Vec<_>>().join("; "))?;
        write!(f, "A capture needs this role, which a cluster administrator can grant you:\n{}", role(&self.all))
    }
}

/// The role with all rights of a capture.
fn role(needs: &[Need]) -> String {
    let mut text = String::from(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: netobserv-cli-user\nrules:",
    );
    for need in needs {
        let verbs = need.verbs.join(", ");
        let (group, path) = (need.group, need.path());
        // Writing to a string does not fail.
        let _ = write!(text, "\n  - apiGroups: [\"{group}\"]\n    resources: [{path}]\n    verbs: [{verbs}]");
    }
    text
}

/// Checks all rights: first in the list that the cluster gives, then one by one what that list does not show.
pub(super) fn check(oc: &Oc, settings: &Settings, wanted: &Wanted, list: &str) -> Result<(), CheckError> {
    let all = wanted.needs();
    let rules: Vec<Rule> = list.lines().filter_map(Rule::read).collect();
    let open: Vec<(Need, &'static str)> = all
        .iter()
        .flat_map(|need| need.verbs.iter().map(|verb| (*need, *verb)))
        .filter(|(need, verb)| !rules.iter().any(|rule| rule.gives(need, verb)))
        .collect();
    let missing = ask(oc, &settings.access.namespace, &open)?;
    if missing.is_empty() {
        return Ok(());
    }
    let verbs =
        |need: &Need| missing.iter().filter(|(other, _)| other == need).map(|(_, verb)| *verb).collect::<Vec<_>>();
    let needs = all.iter().map(|need| (*need, verbs(need))).filter(|(_, verbs)| !verbs.is_empty()).collect();
    Err(Missing { needs, all }.into())
}

type CheckError = super::PreflightError;

/// Those that the cluster denies.
fn ask(oc: &Oc, namespace: &str, open: &[(Need, &'static str)]) -> Result<Vec<(Need, &'static str)>, OcError> {
    let mut denied = Vec::new();
    for questions in open.chunks(AT_ONCE) {
        let answers: Vec<Result<bool, OcError>> = thread::scope(|scope| {
            let threads: Vec<_> = questions
                .iter()
                .map(|(need, verb)| {
                    let namespace = need.namespace.unwrap_or(namespace);
                    scope.spawn(move || oc.yes_or_no(&Call::can_i(verb, &need.full_resource(), need.part, namespace)))
                })
                .collect();
            threads.into_iter().map(joined).collect()
        });
        for (question, answer) in questions.iter().zip(answers) {
            if !answer? {
                denied.push(*question);
            }
        }
    }
    Ok(denied)
}

/// One line of `auth can-i --list`: resource, URLs, names, verbs.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    resource: String,
    verbs: BTreeSet<String>,
}

impl Rule {
    /// `None` for lines about URLs, and for those that name single objects.
    fn read(line: &str) -> Option<Self> {
        if line.starts_with(char::is_whitespace) {
            return None;
        }
        let (resource, rest) = line.split_once(char::is_whitespace)?;
        let mut lists = rest.split('[').skip(1).map(|part| part.split(']').next().unwrap_or_default());
        let (_, names, verbs) = (lists.next()?, lists.next()?, lists.next()?);
        let verbs = verbs.split_whitespace().map(str::to_owned).collect();
        names.trim().is_empty().then(|| Self { resource: resource.to_owned(), verbs })
    }

    fn gives(&self, need: &Need, verb: &str) -> bool {
        let (resource, group) = self.resource.split_once('.').unwrap_or((&self.resource, ""));
        let group_fits = group == "*" || group == need.group;
        let part = need.part.map(|part| format!("*/{part}"));
        let resource_fits = resource == "*" || resource == need.path() || Some(resource) == part.as_deref();
        group_fits && resource_fits && (self.verbs.contains("*") || self.verbs.contains(verb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXEC: Need = NEEDS[10];

    #[track_caller]
    fn rule(line: &str) -> Rule {
        Rule::read(line).expect("a rule")
    }

    #[test]
    fn an_administrator_may_everything() {
        let all = rule("*.*                   []                  []               [*]");
        assert!(NEEDS.iter().chain([&SCC]).all(|need| need.verbs.iter().all(|verb| all.gives(need, verb))));
    }

    #[test]
    fn a_rule_gives_what_it_says_and_no_more() {
        let pods = rule("pods   []  []  [get list]");
        assert!(pods.gives(&NEEDS[9], "list") && !pods.gives(&NEEDS[9], "create") && !pods.gives(&EXEC, "create"));
        assert!(rule("pods/exec [] [] [create]").gives(&EXEC, "create"));
        assert!(rule("*/exec [] [] [*]").gives(&EXEC, "create"));
        let sets = rule("daemonsets.apps [] [] [*]");
        assert!(sets.gives(&NEEDS[8], "delete") && !sets.gives(&NEEDS[9], "delete"));
        assert!(rule("*.apps [] [] [*]").gives(&NEEDS[8], "create") && rule("* [] [] [*]").gives(&NEEDS[9], "create"));
    }

    #[test]
    fn lines_that_are_no_rules() {
        assert_eq!(Rule::read("                  [/api/*]   []   [get]"), None);
        assert_eq!(Rule::read("secrets []  [one]  [get]"), None);
        assert_eq!(Rule::read("Warning: the list may be incomplete"), None);
        assert_eq!(Rule::read(""), None);
    }

    #[test]
    fn what_is_missing_comes_with_the_role() {
        let text = Missing { needs: vec![(EXEC, vec!["create"])], all: vec![EXEC] }.to_string();
        assert!(text.starts_with("you may not: create pods/exec. A capture needs this role"), "{text}");
        assert!(text.ends_with("  - apiGroups: [\"\"]\n    resources: [pods/exec]\n    verbs: [create]"), "{text}");
    }
}
