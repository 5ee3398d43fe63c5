//! `why`, `policy` and the demands of scripts on a capture of the cluster on one machine, with policies that are enforced for real.

mod cluster_world;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use cluster_world::{A_MINUTE, NOTHING, Shop, capture, files};
use netobserv_testkit::{Finished, Signal, require_privileged, wait_for};
use serde_json::{Value, json};

/// A port of the server that no client may use.
const CLOSED: u16 = 9_991;

/// The shop with what the user has: a capture's database, and the objects.
struct World {
    shop: Shop,
    objects: PathBuf,
}

impl World {
    fn objects(&self, policies: &[Value]) {
        let mut items = self.shop.cluster.api().objects("/api/v1/pods");
        items.iter_mut().for_each(|pod| pod["kind"] = json!("Pod"));
        items.extend(policies.iter().cloned());
        fs::write(&self.objects, json!({"kind": "List", "items": items}).to_string()).expect("a file");
    }

    /// The plugin on the files of the capture, which need no cluster.
    fn read(&self, command: &str, words: &[&str]) -> Finished {
        let from = format!("--from={}", files(&self.shop).db.display());
        let objects = format!("--objects={}", self.objects.display());
        let words = [&[command, &from, &objects], words].concat();
        let binaries = netobserv_testkit::proc::binaries();
        self.shop.cluster.plugin(&words).env("NETOBSERV_COLLECTOR_BIN", &binaries.collector).finish()
    }

    /// Lets the server's pod have the packets that the ingress rules of `policies` allow, and no others.
    fn enforce(&self, policies: &[Value]) {
        let pods = self.shop.cluster.api().objects("/api/v1/pods");
        let mut script = "flush ruleset; add table inet t; \
            add chain inet t input { type filter hook input priority 0; policy drop; }; \
            add rule inet t input ct state established accept; add rule inet t input meta l4proto ipv6-icmp accept"
            .to_owned();
        let of_server = policies.iter().filter(|one| one["spec"]["podSelector"]["matchLabels"]["app"] == "server");
        for rule in of_server.flat_map(|one| one["spec"]["ingress"].as_array().cloned().unwrap_or_default()) {
            for peer in rule["from"].as_array().expect("peers") {
                let labels = &peer["podSelector"]["matchLabels"];
                for pod in pods.iter().filter(|pod| pod["metadata"]["labels"] == *labels) {
                    for port in rule["ports"].as_array().expect("ports") {
                        let (address, port) = (pod["status"]["podIP"].as_str().expect("an address"), &port["port"]);
                        script += &format!("; add rule inet t input ip saddr {address} tcp dport {port} accept");
                    }
                }
            }
        }
        self.shop.server.netns.run("nft").arg(script).output();
    }

    /// Whether the client reaches a port of the server.
    fn reaches(&self, port: u16) -> bool {
        let code =
            format!("import socket; socket.create_connection(('{}', {port}), timeout=1)", self.shop.server.address);
        self.shop.client.netns.run("python3").args(["-c", &code]).finish().success()
    }
}

fn policies(yaml: &str) -> Vec<Value> {
    let read: Result<Vec<Value>, _> = serde_saphyr::from_multiple(yaml);
    read.unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

fn deny() -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]}})
}

/// A capture during which the client uses one port, and is denied the other.
fn captured() -> World {
    let shop = Shop::open(2);
    let objects = shop.cluster.home().join("objects.json");
    let world = World { shop, objects };
    let port = world.shop.port;
    let drop = format!(
        "add table inet t; add chain inet t input {{ type filter hook input priority 0; }}; add rule inet t input tcp dport {CLOSED} drop"
    );
    world.shop.server.netns.run("nft").arg(drop).output();
    let expect = format!("--expect=shop/client -> shop/server:{port}");
    let forbid = format!("--forbid=ns:shop -> shop/server:{CLOSED}");
    world.shop.cluster.api().put(deny());
    let plugin = capture(&world.shop, &["flows", "--enable_all", "--max-time=5m", "--copy=true", &expect, &forbid]);
    world.shop.wait_capturing();
    assert!(!world.reaches(CLOSED), "the port is closed");
    world.shop.browse(3);
    world.shop.wait_flows();
    let has_both = || {
        let flows = cluster_world::inside::flows(&world.shop);
        let has = |field: &str, port: u16| flows.iter().any(|flow| flow[field] == port);
        has("DstPort", CLOSED) && has("SrcPort", port)
    };
    assert!(wait_for(A_MINUTE, has_both), "{}\n{}", plugin.stdout(), plugin.stderr());
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert_eq!(done.code(), 3, "{done}\n{}", world.shop.cluster.logs());
    let text = format!("{}{}", done.stdout, done.stderr);
    assert!(text.contains(&format!("met: --expect='shop/client -> shop/server:{port}' (answered: ")), "{done}");
    assert!(text.contains(&format!("NOT MET: --forbid='ns:shop -> shop/server:{CLOSED}' (")), "{done}");
    let denied = format!("  NetworkPolicy shop/deny (ingress) denies TCP port {CLOSED} from shop/client (");
    assert!(text.contains(&denied), "{done}");
    assert!(done.stderr.contains("error: the capture does not meet what was demanded of it"), "{done}");
    assert_eq!(files(&world.shop).rows(), files(&world.shop).flows().len() as u64);
    assert_eq!(world.shop.cluster.left_behind(), NOTHING);
    world
}

