//! The scenes of the article that began this project, for real: two nodes, a policy that keeps `nodejs` from its database until it is
//! corrected, and a wrong name. With `NETOBSERV_RECORD_SCENES=DIR` what was captured is kept, as scripts/record-scenes.sh
//! wants it: the collector's tests and the pictures play it.

mod cluster_world;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cluster_world::state;
use netobserv_test_cluster::scene::{Scene, WRONG_POLICY};
use netobserv_testkit::{Files, Signal, require_privileged, wait_for};
use serde_json::Value;

/// How long the policy is wrong, and then right.
const EACH: Duration = Duration::from_secs(12);
/// The flows between the pods: not those of the capture itself, and of no neighbour protocol.
fn flows(scene: &Scene) -> Vec<Value> {
    let files = Files::of(&scene.cluster.home().join("output"));
    let pods: Vec<String> = scene.workloads.iter().map(|pod| pod.address.to_string()).collect();
    let between = |flow: &Value| {
        ["SrcAddr", "DstAddr"].iter().all(|end| flow[*end].as_str().is_some_and(|end| pods.contains(&end.to_owned())))
    };
    files.flows().into_iter().filter(between).collect()
}

#[test]
fn the_scenes_of_the_article() {
    require_privileged!();
    let world = Scene::open(2);
    world.nft(WRONG_POLICY);
    let words = [
        "flows",
        "--enable_all",
        "--max-time=10m",
        "--protocol=TCP",
        "--ports=5432,8080",
        "or",
        "--protocol=UDP",
        "--port=53",
    ];
    let mut plugin = world.cluster.plugin(&words).own_group().start();
    world.cluster.wait_until("a capture", || plugin.ended() || state(&world.cluster) == "capturing");
    assert!(!plugin.ended(), "{}\n{}", plugin.wait(Duration::from_secs(1)), world.cluster.logs());
    passes(EACH);
    let (wrong_until, right_from) = world.correct().into_inner();
    passes(EACH);
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(Duration::from_secs(60));
    assert!(done.success(), "{done}\n{}", world.cluster.logs());

    let flows = flows(&world);
    let count = |wanted: &dyn Fn(&Value) -> bool| flows.iter().filter(|flow| wanted(flow)).count();
    let to_database = |flow: &Value| flow["SrcK8S_Name"] == "nodejs-1" && flow["DstK8S_Name"] == "postgresql-1";
    let cause = "SKB_DROP_REASON_NETFILTER_DROP";
    let dropped = |flow: &Value| to_database(flow) && flow["PktDropLatestDropCause"] == cause;
    let end = |flow: &Value| flow["TimeFlowEndMs"].as_u64().unwrap_or(0);
    assert!(count(&dropped) >= 5, "{} of {} flows are dropped", count(&dropped), flows.len());
    assert_eq!(
        count(&|flow| dropped(flow) && end(flow) > right_from + 1_000),
        0,
        "dropped after the policy was corrected"
    );
    let answered = |flow: &Value| flow["SrcK8S_Name"] == "postgresql-1" && flow["Bytes"].as_u64() > Some(1_000);
    assert_eq!(count(&|flow| answered(flow) && end(flow) < wrong_until), 0, "answered in spite of the policy");
    assert!(count(&answered) >= 5, "the database answers after the policy was corrected");
    let wrong =
        |flow: &Value| flow["DnsFlagsResponseCode"] == "NXDomain" && flow["DnsName"] == "postgres.sample-app.svc";
    assert!(
        count(&wrong) >= 5 && count(&|flow| flow["DnsFlagsResponseCode"] == "NoError") >= 5,
        "{} wrong",
        count(&wrong)
    );
    if let Some(folder) = std::env::var_os("NETOBSERV_RECORD_SCENES").map(PathBuf::from) {
        keep(&flows, &folder);
    }
}

/// One file a scene.
fn keep(flows: &[Value], folder: &Path) {
    let dns = |flow: &Value| flow["SrcPort"] == 53 || flow["DstPort"] == 53;
    let write = |name: &str, wanted: &dyn Fn(&Value) -> bool| {
        let lines: Vec<String> = flows.iter().filter(|flow| wanted(flow)).map(Value::to_string).collect();
        std::fs::write(folder.join(name), format!("[\n{}\n]\n", lines.join(",\n"))).expect("a folder for scenes");
    };
    write("policy-drop.json", &|flow| !dns(flow));
    write("nxdomain.json", &dns);
    write("nodejs.json", &|_| true);
}

/// Lets time pass: the pods do what they do.
fn passes(time: Duration) {
    let end = Instant::now() + time;
    let _ = wait_for(time + Duration::from_secs(1), || Instant::now() >= end);
}
