//! Every call of a session, broken in every way: it ends with an error that names the call, and nothing that was made is
//! left behind.
#![cfg(target_os = "linux")]

mod cli_world;

use std::thread;

use cli_world::World;

/// A cluster in which a capture has a file.
fn world() -> World {
    World::new().env("FAKE_OPENSHIFT", "4.16.3").file("pod/flow/t.json", "[\n]\n")
}

/// Calls of `flows` that can break, and what the error says they were for.
const CALLS: [(&str, &str); 15] = [
    ("get --raw /apis", "cannot reach the cluster"),
    ("get namespace ", "cannot look for namespace netobserv-cli"),
    ("create -f -", "cannot create the namespace"),
    ("apply -f -", "cannot create the service accounts and their permissions"),
    ("apply -f -#2", "cannot create the service of the collector"),
    ("apply -f -#3", "cannot create the agents"),
    ("run -n ", "cannot start the collector"),
    ("get daemonset\\,pod ", "cannot watch the agents start"),
    ("wait --timeout", "cannot wait for the collector"),
    ("network-observability-cli files", "cannot list the files of the capture"),
    ("network-observability-cli fetch", "flow/t.json did not arrive complete in 5 attempts"),
    ("delete daemonset ", "cannot delete daemonset"),
    ("delete pod ", "cannot delete pod"),
    ("delete clusterrolebinding", "cannot delete clusterrolebinding,clusterrole"),
    ("delete namespace ", "cannot delete namespace"),
];

/// What stays when this call breaks: what could not be deleted, or a collector whose files could not be fetched.
fn left(call: &str) -> &'static [&'static str] {
    match call {
        "network-observability-cli files" | "network-observability-cli fetch" => {
            &["namespace.netobserv-cli", "pod.collector"]
        }
        "delete clusterrolebinding" => &["clusterrole.netobserv-cli", "clusterrolebinding.netobserv-cli"],
        "delete namespace " => &["namespace.netobserv-cli"],
        _ => &[],
    }
}

#[track_caller]
fn assert_broken(mode: &str, call: &str, what: &str, words: &[&str]) {
    let world = world().env("FAKE_BREAK", &format!("{mode}:{call}"));
    let outcome = world.run(&[&["flows"], words].concat());
    let context = format!("{mode} {call}: {outcome:#?}\n{:#?}", world.calls());
    assert_eq!(outcome.code, Some(1), "{context}");
    let error = outcome.stderr.lines().find(|line| line.starts_with("error: ") && line.contains(what));
    let error = error.unwrap_or_else(|| panic!("'{what}' is not said by {context}"));
    // The call itself is quoted, so that it can be tried.
    assert!(error.contains(&format!("`oc {}", quoted(call))) || error.contains(&quoted(call)), "{context}");
    let objects = world.objects();
    for object in left(call) {
        assert!(objects.contains(&(*object).to_owned()), "{object} should be there: {objects:?} {context}");
    }
    if left(call).is_empty() {
        assert_eq!(objects, [""; 0], "{context}");
    } else {
        assert!(outcome.stderr.contains("netobserv cleanup'"), "{context}");
        assert!(!objects.contains(&"daemonset.netobserv-cli".to_owned()), "{context}");
        // With a cluster that works again nothing stays.
        let again = world.env("FAKE_BREAK", "");
        assert_eq!(again.run(&["cleanup"]).code, Some(0));
        assert_eq!(again.objects(), [""; 0]);
    }
}

/// As the plugin quotes it: other than the log of the stand-in.
fn quoted(call: &str) -> String {
    call.split('#').next().unwrap_or_default().trim().replace("\\,", ",")
}

#[test]
fn calls_that_fail() {
    for (call, what) in CALLS {
        assert_broken("fail", call, what, &[]);
    }
}

#[test]
fn calls_that_hang() {
    thread::scope(|scope| {
        for (call, what) in CALLS.iter().filter(|(call, _)| !call.ends_with("fetch")) {
            // Long enough for the calls that work, on a machine that is busy.
            scope.spawn(|| assert_broken("hang", call, what, &["--timeout=5s"]));
        }
    });
}

