//! `F` on the screen puts a filter into the kernel, and out of it again, on live traffic.

use std::net::UdpSocket;

use netobserv_testkit::session::{on_terminal, ours};
use netobserv_testkit::terminal::Terminal;
use netobserv_testkit::{Files, Pair, require_privileged, wait_for};
use tempfile::TempDir;

const KEPT: u16 = 5353;
const OTHER: u16 = 9999;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A capture of one interface, on a terminal, and sockets to two ports of it.
struct World {
    screen: Terminal,
    pair: Pair,
    from: UdpSocket,
    _to: [UdpSocket; 2],
    dir: TempDir,
}

impl World {
    #[track_caller]
    fn start(options: &[&str]) -> Self {
        let (pair, dir) = (Pair::addressed(), tempfile::tempdir().expect("a temporary folder"));
        let interface = format!("--interfaces={}", pair.captured());
        let options = [&[interface.as_str()], options].concat();
        let screen = on_terminal("flows", dir.path(), &options).start((120, 30));
        screen.wait_for("flows/s");
        assert!(wait_for(PATIENCE, || ours(&pair.right, pair.captured()) == 2), "{}", screen.text());
        let from = pair.left.enter(|| UdpSocket::bind((Pair::LEFT, 0)).expect("a socket"));
        let to = [KEPT, OTHER].map(|port| pair.right.enter(|| UdpSocket::bind((Pair::RIGHT, port)).expect("a socket")));
        Self { screen, pair, from, _to: to, dir }
    }

    fn send(&self, port: u16, count: u64) {
        for _ in 0..count {
            self.from.send_to(b"x", (Pair::RIGHT, port)).expect("sent");
        }
    }

    fn files(&self) -> Files {
        Files::of(&self.dir.path().join("output"))
    }

    fn packets(&self, port: u16) -> u64 {
        self.files().sum(&format!("DstPort = {port}")).packets
    }

    /// Sends, and waits until all of it has been counted: then the window in which it was sent is over.
    #[track_caller]
    fn send_and_see(&self, port: u16, count: u64) {
        let wanted = self.packets(port) + count;
        self.send(port, count);
        assert!(wait_for(PATIENCE, || self.packets(port) >= wanted), "{} of {wanted}", self.packets(port));
    }

    #[track_caller]
    fn quit(mut self) -> (String, Files, TempDir) {
        self.screen.press("\x03");
        assert!(self.screen.wait().success(), "{}", self.screen.text());
        let text = self.screen.text();
        (text, Files::of(&self.dir.path().join("output")), self.dir)
    }
}

#[test]
fn f_keeps_other_packets_out_of_the_files_until_it_is_taken_back() {
    require_privileged!();
    let mut world = World::start(&[]);
    world.send_and_see(OTHER, 5);
    world.screen.press("port:5353\rF");
    world.screen.wait_for("Files get only: port:5353 (1 of 1 nodes)");
    // Flows that were let in before are counted until the window ends.
    world.send_and_see(KEPT, 3);
    let before = world.packets(OTHER);
    world.send(OTHER, 50);
    world.send_and_see(KEPT, 3);
    assert_eq!(world.packets(OTHER), before, "counted in spite of the filter in the kernel");

    world.screen.press("F");
    world
        .screen
        .wait_until("the end of the filter", |text| !text.contains("Files get only") && !text.contains("again ("));
    world.send_and_see(OTHER, 7);

    // Once more, and without any filter on the screen it goes as well.
    world.screen.press("F");
    world.screen.wait_for("(1 of 1 nodes)");
    world.screen.press("\x7f");
    world
        .screen
        .wait_until("the end of the filter", |text| !text.contains("Files get only") && !text.contains("again ("));
    world.send_and_see(OTHER, 1);
    let (text, files, _dir) = world.quit();
    assert_eq!(text.matches("only this was captured: port:5353").count(), 2, "{text}");
    assert_eq!(
        files.number("SELECT count(*) FROM capture WHERE name = 'pushed_filters' AND value LIKE '%port:5353'"),
        1
    );
}

#[test]
fn what_the_capture_was_started_with_holds() {
    require_privileged!();
    let mut world = World::start(&["--protocol=UDP", "--port=5353", "or", "--protocol=ICMP"]);
    // Nothing passes both: what was in force stays.
    world.screen.press("tcp\rF");
    world.screen.wait_for("does not filter: nothing that this capture keeps passes it");
    world.send_and_see(KEPT, 2);
    // Everything but ICMP, of what it keeps.
    world.screen.press("F\x7f");
    world.screen.wait_until("no filter", |text| !text.contains("does not filter"));
    world.screen.press("!icmp\rF");
    world.screen.wait_for("Files get only: !icmp (1 of 1 nodes)");
    world.send_and_see(KEPT, 2);
    world.pair.ping();
    world.send(OTHER, 20);
    world.send_and_see(KEPT, 2);
    assert_eq!((world.packets(OTHER), world.files().sum("Proto = 1").packets), (0, 0));
    // The screen says what it cannot do.
    world.screen.press("F\x7fnodejs\rF");
    world.screen.wait_for("not put into the kernel: nodejs is a text");
    world.quit();
}
