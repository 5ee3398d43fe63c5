//! The role that a user is told to ask for, against the roles that a capture grants: Kubernetes refuses a role with a right
//! that its maker does not have.

mod cli_world;
mod yaml_world;

use cli_world::World;
use oc_netobserv::plan::Monitoring;
use serde_json::Value;
use yaml_world::{every_plan, json, made, plan};

/// The rules of the role that is printed when a right is missing.
fn printed(world: World, words: &[&str]) -> Vec<Value> {
    let outcome = world.file("answers/permissions", "\n").env("FAKE_DENY", "namespaces").run(words);
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    let (_, yaml) = outcome.stderr.split_once("can grant you:\n").expect("a role");
    let role: Value = serde_saphyr::from_str(yaml).expect("YAML");
    assert_eq!((&role["kind"], &role["metadata"]["name"]), (&"ClusterRole".into(), &"netobserv-cli-user".into()));
    role["rules"].as_array().expect("rules").clone()
}

fn words<'a>(rule: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    rule[key].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Group, resource and verb of each right of a rule. Names only narrow it.
fn rights(rule: &Value) -> impl Iterator<Item = [&str; 3]> {
    words(rule, "apiGroups").flat_map(move |group| {
        words(rule, "resources").flat_map(move |path| words(rule, "verbs").map(move |verb| [group, path, verb]))
    })
}

/// What the plan grants and the rules do not give.
fn beyond(plan: &oc_netobserv::plan::Plan, rules: &[Value]) -> Vec<String> {
    let documents: Vec<Value> = made(plan).iter().map(json).collect();
    let roles = documents.iter().filter(|document| document["rules"].is_array());
    let granted: Vec<&Value> = roles.flat_map(|role| role["rules"].as_array().into_iter().flatten()).collect();
    assert!(granted.len() >= 10, "{granted:#?}");
    let missing =
        granted.into_iter().flat_map(rights).filter(|right| !rules.iter().flat_map(rights).any(|r| r == *right));
    missing.map(|right| right.join(" ")).collect()
}

#[test]
fn the_role_that_is_asked_for_has_everything_that_is_granted() {
    let openshift = || World::new().env("FAKE_OPENSHIFT", "4.17.0");
    let (of_flows, plain) = (printed(openshift(), &["flows"]), printed(World::new(), &["flows"]));
    let of_metrics = printed(openshift(), &["metrics"]);
    for plan in every_plan() {
        let rules = match plan.is_read_by(Monitoring::OpenShift) {
            true => &of_metrics,
            false if plan.scc => &of_flows,
            false => &plain,
        };
        assert_eq!(beyond(&plan, rules), [""; 0], "{plan:#?}");
    }
}

#[test]
fn a_right_that_is_not_asked_for_is_found() {
    let mut plan = plan(oc_netobserv::plan::Kind::Flows);
    plan.scc = true;
    let expected =
        ["get", "delete", "use"].map(|verb| format!("security.openshift.io securitycontextconstraints {verb}"));
    assert_eq!(beyond(&plan, &printed(World::new(), &["flows"])), expected);
    let metrics = yaml_world::plan(oc_netobserv::plan::Kind::Metrics);
    let expected = ["get", "list", "watch"].map(|verb| format!(" endpoints {verb}"));
    assert_eq!(beyond(&metrics, &printed(World::new(), &["metrics"])), expected);
}
