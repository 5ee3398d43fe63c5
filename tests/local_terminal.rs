//! A capture under a shell with job control: whatever ends or stops it, the shell has its terminal back.

use netobserv_testkit::proc::{binaries, children_of, program_of, signal};
use netobserv_testkit::session::on_terminal;
use netobserv_testkit::terminal::Shell;
use netobserv_testkit::{Signal, require_privileged, wait_for};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A capture on a terminal of a shell.
struct World {
    shell: Shell,
    /// How the terminal was before.
    modes: String,
    _dir: tempfile::TempDir,
}

impl World {
    /// Starts a capture of interfaces that are not there.
    #[track_caller]
    fn start(interfaces: &str) -> Self {
        Self::start_with(interfaces, "")
    }

    #[track_caller]
    fn start_with(interfaces: &str, words: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut shell = Shell::start(on_terminal("flows", dir.path(), &[]), dir.path());
        // Not what `stty sane` makes of it.
        shell.type_line("stty -ixon erase ^H");
        let modes = shell.modes();
        let plugin = binaries().plugin.display();
        shell.type_line(&format!("{plugin} flows --local --interfaces={interfaces} {words}"));
        Self { shell, modes, _dir: dir }
    }

    #[track_caller]
    fn capturing() -> Self {
        let world = Self::start("/^none0$/");
        world.shell.terminal.wait_for("flows/s");
        world
    }

    #[track_caller]
    fn assert_has_terminal(&mut self) {
        self.shell.assert_has_terminal(&self.modes);
    }

    fn plugin(&self) -> i32 {
        children_of(self.shell.terminal.pid()).into_iter().next().expect("the plugin")
    }

    #[track_caller]
    fn child(&self, name: &str) -> i32 {
        let found = || children_of(self.plugin()).into_iter().find(|pid| program_of(*pid).is_some_and(|it| it == name));
        assert!(wait_for(PATIENCE, || found().is_some()), "no {name}");
        found().expect("it is there")
    }
}

#[test]
fn ctrl_z_and_fg() {
    require_privileged!();
    let mut world = World::capturing();
    for _ in 0..2 {
        world.shell.terminal.press("\x1a");
        world.shell.terminal.wait_for("Stopped");
        world.assert_has_terminal();
        world.shell.type_line("fg");
        world.shell.terminal.wait_until("the screen", |_| world.shell.terminal.screen().alternate_screen());
        world.shell.terminal.wait_for("flows/s");
    }
    // One that ends before its agent is there has nothing to sum up.
    world.shell.terminal.wait_for("1 node");
    world.shell.terminal.press("udp");
    world.shell.terminal.wait_for("Filter: udp");
    world.shell.terminal.press("\x03");
    world.shell.terminal.wait_for("Captured for");
    world.assert_has_terminal();
}

#[test]
fn with_a_screen_all_features_are_on_unless_switched_off() {
    require_privileged!();
    for (words, wanted) in [
        ("", ["ENABLE_DNS_TRACKING=true", "ENABLE_RTT=auto", "ENABLE_PKT_DROPS=auto"]),
        (
            "--enable_rtt=false --enable_pkt_drop",
            ["ENABLE_DNS_TRACKING=true", "ENABLE_RTT=false", "ENABLE_PKT_DROPS=true"],
        ),
        ("--enable_all=false", ["ENABLE_DNS_TRACKING=false", "ENABLE_RTT=false", "ENABLE_PKT_DROPS=false"]),
    ] {
        let mut world = World::start_with("/^none0$/", words);
        world.shell.terminal.wait_for("1 node");
        let environment = std::fs::read(format!("/proc/{}/environ", world.child("netobserv-agent"))).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let missing: Vec<_> = wanted.iter().filter(|set| !environment.split('\0').any(|one| one == **set)).collect();
        assert!(missing.is_empty(), "{words}: {missing:?}");
        world.shell.terminal.press("3");
        let on = wanted[2] != "ENABLE_PKT_DROPS=false";
        world.shell.terminal.wait_for(if on {
            "Waiting for flows"
        } else {
            "not captured: start with --enable_pkt_drop"
        });
        world.shell.terminal.press("\x03");
        world.shell.terminal.wait_for("Captured for");
        world.assert_has_terminal();
    }
}

#[test]
fn at_the_limit_plus_captures_for_another_period() {
    require_privileged!();
    let mut world = World::start_with("/^none0$/", "--max-time=15s");
    world.shell.terminal.wait_for("The capture reached 15s, its files are written. q leaves, + continues for 15s");
    let agent = world.child("netobserv-agent");
    world.shell.terminal.press("+");
    world.shell.terminal.wait_for("flows/s");
    world.shell.terminal.wait_for("The capture reached 30s, its files are written. q leaves, + continues for 15s");
    assert_eq!(world.child("netobserv-agent"), agent, "the same one captures");
    world.shell.terminal.press("q");
    world.shell.terminal.wait_for("nothing was captured: the time was over, and then extended");
    world.shell.terminal.wait_for("read them again: oc-netobserv replay ");
    world.assert_has_terminal();
}

#[test]
fn killed_or_asked_to_end_it_leaves_the_terminal_as_it_was() {
    require_privileged!();
    for (who, how, said) in [
        ("netobserv-collector", Signal::SIGKILL, "killed by signal 9"),
        ("netobserv-collector", Signal::SIGABRT, "killed by signal 6"),
        ("netobserv-agent", Signal::SIGKILL, "killed by signal 9"),
        ("oc-netobserv", Signal::SIGTERM, "Captured for"),
        ("oc-netobserv", Signal::SIGHUP, "Captured for"),
    ] {
        let mut world = World::capturing();
        world.child("netobserv-agent");
        let pid = if who == "oc-netobserv" { world.plugin() } else { world.child(who) };
        signal(pid, how);
        world.shell.terminal.wait_for(said);
        world.assert_has_terminal();
    }
}

#[test]
fn what_cannot_start_does_not_touch_it() {
    require_privileged!();
    let mut world = World::start("none0");
    world.shell.terminal.wait_for("unknown interface none0");
    world.assert_has_terminal();
}
