//! Without TCX the programs are filters on the clsact qdisc, beside what others put there: theirs is left alone.

use netobserv_testkit::session::command;
use netobserv_testkit::{Blast, LocalCapture, Pair, Signal, require_privileged};

/// A filter of somebody else, which matches nothing.
const THEIRS: &str = "filter add dev DEV ingress protocol all pref 1 bpf bytecode";

fn tc(pair: &Pair, words: &str) -> String {
    let words = words.replace("DEV", pair.captured());
    pair.right.run("tc").args(words.split(' ')).output()
}

fn filters(pair: &Pair) -> String {
    // Without a clsact qdisc there is nothing to show, which tc calls an error.
    let show = |hook| pair.right.run("tc").args(["filter", "show", "dev", pair.captured(), hook]).finish().stdout;
    show("ingress") + &show("egress")
}

/// Lines about our filters; each names the kernel's id of its program.
fn ours(pair: &Pair) -> Vec<String> {
    filters(pair).lines().filter(|line| line.contains("flow_")).map(str::to_owned).collect()
}

fn has_clsact(pair: &Pair) -> bool {
    tc(pair, "qdisc show dev DEV").contains("clsact")
}

/// A capture that may only use clsact, attached in both directions.
fn capture(pair: &Pair) -> LocalCapture {
    let stale = ours(pair);
    let dir = tempfile::tempdir().expect("a folder");
    let run = command(dir.path(), &[&format!("--interfaces={}", pair.captured())]).env("TC_ATTACH_MODE", "tc");
    let mut capture = LocalCapture::start_run(dir, run);
    let fresh = |hook: &str| ours(pair).iter().any(|filter| filter.contains(hook) && !stale.contains(filter));
    capture.wait_until("both filters", || fresh("flow_ingress") && fresh("flow_egress"));
    capture
}

#[track_caller]
fn assert_counts(pair: &Pair, capture: LocalCapture) {
    let (left, right) = pair.blast_both_ways(&Blast { flows: 100, rounds: 10, ..Blast::default() });
    let ended = capture.stop();
    let files = ended.files();
    assert_eq!(files.sum("IfDirection = 0").packets, left.packets);
    assert_eq!(files.sum("IfDirection = 1").packets, right.packets);
}

#[test]
fn a_qdisc_of_ours_goes_with_us() {
    require_privileged!();
    let pair = Pair::silent();
    let capture = capture(&pair);
    assert_counts(&pair, capture);
    assert!(!has_clsact(&pair), "{}", filters(&pair));
}

#[test]
fn a_qdisc_and_filters_of_others_stay() {
    require_privileged!();
    let pair = Pair::silent();
    tc(&pair, "qdisc add dev DEV clsact");
    let theirs = THEIRS.replace("DEV", pair.captured());
    pair.right.run("tc").args(theirs.split(' ')).arg("1,6 0 0 0,").output();
    let before = filters(&pair);
    assert!(before.contains("bytecode"), "{before}");
    let capture = capture(&pair);
    assert_counts(&pair, capture);
    assert!(has_clsact(&pair));
    assert_eq!(filters(&pair), before);
}

/// Unlike TCX links, filters stay when their maker is killed: the next capture must not be disturbed by them.
#[test]
fn a_capture_after_a_killed_one_counts_right() {
    require_privileged!();
    let pair = Pair::silent();
    let first = capture(&pair);
    netobserv_testkit::proc::signal(first.child("netobserv-agent"), Signal::SIGKILL);
    assert_eq!(first.ended().finished.code(), 1);
    let second = capture(&pair);
    assert_counts(&pair, second);
}
