//! Thirty-two things that can be wrong in a cluster, as data: the objects, what is made wrong for real, and what `why` has to report.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// One thing that is wrong, between the client and one server.
pub(crate) struct Case {
    /// Name of the server's pod or service, in namespace shop.
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    /// Objects that make it wrong.
    pub(crate) objects: Vec<Value>,
    pub(crate) fault: Fault,
    /// Kind of the finding.
    pub(crate) kind: &'static str,
    /// What its sentence names.
    pub(crate) says: &'static str,
    /// What its remedy contains.
    pub(crate) remedy: &'static str,
}

/// What is made wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server's machine drops what arrives, as the policy wants.
    Dropped,
    /// Only objects: nothing has the address of the service, and nothing answers.
    Service,
    /// Nothing listens there.
    Refused,
    /// No machine has the address.
    Nobody,
    /// The server breaks the connection off.
    Broken,
    /// Datagrams to a port without a listener.
    Datagram,
    /// Datagrams to a program that never reads.
    Full,
    /// Datagrams to a network that the server's machine has no route for.
    NoRoute,
    /// Datagrams that are larger than the way behind the server.
    TooBig,
    /// A port of the first node, which has no such port.
    OfNode,
    /// Datagrams whose checksum is wrong.
    Damaged,
}

fn policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

/// A policy for the pods of one workload, with these rules for ingress.
fn ingress(name: &str, rules: Value) -> Value {
    policy(name, json!({"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress"], "ingress": rules}))
}

