//! `--dry-run` is the session itself with canned answers: it prints the calls that a real one makes, and makes none.
#![cfg(target_os = "linux")]

mod cli_world;

use cli_world::World;

const JSON: &str = "[\n{\"Bytes\":1}\n]\n";

/// Calls without quotes and notes, under the names that a dry run has for what it cannot know, each once.
fn comparable(calls: &[String]) -> Vec<String> {
    let all = calls.join("\n");
    let id =
        all.split("netobserv.io/session=").nth(1).map_or("?", |rest| &rest[..rest.find(' ').unwrap_or(0)]).to_owned();
    let plain = |line: &String| {
        let line =
            line.split("  # ").next().unwrap_or_default().trim_start_matches("oc ").replace(['\\', '\'', '"'], "");
        let line = line.replace(&id, "SESSION").replace("flow/t.json", "PATH");
        let networks = ["10.0.0.0/16", "10.128.0.0/14", "172.30.0.0/16"];
        let line = networks.iter().fold(line, |line, network| line.replace(network, "CIDR"));
        line.replace("--expect-nodes=2", "--expect-nodes=1")
    };
    let mut once = Vec::new();
    calls.iter().map(plain).for_each(|line| {
        if !once.contains(&line) {
            once.push(line);
        }
    });
    // The questions before a capture are asked all at once.
    let questions = once.iter().position(|line| line.starts_with("create ")).unwrap_or(0);
    once[..questions].sort();
    once
}

/// What a dry run of these words prints, and nothing else.
#[track_caller]
fn rehearsed(world: &World, words: &[&str]) -> Vec<String> {
    let before = world.calls();
    let outcome = world.run(&[words, &["--dry-run"]].concat());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert_eq!(world.calls(), before, "a dry run called something");
    let lines: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
    assert!(lines.iter().all(|line| line.starts_with("oc ")), "{lines:#?}");
    assert!(!outcome.stdout.contains("PRIVATE KEY"));
    comparable(&lines)
}

#[test]
fn a_dry_run_prints_the_calls_of_a_capture_and_makes_none() {
    for more in [
        &["flows", "--copy=true", "--lease=4s"][..],
        &["flows", "--lease=4s", "--node-selector=a:b", "--get-subnets"],
        &["packets", "--port=80", "--lease=4s", "-n", "mine"],
    ] {
        let world =
            World::new().file("pod/flow/t.json", JSON).env("FAKE_OPENSHIFT", "4.16.3").env("FAKE_CAPTURE", "wait");
        let dry = rehearsed(&world, more);
        assert!(!world.path("output").exists());
        let running = world.start(more);
        world.wait_for_call(" renew");
        running.signal("INT");
        assert_eq!(running.outcome().code, Some(0));
        assert_eq!(dry, comparable(&world.calls()), "{more:?}");
        for part in ["whoami", " renew", " finish"] {
            assert!(dry.iter().any(|line| line.ends_with(part)), "{part} is not in {dry:#?}");
        }
    }
}

#[test]
fn a_dry_run_of_what_looks_after_a_capture_prints_its_calls() {
    let world = World::new().file("pod/flow/t.json", JSON).env("FAKE_OPENSHIFT", "4.16.3");
    let dry = rehearsed(&world, &["flows", "--background"]);
    assert_eq!(world.run(&["flows", "--background"]).code, Some(0));
    assert_eq!(dry, comparable(&world.calls()));
    for command in ["follow", "stop", "copy", "cleanup"] {
        let dry = rehearsed(&world, &[command]);
        let before = world.calls().len();
        assert_eq!(world.run(&[command]).code, Some(0), "{command}");
        assert_eq!(dry, comparable(&world.calls()[before..]), "{command}");
    }
}
