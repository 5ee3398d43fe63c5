//! The objects of a capture as YAML: one function for each file of `yaml/`, and their order.

use serde_json::{Value, json};

use crate::certificates::{Certificates, Pair};
use crate::handover;
use crate::images::PullSecret;
use crate::plan::{Kind, Monitoring, Plan};
use crate::template::{self, TemplateError, Values};

mod metrics;

pub use crate::oc::{Document, Stage};

/// Manifests that cannot be written: a mistake in this program, never of its user.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file of `yaml/` and the values do not fit.
    #[error("the manifest of {kind} {name}: {source}")]
    Template {
        /// Kubernetes kind.
        kind: &'static str,
        /// `metadata.name`.
        name: String,
        /// What does not fit.
        source: TemplateError,
    },
    /// A setting of the agent that the manifest has no place for.
    #[error("the manifest of the agents has no place for {0}")]
    NoPlace(String),
    /// The collector's manifest is no YAML.
    #[error("the manifest of the collector: {0}")]
    NotYaml(String),
}

type Made = Result<Document, ManifestError>;

/// Everything, in the order in which it has to be made. The collector's pod is the last.
///
/// # Errors
///
/// See [`ManifestError`].
pub fn documents(plan: &Plan, certificates: &Certificates) -> Result<Vec<Document>, ManifestError> {
    let mut all = vec![
        namespace(plan)?,
        service_account(plan)?,
        agent_service_account(plan)?,
        cluster_role(plan)?,
        cluster_role_binding(plan)?,
        role(plan)?,
        role_binding(plan)?,
    ];
    if plan.scc {
        all.extend([scc(plan)?, agent_role(plan)?, agent_role_binding(plan)?]);
    }
    if let Some(secret) = &plan.images.pull_secret {
        all.push(pull_secret(plan, secret)?);
    }
    if plan.tls {
        all.extend([collector_tls(plan, certificates)?, agent_tls(plan, certificates)?]);
    }
    all.extend(metrics::documents(plan, Stage::Access)?);
    all.push(collector_service(plan)?);
    all.extend(metrics::documents(plan, Stage::Service)?);
    all.extend([agents(plan)?, collector(plan)?]);
    Ok(all)
}

/// The documents of one step as a stream for `oc apply -f -`.
#[must_use]
pub fn stream(documents: &[Document], stage: Stage) -> String {
    join(documents.iter().filter(|document| document.stage == stage))
}

/// All documents as one stream, private keys included, for `oc apply -f` without this program: the pod captures by itself.
///
/// # Errors
///
/// See [`documents`].
pub fn yaml_stream(plan: &Plan, certificates: &Certificates) -> Result<String, ManifestError> {
    let plan = Plan { background: true, ..plan.clone() };
    let head = include_str!("../yaml/head.yml");
    Ok(format!("{head}---\n{}", join(documents(&plan, certificates)?.iter())))
}

fn join<'a>(documents: impl Iterator<Item = &'a Document>) -> String {
    documents.map(|document| document.yaml.as_str()).collect::<Vec<_>>().join("---\n")
}

/// What `oc run collector --overrides=` takes: the collector's pod without its name. Lists in it replace those of `oc run`.
///
/// # Errors
///
/// See [`ManifestError`].
pub fn collector_overrides(plan: &Plan) -> Result<Value, ManifestError> {
    let yaml = collector(plan)?.yaml;
    let pod: Value = serde_saphyr::from_str(&yaml).map_err(|error| ManifestError::NotYaml(error.to_string()))?;
    let mut metadata = json!({ "labels": pod["metadata"]["labels"] });
    if pod["metadata"]["annotations"].is_object() {
        metadata["annotations"] = pod["metadata"]["annotations"].clone();
    }
    Ok(json!({ "apiVersion": "v1", "metadata": metadata, "spec": pod["spec"] }))
}

/// The namespace, with who made it, when and how.
pub fn namespace(plan: &Plan) -> Made {
    let more = [("started", json!(plan.started)), ("by", json!(plan.by)), ("typed", json!(plan.typed))];
    let text = include_str!("../yaml/namespace.yml");
    document(plan, Stage::Namespace, "Namespace", &plan.namespace, text, more)
}