#[test]
fn the_policy_is_named_and_proposed_policies_allow_what_was_captured() {
    require_privileged!();
    let world = captured();
    let port = world.shop.port;

    world.objects(&[deny()]);
    let done = world.read("why", &["-o", "json", "shop/client", &format!("shop/server:{CLOSED}")]);
    assert_eq!(done.code(), 0, "{done}");
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let finding = &report["findings"][0];
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!((&finding["kind"], &finding["certainty"]), (&json!("policy"), &json!("follows-from-objects")), "{done}");
    let sentence = finding["sentence"].as_str().expect("a sentence");
    let wanted = format!("NetworkPolicy shop/deny (ingress) denies TCP port {CLOSED} from shop/client (");
    assert!(sentence.starts_with(&wanted), "{sentence}");

    // The proposed change, added to the policy, lets this connection pass, and no other.
    let _listener =
        world.shop.server.netns.enter(|| TcpListener::bind((world.shop.server.address, CLOSED))).expect("a port");
    let change = policies(finding["change"].as_str().expect("YAML"));
    world.enforce(&[deny()]);
    assert!(!world.reaches(CLOSED));
    world.enforce(&[&[deny()][..], &change].concat());
    assert!(world.reaches(CLOSED) && !world.reaches(port));

    // What the capture proposes lets the connection pass that worked.
    world.objects(&[]);
    let proposed = world.read("policy", &["--ns=shop"]);
    assert_eq!(proposed.code(), 0, "{proposed}");
    let advice = policies(&proposed.stdout);
    assert_eq!(advice.len(), 2, "{proposed}");
    world.enforce(&advice);
    assert!(world.reaches(port) && !world.reaches(CLOSED), "{proposed}");

    let file = world.shop.cluster.home().join("policies.yaml");
    let check = |yaml: &str| {
        fs::write(&file, yaml).expect("a file");
        world.read("policy", &["--check", &file.display().to_string()])
    };
    let fits = check(&proposed.stdout);
    assert_eq!(fits.code(), 0, "{fits}");
    let tight = check(&deny().to_string());
    assert_eq!(tight.code(), 3, "{tight}");
    assert!(
        tight.stdout.contains("denied: shop/client-1 (") && tight.stdout.contains(&format!("TCP port {port}")),
        "{tight}"
    );
    let empty = check("kind: List\nitems: []\n");
    assert_eq!(empty.code(), 1, "{empty}");
}

#[test]
fn a_capture_for_two_ends_opens_the_connection_and_names_the_policy() {
    require_privileged!();
    let shop = Shop::open(2);
    shop.cluster.api().put(deny());
    let drop = format!(
        "add table inet t; add chain inet t input {{ type filter hook input priority 0; }}; add rule inet t input tcp dport {CLOSED} drop"
    );
    shop.server.netns.run("nft").arg(drop).output();
    let in_pod = shop.client.netns.run("sleep").arg("600").start();
    shop.cluster.let_in("shop", "client-1", in_pod.pid());
    let binaries = netobserv_testkit::proc::binaries();
    let server = format!("shop/server:{CLOSED}");
    let words = ["why", "shop/client", &server, "--connect", "--for=5m", "-o", "json"];
    let plugin = shop.cluster.plugin(&words).env("NETOBSERV_COLLECTOR_BIN", &binaries.collector).own_group().start();
    let is_dropped = || {
        let flows = cluster_world::inside::flows(&shop);
        flows.iter().any(|flow| flow["DstPort"] == CLOSED && flow["PktDropPackets"].as_u64() > Some(0))
    };
    assert!(wait_for(A_MINUTE, is_dropped), "{}\n{}", plugin.stdout(), plugin.stderr());
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert_eq!(done.code(), 0, "{done}");
    let report: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done}"));
    let finding = &report["findings"][0];
    assert_eq!((&finding["kind"], &finding["certainty"]), (&json!("policy"), &json!("follows-from-objects")), "{done}");
    let sentence = finding["sentence"].as_str().expect("a sentence");
    assert!(
        sentence.starts_with(&format!("NetworkPolicy shop/deny (ingress) denies TCP port {CLOSED} from ")),
        "{done}"
    );
    let remedy = finding["remedy"].as_str().expect("a remedy");
    assert!(remedy.contains("apply the change") && !policies(finding["change"].as_str().expect("YAML")).is_empty());
    assert_eq!(report["unknown"], json!([]), "{done}");
    let opened = format!("connections from pod shop/client-1 to {}:{CLOSED} were opened", shop.server.address);
    assert!(done.stderr.contains(&opened), "{done}");
    // What else the client asked for does not belong to the question.
    assert!(files(&shop).rows() > 0);
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}