/// Calls whose answer means something. What others print is only shown.
#[test]
fn calls_that_answer_nonsense() {
    for (call, what) in [CALLS[0], CALLS[1], CALLS[2], CALLS[7], CALLS[9], CALLS[10]] {
        assert_broken("garbage", call, what, &[]);
    }
}

/// An API server that is being replaced is no reason to take everything down again.
#[test]
fn a_look_at_the_agents_may_fail_once() {
    let world = world().env("FAKE_BREAK", "once:get daemonset\\,pod ");
    let outcome = world.run(&["flows"]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let looks = world.calls().iter().filter(|call| call.starts_with("get daemonset\\,pod ")).count();
    assert!(looks >= 2, "{looks}");
}

#[test]
fn questions_that_only_help_may_fail() {
    for (mode, call) in [
        ("fail", "whoami"),
        ("garbage", "whoami"),
        ("fail", "get clusterversion"),
        ("garbage", "get clusterversion"),
        ("fail", "can-i --list"),
        ("garbage", "can-i --list"),
    ] {
        let world = world().env("FAKE_BREAK", &format!("{mode}:{call}"));
        let outcome = world.run(&["flows"]);
        assert_eq!(outcome.code, Some(0), "{mode} {call}: {outcome:#?}");
        assert_eq!(world.objects(), [""; 0]);
    }
}

#[test]
fn a_cluster_that_does_not_answer_is_said_in_one_line() {
    let world = world().env("FAKE_BREAK", "fail:get --raw");
    let outcome = world.run(&["flows"]);
    assert_eq!(outcome.stdout, "Setting up... \n");
    assert_eq!(
        outcome.stderr,
        "error: You must be connected to cluster: cannot reach the cluster: `oc get --raw /apis` ended with exit code 1: \
         Error from server (InternalError): it is broken; log in, or choose another --context\n"
    );
}

#[test]
fn missing_rights_are_listed_together_with_the_role() {
    let world =
        world().file("answers/permissions", "pods   []   []   [get list watch]\n").env("FAKE_DENY", "namespaces");
    let outcome = world.run(&["flows"]);
    assert_eq!(outcome.code, Some(1));
    let error = &outcome.stderr;
    assert!(
        error.starts_with("error: you may not: get, list, watch, create, delete namespaces. A capture needs this role"),
        "{error}"
    );
    for line in ["kind: ClusterRole", "    resources: [daemonsets]", "    resources: [securitycontextconstraints]"] {
        assert!(error.contains(line), "{line} is not in {error}");
    }
    assert_eq!(world.objects(), [""; 0]);
    let asked: Vec<String> = world.calls().into_iter().filter(|line| line.starts_with("auth can-i create")).collect();
    assert!(asked.contains(&"auth can-i create pods --subresource=exec -n netobserv-cli".to_owned()), "{asked:#?}");
}

#[test]
fn versions_that_are_too_old() {
    for (version, words, line) in [
        ("4.12.9", &["packets", "tcp,80"][..], "OpenShift 4.12.9: - Packet capture requires OpenShift 4.16 or higher"),
        (
            "4.12.9",
            &["flows", "--enable_pkt_drop"],
            "OpenShift 4.12.9: - Packet drops requires OpenShift 4.14 or higher",
        ),
        ("4.13.0", &["flows", "--enable_all"], "OpenShift 4.13.0: - Packet drops requires OpenShift 4.14 or higher"),
    ] {
        let world = world().env("FAKE_OPENSHIFT", version);
        let outcome = world.run(words);
        assert_eq!(outcome.code, Some(1));
        assert_eq!(outcome.stderr, format!("error: {line}; Remove not compatible features and try again\n"));
        assert!(!world.calls().iter().any(|line| line.starts_with("create") || line.starts_with("delete")));
    }
    // A cluster that was updated once is checked like any other, by what it runs now.
    let history =
        r#"{"status":{"history":[{"state":"Completed","version":"4.12.0"},{"state":"Completed","version":"4.17.0"}]}}"#;
    let world = world().file("answers/version", history);
    assert_eq!(world.run(&["packets", "tcp,80"]).code, Some(1));
}

#[test]
fn a_selector_without_nodes() {
    let world = world().file("answers/nodes", "");
    let outcome = world.run(&["flows", "--node-selector=a:b"]);
    assert_eq!(outcome.code, Some(1));
    let line = "error: a=b doesn't match any node label. Please check your --node-selector parameter\n";
    assert_eq!(outcome.stderr, line);
    assert!(outcome.stdout.contains("finding nodes matching a=b..."));
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn nodes_of_a_selector_are_named() {
    let outcome = world().run(&["flows", "--node-selector=a:b"]);
    assert!(outcome.stdout.contains("2 matching nodes found: worker-1 worker-2\n"), "{outcome:?}");
}

/// A DaemonSet with two nodes, one agent and what is with it.
fn rollout(container: &str) -> String {
    format!(
        r#"{{"items":[{{"kind":"DaemonSet","metadata":{{"generation":1}},"status":{{"observedGeneration":1,
        "desiredNumberScheduled":2,"numberReady":1}}}},{{"kind":"Pod","metadata":{{"name":"netobserv-cli-x"}},
        "spec":{{"nodeName":"worker-2"}},"status":{{"containerStatuses":[{container}]}}}}]}}"#
    )
}

