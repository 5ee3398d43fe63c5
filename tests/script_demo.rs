//! `scripts/demo.sh --cluster`: the show, to its end as lines, and ended in its middle on a terminal.

use std::time::Duration;

use netobserv_testkit::proc::{alive, binaries, children_of, program_of};
use netobserv_testkit::terminal::OnTerminal;
use netobserv_testkit::{Files, Run, netns, require_privileged, wait_for};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo.sh");

#[test]
fn the_show_plays_to_its_end() {
    require_privileged!();
    let folder = tempfile::tempdir().unwrap();
    let output = format!("--output-dir={}", folder.path().display());
    let run = Run::new(SCRIPT).args(["--cluster", "--no-build", &output]).env("NETOBSERV_BIN_DIR", programs());
    let done = run.start().wait(Duration::from_secs(180));
    assert!(done.success(), "{done}");
    let mut rest = done.stdout.as_str();
    for text in [
        "$ oc get nodes\nnode/node1\nnode/node2\nnode/node3\n",
        "$ oc netobserv flows",
        "Setting up...",
        "3/3 Ready",
        "NETFILTER_DROP",
        "-- the policy is corrected",
        "Captured for",
        "lost: nothing",
        "Copying collector output files...",
        "Cleaning up...",
        "sqlite3 ",
        "$ oc netobserv cleanup\nnothing to clean up\n",
        "No resources found\n",
        "The cluster is gone, too",
    ] {
        let at = rest.find(text).unwrap_or_else(|| panic!("no {text:?} where it should be: {done}"));
        rest = &rest[at + text.len()..];
    }
    assert!(!done.stdout.contains('\x1b'), "escapes without a terminal: {done}");
    let files = Files::of(folder.path());
    files.assert_whole();
    assert!(files.number("SELECT count(*) FROM flow WHERE PktDropPackets > 0") > 0);
}

#[test]
fn ctrl_c_in_the_middle_leaves_nothing() {
    require_privileged!();
    let folder = tempfile::tempdir().unwrap();
    let output = format!("--output-dir={}", folder.path().display());
    let show = OnTerminal::new(SCRIPT).args(["--cluster", "--no-build", &output]).env("NETOBSERV_BIN_DIR", programs());
    let mut screen = show.start((140, 40));
    screen.wait_for("3 of 3 nodes");
    let player = children_of(screen.pid()).into_iter().find(|pid| {
        // The kernel keeps 15 characters of a name; this is the file's.
        program_of(*pid).as_deref() == Some("netobserv-test-show")
    });
    let own = format!("nst{}x", player.expect("the show below its script"));
    let made = || netns::names().into_iter().filter(|name| name.starts_with(&own)).collect::<Vec<_>>();
    let inside = |name: &String| Run::new("ip").args(["netns", "pids", name]).output();
    let text: String = made().iter().map(inside).collect();
    let running: Vec<i32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(running.len() >= 8, "three agents, a collector and four pods: {running:?}");
    screen.press("\x03");
    assert_eq!(screen.wait().exit_code(), 130, "{}", screen.text());
    screen.assert_given_back();
    assert_eq!(made(), Vec::<String>::new());
    assert!(wait_for(Duration::from_secs(10), || !running.iter().any(|pid| alive(*pid))), "a program still runs");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "files of a capture that did not end");
}

/// The folder of the programs.
fn programs() -> &'static std::path::Path {
    binaries().plugin.parent().unwrap()
}
