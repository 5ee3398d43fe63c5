//! How a capture ends: limits, signals, and the agents' last words.

mod support;

use std::time::{Duration, Instant};

use netobserv_testkit::{Signal, wait_for};
use netobserv_wire::pbflow::{AgentStatus, Records};
use support::{Collector, SOON, records};

#[test]
fn the_time_limit_needs_no_traffic() {
    let ended = Collector::start(&["--maxtime", "300ms"]).ended();
    assert!(ended.finished.success(), "{}", ended.finished);
    assert!(ended.finished.stdout.contains("Capture reached 300ms, exiting now..."), "{}", ended.finished);
    assert_eq!(std::fs::read_to_string(ended.files().json).unwrap(), "[]\n");
    assert_eq!((ended.files().rows(), ended.said("end_reason")), (0, "reached 300ms".into()));
}

#[test]
fn the_byte_limit_ends_the_capture() {
    let collector = Collector::start(&["--maxbytes", "20000"]);
    let (agent, mut sent) = (collector.client(), 0);
    while !agent.send("n1", records::some(sent, 10), false).expect("an accepted batch").stop {
        sent += 10;
        assert!(sent < 10_000, "no end in sight");
    }
    agent.send("n1", records::some(sent, 1), true).unwrap();
    let ended = collector.ended();
    assert!(ended.finished.stdout.contains("Capture reached 20KB, exiting now..."), "{}", ended.finished);
    assert!(ended.files().json.metadata().unwrap().len() >= 20_000);
    assert_eq!(ended.files().rows(), ended.files().flows().len() as u64);
}

#[test]
fn agents_are_told_to_stop_and_their_last_flows_are_kept() {
    let collector = Collector::start(&[]);
    let (one, two) = (collector.client(), collector.client());
    assert!(!one.send("n1", records::some(0, 3), false).unwrap().stop);
    assert!(!two.send("n2", records::some(3, 3), false).unwrap().stop);
    collector.process.signal(Signal::SIGINT);
    assert!(wait_for(SOON, || one.send("n1", Vec::new(), false).unwrap().stop), "told to stop");
    assert!(one.send("n1", records::some(6, 2), true).unwrap().stop);
    assert!(two.send("n2", records::some(8, 2), true).unwrap().stop);
    let ended = collector.ended();
    assert!(ended.finished.success(), "{}", ended.finished);
    assert_eq!((ended.files().rows(), ended.files().flows().len()), (10, 10));
    assert_eq!(ended.said("agents_without_last_word"), "0");
}

#[test]
fn an_agent_that_stays_silent_is_not_waited_for_long() {
    let collector = Collector::start(&[]);
    collector.client().send("n1", records::some(0, 3), false).unwrap();
    let start = Instant::now();
    let ended = collector.stop(Signal::SIGTERM);
    assert!(start.elapsed() >= Duration::from_secs(2), "the grace");
    let told = "1 of the agents did not report their end";
    assert!(ended.finished.stdout.contains(told), "{}", ended.finished);
    assert_eq!(ended.said("agents_without_last_word"), "1");
}

/// Between one agent of a node and the next nobody counted: since when and until when is said, and it is no "lost: nothing".
#[test]
fn the_time_between_two_agents_of_a_node_is_said() {
    let collector = Collector::start(&[]);
    let client = collector.client();
    let say = |instance, interfaces, last| {
        let agent = AgentStatus { node: "n1".into(), instance, interfaces, last, ..AgentStatus::default() };
        client.send_records(Records { agent: Some(agent), ..Records::default() }).expect("an answer").stop
    };
    say(1, 3, false);
    say(1, 0, true);
    // The length of the hole, which is what is measured.
    std::thread::sleep(Duration::from_millis(1_200));
    say(2, 0, false);
    say(2, 3, false);
    collector.process.signal(Signal::SIGTERM);
    assert!(wait_for(SOON, || say(2, 3, false)), "told to stop");
    say(2, 0, true);
    let ended = collector.ended();
    let text = &ended.finished.stdout;
    assert!(text.contains("\n  n1 had no agent from 20") && text.contains("flows of that time are missing"), "{text}");
    assert!(text.contains("lost: without an agent ") && text.contains(" on 1 node\n"), "{text}");
    let ms: u64 = ended.said("without_agent_ms").parse().expect("a number");
    assert!(ms >= 1_200, "{ms}");
    assert!(ended.said("without_agent").starts_with("n1 had no agent from 20"), "{}", ended.said("without_agent"));
}

