//! Policies of the whole cluster: a table of facts, and the changes that are proposed against them.

mod world;

use netobserv_explain::cluster::Cluster;
use netobserv_explain::explain::check;
use netobserv_explain::finding::Certainty;
use netobserv_explain::objects::Protocol;
use netobserv_explain::policy::{Decision, Reason, Side, Verdict, decide, smallest_change};
use serde_json::Value;

use world::World;

/// As the table writes a decision; the rules that allow only when `wanted` asks for them.
fn text(decision: &Decision<'_>, wanted: &str) -> String {
    let word = |side: &Side<'_>| side.direction.word();
    let side = |side: &Side<'_>| match &side.reason {
        Reason::NoRule(misses) => {
            let names =
                misses.iter().map(|miss| format!("{}/{}", miss.policy.metadata.namespace, miss.policy.metadata.name));
            Some(format!(" {} {}", word(side), names.collect::<Vec<_>>().join(",")))
        }
        Reason::Cluster(decided) if side.verdict() == Verdict::Denied || wanted != "allowed" => {
            let unless = if decided.by_name.is_empty() { "" } else { " unless names" };
            Some(format!(" {} {}#{}{unless}", word(side), decided.policy.metadata.name, decided.rule))
        }
        _ => None,
    };
    let verdict = match decision.verdict() {
        Verdict::Allowed => "allowed",
        Verdict::Denied => "denied",
        Verdict::NotDecided => "not decided",
    };
    let mut text = verdict.to_owned();
    text.extend([&decision.egress, &decision.ingress].into_iter().filter_map(side));
    text
}

/// The cluster of a case.
fn cluster(world: &World, case: &Value) -> Cluster {
    let mut cluster = world.cluster();
    for policy in case["policies"].as_array().expect("policies") {
        cluster.add_text(&policy.to_string()).expect("a policy");
    }
    cluster
}

fn cases() -> Vec<Value> {
    serde_saphyr::from_str(include_str!("cases/admin.yaml")).expect("YAML")
}

#[test]
fn the_table_of_facts_holds() {
    let (world, mut facts, mut wrong) = (World::read(), 0, Vec::new());
    for case in cases() {
        let cluster = cluster(&world, &case);
        for (words, wanted) in case["probes"].as_object().expect("probes") {
            let wanted = wanted.as_str().expect("a verdict");
            let is = text(&decide(&cluster, &world::probe(&cluster, words)), wanted);
            facts += 1;
            if is != wanted {
                wrong.push(format!("{}: {words}: {is}, wanted {wanted}", case["case"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {facts}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(facts >= 50, "{facts}");
}

#[test]
fn the_proposed_change_allows_the_connection_and_no_other() {
    let (world, mut changed) = (World::read(), 0);
    for case in cases() {
        let cluster = cluster(&world, &case);
        let all = case["probes"].as_object().expect("probes");
        for (words, _) in all {
            let probe = world::probe(&cluster, words);
            let decision = decide(&cluster, &probe);
            let Some(change) = smallest_change(&cluster, &probe, &decision) else {
                assert_ne!(decision.verdict(), Verdict::Denied, "{words}: {}", case["case"]);
                continue;
            };
            let mut after = cluster.clone();
            after.add_text(&change.yaml()).unwrap_or_else(|error| panic!("{error}\n{}", change.yaml()));
            for (other, _) in all {
                let before = decide(&cluster, &world::probe(&cluster, other)).verdict();
                let now = decide(&after, &world::probe(&after, other)).verdict();
                let wanted = if other == words { Verdict::Allowed } else { before };
                // Of two sides that deny, a rule may open one for the others.
                assert_eq!(now, wanted, "{other} after {words}: {}\n{}", case["case"], change.yaml());
            }
            changed += 1;
        }
    }
    assert!(changed >= 20, "{changed}");
}

#[test]
fn a_denial_names_the_policy_its_rule_and_who_can_change_it() {
    let world = World::read();
    let of = |number: usize, client: &str, server: &str, port| {
        let cluster = cluster(&world, &cases()[number]);
        let address = |text: &str| text.parse().expect("an address");
        check(&cluster, address(client), address(server), Protocol::Tcp, port).expect("a finding")
    };
    let finding = of(0, "10.2.0.1", "10.1.0.3", 5432);
    assert_eq!(
        finding.sentence,
        "AdminNetworkPolicy stop (ingress) denies TCP port 5432 from store/web (10.2.0.1) to shop/db (10.1.0.3)."
    );
    assert_eq!(finding.certainty, Certainty::FollowsFromObjects);
    assert!(finding.remedy.contains("administrator"), "{}", finding.remedy);
    assert!(finding.change.contains("priority: 9"), "{}", finding.change);
    let unsure = of(cases().len() - 1, "10.1.0.1", "198.51.100.7", 443);
    assert_eq!(unsure.certainty, Certainty::Likely, "{unsure:?}");
    assert!(unsure.evidence.iter().any(|text| text.contains("allows names")), "{unsure:?}");
}
