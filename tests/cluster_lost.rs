//! What a capture in a cluster comes to when a part of it is gone: the user, the agents' network, the collector, the API
//! server. Each test says in what state things end.

mod cluster_world;

use std::fs;
use std::time::{Duration, Instant};

use cluster_world::{A_MINUTE, NOTHING, Shop, capture, files, inside};
use netobserv_test_cluster::Node;
use netobserv_testkit::proc::{Process, alive, children_of, signal};
use netobserv_testkit::{Files, Run, Signal, bpf, require_privileged, wait_for};
use serde_json::Value;

/// What the capture in the pod says of itself.
fn written_state(shop: &Shop) -> String {
    let text =
        inside::output(shop).and_then(|output| fs::read(output.join(".capture/state.json")).ok()).unwrap_or_default();
    let state: Value = serde_json::from_slice(&text).unwrap_or_default();
    state["state"].as_str().unwrap_or_default().to_owned()
}

/// A copy of the files in the pod, which need a path that does not lead through /proc.
fn kept_files(shop: &Shop) -> Files {
    let (from, to) = (inside::output(shop).expect("the pod").join("flow"), shop.cluster.home().join("kept/flow"));
    fs::create_dir_all(&to).expect("a folder");
    for entry in fs::read_dir(from).expect("the files").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
    Files::of(&shop.cluster.home().join("kept"))
}

/// Programs of agents at the interface that has the node's address.
fn hooks(node: &Node) -> usize {
    bpf::attached(&node.netns, node.bridge()).iter().filter(|program| program.is_ours()).count()
}

/// Programs of agents at all interfaces of this cluster.
fn programs(shop: &Shop) -> Vec<String> {
    let mut left = shop.cluster.left_behind();
    left.retain(|what| what.starts_with("Program/"));
    left
}

/// CPU that a process has used until now, all its threads.
fn spent(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    // utime and stime of proc_pid_stat(5), in hundredths of a second.
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// The `oc exec` that captures, below the plugin.
#[track_caller]
fn exec_of(plugin: &Process) -> i32 {
    let captures =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.contains("get-flows"));
    let found = children_of(plugin.pid()).into_iter().find(captures);
    found.unwrap_or_else(|| panic!("no oc exec: {}", plugin.stderr()))
}

#[test]
fn a_user_who_is_gone_leaves_nothing_behind() {
    require_privileged!();
    const KEEP: Duration = Duration::from_secs(20);
    let shop = Shop::open(1);
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--lease=4s", "--keep=20s"]);
    shop.wait_capturing();
    shop.wait_flows();
    assert_ne!(programs(&shop), NOTHING);
    let (exec, killed) = (exec_of(&plugin), Instant::now());
    plugin.signal(Signal::SIGKILL);
    signal(exec, Signal::SIGKILL);
    assert!(wait_for(A_MINUTE, || !alive(exec)));
    drop(plugin);
    // The lease runs out: the files are finished, and nobody needs the agents any more.
    shop.cluster.wait_until("finished files", || written_state(&shop) == "finished");
    let named = |flow: &Value| flow["SrcK8S_Name"] == "client-1" || flow["DstK8S_Name"] == "client-1";
    assert!(inside::flows(&shop).iter().any(named), "{}", shop.cluster.logs());
    kept_files(&shop).assert_whole();
    shop.cluster.wait_until("an end of the agents", || {
        let left = shop.cluster.left_behind();
        !left.iter().any(|left| left.starts_with("DaemonSet/") || left.starts_with("Program/"))
    });
    // The files are kept for a while, then everything goes.
    let gone = || !shop.cluster.left_behind().contains(&"Pod/collector".to_owned());
    shop.cluster.wait_until("an end of the collector", gone);
    assert!(killed.elapsed() >= KEEP, "the files were there for {:?}\n{}", killed.elapsed(), shop.cluster.logs());
    shop.cluster.wait_until("an empty cluster", || shop.cluster.left_behind() == NOTHING);
}

