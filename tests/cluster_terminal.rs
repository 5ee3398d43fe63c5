//! A capture in a cluster on the user's terminal: what that can show reaches the pod, and it comes back whatever happens there.

mod cluster_world;

use cluster_world::Shop;
use netobserv_testkit::proc::{children_of, program_of, signal};
use netobserv_testkit::terminal::Shell;
use netobserv_testkit::{Signal, require_privileged};

/// As the kernel names its process.
const COLLECTOR: &str = "network-observa";

/// Everything below a process.
fn below(pid: i32) -> Vec<i32> {
    children_of(pid).into_iter().flat_map(|child| [vec![child], below(child)].concat()).collect()
}

#[test]
fn colours_and_characters_are_those_of_the_user_s_terminal() {
    require_privileged!();
    let shop = Shop::open(1);
    let plugin = shop
        .cluster
        .plugin_on_terminal(&["flows", "--max-time=5m", "--copy=false"])
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C");
    let mut screen = plugin.start((100, 30));
    screen.wait_for("1 of 1 nodes");
    shop.browse(2);
    // Filtered, they do not scroll away behind the flows of the capture itself.
    screen.press("server-1");
    screen.wait_for("client-1");
    let bytes = screen.bytes();
    let from = bytes.windows(8).position(|part| part == b"\x1b[?1049h").expect("a screen of its own");
    assert!(bytes[from..].is_ascii(), "more than ASCII in spite of LC_ALL=C");
    let text = String::from_utf8_lossy(&bytes[from..]).into_owned();
    assert!((30..38).all(|colour| !text.contains(&format!("\x1b[{colour}m"))), "colours in spite of NO_COLOR");
    screen.press("\x03");
    assert!(screen.wait().success(), "{}\n{}", screen.text(), shop.cluster.logs());
}

#[test]
fn a_killed_collector_or_oc_leaves_the_terminal_as_it_was() {
    require_privileged!();
    for victim in ["netobserv-test-oc", COLLECTOR] {
        let shop = Shop::open(1);
        let home = shop.cluster.home();
        let mut shell = Shell::start(shop.cluster.plugin_on_terminal(&[]), &home);
        shell.type_line("stty -ixon erase ^H");
        let modes = shell.modes();
        let plugin = netobserv_testkit::proc::binaries().plugin.clone();
        shell.type_line(&format!("{} flows --max-time=5m --copy=false", plugin.display()));
        shell.terminal.wait_for("flows/s");
        let found = || {
            let is_it =
                |pid: &i32| program_of(*pid).is_some_and(|name| name.starts_with(victim) || victim.starts_with(&name));
            below(shell.terminal.pid()).into_iter().find(is_it)
        };
        let first = found().unwrap_or_else(|| panic!("no {victim} below the shell"));
        signal(first, Signal::SIGKILL);
        if victim == COLLECTOR {
            // The capture goes on, with a screen as before.
            shop.cluster.wait_until("another collector", || found().is_some_and(|pid| pid != first));
            let told = || String::from_utf8_lossy(&shell.terminal.bytes()).contains("restarting it");
            shop.cluster.wait_until("a word about it", told);
            shell.terminal.wait_for("flows/s");
            shell.terminal.press("\x03");
        }
        shell.assert_has_terminal(&modes);
        shop.cluster.wait_until("an empty cluster", || shop.cluster.left_behind().is_empty());
    }
}
