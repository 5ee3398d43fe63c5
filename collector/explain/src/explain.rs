//! What the objects of a cluster add to findings: which policy denies a connection, why a service leads nowhere, which node is down.

use std::net::IpAddr;

use crate::admin::Tier;
use crate::cluster::{Cluster, Pod, Service};
use crate::finding::{self, Certainty, Finding, Kind};
use crate::node;
use crate::objects::{Direction, NetworkPolicy, PortRef, Protocol};
use crate::observe::Party;
use crate::policy::{Decided, Decision, End, Probe, Reason, Side, Verdict, decide, smallest_change};
use crate::service::{ServiceFault, service_fault};

/// Adds to findings what the objects of `cluster` decide, and sorts them, worst first.
pub fn explain(findings: &mut [Finding], cluster: &Cluster) {
    for finding in findings.iter_mut() {
        for party in [&mut finding.client, &mut finding.server] {
            name(party, cluster);
        }
        if finding.kind == Kind::DnsNoName {
            other_namespace(finding, cluster);
        }
        if finding.kind.may_have_objects() {
            explain_one(finding, cluster);
        }
    }
    finding::sort(findings);
}

/// What the objects decide on a connection, without any record of it.
pub fn check(cluster: &Cluster, client: IpAddr, server: IpAddr, protocol: Protocol, port: u16) -> Option<Finding> {
    let party = |address| {
        let mut party = Party { name: String::new(), address: Some(address) };
        name(&mut party, cluster);
        party
    };
    let mut finding = Finding {
        kind: Kind::Unanswered,
        sentence: String::new(),
        evidence: Vec::new(),
        certainty: Certainty::Likely,
        remedy: String::new(),
        change: String::new(),
        client: party(client),
        server: party(server),
        protocol: Some(number(protocol)),
        port: Some(port),
        asked: String::new(),
        count: 0,
        first_ms: 0,
        last_ms: 0,
        records: String::new(),
    };
    explain_one(&mut finding, cluster);
    finding.kind.is_of_objects().then_some(finding)
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// A service of another namespace than the one that was asked for, as the search path of the client's namespace finds no other.
fn other_namespace(finding: &mut Finding, cluster: &Cluster) {
    let mut labels = finding.asked.split('.');
    let (Some(name), namespace, third) = (labels.next(), labels.next(), labels.next()) else { return };
    // `db`, `db.shop`, or `db.shop.svc` and more; other names are of the world outside.
    let is_of_cluster = namespace.is_none_or(|namespace| {
        third == Some("svc") || cluster.services().iter().any(|one| one.metadata.namespace == namespace)
    });
    let others = cluster.services().iter().map(|service| &service.metadata);
    let others = others.filter(|meta| is_of_cluster && meta.name == name && namespace != Some(meta.namespace.as_str()));
    let others: Vec<_> = others.take(3).map(|meta| format!("{}.{}", meta.name, meta.namespace)).collect();
    if let Some(one) = others.first() {
        finding.remedy =
            format!("Ask for {one}: a name without its namespace, or with another one, does not find that service.");
        finding.evidence.push(format!("there is a service of this name in another namespace: {}", others.join(", ")));
    }
}

/// Names an end that its records did not name.
fn name(party: &mut Party, cluster: &Cluster) {
    let Some(address) = party.address.filter(|_| party.name.is_empty()) else { return };
    let full = |namespace: &str, name: &str| format!("{namespace}/{name}");
    if let Some(pod) = cluster.pod_at(address) {
        party.name = full(&pod.metadata.namespace, &pod.metadata.name);
    } else if let Some(service) = cluster.service_at(address) {
        party.name = format!("service {}", full(&service.metadata.namespace, &service.metadata.name));
    } else if let Some(node) = cluster.node_at(address) {
        party.name = format!("node {}", node.name);
    }
}

fn explain_one(finding: &mut Finding, cluster: &Cluster) {
    let (Some(client), Some(server)) = (finding.client.address, finding.server.address) else { return };
    let protocol = finding.protocol.and_then(Protocol::of);
    let mut port = finding.port.unwrap_or_default();
    let end = |address| cluster.pod_at(address).map_or(End::Address(address), End::Pod);
    let mut to = end(server);
    if let (Some(service), Some(protocol)) = (cluster.service_at(server), protocol) {
        if let Some(fault) = service_fault(cluster, service, protocol, port) {
            return service_finding(finding, service, &fault, (protocol, port));
        }
        if let Some((pod, target)) = target(cluster, service, protocol, port) {
            (to, port) = (End::Pod(pod), target);
        }
    }
    if node::host_port(finding, cluster, server, (protocol, port)) {
        return;
    }
    let down = node::down(cluster, to);
    let probe = Probe { client: end(client), server: to, protocol, port };
    let decision = decide(cluster, &probe);
    match decision.verdict() {
        Verdict::Denied => policy_finding(finding, cluster, &probe, &decision),
        _ if down.is_some() && matches!(finding.kind, Kind::Unanswered | Kind::NoRoute | Kind::DnsTimeout) => {
            return down.into_iter().for_each(|node| node::not_ready(finding, node, to));
        }
        Verdict::Allowed if cluster.knows("NetworkPolicy") && finding.kind == Kind::DroppedByFilter => {
            finding.evidence.push(
                "the NetworkPolicies allow it: the filter is another one, such as a policy of the CNI's own or a firewall of the node".into(),
            );
        }
        Verdict::NotDecided if finding.kind == Kind::DroppedByFilter => {
            finding
                .evidence
                .push("NetworkPolicies do not decide on it: host network, own node, or outside the cluster".into());
        }
        _ => {}
    }
    finding.evidence.extend(down.map(|node| format!("node {} of the server is not ready", node.name)));
}

/// A pod behind a service that serves, and its port.
pub fn target<'a>(cluster: &'a Cluster, service: &'a Service, protocol: Protocol, port: u16) -> Option<(&'a Pod, u16)> {
    let found = service.spec.ports.iter().find(|one| (one.protocol, one.port) == (protocol, port))?;
    let pod = cluster.pods_behind(service).find(|pod| pod.ready)?;
    let number = match &found.target_port {
        None => port,
        Some(PortRef::Number(number)) => *number,
        Some(PortRef::Name(name)) => pod.ports.iter().find(|one| one.name == *name && one.protocol == protocol)?.number,
    };
    Some((pod, number))
}

