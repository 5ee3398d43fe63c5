//! Pictures of the main views for the README: the real program, on a terminal, with the traffic of `tests/scenes`.
//!
//! `scripts/screenshots.sh` keeps them in `docs/images`; without it they are made and thrown away.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use netobserv_testkit::Frame;
use netobserv_wire::pbflow::{AgentStatus, Records};
use support::animation::Animation;
use support::packets::Agent;
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
    keep(name, &picture);
}

fn keep(name: &str, picture: &str) {
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
    let fixed = corrected(&scenes[0]);
    for at in 0..fixed {
        play(&scenes, &agent, at, &mut steps);
    }

    pty.wait_for("2 nodes");
    pty.wait_for("Blocked");
    take(&pty, "connections.svg", &svg::DARK);
    pty.press("8");
    pty.wait_for("Enrichment");
    take(&pty, "records.svg", &svg::DARK);
    pty.press("3postgresql");
    pty.wait_until("drops", |screen| screen.contains("NETFILTER_DROP") && screen.contains("Filter: postgresql"));
    take(&pty, "drops.svg", &svg::DARK);
    pty.press("\x154nxdomain");
    pty.wait_until("wrong names", |screen| screen.contains("NXDomain") && !screen.contains("NoError"));
    take(&pty, "dns.svg", &svg::LIGHT);
    pty.press("\x152");
    pty.wait_for("What to do");
    take(&pty, "problems.svg", &svg::DARK);

    for at in fixed..scenes[0].seconds() {
        play(&scenes[..1], &agent, at, &mut steps);
    }
    pty.press("6");
    pty.wait_for("Client → server, both");
    take(&pty, "top.svg", &svg::DARK);
    pty.press("7");
    pty.wait_for("Round trip");
    take(&pty, "graph.svg", &svg::DARK);
    let (port, rows) = scenes[0].connection_after(fixed, 5432);
    pty.press(&format!("8sport:{port}"));
    pty.wait_for(&format!("of {rows} of"));
    pty.press("\r\x1b[A\r");
    pty.wait_for("Fields of this record");
    take(&pty, "detail.svg", &svg::DARK);
}

/// The README's moving picture: from the problem to its cause in a quarter of a minute.
#[test]
fn a_moving_picture_finds_the_cause() {
    const SIZE: (u16, u16) = (124, 21);
    let scenes = ["policy-drop.json", "nxdomain.json"].map(Scene::read);
    let mut pty = Pty::start(&["--options", "enable_all=true"], SIZE);
    let mut picture = Animation::new(SIZE, &svg::DARK);
    let agent = pty.client();
    let mut steps = ticks();
    let fixed = corrected(&scenes[0]);
    for at in 0..fixed {
        play(&scenes, &agent, at, &mut steps);
        if at % 2 == 0 {
            let caption = "nodejs cannot reach its database.  $ oc netobserv flows --enable_all";
            picture.show(&pty.screen(), caption, 0.4);
        }
    }
    pty.wait_for("2 nodes");
    pty.wait_for("Blocked");
    picture.show(&pty.screen(), "The first view: nodejs is blocked, and by what.", 3.0);
    pty.press("2");
    pty.wait_for("What to do");
    let cause = picture.frames();
    picture.show(&pty.screen(), "2 Problems: a firewall rule drops the connections of nodejs to port 5432.", 4.0);
    pty.press("3");
    pty.wait_for("Drop Cause");
    for letters in 1..="postgres".len() {
        pty.press(&"postgres"[letters - 1..letters]);
        pty.wait_for(&format!("Filter: {} ", &"postgres"[..letters]));
        picture.show(&pty.screen(), "3 Drops: type to filter.", 0.15);
    }
    pty.wait_until("drops", |screen| screen.contains("NETFILTER_DROP") && screen.contains("Filter: postgres "));
    picture.show(&pty.screen(), "3 Drops: every dropped SYN, with interface and the kernel's reason.", 3.0);
    pty.press("\x155port:5432");
    for at in fixed..scenes[0].seconds() {
        play(&scenes[..1], &agent, at, &mut steps);
    }
    pty.wait_until("round trips", |screen| screen.contains("postgresql-1") && screen.contains("µs"));
    picture.show(&pty.screen(), "The rule is corrected: packets in both directions, with round-trip times.", 3.5);

    let drawn = picture.draw(cause);
    assert!(drawn.contains("NETFILTER_DROP") && drawn.contains("µs") && !drawn.contains("<script"), "{drawn}");
    keep("cause.svg", &drawn);
}

#[test]
fn a_picture_of_packets() {
    const START: u64 = 1_709_741_900_000_000_000;
    let mut pty = Pty::packets(&["--options", "protocol=TCP|port=8080|or|protocol=UDP|port=53"], SIZE);
    let agent = Agent::connect(&pty.socket(), "worker-1");
    let frame = |to_server: bool| {
        let (src, dst) = if to_server { ("10.128.2.18", "10.129.0.44") } else { ("10.129.0.44", "10.128.2.18") };
        Frame::new([10, 88, 0, 0, 0, 1], [10, 88, 0, 0, 0, 2]).ipv4(src, dst)
    };
    let mut packets = Vec::new();
    for n in 0..40 {
        let at = START + n * 20_000_000;
        let request =
            frame(true).tcp(48_752, 8_080, 24).carrying(b"GET /cart HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\n\r\n");
        let response = frame(false).tcp(8_080, 48_752, 24).carrying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        packets.extend([(at, request.build()), (at + 3_000_000, response.build())]);
        packets.push((at + 5_000_000, frame(true).udp(40_000, 53).payload(40).build()));
    }
    agent.send(&packets);
    pty.wait_for("2 conversations");
    pty.press("port:8080\r\r");
    pty.wait_for("HTTP/1.1 200 OK");
    pty.press("\x1b[A\x1b[A\r");
    pty.wait_for("Bytes of IPv4");
    take(&pty, "packets.svg", &svg::DARK);
}

/// The second in which the policy is corrected.
fn corrected(scene: &Scene) -> u64 {
    scene.last(|flow| flow["PktDropLatestDropCause"] == "SKB_DROP_REASON_NETFILTER_DROP") + 1
}

/// Sends a second of the scenes, and waits until it is over.
fn play(scenes: &[Scene], agent: &support::Client, second: u64, wait: &mut impl FnMut()) {
    say_hello(agent);
    scenes.iter().for_each(|scene| scene.play(agent, second..second + 1));
    wait();
}

/// The agents of both nodes are there.
fn say_hello(client: &support::Client) {
    for node in ["node1", "node2"] {
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
