//! The stories of the article that began this project, as they were recorded (scripts/record-scenes.sh), on the real screen: whoever
//! looks finds the culprit.

mod support;

use serde_json::Value;
use support::pty::Pty;
use support::scene::Scene;

const CAUSE: &str = "SKB_DROP_REASON_NETFILTER_DROP";

fn is_dropped(flow: &Value) -> bool {
    flow["PktDropLatestDropCause"] == CAUSE
}

fn is_of_nodejs(flow: &Value) -> bool {
    flow["SrcK8S_Name"] == "nodejs-1" || flow["DstK8S_Name"] == "nodejs-1"
}

/// What a new user sees of a blocked pod on the smallest terminal.
#[test]
fn the_cause_is_on_the_first_screen_without_a_key() {
    let (scene, pty) = (Scene::read("policy-drop.json"), Pty::start(&[], (80, 24)));
    scene.play(&pty.client(), 0..3);
    pty.wait_until("the cause above the connections", |screen| {
        let lines: Vec<_> = screen.lines().collect();
        let cause =
            lines.iter().position(|line| line.starts_with("Blocked sample-app/nodejs → sample-app/postgresql:5432"));
        cause.is_some_and(|at| at < 6 && lines[at + 1].contains("a firewall rule drops every SYN, 0 answers"))
            && screen.contains("2Problems(")
            && screen.lines().any(|line| line.contains("postgresql-1:5432") && line.contains("blocked"))
    });
}

#[test]
fn a_policy_drops_packets_and_after_the_fix_it_does_no_more() {
    let (scene, mut pty) = (Scene::read("policy-drop.json"), Pty::start(&[], (160, 40)));
    let agent = pty.client();
    let fixed = scene.last(is_dropped) + 1;
    assert!(fixed > 5 && fixed + 5 < scene.seconds(), "{fixed} of {}", scene.seconds());
    scene.play(&agent, 0..fixed);

    // Without a key pressed.
    pty.wait_until("the cause on the first view", |screen| {
        screen.contains("Blocked sample-app/nodejs → sample-app/postgresql")
            && screen.contains("a firewall rule drops every SYN")
    });
    pty.press("3postgresql");
    pty.wait_for("Drop Cause");
    pty.wait_for("NETFILTER_DROP");
    pty.wait_until("only flows of the database", |screen| !screen.contains("router-1"));
    pty.press("\x152");
    let packets: u64 =
        scene.flows().filter(|flow| is_dropped(flow)).filter_map(|flow| flow["PktDropPackets"].as_u64()).sum();
    pty.wait_until("the cause, with who suffers", |screen| {
        let told = |line: &str| {
            line.starts_with("Blocked")
                && line.contains("sample-app/nodejs → sample-app/postgresql:5432")
                && line.contains(&format!("{packets} packets"))
        };
        screen.lines().any(told) && screen.contains("NETFILTER_DROP") && screen.contains("What to do:")
    });

    // The policy is corrected: flows go through, and those on the screen have no cause.
    scene.play(&agent, fixed..scene.seconds());
    let (port, rows) = scene.connection_after(fixed, 5432);
    pty.press(&format!("9sport:{port}"));
    pty.wait_for(&format!("of {rows} of"));
    let screen = pty.text();
    assert!(!screen.contains("NETFILTER_DROP") && screen.contains("n/a"), "{screen}");
    pty.press("\x153");
    pty.wait_for("NETFILTER_DROP");
    pty.press(&format!("sport:{port}"));
    pty.wait_for("No flow passes the filters");
    pty.press("\x152");
    pty.wait_until("the drops are history", |screen| {
        screen.lines().any(|line| line.starts_with("Blocked") && line.contains("s ago"))
    });
}

#[test]
fn typing_nodejs_leaves_its_flows_only() {
    let (scene, mut pty) = (Scene::read("nodejs.json"), Pty::start(&[], (140, 40)));
    scene.play(&pty.client(), 0..scene.seconds());
    pty.press("8");
    let (all, wanted) = (scene.flows().count(), scene.flows().filter(|flow| is_of_nodejs(flow)).count());
    assert!(wanted > 20 && wanted < all, "{wanted} of {all}");
    pty.wait_for(&format!("of {all}"));
    for (index, letter) in "nodejs".char_indices() {
        pty.press(&letter.to_string());
        pty.wait_for(&format!("Filter: {}", &"nodejs"[..=index]));
    }
    pty.wait_for(&format!("of {wanted} of {all}"));
    pty.wait_until("no other flows", |screen| {
        let rows: Vec<_> = screen.lines().filter(|line| line.contains("node1") || line.contains("-1 ")).collect();
        rows.len() > 20 && rows.iter().all(|line| line.contains("nodejs-1"))
    });
}

#[test]
fn a_wrong_name_shows_as_nxdomain() {
    let (scene, mut pty) = (Scene::read("nxdomain.json"), Pty::start(&[], (160, 40)));
    scene.play(&pty.client(), 0..scene.seconds());
    let wrong = scene.flows().filter(|flow| flow["DnsFlagsResponseCode"] == "NXDomain").count();
    pty.press("\x1b[C\x1b[C\x1b[C");
    pty.wait_for("DNS Name");
    pty.press("nxdomain");
    pty.wait_for(&format!("of {wrong} of"));
    pty.wait_for("postgres.sample-app.svc");
    pty.wait_until("wrong names only", |screen| !screen.contains("NoError"));
    pty.press("\x152");
    pty.wait_until("the name and how often", |screen| {
        let told = |line: &str| line.starts_with("DNS") && line.contains(&format!("{wrong} queries"));
        screen.lines().any(told) && screen.contains("postgres.sample-app.svc") && screen.contains("does not exist")
    });
}
