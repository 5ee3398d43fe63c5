//! NetworkPolicies: a table of facts, an evaluator that is written as simply as can be, and the properties of the proposed changes.

mod dice;
mod simple;
mod world;

use std::net::IpAddr;

use netobserv_explain::cluster::Cluster;
use netobserv_explain::objects::{Direction, NetworkPolicy, Protocol};
use netobserv_explain::policy::{
    Conversation, Decision, End, Probe, Reason, Side, Verdict, decide, denied, least_policies, smallest_change,
};
use serde_json::{Value, json};

use dice::Dice;
use world::World;

/// As the table writes a decision, with the rules that allow when `wanted` asks for them.
fn text(decision: &Decision<'_>, wanted: &str) -> String {
    let name = |policy: &NetworkPolicy| format!("{}/{}", policy.metadata.namespace, policy.metadata.name);
    let side = |side: &Side<'_>| match &side.reason {
        Reason::NoRule(misses) => {
            let names: Vec<_> = misses.iter().map(|miss| name(miss.policy)).collect();
            Some(format!(" {} {}", side.direction.word(), names.join(",")))
        }
        Reason::Rule(policy, rule) if decision.verdict() == Verdict::Allowed && wanted != "allowed" => {
            Some(format!(" {} {}#{rule}", side.direction.word(), name(policy)))
        }
        _ => None,
    };
    let verdict = match decision.verdict() {
        Verdict::Allowed => "allowed",
        Verdict::Denied => "denied",
        Verdict::NotDecided => "not decided",
    };
    let sides = [&decision.egress, &decision.ingress].into_iter().filter_map(side);
    let mut text = verdict.to_owned();
    text.extend(sides);
    text
}

