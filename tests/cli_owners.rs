//! Who may touch what: sessions of others are left alone, what was not made here is never deleted, and `cleanup` works from
//! any machine, twice, and with half of the objects gone.
#![cfg(target_os = "linux")]

mod cli_world;

use cli_world::World;

/// A cluster in which this session is, made by this person.
fn held(world: World, by: &str) -> World {
    let world = world.file("session", "0badcafe").file("by", by);
    ["namespace.netobserv-cli", "daemonset.netobserv-cli", "pod.collector", "clusterrole.netobserv-cli"]
        .iter()
        .fold(world, |world, object| world.file(&format!("objects/{object}"), ""))
}

#[test]
fn a_second_session_is_refused_and_harms_nobody() {
    let world = held(World::new(), "ann@laptop");
    let before = world.objects();
    let outcome = world.run(&["flows"]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(
        outcome.stderr,
        "error: netobserv-cli namespace already exists. Ensure someone else is not running another capture on this \
         cluster. Else use 'oc netobserv cleanup' to remove the namespace first. It contains session 0badcafe of ann@laptop, \
         since 2024-03-06T16:19:22Z; use -n for another namespace\n"
    );
    assert_eq!(world.objects(), before);
    assert!(!world.calls().iter().any(|line| ["create", "apply", "delete", "run"].iter().any(|w| line.starts_with(w))));
}

#[test]
fn of_two_sessions_at_once_one_is_refused_and_deletes_nothing() {
    // The namespace appears between the question and the creation.
    let world = World::new()
        .file("objects/namespace.netobserv-cli", "")
        .file("answers/namespace", "")
        .file("session", "x")
        .file("by", "y");
    let outcome = world.run(&["flows"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("AlreadyExists"), "{outcome:?}");
    assert!(!world.calls().iter().any(|line| line.starts_with("delete")), "{:#?}", world.calls());
    assert_eq!(world.objects(), ["namespace.netobserv-cli"]);
}

#[test]
fn a_namespace_of_something_else_is_left_alone() {
    let foreign = r#"{"metadata":{"name":"netobserv-cli","labels":{"app":"other"}}}"#;
    let world = World::new().file("objects/namespace.netobserv-cli", "").file("answers/namespace", foreign);
    let world = world.file("session", "x").file("by", "y");
    let outcome = world.run(&["flows"]);
    let line = "error: netobserv-cli namespace already exists and was not created by this program: choose another one with -n\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), line));
    let outcome = world.run(&["cleanup"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "nothing to clean up\n"));
    assert_eq!(outcome.stderr, "namespace netobserv-cli was not created by this program and is left unchanged\n");
    assert_eq!(world.objects(), ["namespace.netobserv-cli"]);
}

#[test]
fn what_a_dead_session_left_is_cleared_first() {
    let world = World::new().file("session", "0badcafe").file("by", "ann@laptop");
    let world = world.file("objects/namespace.netobserv-cli", "").file("pod/flow/t.json", "[]");
    let outcome = world.run(&["flows"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:#?}");
    assert!(outcome.stdout.contains("removing what session 0badcafe of ann@laptop left in netobserv-cli\n"));
    assert!(world.path("output/flow/t.json").exists());
    assert_eq!(world.objects(), [""; 0]);
}

/// Between the namespace and the agents there is nothing yet that works.
#[test]
fn a_session_in_its_setup_is_not_taken_for_a_dead_one() {
    let begun = || {
        let now = chrono::Utc::now().to_rfc3339();
        let world = World::new().file("session", "0badcafe").file("by", "ann@laptop").file("started", now);
        world.file("objects/namespace.netobserv-cli", "")
    };
    let world = begun();
    let plugin = world.start(&["flows"]);
    world.wait_for_call_number("get namespace#2");
    let world = world.file("objects/daemonset.netobserv-cli", "");
    let outcome = plugin.outcome();
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.contains("It contains session 0badcafe of ann@laptop"), "{outcome:#?}");
    assert_eq!(world.objects(), ["daemonset.netobserv-cli", "namespace.netobserv-cli"]);

    let world = begun();
    let outcome = world.run(&["cleanup"]);
    assert!(outcome.code == Some(1) && outcome.stderr.contains("is in use"), "{outcome:#?}");
    assert_eq!(world.objects(), ["namespace.netobserv-cli"]);

    // One that goes away by itself makes room.
    let world = begun();
    let plugin = world.start(&["flows"]);
    world.wait_for_call_number("get namespace#2");
    std::fs::remove_file(world.cluster().join("objects/namespace.netobserv-cli")).unwrap();
    assert_eq!(plugin.outcome().code, Some(0));
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn a_session_that_died_in_its_setup_is_cleared_after_a_while() {
    let now = chrono::Utc::now().to_rfc3339();
    let world = World::new().file("session", "0badcafe").file("by", "ann@laptop").file("started", now);
    let world = world.file("objects/namespace.netobserv-cli", "").file("pod/flow/t.json", "[]");
    let outcome = world.run(&["flows"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:#?}");
    for line in [
        "session 0badcafe of ann@laptop has just started: checking whether it continues\n",
        "removing what session 0badcafe of ann@laptop left in netobserv-cli\n",
    ] {
        assert!(outcome.stdout.contains(line), "{outcome:#?}");
    }
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn cleanup_of_a_live_session_of_another_person_needs_force() {
    let world = held(World::new(), "ann@laptop");
    let outcome = world.run(&["cleanup"]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(
        outcome.stderr,
        "error: namespace netobserv-cli is in use. It contains session 0badcafe of ann@laptop, since 2024-03-06T16:19:22Z; \
         use --force to remove it anyway\n"
    );
    assert_eq!(world.objects().len(), 4);
    assert_eq!(world.run(&["cleanup", "--force"]).code, Some(0));
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn cleanup_of_ones_own_session_and_again() {
    let world = held(World::new().env("FAKE_OPENSHIFT", "4.17.0"), "me@here");
    let outcome = world.run(&["cleanup"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = outcome.stdout.lines().map(str::trim_end).collect();
    let expected = [
        "Copy skipped",
        "Cleaning up...",
        "Deleting daemonset...",
        "Deleting pod...",
        "Deleting cluster roles...",
        "Deleting security context constraints...",
        "Deleting namespace...",
    ];
    assert_eq!(lines, expected);
    assert_eq!(world.objects(), [""; 0]);
    for line in world.calls().iter().filter(|line| line.starts_with("delete")) {
        assert!(line.contains("-l netobserv.io/session=SESSION"), "{line}");
    }
    let again = world.run(&["cleanup"]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "nothing to clean up\n"));
}

#[test]
fn cleanup_finds_what_is_left_outside_of_a_namespace_that_is_gone() {
    let world = World::new().file("session", "0badcafe").file("objects/clusterrole.netobserv-cli", "");
    assert_eq!(world.run(&["cleanup"]).code, Some(0));
    assert_eq!(world.objects(), [""; 0]);
    // Objects of a session in another namespace are another matter.
    let world = World::new().file("session", "0badcafe").file("objects/clusterrole.netobserv-cli-other", "");
    assert_eq!(world.run(&["cleanup"]).stdout, "nothing to clean up\n");
    assert_eq!(world.objects().len(), 1);
    assert_eq!(world.run(&["cleanup", "-n", "other"]).code, Some(0));
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn a_cleanup_that_cannot_look_says_so() {
    for call in ["get --raw", "get namespace", "get clusterrolebinding"] {
        for mode in ["fail", "garbage"] {
            let world = held(World::new(), "me@here").env("FAKE_BREAK", &format!("{mode}:{call}"));
            let outcome = world.run(&["cleanup"]);
            assert_eq!(outcome.code, Some(1), "{mode} {call}: {outcome:?}");
            assert!(outcome.stderr.contains(&format!("`oc {call}")), "{outcome:?}");
            assert_eq!(world.objects().len(), 4);
        }
    }
}

#[test]
fn kubectl_is_called_when_the_plugin_is_its_own() {
    let world = World::new().file("session", "x");
    std::fs::rename(world.path("bin/oc"), world.path("bin/kubectl")).unwrap();
    let world = world.env("NETOBSERV_K8S_CLI", "kubectl");
    let outcome = world.run(&["cleanup", "-v"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "nothing to clean up\n"));
    assert!(outcome.stderr.starts_with("+ kubectl get --raw /apis\n"), "{outcome:?}");
}