/// The collector's identity.
pub fn service_account(plan: &Plan) -> Made {
    access(plan, "ServiceAccount", "netobserv-cli", include_str!("../yaml/service-account.yml"))
}

/// The agents' identity.
pub fn agent_service_account(plan: &Plan) -> Made {
    access(plan, "ServiceAccount", "netobserv-cli-agent", include_str!("../yaml/agent-service-account.yml"))
}

/// What the collector may do in the cluster.
pub fn cluster_role(plan: &Plan) -> Made {
    access(plan, "ClusterRole", &plan.cluster_name(), include_str!("../yaml/cluster-role.yml"))
}

/// The same, granted.
pub fn cluster_role_binding(plan: &Plan) -> Made {
    access(plan, "ClusterRoleBinding", &plan.cluster_name(), include_str!("../yaml/cluster-role-binding.yml"))
}

/// What the collector may do in the namespace.
pub fn role(plan: &Plan) -> Made {
    access(plan, "Role", "netobserv-cli", include_str!("../yaml/role.yml"))
}

/// The same, granted.
pub fn role_binding(plan: &Plan) -> Made {
    access(plan, "RoleBinding", "netobserv-cli", include_str!("../yaml/role-binding.yml"))
}

/// What OpenShift lets the agents be.
pub fn scc(plan: &Plan) -> Made {
    let text = include_str!("../yaml/scc.yml");
    access(plan, "SecurityContextConstraints", &plan.cluster_name(), text)
}

/// The use of it.
pub fn agent_role(plan: &Plan) -> Made {
    access(plan, "Role", "netobserv-cli-agent", include_str!("../yaml/agent-role.yml"))
}

/// The same, granted.
pub fn agent_role_binding(plan: &Plan) -> Made {
    access(plan, "RoleBinding", "netobserv-cli-agent", include_str!("../yaml/agent-role-binding.yml"))
}

/// Credentials of the registry.
pub fn pull_secret(plan: &Plan, secret: &PullSecret) -> Made {
    let text = include_str!("../yaml/pull-secret.yml");
    document(plan, Stage::Access, "Secret", PullSecret::NAME, text, [("docker_config", json!(secret.0))])
}

/// The collector's certificate and key.
pub fn collector_tls(plan: &Plan, certificates: &Certificates) -> Made {
    let text = include_str!("../yaml/collector-tls.yml");
    tls(plan, "netobserv-cli-collector-tls", text, &certificates.ca, &certificates.collector)
}

/// The agents' certificate and key.
pub fn agent_tls(plan: &Plan, certificates: &Certificates) -> Made {
    let text = include_str!("../yaml/agent-tls.yml");
    tls(plan, "netobserv-cli-agent-tls", text, &certificates.ca, &certificates.agent)
}

/// The collector's name for the agents.
pub fn collector_service(plan: &Plan) -> Made {
    document(plan, Stage::Service, "Service", "collector", include_str!("../yaml/collector-service.yml"), [])
}

/// The agents.
pub fn agents(plan: &Plan) -> Made {
    let settings = plan.agent_env.iter().map(|(name, value)| (name.as_str(), json!(value)));
    let more = settings.chain([
        ("image", json!(plan.images.agent)),
        ("pull_policy", json!(plan.images.agent_pull_policy().word())),
        ("node_selector", node_selector(plan)),
        ("target_host", json!(plan.collector_host())),
        ("plaintext", json!(!plan.tls)),
        ("volumes", json!(plan.tls || plan.privileged || plan.images.bare)),
        ("wait_for_program", json!(handover::wait_for(handover::AGENT))),
        ("flows", json!(plan.command != Kind::Packets)),
        ("packets", json!(plan.command == Kind::Packets)),
    ]);
    let text = include_str!("../yaml/agents.yml");
    let made = document(plan, Stage::Agents, "DaemonSet", "netobserv-cli", text, more)?;
    // The template is the same for flows and packets, and not every setting is for both.
    let place = |name: &str| made.yaml.lines().any(|line| line.trim().strip_prefix("- name: ") == Some(name));
    match plan.agent_env.iter().find(|(name, _)| !place(name)) {
        Some((name, _)) => Err(ManifestError::NoPlace(name.clone())),
        None => Ok(made),
    }
}

