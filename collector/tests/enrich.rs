//! Names of the cluster in the files, with an API server on its good and bad days.

mod support;

use std::time::{Duration, Instant};

use chrono::Utc;
use netobserv_test_apiserver::Server;
use netobserv_testkit::{Signal, wait_for};
use serde_json::{Value, json};
use support::cluster::{flow, node, pod, pod_since, replica_set, service, small};
use support::{Client, Collector, Ended, SOON};

/// A collector that gets its names from this server.
#[track_caller]
fn collector(server: &Server, words: &[&str]) -> Collector {
    Collector::start_with(words, |run| run.env("NETOBSERV_KUBE_URL", server.url()))
}

/// Flows from A to B until one of them has a name for B, which it returns.
#[track_caller]
fn until_named(collector: &Collector, agent: &Client, src: &str, dst: &str, name: &str) -> Value {
    let mut sent = 0;
    let mut last = Value::Null;
    let named = wait_for(SOON, || {
        agent.send("n1", vec![flow(src, dst, 0)], false).unwrap();
        sent += 1;
        let flows = collector.files().flows();
        last = flows.into_iter().rfind(|flow| flow["DstAddr"] == dst).unwrap_or_default();
        last["DstK8S_Name"] == name
    });
    assert!(named, "after {sent} flows: {last}");
    last
}

