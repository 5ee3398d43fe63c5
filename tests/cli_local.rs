//! `flows --local` with stand-ins for the agent and the collector: what they are told, in which order they start and end,
//! and what the user reads when one of them fails.
#![cfg(target_os = "linux")]

mod cli_world;

use std::net::{Ipv4Addr, TcpListener};

use cli_world::{Outcome, World};

const STOPPING: &str = "stopping: waiting for the last flows, Ctrl-C again ends at once";
const HURRYING: &str = "stopping at once, without the flows that the agent has not sent yet";

/// Checks one finished run. `{base}` in a line of `stderr` is the name of the files without their ending.
#[track_caller]
fn assert_outcome(world: &World, outcome: &Outcome, code: i32, stdout: &str, stderr: &[&str]) {
    let base = if stderr.iter().any(|line| line.contains("{base}")) { world.base() } else { String::new() };
    let stderr: String = stderr.iter().map(|line| format!("{line}\n").replace("{base}", &base)).collect();
    assert_eq!(*outcome, Outcome { stdout: stdout.to_owned(), stderr, code: Some(code) });
    let left: Vec<_> = std::fs::read_dir(world.temporary()).expect("readable").collect();
    assert!(left.is_empty(), "left in the temporary folder: {left:?}");
}

#[track_caller]
fn assert_logged(world: &World, line: &str) {
    assert!(world.log().iter().any(|l| l == line), "no '{line}' in {:#?}", world.log());
}

const FILES: &str = "flows are in {base}.json and {base}.db";

#[test]
fn a_signal_ends_the_agent_first_and_then_the_collector() {
    for signal in ["INT", "TERM", "HUP"] {
        let world = World::new();
        let plugin = world.start(&["flows", "--local"]);
        world.wait_for("agent ready");
        plugin.signal(signal);
        assert_outcome(&world, &plugin.outcome(), 0, "2 flows\n", &[STOPPING, FILES]);
        let order = ["collector listens", "agent ready", "agent SIGTERM", "agent sent-last", "collector SIGTERM"];
        assert_eq!(world.events(), order, "{signal}");
    }
}

#[test]
fn a_limit_ends_the_session_without_a_signal() {
    let world = World::new().env("FAKE_COLLECTOR", "limit");
    assert_outcome(&world, &world.run(&["flows", "--local"]), 0, "2 flows\n", &[FILES]);
    assert_eq!(world.events(), ["collector listens", "agent ready", "collector limit", "agent sent-last"]);
}

#[test]
fn defaults_reach_both_programs() {
    // Settings that happen to be in the user's environment are not taken over.
    let world = World::new().env("FAKE_COLLECTOR", "limit").env("INTERFACES", "x").env("SAMPLING", "99");
    assert_eq!(world.run(&["flows", "--local"]).code, Some(0));
    for line in [
        "agent env INTERFACES=",
        "agent env EXCLUDE_INTERFACES=lo",
        "agent env CACHE_ACTIVE_TIMEOUT=1s",
        "agent env SAMPLING=1",
        "agent env ENABLE_DNS_TRACKING=false",
        "agent env ENABLE_RTT=false",
        "agent env ENABLE_PKT_DROPS=false",
        "agent env ENABLE_PKT_TRANSLATION=true",
        "agent env ENABLE_PROCESS=true",
        "agent env LOG_LEVEL=info",
        "agent env REQUIRE_INTERFACES=true",
    ] {
        assert_logged(&world, line);
    }
    for who in ["agent", "collector"] {
        let start = format!("{who} env NETOBSERV_DIE_WITH_PARENT=");
        let parent = world.log().iter().find_map(|line| line.strip_prefix(&start).map(str::to_owned));
        assert!(parent.is_some_and(|pid| pid.parse::<u32>().is_ok()), "{:?}", world.log());
    }
    let args = world.log().remove(0);
    let base = world.base();
    let name = base.rsplit('/').next().expect("a name");
    assert!(args.starts_with("collector args get-flows --listen unix:"), "{args}");
    assert!(args.contains(&format!(" --output-dir ./output --filename {name} ")), "{args}");
    assert!(args.ends_with(" --loglevel=info --maxtime=5m --maxbytes=50000000"), "{args}");
    assert!(args.contains(" --kube=off"), "names of a cluster are not asked for: {args}");
    let socket = args.split(' ').nth(4).expect("an address");
    assert_logged(&world, &format!("agent env TARGET_HOST={socket}"));
}

