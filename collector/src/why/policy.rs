//! `policy`: the least NetworkPolicies that allow what was captured, and what of it given policies would deny.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use netobserv_contract::plain;
use netobserv_explain::cluster::Cluster;
use netobserv_explain::measure::is_answer;
use netobserv_explain::objects::Protocol;
use netobserv_explain::observe::Observation;
use netobserv_explain::policy::{Conversation, denied, least_policies};

use super::command::{cluster, end, usage};
use super::{NotMet, complain, database, print};

/// Proposes NetworkPolicies for a namespace out of a finished capture, or checks some against it.
#[derive(Debug, Parser)]
#[command(name = "policy")]
struct Policy {
    /// The database of the capture
    #[arg(long, value_name = "FILE.db")]
    from: PathBuf,
    /// Objects of the cluster: at least its pods, as 'oc get pods,namespaces,nodes,services -A -o json' prints them
    #[arg(long, value_name = "FILE", required = true)]
    objects: Vec<PathBuf>,
    /// The namespace to propose policies for
    #[arg(long, value_name = "NAMESPACE", required_unless_present = "check")]
    ns: Option<String>,
    /// List the captured conversations that these policies would deny; exit with code 3 when there are some
    #[arg(long, value_name = "POLICY.yaml", conflicts_with = "ns")]
    check: Option<PathBuf>,
    /// How to print: yaml
    #[arg(long, short, default_value = "yaml", value_parser = ["yaml"])]
    output: String,
}

/// The program `policy`: words to exit code.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    match Policy::try_parse_from(std::iter::once("policy".into()).chain(words)) {
        Ok(words) => end(words.run()),
        Err(error) => usage(&error),
    }
}

/// The conversations of a capture that worked: of a server that answered, each once with the number of its records.
fn conversations(path: &std::path::Path, cluster: &Cluster) -> anyhow::Result<BTreeMap<Conversation, u64>> {
    let mut found: BTreeMap<Conversation, (u64, bool)> = BTreeMap::new();
    database::read(path, |seen| {
        if let Some(conversation) = conversation(seen, cluster) {
            let (records, answered) = found.entry(conversation).or_default();
            *records += 1;
            let (_, server) = seen.client_and_server();
            *answered |= server.address == seen.src.address && server.port == seen.src.port && is_answer(seen);
        }
    })?;
    // A UDP server that only listens never answers.
    let worked = found.into_iter().filter(|(one, (_, answered))| *answered || one.protocol != Protocol::Tcp);
    Ok(worked.map(|(one, (records, _))| (one, records)).collect())
}

fn conversation(seen: &Observation<'_>, cluster: &Cluster) -> Option<Conversation> {
    let (client, server) = seen.client_and_server();
    let (client, server, port) = (client.address?, server.address?, server.port?);
    let protocol = seen.protocol.and_then(Protocol::of).filter(|_| seen.packets > 0)?;
    // Policies see the pod behind a service; where the record has only the service, its pods are the servers.
    match cluster.service_at(server) {
        Some(service) => {
            let (pod, port) = netobserv_explain::explain::target(cluster, service, protocol, port)?;
            Some(Conversation { client, server: *pod.addresses.first()?, protocol, port })
        }
        None => Some(Conversation { client, server, protocol, port }),
    }
}

impl Policy {
    fn run(&self) -> anyhow::Result<()> {
        let mut cluster = cluster(&self.objects)?.unwrap_or_default();
        if cluster.pods().is_empty() {
            bail!("--objects: there are no pods in it, and policies select pods by their labels");
        }
        let conversations = conversations(&self.from, &cluster)?;
        match &self.check {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                cluster = cluster.without_policies();
                cluster.add_text(&text).with_context(|| path.display().to_string())?;
                if cluster.policies().is_empty() {
                    bail!("{}: there is no NetworkPolicy in it", path.display());
                }
                check(&cluster, &conversations)
            }
            None => propose(&cluster, self.ns.as_deref().unwrap_or_default(), &conversations),
        }
    }
}

fn check(cluster: &Cluster, conversations: &BTreeMap<Conversation, u64>) -> anyhow::Result<()> {
    let all: Vec<_> = conversations.keys().copied().collect();
    let denied = denied(cluster, &all);
    for one in &denied {
        let name = |address| {
            cluster.pod_at(address).map_or(format!("{address}"), |pod| {
                format!("{}/{} ({address})", pod.metadata.namespace, pod.metadata.name)
            })
        };
        let (client, server) = (name(one.client), name(one.server));
        let records = conversations.get(one).copied().unwrap_or_default();
        print(&format!("denied: {client} -> {server} {} port {}, {records} records", one.protocol.name(), one.port));
    }
    let (all, number) = (all.len(), denied.len());
    if denied.is_empty() {
        print(&format!("These policies allow all {all} conversations of the capture."));
        return Ok(());
    }
    Err(NotMet(format!("these policies deny {number} of the {all} conversations of the capture")).into())
}

fn propose(cluster: &Cluster, namespace: &str, conversations: &BTreeMap<Conversation, u64>) -> anyhow::Result<()> {
    let all: Vec<_> = conversations.keys().copied().collect();
    let advice = least_policies(cluster, namespace, &all);
    if advice.policies.is_empty() && advice.without_labels.is_empty() {
        bail!("the capture has no conversation of a pod in namespace {namespace}");
    }
    for pod in &advice.without_labels {
        complain(&format!("pod {pod} has no labels, so that no policy can select it: give it one"));
    }
    netobserv_stdio::stdout().write(plain::lines(&advice.yaml()).into_owned()).map_err(anyhow::Error::msg)
}
