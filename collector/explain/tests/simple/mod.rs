//! The decision on a connection, word by word from the JSON of the policies. `None`: no side decides.

use std::net::IpAddr;

use netobserv_explain::policy::{End, Probe};
use serde_json::{Value, json};

use super::Random;

pub(crate) fn is_allowed(world: &Random, probe: &Probe<'_>) -> Option<bool> {
    let egress = side(world, probe.client, probe.server, probe, ("Egress", "egress", "to"));
    let ingress = side(world, probe.server, probe.client, probe, ("Ingress", "ingress", "from"));
    match (egress, ingress) {
        (None, None) => None,
        (one, other) => Some(one.unwrap_or(true) && other.unwrap_or(true)),
    }
}

fn side(world: &Random, own: End<'_>, peer: End<'_>, probe: &Probe<'_>, names: (&str, &str, &str)) -> Option<bool> {
    let (kind, rules, peers) = names;
    let End::Pod(pod) = own else { return None };
    let node = |address: &IpAddr| format!("n{}", address.to_string().rsplit_once('.').unwrap().1);
    let same = match peer {
        End::Pod(other) if other.host_network => other.node == pod.node,
        End::Pod(other) => other.metadata.name == pod.metadata.name,
        End::Address(address) => address.to_string().starts_with("192.0.2.") && node(&address) == pod.node,
    };
    if pod.host_network || same {
        return None;
    }
    let of_pod = |policy: &&Value| {
        let spec = &policy["spec"];
        let types = match &spec["policyTypes"] {
            Value::Null if spec["egress"].as_array().is_some_and(|rules| !rules.is_empty()) => {
                json!(["Ingress", "Egress"])
            }
            Value::Null => json!(["Ingress"]),
            types => types.clone(),
        };
        policy["metadata"]["namespace"] == json!(pod.metadata.namespace)
            && types.as_array().unwrap().contains(&json!(kind))
            && selects(&spec["podSelector"], &json!(pod.metadata.labels))
    };
    let policies: Vec<_> = world.policies.iter().filter(of_pod).collect();
    let mut allowed = policies.is_empty();
    for policy in policies {
        for rule in policy["spec"][rules].as_array().into_iter().flatten() {
            let all_peers = rule[peers].as_array().is_none_or(Vec::is_empty);
            let all_ports = rule["ports"].as_array().is_none_or(Vec::is_empty);
            let namespace = policy["metadata"]["namespace"].as_str().unwrap();
            let mut list = rule[peers].as_array().into_iter().flatten();
            let peer_holds = all_peers || list.any(|one| is_peer(world, namespace, one, peer));
            let mut list = rule["ports"].as_array().into_iter().flatten();
            allowed |= peer_holds && (all_ports || list.any(|one| is_port(one, probe)));
        }
    }
    Some(allowed)
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let empty = serde_json::Map::new();
    let wanted = selector["matchLabels"].as_object().unwrap_or(&empty);
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    wanted.iter().all(|(key, value)| labels[key] == *value)
        && expressions.all(|one| {
            let label = &labels[one["key"].as_str().unwrap()];
            let listed = one["values"].as_array().is_some_and(|values| values.contains(label));
            match one["operator"].as_str().unwrap() {
                "In" => !label.is_null() && listed,
                "NotIn" => label.is_null() || !listed,
                "Exists" => !label.is_null(),
                _ => label.is_null(),
            }
        })
}

fn is_peer(world: &Random, namespace: &str, peer: &Value, end: End<'_>) -> bool {
    if let Some(block) = peer["ipBlock"].as_object() {
        let address = match end {
            End::Pod(pod) => pod.addresses[0],
            End::Address(address) => address,
        };
        let mut excepts = block["except"].as_array().into_iter().flatten();
        return within(&block["cidr"], address) && !excepts.any(|except| within(except, address));
    }
    let End::Pod(pod) = end else { return false };
    let labels = world.cluster.namespace_labels(&pod.metadata.namespace);
    let namespace_holds = match &peer["namespaceSelector"] {
        Value::Null => pod.metadata.namespace == namespace,
        selector => selects(selector, &json!(*labels)),
    };
    !pod.host_network && namespace_holds && selects(&peer["podSelector"], &json!(pod.metadata.labels))
}

fn within(block: &Value, address: IpAddr) -> bool {
    let (first, bits) = block.as_str().unwrap().split_once('/').unwrap();
    let number = |text: &str| u32::from(text.parse::<std::net::Ipv4Addr>().unwrap());
    let bits: u32 = bits.parse().unwrap();
    (number(first) ^ number(&address.to_string())).checked_shr(32 - bits).unwrap_or(0) == 0
}

fn is_port(port: &Value, probe: &Probe<'_>) -> bool {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    let number = u64::from(probe.port);
    let number_holds = match &port["port"] {
        Value::Null => true,
        Value::String(name) => match probe.server {
            End::Pod(pod) => pod
                .ports
                .iter()
                .any(|one| one.name == *name && one.protocol.name() == protocol && one.number == probe.port),
            End::Address(_) => false,
        },
        first => {
            let first = first.as_u64().unwrap();
            (first..=port["endPort"].as_u64().unwrap_or(first)).contains(&number)
        }
    };
    protocol == probe.protocol.unwrap().name() && number_holds
}
