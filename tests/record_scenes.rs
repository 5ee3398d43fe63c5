//! The scenes of the article that began this project, for real: two nodes, a policy that keeps `nodejs` from its database until it is
//! corrected, and a wrong name. With `NETOBSERV_RECORD_SCENES=DIR` what was captured is kept, as scripts/record-scenes.sh
//! wants it: the collector's tests and the pictures play it.

mod cluster_world;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cluster_world::state;
use netobserv_test_cluster::scene::{Scene, WRONG_POLICY};
use netobserv_testkit::names::resolve;
use netobserv_testkit::{Files, LocalCapture, Netns, Signal, Veth, require_privileged, wait_for};
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

/// One machine with a server that answers curl, a download, names that exist and one that does not, a port that a firewall drops, one
/// without a listener, a scan and a ping: what each of them is in the findings.
#[test]
fn a_busy_machine() {
    const CLIENT: &str = "10.66.1.1";
    const SERVER: &str = "10.66.2.1";
    require_privileged!();
    let (client, server) = (Netns::new("client"), Netns::new("server"));
    let veth = Veth::with_neighbours(&client, &["10.66.1.1/16"], &server, &["10.66.2.1/16"]);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("small"), [b'x'; 3_000]).expect("a file");
    std::fs::write(folder.path().join("large"), vec![b'y'; 20_000_000]).expect("a file");
    let web = server.run("python3").args(["-m", "http.server", "8080", "--bind", SERVER]).dir(folder.path()).start();
    let curl = |url: &str| client.run("curl").args(["-s", "-o", "/dev/null", "--max-time", "30", url]).finish();
    let (small, large) = (format!("http://{SERVER}:8080/small"), format!("http://{SERVER}:8080/large"));
    assert!(wait_for(Duration::from_secs(30), || curl(&small).success()), "{}", web.stderr());
    let rules = "add table ip f; add chain ip f in { type filter hook input priority 0; }; add rule ip f in tcp dport 5432 drop";
    server.run("nft").arg(rules).output();
    let code = |name: &str| Some(if name.contains("typo") { 3 } else { 0 });
    let capture = LocalCapture::of(&client, &veth.a.name, &["--enable_all"]);
    let blocked = client.run("curl").args(["-s", "--max-time", "8", &format!("http://{SERVER}:5432/")]).start();
    for second in 0..8 {
        assert!(curl(&small).success() && curl(&large).success());
        assert!(!curl(&format!("http://{SERVER}:7002/")).success(), "no program listens there");
        resolve((&client, CLIENT), (&server, SERVER), &["shop.test", "db.shop.test", "typo.shop.test"], code);
        if second == 4 {
            let scan = "import socket,sys\nfor port in range(20000, 20150):\n    s = socket.socket(); s.settimeout(0.2)\n    s.connect_ex((sys.argv[1], port)); s.close()";
            assert!(client.run("python3").args(["-c", scan, SERVER]).finish().success());
        }
        assert!(client.run("ping").args(["-c", "3", "-i", "0.2", SERVER]).finish().success());
    }
    blocked.wait(Duration::from_secs(60));
    let ended = capture.stop();
    let ours = |flow: &Value| ["SrcAddr", "DstAddr"].iter().all(|end| flow[*end] == CLIENT || flow[*end] == SERVER);
    let mut flows: Vec<Value> = ended.files().flows().into_iter().filter(ours).collect();
    // Control groups are named by the machine on which this is recorded.
    for flow in flows.iter_mut().filter_map(Value::as_object_mut) {
        flow.retain(|field, _| !field.ends_with("Cgroup") && !field.ends_with("Container"));
    }
    let files = ended.files();
    for (kind, which) in [
        ("dropped-by-filter", "port = 5432"),
        ("refused", "port = 7002"),
        ("scan", "count = 150"),
        ("dns-no-name", "port = 53"),
    ] {
        let condition = format!("kind = '{kind}' AND {which}");
        assert_eq!(files.number(&format!("SELECT count(*) FROM finding WHERE {condition}")), 1, "{condition}");
    }
    let others = "kind NOT IN ('dropped-by-filter', 'refused', 'scan', 'dns-no-name') AND client LIKE '%10.66.1.1%'";
    assert_eq!(
        files.number(&format!("SELECT count(*) FROM finding WHERE {others}")),
        0,
        "a ping and downloads are no faults"
    );
    assert!(flows.iter().any(|flow| flow["SrcComm"] == "curl"), "the program is known");
    if let Some(folder) = std::env::var_os("NETOBSERV_RECORD_SCENES").map(PathBuf::from) {
        write(&folder, "machine.json", flows.iter());
    }
}

fn write<'a>(folder: &Path, name: &str, flows: impl Iterator<Item = &'a Value>) {
    let lines: Vec<String> = flows.map(Value::to_string).collect();
    std::fs::write(folder.join(name), format!("[\n{}\n]\n", lines.join(",\n"))).expect("a folder for scenes");
}

/// One file a scene.
fn keep(flows: &[Value], folder: &Path) {
    let dns = |flow: &Value| flow["SrcPort"] == 53 || flow["DstPort"] == 53;
    let write =
        |name: &str, wanted: &dyn Fn(&Value) -> bool| write(folder, name, flows.iter().filter(|flow| wanted(flow)));
    write("policy-drop.json", &|flow| !dns(flow));
    write("nxdomain.json", &dns);
    write("nodejs.json", &|_| true);
}

/// Lets time pass: the pods do what they do.
fn passes(time: Duration) {
    let end = Instant::now() + time;
    let _ = wait_for(time + Duration::from_secs(1), || Instant::now() >= end);
}