#[test]
fn options_reach_both_programs() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let world = World::new();
    let words = ["flows", "--local", "--interfaces=eth0,/^v/", "--exclude_interfaces", "eth1", "--sampling=7"];
    let more = [
        "--enable_rtt",
        "--enable_pkt_translation=false",
        "--enable_pktdrop=true",
        "--max-time=90s",
        "--max-bytes=5",
        "--log-level=debug",
        "--output-dir=other/dir",
        "--query=Bytes > 9 or SrcPort = 53",
        "--subnets=Lab=10.0.0.0/8",
        "--subnets=Up=fd00::/8",
    ];
    let port_word = format!("--listen-port={port}");
    let plugin = world.start(&[&words[..], &more[..], &[port_word.as_str()]].concat());
    world.wait_for("agent ready");
    plugin.signal("TERM");
    assert_eq!(plugin.outcome().code, Some(0));
    for line in [
        "agent env INTERFACES=eth0,/^v/",
        "agent env EXCLUDE_INTERFACES=eth1",
        "agent env SAMPLING=7",
        "agent env ENABLE_DNS_TRACKING=false",
        "agent env ENABLE_RTT=true",
        "agent env ENABLE_PKT_DROPS=true",
        "agent env ENABLE_PKT_TRANSLATION=false",
        "agent env LOG_LEVEL=debug",
        "agent env TARGET_HOST=127.0.0.1",
        &format!("agent env TARGET_PORT={port}"),
    ] {
        assert_logged(&world, line);
    }
    let args = world.log().remove(0);
    let start = format!("collector args get-flows --listen 127.0.0.1:{port} --tls-dir ");
    assert!(args.starts_with(&start) && args.contains(" --output-dir other/dir --filename "), "{args}");
    assert!(args.contains(" --options=local|"), "{args}");
    let query = "--query=Bytes > 9 or SrcPort = 53";
    let told =
        format!(" --loglevel=debug --maxtime=90s --maxbytes=5 {query} --subnets=Lab=10.0.0.0/8 --subnets=Up=fd00::/8");
    assert!(args.ends_with(&told), "{args}");
    assert!(world.path("other/dir/flow").is_dir());
}

#[test]
fn doctor_is_the_agents_own() {
    let world = World::new();
    assert_outcome(&world, &world.run(&["doctor", "--local"]), 0, "all is well\n", &[]);
    assert_eq!(world.log(), ["agent args doctor"]);
    let world = World::new().env("FAKE_DOCTOR", "1");
    assert_outcome(&world, &world.run(&["doctor", "--local"]), 1, "all is well\n", &[]);
}

#[test]
fn doctor_looks_at_this_machine_unless_it_is_not_to() {
    let world = World::new();
    assert_outcome(&world, &world.run(&["doctor"]), 0, "all is well\n", &[]);
    assert_eq!(world.log(), ["agent args doctor"]);
    let world = World::new();
    let outcome = world.run(&["doctor", "--local=false"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("use --local"), "{outcome:?}");
    assert_eq!(world.log(), [""; 0]);
}

#[test]
fn filter_rules_reach_the_agent() {
    let world = World::new().env("FAKE_COLLECTOR", "limit");
    let words = ["flows", "--local", "--protocol=tcp", "--port=8080", "or", "--protocol=UDP", "--drops"];
    assert_eq!(world.run(&words).code, Some(0));
    let rules = r#"[{"port":8080,"protocol":"TCP"},{"drops":true,"protocol":"UDP"}]"#;
    assert_logged(&world, &format!("agent env FLOW_FILTER_RULES={rules}"));
    assert_logged(&world, "agent env ENABLE_PKT_DROPS=true");
}

#[test]
fn a_port_in_use_starts_nothing() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let world = World::new();
    let outcome = world.run(&["flows", "--local", &format!("--listen-port={port}")]);
    let line = format!("error: port {port} of 127.0.0.1 is in use: choose another --listen-port, or omit it");
    assert_outcome(&world, &outcome, 1, "", &[&line]);
    assert_eq!(world.log(), [""; 0]);
}

#[test]
fn a_folder_that_cannot_be_written_starts_nothing() {
    let world = World::new();
    std::fs::write(world.path("file"), "").unwrap();
    let outcome = world.run(&["flows", "--local", "--output-dir=file"]);
    let line =
        "error: cannot write into file/flow: Not a directory (os error 20); choose another folder with --output-dir";
    assert_outcome(&world, &outcome, 1, "", &[line]);
    assert_eq!(world.log(), [""; 0]);
}

