//! Whatever a value holds, it arrives unchanged and changes nothing else.

mod yaml_world;

use netobserv_testkit::proc::Run;
use oc_netobserv::manifest::collector_overrides;
use oc_netobserv::plan::{Kind, Plan};
use proptest::prelude::*;
use serde_json::{Value, json};
use yaml_world::{json, made, plan, tool};

/// Short texts of what YAML, JSON, shells and templates give a meaning to, and of anything else.
fn hostile() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "\"",
        "'",
        "\\",
        "\n",
        "\r\n",
        "\t",
        ": ",
        " #",
        "- ",
        "---\n",
        "...",
        "${namespace}",
        "$(id)",
        "`id`",
        "{{",
        "}",
        "[",
        "]",
        ",",
        "&a",
        "*a",
        "!!str",
        "|",
        ">",
        "%",
        "@",
        "null",
        "true",
        "no",
        "0x1f",
        "1e3",
        "012",
        "~",
        "=",
        "<<",
        "\0",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{fffe}",
        "é",
        "😀",
        " ",
        "--",
        "#if tls\n",
        "#end\n",
    ]);
    let part = prop_oneof![3 => special.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn hostile_plan() -> impl Strategy<Value = Plan> {
    let texts = prop::collection::vec(hostile(), 10);
    let switches = prop::collection::vec(any::<bool>(), 4);
    (texts, switches).prop_map(|(texts, switches)| {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().expect("as many as there are uses");
        let mut plan = plan(if switches[0] { Kind::Flows } else { Kind::Packets });
        (plan.session, plan.started, plan.by, plan.typed) = (text(), text(), text(), text());
        (plan.images.collector, plan.images.agent) = (text(), text());
        plan.node_selector = Some((format!("k{}", text()), text()));
        plan.agent_env = vec![("INTERFACES".into(), text())];
        plan.collector_args = vec![text()];
        // The certificates' names must be names; everything else is checked without them.
        (plan.tls, plan.privileged, plan.background) = (false, switches[1], switches[2]);
        plan.scc = switches[3];
        plan
    })
}

fn document(plan: &Plan, kind: &str) -> Value {
    json(made(plan).iter().find(|document| document.kind == kind).expect("a document of this kind"))
}

fn env(container: &Value, name: &str) -> Value {
    let env = container["env"].as_array().expect("env");
    env.iter().find(|entry| entry["name"] == name).unwrap_or(&Value::Null)["value"].clone()
}

/// Names and structure: everything but texts.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => json!(""),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn values_arrive_unchanged(plan in hostile_plan()) {
        let namespace = document(&plan, "Namespace");
        let notes = &namespace["metadata"]["annotations"];
        prop_assert_eq!(&notes["netobserv.io/started"], &json!(plan.started));
        prop_assert_eq!(&notes["netobserv.io/by"], &json!(plan.by));
        prop_assert_eq!(&notes["netobserv.io/command"], &json!(plan.typed));
        prop_assert_eq!(&namespace["metadata"]["labels"]["netobserv.io/session"], &json!(plan.session));
        let agents = document(&plan, "DaemonSet");
        let spec = &agents["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        prop_assert_eq!(&container["image"], &json!(plan.images.agent));
        prop_assert_eq!(env(container, "INTERFACES"), json!(plan.agent_env[0].1));
        let (key, value) = plan.node_selector.clone().expect("a selector");
        prop_assert_eq!(&spec["nodeSelector"], &json!({ "kubernetes.io/os": "linux", key: value }));
        let pod = document(&plan, "Pod");
        prop_assert_eq!(&pod["spec"]["containers"][0]["image"], &json!(plan.images.collector));
        prop_assert_eq!(&pod["spec"]["containers"][0]["command"], &json!(plan.pod_command()));
    }

    #[test]
    fn values_change_no_structure(plan in hostile_plan()) {
        let tame = Plan {
            agent_env: vec![("INTERFACES".into(), "eth0".into())],
            node_selector: plan.node_selector.clone().map(|(key, _)| (key, "x".into())),
            collector_args: vec!["x".into()],
            ..yaml_world::plan(plan.command)
        };
        let tame = Plan { tls: plan.tls, privileged: plan.privileged, background: plan.background, scc: plan.scc, ..tame };
        let shapes = |plan: &Plan| made(plan).iter().map(|document| shape(&json(document))).collect::<Vec<_>>();
        prop_assert_eq!(shapes(&plan), shapes(&tame));
    }

    #[test]
    fn overrides_are_the_pod(plan in hostile_plan()) {
        let overrides = collector_overrides(&plan).expect("overrides");
        let pod = document(&plan, "Pod");
        prop_assert_eq!(&overrides["spec"], &pod["spec"]);
        prop_assert_eq!(&overrides["metadata"], &json!({ "labels": pod["metadata"]["labels"] }));
    }
}

/// What kubectl reads is what we read: it has a YAML parser of another version, and decodes without a server here.
#[test]
fn kubectl_reads_the_same() {
    let Some(kubectl) = tool("kubectl", "kubectl_reads_the_same") else { return };
    let nasty = "no\n\"'\\: # é😀\u{7f}\u{85}\u{2028}\u{feff}${namespace}";
    let mut plan = plan(Kind::Flows);
    (plan.typed, plan.by, plan.scc, plan.privileged) = (nasty.into(), "0x1f".into(), true, true);
    plan.agent_env = vec![("INTERFACES".into(), nasty.into()), ("SAMPLING".into(), "012".into())];
    plan.collector_args = vec![nasty.into()];
    for document in made(&plan) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("object.yml");
        std::fs::write(&file, &document.yaml).expect("a file");
        let words = ["label", "--local", "-o", "json", "seen=yes", "-f"];
        let said = Run::new(&kubectl).args(words).arg(&file).env("KUBECONFIG", "/nonexistent").output();
        let mut read: Value = serde_json::from_str(&said).expect("JSON");
        let labels = read["metadata"]["labels"].as_object_mut().expect("labels");
        assert_eq!(labels.remove("seen"), Some(json!("yes")));
        assert_eq!(read, json(&document), "{} {}", document.kind, document.name);
    }
}
