//! Faults in the middle of a capture in a cluster: each test does one thing to it, and says what the user sees, what is in
//! the files, and that nothing is left in the cluster. `docs/faults.md` has them as a table.

mod cluster_world;

use std::path::Path;

use cluster_world::clock::Clocks;
use cluster_world::{A_MINUTE, NOTHING, Shop, capture, files, inside, state};
use netobserv_testkit::proc::signal;
use netobserv_testkit::tmpfs::Tmpfs;
use netobserv_testkit::wait::now_ms;
use netobserv_testkit::{Blast, Dice, Files, Run, Signal, require_privileged, wait_for};
use serde_json::Value;

const CAPTURE: [&str; 3] = ["flows", "--max-time=5m", "--copy=true"];
/// What [`Blast`] sends, at the node where it is sent.
const BLASTED: &str = "AgentIP = '10.77.1.1' AND Proto = 17 AND DstPort = 53000";

/// Whether a flow was seen on this node, and began at a time for which `time` holds.
fn seen(flow: &Value, node: &str, time: impl Fn(i64) -> bool) -> bool {
    flow["AgentIP"] == node && flow["TimeFlowStartMs"].as_i64().is_some_and(time)
}

#[test]
fn a_killed_agent_is_started_again_and_what_it_took_along_is_told() {
    require_privileged!();
    let mut dice = Dice::of("a_killed_agent_is_started_again_and_what_it_took_along_is_told");
    let shop = Shop::cast(&mut dice);
    let (node, address) = (shop.last(), shop.last().address.to_string());
    let victim = format!("netobserv-cli-{}", node.name);
    let plugin = capture(&shop, &CAPTURE);
    shop.wait_capturing();
    let comes = |what: &str, since: i64| {
        shop.cluster.wait_until(what, || {
            shop.ask();
            inside::flows(&shop).iter().any(|flow| seen(flow, &address, |start| start > since))
        });
    };
    comes("flows of the node", 0);
    std::thread::sleep(dice.millis(0..=1_000)); // The moment of the fault.
    let (programs, pid) = (node.programs(), shop.cluster.pid("netobserv-cli", &victim));
    signal(pid.expect("an agent"), Signal::SIGKILL);
    shop.cluster.wait_until("another agent in its place", || {
        let other = shop.cluster.pid("netobserv-cli", &victim);
        other.is_some() && other != pid && node.programs() == programs
    });
    comes("flows of the new agent", now_ms().cast_signed());
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let told = "1 agents broke off and were restarted: flows of the moments between are missing";
    assert!(done.stdout.contains(told), "{done}");
    assert!(done.stdout.contains(&format!("\n  {} had no agent from 20", node.name)), "{done}");
    assert_eq!(files(&shop).number("SELECT value FROM capture WHERE name = 'agents_started_anew'"), 1);
    files(&shop).assert_whole();
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// An eviction, a drain, somebody's `oc delete pod`: the agent says that nothing follows, and another one begins.
#[test]
fn an_agent_that_is_replaced_leaves_a_hole_and_that_is_said() {
    require_privileged!();
    let shop = Shop::open(2);
    let (node, address) = (shop.last(), shop.last().address.to_string());
    let victim = format!("netobserv-cli-{}", node.name);
    let plugin = capture(&shop, &CAPTURE);
    shop.wait_capturing();
    let comes = |what: &str, since: i64| {
        shop.cluster.wait_until(what, || {
            shop.ask();
            inside::flows(&shop).iter().any(|flow| seen(flow, &address, |start| start > since))
        });
    };
    comes("flows of the node", 0);
    let (programs, pid) = (node.programs(), shop.cluster.pid("netobserv-cli", &victim));
    shop.cluster.oc(&format!("delete pod {victim} -n netobserv-cli --wait=false"));
    shop.cluster.wait_until("another agent in its place", || {
        let other = shop.cluster.pid("netobserv-cli", &victim);
        other.is_some() && other != pid && node.programs() == programs
    });
    comes("flows of the new agent", now_ms().cast_signed());
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let told = format!("\n  {} had no agent from 20", node.name);
    assert!(done.stdout.contains(&told), "{done}");
    assert!(done.stdout.contains("  lost: without an agent "), "{done}");
    let saved = "SELECT count(*) FROM capture WHERE name = 'without_agent' AND value LIKE 'node2 had no agent from %'";
    assert_eq!(files(&shop).number(saved), 1, "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// The terminal with all of its programs is killed at each step, a random time after it began.
#[test]
fn after_a_kill_at_any_step_cleanup_leaves_nothing_and_the_next_capture_works() {
    require_privileged!();
    let mut dice = Dice::of("after_a_kill_at_any_step_cleanup_leaves_nothing_and_the_next_capture_works");
    let shop = Shop::open(1);
    for step in ["Namespace/", "ClusterRole/", "DaemonSet/", "Pod/collector", "Executing collector", "Copying"] {
        let plugin = capture(&shop, &["flows", "--max-time=2s", "--copy=true"]);
        shop.cluster.wait_until(step, || {
            plugin.stdout().contains(step) || shop.cluster.left_behind().iter().any(|left| left.starts_with(step))
        });
        std::thread::sleep(dice.millis(0..=400)); // The moment of the fault.
        plugin.signal_group(Signal::SIGKILL);
        drop(plugin);
        let done = shop.cluster.plugin(&["cleanup", "--force"]).start().wait(A_MINUTE);
        assert!(done.success(), "{step}: {done}\n{}", shop.cluster.logs());
        assert_eq!(shop.cluster.left_behind(), NOTHING, "{step}: {done}");
        // A pod that was deleted in the moment of its start ends a moment later, as with a real kubelet.
        shop.cluster.wait_until("no process", || !shop.cluster.world().has_process("netobserv-cli", None));
    }
    let done = shop.browse_until_end(capture(&shop, &["flows", "--max-time=3s", "--output-dir=last", "--copy=true"]));
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    assert!(Files::of(&shop.cluster.home().join("last")).rows() > 0, "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

#[test]
fn clocks_that_are_set_change_times_and_nothing_else() {
    require_privileged!();
    let mut dice = Dice::of("clocks_that_are_set_change_times_and_nothing_else");
    let shop = Shop::open(2);
    let clocks = Clocks::install(&shop.cluster);
    let plugin = capture(&shop, &CAPTURE);
    shop.wait_capturing();
    shop.wait_flows();
    // Back on one node, as when a wrong clock is put right; on that of the collector to either side.
    let back = dice.number(180..=3_000).cast_signed();
    let collector = if dice.number(0..=1) == 0 { back } else { -back };
    clocks.set("netobserv-cli-node2", -back);
    clocks.set("collector", collector);
    let (near, far, half) = ("10.77.1.1", "10.77.2.1", now_ms().cast_signed() - back * 500);
    shop.cluster.wait_until("flows by the clock that was set back", || {
        shop.ask();
        inside::flows(&shop).iter().any(|flow| seen(flow, far, |start| start < half))
    });
    let set = now_ms().cast_signed();
    shop.cluster.wait_until("flows by the clock that was not", || {
        shop.ask();
        inside::flows(&shop).iter().any(|flow| seen(flow, near, |start| start >= set))
    });
    assert_eq!(state(&shop.cluster), "capturing");
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success() && done.stdout.contains("lost: nothing"), "{done}\n{}", shop.cluster.logs());
    // How long it took is not told by the clock that was set.
    assert!(!done.stdout.contains("Captured for 3h") && done.stdout.contains("Captured for "), "{done}");
    let files = files(&shop);
    files.assert_whole();
    assert_eq!(files.rows(), files.flows().len() as u64);
    // Pods that are older than the jump keep their names.
    let by_old_clock = format!("AgentIP = '{far}' AND TimeFlowStartMs < {half} AND DstPort = 8080");
    let count = |condition: &str| files.number(&format!("SELECT count(*) FROM flow WHERE {condition}"));
    assert!(count(&by_old_clock) > 0, "{done}");
    assert_eq!(count(&format!("{by_old_clock} AND DstK8S_Name = 'server-1'")), count(&by_old_clock));
    let received =
        files.number("SELECT max(abs(TimeReceived - TimeFlowEndMs / 1000)) FROM flow WHERE AgentIP = '10.77.1.1'");
    assert!(received.abs_diff(back.cast_unsigned()) < 60, "times of arrival are the collector's: {received} of {back}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

#[test]
fn a_full_disk_in_the_pod_ends_the_capture_and_what_fits_comes_home() {
    require_privileged!();
    let mut dice = Dice::of("a_full_disk_in_the_pod_ends_the_capture_and_what_fits_comes_home");
    let disk = Tmpfs::new(usize::try_from(dice.number(1 << 20..=4 << 20)).expect("a size"));
    let shop = Shop::open(1);
    shop.cluster.mount("output", disk.path());
    let mut plugin = capture(&shop, &CAPTURE);
    shop.wait_capturing();
    let mut net = 0;
    shop.cluster.wait_until("an end without a disk", || {
        net += 1;
        Blast { flows: 5_000, net, ..Blast::default() }.run(&shop.client.netns, "eth0");
        plugin.ended()
    });
    let done = plugin.wait(A_MINUTE);
    assert_eq!(done.code(), 1, "{done}\n{}", shop.cluster.logs());
    let error = done.stderr.lines().last().unwrap_or_default();
    assert!(
        error.starts_with("error: the capture ended with exit code 1") && error.contains("No space left"),
        "{done}"
    );
    files(&shop).assert_whole();
    assert!(!files(&shop).flows().is_empty(), "{done}");
    assert!(done.stdout.contains("lost: not in the "), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

#[test]
fn a_full_disk_here_leaves_the_files_in_the_pod_for_another_copy() {
    require_privileged!();
    let disk = Tmpfs::new(256 << 10);
    let shop = Shop::open(1);
    let option = format!("--output-dir={}", disk.path().join("output").display());
    let plugin = capture(&shop, &["flows", "--max-bytes=1500000", "--copy=true", &option]);
    shop.wait_capturing();
    shop.wait_flows();
    Blast { flows: 5_000, ..Blast::default() }.run(&shop.client.netns, "eth0");
    let done = plugin.wait(A_MINUTE);
    assert_eq!(done.code(), 1, "{done}\n{}", shop.cluster.logs());
    let error = done.stderr.lines().last().unwrap_or_default();
    for words in
        ["error: cannot write ", "No space left", "the collector still has them: 'oc netobserv copy' tries again"]
    {
        assert!(error.contains(words), "{words}: {done}");
    }
    let left = shop.cluster.left_behind();
    assert!(left.contains(&"Pod/collector".to_owned()), "{left:?}");
    assert!(!left.iter().any(|left| left.starts_with("DaemonSet/") || left.starts_with("Program/")), "{left:?}");
    let folder = disk.path().join("output/flow");
    let names = || -> Vec<_> {
        let entries = std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("a file").file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    assert!(names().iter().any(|name| name.contains(".part")), "what came is kept: {:?}", names());

    assert!(Run::new("mount").args(["-o", "remount,size=64M"]).arg(disk.path()).finish().success());
    let done = shop.cluster.plugin(&["copy", &option]).start().wait(A_MINUTE);
    assert!(done.success(), "{done}");
    let files = Files::of(&disk.path().join("output"));
    files.assert_whole();
    assert!(files.number(&format!("SELECT count(*) FROM flow WHERE {BLASTED}")) > 0);
    assert!(!names().iter().any(|name| name.contains(".part")), "{:?}", names());
    assert!(shop.cluster.plugin(&["cleanup"]).start().wait(A_MINUTE).success());
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// The collector stands still: agents count for longer, and nothing is lost.
#[test]
fn a_collector_that_stands_still_makes_agents_count_for_longer() {
    require_privileged!();
    let mut dice = Dice::of("a_collector_that_stands_still_makes_agents_count_for_longer");
    let shop = Shop::open(1);
    let plugin = capture(&shop, &CAPTURE);
    shop.wait_capturing();
    shop.wait_flows();
    let collector = inside::collector(&plugin);
    signal(collector, Signal::SIGSTOP);
    let flows = u32::try_from(dice.number(30_000..=40_000)).expect("a number of flows");
    let blast = Blast { flows, rounds: 4, rate: Some(40_000), ..Blast::default() };
    let sent = blast.run(&shop.client.netns, "eth0");
    let slower = || shop.cluster.logs().contains("records wait to be sent");
    let told = wait_for(A_MINUTE, slower);
    signal(collector, Signal::SIGCONT);
    assert!(told, "{}", shop.cluster.logs());
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success() && done.stdout.contains("1 agents counted for up to"), "{done}\n{}", shop.cluster.logs());
    assert!(done.stdout.contains("lost: nothing"), "{done}\n{}", shop.cluster.logs());
    assert_eq!(files(&shop).sum(BLASTED).packets, sent.packets, "{done}\n{}", shop.cluster.logs());
    files(&shop).assert_whole();
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

#[test]
fn of_two_who_begin_together_one_captures_and_the_other_harms_nobody() {
    require_privileged!();
    let mut dice = Dice::of("of_two_who_begin_together_one_captures_and_the_other_harms_nobody");
    let shop = Shop::open(1);
    let first = capture(&shop, &CAPTURE);
    std::thread::sleep(dice.millis(0..=150)); // The moment of the fault.
    let mut both = [first, capture(&shop, &CAPTURE)];
    shop.cluster.wait_until("one that is refused", || both.iter_mut().any(netobserv_testkit::Process::ended));
    let [mut first, second] = both;
    let (winner, loser) = if first.ended() { (second, first) } else { (first, second) };
    let refused = loser.wait(A_MINUTE);
    assert_eq!(refused.code(), 1, "{refused}");
    let why = refused.stderr.contains("already exists") || refused.stderr.contains("AlreadyExists");
    assert!(why && !refused.stdout.contains("Deleting"), "{refused}");
    shop.wait_capturing();
    shop.wait_flows();
    winner.signal_group(Signal::SIGINT);
    let done = winner.wait(A_MINUTE);
    assert!(done.success() && done.stdout.contains("lost: nothing"), "{done}\n{}", shop.cluster.logs());
    assert!(files(&shop).rows() > 0, "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

#[test]
fn only_the_nodes_that_are_selected_capture_until_the_size_is_reached() {
    require_privileged!();
    let shop = Shop::open(2);
    let nobody = capture(&shop, &["flows", "--node-selector=disk:ssd"]).wait(A_MINUTE);
    assert!(nobody.code() == 1 && nobody.stderr.contains("doesn't match any node label"), "{nobody}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);

    let selector = "--node-selector=kubernetes.io/hostname:node2";
    let plugin = capture(&shop, &["flows", selector, "--max-bytes=60000", "--copy=true"]);
    shop.wait_capturing();
    assert_eq!(shop.cluster.nodes()[0].programs(), NOTHING);
    let done = shop.browse_until_end(plugin);
    assert!(done.success() && done.stdout.contains("Capture reached 60KB, exiting now..."), "{done}");
    let flows = files(&shop).flows();
    assert!(flows.iter().all(|flow| flow["AgentIP"] == "10.77.2.1"), "{flows:#?}");
    assert!(std::fs::metadata(&files(&shop).json).expect("the file").len() >= 60_000, "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}

/// The one file in a folder.
#[track_caller]
fn only_file(folder: &Path) -> String {
    let mut files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let (first, none) = (files.next().expect("a file"), files.next());
    assert_eq!(none, None);
    first.to_string_lossy().into_owned()
}

/// `--yaml` makes no call; what it writes is applied by hand, with objects that this cluster has no kind for.
#[test]
fn what_yaml_writes_captures_when_it_is_applied_by_hand() {
    require_privileged!();
    let shop = Shop::open(1);
    let done = shop.cluster.plugin(&["flows", "--max-time=5s", "--yaml"]).start().wait(A_MINUTE);
    assert!(done.success(), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
    let file = only_file(&shop.cluster.home().join("output"));
    let applied = shop.cluster.user("oc").args(["apply", "-f", &file]).finish();
    assert!(applied.code() == 1 && applied.stderr.contains("SecurityContextConstraints"), "{applied}");
    assert!(applied.stdout.contains("daemonset.apps/netobserv-cli created"), "{applied}");
    shop.cluster.wait_until("the end of the capture", || {
        shop.ask();
        state(&shop.cluster) == "finished"
    });
    let done = shop.cluster.plugin(&["copy", "--output-dir=copied"]).start().wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let copied = Files::of(&shop.cluster.home().join("copied"));
    copied.assert_whole();
    assert!(copied.number("SELECT count(*) FROM flow WHERE DstK8S_Name = 'server-1'") > 0, "{}", shop.cluster.logs());
    let done = shop.cluster.plugin(&["cleanup"]).start().wait(A_MINUTE);
    assert!(done.success(), "{done}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}