fn full_name(policy: &NetworkPolicy) -> String {
    format!("{}/{}", policy.metadata.namespace, policy.metadata.name)
}

fn policy_finding(finding: &mut Finding, cluster: &Cluster, probe: &Probe<'_>, decision: &Decision<'_>) {
    let was_seen = finding.kind == Kind::DroppedByFilter || finding.sentence.is_empty();
    let seen = std::mem::take(&mut finding.sentence);
    let mut names = Vec::new();
    let mut evidence = Vec::new();
    let of_cluster = || {
        decision.denials().filter_map(|side| match &side.reason {
            Reason::Cluster(decided) => Some(decided),
            _ => None,
        })
    };
    for side in decision.denials() {
        let (policies, missing) = denial(side);
        names.push(policies);
        evidence.extend(missing);
    }
    let what = format!("{} port {}", probe.protocol.map_or("", Protocol::name), probe.port);
    finding.kind = Kind::Policy;
    finding.sentence = format!("{} denies {what} from {} to {}.", names.join("; "), finding.client, finding.server);
    // What else could be in the way of a packet that only had no answer is not excluded by a policy that would drop it.
    let is_sure = was_seen && of_cluster().all(|decided| decided.by_name.is_empty());
    finding.certainty = if is_sure { Certainty::FollowsFromObjects } else { Certainty::Likely };
    finding.evidence.extend((!seen.is_empty()).then_some(seen));
    finding.evidence.extend(evidence);
    finding.change = smallest_change(cluster, probe, decision).map(|change| change.yaml()).unwrap_or_default();
    finding.remedy = match of_cluster().next() {
        Some(decided) => format!(
            "If the connection is wanted, ask an administrator of the cluster to apply the change: {} {} holds for all namespaces.",
            decided.policy.kind, decided.policy.metadata.name
        ),
        None => {
            "If the connection is wanted, apply the change: it allows this one port, for the workloads of both ends."
                .into()
        }
    };
}

/// The rule of a policy of the whole cluster that denies.
fn denial_of_cluster(side: &Side<'_>, decided: &Decided<'_>) -> (String, Vec<String>) {
    let Decided { policy, rule, by_name, .. } = decided;
    let (kind, name, direction) = (policy.kind, &policy.metadata.name, side.direction.word());
    let called = policy.rules(side.direction).get(rule - 1).map(|rule| rule.name.as_str()).unwrap_or_default();
    let called = if called.is_empty() { String::new() } else { format!(" '{called}'") };
    let order = match policy.tier {
        Tier::Admin => "it holds before all NetworkPolicies",
        Tier::Baseline => "it holds as no NetworkPolicy isolates the pod",
    };
    let allowing = by_name.iter().map(|(policy, rule)| {
        format!(
            "rule {rule} of {} {} allows names: whether this address has one is not known",
            policy.kind, policy.metadata.name
        )
    });
    let evidence = std::iter::once(format!("rule {rule}{called} of {kind} {name} denies it; {order}")).chain(allowing);
    (format!("{kind} {name} ({direction})"), evidence.collect())
}