/// What the columns of a database row say, for a source and a destination.
fn rows(ended: &Ended, columns: &str, dst: &str) -> Vec<String> {
    let sql = format!("SELECT {columns} FROM flow WHERE DstAddr = '{dst}' ORDER BY rowid");
    let db = ended.files().database();
    let mut select = db.prepare(&sql).unwrap();
    let rows = select.query_map([], |row| Ok(row.get::<_, Option<String>>(0)?.unwrap_or_default())).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn both_ends_have_names_owners_hosts_and_zones() {
    let server = small();
    let collector = collector(&server, &["--subnets", "Pods=10.1.0.0/16"]);
    let agent = collector.client();
    agent.send("n1", vec![flow("10.1.0.1", "10.1.0.2", 0), flow("10.1.0.1", "172.30.0.9", 0)], true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    let flows = ended.files().flows();
    let names = json!({
        "SrcK8S_Name": "web", "SrcK8S_Namespace": "shop", "SrcK8S_Type": "Pod", "SrcK8S_OwnerName": "web", "SrcK8S_OwnerType": "Deployment",
        "SrcK8S_HostIP": "10.0.0.1", "SrcK8S_HostName": "node-1", "SrcK8S_Zone": "zone-1", "SrcK8S_NetworkName": "primary",
        "SrcSubnetLabel": "Pods", "DstK8S_Name": "db", "DstK8S_OwnerName": "db", "DstK8S_OwnerType": "Deployment",
        "DstK8S_HostName": "node-2", "DstK8S_Zone": "zone-2", "DstSubnetLabel": "Pods", "FlowDirection": 1, "K8S_FlowLayer": "app",
    });
    for (name, value) in names.as_object().unwrap() {
        assert_eq!(&flows[0][name], value, "{name}");
    }
    assert_eq!(flows[1]["DstK8S_Type"], "Service");
    assert_eq!((&flows[1]["DstK8S_Name"], &flows[1]["DstSubnetLabel"]), (&json!("front"), &Value::Null));
    assert_eq!(rows(&ended, "SrcK8S_OwnerName || DstK8S_Zone || FlowDirection", "10.1.0.2"), ["webzone-21"]);
    assert_eq!(ended.said("names_missing"), "");
    assert!(!ended.finished.stdout.contains("names may be missing"), "{}", ended.finished);
}

#[test]
fn names_follow_what_is_added_changed_and_deleted() {
    let server = small();
    server.put(replica_set("cache"));
    let collector = collector(&server, &[]);
    let agent = collector.client();
    server.put(pod("cache", "10.1.0.7", 2));
    let named = until_named(&collector, &agent, "10.1.0.1", "10.1.0.7", "cache");
    assert_eq!(named["DstK8S_OwnerType"], "Deployment");
    server.patch(
        "/api/v1/namespaces/shop/pods/cache",
        &json!({"status": {"podIP": "10.1.0.8", "podIPs": [{"ip": "10.1.0.8"}]}}),
    );
    until_named(&collector, &agent, "10.1.0.1", "10.1.0.8", "cache");
    server.put(service("back", "172.30.0.10"));
    until_named(&collector, &agent, "10.1.0.1", "172.30.0.10", "back");
    server.put(node(3));
    until_named(&collector, &agent, "10.1.0.1", "10.0.0.3", "node-3");
    server.delete("/api/v1/namespaces/shop/pods/db");
    // Once the pod is gone, flows that begin later have no name, and one that began before still has.
    let gone = wait_for(SOON, || {
        agent.send("n1", vec![flow("10.1.0.1", "10.1.0.2", 0)], false).unwrap();
        let flows = collector.files().flows();
        flows.iter().rfind(|flow| flow["DstAddr"] == "10.1.0.2").is_some_and(|flow| flow["DstK8S_Name"].is_null())
    });
    assert!(gone, "a pod that is gone keeps no address");
    agent.send("n1", vec![flow("10.1.0.1", "10.1.0.2", 60_000)], true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    assert_eq!(ended.files().flows().last().unwrap()["DstK8S_Name"], "db");
    ended.files().assert_whole();
}

#[test]
fn an_address_that_is_used_again_is_named_by_who_held_it() {
    let server = small();
    let collector = collector(&server, &[]);
    let agent = collector.client();
    server.delete("/api/v1/namespaces/shop/pods/db");
    server.put_all([replica_set("heir"), pod_since("heir", "10.1.0.2", 1, Utc::now() + chrono::Duration::seconds(1))]);
    until_named(&collector, &agent, "10.1.0.1", "10.1.0.2", "heir");
    agent.send("n1", vec![flow("10.1.0.1", "10.1.0.2", 30_000), flow("10.1.0.1", "10.1.0.2", 0)], true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    let names = rows(&ended, "DstK8S_OwnerName", "10.1.0.2");
    assert_eq!(names[names.len() - 2..], ["db", "heir"]);
}

#[test]
fn what_the_server_forgot_is_listed_again() {
    let server = small();
    let collector = collector(&server, &[]);
    let agent = collector.client();
    until_named(&collector, &agent, "10.1.0.1", "10.1.0.2", "db");
    // While nobody looks, a pod goes and another comes; then the watches cannot go on.
    server.down();
    server.delete("/api/v1/namespaces/shop/pods/db");
    server.put_all([replica_set("heir"), pod_since("heir", "10.1.0.2", 1, Utc::now())]);
    server.forget_history();
    server.up();
    until_named(&collector, &agent, "10.1.0.1", "10.1.0.2", "heir");
    server.put_all([pod("more", "10.1.0.11", 1)]);
    server.expire_watches();
    until_named(&collector, &agent, "10.1.0.1", "10.1.0.11", "more");
    agent.send("n1", vec![flow("10.1.0.1", "10.1.0.2", 60_000)], true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    assert_eq!(ended.files().flows().last().unwrap()["DstK8S_Name"], "db", "what is gone is not forgotten");
}

#[test]
fn names_that_come_late_are_in_both_files_at_the_end() {
    let server = small();
    server.down();
    let started = Instant::now();
    let collector = collector(&server, &[]);
    assert!(started.elapsed() >= Duration::from_secs(1), "it gives the API server some time");
    let agent = collector.client();
    let flows: Vec<_> =
        (0..500).map(|_| flow("10.1.0.1", "10.1.0.2", 0)).chain([flow("8.8.8.8", "10.1.0.1", 0)]).collect();
    let sent = flows.len();
    agent.send("n1", flows, false).unwrap();
    collector.wait_for_flows(sent);
    assert!(collector.files().flows().iter().all(|flow| flow["SrcK8S_Name"].is_null()));
    server.up();
    until_named(&collector, &agent, "10.1.0.2", "10.1.0.1", "web");
    until_named(&collector, &agent, "10.1.0.1", "10.1.0.2", "db");
    agent.send("n1", Vec::new(), true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    let flows = ended.files().flows();
    let missing = flows.iter().filter(|flow| flow["DstK8S_OwnerName"].is_null() || flow["DstK8S_Zone"].is_null());
    assert_eq!(missing.count(), 0, "{}", ended.finished);
    let both = "SELECT count(*) FROM flow WHERE DstK8S_OwnerType = 'Deployment' AND DstK8S_Zone LIKE 'zone-%' AND FlowDirection IS NOT NULL";
    assert_eq!(ended.files().number(both), flows.len() as u64);
    assert_eq!(flows.len() as u64, ended.files().rows());
    assert_eq!(ended.said("names_missing"), "");
    ended.files().assert_whole();
    assert_eq!(std::fs::read_dir(ended.files().db.parent().unwrap()).unwrap().count(), 2, "no copy is left");
}

#[test]
fn a_server_that_never_answers_is_told_and_the_capture_goes_on() {
    let server = small();
    server.down();
    let collector = collector(&server, &[]);
    collector.client().send("n1", vec![flow("10.1.0.1", "10.1.0.2", 0)], true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    assert_eq!(ended.files().flows().len(), 1);
    assert!(ended.finished.stdout.contains("names may be missing, pods: "), "{}", ended.finished);
    assert!(ended.said("names_missing").contains("services: "), "{}", ended.said("names_missing"));
    let warnings = ended.finished.stderr.matches("names of pods may be missing").count();
    assert_eq!(warnings, 1, "told once: {}", ended.finished);
}

#[test]
fn a_kind_that_is_forbidden_is_told_and_the_others_have_names() {
    let server = small();
    server.faults(|faults| faults.forbidden.extend(["services".to_owned(), "replicasets".to_owned()]));
    let started = Instant::now();
    let collector = collector(&server, &[]);
    let start = started.elapsed();
    let agent = collector.client();
    agent.send("n1", vec![flow("10.1.0.1", "10.1.0.2", 0), flow("10.1.0.1", "172.30.0.9", 0)], true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    let flows = ended.files().flows();
    assert_eq!((&flows[0]["DstK8S_Name"], &flows[0]["DstK8S_OwnerName"]), (&json!("db"), &json!("db-rs")));
    assert_eq!(flows[1]["DstK8S_Name"], Value::Null);
    let missing =
        "services: the collector may not list services; replicasets.apps: the collector may not list replicasets.apps";
    assert_eq!(ended.said("names_missing"), missing);
    println!("start with two forbidden kinds: {start:?}");
}

#[test]
fn a_slow_server_holds_nothing_up_for_long() {
    let server = small();
    server.faults(|faults| faults.delay = Duration::from_secs(3));
    let collector = collector(&server, &[]);
    let agent = collector.client();
    agent.send("n1", vec![flow("10.1.0.1", "10.1.0.2", 0)], false).unwrap();
    collector.wait_for_flows(1);
    until_named(&collector, &agent, "10.1.0.1", "10.1.0.2", "db");
    agent.send("n1", Vec::new(), true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    assert!(ended.files().flows().iter().all(|flow| flow["DstK8S_Name"] == "db"));
}

#[test]
fn a_thousand_pods_are_named_from_the_first_flow_on() {
    let server = small();
    server.put_all((0..1_000).map(|number| replica_set(&format!("p{number}"))));
    server.put_all(
        (0..1_000).map(|number| pod(&format!("p{number}"), &format!("10.2.{}.{}", number / 250, number % 250 + 1), 1)),
    );
    let started = Instant::now();
    let collector = collector(&server, &[]);
    let agent = collector.client();
    let records = (0..1_000).map(|number| flow("10.1.0.1", &format!("10.2.{}.{}", number / 250, number % 250 + 1), 0));
    agent.send("n1", records.collect(), true).unwrap();
    collector.wait_for_flows(1_000);
    println!("from the start to 1,000 named flows in the file: {:?}", started.elapsed());
    assert!(collector.files().flows().iter().all(|flow| flow["DstK8S_OwnerType"] == "Deployment"));
    let pages =
        server.requests().iter().filter(|request| request.contains("/pods?") && request.contains("continue=")).count();
    assert_eq!(pages, 2, "{:?}", server.requests());
    collector.stop(Signal::SIGINT);
}

#[test]
fn a_late_name_and_a_kill_leave_whole_files() {
    let server = small();
    let collector = collector(&server, &[]);
    let agent = collector.client();
    agent.send("n1", vec![flow("10.1.0.1", "10.1.0.9", 0)], false).unwrap();
    collector.wait_for_flows(1);
    server.put(pod("late", "10.1.0.9", 1));
    until_named(&collector, &agent, "10.1.0.1", "10.1.0.9", "late");
    collector.process.signal(Signal::SIGKILL);
    let ended = collector.ended();
    ended.files().assert_whole();
    assert!(ended.files().flows()[0]["DstK8S_Name"].is_null(), "a kill leaves no time for late names");
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_late_names() {
    const FLOWS: usize = 40_000;
    let server = small();
    let mut collector = collector(&server, &[]);
    let agent = collector.client();
    for _ in 0..20 {
        agent.send("n1", vec![flow("10.1.0.1", "10.1.0.9", 0); FLOWS / 20], false).unwrap();
    }
    collector.wait_for_flows(FLOWS);
    server.put(pod("late", "10.1.0.9", 1));
    until_named(&collector, &agent, "10.1.0.1", "10.1.0.9", "late");
    agent.send("n1", Vec::new(), true).unwrap();
    collector.process.signal(Signal::SIGINT);
    // While names are filled in, a copy of the file stands beside it.
    let folder = collector.files().json.parent().unwrap().to_owned();
    let is_copy = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".names");
    let filling = || std::fs::read_dir(&folder).unwrap().flatten().any(is_copy);
    assert!(wait_for(SOON, || filling() || collector.process.ended()));
    collector.process.signal(Signal::SIGINT);
    let ended = collector.ended();
    assert!(ended.finished.success(), "{}", ended.finished);
    ended.files().assert_whole();
    let unnamed = ended.files().flows().iter().filter(|flow| flow["DstK8S_Name"].is_null()).count();
    assert_eq!(ended.said("unnamed_json_flows"), unnamed.to_string(), "{}", ended.finished);
    let unnamed = ended.files().number("SELECT count(*) FROM flow WHERE DstK8S_Name IS NULL");
    assert_eq!(ended.said("unnamed_sqlite_flows"), unnamed.to_string(), "{}", ended.finished);
    assert!(
        ended.finished.stdout.contains("names came late, and the time to fill them in did not do"),
        "{}",
        ended.finished
    );
    assert!(ended.files().flows().len() > FLOWS && !filling());
}
