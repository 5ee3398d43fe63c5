//! However a capture ends, its last window is in the files.

use std::time::Duration;

use netobserv_testkit::capture::Sum;
use netobserv_testkit::{Blast, Files, LocalCapture, Pair, require_privileged};

/// Age of the ping when the capture is told to end: less than one window of the agent.
const AGE: Duration = Duration::from_millis(200);

/// Expects one echo request coming in and one answer going out, in both files.
#[track_caller]
fn assert_ping(files: &Files) {
    let request = files.sum("IfDirection = 0 AND Proto = 1 AND IcmpType = 8");
    let reply = files.sum("IfDirection = 1 AND Proto = 1 AND IcmpType = 0");
    assert_eq!((request.packets, reply.packets), (1, 1), "in the database");
    let flows = files.flows();
    assert_eq!(flows.len(), 2, "in the JSON file: {flows:#?}");
    for (src, kind) in [(Pair::LEFT, 8), (Pair::RIGHT, 0)] {
        let found = flows.iter().any(|flow| flow["SrcAddr"] == src && flow["IcmpType"] == kind && flow["Packets"] == 1);
        assert!(found, "ICMP type {kind} from {src}: {flows:#?}");
    }
}

fn capture_with_a_ping() -> (Pair, LocalCapture) {
    let pair = Pair::addressed();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &[]);
    pair.ping();
    std::thread::sleep(AGE); // Not a wait for something: the promise is about this age.
    (pair, capture)
}

#[test]
fn ctrl_c_keeps_the_last_window() {
    require_privileged!();
    let (_pair, capture) = capture_with_a_ping();
    let ended = capture.ctrl_c();
    assert!(ended.finished.success(), "{}", ended.finished);
    assert_ping(&ended.files());
}

/// Much is under way when Ctrl-C comes, to all three programs at once: what is not in the files is counted as lost.
#[test]
fn ctrl_c_under_load_accounts_for_every_packet() {
    require_privileged!();
    let pair = Pair::silent();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &["--max-bytes=100000000000"]);
    let start = pair.counters();
    let (sent, _) = pair.blast_both_ways(&Blast { flows: 50_000, rounds: 4, rate: Some(100_000), ..Blast::default() });
    let ended = capture.ctrl_c();
    let counted = pair.counters().since(&start);
    assert!(ended.finished.success(), "{}", ended.finished);
    assert_eq!(counted.rx_packets, sent.packets);
    let files = ended.files();
    let wire = Sum { packets: counted.rx_packets + counted.tx_packets, bytes: counted.rx_bytes + counted.tx_bytes };
    assert_eq!(files.sum("true") + files.lost(), wire, "seen and lost\n{}", ended.finished);
    assert_eq!(files.flows().len() as u64, files.rows(), "both files hold the same records");
}

#[test]
fn sigterm_keeps_the_last_window() {
    require_privileged!();
    let (_pair, capture) = capture_with_a_ping();
    let ended = capture.terminate();
    assert!(ended.finished.success(), "{}", ended.finished);
    assert_ping(&ended.files());
}

#[test]
fn the_time_limit_keeps_the_last_window() {
    require_privileged!();
    let pair = Pair::addressed();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &["--max-time=3s"]);
    pair.ping();
    let ended = capture.ended();
    assert!(ended.finished.success(), "{}", ended.finished);
    assert_ping(&ended.files());
}

#[test]
fn the_size_limit_ends_the_capture() {
    require_privileged!();
    let pair = Pair::silent();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &["--max-bytes=20000"]);
    let sent = Blast { flows: 500, rounds: 2, ..Blast::default() }.run(&pair.left, &pair.veth.a.name);
    let ended = capture.ended();
    assert!(ended.finished.success(), "{}", ended.finished);
    ended.files().assert_whole();
    assert_eq!(ended.files().sum("true").packets, sent.packets, "the window that passed the limit is kept whole");
}

#[test]
fn the_time_limit_comes_without_traffic() {
    require_privileged!();
    let pair = Pair::silent();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &["--max-time=2s"]);
    let ended = capture.ended();
    assert!(ended.finished.success(), "{}", ended.finished);
    assert_eq!((ended.files().flows().len(), ended.files().rows()), (0, 0));
    ended.files().assert_whole();
}

/// Nothing is running or attached after the end.
#[test]
fn nothing_is_left() {
    require_privileged!();
    let pair = Pair::addressed();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &[]);
    let children = [capture.child("netobserv-agent"), capture.child("netobserv-collector")];
    let ended = capture.stop();
    assert!(ended.finished.orphans.is_empty(), "{:?}", ended.finished.orphans);
    assert_eq!(netobserv_testkit::session::ours(&pair.right, pair.captured()), 0);
    assert_eq!(children.map(netobserv_testkit::proc::alive), [false, false]);
}
