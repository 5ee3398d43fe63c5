//! The manifests are what Kubernetes understands: each field has a name and a type that its API knows.

mod yaml_world;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use netobserv_testkit::proc::Run;
use oc_netobserv::manifest::{Document, Stage, documents, stream, yaml_stream};
use oc_netobserv::plan::{Kind, Plan};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use yaml_world::{certificates, every_plan, json, made, plan, tool};

/// `security.openshift.io/v1`, which is in no library: its documented fields.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SecurityContextConstraints {
    api_version: String,
    kind: String,
    metadata: Value,
    allow_host_network: bool,
    allow_host_ports: bool,
    #[serde(rename = "allowHostPID")]
    allow_host_pid: bool,
    #[serde(rename = "allowHostIPC")]
    allow_host_ipc: bool,
    allow_host_dir_volume_plugin: bool,
    allow_privileged_container: bool,
    allow_privilege_escalation: bool,
    allowed_capabilities: Vec<String>,
    default_add_capabilities: Vec<String>,
    required_drop_capabilities: Vec<String>,
    read_only_root_filesystem: bool,
    run_as_user: BTreeMap<String, Value>,
    se_linux_context: BTreeMap<String, Value>,
    fs_group: BTreeMap<String, Value>,
    supplemental_groups: BTreeMap<String, Value>,
    seccomp_profiles: Vec<String>,
    volumes: Vec<String>,
    users: Vec<String>,
    groups: Vec<String>,
}

/// `monitoring.coreos.com/v1`, of the Prometheus operator: its documented fields, as far as they are used.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceMonitor {
    api_version: String,
    kind: String,
    metadata: Value,
    spec: ServiceMonitorSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceMonitorSpec {
    endpoints: Vec<Endpoint>,
    namespace_selector: BTreeMap<String, Vec<String>>,
    selector: LabelSelector,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Endpoint {
    port: String,
    scheme: String,
    interval: String,
    honor_labels: bool,
    metric_relabelings: Vec<Relabeling>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Relabeling {
    action: String,
    source_labels: Vec<String>,
    separator: String,
    regex: String,
    replacement: String,
    target_label: String,
}

/// Reads it as a `T` and writes it again: a field that `T` does not know is gone then.
#[track_caller]
fn same_as<T: DeserializeOwned + Serialize>(document: &Document) {
    let source = json(document);
    let typed: T = serde_json::from_value(source.clone())
        .unwrap_or_else(|error| panic!("{} {}: {error}\n{}", document.kind, document.name, document.yaml));
    let written = serde_json::to_value(typed).expect("what was read can be written");
    assert_eq!(without_empty(written), without_empty(source), "{} {}", document.kind, document.name);
}

/// An empty list or map is the same as none; some types leave it out when they are written.
fn without_empty(value: Value) -> Value {
    let empty = |value: &Value| matches!(value, Value::Array(a) if a.is_empty()) || value == &json!({});
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, v)| !empty(v)).map(|(k, v)| (k, without_empty(v))).collect(),
        Value::Array(items) => items.into_iter().map(without_empty).collect(),
        other => other,
    }
}

#[track_caller]
fn check(document: &Document) {
    match document.kind {
        "Namespace" => same_as::<Namespace>(document),
        "ServiceAccount" => same_as::<ServiceAccount>(document),
        "ClusterRole" => same_as::<ClusterRole>(document),
        "ClusterRoleBinding" => same_as::<ClusterRoleBinding>(document),
        "Role" => same_as::<Role>(document),
        "RoleBinding" => same_as::<RoleBinding>(document),
        "SecurityContextConstraints" => same_as::<SecurityContextConstraints>(document),
        "Secret" => same_as::<Secret>(document),
        "Service" => same_as::<Service>(document),
        "DaemonSet" => same_as::<DaemonSet>(document),
        "Pod" => same_as::<Pod>(document),
        "ConfigMap" => same_as::<ConfigMap>(document),
        "ServiceMonitor" => same_as::<ServiceMonitor>(document),
        other => panic!("no type for {other}"),
    }
}

#[test]
fn every_field_is_known_to_kubernetes() {
    let certificates = certificates(&plan(Kind::Flows));
    for plan in every_plan() {
        for document in documents(&plan, &certificates).expect("documents") {
            check(&document);
            let read = json(&document);
            assert_eq!(
                (read["kind"].as_str(), read["metadata"]["name"].as_str()),
                (Some(document.kind), Some(&*document.name))
            );
        }
    }
}

#[test]
#[should_panic(expected = "ServiceAccount")]
fn a_misspelt_field_is_found() {
    let mut document = made(&plan(Kind::Flows)).remove(1);
    document.yaml = document.yaml.replace("automountServiceAccountToken", "autoMountServiceAccountToken");
    check(&document);
}