#[test]
fn a_program_that_is_not_there() {
    let world = World::new().env("NETOBSERV_AGENT_BIN", "/nowhere/agent");
    let outcome = world.run(&["flows", "--local"]);
    assert_outcome(&world, &outcome, 1, "", &["error: NETOBSERV_AGENT_BIN=/nowhere/agent: cannot find binary path"]);
    assert_eq!(world.log(), [""; 0]);
}

#[test]
fn an_agent_that_cannot_start_is_quoted_and_leaves_no_files() {
    let world = World::new().env("FAKE_AGENT", "fail").env("FAKE_COLLECTOR", "empty");
    let outcome = world.run(&["flows", "--local"]);
    assert_outcome(&world, &outcome, 1, "", &["error: no permission to load eBPF programs: run as root"]);
    assert_eq!(world.events(), ["collector listens", "collector SIGUSR1"]);
    assert_eq!(world.files("json").len() + world.files("db").len(), 0);
}

#[test]
fn settings_that_only_the_agent_can_judge_are_usage() {
    let world = World::new().env("FAKE_AGENT", "settings").env("FAKE_COLLECTOR", "empty");
    let outcome = world.run(&["flows", "--local", "--interfaces=eth9"]);
    assert_outcome(&world, &outcome, 2, "", &["error: INTERFACES: there is no interface eth9"]);
}

#[test]
fn a_collector_that_cannot_start_speaks_for_itself_and_no_agent_is_started() {
    let world = World::new().env("FAKE_COLLECTOR", "fail");
    let outcome = world.run(&["flows", "--local"]);
    assert_outcome(&world, &outcome, 1, "", &["error: the disk is full: free some space"]);
    assert!(!world.log().iter().any(|line| line.starts_with("agent")));
}

#[test]
fn a_killed_agent_is_told_and_the_collector_ends_in_good_order() {
    let world = World::new().env("FAKE_AGENT", "killed");
    let outcome = world.run(&["flows", "--local"]);
    let line = "error: the agent was killed by signal 9 (SIGKILL) in the middle of the capture";
    assert_outcome(&world, &outcome, 1, "2 flows\n", &[FILES, line]);
    assert_eq!(world.events(), ["collector listens", "agent ready", "collector SIGTERM"]);
    assert_eq!(world.json().as_array().map(Vec::len), Some(2));
}

#[test]
fn a_killed_collector_is_told_and_its_json_is_closed() {
    let world = World::new().env("FAKE_COLLECTOR", "killed");
    let outcome = world.run(&["flows", "--local"]);
    let repaired = "closed the JSON after its last complete flow, 7 bytes cut off";
    let line = "error: the collector was killed by signal 9 (SIGKILL) in the middle of the capture";
    assert_outcome(&world, &outcome, 1, "", &[repaired, FILES, line]);
    assert_eq!(world.events(), ["collector listens", "agent ready", "agent SIGTERM", "agent sent-last"]);
    assert_eq!(world.json(), serde_json::json!([{"Bytes": 1}, {"Bytes": 2}]));
}

#[test]
fn a_second_signal_ends_at_once() {
    let world = World::new().env("FAKE_AGENT", "deaf").env("FAKE_COLLECTOR", "deaf");
    let plugin = world.start(&["flows", "--local"]);
    world.wait_for("agent ready");
    plugin.signal("INT");
    world.wait_for("agent SIGTERM");
    // Sooner, a second signal counts as an echo of the first, as a closing terminal sends them.
    std::thread::sleep(std::time::Duration::from_millis(600));
    plugin.signal("INT");
    let line = "error: stopped at once on a second signal: the last flows may be missing";
    assert_outcome(&world, &plugin.outcome(), 1, "", &[STOPPING, HURRYING, FILES, line]);
    assert_eq!(world.json().as_array().map(Vec::len), Some(2));
}

#[test]
fn verbose_shows_what_is_started_and_what_the_agent_says() {
    let world = World::new().env("FAKE_COLLECTOR", "limit");
    let outcome = world.run(&["flows", "--local", "-v"]);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert!(lines[0].starts_with("+ NETOBSERV_DIE_WITH_PARENT=") && lines[0].contains(" get-flows "), "{lines:?}");
    assert!(lines[1].starts_with("+ INTERFACES='' EXCLUDE_INTERFACES=lo "), "{lines:?}");
    assert!(lines.contains(&"INFO the agent has started"), "{lines:?}");
}
