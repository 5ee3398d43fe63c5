//! Pictures of the main views for the README: the real program, on a terminal, with the traffic of `tests/scenes`.
//!
//! `scripts/screenshots.sh` keeps them in `docs/images`; without it they are made and thrown away.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use netobserv_wire::pbflow::{AgentStatus, Records};
use support::pty::Pty;
use support::scene::Scene;
use support::svg;

const SIZE: (u16, u16) = (132, 32);

/// Where they are kept.
fn folder() -> Option<PathBuf> {
    std::env::var_os("NETOBSERV_SCREENSHOTS").map(PathBuf::from)
}

/// Seconds of real time for a second of the scene: short, unless the pictures are kept.
fn second() -> Duration {
    Duration::from_millis(if folder().is_some() { 1_000 } else { 5 })
}

fn take(pty: &Pty, name: &str, palette: &svg::Palette) {
    let picture = svg::draw(&pty.screen(), palette);
    assert!(picture.matches("<text").count() > 10, "an empty screen:\n{}", pty.text());
    if let Some(folder) = folder() {
        std::fs::write(folder.join(name), picture).expect("a folder for pictures");
    }
}

#[test]
fn pictures_of_the_main_views() {
    let scenes = ["policy-drop.json", "nxdomain.json"].map(Scene::read);
    let mut pty = Pty::start(&["--options", "enable_all=true|protocol=TCP|or|protocol=UDP|port=53"], SIZE);
    let agent = pty.client();
    let mut steps = ticks();
    for at in 0..12 {
        say_hello(&agent);
        scenes.iter().for_each(|scene| scene.play(&agent, at..at + 1));
        steps();
    }

    pty.wait_for("3 nodes");
    take(&pty, "standard.svg", &svg::DARK);
    pty.press("\x1b2postgresql");
    pty.wait_until("drops", |screen| screen.contains("OVS_DROP_EXPLICIT") && screen.contains("Filter: postgresql"));
    take(&pty, "drops.svg", &svg::DARK);
    pty.press("\x15\x1b3nxdomain");
    pty.wait_until("wrong names", |screen| screen.contains("NXDomain") && !screen.contains("NoError"));
    take(&pty, "dns.svg", &svg::LIGHT);
    pty.press("\x15\x1b8");
    pty.wait_for("No answer");
    take(&pty, "problems.svg", &svg::DARK);

    for at in 12..24 {
        say_hello(&agent);
        scenes[0].play(&agent, at..at + 1);
        steps();
    }
    pty.press("\x1b7");
    pty.wait_for("Client → server");
    take(&pty, "top.svg", &svg::DARK);
    pty.press("\x1b9");
    pty.wait_for("Round trip");
    take(&pty, "graph.svg", &svg::DARK);
    pty.press("\x1b1sport:48710");
    pty.wait_for("of 12 of");
    pty.press("\r\x1b[A\r");
    pty.wait_for("Fields of this record");
    take(&pty, "detail.svg", &svg::DARK);
}

/// The agents of three nodes are there.
fn say_hello(client: &support::Client) {
    for node in ["worker-1", "worker-2", "worker-3"] {
        let status = AgentStatus { node: node.into(), ..AgentStatus::default() };
        client.send_records(Records { agent: Some(status), ..Records::default() }).unwrap();
    }
}

/// Waits for the next step of the scene, by the clock of the pictures.
fn ticks() -> impl FnMut() {
    let mut due = std::time::Instant::now();
    move || {
        due += second();
        let _ = netobserv_testkit::wait_for(second() + Duration::from_secs(1), || std::time::Instant::now() >= due);
    }
}