fn of_cluster(kind: &str, version: &str, name: &str, app: &str, extra: Value) -> Value {
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": "shop"}});
    let mut spec = json!({"subject": {"pods": {"namespaceSelector": here, "podSelector": {"matchLabels": {"app": app}}}},
        "ingress": [{"name": "closed", "action": "Deny", "from": [{"namespaces": {}}]}]});
    extra.as_object().into_iter().flatten().for_each(|(key, value)| spec[key] = value.clone());
    json!({"apiVersion": format!("policy.networking.k8s.io/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A service whose only port, TCP 80, leads to this port of the pods with this label.
fn service(name: &str, app: &str, target: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": target}]}})
}

fn with_port(mut service: Value, port: Value) -> Value {
    service["spec"]["ports"] = json!([port]);
    service
}

fn without_selector(mut service: Value) -> Value {
    service["spec"]["selector"] = json!({});
    service
}

/// Those that a policy denies. The kernel drops the packets, as the plugin of a network would.
fn policies(client: Ipv4Addr) -> Vec<Case> {
    let from = |app: &str, port: Value| json!([{"from": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": port}]}]);
    let but = json!([{"from": [{"ipBlock": {"cidr": "10.77.0.0/16", "except": [format!("{client}/32")]}}]}]);
    let foreign = json!([{"from": [{"namespaceSelector": {"matchLabels": {"team": "other"}}}]}]);
    let out = json!({"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {}}], "ports": [{"port": 1, "endPort": 9299}, {"port": 1, "endPort": 65535, "protocol": "UDP"}]},
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.77.2.107/32"]}}]}]});
    let case = |name, objects: Value, says| Case {
        name,
        port: 9_000,
        objects: vec![objects],
        fault: Fault::Dropped,
        kind: "policy",
        says,
        remedy: "apply the change",
    };
    let admin = |name, object, says| Case { remedy: "administrator", ..case(name, object, says) };
    vec![
        case("locked", ingress("locked", json!([])), "NetworkPolicy shop/locked (ingress) denies"),
        case("choosy", ingress("choosy", from("friend", json!(9_000))), "NetworkPolicy shop/choosy (ingress) denies"),
        case("narrow", ingress("narrow", from("client", json!(9_001))), "NetworkPolicy shop/narrow (ingress) denies"),
        case("named", ingress("named", from("client", json!("web"))), "NetworkPolicy shop/named (ingress) denies"),
        case("fenced", ingress("fenced", but), "NetworkPolicy shop/fenced (ingress) denies"),
        case("foreign", ingress("foreign", foreign), "NetworkPolicy shop/foreign (ingress) denies"),
        Case { port: 9_300, ..case("guarded", policy("out", out), "NetworkPolicy shop/out (egress) denies") },
        admin(
            "ruled",
            of_cluster("AdminNetworkPolicy", "v1alpha1", "no-ruled", "ruled", json!({"priority": 10})),
            "AdminNetworkPolicy no-ruled (ingress) denies",
        ),
        admin(
            "basic",
            of_cluster("BaselineAdminNetworkPolicy", "v1alpha1", "default", "basic", json!({})),
            "BaselineAdminNetworkPolicy default (ingress) denies",
        ),
        admin(
            "newer",
            of_cluster(
                "ClusterNetworkPolicy",
                "v1alpha2",
                "no-newer",
                "newer",
                json!({"tier": "Admin", "priority": 20}),
            ),
            "ClusterNetworkPolicy no-newer (ingress) denies",
        ),
        Case {
            kind: "dropped-by-filter",
            remedy: "nft list ruleset",
            objects: Vec::new(),
            ..case("plain", Value::Null, "packet filter dropped")
        },
    ]
}

/// Services that lead nowhere. `sleepy` and `awake` are pods with port 9000, of which only the second is ready.
fn services() -> Vec<Case> {
    let case = |name, object: Value, says, remedy| Case {
        name,
        port: 80,
        objects: vec![object],
        fault: Fault::Service,
        kind: "service",
        says,
        remedy,
    };
    let number = || json!(9_000);
    vec![
        case("empty", service("empty", "nothing", number()), "Service shop/empty selects no pod", "selector"),
        case(
            "waiting",
            service("waiting", "sleepy", number()),
            "None of the pods of Service shop/waiting is ready: sleepy-1",
            "oc describe pod",
        ),
        case(
            "askew",
            service("askew", "awake", json!(9_999)),
            "Service shop/askew sends port 80 to port 9999",
            "targetPort",
        ),
        case("misnamed", service("misnamed", "awake", json!("web2")), "to the port named web2", "targetPort"),
        case(
            "datagram",
            with_port(service("datagram", "awake", number()), json!({"port": 80, "protocol": "UDP"})),
            "has port 80 for UDP, not for TCP",
            "protocol",
        ),
        case(
            "elsewhere",
            with_port(service("elsewhere", "awake", number()), json!({"port": 81})),
            "Service shop/elsewhere has no port 80",
            "Use one of its ports",
        ),
        case(
            "manual",
            without_selector(service("manual", "", number())),
            "no selector and no endpoints",
            "EndpointSlice",
        ),
    ]
}

/// What packets show without a policy or service.
fn traffic() -> Vec<Case> {
    let case =
        |name, port, fault, kind, says, remedy| Case { name, port, objects: Vec::new(), fault, kind, says, remedy };
    vec![
        case("idle", 9_100, Fault::Refused, "refused", "refused", "ss -ltn"),
        case("absent", 9_101, Fault::Nobody, "unanswered", "got no answer", "is up and reachable"),
        case(
            "stranded",
            9_102,
            Fault::Nobody,
            "node-not-ready",
            "Node node9, where shop/stranded-1 runs, is not ready",
            "oc describe node node9",
        ),
        case(
            "edge",
            9_103,
            Fault::OfNode,
            "host-port",
            "Host port 9103 (TCP) is that of pod shop/edge-1 on node node2",
            "Connect to node node2",
        ),
        case("rude", 9_104, Fault::Broken, "reset", "broke off", "server's log"),
        case("deaf", 9_105, Fault::Datagram, "no-listener", "9105", "Start the server"),
        case("busy", 9_106, Fault::Full, "no-room", "9106", "rmem_max"),
        case("nowhere", 9_107, Fault::NoRoute, "no-route", "9107", "ip route get"),
        case("tight", 9_108, Fault::TooBig, "too-big", "9108", "MTU"),
        case("dented", 9_109, Fault::Damaged, "damaged", "the checksum was wrong", "offloading"),
    ]
}

/// All of them.
pub(crate) fn cases(client: Ipv4Addr) -> Vec<Case> {
    policies(client).into_iter().chain(services()).chain(traffic()).collect()
}

/// Faults of DNS: the name that is asked for, the response code (`None`: no answer), the kind and what the finding contains.
pub(crate) const NAMES: [(&str, Option<u8>, &str, &str); 4] = [
    ("db.wrong.svc.cluster.local", Some(3), "dns-no-name", "db.wrong.svc.cluster.local, which does not exist"),
    ("broken.example.com", Some(2), "dns-failed", "the server answered ServFail"),
    ("silent.example.com", None, "dns-timeout", "and got no answer"),
    ("slow.example.com", Some(0), "slow-dns", "took up to"),
];
