//! `replay` of recorded captures, on a terminal.

use std::path::{Path, PathBuf};

use netobserv_testkit::Signal;
use netobserv_testkit::terminal::{OnTerminal, Terminal};
use serde_json::Value;
use tempfile::TempDir;

const NEXT_PROBLEM: &str = "\x0e";
const TO_BEGINNING: &str = "\x1b[1;5H";
const TO_END: &str = "\x1b[1;5F";

fn scenes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes")
}

/// A recorded scene in `capture.json`, ten seconds before which a connection was fine.
fn with_a_quiet_beginning(scene: &str) -> TempDir {
    let text = std::fs::read(scenes().join(scene)).expect("a scene");
    let mut flows: Vec<Value> = serde_json::from_slice(&text).expect("flows");
    let mut first = flows.iter().find(|flow| flow["PktDropPackets"].is_null()).expect("a flow without drops").clone();
    let before = flows[0]["TimeFlowEndMs"].as_u64().expect("a time") - 10_000;
    (first["TimeFlowStartMs"], first["TimeFlowEndMs"]) = (before.into(), before.into());
    flows.insert(0, first);
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("capture.json"), serde_json::to_vec(&flows).expect("JSON")).expect("room");
    dir
}

#[track_caller]
fn replay(dir: &Path, words: &[&str]) -> Terminal {
    let words = std::iter::once("replay").chain(words.iter().copied());
    let command = OnTerminal::new(env!("CARGO_BIN_EXE_netobserv-collector")).args(words).dir(dir);
    let terminal = command.env("LANG", "C.UTF-8").start((120, 40));
    terminal.wait_for("Replay");
    terminal
}

#[test]
fn a_blocked_pod_is_found_by_its_problem_and_the_file_is_left() {
    let dir = with_a_quiet_beginning("policy-drop.json");
    let mut terminal = replay(dir.path(), &["capture.json", "--speed=0.1"]);
    terminal.wait_for("playing x0.1");
    terminal.press(NEXT_PROBLEM);
    terminal.wait_until("the problem", |screen| {
        screen.contains("Blocked sample-app/nodejs → sample-app/postgresql:5432")
            && screen.contains("paused x0.1")
            && screen.contains("00:00:10 of 00:00:33")
    });
    terminal.press(TO_END);
    terminal.wait_until("the end", |screen| screen.contains("169 flows") && screen.contains("00:00:33 of 00:00:33"));
    terminal.press("8dst port 5432");
    terminal.wait_until("the filter", |screen| screen.contains(" of 169") && !screen.contains("router-1"));
    terminal.press("\x15F");
    terminal.wait_for("the capture is finished: no kernel can filter it");
    terminal.press(TO_BEGINNING);
    terminal.wait_for("00:00:00 of 00:00:33");
    terminal.press(" +");
    terminal.wait_for("x0.25");
    terminal.press("?");
    terminal.wait_for("to the next problem, and to the one before");
    terminal.press("xq");
    assert!(terminal.wait().success(), "{}", terminal.text());
    terminal.assert_given_back();
}

#[test]
fn it_plays_to_its_end_by_itself_and_a_signal_ends_it() {
    let mut terminal = replay(&scenes(), &["nxdomain.json", "--speed=1000"]);
    terminal.wait_until("the end", |screen| screen.contains("144 flows") && screen.contains("00:00:23 of 00:00:23"));
    terminal.signal(Signal::SIGTERM);
    assert!(terminal.wait().success(), "{}", terminal.text());
    terminal.assert_given_back();
}
