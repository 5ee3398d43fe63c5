//! What the plugin writes into the pods is what the programs in them understand.

mod yaml_world;

use netobserv_testkit::proc::{Run, binaries};
use oc_netobserv::cli::{FlowsArgs, Request, read};
use oc_netobserv::manifest::collector_overrides;
use oc_netobserv::options::Settings;
use oc_netobserv::plan::{Kind, Plan};
use yaml_world::{made, plan};

/// Every option that has something to do with the pods.
const OPTIONS: &[&str] = &[
    "--interfaces=eth0",
    "--exclude_interfaces=lo,eth1",
    "--log-level=debug",
    "--max-time=1m",
    "--max-bytes=1000",
    "--port=80",
    "or",
    "--protocol=UDP",
    "--subnets=Pods=10.0.0.0/8,fd00::/8",
    "--keep=10m",
];
const OF_FLOWS: &[&str] = &["--enable_all", "--sampling=2", "--query=SrcPort=80", "--query=DstPort=80"];
const OF_PACKETS: &[&str] = &["--snaplen=100"];
const OF_METRICS: &[&str] = &["--enable_all", "--query=SrcPort=80", "--include_list=node_,rtt", "--max-series=99"];

fn words(kind: Kind) -> Box<FlowsArgs> {
    let more = match kind {
        Kind::Flows => OF_FLOWS,
        Kind::Packets => OF_PACKETS,
        Kind::Metrics => OF_METRICS,
    };
    let fits = |word: &&str| kind != Kind::Metrics || !word.starts_with("--max-bytes");
    let words = ["oc-netobserv", kind.word()].into_iter().chain(OPTIONS.iter().chain(more).copied().filter(fits));
    match read(words.map(Into::into)) {
        Ok(Request::Flows(words) | Request::Packets(words) | Request::Metrics(words)) => words,
        other => panic!("{other:?}"),
    }
}

fn full_plan(kind: Kind, background: bool) -> Plan {
    let settings = Settings::new(&words(kind), kind).expect("valid words");
    Plan { agent_env: settings.agent_env, collector_args: settings.collector_args, background, ..plan(kind) }
}

/// Each option of the collector is read before `--help` ends it; one that it does not know, or a value that is wrong, ends it
/// with an error.
#[test]
fn the_collector_knows_its_arguments() {
    for kind in [Kind::Flows, Kind::Packets, Kind::Metrics] {
        for background in [false, true] {
            let command = full_plan(kind, background).collector_command();
            let run = Run::new(&binaries().collector).args(&command[1..]).arg("--expect-nodes=3");
            let help = run.arg("--help").output();
            assert!(help.contains("--maxtime"), "{command:?}: {help}");
        }
    }
}

#[test]
fn settings_of_every_option_have_a_place_in_the_manifest() {
    for kind in [Kind::Flows, Kind::Packets, Kind::Metrics] {
        let plan = full_plan(kind, false);
        assert!(plan.agent_env.len() > 3, "{:?}", plan.agent_env);
        let agents = made(&plan).into_iter().find(|document| document.kind == "DaemonSet").expect("agents");
        for (name, value) in &plan.agent_env {
            let value = serde_json::to_string(value).expect("JSON");
            assert!(
                agents.yaml.contains(&format!("- name: {name}\n              value: {value}\n")),
                "{name}: {value}"
            );
        }
    }
}

#[test]
fn the_pod_of_a_background_capture_captures() {
    let command = |background| {
        let overrides = collector_overrides(&full_plan(Kind::Flows, background)).expect("overrides");
        overrides["spec"]["containers"][0]["command"].clone()
    };
    assert_eq!(command(false), serde_json::json!(["sleep", "infinity"]));
    assert_eq!((&command(true)[0], &command(true)[1]), (&"/network-observability-cli".into(), &"get-flows".into()));
}
