//! `metrics` on clusters that a stand-in for `oc` keeps: which objects each kind of cluster gets, and that nothing is left.
#![cfg(target_os = "linux")]

mod cli_world;

use cli_world::{Outcome, World};

const SNAPSHOT: &str = "# EOF\n";
const OPERATOR: &str = r#"{"groups":[{"name":"apps"},{"name":"monitoring.coreos.com"}]}"#;

/// A cluster in which a capture has its two files.
fn world() -> World {
    World::new().file("pod/metrics/t.txt", SNAPSHOT).file("pod/metrics/t.dashboard.json", "{}")
}

fn openshift() -> World {
    world().env("FAKE_OPENSHIFT", "4.17.0")
}

/// What was made, as text.
fn made(world: &World) -> String {
    std::fs::read_to_string(world.cluster().join("stdin")).expect("objects")
}

#[track_caller]
fn assert_good(world: &World, outcome: &Outcome) {
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:#?} {:#?}", world.calls());
    assert_eq!(world.objects(), [""; 0]);
}

fn capture_call(world: &World) -> String {
    world.calls().into_iter().find(|call| call.contains(" get-metrics ")).expect("the capture")
}

#[test]
fn on_openshift_its_monitoring_reads_them_and_nothing_stays() {
    let world = openshift();
    let outcome = world.run(&["metrics", "--enable_all", "--copy=true"]);
    assert_good(&world, &outcome);
    for line in [
        "creating service monitor",
        "creating metric-capture agents:",
        "Running collector get-metrics...",
        "Open the console at /monitoring/dashboards/netobserv-cli to see the metrics: Observe > Dashboards > NetObserv / On Demand",
        "./output/metrics/t.txt (6 bytes)",
        "./output/metrics/t.dashboard.json (2 bytes)",
        "Deleting dashboard...",
    ] {
        assert!(outcome.stdout.lines().any(|said| said.trim_end() == line), "'{line}' in\n{}", outcome.stdout);
    }
    let text = made(&world);
    for part in [
        "openshift.io/cluster-monitoring: \"true\"",
        "kind: ServiceMonitor",
        "name: prometheus-k8s",
        "console.openshift.io/dashboard: \"true\"",
        "- name: ENABLE_RTT\n              value: \"true\"",
    ] {
        assert!(text.contains(part), "{part}");
    }
    let call = capture_call(&world);
    for word in ["--maxtime=1h", "--serve=9401", "rtt_seconds\\,drop_\\,dns_latency_seconds", "--max-series=10000"] {
        assert!(call.contains(word), "{word} in {call}");
    }
    let removed =
        "delete configmap -n openshift-config-managed -l netobserv.io/session=SESSION --ignore-not-found=true";
    assert!(world.calls().iter().any(|call| call.starts_with(removed)), "{:#?}", world.calls());
}

#[test]
fn elsewhere_only_the_screen_reads_them() {
    for (world, words) in [(world(), &["metrics"][..]), (openshift(), &["metrics", "--to=none"])] {
        assert_good(&world, &world.run(words));
        let text = made(&world);
        for part in ["ServiceMonitor", "prometheus", "ConfigMap", "9401", "cluster-monitoring"] {
            assert!(!text.contains(part), "{part}");
        }
        assert!(!capture_call(&world).contains("--serve"), "{}", capture_call(&world));
        assert!(!world.calls().iter().any(|call| call.contains("openshift-config-managed")), "{:#?}", world.calls());
    }
}

#[test]
fn a_service_monitor_needs_its_operator() {
    let operator = world().file("answers/apis", OPERATOR);
    assert_good(&operator, &operator.run(&["metrics", "--to=service-monitor"]));
    let text = made(&operator);
    assert!(text.contains("kind: ServiceMonitor") && !text.contains("ConfigMap") && !text.contains("prometheus-k8s"));
    assert!(capture_call(&operator).contains("--serve=9401"));

    let plain = world();
    let outcome = plain.run(&["metrics", "--to=service-monitor"]);
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.contains("needs the Prometheus operator; use --to=annotations"), "{}", outcome.stderr);
    assert!(
        !plain.calls().iter().any(|call| call.starts_with("create") || call.starts_with("apply")),
        "nothing was made"
    );
}

