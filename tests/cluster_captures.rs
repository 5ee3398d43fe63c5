//! The whole product against the cluster on one machine: the plugin, a collector's pod and an agent a node, all real.

mod cluster_world;

use std::time::Duration;

use cluster_world::{Shop, capture, files, state};
use netobserv_testkit::{Run, Signal, bpf, require_privileged};

/// What the original captures too, with the names of both ends, and an empty cluster afterwards.
#[test]
fn flows_carry_the_names_of_both_ends_and_nothing_stays() {
    require_privileged!("flows_carry_the_names_of_both_ends_and_nothing_stays");
    let shop = Shop::open(2);
    let before = bpf::loaded().len();
    let plugin = capture(&shop, &["flows", "--max-time=6s", "--enable_rtt", "--copy=true"]);
    let done = shop.browse_until_end(plugin);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let flows = files(&shop).flows();
    let named = |flow: &&serde_json::Value| {
        flow["SrcK8S_Name"] == "client-1" && flow["DstK8S_Name"] == "server-1" && flow["DstPort"] == 8080
    };
    let found: Vec<_> = flows.iter().filter(named).collect();
    assert!(!found.is_empty(), "no flow from client to server of {}\n{}", flows.len(), shop.cluster.logs());
    for (field, value) in [
        ("SrcK8S_Namespace", "shop"),
        ("SrcK8S_OwnerName", "client"),
        ("SrcK8S_OwnerType", "Deployment"),
        ("SrcK8S_HostName", "node1"),
        ("DstK8S_HostName", "node2"),
        ("DstK8S_Zone", "zone-b"),
    ] {
        assert_eq!(found[0][field], value, "{}", found[0]);
    }
    // Both nodes saw it, each from its side.
    for (agent, direction) in [("10.77.1.1", 1), ("10.77.2.1", 0)] {
        let seen = found.iter().any(|flow| flow["AgentIP"] == agent && flow["FlowDirection"] == direction);
        assert!(seen, "not seen on {agent}: {found:?}");
    }
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
    assert_eq!(bpf::loaded().len(), before, "kernel programs stayed");
}

/// Ctrl-C in the middle: files come home whole, the cluster is as before.
#[test]
fn ctrl_c_copies_and_cleans_up() {
    require_privileged!("ctrl_c_copies_and_cleans_up");
    let shop = Shop::open(2);
    let plugin = capture(&shop, &["flows", "--max-time=5m"]);
    shop.wait_capturing();
    shop.browse(5);
    shop.wait_flows();
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(Duration::from_secs(60));
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    assert!(!files(&shop).flows().is_empty(), "{done}");
    assert_eq!(files(&shop).rows(), files(&shop).flows().len() as u64);
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// Packets of both nodes, in one file, with the name of the pod behind each interface.
#[test]
fn packets_come_home_with_names() {
    require_privileged!("packets_come_home_with_names");
    let shop = Shop::open(2);
    let plugin = capture(&shop, &["packets", "--protocol=TCP", "--port=8080", "--max-time=6s"]);
    let done = shop.browse_until_end(plugin);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let folder = shop.cluster.home().join("output/pcap");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let words = ["-n", "-T", "fields", "-e", "frame.interface_name", "-e", "tcp.dstport", "-r"];
    let packets = Run::new("tshark").args(words).arg(&files[0]).output();
    assert!(packets.lines().any(|line| line.ends_with("\t8080")), "{packets}");
    for node in ["node1/", "node2/"] {
        assert!(packets.lines().any(|line| line.starts_with(node)), "no packet of {node}: {packets}");
    }
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// kill -9 of the plugin: `cleanup` from anywhere leaves the cluster as it was.
#[test]
fn cleanup_after_a_killed_plugin() {
    require_privileged!("cleanup_after_a_killed_plugin");
    let shop = Shop::open(1);
    let plugin = capture(&shop, &["flows", "--max-time=5m"]);
    shop.wait_capturing();
    plugin.signal(Signal::SIGKILL);
    drop(plugin);
    assert!(!shop.cluster.left_behind().is_empty(), "the capture is still there");
    let done = shop.cluster.plugin(&["cleanup", "--force"]).start().wait(Duration::from_secs(60));
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// In the background: follow shows it, stop ends the agents, copy brings the files, cleanup removes the rest.
#[test]
fn background_follow_copy_cleanup() {
    require_privileged!("background_follow_copy_cleanup");
    let shop = Shop::open(1);
    let done = shop.cluster.plugin(&["flows", "--background", "--max-time=5s"]).start().wait(Duration::from_secs(60));
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    assert!(done.stdout.contains("Background capture started. Use:"), "{done}");
    shop.browse(10);
    shop.cluster.wait_until("the end of the capture", || state(&shop.cluster) == "finished");
    let done = shop.cluster.plugin(&["copy"]).start().wait(Duration::from_secs(60));
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let named = files(&shop).number("SELECT count(*) FROM flow WHERE SrcK8S_Name = 'client-1'");
    assert!(named > 0, "{}", shop.cluster.logs());
    let done = shop.cluster.plugin(&["cleanup"]).start().wait(Duration::from_secs(60));
    assert!(done.success(), "{done}");
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// A second session on the same namespace is refused, and the first goes on.
#[test]
fn a_second_session_does_no_harm() {
    require_privileged!("a_second_session_does_no_harm");
    let shop = Shop::open(1);
    let first = capture(&shop, &["flows", "--max-time=5m"]);
    shop.wait_capturing();
    let second = shop.cluster.plugin(&["flows", "--max-time=5s"]).start().wait(Duration::from_secs(60));
    assert_eq!(second.code(), 1, "{second}");
    assert!(second.stderr.contains("netobserv-cli namespace already exists"), "{second}");
    let other = shop.cluster.plugin(&["flows", "--max-time=2s", "-n", "second"]).start().wait(Duration::from_secs(60));
    assert!(other.success(), "{other}\n{}", shop.cluster.logs());
    assert_eq!(state(&shop.cluster), "capturing");
    first.signal_group(Signal::SIGINT);
    assert!(first.wait(Duration::from_secs(60)).success());
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}
