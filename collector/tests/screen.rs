//! The screen on a real terminal: keys in, picture out, and the terminal as it was afterwards.

mod support;

use netobserv_testkit::terminal::{OnTerminal, Shell};
use netobserv_testkit::{Signal, wait_for};
use netobserv_wire::pbflow::{AgentStatus, Records};
use support::pty::Pty;
use support::{SOON, records};

const UP: &str = "\x1b[A";
const RIGHT: &str = "\x1b[C";
const ESCAPE: &str = "\x1b";

/// A screen with ten flows.
fn with_flows(words: &[&str]) -> (Pty, support::Client) {
    let mut pty = Pty::start(words, (120, 40));
    let agent = pty.client();
    agent.send("n1", records::some(1, 10), false).unwrap();
    pty.wait_for("10 connections");
    pty.press("8");
    pty.wait_for("of 10");
    (pty, agent)
}

#[test]
fn a_person_filters_sorts_pauses_looks_closer_and_quits() {
    let (mut pty, agent) = with_flows(&[]);
    pty.wait_for("eth0");

    pty.press("udp");
    pty.wait_for("of 4 of 10");
    pty.wait_until("UDP only", |screen| screen.contains("UDP") && !screen.contains("TCP "));
    pty.press("\r!eth0");
    pty.wait_for("[udp ×]");
    pty.wait_for("No flow passes");
    pty.press("\x15\x7f");
    pty.wait_for("of 10");

    pty.press("<");
    pty.wait_for("Sort: Packets ▼");

    pty.press(" ");
    pty.wait_for("PAUSED, 0 new");
    agent.send("n1", records::some(20, 5), false).unwrap();
    pty.wait_for("PAUSED, 5 new");
    pty.press(" ");
    pty.wait_for("of 15");

    pty.press(UP);
    pty.press("\r");
    pty.wait_for("Fields of this record");
    pty.wait_for("TimeFlowEndMs");
    pty.press(ESCAPE);
    pty.wait_until("the table", |screen| !screen.contains("Fields of this record"));

    pty.press("?");
    pty.wait_for("any key closes");
    pty.press("x");
    pty.press("9");
    pty.wait_for("Drop Cause");
    pty.press(RIGHT);
    pty.wait_for("Fields; Shift");
    pty.press("6");
    pty.wait_for("Client → server, both");

    pty.press("q");
    pty.wait_for("End the capture and write its files?");
    pty.press("\r");
    agent.send("n1", Vec::new(), true).unwrap();
    assert!(pty.wait().success(), "{}", pty.text());
    pty.assert_given_back();
    pty.wait_for("Capture interrupted, exiting now...");
    assert_eq!(pty.files().flows().len(), 15, "nothing was lost to the filters or the pause");
}

#[test]
fn every_way_to_end_gives_the_terminal_back() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (mut pty, agent) = with_flows(&[]);
        assert!(!pty.is_cooked());
        pty.signal(signal);
        agent.send("n1", Vec::new(), true).unwrap();
        assert!(pty.wait().success(), "{signal:?}: {}", pty.text());
        pty.assert_given_back();
    }
}

#[test]
fn at_the_limit_the_screen_stays_until_it_is_left_and_the_shell_gets_no_key() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut shell = Shell::start(OnTerminal::new("bash").env("LANG", "C.UTF-8"), dir.path());
    let before = shell.modes();
    let collector = env!("CARGO_BIN_EXE_netobserv-collector");
    shell.type_line(&format!("{collector} get-flows --listen unix:socket --maxtime 10s"));
    shell.terminal.wait_for("flows/s");
    let agent = support::Client::connect(&dir.path().join("socket"));
    agent.send("n1", records::some(1, 10), false).unwrap();
    agent.send("n1", Vec::new(), true).unwrap();
    shell.terminal.wait_for("10 connections");
    // Someone types while the limit is reached.
    shell.terminal.press("touch typed\r");
    shell.terminal.wait_for("[touch typed ×]");
    shell.terminal.wait_for("The capture reached 10s, its files are written. q leaves");
    let files = netobserv_testkit::Files::of(&dir.path().join("output"));
    assert_eq!(files.flows().len(), 10, "written while the screen stays");
    shell.terminal.press("\x1b[3~8");
    shell.terminal.wait_for("of 10");
    shell.terminal.press("\r");
    shell.terminal.wait_for("Fields of this record");
    // What is typed behind the key that leaves is nothing for the shell either.
    shell.terminal.press(ESCAPE);
    shell.terminal.wait_until("the table", |screen| !screen.contains("Fields of this record"));
    shell.terminal.press("qtouch typed\r");
    shell.terminal.wait_for("Capture reached 10s, exiting now...");
    shell.terminal.wait_for("Most bytes:");
    shell.terminal.wait_for("Read them again: oc-netobserv replay ");
    shell.assert_has_terminal(&before);
    shell.type_line("ls; echo all $((1 + 1))");
    shell.terminal.wait_for("all 2");
    assert!(!dir.path().join("typed").exists(), "{}", shell.terminal.text());
}