#[test]
fn the_table_of_facts_holds() {
    let world = World::read();
    let cases: Value = serde_saphyr::from_str(include_str!("cases/policies.yaml")).expect("YAML");
    let (mut facts, mut wrong) = (0, Vec::new());
    for case in cases.as_array().expect("cases") {
        let mut cluster = world.cluster();
        for policy in case["policies"].as_array().expect("policies") {
            cluster.add_policy(serde_json::from_value(policy.clone()).expect("a policy"));
        }
        for (words, wanted) in case["probes"].as_object().expect("probes") {
            let wanted = wanted.as_str().expect("a verdict");
            let decision = decide(&cluster, &world::probe(&cluster, words));
            let is = text(&decision, wanted);
            facts += 1;
            if is != wanted {
                wrong.push(format!("{}: {words}: {is}, wanted {wanted}", case["case"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {facts}:\n{}", wrong.len(), wrong.join("\n"));
    println!("{facts} facts");
    assert!(facts >= 150, "{facts}");
}

/// A small cluster of random objects, also as the JSON of its policies.
struct Random {
    cluster: Cluster,
    policies: Vec<Value>,
}

const KEYS: [&str; 2] = ["a", "b"];
const VALUES: [&str; 2] = ["x", "y"];
const NAMESPACES: [&str; 3] = ["one", "two", "three"];
const OUTSIDE: [&str; 2] = ["198.51.100.7", "198.51.100.200"];

impl Random {
    fn new(dice: &mut Dice) -> Self {
        let mut cluster = Cluster::default();
        for namespace in NAMESPACES {
            let labels = labels(dice);
            cluster.add_namespace(namespace.into(), serde_json::from_value(labels).unwrap());
        }
        for number in 0..2 {
            cluster.add_node(world::node(&format!("n{number}"), &format!("192.0.2.{number}")));
        }
        for number in 0..dice.below(4) + 2 {
            let namespace = *dice.one_of(&NAMESPACES);
            let host = dice.below(8) == 0;
            let node = dice.below(2);
            let address = if host { format!("192.0.2.{node}") } else { format!("10.0.0.{number}") };
            let ports = ["http TCP 1", "http UDP 2", "other TCP 3"].into_iter().filter(|_| dice.below(2) == 0);
            let ports: Vec<_> = ports.collect();
            let pod = json!({"labels": labels(dice), "node": format!("n{node}"), "host": host, "ips": [address], "ports": ports});
            cluster.add_pod(world::pod(&format!("{namespace}/p{number}"), &pod));
        }
        let policies: Vec<_> = (0..dice.below(5)).map(|number| policy(dice, number)).collect();
        for policy in &policies {
            cluster.add_policy(serde_json::from_value(policy.clone()).unwrap());
        }
        Self { cluster, policies }
    }

    fn probe(&self, dice: &mut Dice) -> Probe<'_> {
        let mut end = || {
            let number = dice.below(self.cluster.pods().len() + OUTSIDE.len() + 1);
            match self.cluster.pods().get(number) {
                Some(pod) => End::Pod(pod),
                None => End::Address(match OUTSIDE.get(number - self.cluster.pods().len()) {
                    Some(address) => address.parse().unwrap(),
                    None => IpAddr::from([192, 0, 2, 0]),
                }),
            }
        };
        let (client, server) = (end(), end());
        let protocol = *dice.one_of(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
        Probe { client, server, protocol: Some(protocol), port: dice.below(5) as u16 }
    }
}

fn labels(dice: &mut Dice) -> Value {
    let mut labels = json!({});
    for key in KEYS {
        if dice.below(3) > 0 {
            labels[key] = json!(dice.one_of(&VALUES));
        }
    }
    labels
}

fn selector(dice: &mut Dice) -> Value {
    let mut selector = json!({});
    if dice.below(2) == 0 {
        selector["matchLabels"] = json!({*dice.one_of(&KEYS): dice.one_of(&VALUES)});
    }
    if dice.below(3) == 0 {
        let operator = *dice.one_of(&["In", "NotIn", "Exists", "DoesNotExist"]);
        let mut one = json!({"key": dice.one_of(&KEYS), "operator": operator});
        if operator.ends_with("In") {
            one["values"] = json!([dice.one_of(&VALUES)]);
        }
        selector["matchExpressions"] = json!([one]);
    }
    selector
}

fn peer(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => json!({"podSelector": selector(dice)}),
        1 => json!({"namespaceSelector": selector(dice)}),
        2 => json!({"podSelector": selector(dice), "namespaceSelector": selector(dice)}),
        _ => {
            let block = *dice.one_of(&["0.0.0.0/0", "10.0.0.0/30", "198.51.100.0/24", "192.0.2.0/31"]);
            let except = *dice.one_of(&["10.0.0.1/32", "198.51.100.128/25", "192.0.2.1/32"]);
            let excepts = if dice.below(2) == 0 { json!([except]) } else { Value::Null };
            json!({"ipBlock": {"cidr": block, "except": excepts}})
        }
    }
}

fn port(dice: &mut Dice) -> Value {
    let mut port = json!({});
    if dice.below(2) == 0 {
        port["protocol"] = json!(dice.one_of(&["TCP", "UDP", "SCTP"]));
    }
    match dice.below(4) {
        0 => {}
        1 => port["port"] = json!(dice.one_of(&["http", "other"])),
        2 => port["port"] = json!(dice.below(5)),
        _ => {
            port["port"] = json!(dice.below(3));
            port["endPort"] = json!(3);
        }
    }
    port
}

fn policy(dice: &mut Dice, number: usize) -> Value {
    let rules = |dice: &mut Dice, peers: &str| -> Value {
        let rule = |dice: &mut Dice| {
            let mut rule = json!({});
            if dice.below(4) > 0 {
                rule[peers] = (0..dice.below(3)).map(|_| peer(dice)).collect();
            }
            if dice.below(3) > 0 {
                rule["ports"] = (0..dice.below(3)).map(|_| port(dice)).collect();
            }
            rule
        };
        (0..dice.below(3)).map(|_| rule(dice)).collect()
    };
    let mut spec = json!({"podSelector": selector(dice)});
    if dice.below(2) == 0 {
        spec["ingress"] = rules(dice, "from");
    }
    if dice.below(2) == 0 {
        spec["egress"] = rules(dice, "to");
    }
    match dice.below(4) {
        0 => {}
        1 => spec["policyTypes"] = json!(["Ingress"]),
        2 => spec["policyTypes"] = json!(["Egress"]),
        _ => spec["policyTypes"] = json!(["Ingress", "Egress"]),
    }
    json!({"metadata": {"name": format!("policy-{number}"), "namespace": dice.one_of(&NAMESPACES)}, "spec": spec})
}

fn allows(cluster: &Cluster, probe: &Probe<'_>) -> Option<bool> {
    match decide(cluster, probe).verdict() {
        Verdict::Allowed => Some(true),
        Verdict::Denied => Some(false),
        Verdict::NotDecided => None,
    }
}

#[test]
fn random_clusters_are_decided_as_the_simple_evaluator_does() {
    let mut seen = [0; 3];
    for seed in 0..50_000 {
        let mut dice = Dice::new(seed);
        let world = Random::new(&mut dice);
        for _ in 0..8 {
            let probe = world.probe(&mut dice);
            let is = allows(&world.cluster, &probe);
            assert_eq!(is, simple::is_allowed(&world, &probe), "seed {seed}: {probe:?}\n{:#?}", world.policies);
            seen[is.map_or(2, usize::from)] += 1;
        }
    }
    println!("denied {}, allowed {}, not decided {}", seen[0], seen[1], seen[2]);
    assert!(seen.iter().all(|number| *number > 10_000), "{seen:?}");
}

#[test]
fn the_proposed_change_allows_the_connection_and_takes_nothing_away() {
    let mut changed = 0;
    for seed in 0..10_000 {
        let mut dice = Dice::new(seed);
        let world = Random::new(&mut dice);
        let probes: Vec<_> = (0..12).map(|_| world.probe(&mut dice)).collect();
        let Some(probe) = probes.iter().find(|probe| allows(&world.cluster, probe) == Some(false)) else { continue };
        let decision = decide(&world.cluster, probe);
        let change = smallest_change(&world.cluster, probe, &decision).expect("a change");
        assert_eq!(change.policies.len(), decision.denials().count());
        let mut after = Cluster::read(&change.yaml()).expect("YAML that can be read again");
        assert_eq!(after.policies(), change.policies, "seed {seed}\n{}", change.yaml());
        after = world.cluster.clone();
        change.policies.iter().for_each(|policy| after.add_policy(policy.clone()));
        assert_eq!(allows(&after, probe), Some(true), "seed {seed}\n{}", change.yaml());
        for other in &probes {
            let before = allows(&world.cluster, other);
            assert!(
                before != Some(true) || allows(&after, other) == before,
                "seed {seed}: {other:?}\n{}",
                change.yaml()
            );
        }
        changed += 1;
    }
    assert!(changed > 4_000, "{changed}");
}

#[test]
fn the_least_policies_allow_what_was_captured_and_deny_the_rest() {
    let (mut allowed, mut refused) = (0, 0);
    for seed in 0..10_000 {
        let mut dice = Dice::new(seed);
        let mut world = Random::new(&mut dice).cluster;
        world = world.without_policies();
        let addresses: Vec<IpAddr> =
            world.pods().iter().filter(|pod| !pod.host_network).map(|pod| pod.addresses[0]).collect();
        if addresses.len() < 2 {
            continue;
        }
        let mut conversation = || Conversation {
            client: *dice.one_of(&addresses),
            server: *dice.one_of(&addresses),
            protocol: *dice.one_of(&[Protocol::Tcp, Protocol::Udp]),
            port: dice.below(3) as u16,
        };
        let captured: Vec<_> = (0..3).map(|_| conversation()).collect();
        let other = conversation();
        let mut without_labels = Vec::new();
        let mut after = world.clone();
        for namespace in NAMESPACES {
            let advice = least_policies(&world, namespace, &captured);
            assert_eq!(Cluster::read(&advice.yaml()).expect("YAML").policies(), advice.policies, "seed {seed}");
            advice.policies.into_iter().for_each(|policy| after.add_policy(policy));
            without_labels.extend(advice.without_labels);
        }
        assert!(denied(&after, &captured).is_empty(), "seed {seed}");
        allowed += captured.len();
        // Selectors cannot tell pods apart whose labels contain those of the other.
        let labels = |address| &world.pod_at(address).expect("a pod").metadata;
        let near = |one: IpAddr, other: IpAddr| {
            let (one, other) = (labels(one), labels(other));
            one.namespace == other.namespace
                && one.labels.iter().all(|(key, value)| other.labels.get(key) == Some(value))
        };
        let is_near = captured.iter().any(|one| {
            (one.protocol, one.port) == (other.protocol, other.port)
                && near(one.client, other.client)
                && near(one.server, other.server)
        });
        let isolated = captured
            .iter()
            .any(|one| [one.client, one.server].iter().any(|end| [other.client, other.server].contains(end)))
            && [other.client, other.server].iter().any(|end| {
                !labels(*end).labels.is_empty() && captured.iter().any(|one| one.client == *end || one.server == *end)
            });
        if !is_near && isolated && other.client != other.server {
            assert_eq!(denied(&after, &[other]).len(), 1, "seed {seed}: {other:?} {captured:?}");
            refused += 1;
        }
    }
    println!("allowed {allowed}, refused {refused}");
    assert!(allowed > 10_000 && refused > 1_000, "{allowed} {refused}");
}

#[test]
fn a_denial_names_what_is_missing() {
    let world = World::read();
    let mut cluster = world.cluster();
    let policy = json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": {"podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 1}]}, {"from": [{"podSelector": {"matchLabels": {"app": "api"}}}]}]}});
    cluster.add_policy(serde_json::from_value(policy).unwrap());
    let probe = world::probe(&cluster, "shop/web -> shop/db TCP 5432");
    let decision = decide(&cluster, &probe);
    let Reason::NoRule(misses) = &decision.ingress.reason else { panic!("{decision:?}") };
    assert_eq!((misses[0].other_ports.as_slice(), misses[0].other_peers.as_slice()), (&[1][..], &[2][..]));
    assert_eq!(decision.ingress.direction, Direction::Ingress);
    let change = smallest_change(&cluster, &probe, &decision).expect("a change");
    let wanted = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: allow-from-web-tcp-5432\n  namespace: shop\n";
    assert!(change.yaml().starts_with(wanted), "{}", change.yaml());
}
