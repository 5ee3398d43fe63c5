//! What the tests of selectors have in common: datagrams to pods, what agents have in force, and the pods' own counters.

pub(crate) mod labels;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use netobserv_test_cluster::Workload;
use netobserv_testkit::proc::Process;
use netobserv_testkit::wait::settled;
use serde_json::Value;

use crate::cluster_world::{Shop, capture};

/// The records of the client's node, which all packets of the client pass: for a second after an agent has started, the collector does not know
/// which records of two nodes are of the same packets.
pub(crate) const AT_CLIENT: &str = "AgentIP = '10.77.1.1'";

/// Starts a capture, and returns when each of so many nodes captures.
#[track_caller]
pub(crate) fn begin(shop: &Shop, words: &[&str], nodes: usize) -> Process {
    let plugin = capture(shop, &[words, &["--max-time=5m", "--copy=true", "--log-level=debug"]].concat());
    shop.wait_capturing();
    let line = if nodes == 1 { "1 of 1 node captures".to_owned() } else { format!("{nodes} of {nodes} nodes capture") };
    shop.cluster.wait_until(&line, || plugin.stderr().contains(&line));
    plugin
}

/// A socket of the client.
pub(crate) fn socket(shop: &Shop) -> UdpSocket {
    shop.client.netns.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket"))
}

/// Datagrams from the client.
pub(crate) fn send(shop: &Shop, to: Ipv4Addr, port: u16, count: usize) {
    send_each(shop, std::iter::repeat_n(to, count), port);
}

/// A datagram to each address.
pub(crate) fn send_each(shop: &Shop, to: impl IntoIterator<Item = Ipv4Addr>, port: u16) {
    let socket = socket(shop);
    for to in to {
        socket.send_to(b"x", (to, port)).expect("sent");
    }
}

fn agents(shop: &Shop) -> Vec<Value> {
    let mut pods = shop.cluster.api().objects("/api/v1/pods");
    pods.retain(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet");
    pods
}

/// What each agent has in force now: the last line of its log about that.
pub(crate) fn in_force(shop: &Shop) -> Vec<String> {
    let world = shop.cluster.world();
    let last = |pod: &Value| {
        let part = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
        let log = std::fs::read_to_string(world.log_file(part("namespace"), part("name"))).unwrap_or_default();
        let (_, sets) = log.rsplit_once("sets of addresses in force: ")?;
        Some(sets.lines().next()?.trim().to_owned())
    };
    agents(shop).iter().map(|pod| last(pod).unwrap_or_default()).collect()
}

/// Until all nodes have an agent with these sets in force.
#[track_caller]
pub(crate) fn wait_sets(shop: &Shop, wanted: &str) {
    wait_agents(shop, shop.cluster.nodes().len(), wanted);
}

/// Until there are so many agents, all of them with these sets in force.
#[track_caller]
pub(crate) fn wait_agents(shop: &Shop, agents: usize, wanted: &str) {
    shop.cluster.wait_until(wanted, || {
        let all = in_force(shop);
        all.len() == agents && all.iter().all(|sets| sets == wanted)
    });
}

/// Until all agents have so many elements in force.
#[track_caller]
pub(crate) fn wait_elements(shop: &Shop, count: usize) {
    wait_sets(shop, &format!("1 with {count} elements;"));
}

/// The nodes that have an agent.
pub(crate) fn agent_nodes(shop: &Shop) -> Vec<String> {
    agents(shop).iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Each agent's pod, and how often its container was started again.
pub(crate) fn restarts(shop: &Shop) -> Vec<(String, u64)> {
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let count = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().expect("a status");
    agents(shop).iter().map(|pod| (uid(pod), count(pod))).collect()
}

/// From now on the kernel counts IP packets at a pod's interface, both ways.
#[track_caller]
pub(crate) fn count_at(pod: &Workload) {
    let chain = |hook: &str| {
        format!(
            "add chain netdev count {hook} {{ type filter hook {hook} device eth0 priority 0; }}; \
             add rule netdev count {hook} meta protocol ip counter;"
        )
    };
    let rules = format!("add table netdev count; {} {}", chain("ingress"), chain("egress"));
    pod.netns.run("nft").arg(rules).output();
}

/// What it has counted, once nothing is under way any more.
#[track_caller]
pub(crate) fn counted_at(pod: &Workload) -> u64 {
    settled(Duration::from_millis(200), || {
        let text = pod.netns.run("nft").arg("list table netdev count").output();
        let counters =
            text.split("counter packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        let counters: Vec<u64> = counters.collect();
        assert_eq!(counters.len(), 2, "{text}");
        counters.iter().sum()
    })
}