/// A node that goes away for good is missed until the end, though its last agent said that nothing follows.
#[test]
fn a_node_that_loses_its_agent_for_good_is_said() {
    let collector = Collector::start(&[]);
    let client = collector.client();
    client.send("gone", records::some(0, 3), true).unwrap();
    let told = || collector.process.stderr().contains("lost without an agent ");
    assert!(wait_for(SOON, told), "while it runs: {}", collector.process.stderr());
    // Longer than the moment by which agents may end before the capture.
    std::thread::sleep(Duration::from_millis(1_100));
    let ended = collector.stop(Signal::SIGTERM);
    assert!(ended.said("without_agent").contains("gone had no agent from 20"), "{}", ended.finished);
    assert!(ended.said("without_agent").contains(" to the end ("), "{}", ended.finished);
}

#[test]
fn agents_that_keep_sending_get_the_time_they_need() {
    let collector = Collector::start(&[]);
    let (agent, mut sent, start) = (collector.client(), 0, Instant::now());
    agent.send("n1", Vec::new(), false).unwrap();
    collector.process.signal(Signal::SIGTERM);
    while start.elapsed() < Duration::from_millis(2_500) {
        agent.send("n1", records::some(sent, 1), false).expect("still taken");
        sent += 1;
    }
    agent.send("n1", Vec::new(), true).unwrap();
    let ended = collector.ended();
    assert_eq!((ended.files().rows(), ended.said("agents_without_last_word")), (sent, "0".into()));
}

#[test]
fn a_message_that_comes_again_is_written_once() {
    let collector = Collector::start(&[]);
    let agent = collector.client();
    let status = AgentStatus { node: "n1".into(), instance: 5, ..AgentStatus::default() };
    for (sequence, records) in [(1, 2), (1, 2), (2, 3), (2, 3)] {
        let message = Records { entries: records::some(0, records), agent: Some(status.clone()), sequence };
        agent.send_records(message).unwrap();
    }
    let ended = collector.stop(Signal::SIGTERM);
    assert_eq!((ended.files().rows(), ended.said("flows")), (5, "5".into()));
}

#[test]
fn a_second_signal_does_not_wait() {
    let collector = Collector::start(&[]);
    let agent = collector.client();
    agent.send("n1", records::some(0, 3), false).unwrap();
    collector.process.signal(Signal::SIGINT);
    assert!(wait_for(SOON, || agent.send("n1", Vec::new(), false).unwrap().stop));
    let start = Instant::now();
    let ended = collector.stop(Signal::SIGINT);
    assert!(start.elapsed() < Duration::from_secs(2), "it waited: {:?}", start.elapsed());
    assert_eq!(ended.files().rows(), 3);
}

#[test]
fn a_batch_without_an_agent_is_not_waited_for() {
    let collector = Collector::start(&[]);
    collector.client().send_records(Records { entries: records::some(0, 3), agent: None, sequence: 0 }).unwrap();
    let start = Instant::now();
    let ended = collector.stop(Signal::SIGTERM);
    assert!(start.elapsed() < Duration::from_secs(2), "it waited: {:?}", start.elapsed());
    assert_eq!(ended.files().rows(), 3);
}

#[test]
fn it_ends_with_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let words = format!(
        "NETOBSERV_DIE_WITH_PARENT=$$ {} get-flows --listen unix:{} --output-dir {} & wait",
        env!("CARGO_BIN_EXE_netobserv-collector"),
        socket.display(),
        dir.path().join("output").display()
    );
    let shell = netobserv_testkit::Run::new("sh").args(["-c", &words]).start();
    assert!(wait_for(SOON, || shell.stderr().contains("Started collector")), "{}", shell.stderr());
    let [collector] = shell.children("netobserv-collector")[..] else { panic!("one collector") };
    shell.signal(Signal::SIGKILL);
    assert!(wait_for(SOON, || !netobserv_testkit::proc::alive(collector)), "it outlives its parent");
    assert!(!socket.exists());
    netobserv_testkit::Files::of(&dir.path().join("output")).assert_whole();
}
