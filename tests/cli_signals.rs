//! Signals on the real program, at every step: what was made is removed, what was captured is kept.
#![cfg(target_os = "linux")]

mod cli_world;

use std::thread;
use std::time::Duration;

use cli_world::World;

/// Longer than the echoes of one signal, which count as one.
const NEW_SIGNAL: Duration = Duration::from_millis(600);
const STOPPING: &str = "stopping: waiting for the last records, Ctrl-C again ends at once\n";

fn world() -> World {
    World::new().file("pod/flow/t.json", "[\n]\n")
}

/// Steps of a setup, each one call.
const STEPS: [&str; 8] = [
    "get --raw /apis",
    "get namespace",
    "create -f -",
    "apply -f -",
    "apply -f -#3",
    "run -n",
    "get daemonset",
    "wait ",
];

#[test]
fn a_signal_during_the_setup_leaves_nothing() {
    thread::scope(|scope| {
        for (index, step) in STEPS.iter().enumerate() {
            scope.spawn(move || {
                let world = world().env("FAKE_BREAK", &format!("hang:{step}"));
                let plugin = world.start(&["flows"]);
                world.wait_for_call_number(step);
                plugin.signal(["INT", "TERM", "HUP"][index % 3]);
                let outcome = plugin.outcome();
                assert_eq!(outcome.code, Some(1), "{step}: {outcome:#?}");
                assert!(outcome.stderr.contains("interrupted while trying to "), "{step}: {outcome:#?}");
                assert_eq!(world.objects(), [""; 0], "{step}");
            });
        }
    });
}

#[test]
fn a_signal_ends_the_capture_in_good_order_and_its_files_arrive() {
    for signal in ["INT", "TERM", "HUP"] {
        let world = world().env("FAKE_CAPTURE", "wait");
        let plugin = world.start(&["flows"]);
        world.wait_for_call("get-flows");
        plugin.signal(signal);
        let outcome = plugin.outcome();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), STOPPING), "{signal}: {outcome:#?}");
        let calls = world.calls();
        let place = |part: &str| calls.iter().position(|line| line.contains(part)).expect("the call");
        assert!(
            place("cli finish") < place("cli files") && place("cli files") < place("delete daemonset"),
            "{calls:#?}"
        );
        assert!(world.path("output/flow/t.json").exists());
        assert_eq!(world.objects(), [""; 0]);
    }
}

#[test]
fn a_signal_to_the_whole_terminal_does_not_cut_the_last_records_off() {
    // Ctrl-C reaches every program of the terminal; the one that captures must not hear it.
    let world = world().env("FAKE_CAPTURE", "wait");
    let (seen, code) = world.run_on_terminal(&["flows", "--copy=true"], &[("the capture speaks", "\u{3}")]);
    assert_eq!(code, 0, "{seen}");
    assert!(world.path("output/flow/t.json").exists(), "{seen}");
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn a_second_signal_says_what_is_left() {
    let world = world().env("FAKE_BREAK", "hang:delete pod");
    let plugin = world.start(&["flows"]);
    world.wait_for_call("delete pod");
    plugin.signal("INT");
    let outcome = plugin.outcome();
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    let start = "error: left in the cluster: the collector, cluster roles, namespace netobserv-cli; \
                 'oc netobserv cleanup' removes it when the cluster responds. interrupted while trying to delete pod\n";
    assert_eq!(outcome.stderr, start);
    assert!(world.objects().contains(&"namespace.netobserv-cli".to_owned()));
}

#[test]
fn the_signal_that_ended_the_capture_does_not_end_the_cleanup() {
    let world = world().env("FAKE_CAPTURE", "wait").env("FAKE_BREAK", "hang:delete pod");
    let plugin = world.start(&["flows", "-n", "mine"]);
    world.wait_for_call("get-flows");
    plugin.signal("TERM");
    world.wait_for_call("delete pod");
    thread::sleep(NEW_SIGNAL); // Not a wait for something: sooner, it would count as an echo.
    plugin.signal("TERM");
    let outcome = plugin.outcome();
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.contains("'oc netobserv cleanup -n mine' removes it"), "{outcome:#?}");
}

#[test]
fn killed_at_any_step_cleanup_leaves_the_cluster_as_it_was() {
    let steps =
        STEPS.iter().skip(2).chain(&["get-flows", "cli files", "cli fetch", "delete daemonset", "delete namespace"]);
    thread::scope(|scope| {
        for step in steps {
            scope.spawn(move || {
                let world = world().env("FAKE_BREAK", &format!("hang:{step}"));
                let plugin = world.start(&["flows"]);
                world.wait_for_call_number(step);
                plugin.kill();
                let world = world.env("FAKE_BREAK", "");
                let outcome = world.run(&["cleanup"]);
                assert_eq!(outcome.code, Some(0), "{step}: {outcome:#?}");
                assert_eq!(world.objects(), [""; 0], "{step}");
            });
        }
    });
}

#[test]
fn what_the_terminal_can_show_is_told_to_the_collector() {
    let world = world().env("TERM", "vt220").env("NO_COLOR", "1").env("LC_ALL", "C");
    let (seen, code) = world.run_on_terminal(&["flows", "--copy=false"], &[]);
    assert_eq!(code, 0, "{seen}");
    let capture = world.calls().into_iter().find(|line| line.contains("get-flows")).expect("a capture");
    assert!(capture.ends_with(" --no-color --term=vt220 --locale=C"), "{capture}");
    // Without a terminal there is nothing to tell.
    let world = world.env("LANG", "C");
    world.run(&["flows", "--copy=false"]);
    let last = world.calls().into_iter().rfind(|line| line.contains("get-flows")).expect("a capture");
    assert!(!last.contains("--locale") && !last.contains("--term"), "{last}");
}

const QUESTION: &str = "Copy the capture output locally? [yes/no] ";

#[test]
fn the_question_about_the_files() {
    for (dialogue, copied) in [
        (&[(QUESTION, "y\n")][..], true),
        (&[(QUESTION, "No\n")], false),
        (&[(QUESTION, "what?\n"), ("Please answer yes or no.", "yes\n")], true),
        // The end of the input is no answer, and no reason to ask for ever.
        (&[(QUESTION, "\u{4}")], true),
        (&[(QUESTION, "\u{3}")], true),
    ] {
        let world = world();
        let (seen, code) = world.run_on_terminal(&["flows"], dialogue);
        assert_eq!(code, 0, "{dialogue:?}: {seen}");
        assert_eq!(world.path("output/flow/t.json").exists(), copied, "{dialogue:?}: {seen}");
        assert_eq!(seen.contains("copy skipped"), !copied);
        assert_eq!(world.objects(), [""; 0]);
        let capture = world.calls().into_iter().find(|line| line.contains("get-flows")).expect("a capture");
        assert!(capture.starts_with("exec -i --tty -n netobserv-cli collector -- "), "{capture}");
    }
}

#[test]
fn cleanup_asks_before_it_takes_a_live_session_away() {
    for (answer, left) in [("no\n", 2), ("yes\n", 0)] {
        let world = World::new().file("session", "0badcafe").file("by", "ann@laptop");
        let world = world.file("objects/namespace.netobserv-cli", "").file("objects/pod.collector", "");
        let (seen, code) = world.run_on_terminal(&["cleanup"], &[("Remove it anyway? [yes/no] ", answer)]);
        assert_eq!((code == 0, world.objects().len()), (left == 0, left), "{seen}");
        assert!(seen.contains("It contains session 0badcafe of ann@laptop"), "{seen}");
    }
}
