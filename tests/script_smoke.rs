//! `scripts/smoke.sh` against the stand-in for `oc`: it passes when everything works, and says what does not.
#![cfg(target_os = "linux")]

mod cli_world;

use cli_world::World;

fn world() -> World {
    let world = World::new().file("pod/flow/t.json", "[\n]\n").file("pod/flow/t.db", "SQLite format 3");
    world.file("pod/pcap/t.pcapng", "packets").env("SMOKE_PAUSE", "0.05")
}

#[test]
fn every_step_passes() {
    let world = world();
    let outcome = world.run_script("scripts/smoke.sh", &["-n", "mine"]);
    let steps: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(steps.iter().filter(|line| line.starts_with("PASS ")).count(), 15, "{outcome:#?}");
    assert_eq!(steps.last(), Some(&"0 failed"));
    assert_eq!(world.objects(), [""; 0]);
    let packets = world.calls().iter().filter(|line| line.contains("get-packets")).count();
    let namespaces = world.calls().iter().filter(|line| line.starts_with("create -f -")).count();
    assert_eq!((packets, namespaces), (1, 3));
}

#[test]
fn what_fails_is_said_and_nothing_is_left() {
    let world = world().env("FAKE_BREAK", "fail:get-packets");
    let outcome = world.run_script("scripts/smoke.sh", &[]);
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stdout.contains("FAIL packets (exit code 1"), "{outcome:#?}");
    assert_eq!(world.objects(), [""; 0]);
    let world = world.env("FAKE_BREAK", "fail:get --raw");
    let outcome = world.run_script("scripts/smoke.sh", &[]);
    assert!(outcome.code == Some(1) && outcome.stdout.contains("the cluster cannot be reached"), "{outcome:#?}");
}
