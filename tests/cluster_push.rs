//! `F` in a cluster: all nodes filter, also one whose agent comes later.

mod cluster_world;

use cluster_world::{Shop, files};
use netobserv_testkit::{Signal, require_privileged, wait_for};

#[test]
fn every_node_filters_also_one_that_comes_later() {
    require_privileged!();
    let shop = Shop::open(2);
    let mut screen = shop.cluster.plugin_on_terminal(&["flows", "--max-time=5m", "--copy=true"]).start((140, 40));
    screen.wait_for("2 of 2 nodes");
    shop.browse(2);
    screen.press(&format!("port:{}\r", shop.port));
    screen.press("\x06");
    screen.wait_for(&format!("Files get only: port:{} (2 of 2 nodes)", shop.port));

    let agent = |cluster: &netobserv_test_cluster::Cluster| {
        let pods = cluster.api().objects("/api/v1/pods");
        let on_node2 = pods.into_iter().find(|pod| {
            pod["spec"]["nodeName"] == "node2" && pod["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet"
        });
        let name = on_node2.and_then(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))?;
        cluster.pid("netobserv-cli", &name)
    };
    let first = agent(&shop.cluster).expect("an agent on node2");
    netobserv_testkit::proc::signal(first, Signal::SIGKILL);
    shop.cluster.wait_until("another agent", || agent(&shop.cluster).is_some_and(|pid| pid != first));
    // What it says of itself when it has the filter; until then the screen counts one node less.
    shop.cluster
        .wait_until("its word", || shop.cluster.logs().matches("filter from the collector in force").count() >= 3);
    screen.wait_for(&format!("Files get only: port:{} (2 of 2 nodes)", shop.port));

    screen.press("F");
    screen.wait_until("no filter", |text| !text.contains("Files get only") && !text.contains("captured again"));
    assert!(wait_for(std::time::Duration::from_secs(20), || shop.ask()));
    screen.press("\x03");
    assert!(screen.wait().success(), "{}\n{}", screen.text(), shop.cluster.logs());
    screen.assert_given_back();
    assert!(files(&shop).number("SELECT count(*) FROM capture WHERE name = 'pushed_filters' AND value NOT NULL") == 1);
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}
