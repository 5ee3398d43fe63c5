//! A shop in the cluster: a client that asks a server on another node, and the plugin that watches them.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod clock;
pub(crate) mod inside;

use std::fs;
use std::time::Duration;

use netobserv_test_cluster::{Cluster, Node, Workload};
use netobserv_testkit::proc::{Finished, Process};
use netobserv_testkit::{Dice, Files, wait_for};
use serde_json::Value;

/// A cluster in which captures have left nothing.
pub(crate) const NOTHING: Vec<String> = Vec::new();
/// Longer than all that is waited for.
pub(crate) const A_MINUTE: Duration = Duration::from_secs(60);

/// The cluster and who lives in it.
pub(crate) struct Shop {
    pub(crate) client: Workload,
    pub(crate) server: Workload,
    /// Of the server.
    pub(crate) port: u16,
    _http: Process,
    // Last: the pods' namespaces end before the nodes'.
    pub(crate) cluster: Cluster,
}

impl Shop {
    /// Client on the first node, server on the last, at port 8080.
    #[track_caller]
    pub(crate) fn open(nodes: u8) -> Self {
        Self::with(nodes, 8080)
    }

    /// Two nodes or more, and any port.
    #[track_caller]
    pub(crate) fn cast(dice: &mut Dice) -> Self {
        // Below those that the system gives to clients.
        Self::with(dice.number(2..=4) as u8, dice.number(1_024..=9_900) as u16)
    }

    #[track_caller]
    fn with(nodes: u8, port: u16) -> Self {
        let cluster = Cluster::start(nodes);
        let client = cluster.deploy("shop", "client", 0);
        let server = cluster.deploy("shop", "server", usize::from(nodes) - 1);
        let words = ["-m", "http.server", &port.to_string()].map(str::to_owned);
        let http = server.netns.run("python3").args(words).dir(cluster.home()).start();
        let shop = Self { client, server, port, _http: http, cluster };
        assert!(wait_for(Duration::from_secs(20), || shop.ask()), "the server does not answer");
        shop
    }

    /// The node of the server.
    pub(crate) fn last(&self) -> &Node {
        self.cluster.nodes().last().expect("a node")
    }

    /// One request.
    pub(crate) fn ask(&self) -> bool {
        let url = format!("http://{}:{}/", self.server.address, self.port);
        let code = format!("import urllib.request as u; u.urlopen('{url}', timeout=3).read()");
        self.client.netns.run("python3").args(["-c", &code]).finish().success()
    }

    /// So many requests.
    pub(crate) fn browse(&self, count: usize) {
        for _ in 0..count {
            assert!(self.ask(), "the server does not answer");
        }
    }

    /// Requests until a program ends, for a minute at most.
    #[track_caller]
    pub(crate) fn browse_until_end(&self, mut plugin: Process) -> Finished {
        let ended = wait_for(Duration::from_secs(60), || {
            self.ask();
            plugin.ended()
        });
        assert!(ended, "the capture goes on: {}\n{}", plugin.stderr(), self.cluster.logs());
        plugin.wait(Duration::from_secs(5))
    }

    /// Until the collector captures, and all agents watch interfaces: what comes before that nobody sees.
    #[track_caller]
    pub(crate) fn wait_capturing(&self) {
        self.cluster.wait_until("a capture", || state(&self.cluster) == "capturing" && self.agents_watch());
    }

    fn agents_watch(&self) -> bool {
        let (pods, world) = (self.cluster.api().objects("/api/v1/pods"), self.cluster.world());
        let of_agents = pods.iter().filter(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet");
        let log = |pod: &Value| {
            let part = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
            fs::read_to_string(world.log_file(part("namespace"), part("name"))).unwrap_or_default()
        };
        let mut watching = of_agents.map(|pod| log(pod).contains("watching ")).peekable();
        watching.peek().is_some() && watching.all(|watches| watches)
    }

    /// Until the collector has written a flow, requests meanwhile.
    #[track_caller]
    pub(crate) fn wait_flows(&self) {
        self.cluster.wait_until("a flow in the file", || {
            self.ask();
            // As JSON writes it: the database has the name from the beginning.
            let grep = ["/usr/bin/grep", "-rlq", "\"SrcAddr\":", "/output/flow"];
            let words = ["exec", "-n", "netobserv-cli", "collector", "--"];
            self.cluster.user("oc").args(words).args(grep).finish().success()
        });
    }
}

/// Starts the plugin as a shell does.
#[track_caller]
pub(crate) fn capture(shop: &Shop, words: &[&str]) -> Process {
    shop.cluster.plugin(words).own_group().start()
}

/// The one capture that was copied home.
#[track_caller]
pub(crate) fn files(shop: &Shop) -> Files {
    Files::of(&shop.cluster.home().join("output"))
}

/// What the collector says of itself; empty when it does not answer.
pub(crate) fn state(cluster: &Cluster) -> String {
    let words = ["exec", "-n", "netobserv-cli", "collector", "--", "/network-observability-cli", "renew"];
    let answer = cluster.user("oc").args(words).finish().stdout;
    let answer: Value = serde_json::from_str(answer.trim()).unwrap_or_default();
    answer["state"].as_str().unwrap_or_default().to_owned()
}
