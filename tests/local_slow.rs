//! Packets come at ten times the rate at which they can be written: what is written and what is counted as lost add up to what
//! was sent.

use std::time::Duration;

use netobserv_testkit::proc::binaries;
use netobserv_testkit::session::ours;
use netobserv_testkit::{Blast, Pair, Run, Signal, require_privileged, wait_for};

const LAST_WORDS: Duration = Duration::from_secs(120);

/// A disk that takes 200 KB a second, until the file `go` is there; it does not mind Ctrl-C.
const SLOW: &str = "
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
with open('slow.pcapng', 'wb') as file:
    while piece := os.read(0, 10_000):
        file.write(piece)
        if not os.path.exists('go'):
            time.sleep(0.05)
";

/// Counts in the line `lost: in the kernel 1,234 packets, ...`.
#[track_caller]
fn lost(account: &str) -> u64 {
    let line = account.lines().rev().find(|line| line.trim_start().starts_with("lost: ")).expect("a line on losses");
    let numbers = line.split(' ').filter_map(|word| word.replace(',', "").parse::<u64>().ok());
    numbers.sum()
}

#[test]
fn what_a_slow_disk_does_not_take_is_counted_to_the_packet() {
    require_privileged!();
    let (pair, dir) = (Pair::silent(), tempfile::tempdir().unwrap());
    let pipe = "\"$0\" packets --local udp,53000 -w - --snaplen=1000 --max-bytes=1000000000000 --interfaces=\"$1\" | python3 -c \"$2\"";
    let capture = Run::new("bash")
        .netns(&pair.right)
        .args(["-c", pipe])
        .arg(&binaries().plugin)
        .args([pair.captured(), SLOW])
        .dir(dir.path())
        .env("NETOBSERV_AGENT_BIN", &binaries().agent)
        .env("NETOBSERV_COLLECTOR_BIN", &binaries().collector)
        .own_group()
        .start();
    let attached = wait_for(LAST_WORDS, || ours(&pair.right, pair.captured()) == 2);
    assert!(attached, "{}", capture.stderr());

    let mut sent = 0;
    let blast = Blast { flows: 100, rounds: 500, size: 1_000, ..Blast::default() };
    // More than all queues hold, and at more than ten times the rate of the disk.
    while sent < 400_000 {
        sent += blast.run(&pair.left, &pair.veth.a.name).packets;
    }
    let taken = std::fs::metadata(dir.path().join("slow.pcapng")).unwrap().len();
    assert!(taken * 10 <= sent * 1_000, "the disk took {taken} bytes of {sent} packets");
    std::fs::write(dir.path().join("go"), "").unwrap();
    capture.signal_group(Signal::SIGINT);
    let done = capture.wait(LAST_WORDS);
    assert!(done.success(), "{done}");

    let info = Run::new("capinfos").args(["-M", "-T", "-r", "-c"]).arg(dir.path().join("slow.pcapng")).output();
    let written: u64 = info.trim().rsplit('\t').next().and_then(|word| word.parse().ok()).expect("a count");
    let lost = lost(&done.stderr);
    assert!(lost > 0, "the disk was not slow: {done}");
    assert_eq!(written + lost, sent, "{done}");
}
