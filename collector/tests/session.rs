//! A capture in a session's pod: looked at, renewed and finished from outside, and its end when nobody wants it any more.

mod support;

use std::time::{Duration, Instant};

use netobserv_testkit::{Run, Signal, wait_for};
use netobserv_wire::pbflow::{AgentStatus, Records};
use serde_json::{Value, json};
use support::{Collector, SOON, get_flows, program, records};

/// A sub-command beside the capture of this folder, as `oc exec` starts it; what it prints.
#[track_caller]
fn beside(collector: &Collector, word: &str) -> Value {
    let finished = program(&[word, "--output-dir"]).arg(collector.output()).finish();
    assert!(finished.success(), "{finished}");
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"))
}

const OF_SESSION: [&str; 2] = ["--session", "0a1b2c3d"];
const LEASED: [&str; 6] = ["--session", "0a1b2c3d", "--lease", "2s", "--keep", "10m"];

#[test]
fn before_a_capture_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let asked = |word| program(&[word]).dir(dir.path()).output();
    assert_eq!(asked("finish"), "{\"state\":\"waiting\"}\n");
    assert!(dir.path().read_dir().unwrap().next().is_none(), "finish makes nothing");
    assert_eq!(asked("renew"), "{\"state\":\"waiting\"}\n");
    assert!(dir.path().join("output/.capture/lease").exists());
}

#[test]
fn a_capture_is_finished_from_outside() {
    let collector = Collector::start(&["--session", "0a1b2c3d"]);
    collector.client().send("n1", records::some(0, 7), true).unwrap();
    let status = beside(&collector, "renew");
    let told = [&status["state"], &status["session"], &status["keep_s"]];
    assert_eq!(told, [&json!("capturing"), &json!("0a1b2c3d"), &json!(3600)]);
    let listing = program(&["files", "--output-dir"]).arg(collector.output()).finish();
    assert!(!listing.success() && listing.stderr.contains("not finished"), "{listing}");
    let end = beside(&collector, "finish");
    assert_eq!((&end["state"], &end["reason"]), (&json!("finished"), &json!("finished on request")));
    // The files are whole when it says so, and not only later.
    let files = collector.files();
    files.assert_whole();
    assert_eq!(files.rows(), 7);
    assert_eq!(files.number("SELECT count(*) FROM sqlite_master WHERE name = 'finding'"), 1);
    assert_eq!(beside(&collector, "finish"), end);
    let listing = program(&["files", "--output-dir"]).arg(collector.output()).output();
    assert_eq!(serde_json::from_str::<Value>(&listing).unwrap().as_array().unwrap().len(), 2, "{listing}");
    let ended = collector.ended();
    assert!(ended.finished.success() && ended.finished.stdout.contains(".json: 7 flows"), "{}", ended.finished);
    assert_eq!(ended.said("end_reason"), "finished on request");
}

#[test]
fn a_capture_that_nobody_renews_ends_by_itself() {
    let start = Instant::now();
    let collector = Collector::start(&LEASED);
    collector.client().send("n1", records::some(0, 7), true).unwrap();
    let mut renewed = start;
    while start.elapsed() < Duration::from_secs(4) {
        renewed = Instant::now();
        assert_eq!(beside(&collector, "renew")["state"], "capturing");
        std::thread::sleep(Duration::from_millis(300)); // The beat at which it is renewed.
    }
    let ended = collector.ended();
    assert!(ended.finished.success(), "{}", ended.finished);
    assert!(renewed.elapsed() >= Duration::from_secs(2), "the lease");
    assert_eq!((ended.files().rows(), ended.said("end_reason")), (7, "ended: it was not renewed for 2s".into()));
}

#[test]
fn with_a_lease_a_capture_outlives_its_terminal() {
    let collector = Collector::start(&["--session", "0a1b2c3d", "--lease", "60s"]);
    collector.process.signal(Signal::SIGHUP);
    assert!(wait_for(SOON, || collector.process.stderr().contains("the terminal is gone")));
    collector.client().send("n1", records::some(0, 7), true).unwrap();
    collector.wait_for_flows(7);
    assert_eq!(beside(&collector, "finish")["state"], "finished");
    assert!(collector.ended().finished.success());
}

#[test]
fn without_a_lease_it_ends_with_its_terminal() {
    let ended = Collector::start(&["--session", "0a1b2c3d"]).stop(Signal::SIGHUP);
    assert_eq!(ended.said("end_reason"), "terminal closed");
}

/// The user's machine is asleep: the terminal is there and takes nothing.
#[test]
fn a_terminal_that_hangs_does_not_keep_a_capture_alive() {
    let dir = tempfile::tempdir().unwrap();
    let collector = env!("CARGO_BIN_EXE_netobserv-collector");
    // `script` makes the terminal; stopped, it takes nothing out of it.
    let words = format!(
        "stty cols 200 rows 60; exec {collector} get-flows --listen unix:{} --output-dir {} --session a --lease 3s",
        dir.path().join("socket").display(),
        dir.path().join("output").display()
    );
    let script = Run::new("script").args(["-qec", &words, "/dev/null"]).start();
    assert!(wait_for(SOON, || script.children("netobserv-collector").len() == 1 && script.stdout().contains("00:00:0")));
    let [pid] = script.children("netobserv-collector")[..] else { panic!("one collector") };
    script.signal(Signal::SIGSTOP);
    assert!(wait_for(SOON, || !netobserv_testkit::proc::alive(pid)), "it hangs");
    script.signal(Signal::SIGCONT);
    let files = netobserv_testkit::Files::of(&dir.path().join("output"));
    files.assert_whole();
    let status = program(&["finish", "--output-dir"]).arg(dir.path().join("output")).output();
    assert!(status.contains("it was not renewed for 3s"), "{status}");
}

