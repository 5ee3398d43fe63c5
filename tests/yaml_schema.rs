//! The manifests are what Kubernetes understands: each field has a name and a type that its API knows.

mod yaml_world;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use oc_netobserv::manifest::{Document, documents};
use oc_netobserv::plan::Kind;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use yaml_world::{certificates, every_plan, json, made, plan};

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
