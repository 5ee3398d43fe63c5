//! What a capture in a cluster reports at its end, with the objects of an API server: the policy that denies a connection.

mod support;

use netobserv_test_apiserver::Server;
use netobserv_testkit::Signal;
use netobserv_wire::pbflow::Record;
use serde_json::{Value, json};
use support::cluster::{flow, pod, small};
use support::{Collector, Ended};

/// The kernel dropped a request for a connection, as netfilter wanted it.
fn dropped(src: &str, dst: &str) -> Record {
    Record {
        packets: 0,
        bytes: 0,
        flags: 2,
        pkt_drop_packets: 3,
        pkt_drop_bytes: 180,
        pkt_drop_latest_flags: 2,
        pkt_drop_latest_drop_cause: 8,
        pkt_drop_latest_cause_name: "SKB_DROP_REASON_NETFILTER_DROP".into(),
        ..flow(src, dst, 0)
    }
}

/// A capture in which the client's requests were dropped.
#[track_caller]
fn capture(server: &Server) -> Ended {
    let collector = Collector::start_with(&[], |run| run.env("NETOBSERV_KUBE_URL", server.url()));
    collector.client().send("n1", vec![dropped("10.1.0.1", "10.1.0.2")], true).unwrap();
    collector.stop(Signal::SIGINT)
}

fn network_policy() -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "shop", "name": "only-api"},
        "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "api"}}}], "ports": [{"port": 8080}]}]}})
}

fn of_cluster(kind: &str, version: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("policy.networking.k8s.io/{version}"), "kind": kind, "metadata": {"name": "no-shop"}, "spec": spec})
}

fn subject() -> Value {
    json!({"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}})
}

#[test]
fn the_policy_that_denies_is_named() {
    let peers = json!([{"namespaces": {}}]);
    let rule = json!([{"name": "none", "action": "Deny", "from": peers}]);
    let older = json!({"priority": 10, "subject": subject(), "ingress": rule});
    let newer =
        json!({"tier": "Admin", "priority": 10, "subject": subject(), "egress": [{"action": "Deny", "to": peers}]});
    for (policy, named, remedy) in [
        (network_policy(), "NetworkPolicy shop/only-api (ingress)", "apply the change"),
        (
            of_cluster("AdminNetworkPolicy", "v1alpha1", older.clone()),
            "AdminNetworkPolicy no-shop (ingress)",
            "administrator",
        ),
        (
            of_cluster("ClusterNetworkPolicy", "v1alpha2", newer),
            "ClusterNetworkPolicy no-shop (egress)",
            "administrator",
        ),
    ] {
        let server = small();
        // Most clusters have only some of the kinds.
        let kind = policy["kind"].as_str().expect("a kind").to_lowercase().replace("policy", "policies");
        let others = ["adminnetworkpolicies", "baselineadminnetworkpolicies", "clusternetworkpolicies"];
        let absent = others.into_iter().filter(|other| *other != kind).map(str::to_owned);
        server.faults(|faults| faults.absent.extend(absent));
        server.put(policy);
        let ended = capture(&server);
        let sentence = format!("{named} denies TCP port 8080 from shop/web (10.1.0.1) to shop/db (10.1.0.2).");
        assert!(
            ended.finished.stdout.contains(&format!("What went wrong:\n  {sentence}\n")),
            "{sentence}\n{}",
            ended.finished
        );
        assert!(!ended.finished.stdout.contains("Not known"), "{}", ended.finished);
        let row = |column: &str| -> String {
            let sql = format!("SELECT {column} FROM finding WHERE sentence = ?");
            ended.files().database().query_row(&sql, [&sentence], |row| row.get(0)).expect("the finding")
        };
        assert_eq!(row("certainty"), "follows from the cluster's objects");
        assert!(row("remedy").contains(remedy), "{}", row("remedy"));
        assert!(row("change").contains("8080"), "{}", row("change"));
    }
}

#[test]
fn what_the_collector_may_not_read_is_reported_as_not_known() {
    let server = small();
    server.put(network_policy());
    server.faults(|faults| faults.forbidden.extend(["networkpolicies".into()]));
    let ended = capture(&server);
    let text = &ended.finished.stdout;
    assert!(text.contains("What went wrong:\n  A packet filter dropped 3 packets"), "{}", ended.finished);
    assert!(!text.contains("only-api"), "{text}");
    let why = "the collector may not list networkpolicies.networking.k8s.io";
    assert!(
        text.contains(&format!("  Not known: what these decide: networkpolicies.networking.k8s.io: {why}.")),
        "{text}"
    );
    assert_eq!(ended.said("names_missing"), "");
}

#[test]
fn a_pod_that_was_deleted_meanwhile_is_still_judged() {
    let server = small();
    server.put(network_policy());
    let collector = Collector::start_with(&[], |run| run.env("NETOBSERV_KUBE_URL", server.url()));
    let agent = collector.client();
    agent.send("n1", vec![dropped("10.1.0.1", "10.1.0.2")], false).unwrap();
    server.delete("/api/v1/namespaces/shop/pods/web");
    // Once this one has its name, the collector knows of the other's end.
    server.put(pod("later", "10.1.0.7", 1));
    let is_known = netobserv_testkit::wait_for(support::SOON, || {
        agent.send("n1", vec![flow("10.1.0.7", "10.1.0.2", 0)], false).unwrap();
        collector.files().flows().iter().any(|flow| flow["SrcK8S_Name"] == "later")
    });
    assert!(is_known);
    agent.send("n1", Vec::new(), true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    assert!(ended.finished.stdout.contains("NetworkPolicy shop/only-api (ingress) denies"), "{}", ended.finished);
}
