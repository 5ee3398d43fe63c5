//! `flows` and `packets` on a cluster that a stand-in for `oc` keeps: what is said, which calls are made in which order, and
//! that nothing is left.
#![cfg(target_os = "linux")]

mod cli_world;

use cli_world::{Outcome, World};

const JSON: &str = "[\n{\"Bytes\":1}\n]\n";

/// A cluster in which a capture has two files.
fn world() -> World {
    World::new().file("pod/flow/t.json", JSON).file("pod/flow/t.db", "SQLite format 3")
}

#[track_caller]
fn assert_good(world: &World, outcome: &Outcome) {
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:#?} {:#?}", world.calls());
    assert_eq!(world.objects(), [""; 0]);
}

/// The lines of `wanted` appear in this order among those of `text`.
#[track_caller]
fn assert_in_order(text: &str, wanted: &[&str]) {
    let mut lines = text.lines();
    for line in wanted {
        assert!(lines.any(|found| found.trim_end() == *line), "'{line}' is not in its place in\n{text}");
    }
}

#[test]
fn the_first_transcript_all_features_on_the_address_of_a_pod() {
    let world = world().env("FAKE_OPENSHIFT", "4.16.3");
    let words = [
        "flows",
        "--enable_pktdrop=true",
        "--enable_dns=true",
        "--enable_rtt=true",
        "--enable_filter=true",
        "--peer_ip=10.130.0.36",
    ];
    let outcome = world.run(&words);
    assert_good(&world, &outcome);
    let steps = [
        "Setting up...",
        "OpenShift version: 4.16.3",
        "creating netobserv-cli namespace",
        "creating service account",
        "creating collector service",
        "creating flow-capture agents:",
        "Waiting for daemonset pods to be ready...",
        "2/2 Ready",
        "Running collector get-flows...",
        "Executing collector command...",
        "the capture speaks",
        "Copying collector output files...",
        "./output/flow/t.db (15 bytes)",
        "./output/flow/t.json (16 bytes)",
        "Cleaning up...",
        "Deleting daemonset...",
        "Deleting pod...",
        "Deleting cluster roles...",
        "Deleting security context constraints...",
        "Deleting namespace...",
    ];
    let said: Vec<&str> = outcome.stdout.lines().map(str::trim_end).collect();
    assert_eq!(said, steps, "one line a step, and nothing else");
    assert_eq!(std::fs::read_to_string(world.path("output/flow/t.json")).unwrap(), JSON);
    let applied = std::fs::read_to_string(world.cluster().join("stdin")).unwrap();
    for text in ["10.130.0.36", "ENABLE_PKT_DROPS", "kind: DaemonSet"] {
        assert!(applied.contains(text), "{text}");
    }
}

