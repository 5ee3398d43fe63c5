//! The screen of packets on a real terminal: from the conversations to the bytes of a packet and back, and nothing lost to it.

mod support;

use std::path::PathBuf;

use netobserv_testkit::{Frame, Signal};
use support::packets::{Agent, frame, tshark};
use support::pty::Pty;

/// 2024-03-06T16:18:20Z, ns.
const START: u64 = 1_709_741_900_000_000_000;

fn request() -> Vec<u8> {
    let frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4("10.0.0.7", "10.0.0.8");
    frame.tcp(40_000, 8_080, 24).carrying(b"GET /cart HTTP/1.1\r\nHost: shop\r\n\r\n").build()
}

/// A screen with ten packets of UDP and one of HTTP.
fn with_packets(words: &[&str], size: (u16, u16)) -> (Pty, Agent) {
    let pty = Pty::packets(words, size);
    let agent = Agent::connect(&pty.socket(), "n1");
    let packets: Vec<_> = (0..10).map(|n| (START + n * 1_000, frame(1_000, 30))).collect();
    agent.send(&packets);
    agent.send(&[(START + 20_000, request())]);
    pty.wait_for("2 conversations");
    (pty, agent)
}

#[track_caller]
fn only_file(pty: &Pty) -> PathBuf {
    let mut files = std::fs::read_dir(pty.output().join("pcap")).unwrap().map(|entry| entry.unwrap().path());
    files.next().expect("a file")
}

#[test]
fn a_person_goes_down_to_the_bytes_and_back() {
    let (mut pty, agent) = with_packets(&[], (132, 40));
    pty.wait_for("10.0.0.7:40000 → 10.0.0.8:8080");

    pty.press("port:8080");
    pty.wait_for("1 of 2 conversations");
    pty.press("\r\r");
    pty.wait_for("GET /cart HTTP/1.1");
    pty.wait_for("n1/eth0");
    pty.press("\r");
    pty.wait_for("Bytes of HTTP");
    pty.wait_for("47 45 54 20 2f 63 61 72");
    pty.press("\x1b");
    pty.wait_for("  Info");
    pty.press("\x1b");
    pty.wait_for("1 of 2 conversations");
    pty.press("\x7f");
    pty.wait_until("both", |screen| screen.contains("2 conversations") && !screen.contains("of 2 conversations"));

    pty.press(" ");
    pty.wait_for("PAUSED, 0 new packets");
    agent.send(&[(START + 30_000, request())]);
    pty.wait_for("PAUSED, 1 new packets");
    pty.press(" ");
    pty.wait_for("▶ live");
    pty.press("?");
    pty.wait_for("any key closes");
    pty.press("x");

    pty.press("\x11");
    agent.last();
    assert!(pty.wait().success(), "{}", pty.text());
    pty.assert_given_back();
    pty.wait_for("Capture interrupted, exiting now...");
    assert_eq!(tshark(&only_file(&pty), &["frame.number"]).len(), 12, "nothing was lost to the screen");
}

#[test]
fn losses_and_drops_are_red_and_in_words() {
    let (pty, agent) = with_packets(&[], (120, 40));
    pty.wait_for("Lost: nothing");
    agent.lose(7);
    agent.send_dropped(START + 40_000, &frame(2_000, 10), "SKB_DROP_REASON_NETFILTER_DROP");
    pty.wait_for("Lost: in the kernel 7 packets");
    pty.wait_for("3 conversations");
}

#[test]
fn other_sizes_and_the_end_by_a_signal() {
    let (mut pty, agent) = with_packets(&["--maxbytes", "0"], (80, 24));
    pty.resize(200, 60);
    pty.wait_for("First seen");
    pty.resize(40, 10);
    pty.wait_until("the last line at the bottom", |screen| {
        screen.lines().last().is_some_and(|line| line.contains("select"))
    });
    pty.signal(Signal::SIGTERM);
    agent.last();
    assert!(pty.wait().success(), "{}", pty.text());
    pty.assert_given_back();
}

#[test]
fn lines_instead_of_a_screen_on_request() {
    let mut pty = Pty::start_packets(&["--no-tui"], (120, 40));
    pty.wait_for("0 packets, 0B, lost nothing");
    assert!(pty.is_cooked() && !pty.screen().alternate_screen());
    pty.signal(Signal::SIGINT);
    assert!(pty.wait().success());
}