#[test]
fn annotations_are_those_of_the_pod() {
    let world = world();
    assert_good(&world, &world.run(&["metrics", "--to=annotations"]));
    let run = world.calls().into_iter().find(|call| call.starts_with("run ")).expect("the pod");
    for part in ["prometheus.io/scrape", "prometheus.io/port", "9401", "/metrics"] {
        assert!(run.contains(part), "{part} in {run}");
    }
    assert!(capture_call(&world).contains("--serve=9401"));
}

#[test]
fn in_the_background_it_is_announced_and_cleanup_removes_the_dashboard() {
    let world = openshift();
    let outcome = world.run(&["metrics", "--background", "--max-time=2h"]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(outcome.stdout.contains("Capture ends automatically in 2h\n"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("/monitoring/dashboards/netobserv-cli"), "{}", outcome.stdout);
    assert!(world.objects().contains(&"configmap.netobserv-cli".to_owned()), "{:?}", world.objects());
    assert_good(&world, &world.run(&["cleanup"]));
}

/// Someone has removed the namespace by hand, and no garbage collector went after the rest.
#[test]
fn cleanup_finds_a_dashboard_whose_namespace_is_gone() {
    let world = openshift().file("session", "0a1b2c3d").file("objects/configmap.netobserv-cli", "");
    let outcome = world.run(&["cleanup"]);
    assert_good(&world, &outcome);
    assert!(outcome.stdout.contains("Deleting dashboard..."), "{}", outcome.stdout);
}

#[test]
fn a_dry_run_shows_what_is_made_and_makes_nothing() {
    let world = openshift();
    let outcome = world.run(&["metrics", "--dry-run"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:#?}");
    for part in ["ServiceMonitor/netobserv-cli", "ConfigMap/netobserv-cli", "get-metrics", "oc delete configmap"] {
        assert!(outcome.stdout.contains(part), "{part} in\n{}", outcome.stdout);
    }
    assert_eq!(world.calls(), [""; 0]);
}

#[test]
fn missing_rights_are_listed_before_anything_is_made() {
    for (denied, part) in
        [("servicemonitors", "servicemonitors"), ("configmaps", "configmaps"), ("endpoints ", "endpoints")]
    {
        let world = openshift().file("answers/permissions", "\n").env("FAKE_DENY", denied);
        let outcome = world.run(&["metrics"]);
        assert_eq!(outcome.code, Some(1), "{outcome:#?}");
        assert!(outcome.stderr.contains("you may not: ") && outcome.stderr.contains(part), "{}", outcome.stderr);
        assert!(!world.calls().iter().any(|call| call.starts_with("create")), "nothing was made");
        let flows = openshift().file("answers/permissions", "\n").env("FAKE_DENY", denied);
        flows.run(&["flows"]);
        assert!(flows.calls().iter().any(|call| call.starts_with("create")), "flows do not need {part}");
    }
    let asked = "auth can-i create configmaps -n openshift-config-managed";
    let world = openshift().file("answers/permissions", "\n").env("FAKE_DENY", "configmaps");
    world.run(&["metrics"]);
    assert!(world.calls().iter().any(|call| call == asked), "{:#?}", world.calls());
}

#[test]
fn yaml_has_the_objects_of_the_cluster() {
    let world = World::new();
    let outcome = world.run(&["metrics", "--yaml=-", "--include_list=node_"]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    for part in ["kind: ServiceMonitor", "kind: ConfigMap", "get-metrics", "--serve=9401", "--include-list=node_"] {
        assert!(outcome.stdout.contains(part), "{part}");
    }
}

#[test]
fn a_dashboard_for_grafana_needs_no_cluster() {
    let world = World::new();
    let panels = |words: &[&str]| {
        let outcome = world.run(words);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:#?}");
        let dashboard: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert_eq!(dashboard["title"], "NetObserv / On Demand");
        let panels = dashboard["panels"].as_array().expect("panels").clone();
        panels.into_iter().filter(|panel| panel["type"] == "timeseries").collect::<Vec<_>>()
    };
    // Thirty metrics, of which six are histograms with two graphs each.
    assert_eq!(panels(&["dashboard"]).len(), 36);
    let one = panels(&["dashboard", "--include_list=node_flows_total"]);
    assert_eq!(one.len(), 1);
    assert!(one[0]["targets"][0]["expr"].as_str().unwrap().contains("on_demand_netobserv_node_flows_total"));
    let wrong = world.run(&["dashboard", "--include_list=node_flow_total"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("did you mean node_flows_total?"), "{wrong:#?}");
    assert_eq!(world.calls(), [""; 0]);
}
