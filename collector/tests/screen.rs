//! The screen on a real terminal, made by `script`.

mod support;

use netobserv_testkit::{Run, wait_for};
use support::{Client, SOON, records};

#[test]
fn the_screen_shows_flows_and_gives_the_terminal_back() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let words = format!(
        "stty cols 80 rows 24; exec {} get-flows --listen unix:{} --output-dir {}",
        env!("CARGO_BIN_EXE_netobserv-collector"),
        socket.display(),
        dir.path().join("output").display()
    );
    let script = Run::new("script").args(["-qec", &words, "/dev/null"]).env("NO_COLOR", "1").start();
    assert!(wait_for(SOON, || script.stdout().contains("Flow capture")), "{}", script.stdout());
    let agent = Client::connect(&socket);
    agent.send("n1", records::some(1, 4), true).unwrap();
    assert!(wait_for(SOON, || script.stdout().contains("eth0")), "{}", script.stdout());
    let [collector] = script.children("netobserv-collector")[..] else { panic!("one collector") };
    netobserv_testkit::proc::signal(collector, netobserv_testkit::Signal::SIGTERM);
    let finished = script.wait(SOON);
    assert!(finished.success(), "{finished}");
    let (screen, after) = finished.stdout.split_once("\u{1b}[?1049l").expect("the alternate screen is left");
    assert!(screen.contains("\u{1b}[?1049h") && screen.contains("\u{1b}[?25h"), "{finished}");
    assert!(after.contains("Capture terminated, exiting now...") && after.contains(".json: 4 flows"), "{finished}");
    assert!(!finished.stdout.contains("\u{1b}[31m"), "red in spite of NO_COLOR");
}
