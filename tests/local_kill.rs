//! `kill -9` of any of the three programs, mid-capture: files whole, nothing attached, nothing running.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netobserv_testkit::proc::{alive, binaries, signal};
use netobserv_testkit::session::ours;
use netobserv_testkit::{Blast, Ended, LocalCapture, Pair, Run, Signal, require_privileged, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// Who is killed.
enum Victim {
    Plugin,
    Agent,
    Collector,
}

/// Captures running traffic, kills one program, and checks what is left when it is over.
#[track_caller]
fn kill(victim: &Victim) -> Ended {
    let pair = Pair::silent();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &[]);
    let (agent, collector) = (capture.child("netobserv-agent"), capture.child("netobserv-collector"));
    let ended = under_traffic(&pair, || {
        let written = || capture.has_records() && capture.files().rows() > 0;
        assert!(wait_for(SOON, written), "no record was written");
        signal(
            match victim {
                Victim::Plugin => capture.pid(),
                Victim::Agent => agent,
                Victim::Collector => collector,
            },
            Signal::SIGKILL,
        );
        // Before `ended`, which kills what is left of the process group.
        let gone = wait_for(SOON, || !alive(agent) && !alive(collector));
        assert!(gone, "agent alive: {}, collector alive: {}", alive(agent), alive(collector));
        capture.ended()
    });
    assert_eq!(ours(&pair.right, pair.captured()), 0, "programs are still attached");
    Run::new(&binaries().plugin).arg("version").output();
    ended.files().assert_whole();
    assert!(ended.files().rows() > 0, "what was written before is kept");
    assert!(!ended.files().flows().is_empty(), "what was written before is kept");
    ended
}

/// Runs `work` while datagrams of 500 flows pass, about 20,000 a second.
fn under_traffic<T>(pair: &Pair, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends_also_on_panic = SetOnDrop(&over);
        scope.spawn(|| {
            let blast = Blast { flows: 500, rounds: 4, rate: Some(20_000), ..Blast::default() };
            while !over.load(Ordering::Relaxed) {
                blast.run(&pair.left, &pair.veth.a.name);
            }
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn of_the_collector() {
    require_privileged!();
    let ended = kill(&Victim::Collector);
    assert_eq!(ended.finished.code(), 1, "{}", ended.finished);
    assert!(ended.finished.stderr.contains("collector"), "it is said which program died: {}", ended.finished);
}

#[test]
fn of_the_agent() {
    require_privileged!();
    let ended = kill(&Victim::Agent);
    assert_eq!(ended.finished.code(), 1, "{}", ended.finished);
    assert!(ended.finished.stderr.contains("agent"), "it is said which program died: {}", ended.finished);
}

#[test]
fn of_the_plugin() {
    require_privileged!();
    let ended = kill(&Victim::Plugin);
    assert_eq!(ended.finished.code(), 128 + 9, "{}", ended.finished);
}
