//! What a killed test leaves on the machine is found by `scripts/check-left-behind.sh`, and removed.

use std::path::Path;
use std::time::Duration;

use netobserv_testkit::proc::alive;
use netobserv_testkit::{Finished, Run, Signal, require_privileged, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// Makes one of each thing, under the names that tests give them, and lives on. A program of it outlives it.
const MAKER: &str = r#"
set -e
ip netns add "nst$$x0-left"
mkdir "/tmp/netobserv-run.$$.left"
mount -t tmpfs "netobserv-test-$$" "/tmp/netobserv-run.$$.left"
setsid ip netns exec "nst$$x0-left" sleep 600 </dev/null >/dev/null 2>&1 &
NETOBSERV_TEST_RUN=$$ setsid sleep 600 </dev/null >/dev/null 2>&1 &
echo "made $(jobs -p | tr '\n' ' ')"
wait
"#;

fn check(words: &[&str]) -> Finished {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check-left-behind.sh");
    Run::new(script).args(words.iter().copied()).finish()
}

#[test]
fn what_a_killed_test_left_is_listed_and_removed() {
    require_privileged!();
    let maker = Run::new("bash").args(["-c", MAKER]).start();
    assert!(wait_for(SOON, || maker.stdout().contains("made ")), "{}", maker.stderr());
    let pid = maker.pid();
    let folder = format!("/tmp/netobserv-run.{pid}.left");
    let programs: Vec<i32> = maker.stdout().split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(programs.len(), 2, "{}", maker.stdout());
    let alive_maker = check(&[]);
    assert!(!alive_maker.stdout.contains(&folder), "its maker lives: {alive_maker}");

    maker.signal(Signal::SIGKILL);
    assert_eq!(maker.wait(SOON).code(), 128 + 9);
    let listed = check(&[]);
    assert_eq!(listed.code(), 1, "{listed}");
    for line in [format!("folder {folder}"), format!("process {}: sleep 600", programs[1])] {
        assert!(listed.stdout.contains(&line), "{line}: {listed}");
    }
    let removed = check(&["--remove"]);
    assert!(removed.success() && removed.stdout.contains(&folder), "{removed}");
    assert!(wait_for(SOON, || !programs.iter().any(|pid| alive(*pid))), "{programs:?}: {removed}");
    assert!(!Path::new(&folder).exists() && !Path::new(&format!("/run/netns/nst{pid}x0-left")).exists(), "{removed}");
    let mounts = std::fs::read_to_string("/proc/mounts").expect("mounts");
    assert!(!mounts.contains(&format!("netobserv-test-{pid} ")), "{removed}");
    let again = check(&[]);
    assert!(!again.stdout.contains(&format!("netobserv-run.{pid}.")), "{again}");
}