/// The schemas that the Kubernetes project publishes know more than types: which fields are required, which values exist.
#[test]
fn the_published_schemas_agree() {
    let Some(validate) = tool("kubernetes-validate", "the_published_schemas_agree") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = certificates(&plan(Kind::Flows));
    let mut files = std::collections::BTreeMap::new();
    for plan in every_plan() {
        let documents = documents(&plan, &certificates).expect("documents");
        // Those are in no schema of Kubernetes.
        let foreign = ["SecurityContextConstraints", "ServiceMonitor"];
        for document in documents.iter().filter(|document| !foreign.contains(&document.kind)) {
            let number = files.len();
            files.entry(document.yaml.clone()).or_insert_with(|| folder.path().join(format!("{number}.yml")));
        }
    }
    for (yaml, path) in &files {
        std::fs::write(path, yaml).expect("a file");
    }
    Run::new(validate).args(["--strict", "--quiet", "--no-warn", "-k", "1.33"]).args(files.values()).output();
}

/// The agents have no token; what the collector has it needs; nothing may write but for the removal of the session, and to
/// start agents where that is asked for.
#[test]
fn permissions_are_the_smallest() {
    for plan in every_plan() {
        for document in made(&plan) {
            let read = json(&document);
            for rule in read["rules"].as_array().into_iter().flatten() {
                let verbs: Vec<_> = rule["verbs"].as_array().expect("verbs").iter().filter_map(Value::as_str).collect();
                let named = rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty());
                let looks = verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb));
                let removes = named && verbs.iter().all(|verb| ["get", "delete", "use"].contains(verb));
                let agents = rule["resources"] == serde_json::json!(["daemonsets"]) && named && verbs == ["patch"];
                let starts_agents = agents && plan.only_these_nodes;
                assert!(looks || removes || starts_agents, "{} {}: {rule}", document.kind, document.name);
                assert!(!looks || !rule["resources"].to_string().contains("secrets"), "{rule}");
            }
        }
    }
}

#[test]
fn the_agents_have_three_capabilities_and_no_token() {
    for plan in every_plan() {
        let agents = made(&plan).into_iter().find(|document| document.kind == "DaemonSet").expect("agents");
        let spec = &json(&agents)["spec"]["template"]["spec"];
        let security = &spec["containers"][0]["securityContext"];
        assert_eq!(spec["automountServiceAccountToken"], json!(false));
        assert_eq!(security["capabilities"], json!({ "add": ["BPF", "PERFMON", "NET_ADMIN"], "drop": ["ALL"] }));
        assert_eq!(
            (&security["privileged"], &security["readOnlyRootFilesystem"]),
            (&json!(plan.privileged), &json!(true))
        );
        assert_eq!(agents.yaml.contains("hostPath:"), plan.privileged);
        assert!(spec["containers"][0]["resources"]["limits"]["memory"].is_string());
    }
}

/// The DaemonSet's controller adopts every pod that its selector matches.
#[test]
fn the_daemonset_does_not_select_the_collector() {
    let made = made(&plan(Kind::Flows));
    let of = |kind: &str| json(made.iter().find(|document| document.kind == kind).expect("a document"));
    let wanted = of("DaemonSet")["spec"]["selector"]["matchLabels"].as_object().expect("labels").clone();
    let labels = |object: &Value| object["metadata"]["labels"].clone();
    let matches = |labels: &Value| wanted.iter().all(|(key, value)| labels[key] == *value);
    assert!(matches(&labels(&of("DaemonSet")["spec"]["template"])));
    assert!(!matches(&labels(&of("Pod"))));
    assert_eq!(of("Service")["spec"]["selector"], json!({ "run": labels(&of("Pod"))["run"] }));
}

#[test]
fn everything_carries_the_session() {
    for plan in every_plan() {
        for document in made(&plan) {
            let labels = &json(&document)["metadata"]["labels"];
            let session = (&labels["app"], &labels["netobserv.io/session"]);
            assert_eq!(session, (&json!("netobserv-cli"), &json!(plan.session)), "{} {}", document.kind, document.name);
        }
    }
}

#[test]
fn cluster_wide_objects_have_names_of_their_own_and_go_with_the_namespace() {
    let plan = Plan { namespace: "mine".into(), namespace_uid: Some("7a0c".into()), scc: true, ..plan(Kind::Flows) };
    let wide = ["ClusterRole", "ClusterRoleBinding", "SecurityContextConstraints"];
    let mut seen = Vec::new();
    for document in made(&plan).iter().filter(|document| wide.contains(&document.kind)) {
        let metadata = &json(document)["metadata"];
        assert_eq!(metadata["name"], json!("netobserv-cli-mine"));
        let owner = json!([{ "apiVersion": "v1", "kind": "Namespace", "name": "mine", "uid": "7a0c" }]);
        assert_eq!(metadata["ownerReferences"], owner);
        assert!(metadata["namespace"].is_null());
        seen.push(document.kind);
    }
    assert_eq!(seen, wide);
}