#[test]
fn plus_at_the_limit_captures_for_another_period() {
    let mut pty = Pty::start(&["--maxtime", "3s"], (120, 40));
    let agent = pty.client();
    agent.send("n1", records::some(1, 10), false).unwrap();
    pty.wait_for("The capture reached 3s, its files are written. q leaves, + continues for 3s");
    assert_eq!(pty.files().flows().len(), 10, "written while the screen stays");
    // What this agent, which knows no filter, still sends is of no period.
    agent.send("n1", records::some(100, 7), false).unwrap();
    pty.press("+");
    pty.wait_for("flows/s");
    agent.send("n1", records::some(200, 5), false).unwrap();
    pty.wait_for("The capture reached 6s, its files are written. q leaves, + continues for 3s");
    pty.press("q");
    assert!(pty.wait().success(), "{}", pty.text());
    pty.assert_given_back();
    pty.wait_for("UTC nothing was captured: the time was over, and then extended");
    assert_eq!(pty.files().flows().len(), 15, "{}", pty.text());
}

#[test]
fn ctrl_c_typed_is_a_signal() {
    let (mut pty, agent) = with_flows(&[]);
    pty.press("\x03");
    agent.send("n1", Vec::new(), true).unwrap();
    assert!(pty.wait().success());
    pty.assert_given_back();
}

#[test]
fn other_sizes_are_drawn_at_once() {
    let (pty, _agent) = with_flows(&[]);
    for (width, height) in [(80, 24), (300, 100), (40, 10), (120, 40)] {
        pty.resize(width, height);
        let rows = format!("Rows: - {}", height - 7);
        pty.wait_until("rows as high as the screen", |screen| width < 60 || screen.contains(&rows));
        pty.wait_until("the last line at the bottom", |screen| {
            screen.lines().count() == usize::from(height)
                && screen.lines().last().is_some_and(|line| line.contains("view"))
        });
    }
}

#[test]
fn ctrl_z_gives_the_shell_its_terminal_until_fg() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut shell = Shell::start(OnTerminal::new("bash").env("LANG", "C.UTF-8"), dir.path());
    let before = shell.modes();
    shell.type_line(&format!("{} get-flows --listen unix:socket", env!("CARGO_BIN_EXE_netobserv-collector")));
    for _ in 0..2 {
        shell.terminal.wait_for("flows/s");
        assert!(shell.terminal.screen().alternate_screen());
        shell.terminal.press("\x1a");
        shell.terminal.wait_for("Stopped");
        shell.assert_has_terminal(&before);
        shell.type_line("fg");
        shell.terminal.wait_until("the screen", |_| shell.terminal.screen().alternate_screen());
    }
    shell.terminal.press("udp");
    shell.terminal.wait_for("Filter: udp");
    // A stop from outside is one as well.
    let collector = netobserv_testkit::proc::children_of(shell.terminal.pid());
    assert_eq!(collector.len(), 1);
    netobserv_testkit::proc::signal(collector[0], Signal::SIGTSTP);
    shell.terminal.wait_for("Stopped");
    shell.assert_has_terminal(&before);
    shell.type_line("fg");
    shell.terminal.wait_for("Filter: udp");
    netobserv_testkit::proc::signal(collector[0], Signal::SIGTERM);
    shell.terminal.wait_for("Capture");
    shell.assert_has_terminal(&before);
}

#[test]
fn the_user_s_terminal_can_be_told() {
    let words = ["--no-color", "--term=screen", "--locale=C"];
    let pty = Pty::start_with(&words, (100, 30), &[("LANG", "C.UTF-8")]);
    pty.wait_for("flows/s");
    pty.client().send("n1", records::some(1, 10), false).unwrap();
    pty.wait_for("10 connections");
    assert!(pty.bytes().is_ascii(), "more than ASCII in spite of --locale=C");
    let text = String::from_utf8(pty.bytes()).unwrap();
    assert!((30..38).all(|colour| !text.contains(&format!("\x1b[{colour}m"))), "colours in spite of --no-color");
}

#[test]
fn without_job_control_ctrl_z_does_nothing() {
    // The collector leads its session, as behind `oc exec`: nobody could continue it.
    let (mut pty, agent) = with_flows(&[]);
    pty.press("\x1a");
    agent.send("n1", records::some(50, 3), false).unwrap();
    pty.wait_for("of 13");
    pty.press("udp");
    pty.wait_for("Filter: udp");
}

