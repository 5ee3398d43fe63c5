//! How a capture in a cluster ends when nobody reads it any more, and when the node of its collector stops.

mod cluster_world;

use std::fs;
use std::time::Duration;

use cluster_world::{A_MINUTE, NOTHING, Shop, capture, state};
use netobserv_test_cluster::Node;
use netobserv_testkit::proc::{Finished, Process, alive, binaries, children_of, signal};
use netobserv_testkit::{Signal, require_privileged, wait_for};

/// Longer than a plugin waits for anything of a node that has stopped.
const LONG: Duration = Duration::from_secs(240);

/// The plugin in bash, with what follows it on the line, while there is traffic. The exit code is the plugin's.
#[track_caller]
fn piped(shop: &Shop, words: &str, rest: &str) -> Finished {
    let line = format!("\"$0\" {words} {rest}; exit ${{PIPESTATUS[0]}}");
    let bash = shop.cluster.user("bash").args(["-c", &line]).arg(&binaries().plugin).own_group();
    shop.browse_until_end(bash.start())
}

/// `oc exec` would die of a broken pipe, and its program in the pod would go on with a pipe that is full.
#[test]
fn a_capture_of_a_cluster_ends_quietly_with_its_reader() {
    require_privileged!();
    let shop = Shop::open(1);
    for (words, reader) in [
        ("packets --all -w - --max-time=5m", "head -c 2000"),
        ("packets --protocol=TCP --port=8080 -w - --max-time=5m", "tshark -n -r - -c 5"),
        ("flows -o json --max-time=5m --copy=false", "head -n 3"),
    ] {
        let done = piped(&shop, words, &format!("| {reader}"));
        assert_eq!(done.code(), 0, "{words} | {reader}: {done}\n{}", shop.cluster.logs());
        for trouble in ["error", "SIGPIPE", "warning: cannot"] {
            assert!(!done.stderr.contains(trouble), "{words} | {reader}: {done}");
        }
        assert_eq!(shop.cluster.left_behind(), NOTHING, "{words} | {reader}: {done}");
    }
    let done = piped(&shop, "flows -o json --max-time=5m --copy=false", ">/dev/full");
    assert_eq!(done.code(), 1, "{done}");
    assert!(done.stderr.contains("error: cannot write standard output: No space left"), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// The `oc exec` that captures, below the plugin.
#[track_caller]
fn exec_of(plugin: &Process) -> i32 {
    let captures =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.contains("get-packets"));
    let found = children_of(plugin.pid()).into_iter().find(captures);
    found.unwrap_or_else(|| panic!("no oc exec: {}", plugin.stderr()))
}

/// The plugin and its `oc` are gone, and the runtime holds a pipe that nobody reads: the lease ends the capture all the same.
#[test]
fn a_full_pipe_without_a_reader_does_not_keep_a_capture_alive() {
    require_privileged!();
    let shop = Shop::open(1);
    let words = ["packets", "--all", "-w", "-", "--max-time=5m", "--lease=6s", "--keep=5m"];
    let plugin = capture(&shop, &words);
    shop.wait_capturing();
    let (exec, program) = (exec_of(&plugin), children_of(exec_of(&plugin)));
    [plugin.pid(), exec].iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
    assert!(wait_for(A_MINUTE, || !alive(exec)));
    // A pipe holds 64 KiB.
    shop.cluster.wait_until("an end of the capture", || {
        shop.ask();
        !program.iter().any(|pid| alive(*pid))
    });
    let done = shop.cluster.plugin(&["cleanup", "--force"]).start().wait(A_MINUTE);
    assert!(done.success(), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// What is left, but for what a stopped node cannot let go.
fn left_elsewhere(shop: &Shop, stopped: &Node) -> Vec<String> {
    let others = shop.cluster.nodes().iter().filter(|node| node.name != stopped.name);
    assert!(
        wait_for(A_MINUTE, || others.clone().all(|node| node.programs().is_empty())),
        "programs of agents are left"
    );
    let there = stopped.programs();
    shop.cluster.left_behind().into_iter().filter(|left| !there.contains(left)).collect()
}

#[test]
fn a_collector_whose_node_stops_is_reported_and_all_is_removed() {
    require_privileged!();
    let shop = Shop::open(2);
    let stopped = &shop.cluster.nodes()[0];
    let plugin = capture(&shop, &["flows", "--max-time=20s", "--timeout=30s", "--lease=12s", "--copy=true"]);
    shop.wait_capturing();
    shop.cluster.stop(stopped);
    let told = wait_for(A_MINUTE, || plugin.stderr().contains("warning: cannot renew the session"));
    assert!(told, "failed renewals are reported as they happen: {}", plugin.stderr());
    shop.cluster.miss(stopped);
    let done = plugin.wait(LONG);
    assert_eq!(done.code(), 1, "{done}");
    let error = "error: the collector no longer responds: node node1 is not ready; what it captured is out of reach";
    assert_eq!(done.stderr.lines().last(), Some(error), "{done}");
    assert!(done.stderr.contains("pod collector: node node1 is not ready"), "{done}");
    assert_eq!(left_elsewhere(&shop, stopped), NOTHING, "{done}");
}

#[test]
fn a_signal_ends_a_capture_on_a_stopped_node_and_cleanup_removes_it_once_the_node_is_missed() {
    require_privileged!();
    let shop = Shop::open(2);
    let stopped = &shop.cluster.nodes()[0];
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--timeout=30s", "--copy=true"]);
    shop.wait_capturing();
    shop.cluster.stop(stopped);
    plugin.signal_group(Signal::SIGTERM);
    // The cluster calls the node ready for the first minute.
    let done = plugin.wait(LONG);
    assert_eq!(done.code(), 1, "{done}");
    assert!(done.stderr.contains("node node1 does not answer"), "{done}");
    assert!(
        done.stderr.contains("left in the cluster: pod collector on node node1, which does not terminate"),
        "{done}"
    );
    let left = shop.cluster.left_behind();
    assert!(!left.iter().any(|left| left.starts_with("ClusterRole") || left.starts_with("DaemonSet")), "{left:?}");
    shop.cluster.miss(stopped);
    let done = shop.cluster.plugin(&["cleanup", "--force", "--timeout=5s"]).start().wait(LONG);
    assert!(done.success(), "{done}");
    assert!(done.stderr.contains("pod collector: node node1 is not ready"), "{done}");
    assert_eq!(left_elsewhere(&shop, stopped), NOTHING, "{done}");
    assert_eq!(state(&shop.cluster), "");
}