/// The policies of a side that denies, and what their rules lack.
fn denial(side: &Side<'_>) -> (String, Vec<String>) {
    let misses = match &side.reason {
        Reason::NoRule(misses) => misses,
        Reason::Cluster(decided) => return denial_of_cluster(side, decided),
        _ => return Default::default(),
    };
    let names: Vec<_> = misses.iter().map(|miss| full_name(miss.policy)).collect();
    let kind = if names.len() == 1 { "NetworkPolicy" } else { "The NetworkPolicies" };
    let pod = match side.direction {
        Direction::Egress => "of the client",
        Direction::Ingress => "of the server",
    };
    let rules = misses.iter().flat_map(|miss| {
        let name = full_name(miss.policy);
        let other = name.clone();
        let ports =
            miss.other_ports.iter().map(move |rule| format!("rule {rule} of {name} allows this peer on other ports"));
        ports.chain(
            miss.other_peers.iter().map(move |rule| format!("rule {rule} of {other} allows this port for other peers")),
        )
    });
    let evidence = std::iter::once(format!("{} isolates the {} {pod}", names.join(", "), side.direction.word()));
    (format!("{kind} {} ({})", names.join(", "), side.direction.word()), evidence.chain(rules).collect())
}

fn service_finding(finding: &mut Finding, service: &Service, fault: &ServiceFault, (protocol, port): (Protocol, u16)) {
    let name = format!("Service {}/{}", service.metadata.namespace, service.metadata.name);
    let ports = |ports: &[(Protocol, u16)]| {
        let list: Vec<_> = ports.iter().map(|(protocol, number)| format!("{} {number}", protocol.name())).collect();
        if list.is_empty() { "none".to_owned() } else { list.join(", ") }
    };
    let labels: Vec<_> = service.spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let (sentence, remedy) = match fault {
        ServiceFault::ExternalName(other) => (
            format!("{name} is only another name for {other}: it has no address and forwards nothing."),
            "Connect to its name, so that DNS leads there, and check that the other name is right.".to_owned(),
        ),
        ServiceFault::NoPort(there) => (
            format!("{name} has no port {port}; its ports: {}.", ports(there)),
            "Use one of its ports, or add this one to the service.".into(),
        ),
        ServiceFault::OtherProtocol(other) => (
            format!("{name} has port {port} for {}, not for {}.", other.name(), protocol.name()),
            "Correct 'protocol' of the service's port.".into(),
        ),
        ServiceFault::SelectsNothing(near) => (
            format!("{name} selects no pod: none has the labels {}.", labels.join(",")),
            match near.first() {
                Some(pod) => format!("Compare its selector with the labels of pod {pod}, which lacks one of them."),
                None => "Correct its selector, or start its pods.".into(),
            },
        ),
        ServiceFault::NoEndpoints => (
            format!("{name} has no selector and no endpoints."),
            "Give it a selector, or write its EndpointSlice.".into(),
        ),
        ServiceFault::NotReady(pods) => (
            format!("None of the pods of {name} is ready: {}.", pods.join(", ")),
            "Look at why they are not ready: 'oc describe pod', and their readiness probe.".into(),
        ),
        ServiceFault::NoTargetName(target) => (
            format!(
                "{name} sends port {port} to the port named {target}, which its pods do not have for {}.",
                protocol.name()
            ),
            "Correct 'targetPort' of the service, or the name of the container's port.".into(),
        ),
        ServiceFault::UndeclaredTarget(target, there) => (
            format!(
                "{name} sends port {port} to port {target}, which its pods do not declare; they declare {}.",
                ports(there)
            ),
            "Correct 'targetPort' of the service, unless the container listens there without declaring it.".into(),
        ),
    };
    let seen = std::mem::replace(&mut finding.sentence, sentence);
    finding.evidence.extend((!seen.is_empty()).then_some(seen));
    finding.kind = Kind::Service;
    finding.certainty = if fault.is_certain() { Certainty::FollowsFromObjects } else { Certainty::Likely };
    finding.remedy = remedy;
}
