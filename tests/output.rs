//! Standard output: what cannot be written is an error, whoever wrote it; a reader that has seen enough is none.
#![cfg(target_os = "linux")]

mod cli_world;

use std::time::Duration;

use cli_world::World;
use netobserv_testkit::proc::binaries;
use netobserv_testkit::{Finished, Pair, Run, bpf, require_privileged, wait_for};

/// Longer than all that is waited for.
const A_MINUTE: Duration = Duration::from_secs(60);
const FULL: &str = "error: cannot write standard output: No space left on device";

/// Runs the plugin in bash, with what follows it on the line. The exit code is the plugin's.
fn piped(world: &World, words: &str, rest: &str) -> Finished {
    let line = format!("\"$0\" {words} {rest}; exit ${{PIPESTATUS[0]}}");
    let bash = Run::new("bash").args(["-c", &line, env!("CARGO_BIN_EXE_oc-netobserv")]).dir(world.path(""));
    let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").expect("PATH is set"));
    bash.env("PATH", path).env("FAKE_CLUSTER", world.cluster()).finish()
}

#[test]
fn what_cannot_be_written_is_an_error_of_every_command() {
    let world = World::new().file("pod/flow/t.json", "[\n]\n");
    let commands =
        ["help", "version", "images", "completion bash", "flows --dry-run", "flows --yaml=-", "follow", "flows"];
    for words in commands {
        let done = piped(&world, words, ">/dev/full");
        assert_eq!(done.code(), 1, "{words}: {done}");
        assert!(done.stderr.lines().any(|line| line.starts_with(FULL)), "{words}: {done}");
        assert_eq!(world.objects(), [""; 0], "{words}: {done}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let world = World::new().file("answers/logs", "a line of the log\n".repeat(100_000));
    for words in ["help", "completion bash", "flows --dry-run", "flows --yaml=-", "follow", "flows"] {
        let done = piped(&world, words, "| head -n 1");
        assert_eq!((done.code(), done.stderr.as_str()), (0, ""), "{words}: {done}");
        assert_eq!(done.stdout.lines().count(), 1, "{words}: {done}");
        assert_eq!(world.objects(), [""; 0], "{words}: {done}");
    }
}

/// As long as the reader is there, the capture of a cluster goes on; when it has gone, the capture ends as for Ctrl-C.
#[test]
fn a_capture_ends_with_its_reader() {
    let world = World::new().env("FAKE_CAPTURE", "wait").file("pod/flow/t.json", "[\n]\n");
    let line = "FAKE_CAPTURE=wait \"$0\" flows -o json | head -n 1; exit ${PIPESTATUS[0]}";
    let bash = Run::new("bash").args(["-c", line, env!("CARGO_BIN_EXE_oc-netobserv")]).dir(world.path(""));
    let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").expect("PATH is set"));
    let done = bash.env("PATH", path).env("FAKE_CLUSTER", world.cluster()).start().wait(A_MINUTE);
    assert_eq!((done.code(), done.stdout.as_str()), (0, "the capture speaks\n"), "{done}");
    assert!(!done.stderr.contains("error") && !done.stderr.contains("warning"), "{done}");
    assert!(world.calls().iter().any(|call| call.ends_with("finish")), "{:#?}", world.calls());
    assert!(world.path("output/flow/t.json").exists(), "{done}");
    assert_eq!(world.objects(), [""; 0]);
}

/// A capture of this machine whose standard output goes where `rest` says, while there is traffic.
#[track_caller]
fn local(pair: &Pair, words: &str, rest: &str) -> Finished {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let line = format!("\"$0\" {words} --local --interfaces={} {rest}; exit ${{PIPESTATUS[0]}}", pair.captured());
    let binaries = binaries();
    let bash = pair.right.run("bash").args(["-c", &line]).arg(&binaries.plugin).dir(dir.path()).own_group();
    let bash = bash.env("NETOBSERV_AGENT_BIN", &binaries.agent).env("NETOBSERV_COLLECTOR_BIN", &binaries.collector);
    let mut capture = bash.start();
    let ended = wait_for(3 * A_MINUTE, || {
        pair.ping();
        capture.ended()
    });
    assert!(ended, "it goes on: {}", capture.stderr());
    let done = capture.wait(A_MINUTE);
    assert!(done.orphans.is_empty(), "{:?}: {done}", done.orphans);
    let left: Vec<_> = bpf::attached(&pair.right, pair.captured()).into_iter().filter(bpf::Program::is_ours).collect();
    assert!(left.is_empty(), "{left:?}: {done}");
    done
}

#[test]
fn a_local_capture_that_cannot_be_written_fails() {
    require_privileged!();
    let pair = Pair::addressed();
    for words in ["flows -o json", "flows -o text", "packets --all -w -"] {
        let done = local(&pair, &format!("{words} --max-time=5m"), ">/dev/full");
        assert_eq!(done.code(), 1, "{words}: {done}");
        assert!(done.stderr.contains("error: cannot write standard output: No space left"), "{words}: {done}");
    }
}

#[test]
fn a_local_capture_ends_quietly_with_its_reader() {
    require_privileged!();
    let pair = Pair::addressed();
    for (words, reader) in [
        ("flows -o json", "head -n 1"),
        ("flows -o text", "head -n 3"),
        ("packets --all -w -", "head -c 2000"),
        ("packets --all -w -", "tshark -n -r - -c 5"),
        ("packets --all -w - --format=pcap", "tcpdump -n -r - -c 3"),
    ] {
        let done = local(&pair, &format!("{words} --max-time=5m"), &format!("| {reader}"));
        assert_eq!(done.code(), 0, "{words} | {reader}: {done}");
        assert!(!done.stdout.is_empty(), "{words} | {reader}: {done}");
        let troubles = ["error", "panicked", "SIGPIPE"];
        assert!(!troubles.iter().any(|trouble| done.stderr.contains(trouble)), "{words} | {reader}: {done}");
    }
}
