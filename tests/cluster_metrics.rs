//! `metrics` against the cluster on one machine: a scrape has names and sums, and each kind of cluster gets its own objects, which
//! are gone afterwards.

mod cluster_world;

use std::fs;
use std::path::PathBuf;

use cluster_world::{A_MINUTE, NOTHING, Shop, state};
use netobserv_testkit::{Process, Signal, require_privileged};
use serde_json::{Value, json};

const OPENSHIFT: &str = "config.openshift.io,monitoring.coreos.com";

/// The sum of a metric over the samples with these labels.
fn sum(text: &str, metric: &str, labels: &[&str]) -> u64 {
    let begin = format!("on_demand_netobserv_{metric}{{");
    let of = |line: &&str| line.starts_with(&begin) && labels.iter().all(|label| line.contains(label));
    text.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().expect("a number")).sum()
}

#[track_caller]
fn start(shop: &Shop, groups: &str, words: &[&str]) -> Process {
    let words = [&["metrics", "--copy=true", "--include_list=node_,workload_"], words].concat();
    let plugin = shop.cluster.plugin(&words).env("CLUSTER_GROUPS", groups).own_group().start();
    shop.wait_capturing();
    plugin
}

/// Ends a capture; gives its snapshot.
#[track_caller]
fn stop(shop: &Shop, plugin: Process) -> String {
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    assert_eq!(shop.cluster.left_behind(), NOTHING, "{done}");
    let folder = shop.cluster.home().join("output/metrics");
    let files: Vec<PathBuf> = folder.read_dir().expect("the folder").map(|entry| entry.unwrap().path()).collect();
    let snapshot =
        files.iter().find(|path| path.extension().is_some_and(|ending| ending == "txt")).expect("a snapshot");
    let text = fs::read_to_string(snapshot).unwrap();
    assert!(files.iter().any(|path| path.to_str().unwrap().ends_with(".dashboard.json")), "{files:?}");
    fs::remove_dir_all(&folder).unwrap();
    text
}

/// KIND/NAME of what is there of the kinds that only metrics make.
fn made(shop: &Shop) -> Vec<String> {
    let paths = ["/api/v1/configmaps", "/apis/monitoring.coreos.com/v1/servicemonitors", "/api/v1/services"];
    let objects = paths.iter().flat_map(|path| shop.cluster.api().objects(path));
    let ours = objects.filter(|object| object["metadata"]["labels"]["app"] == "netobserv-cli");
    ours.map(|object| format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap()))
        .collect()
}

/// The collector's pod.
#[track_caller]
fn collector(shop: &Shop) -> Value {
    let pods = shop.cluster.api().objects("/api/v1/pods");
    pods.into_iter().find(|pod| pod["metadata"]["name"] == "collector").expect("the collector")
}

/// What a Prometheus in the cluster reads.
fn scrape(shop: &Shop) -> String {
    let address = collector(shop)["status"]["podIP"].as_str().expect("an address").to_owned();
    shop.client.netns.run("curl").args(["-sf", &format!("http://{address}:9401/metrics")]).finish().stdout
}

#[test]
fn each_kind_of_cluster_gets_its_objects_and_keeps_none() {
    require_privileged!();
    let shop = Shop::open(2);
    shop.cluster.api().put(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "openshift-config-managed" },
    }));

    // OpenShift: its own monitoring.
    let plugin = start(&shop, OPENSHIFT, &[]);
    assert_eq!(
        made(&shop),
        ["ConfigMap/netobserv-cli", "ServiceMonitor/netobserv-cli", "Service/collector", "Service/netobserv-cli"]
    );
    let mut text = String::new();
    let of_shop = ["SrcK8S_OwnerName=\"client\"", "DstK8S_OwnerName=\"server\"", "SrcK8S_Namespace=\"shop\""];
    let nodes = ["SrcK8S_HostName=\"node1\"".to_owned(), format!("DstK8S_HostName=\"{}\"", shop.last().name)];
    let nodes = nodes.each_ref().map(String::as_str);
    shop.cluster.wait_until("the client's bytes in a scrape", || {
        shop.ask();
        text = scrape(&shop);
        sum(&text, "workload_egress_bytes_total", &of_shop) > 0 && sum(&text, "node_ingress_packets_total", &nodes) > 0
    });
    for level in ["node", "workload"] {
        let of =
            |what: &str| sum(&text, &format!("{level}_{what}_total"), if level == "node" { &nodes } else { &of_shop });
        // A conversation is counted once, and leaves one node as it arrives at the other.
        assert_eq!((of("egress_bytes"), of("egress_packets")), (of("ingress_bytes"), of("ingress_packets")), "{text}");
    }
    assert_eq!(state(&shop.cluster), "capturing");
    let snapshot = stop(&shop, plugin);
    assert!(
        sum(&snapshot, "workload_egress_bytes_total", &of_shop) >= sum(&text, "workload_egress_bytes_total", &of_shop)
    );
    let flows = |level: &str| sum(&snapshot, &format!("{level}_flows_total"), &[]);
    assert_eq!(flows("node"), flows("workload"), "every flow is in both");

    // The Prometheus operator, and annotations.
    for (groups, words, objects) in [
        (
            "monitoring.coreos.com",
            &["--to=service-monitor"][..],
            &["ServiceMonitor/netobserv-cli", "Service/collector", "Service/netobserv-cli"][..],
        ),
        ("", &["--to=annotations"], &["Service/collector"]),
    ] {
        let plugin = start(&shop, groups, words);
        assert_eq!(made(&shop), objects, "{words:?}");
        let annotated = collector(&shop)["metadata"]["annotations"]["prometheus.io/port"] == "9401";
        assert_eq!(annotated, words.contains(&"--to=annotations"));
        assert!(scrape(&shop).contains("on_demand_netobserv_series_limit 10000"), "{words:?}");
        stop(&shop, plugin);
    }
}