#[test]
fn agents_that_cannot_start_are_explained_at_once() {
    for (container, reason) in [
        (
            r#"{"state":{"waiting":{"reason":"ImagePullBackOff","message":"no such image"}}}"#,
            "netobserv-cli-x on worker-2: ImagePullBackOff (no such image)",
        ),
        (
            r#"{"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off"}}}"#,
            "netobserv-cli-x on worker-2: CrashLoopBackOff (back-off); end of its log: error: no BTF",
        ),
    ] {
        let world = world().file("answers/rollout", rollout(container)).file("answers/logs", "error: no BTF\n");
        let outcome = world.run(&["flows"]);
        assert_eq!(outcome.code, Some(1), "{outcome:#?}");
        assert_eq!(outcome.stderr, format!("error: Daemonset pods failed to start: 1/2 Ready: {reason}\n"));
        assert!(outcome.stdout.contains("Copy skipped\nCleaning up... \n"), "{outcome:#?}");
        assert_eq!(world.objects(), [""; 0]);
    }
}

/// The agents are not to blame.
#[test]
fn a_collector_that_cannot_start_is_explained_as_such() {
    let rollout = |reason: &str| {
        format!(
            r#"{{"items":[{{"kind":"DaemonSet","metadata":{{"generation":1}},"status":{{"observedGeneration":1,
            "desiredNumberScheduled":2,"numberReady":2}}}},{{"kind":"Pod","metadata":{{"name":"collector"}},
            "spec":{{"nodeName":"worker-1"}},"status":{{"containerStatuses":[{{"state":{{"waiting":{{"reason":"{reason}",
            "message":"no such image"}}}}}}]}}}}]}}"#
        )
    };
    for (reason, words, line) in [
        (
            "ImagePullBackOff",
            &["flows"][..],
            "The pod of the collector failed to start: collector on worker-1: ImagePullBackOff (no such image)",
        ),
        (
            "ErrImagePull",
            &["flows", "--timeout=400ms"],
            "The pod of the collector failed to start within timeout: not Ready after 0.4 s: collector on worker-1: ErrImagePull \
             (no such image); raise --timeout",
        ),
    ] {
        let world = world().file("answers/rollout", rollout(reason));
        let outcome = world.run(words);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), format!("error: {line}\n").as_str()));
        assert_eq!(world.objects(), [""; 0]);
    }
}