/// The collector's pod.
pub fn collector(plan: &Plan) -> Made {
    let more = [
        ("image", json!(plan.images.collector)),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("pull_policy", json!(plan.images.collector_pull_policy().word())),
        ("command", json!(plan.pod_command())),
        ("deadline", json!(plan.deadline())),
        ("output", json!({ "sizeLimit": plan.file_space().to_string() })),
        ("wait_for_program", json!(handover::wait_for(handover::COLLECTOR))),
        // Our own image has a user; OpenShift gives one of the namespace's own range.
        ("user_wanted", json!(plan.images.bare && !plan.scc)),
    ];
    document(plan, Stage::Collector, "Pod", "collector", include_str!("../yaml/collector.yml"), more)
}

/// The agent runs on Linux; a cluster may have other nodes.
fn node_selector(plan: &Plan) -> Value {
    let mut labels = serde_json::Map::from_iter([("kubernetes.io/os".to_owned(), json!("linux"))]);
    labels.extend(plan.node_selector.iter().map(|(key, value)| (key.clone(), json!(value))));
    Value::Object(labels)
}

fn access(plan: &Plan, kind: &'static str, name: &str, text: &str) -> Made {
    document(plan, Stage::Access, kind, name, text, [])
}

fn tls(plan: &Plan, name: &str, text: &str, ca: &str, pair: &Pair) -> Made {
    let more = [("ca", json!(ca)), ("certificate", json!(pair.certificate)), ("key", json!(pair.key))];
    document(plan, Stage::Access, "Secret", name, text, more)
}

fn document<'a>(
    plan: &Plan,
    stage: Stage,
    kind: &'static str,
    name: &str,
    text: &str,
    more: impl IntoIterator<Item = (&'a str, Value)>,
) -> Made {
    let mut values = common(plan);
    values.extend(more);
    let yaml = template::fill(text, &values);
    let yaml = yaml.map_err(|source| ManifestError::Template { kind, name: name.to_owned(), source })?;
    Ok(Document { stage, kind, name: name.to_owned(), yaml })
}

/// Values that more than one file uses.
fn common(plan: &Plan) -> Values<'static> {
    let pull_secrets: Vec<_> = plan.images.pull_secret.iter().map(|_| json!({ "name": PullSecret::NAME })).collect();
    let owner = |uid| json!({ "apiVersion": "v1", "kind": "Namespace", "name": plan.namespace, "uid": uid });
    let scc_volumes: Vec<&str> = [("secret", true), ("hostPath", plan.privileged), ("emptyDir", plan.images.bare)]
        .into_iter()
        .filter_map(|(volume, wanted)| wanted.then_some(volume))
        .collect();
    Values::from([
        ("namespace", json!(plan.namespace)),
        ("namespaces", json!([plan.namespace])),
        ("session", json!(plan.session)),
        ("cluster_name", json!(plan.cluster_name())),
        ("cluster_names", json!([plan.cluster_name()])),
        ("owned", json!(plan.namespace_uid.is_some())),
        ("owners", plan.namespace_uid.iter().map(owner).collect()),
        ("pull_secrets", json!(pull_secrets)),
        ("only_these_nodes", json!(plan.only_these_nodes)),
        ("all_nodes", json!(!plan.only_these_nodes)),
        ("privileged", json!(plan.privileged)),
        ("scc", json!(plan.scc)),
        ("scc_volumes", json!(scc_volumes)),
        ("bare", json!(plan.images.bare)),
        ("tls", json!(plan.tls)),
        ("cluster_monitoring", json!(plan.is_read_by(Monitoring::OpenShift))),
        ("annotated", json!(plan.is_read_by(Monitoring::Annotations))),
        ("serves_metrics", json!(plan.serves_metrics())),
    ])
}