#[test]
fn an_agent_without_its_network_is_off_all_interfaces_until_it_is_back() {
    require_privileged!();
    let shop = Shop::open(2);
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--lease=4s", "--copy=true"]);
    shop.wait_capturing();
    let [near, far] = [&shop.cluster.nodes()[0], &shop.cluster.nodes()[1]];
    shop.cluster.wait_until("agents on both nodes", || hooks(near) == 2 && hooks(far) == 2);
    shop.cluster.unplug(far);
    shop.cluster.wait_until("an agent that has let go", || hooks(far) == 0);
    assert_eq!(hooks(near), 2, "the other node captures on");
    // It waits for the collector, and that costs next to nothing.
    let agent = shop.cluster.pid("netobserv-cli", "netobserv-cli-node2").expect("an agent");
    let (before, since) = (spent(agent), Instant::now());
    shop.cluster.wait_until("some seconds of this", || since.elapsed() > Duration::from_secs(4));
    let (spent, share) = (spent(agent).checked_sub(before).unwrap(), since.elapsed() / 20);
    assert!(spent < share, "an agent without a collector used {spent:?} in {:?}", since.elapsed());
    assert_eq!(hooks(far), 0);
    shop.cluster.plug(far);
    shop.cluster.wait_until("an agent at work again", || hooks(far) == 2);
    shop.browse(3);
    let seen = |flow: &Value| flow["AgentIP"] == far.address.to_string();
    shop.cluster.wait_until("flows of the node that is back", || inside::flows(&shop).iter().any(seen));
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let told = "  the agent of node2 did not reach the collector from 20";
    assert!(done.stdout.contains(told) && done.stdout.contains("lost: without an agent "), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// The other node captures on, and the end says since when nothing came of this one.
#[test]
fn a_node_that_is_gone_for_good_is_said() {
    require_privileged!();
    let shop = Shop::open(2);
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--copy=true"]);
    shop.wait_capturing();
    shop.wait_flows();
    shop.cluster.unplug(&shop.cluster.nodes()[1]);
    shop.cluster.wait_until("the screen's line", || plugin.stderr().contains("lost without an agent "));
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let told = "\n  nothing was heard of node2 from 20";
    assert!(done.stdout.contains(told) && done.stdout.contains(" to the end ("), "{done}");
    let saved =
        "SELECT count(*) FROM capture WHERE name = 'without_agent' AND value LIKE 'nothing was heard of node2 %'";
    assert_eq!(files(&shop).number(saved), 1, "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// Files of each process of the collector, in the order of their names.
fn all_files(shop: &Shop) -> Vec<Files> {
    let entries = fs::read_dir(shop.cluster.home().join("output/flow")).expect("a folder").flatten();
    let json = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let mut files: Vec<_> = json.map(|json| Files { db: json.with_extension("db"), json }).collect();
    files.sort_by_key(|files| files.json.file_stem().map(std::ffi::OsStr::len));
    files
}

/// Kills these processes of the collector's pod, waits until the capture goes on, and looks at the end and at all files.
#[track_caller]
fn goes_on_after(shop: &Shop, plugin: Process, victims: &[i32]) {
    victims.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
    shop.cluster.wait_until("a collector that goes on", || {
        let folder = inside::output(shop).and_then(|output| fs::read_dir(output.join("flow")).ok());
        let names = folder.into_iter().flatten().flatten().map(|entry| entry.file_name());
        let second = names.into_iter().any(|name| name.to_string_lossy().ends_with("-2.json"));
        second && written_state(shop) == "capturing"
    });
    let before = inside::flows_of(shop, "-2.json").len();
    shop.cluster.wait_until("flows after the kill", || {
        shop.ask();
        inside::flows_of(shop, "-2.json").len() > before + 1
    });
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    assert!(done.stderr.contains("warning: the collector was killed; restarting it"), "{done}");
    assert!(done.stdout.contains("the collector was killed and started again: it was away from 20"), "{done}");
    assert!(done.stdout.contains("in a killed collector up to 1s"), "{done}");
    let files = all_files(shop);
    assert_eq!(files.len(), 2, "{done}");
    for files in &files {
        files.assert_whole();
        assert!(!files.flows().is_empty(), "{done}");
    }
    let told = "SELECT count(*) FROM capture WHERE name = 'collector_killed' AND value IS NOT NULL";
    assert_eq!((files[0].number(told), files[1].number(told)), (0, 1), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

#[test]
fn a_killed_collector_goes_on_where_it_was() {
    require_privileged!();
    let shop = Shop::open(1);
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--copy=true"]);
    shop.wait_capturing();
    shop.wait_flows();
    let collector = inside::collector(&plugin);
    goes_on_after(&shop, plugin, &[collector]);
}

/// Memory that is used up may end the whole container: it is started again, and the files are still there.
#[test]
fn a_killed_container_comes_back_to_its_files() {
    require_privileged!();
    let shop = Shop::open(1);
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--copy=true"]);
    shop.wait_capturing();
    shop.wait_flows();
    let pod = shop.cluster.pid("netobserv-cli", "collector").expect("the pod");
    // As the kernel does when a container ends: its first process, and then all others.
    let collector = inside::collector(&plugin);
    goes_on_after(&shop, plugin, &[pod, collector]);
}

/// In the background nobody starts it again but the cluster.
#[test]
fn a_killed_container_in_the_background_captures_on() {
    require_privileged!();
    let shop = Shop::open(1);
    let started = shop.cluster.plugin(&["flows", "--background", "--max-time=5m"]).finish();
    assert!(started.success(), "{started}\n{}", shop.cluster.logs());
    shop.wait_capturing();
    shop.wait_flows();
    signal(shop.cluster.pid("netobserv-cli", "collector").expect("the pod"), Signal::SIGKILL);
    shop.cluster.wait_until("flows after the kill", || {
        shop.ask();
        inside::flows_of(&shop, "-2.json").len() > 1
    });
    for command in ["stop", "copy", "cleanup"] {
        let done = shop.cluster.plugin(&[command]).finish();
        assert!(done.success(), "{command}: {done}\n{}", shop.cluster.logs());
    }
    let files = all_files(&shop);
    assert_eq!(files.len(), 2);
    files.iter().for_each(Files::assert_whole);
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// That its memory was used up is no explanation for a pod that somebody deleted.
#[test]
fn a_deleted_pod_is_said_to_be_deleted_and_its_files_to_be_lost() {
    require_privileged!();
    let shop = Shop::open(1);
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--copy=true"]);
    shop.wait_capturing();
    let collector = inside::collector(&plugin);
    let pod = shop.cluster.pid("netobserv-cli", "collector").expect("the pod");
    shop.cluster.oc("delete pod collector -n netobserv-cli --wait=false");
    [pod, collector].iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
    let done = plugin.wait(A_MINUTE);
    assert_ne!(done.code(), 0, "{done}");
    assert!(done.stderr.contains("the pod of the collector was deleted"), "{done}");
    assert!(!done.stderr.contains("memory"), "{done}");
    assert!(done.stderr.contains("the pod of the collector is gone, and its files with it"), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// What is known stays known, what comes meanwhile is missing, and that is said where the flows are.
#[test]
fn without_the_api_server_the_capture_goes_on_and_says_what_is_missing() {
    require_privileged!();
    let shop = Shop::open(1);
    let started = shop.cluster.plugin(&["flows", "--background", "--max-time=5m"]).finish();
    assert!(started.success(), "{started}\n{}", shop.cluster.logs());
    shop.wait_capturing();
    shop.wait_flows();
    shop.cluster.api().down();
    let before = inside::flows(&shop).len();
    let late = shop.cluster.deploy("shop", "late", 0);
    shop.cluster.wait_until("more flows", || {
        shop.ask();
        late.netns.run("ping").args(["-c", "1", "-w", "1", "10.77.0.1"]).finish();
        let flows = inside::flows(&shop);
        flows.len() > before + 4 && flows.iter().any(|flow| flow["SrcAddr"] == late.address.to_string())
    });
    // As `stop` does, which would need the API server to get there.
    let pod = shop.cluster.pid("netobserv-cli", "collector").expect("the pod").to_string();
    let words = ["--target", &pod, "--mount", "--root", "--wd", "--", "/network-observability-cli", "finish"];
    let finished = Run::new("nsenter").args(words).finish();
    assert!(finished.success(), "{finished}\n{}", shop.cluster.logs());
    assert_eq!(written_state(&shop), "finished");
    shop.cluster.fabric().enter(|| shop.cluster.api().up());
    let copied = shop.cluster.plugin(&["copy"]).finish();
    assert!(copied.success(), "{copied}\n{}", shop.cluster.logs());
    files(&shop).assert_whole();
    let of = |condition: String| files(&shop).number(&format!("SELECT count(*) FROM flow WHERE {condition}"));
    assert!(of("SrcK8S_Name = 'client-1' AND DstK8S_Name = 'server-1'".into()) > 2);
    assert_eq!(of(format!("SrcAddr = '{}' AND SrcK8S_Name IS NOT NULL", late.address)), 0, "who told its name?");
    let told = "SELECT count(*) FROM capture WHERE name = 'names_missing' AND value LIKE '%changes of pods: %'";
    assert_eq!(files(&shop).number(told), 1, "{}", shop.cluster.logs());
    let pods = "  names may be missing, changes of pods: ";
    assert!(shop.cluster.logs().contains(pods), "{}", shop.cluster.logs());
    let done = shop.cluster.plugin(&["cleanup"]).finish();
    assert!(done.success(), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// What came while nobody could be asked has its name in the files in the end.
#[test]
fn names_are_made_up_for_when_the_api_server_is_back() {
    require_privileged!();
    let shop = Shop::open(1);
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--lease=2m", "--copy=true"]);
    shop.wait_capturing();
    shop.wait_flows();
    shop.cluster.api().down();
    let late = shop.cluster.deploy("shop", "late", 0);
    shop.cluster.wait_until("a flow of the new pod", || {
        late.netns.run("ping").args(["-c", "1", "-w", "1", "10.77.0.1"]).finish();
        inside::flows(&shop).iter().any(|flow| flow["SrcAddr"] == late.address.to_string())
    });
    let before = shop.cluster.api().requests().len();
    shop.cluster.fabric().enter(|| shop.cluster.api().up());
    shop.cluster.wait_until("a watch of pods", || {
        let requests = shop.cluster.api().requests().split_off(before);
        requests.iter().any(|request| request.starts_with("GET /api/v1/pods?") && request.contains("watch"))
    });
    // The change is on its way for a moment: flows of the pod that are written from now on show that it has arrived.
    shop.cluster.wait_until("the name of the new pod", || {
        late.netns.run("ping").args(["-c", "1", "-w", "1", "10.77.0.1"]).finish();
        inside::flows(&shop).iter().any(|flow| flow["SrcK8S_Name"] == "late-1")
    });
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    files(&shop).assert_whole();
    let of = |condition: String| files(&shop).number(&format!("SELECT count(*) FROM flow WHERE {condition}"));
    assert_eq!(of(format!("SrcAddr = '{}' AND SrcK8S_Name IS NULL", late.address)), 0, "{}", shop.cluster.logs());
    let told = "SELECT count(*) FROM capture WHERE name = 'names_missing' AND value LIKE '%changes of pods: %'";
    assert_eq!(files(&shop).number(told), 0, "{}", shop.cluster.logs());
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}