#[test]
fn the_calls_and_their_order() {
    let world = world();
    assert_good(&world, &world.run(&["flows", "--port=80", "--copy=true"]));
    let calls = world.calls();
    // The questions are asked all at once.
    let mut questions: Vec<&str> = calls[..5].iter().map(String::as_str).collect();
    questions.sort_unstable();
    let expected = [
        "auth can-i --list --no-headers -n netobserv-cli",
        "get --raw /apis",
        "get clusterversion version -o json",
        "get namespace netobserv-cli --ignore-not-found=true -o json",
        "whoami",
    ];
    assert_eq!(questions, expected);
    let rest: Vec<String> = calls[5..].iter().map(|line| without_overrides(line)).collect();
    let image = concat!("ghcr.io/netobserv-rs/netobserv-cli:", env!("CARGO_PKG_VERSION"));
    let expected = [
        "create -f - -o jsonpath=\\{.metadata.uid\\}".to_owned(),
        "apply -f -".to_owned(),
        "apply -f -".to_owned(),
        "apply -f -".to_owned(),
        format!(
            "run -n netobserv-cli collector --image={image} --image-pull-policy=IfNotPresent --restart=OnFailure \
             --labels=run=collector\\,app=netobserv-cli\\,netobserv.io/session=SESSION --overrides=... \
             --command -- sleep infinity"
        ),
        "get daemonset\\,pod -n netobserv-cli -l netobserv.io/session=SESSION -o json".to_owned(),
        "wait --timeout=600s -n netobserv-cli --for=condition=Ready pod/collector".to_owned(),
        "exec -n netobserv-cli collector -- /network-observability-cli get-flows --options=port=80\\|copy=true \
         --loglevel=info --maxtime=5m --maxbytes=50000000 --lease=60s --namespace=netobserv-cli --session=SESSION \
         --keep=3600s --tls-dir=/etc/netobserv/tls --expect-nodes=2"
            .to_owned(),
        "exec -n netobserv-cli collector -- /network-observability-cli files".to_owned(),
        "exec -n netobserv-cli collector -- /network-observability-cli fetch flow/t.db".to_owned(),
        "exec -n netobserv-cli collector -- /network-observability-cli fetch flow/t.json".to_owned(),
        "delete daemonset -n netobserv-cli -l netobserv.io/session=SESSION --ignore-not-found=true --timeout=600s"
            .to_owned(),
        "delete pod -n netobserv-cli -l netobserv.io/session=SESSION --ignore-not-found=true --timeout=75s".to_owned(),
        "delete clusterrolebinding\\,clusterrole -l netobserv.io/session=SESSION --ignore-not-found=true --timeout=600s"
            .to_owned(),
        "delete namespace -l netobserv.io/session=SESSION --ignore-not-found=true --timeout=600s".to_owned(),
    ];
    assert_eq!(rest, expected);
}

#[test]
fn values_and_answers_are_printed_on_request_and_nothing_with_quiet() {
    let world = world().env("FAKE_OPENSHIFT", "4.16.3");
    let words = ["flows", "--enable_dns=true", "--peer_ip=10.130.0.36"];
    let outcome = world.run(&[&words[..], &["-v"]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let details = [
        "Setting up...",
        "cluster-admin",
        "creating netobserv-cli namespace",
        "namespace/netobserv-cli created",
        "serviceaccount/netobserv-cli created",
        "securitycontextconstraints/netobserv-cli created",
        "service/collector created",
        "creating flow-capture agents:",
        "opt: dns_enable, value: true",
        "opt: filter_peer_ip, value: 10.130.0.36",
        "daemonset/netobserv-cli created",
        "pod/collector created",
        "pod/collector condition met",
        "daemonset \"netobserv-cli\" deleted",
        "namespace \"netobserv-cli\" deleted",
    ];
    assert_in_order(&outcome.stdout, &details);
    let quiet = world.run(&[&words[..], &["-q"]].concat());
    // What is left is what the stand-in for the collector prints in any case.
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (Some(0), "the capture speaks\n", ""));
    assert!(world.calls().iter().any(|line| line.contains("get-flows") && line.contains(" --quiet ")));
    for command in ["cleanup", "copy"] {
        assert_eq!(world.run(&[command, "-q"]).stdout, "", "{command}");
    }
}

#[test]
fn agents_stay_unprivileged_for_drops() {
    for (words, privileged) in [
        (&["flows", "--drops"][..], false),
        (&["packets", "--port=80", "--drops"], false),
        (&["flows", "--enable_all"], false),
        (&["flows", "--drops", "--privileged"], true),
    ] {
        let world = world();
        assert_eq!(world.run(words).code, Some(0), "{words:?}");
        let applied = std::fs::read_to_string(world.cluster().join("stdin")).unwrap();
        assert!(applied.contains("ENABLE_PKT_DROPS"), "{words:?}");
        assert_eq!(applied.contains("privileged: true"), privileged, "{words:?}");
    }
}

#[test]
fn a_dumb_terminal_gets_no_escape_sequence() {
    for term in ["dumb", ""] {
        let world = world().env("TERM", term);
        let (seen, code) = world.run_on_terminal(&["flows", "--copy=true"], &[]);
        assert_eq!(code, 0, "{seen}");
        assert!(seen.contains("Deleting namespace...") && !seen.contains('\x1b'), "{seen:?}");
        assert!(world.calls().iter().any(|line| line.contains("get-flows") && line.contains("--term=dumb")));
    }
}

#[test]
fn flows_that_are_asked_for_have_standard_output_for_themselves() {
    for format in [&["-o", "text"][..], &["-o", "json"], &["--no-tui"], &["--headless"]] {
        let outcome = world().run(&[&["flows"], format].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "the capture speaks\n"), "{format:?}");
        assert_in_order(&outcome.stderr, &["Setting up...", "2/2 Ready", "Cleaning up...", "Deleting namespace..."]);
    }
}