#[test]
fn a_killed_capture_is_known_to_be_over() {
    let collector = Collector::start(&OF_SESSION);
    collector.client().send("n1", records::some(0, 7), false).unwrap();
    collector.wait_for_flows(7);
    collector.process.signal(Signal::SIGKILL);
    assert!(wait_for(SOON, || beside(&collector, "renew")["state"] == "finished"));
    assert_eq!(beside(&collector, "finish")["reason"], "the collector was killed");
    collector.files().assert_whole();
}

/// What a restarted container or a second `oc exec` does: the capture goes on in files of its own, within the limits of both.
#[test]
fn a_killed_capture_goes_on_beside_its_first_files() {
    let words = ["--session", "0a1b2c3d", "--filename", "mine", "--maxbytes", "20000"];
    let collector = Collector::start(&words);
    collector.client().send("n1", records::some(0, 7), false).unwrap();
    collector.wait_for_flows(7);
    // Flows are taken a moment before the capture says of itself that it runs.
    assert!(wait_for(SOON, || beside(&collector, "renew")["state"] == "capturing"));
    collector.process.signal(Signal::SIGKILL);
    assert!(wait_for(SOON, || beside(&collector, "renew")["state"] == "finished"));
    let output = collector.output();
    let flow = |name: &str| output.join("flow").join(name);
    let used = flow("mine.json").metadata().unwrap().len();
    assert!(used > 1_000, "{used}");
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", dir.path().join("socket").display());
    let mut second = program(&["get-flows", "--listen", &socket]).args(words).arg("--output-dir").arg(&output).start();
    assert!(wait_for(SOON, || second.stderr().contains("Started collector") || second.ended()), "{}", second.stderr());
    let client = support::Client::connect(&dir.path().join("socket"));
    // Less than the limit by themselves, and more than the first process has left of it.
    client.send("n1", records::some(7, 36), false).unwrap();
    client.send("n1", Vec::new(), true).unwrap();
    let ended = second.wait(SOON);
    assert!(ended.success(), "{ended}");
    assert!(ended.stdout.contains("the collector was killed and started again: it was away from 20"), "{ended}");
    assert!(ended.stdout.contains("what came before is in flow/mine.json"), "{ended}");
    assert!(ended.stdout.contains("lost: in a killed collector up to 1s"), "{ended}");
    let (first, next) = (files(&flow("mine.json")), files(&flow("mine-2.json")));
    first.assert_whole();
    next.assert_whole();
    // The database may lack the last second.
    assert_eq!(first.flows().len(), 7);
    let size = next.json.metadata().unwrap().len();
    assert!(size < 20_000 && used + size >= 20_000, "the limit is that of both: {size} after {used}");
    let told = "SELECT count(*) FROM capture WHERE name = 'collector_killed' AND value LIKE '%it was away from%'";
    assert_eq!((first.number(told), next.number(told)), (0, 1));
    assert_eq!(beside(&collector, "finish")["reason"], "reached 20KB");
}

fn files(json: &std::path::Path) -> netobserv_testkit::Files {
    netobserv_testkit::Files { json: json.to_owned(), db: json.with_extension("db") }
}

#[test]
fn two_captures_do_not_share_a_folder() {
    let collector = Collector::start(&OF_SESSION);
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", dir.path().join("socket").display());
    let second = program(&["get-flows", "--session=b", "--filename=b", "--listen", &socket, "--output-dir"]);
    let second = second.arg(collector.output()).finish();
    assert!(second.code() == 1 && second.stderr.contains("another capture runs there"), "{second}");
    beside(&collector, "finish");
}

#[test]
fn a_capture_without_a_session_leaves_nothing_but_its_files() {
    let dir = tempfile::tempdir().unwrap();
    assert!(get_flows(dir.path(), &["--maxtime", "100ms"]).output().contains("reached 100ms"));
    let names: Vec<_> = dir.path().join("output").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["flow"]);
}

#[test]
fn silent_nodes_are_told() {
    let collector = Collector::start(&["--expect-nodes", "3"]);
    collector.client().send("n1", records::some(0, 7), true).unwrap();
    assert!(!collector.process.stderr().contains("nodes capture"), "{}", collector.process.stderr());
    let ended = collector.stop(Signal::SIGTERM);
    assert!(ended.finished.stdout.contains("1 of 3 nodes sent something"), "{}", ended.finished);
}

/// A sign of life is not enough: an agent that has just started watches no interface yet.
#[test]
fn that_all_nodes_capture_is_told() {
    let collector = Collector::start(&["--expect-nodes", "2"]);
    let client = collector.client();
    let say = |node: &str, interfaces| {
        let agent = AgentStatus { node: node.into(), interfaces, ..AgentStatus::default() };
        client.send_records(Records { agent: Some(agent), ..Records::default() }).unwrap();
    };
    let told = |time| wait_for(time, || collector.process.stderr().contains("2 of 2 nodes capture"));
    say("n1", 3);
    say("n2", 0);
    assert!(!told(Duration::from_millis(500)), "{}", collector.process.stderr());
    say("n2", 4);
    assert!(told(SOON), "{}", collector.process.stderr());
    collector.stop(Signal::SIGTERM);
}