/// The dashboard is in a namespace that stays, so it goes with the one of the capture.
#[test]
fn the_dashboard_of_the_console_goes_with_the_namespace() {
    let plan = Plan { namespace: "mine".into(), namespace_uid: Some("7a0c".into()), ..plan(Kind::Metrics) };
    let made = made(&plan);
    let map = json(made.iter().find(|document| document.kind == "ConfigMap").expect("a dashboard"));
    let metadata = &map["metadata"];
    assert_eq!(
        (&metadata["name"], &metadata["namespace"]),
        (&json!("netobserv-cli-mine"), &json!("openshift-config-managed"))
    );
    assert_eq!(metadata["ownerReferences"][0]["uid"], json!("7a0c"));
    assert_eq!(metadata["labels"]["console.openshift.io/dashboard"], json!("true"));
    let text = map["data"]["on-demand-netobserv-flow-metrics.json"].as_str().expect("a text");
    let dashboard: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(dashboard["title"], "NetObserv / On Demand");
    assert!(dashboard["rows"].as_array().is_some_and(|rows| rows.len() == 5));
}

/// What the relabeling does, with the rules of Prometheus: the whole joined text has to match.
#[test]
fn the_service_monitor_gives_the_namespace_that_the_console_filters_by() {
    let made = made(&plan(Kind::Metrics));
    let monitor = json(made.iter().find(|document| document.kind == "ServiceMonitor").expect("a monitor"));
    let service = json(made.iter().rfind(|document| document.kind == "Service").expect("a service"));
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(service["spec"]["ports"][0]["port"], json!(9401));
    let rules = monitor["spec"]["endpoints"][0]["metricRelabelings"].as_array().expect("rules");
    let namespace = |metric: &str, src: &str, dst: &str| {
        let value = |label: &Value| match label.as_str() {
            Some("__name__") => metric.to_owned(),
            Some("SrcK8S_Namespace") => src.to_owned(),
            Some("DstK8S_Namespace") => dst.to_owned(),
            other => panic!("{other:?}"),
        };
        rules.iter().fold("netobserv-cli".to_owned(), |namespace, rule| {
            let labels = rule["sourceLabels"].as_array().expect("labels").iter().map(value).collect::<Vec<_>>();
            let regex = regex::Regex::new(&format!("^(?:{})$", rule["regex"].as_str().unwrap())).expect("a pattern");
            let text = labels.join(rule["separator"].as_str().unwrap());
            let to = rule["replacement"].as_str().unwrap();
            let replaced = |found: regex::Captures<'_>| {
                let mut made = String::new();
                found.expand(to, &mut made);
                made
            };
            regex.captures(&text).map_or(namespace, replaced)
        })
    };
    let metric = |name: &str| format!("on_demand_netobserv_{name}");
    assert_eq!(namespace(&metric("workload_ingress_bytes_total"), "a", "b"), "b");
    for name in ["namespace_flows_total", "workload_egress_bytes_total", "namespace_rtt_seconds_bucket"] {
        assert_eq!(namespace(&metric(name), "a", "b"), "a", "{name}");
    }
    assert_eq!(namespace(&metric("node_ingress_bytes_total"), "", ""), "netobserv-cli", "it has none of its own");
}

#[test]
fn stages_follow_each_other_and_the_stream_holds_all() {
    assert!(every_plan().all(|plan| made(&plan).is_sorted_by_key(|document| document.stage)));
    let plan = Plan { scc: true, ..plan(Kind::Flows) };
    let documents = made(&plan);
    assert!(documents.is_sorted_by_key(|document| document.stage));
    let stages = [Stage::Namespace, Stage::Access, Stage::Service, Stage::Agents, Stage::Collector];
    let streams: Vec<_> = stages.iter().map(|stage| stream(&documents, *stage)).collect();
    let whole = yaml_stream(&plan, &certificates(&plan)).expect("a stream");
    let read: Vec<Value> = serde_saphyr::from_multiple(&whole).expect("YAML");
    assert_eq!(read.len(), documents.len());
    assert_eq!(streams.iter().map(|text| text.split("---\n").count()).sum::<usize>(), documents.len());
    // Applied by hand, nobody is there to start the capture: the pod does.
    assert_eq!(read.last().expect("the pod")["spec"]["containers"][0]["command"][1], json!("get-flows"));
}

#[test]
fn a_setting_without_a_place_is_refused() {
    let plan = Plan { agent_env: vec![("ENABLE_TELEPATHY".into(), "true".into())], ..plan(Kind::Flows) };
    let error = documents(&plan, &certificates(&plan)).expect_err("no place").to_string();
    assert_eq!(error, "the manifest of the agents has no place for ENABLE_TELEPATHY");
}
