//! The whole product against the cluster on one machine: the plugin, a collector's pod and an agent a node, all real.

mod cluster_world;

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_world::{A_MINUTE, Shop, capture, files, inside, state};
use netobserv_testkit::proc::binaries;
use netobserv_testkit::{Dice, Files, Run, Signal, https, require_privileged, wait_for};

/// What the original captures too, with the names of both ends, and an empty cluster afterwards.
#[test]
fn flows_carry_the_names_of_both_ends_and_nothing_stays() {
    require_privileged!();
    let shop = Shop::cast(&mut Dice::of("flows_carry_the_names_of_both_ends_and_nothing_stays"));
    let plugin = capture(&shop, &["flows", "--max-time=6s", "--enable_rtt", "--copy=true"]);
    let done = shop.browse_until_end(plugin);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let flows = files(&shop).flows();
    let named = |flow: &&serde_json::Value| {
        flow["SrcK8S_Name"] == "client-1" && flow["DstK8S_Name"] == "server-1" && flow["DstPort"] == shop.port
    };
    let found: Vec<_> = flows.iter().filter(named).collect();
    assert!(!found.is_empty(), "no flow from client to server of {}\n{done}\n{}", flows.len(), shop.cluster.logs());
    for (field, value) in [
        ("SrcK8S_Namespace", "shop"),
        ("SrcK8S_OwnerName", "client"),
        ("SrcK8S_OwnerType", "Deployment"),
        ("SrcK8S_HostName", "node1"),
        ("DstK8S_HostName", &shop.last().name),
        ("DstK8S_Zone", &format!("zone-{}", ["b", "c", "d"][shop.cluster.nodes().len() - 2])),
    ] {
        assert_eq!(found[0][field], value, "{}", found[0]);
    }
    // Both nodes saw it, each from its side.
    for (agent, direction) in [("10.77.1.1", 1), (&*shop.last().address.to_string(), 0)] {
        let seen = found.iter().any(|flow| flow["AgentIP"] == agent && flow["FlowDirection"] == direction);
        assert!(seen, "not seen on {agent}: {found:?}");
    }
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// A quiet cluster's files would hold little else.
#[test]
fn the_captures_own_traffic_is_left_out_unless_it_is_asked_for() {
    require_privileged!();
    let shop = Shop::open(2);
    // The node of the collector talks to it inside; the other one over its interface.
    let own = "SELECT count(*) FROM flow WHERE SrcPort = 9999 OR DstPort = 9999";
    let saved = "SELECT value FROM capture WHERE name = 'own_flows'";
    for (words, kept) in [(&[][..], false), (&["--own-traffic", "--output-dir=all"], true)] {
        let plugin = capture(&shop, &[&["flows", "--max-time=5m", "--copy=true"], words].concat());
        shop.wait_capturing();
        // Each second of the client's requests is one of messages to the collector.
        shop.cluster.wait_until("some seconds of flows", || {
            shop.ask();
            let flows = inside::flows(&shop);
            let starts = flows.iter().filter(|flow| flow["SrcK8S_Name"] == "client-1");
            let seconds: BTreeSet<_> =
                starts.filter_map(|flow| flow["TimeFlowStartMs"].as_i64()).map(|ms| ms / 1000).collect();
            seconds.len() >= 4
        });
        plugin.signal_group(Signal::SIGINT);
        let done = plugin.wait(A_MINUTE);
        assert!(done.success(), "{done}\n{}", shop.cluster.logs());
        let files = Files::of(&shop.cluster.home().join(if kept { "all" } else { "output" }));
        assert!(files.number("SELECT count(*) FROM flow WHERE SrcK8S_Name = 'client-1'") > 0, "{done}");
        assert_eq!((files.number(own) > 0, files.number(saved) > 0), (kept, !kept), "{done}");
        assert_eq!(done.stdout.contains("left out as the capture's own: "), !kept, "{done}");
    }
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// Ctrl-C in the middle: files come home whole, the cluster is as before.
#[test]
fn ctrl_c_copies_and_cleans_up() {
    require_privileged!();
    let mut dice = Dice::of("ctrl_c_copies_and_cleans_up");
    let shop = Shop::cast(&mut dice);
    let plugin = capture(&shop, &["flows", "--max-time=5m"]);
    shop.wait_capturing();
    let nodes = shop.cluster.nodes().len();
    let told = format!("{nodes} of {nodes} nodes capture");
    assert!(wait_for(A_MINUTE, || plugin.stderr().contains(&told)), "{}\n{}", plugin.stdout(), plugin.stderr());
    shop.wait_flows();
    shop.browse(dice.number(0..=10) as usize);
    std::thread::sleep(dice.millis(0..=1_500)); // The moment of the end.
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
    require_privileged!();
    let shop = Shop::cast(&mut Dice::of("packets_come_home_with_names"));
    let port = format!("--port={}", shop.port);
    let plugin = capture(&shop, &["packets", "--protocol=TCP", &port, "--max-time=6s"]);
    let done = shop.browse_until_end(plugin);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let folder = shop.cluster.home().join("output/pcap");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let words = ["-n", "-T", "fields", "-e", "frame.interface_name", "-e", "tcp.dstport", "-r"];
    let packets = Run::new("tshark").args(words).arg(&files[0]).output();
    assert!(packets.lines().any(|line| line.ends_with(&format!("\t{}", shop.port))), "{packets}");
    for node in ["node1/", &format!("{}/", shop.last().name)] {
        assert!(packets.lines().any(|line| line.starts_with(node)), "no packet of {node}: {packets}");
    }
    // The names that the file brings along: -N n takes those, and no name server is asked.
    let words = ["-N", "n", "-T", "fields", "-e", "_ws.col.Source", "-e", "_ws.col.Destination", "-r"];
    let named = Run::new("tshark").args(words).arg(&files[0]).output();
    let ends = |line: &str| line.contains("client-1") && line.contains("server-1");
    assert!(named.lines().any(ends), "{named}");
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// kill -9 of the plugin: `cleanup` from anywhere leaves the cluster as it was.
#[test]
fn cleanup_after_a_killed_plugin() {
    require_privileged!();
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
    require_privileged!();
    let mut dice = Dice::of("background_follow_copy_cleanup");
    let shop = Shop::cast(&mut dice);
    let time = format!("--max-time={}s", dice.number(5..=8));
    let done = shop.cluster.plugin(&["flows", "--background", &time]).start().wait(Duration::from_secs(60));
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
    require_privileged!();
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

/// HTTPS between two pods is read with the secrets that the client collects: from a file here, and from one in its pod.
#[test]
fn https_between_pods_is_read_with_the_secrets_in_the_file() {
    require_privileged!();
    let shop = Shop::open(2);
    let home = shop.cluster.home();
    let _server = https::serve(&shop.server.netns, &home);
    let in_pod = shop.client.netns.run("sleep").arg("600").start();
    shop.cluster.let_in("shop", "client-1", in_pod.pid());

    for (name, keys) in [("here", home.join("keys")), ("pod", home.join("keys of the pod"))] {
        let option = match name {
            "here" => format!("--tls-keylog={}", keys.display()),
            _ => format!("--tls-keylog=shop/client-1:{}", keys.display()),
        };
        let words = ["packets", "--protocol=TCP", "--port=443", "--max-time=5m", "--output-dir", name, &option];
        let mut plugin = capture(&shop, &words);
        shop.cluster.wait_until("a capture", || plugin.ended() || state(&shop.cluster) == "capturing");
        assert!(!plugin.ended(), "{}", plugin.wait(Duration::from_secs(5)));
        shop.wait_capturing();
        let asked = https::ask(&shop.client.netns, shop.server.address, &keys);
        assert!(asked.success(), "{asked}");
        // They are on their way for a moment; this one is written last.
        let folder = home.join(name).join("pcap");
        shop.cluster.wait_until("secrets in the collector's pod", || {
            let grep = ["/usr/bin/grep", "-rlq", "CLIENT_TRAFFIC_SECRET_0", "/output/pcap"];
            let words = ["exec", "-n", "netobserv-cli", "collector", "--"];
            shop.cluster.user("oc").args(words).args(grep).finish().success()
        });
        plugin.signal_group(Signal::SIGINT);
        let done = plugin.wait(Duration::from_secs(60));
        assert!(done.success() && !done.stderr.contains("warning"), "{done}\n{}", shop.cluster.logs());
        let file = std::fs::read_dir(&folder).unwrap().next().expect("a file").unwrap().path();
        let words = ["-Y", "http", "-T", "fields", "-e", "http.request.uri", "-e", "http.file_data", "-r"];
        let read = Run::new("tshark").args(words).arg(&file).finish();
        assert!(read.stdout.contains(https::PATH), "{name}: {read}");
        assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
    }
    let missing = ["packets", "--all", "--tls-keylog=shop/nobody:/keys"];
    let done = shop.cluster.plugin(&missing).start().wait(Duration::from_secs(60));
    assert!(done.code() == 1 && done.stderr.contains("no pod nobody in namespace shop"), "{done}");
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// Wireshark's way: the script says what there is, and writes a capture of the cluster into a pipe that tshark reads.
#[test]
fn the_extcap_script_captures_the_cluster_into_a_pipe() {
    require_privileged!();
    let shop = Shop::open(2);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/extcap/netobserv");
    let run =
        |words: &[&str]| shop.cluster.user(script).env("OC_NETOBSERV", &binaries().plugin).args(words.iter().copied());
    let interfaces = run(&["--extcap-interfaces", "--extcap-version=4.4"]).output();
    assert!(interfaces.contains("interface {value=netobserv-cluster}"), "{interfaces}");
    let fifo = shop.cluster.home().join("fifo");
    assert!(Run::new("mkfifo").arg(&fifo).finish().success());
    let rule = "--protocol=TCP --port=8080";
    let words = ["--capture", "--extcap-interface", "netobserv-cluster", "--rule", rule, "--max-time", "5m", "--fifo"];
    let capture = run(&words).arg(&fifo).own_group().start();
    let words = ["-c", "4", "-n", "-T", "fields", "-e", "frame.interface_name", "-e", "tcp.port", "-i"];
    let mut tshark = Run::new("tshark").args(words).arg(&fifo).start();
    let ended = wait_for(Duration::from_secs(60), || {
        shop.ask();
        tshark.ended()
    });
    assert!(ended, "{}\n{}\n{}", tshark.stderr(), capture.stderr(), shop.cluster.logs());
    let read = tshark.wait(Duration::from_secs(5));
    assert!(read.success() && read.stdout.lines().count() == 4, "{read}");
    assert!(read.stdout.lines().all(|line| line.starts_with("node") && line.contains("8080")), "{read}");
    // Wireshark has closed the pipe, and ends what it started.
    capture.signal(Signal::SIGTERM);
    let done = capture.wait(Duration::from_secs(60));
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new(), "{done}");
}

/// Runs a line on a terminal on which nobody types.
const ON_TERMINAL: &str = r#"mkfifo keys && exec 3<>keys && script -qfec "$0" /dev/null <&3"#;

/// On a terminal: the conversations, by name, drawn in the collector's pod and shown here.
#[test]
fn a_terminal_shows_the_conversations_of_pods() {
    require_privileged!();
    let shop = Shop::open(2);
    let plugin = binaries().plugin.display();
    let line =
        format!("stty cols 120 rows 40; exec '{plugin}' packets --protocol=TCP --port=8080 --max-time=8s --copy=true");
    let run = shop.cluster.user("bash").env("TERM", "xterm-256color").args(["-c", ON_TERMINAL, &line]);
    let done = shop.browse_until_end(run.start());
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    for text in ["Packet capture", "Conversations", "TCP", "\x1b[?1049l"] {
        assert!(done.stdout.contains(text), "no {text:?}: {done}");
    }
    assert_eq!(std::fs::read_dir(shop.cluster.home().join("output/pcap")).unwrap().count(), 1);
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// Names come over HTTPS for the token of the pod's service account, and go on when that is replaced: the file is read anew.
#[test]
fn a_token_that_is_replaced_is_read_anew() {
    require_privileged!();
    let shop = Shop::open(1);
    let plugin = capture(&shop, &["flows", "--max-time=5m", "--copy=true"]);
    shop.wait_capturing();
    shop.wait_flows();
    shop.cluster.rotate_token("the second one");
    let before = shop.cluster.api().requests().len();
    let late = shop.cluster.deploy("shop", "late", 0);
    // A client may believe in its token for a minute.
    let again = wait_for(Duration::from_secs(120), || {
        let requests = shop.cluster.api().requests().split_off(before);
        requests.iter().any(|request| request.starts_with("GET /api/v1/pods?") && request.contains("watch"))
    });
    assert!(again, "no watch with the new token\n{}", shop.cluster.logs());
    late.netns.run("ping").args(["-c", "3", "-i", "0.2", "10.77.0.1"]).output();
    plugin.signal_group(Signal::SIGINT);
    let done = plugin.wait(Duration::from_secs(60));
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let named = files(&shop).number("SELECT count(*) FROM flow WHERE SrcK8S_Name = 'late-1'");
    assert!(named > 0, "{done}\n{}", shop.cluster.logs());
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}