#[test]
fn colours_and_unicode_only_where_they_are_wanted() {
    let pty = Pty::start_with(&[], (100, 30), &[("NO_COLOR", "1"), ("LC_ALL", "C")]);
    pty.wait_for("flows/s");
    pty.client().send("n1", records::some(1, 10), false).unwrap();
    pty.wait_for("10 connections");
    let bytes = pty.bytes();
    assert!(bytes.is_ascii(), "more than ASCII in spite of LC_ALL=C");
    let text = String::from_utf8(bytes).unwrap();
    for colour in 30..38 {
        assert!(!text.contains(&format!("\x1b[{colour}m")), "colour {colour} in spite of NO_COLOR");
    }
}

#[test]
fn what_happened_last_is_plain_text_at_the_bottom() {
    let env = [("LANG", "C.UTF-8"), ("TERM", "xterm-256color")];
    let pty = Pty::start_with(&["--expect-nodes=2"], (120, 30), &env);
    pty.wait_for("flows/s");
    for node in ["n1", "n2"] {
        let agent = AgentStatus { node: node.into(), interfaces: 1, ..AgentStatus::default() };
        let records = Records { entries: records::some(1, 10), agent: Some(agent), sequence: 0 };
        pty.client().send_records(records).unwrap();
    }
    pty.wait_until("the last event alone", |screen| {
        screen
            .lines()
            .last()
            .is_some_and(|line| line.contains("q end") && line.trim().ends_with("INFO 2 of 2 nodes capture"))
    });
}

#[test]
fn lines_instead_of_a_screen_on_request() {
    let mut pty = Pty::start_with(&["--no-tui"], (200, 50), &[]);
    pty.wait_for("Started collector");
    let agent = pty.client();
    agent.send("n1", records::some(1, 3), true).unwrap();
    pty.wait_until("three lines", |screen| screen.matches(" -> ").count() == 3);
    assert!(pty.is_cooked() && !pty.screen().alternate_screen());
    pty.signal(Signal::SIGINT);
    assert!(pty.wait().success());
}

#[test]
fn a_dumb_terminal_gets_lines_without_escape_sequences() {
    for term in ["dumb", ""] {
        let mut pty = Pty::start_with(&[], (200, 50), &[("TERM", term), ("LANG", "C.UTF-8")]);
        pty.wait_for("Started collector");
        pty.client().send("n1", records::some(1, 3), true).unwrap();
        pty.wait_until("three lines", |screen| screen.matches(" -> ").count() == 3);
        pty.signal(Signal::SIGINT);
        assert!(pty.wait().success());
        pty.wait_for("lost: nothing");
        assert!(!pty.bytes().contains(&0x1b), "{:?}", String::from_utf8_lossy(&pty.bytes()));
    }
}

/// A capture of five flows with these words, to its end.
fn five_flows(words: &[&str]) -> (tempfile::TempDir, netobserv_testkit::proc::Finished) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let socket = dir.path().join("socket");
    let process = support::get_flows(dir.path(), words).start();
    assert!(wait_for(SOON, || std::os::unix::net::UnixStream::connect(&socket).is_ok()), "{}", process.stderr());
    support::Client::connect(&socket).send("n1", records::some(1, 5), true).unwrap();
    process.signal(Signal::SIGINT);
    (dir, process.wait(SOON))
}

#[test]
fn lines_that_are_asked_for_have_standard_output_for_themselves() {
    for format in ["text", "json"] {
        let flow = |line: &str| if format == "json" { line.starts_with('{') } else { line.contains(" -> ") };
        for quiet in [&[][..], &["--quiet"]] {
            let (_dir, ended) = five_flows(&[&["-o", format], quiet].concat());
            assert!(ended.stdout.lines().count() == 5 && ended.stdout.lines().all(flow), "{ended}");
            let account = ended.stderr.contains("Captured for") && ended.stderr.contains("lost: nothing");
            assert_eq!((account, ended.stderr.is_empty()), (quiet.is_empty(), !quiet.is_empty()), "{ended}");
        }
    }
    let (dir, ended) = five_flows(&["--quiet"]);
    assert!(ended.success() && ended.stdout.is_empty() && ended.stderr.is_empty(), "{ended}");
    assert_eq!(netobserv_testkit::Files::of(&dir.path().join("output")).flows().len(), 5);
}

#[test]
fn a_screen_that_nobody_reads_does_not_hold_up_the_capture() {
    let collector = support::Collector::start(&["-o", "json"]);
    collector.client().send("n1", records::some(1, 5), true).unwrap();
    assert!(wait_for(SOON, || collector.process.stdout().lines().count() == 5));
    for line in collector.process.stdout().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap()["Bytes"].is_u64(), "{line}");
    }
    let ended = collector.stop(Signal::SIGINT);
    assert_eq!(ended.finished.stdout.lines().count(), 5, "only flows: {}", ended.finished.stdout);
    assert!(ended.finished.stderr.contains("Capture interrupted, exiting now..."), "{}", ended.finished);
}
