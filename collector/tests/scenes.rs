//! The stories of the article that began this project, on the real screen: whoever looks finds the culprit.

mod support;

use support::pty::Pty;
use support::scene::Scene;

#[test]
fn a_policy_drops_packets_and_after_the_fix_it_does_no_more() {
    let (scene, mut pty) = (Scene::read("policy-drop.json"), Pty::start(&[], (160, 40)));
    let agent = pty.client();
    scene.play(&agent, 0..12);

    pty.press("\x1b2postgresql");
    pty.wait_for("Drop Cause");
    pty.wait_for("OVS_DROP_EXPLICIT");
    pty.wait_for("SYN_SENT");
    pty.wait_until("only flows of the database", |screen| !screen.contains("router-default"));
    pty.press("\x15\x1b8");
    pty.wait_until("the cause, with who suffers", |screen| {
        screen.lines().any(|line| {
            line.starts_with("Dropped")
                && line.contains("OVS_DROP_EXPLICIT")
                && line.contains("18 packets")
                && line.contains("sample-app/nodejs-7c9f6d5b8-x2x4p → sample-app/postgresql-0:5432")
        })
    });

    // The policy is corrected: flows go through, and none of those on the screen has a cause.
    scene.play(&agent, 12..scene.seconds());
    pty.press("\x1b2sport:48710");
    pty.wait_for("of 12 of");
    let screen = pty.text();
    assert!(!screen.contains("OVS_DROP_EXPLICIT") && screen.contains("n/a"), "{screen}");
    pty.press("\x15\x1b8");
    pty.wait_until("the drops are history", |screen| {
        screen.lines().any(|line| line.starts_with("Dropped") && line.contains("s ago"))
    });
}

#[test]
fn typing_nodejs_leaves_its_flows_only() {
    let (scene, mut pty) = (Scene::read("nodejs.json"), Pty::start(&[], (120, 40)));
    scene.play(&pty.client(), 0..scene.seconds());
    pty.wait_for("router-default-6f8");
    for (index, letter) in "nodejs".char_indices() {
        pty.press(&letter.to_string());
        pty.wait_for(&format!("Filter: {}", &"nodejs"[..=index]));
    }
    pty.wait_for("of 48 of 80");
    pty.wait_until("no other flows", |screen| !screen.contains("router-default") && screen.contains("postgresql-0"));
    let rows = pty.text().lines().filter(|line| line.contains("10:") || line.contains("11:")).count();
    let named = pty.text().lines().filter(|line| line.contains("nodejs-7c9f6d5b8-x2x4p")).count();
    assert!(named >= 30 && rows <= named + 1, "{}", pty.text());
}

#[test]
fn a_wrong_name_shows_as_nxdomain() {
    let (scene, mut pty) = (Scene::read("nxdomain.json"), Pty::start(&[], (160, 40)));
    scene.play(&pty.client(), 0..scene.seconds());
    pty.press("\x1b[C\x1b[C");
    pty.wait_for("DNS Name");
    pty.press("nxdomain");
    pty.wait_for("of 24 of");
    pty.wait_for("postgres.sample-app.svc");
    pty.wait_until("wrong names only", |screen| !screen.contains("NoError"));
    pty.press("\x15\x1b8");
    pty.wait_until("the name and how often", |screen| {
        screen
            .lines()
            .any(|line| line.starts_with("DNS") && line.contains("NXDomain postgres") && line.contains("12 answers"))
    });
}
