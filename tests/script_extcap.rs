//! `scripts/extcap/netobserv` on this machine, called as Wireshark calls it; with a cluster: `cluster_captures.rs`.

use std::time::Duration;

use netobserv_testkit::proc::binaries;
use netobserv_testkit::{Pair, Run, Signal, require_privileged, wait_for};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/extcap/netobserv");

#[test]
fn wireshark_is_told_what_there_is() {
    let says = |words: &[&str]| Run::new(SCRIPT).args(words.iter().copied()).output();
    let interfaces = says(&["--extcap-interfaces", "--extcap-version=4.4"]);
    for interface in ["netobserv-cluster", "netobserv-local"] {
        assert!(interfaces.contains(&format!("interface {{value={interface}}}")), "{interfaces}");
        let dlts = says(&["--extcap-dlts", "--extcap-interface", interface]);
        assert!(dlts.contains("{number=1}{name=EN10MB}"), "{dlts}");
        let config = says(&["--extcap-config", "--extcap-interface", interface]);
        assert!(config.contains("{call=--rule}") && config.contains("{call=--max-time}"), "{config}");
    }
    let wrong = Run::new(SCRIPT).finish();
    assert!(wrong.code() == 2 && wrong.stderr.starts_with("usage:"), "{wrong}");
}

#[test]
fn a_capture_of_this_machine_goes_into_the_pipe() {
    require_privileged!();
    let (pair, dir) = (Pair::addressed(), tempfile::tempdir().unwrap());
    let fifo = dir.path().join("fifo");
    assert!(Run::new("mkfifo").arg(&fifo).finish().success());
    let words = ["--capture", "--extcap-interface=netobserv-local", "--rule=--protocol=ICMP", "--max-time=5m"];
    let only = format!("--words=--interfaces={}", pair.captured());
    let capture = Run::new(SCRIPT)
        .netns(&pair.right)
        .args(words)
        .args([&only, "--fifo"])
        .arg(&fifo)
        .env("OC_NETOBSERV", &binaries().plugin)
        .env("NETOBSERV_AGENT_BIN", &binaries().agent)
        .env("NETOBSERV_COLLECTOR_BIN", &binaries().collector)
        .own_group()
        .start();
    let words = ["-c", "4", "-n", "-T", "fields", "-e", "frame.interface_name", "-e", "icmp.type", "-i"];
    let mut tshark = Run::new("tshark").args(words).arg(&fifo).start();
    let ended = wait_for(Duration::from_secs(60), || {
        pair.ping();
        tshark.ended()
    });
    assert!(ended, "{}\n{}", tshark.stderr(), capture.stderr());
    let read = tshark.wait(Duration::from_secs(5));
    assert!(read.success() && read.stdout.lines().count() == 4, "{read}");
    assert!(read.stdout.lines().all(|line| line.contains(pair.captured())), "{read}");
    assert!(read.stdout.contains("\t8") && read.stdout.contains("\t0"), "{read}");
    capture.signal(Signal::SIGTERM);
    let done = capture.wait(Duration::from_secs(60));
    assert!(done.success(), "{done}");
}