#[test]
fn agents_that_are_refused_are_explained_by_events() {
    let set = r#"{"items":[{"kind":"DaemonSet","metadata":{"generation":1},
        "status":{"observedGeneration":1,"desiredNumberScheduled":3,"numberReady":0}}]}"#;
    let events = r#"{"items":[{"reason":"FailedCreate","message":"pods \"x-\" is forbidden: violates PodSecurity"}]}"#;
    let world = world().file("answers/rollout", set).file("answers/events", events);
    let outcome = world.run(&["flows"]);
    let line = "error: Daemonset pods failed to start: 0/3 Ready: pods \"x-\" is forbidden: violates PodSecurity\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), line));
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn agents_that_never_become_ready() {
    let world = world().file("answers/rollout", rollout(r#"{"state":{"waiting":{"reason":"ErrImagePull"}}}"#));
    let outcome = world.run(&["flows", "--timeout=400ms"]);
    let line = "error: Daemonset pods failed to start within timeout: 1/2 Ready after 0.4 s: netobserv-cli-x on worker-2: \
                ErrImagePull; raise --timeout\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), line));
    assert!(
        outcome.stdout.contains("1/2 Ready. Reason(s): netobserv-cli-x on worker-2: ErrImagePull\n"),
        "{outcome:#?}"
    );
    assert_eq!(world.objects(), [""; 0]);
}

/// Its agent is scheduled and never heard of: at night that is the node which the others are asked about.
#[test]
fn a_node_that_is_not_ready_is_left_out() {
    let set = r#"{"items":[{"kind":"DaemonSet","metadata":{"generation":1},"status":{"observedGeneration":1,
        "desiredNumberScheduled":2,"numberReady":1}},{"kind":"Pod","metadata":{"name":"netobserv-cli-x"},
        "spec":{"nodeName":"worker-2"},"status":{"phase":"Pending"}},{"kind":"Pod","metadata":{"name":"collector"},
        "status":{"conditions":[{"type":"Ready","status":"True"}]}}]}"#;
    let world = || world().file("answers/rollout", set);
    let broken = world().file("answers/node-states", "worker-1 True\nworker-2 Unknown\n");
    let outcome = broken.run(&["flows"]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(outcome.stderr, "warning: not ready, so without an agent: worker-2\n");
    assert!(outcome.stdout.contains("1/2 Ready\n") && outcome.stdout.contains("the capture speaks\n"), "{outcome:#?}");
    // A node that works will start its agent.
    for (answer, variable) in [("worker-1 True\nworker-2 True\n", ""), ("", "fail:get nodes")] {
        let world = world().file("answers/node-states", answer).env("FAKE_BREAK", variable);
        let outcome = world.run(&["flows", "--timeout=1500ms"]);
        assert!(outcome.code == Some(1) && outcome.stderr.contains("1/2 Ready after 1.5 s"), "{outcome:#?}");
        assert!(world.calls().iter().any(|call| call.contains("get nodes")), "{outcome:#?}");
    }
}

#[test]
fn no_node_at_all_is_no_capture() {
    let set = r#"{"items":[{"kind":"DaemonSet","metadata":{"generation":1},"status":{"observedGeneration":1,
        "desiredNumberScheduled":0}},{"kind":"Pod","metadata":{"name":"collector"},"status":{"conditions":
        [{"type":"Ready","status":"True"}]}}]}"#;
    let world = world().file("answers/rollout", set);
    let outcome = world.run(&["flows"]);
    assert!(
        outcome.code == Some(1) && outcome.stderr.contains("no node of the cluster accepts an agent"),
        "{outcome:?}"
    );
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn neither_program_is_there() {
    let world = World::new().env("PATH", "/nowhere");
    let outcome = world.run(&["flows"]);
    let line = "error: neither oc nor kubectl is in PATH: install one of them, or set NETOBSERV_K8S_CLI to its path\n";
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(1), "", line));
    let world = World::new().env("NETOBSERV_K8S_CLI", "/nowhere/oc");
    let line = "error: NETOBSERV_K8S_CLI=/nowhere/oc: there is no such program\n";
    assert_eq!(world.run(&["flows"]).stderr, line);
}