/// The value of `--overrides` is tested with the manifests.
fn without_overrides(line: &str) -> String {
    match (line.find("--overrides="), line.find(" --command")) {
        (Some(start), Some(end)) => format!("{}--overrides=...{}", &line[..start], &line[end..]),
        _ => line.to_owned(),
    }
}

#[test]
fn the_second_transcript_packets_of_a_port() {
    let world = World::new().file("pod/pcap/t.pcapng", "packets");
    let outcome = world.run(&["packets", "tcp,80"]);
    assert_good(&world, &outcome);
    let steps = [
        "Setting up...",
        "creating netobserv-cli namespace",
        "creating service account",
        "creating collector service",
        "creating packet-capture agents:",
        "Running collector get-packets...",
        "the capture speaks",
        "Copying collector output files...",
        "./output/pcap/t.pcapng (7 bytes)",
        "Cleaning up...",
    ];
    assert_in_order(&outcome.stdout, &steps);
    let applied = std::fs::read_to_string(world.cluster().join("stdin")).unwrap();
    assert!(applied.contains("ENABLE_PCA") && applied.contains(r#"protocol\":\"TCP"#), "{applied}");
}

#[test]
fn words_that_are_wrong_reach_no_cluster() {
    for (words, line) in [
        (
            &["flows", "--protocol=tpc"][..],
            "error: --protocol=tpc is not valid: use TCP, UDP, SCTP, ICMP or ICMPv6; did you mean tcp?",
        ),
        (
            &["packets", "--filter=port 80 and rtt>5ms"],
            "error: --filter: packets do not have TimeFlowRttNs: it works with flows\n  port 80 and rtt>5ms\n              ^^^",
        ),
        (
            &["packets", "--filter=bytes>100"],
            "error: the kernel can decide nothing of --filter=bytes>100, so that all packets would go to the collector: add a \
             condition such as host or port, or use --all as well",
        ),
        (
            &["flows", "--pod=web", "or", "--port=80", "--only-these-nodes"],
            "error: --only-these-nodes requires --pod, --svc or another name in the cluster in each filter rule: a rule without one is \
             for all nodes",
        ),
        (
            &["packets", "--pod=web", "--only-these-nodes", "--no-registry=registry.example.com/tools/shell:9"],
            "error: --only-these-nodes cannot be combined with --no-registry: omit one of them",
        ),
        (&["flows", "--filter=tcp and udp"], "error: no packet can meet --filter=tcp and udp"),
        (&["flows", "--include_list=a"], "error: --include_list is invalid option for flows"),
        (&["packets", "--port=80", "--include-list=a"], "error: --include_list is invalid option for packets"),
        (&["flows", "--enable_openssl"], "error: unknown option --enable_openssl; did you mean --enable_dns?"),
        (&["flows", "--foo=1"], "error: unknown option --foo. Use 'oc netobserv help' to display options"),
        (
            &["flows", "--port", "80", "81"],
            "error: unexpected word 81: options are written --name=value or --name value",
        ),
        (&["packets", "--port=80", "--enable_dns"], "error: --enable_dns is invalid option for packets"),
        (
            &["packets"],
            "error: At least one eBPF filter must be set for packet capture to avoid high resource consumption. Use \
             'oc netobserv packets help' to list filters",
        ),
        (
            &["flows", "--node-selector=x"],
            "error: invalid value for --node-selector. Use --node-selector=key:val instead.",
        ),
        (
            &["cleanup", "-n", "Not_A_Name"],
            "error: --namespace=Not_A_Name is not valid: use up to 63 lowercase letters, digits and '-', with a letter or \
             digit at both ends",
        ),
    ] {
        let world = World::new();
        let expected = Outcome { stdout: String::new(), stderr: format!("{line}\n"), code: Some(2) };
        assert_eq!(world.run(words), expected);
        assert_eq!(world.calls(), [""; 0]);
    }
}

#[test]
fn help_behind_other_options_touches_nothing() {
    let world = World::new();
    let outcome = world.run(&["flows", "--interfaces=br-ex", "--max-time=10s", "--help"]);
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stdout.contains("--interfaces"));
    assert_eq!(world.calls(), [""; 0]);
}

#[test]
fn a_value_with_help_or_yaml_in_it_is_only_a_value() {
    let world = world();
    assert_good(&world, &world.run(&["flows", "--query=SrcK8S_Name=\"help yaml \""]));
    let capture = world.calls().into_iter().find(|line| line.contains("get-flows")).expect("a capture");
    assert!(capture.contains("--query=SrcK8S_Name=\\\"help\\ yaml\\ \\\""), "{capture}");
}

#[test]
fn the_environment_of_old_scripts_changes_nothing() {
    let mut world = world();
    for (name, value) in
        [("copy", "false"), ("outputYAML", "true"), ("runBackground", "true"), ("captureStarted", "true")]
    {
        world = world.env(name, value);
    }
    assert_good(&world, &world.run(&["flows"]));
    assert!(world.path("output/flow/t.json").exists());
}

#[test]
fn names_from_the_environment_are_said_and_used() {
    let world = world()
        .env("NETOBSERV_NAMESPACE", "mine")
        .env("NETOBSERV_COLLECTOR_IMAGE", "a/b:1")
        .env("NETOBSERV_AGENT_IMAGE", "c/d:2");
    let outcome = world.run(&["flows"]);
    assert_good(&world, &outcome);
    assert!(
        outcome.stdout.starts_with(
            "using custom namespace mine\nusing custom collector image a/b:1\nusing custom agent image c/d:2\nSetting up... \n"
        ),
        "{}",
        outcome.stdout
    );
    assert!(world.calls().iter().any(|line| line.starts_with("run -n mine collector --image=a/b:1")));
    assert!(std::fs::read_to_string(world.cluster().join("stdin")).unwrap().contains("c/d:2"));
}

#[test]
fn the_way_to_the_cluster_is_passed_on() {
    let world = world();
    assert_good(&world, &world.run(&["flows", "--kubeconfig=/a b/config", "--context", "$(x)", "-n", "mine"]));
    for line in world.calls() {
        assert!(line.starts_with("--kubeconfig=/a\\ b/config --context=\\$\\(x\\) "), "{line}");
    }
}

#[test]
fn verbose_shows_each_call() {
    let world = world();
    let outcome = world.run(&["flows", "-v"]);
    assert_eq!(outcome.code, Some(0));
    let shown = outcome.stderr.lines().filter(|line| line.starts_with("+ oc ")).count();
    assert_eq!(shown, world.calls().len(), "{}", outcome.stderr);
}

#[test]
fn yaml_is_written_and_nothing_is_called() {
    let world = world();
    let outcome = world.run(&["flows", "--protocol=TCP", "--port=8080", "or", "--protocol=UDP", "--yaml"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert_eq!(world.calls(), [""; 0]);
    let lines = ["Output YAMLs without applying...", "Check the generated YAML file in output folder."];
    assert_in_order(&outcome.stdout, &lines);
    let files: Vec<_> = std::fs::read_dir(world.path("output")).unwrap().map(|e| e.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(r#"[{\"port\":8080,\"protocol\":\"TCP\"},{\"protocol\":\"UDP\"}]"#), "{text}");
    for kind in ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Service", "DaemonSet", "Pod"] {
        assert!(text.contains(&format!("kind: {kind}\n")), "{kind}");
    }
    // Again within the minute: another file, none appended to.
    assert_eq!(world.run(&["flows", "--yaml"]).code, Some(0));
    assert_eq!(std::fs::read_dir(world.path("output")).unwrap().count(), 2);
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

#[test]
fn subnets_of_openshift_reach_the_collector() {
    let world = world().env("FAKE_OPENSHIFT", "4.17.0");
    let outcome = world.run(&["flows", "--get-subnets"]);
    assert_good(&world, &outcome);
    let found =
        ["Found subnets:", "    Machines: 10.0.0.0/16", "    Pods: 10.128.0.0/14", "    Services: 172.30.0.0/16"];
    assert_in_order(&outcome.stdout, &found);
    let capture = world.calls().into_iter().find(|line| line.contains("get-flows")).expect("a capture");
    assert!(capture.contains("--subnets=Pods=10.128.0.0/14 --subnets=Services=172.30.0.0/16"), "{capture}");
}

#[test]
fn the_exit_code_is_that_of_the_capture_and_its_files_are_kept() {
    let world = world().env("FAKE_CAPTURE_EXIT", "137");
    let outcome = world.run(&["flows"]);
    assert_eq!(outcome.code, Some(137), "{outcome:?}");
    assert_eq!(
        outcome.stderr,
        "command terminated with exit code 137\n\
         error: the capture ended with exit code 137 (killed, often because it ran out of memory): command terminated \
         with exit code 137; what it had captured until then was kept\n"
    );
    assert!(world.calls().iter().any(|line| line.ends_with("network-observability-cli finish")));
    assert!(world.path("output/flow/t.json").exists());
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn a_capture_that_never_began_leaves_nothing() {
    let world = World::new().env("FAKE_CAPTURE_EXIT", "2").file("answers/finish", r#"{"state":"waiting"}"#);
    let outcome = world.run(&["flows"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("\nerror: the capture ended with exit code 2"), "{outcome:?}");
    assert!(outcome.stdout.contains("Copy skipped\n") && !outcome.stdout.contains("Copying"), "{outcome:?}");
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn files_of_a_pod_that_is_gone_are_not_waited_for() {
    let world = World::new().env("FAKE_CAPTURE_EXIT", "137").env("FAKE_BREAK", "fail:cli f");
    let world = world.file("answers/workload", r#"{"items":[]}"#);
    let outcome = world.run(&["flows"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let last = outcome.stderr.lines().last().expect("an error");
    assert!(last.ends_with("the pod of the collector is gone, and its files with it"), "{outcome:?}");
    assert_eq!(world.objects(), [""; 0]);
}

#[test]
fn files_that_are_not_wanted_are_not_copied() {
    let world = world();
    let outcome = world.run(&["flows", "--copy=false"]);
    assert_good(&world, &outcome);
    assert!(!world.path("output").exists());
    assert!(!outcome.stdout.contains("Copying"));
}

#[test]
fn background_returns_at_once_and_leaves_everything_running() {
    let world = world();
    let outcome = world.run(&["flows", "--background", "--max-time=1h"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let words = [
        "Background capture started. Use:",
        " - 'oc netobserv follow' to see the capture progress",
        " - 'oc netobserv copy' to copy the generated files locally",
        " - 'oc netobserv cleanup' to remove the netobserv components",
        "",
        "Capture ends automatically in 1h or reaching 50000000 bytes",
    ];
    assert_in_order(&outcome.stdout, &words);
    let run = world.calls().into_iter().find(|line| line.starts_with("run ")).expect("a pod");
    assert!(run.contains("get-flows") && run.ends_with("--background"), "{run}");
    assert!(!run.contains("--lease"));
    let calls = world.calls();
    let inside: Vec<_> = calls.iter().filter(|line| line.starts_with("exec ")).collect();
    assert!(inside.len() == 1 && inside[0].ends_with(" state"), "{inside:?}");
    assert!(world.objects().contains(&"pod.collector".to_owned()));
}

#[test]
fn what_a_filter_is_split_into_is_printed_without_a_cluster() {
    let world = World::new();
    let done = world.run(&["packets", "--explain", "--filter=src pod:shop/web and tcp port 80"]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    for line in
        ["\n  Proto = 6 and (SrcPort = 80 or DstPort = 80)\n", "\n  keep TCP, port 80, one end is pod shop/web\n"]
    {
        assert!(done.stdout.contains(line), "{}", done.stdout);
    }
    assert_eq!(world.calls(), [""; 0]);
}
