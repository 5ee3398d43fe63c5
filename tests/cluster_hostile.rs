//! Agents of a capture that do what they should not: what the collector takes from them, and what the user reads.

mod cluster_world;

use std::fs;

use cluster_world::{A_MINUTE, NOTHING, Shop, capture, files, inside};
use netobserv_testkit::{Run, Signal, require_privileged};

/// The environment of a process.
#[track_caller]
fn environment(pid: i32) -> Vec<(String, String)> {
    let text = fs::read(format!("/proc/{pid}/environ")).expect("a process");
    let text = String::from_utf8(text).expect("UTF-8");
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Root on the first node has the agents' certificate, and starts an agent that says it is on the second.
#[test]
fn an_agent_does_not_speak_for_another_node() {
    require_privileged!();
    let shop = Shop::open(2);
    let [own, other] = shop.cluster.nodes() else { panic!("two nodes") };
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--copy=true"]);
    shop.wait_capturing();
    let agent = shop.cluster.pid("netobserv-cli", &format!("netobserv-cli-{}", own.name)).expect("an agent");
    let words = ["--target", &agent.to_string(), "--mount", "--net", "--root", "/netobserv-agent"];
    let impostor =
        environment(agent).iter().fold(Run::new("nsenter").args(words), |run, (name, value)| match name.as_str() {
            "NODE_NAME" => run.env(name, &other.name),
            "AGENT_IP" => run.env(name, other.address.to_string()),
            _ => run.env(name, value),
        });
    let impostor = impostor.start();
    let refused = format!("it speaks for node {}, and its address is that of {}", other.name, own.name);
    shop.cluster.wait_until("a refusal", || {
        shop.ask();
        plugin.stderr().contains(&refused)
    });
    for node in [own, other] {
        let address = node.address.to_string();
        shop.cluster.wait_until("flows of both nodes", || {
            shop.ask();
            inside::flows(&shop).iter().any(|flow| flow["AgentIP"] == address)
        });
    }
    impostor.signal(Signal::SIGTERM);
    impostor.wait(A_MINUTE);
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(A_MINUTE);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    assert!(done.stdout.contains("messages broke a rule and were refused: the log has their senders"), "{done}");
    let files = files(&shop);
    assert!(files.number("SELECT value FROM capture WHERE name = 'refused_messages'") > 0);
    assert_eq!(files.number("SELECT count(*) FROM agent"), 2);
    let forged = "SELECT count(*) FROM flow WHERE AgentIP = '{other}' AND Interfaces LIKE '%{bridge}%'";
    let forged = forged.replace("{other}", &other.address.to_string()).replace("{bridge}", own.bridge());
    assert_eq!(files.number(&forged), 0, "{forged}");
    assert_eq!(shop.cluster.left_behind(), NOTHING);
}
