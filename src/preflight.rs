//! Everything that can be known before anything is made: the cluster answers, it is new enough, the user may, no one else
//! captures there, and there are nodes to capture on. The questions are asked all at once, as each costs a round trip.

use std::thread;

use serde_json::Value;

use crate::oc::{Call, Oc, OcError};
use crate::options::{Keylog, Scraper, Settings};
use crate::progress::Progress;

mod owner;
mod permissions;
mod subnets;
mod version;

pub use owner::NamespaceOwner;
pub use permissions::Missing;
use permissions::Rights;

/// Why there can be no capture.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The cluster does not answer, or not to this user.
    #[error("You must be connected to cluster: {0}")]
    NotConnected(OcError),
    /// A question failed.
    #[error(transparent)]
    Oc(#[from] OcError),
    /// Another user captures there.
    #[error(
        "{namespace} namespace already exists. Ensure someone else is not running another capture on this cluster. \
         Else use '{cli} netobserv cleanup' to remove the namespace first. {holder}; use -n for another namespace"
    )]
    Held {
        /// The namespace.
        namespace: String,
        /// `oc` or `kubectl`.
        cli: &'static str,
        /// Who, and since when.
        holder: String,
    },
    /// The namespace belongs to something else.
    #[error("{0} namespace already exists and was not created by this program: choose another one with -n")]
    Foreign(String),
    /// The cluster is too old.
    #[error("OpenShift {version}: {reasons}; Remove not compatible features and try again")]
    TooOld {
        /// Its version.
        version: String,
        /// One `- ...` for each feature.
        reasons: String,
    },
    /// Missing permissions.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The pod whose key log is wanted.
    #[error("--tls-keylog: there is no pod {pod} in namespace {namespace}")]
    NoPod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        pod: String,
    },
    /// There is no Prometheus operator.
    #[error(
        "the cluster has no ServiceMonitors: --to=service-monitor needs the Prometheus operator; \
         use --to=annotations for a Prometheus without it, or --to=none"
    )]
    NoServiceMonitors,
    /// No node has the label.
    #[error("{0} doesn't match any node label. Please check your --node-selector parameter")]
    NoNodes(String),
}

/// What is known of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// It has security context constraints.
    pub scc: bool,
    /// It is OpenShift, and its monitoring reads metrics.
    pub openshift_monitoring: bool,
    /// `NAME=CIDR,CIDR` items for the collector.
    pub subnets: Vec<String>,
    /// What is to be removed first: what an interrupted session has left.
    pub left: Option<NamespaceOwner>,
}

/// Looks at the cluster.
///
/// # Errors
///
/// There can be no capture.
pub fn probe(oc: &Oc, settings: &Settings, progress: Progress) -> Result<Cluster, PreflightError> {
    let answers = ask(oc, settings);
    let groups = groups(oc, answers.groups).map_err(PreflightError::NotConnected)?;
    let openshift = groups.iter().any(|group| group == "config.openshift.io");
    let scc = groups.iter().any(|group| group == "security.openshift.io");
    let has_monitors = groups.iter().any(|group| group == "monitoring.coreos.com");
    let wants_monitor = settings.metrics.as_ref().map(|metrics| metrics.scraper);
    if wants_monitor == Some(Scraper::ServiceMonitor) && !has_monitors {
        return Err(PreflightError::NoServiceMonitors);
    }
    let openshift_monitoring = openshift && has_monitors;
    if let Some(user) = answers.user {
        progress.answer(&user);
    }
    let left = owner::judge(oc, settings, answers.namespace?, progress)?;
    version::check(oc, settings, openshift, answers.version, progress)?;
    let rights = permissions::Wanted { scc, monitoring: monitoring_rights(wants_monitor, openshift_monitoring) };
    permissions::check(oc, settings, &rights, &answers.permissions.unwrap_or_default())?;
    if let Some((label, nodes)) = answers.nodes {
        tell_nodes(&label, &nodes?, progress)?;
    }
    if let Some(Keylog::Pod { namespace, pod, .. }) = &settings.keylog
        && oc.run(&Call::pod(namespace, pod))?.trim().is_empty()
    {
        return Err(PreflightError::NoPod { namespace: namespace.clone(), pod: pod.clone() });
    }
    let subnets = if settings.get_subnets { subnets::read(oc, openshift, progress)? } else { Vec::new() };
    Ok(Cluster { scc, openshift_monitoring, subnets, left })
}

/// What is made for those who read the metrics.
fn monitoring_rights(scraper: Option<Scraper>, openshift: bool) -> Rights {
    match scraper {
        Some(Scraper::OfTheCluster) if openshift => Rights::OpenShift,
        Some(Scraper::ServiceMonitor) => Rights::ServiceMonitor,
        _ => Rights::None,
    }
}

struct Answers {
    groups: Result<String, OcError>,
    namespace: Result<Option<Value>, OcError>,
    version: Result<Option<Value>, OcError>,
    permissions: Result<String, OcError>,
    nodes: Option<(String, Result<String, OcError>)>,
    user: Option<String>,
}

fn ask(oc: &Oc, settings: &Settings) -> Answers {
    let namespace = settings.access.namespace.as_str();
    let selector = settings.node_selector.as_ref();
    thread::scope(|scope| {
        let holder = beside(scope, oc, || oc.json(&Call::namespace(namespace)));
        let version = beside(scope, oc, || oc.json(&Call::cluster_version()));
        let permissions = beside(scope, oc, || oc.run(&Call::permissions(namespace)));
        let nodes = beside(scope, oc, || {
            selector.map(|(key, value)| (format!("{key}={value}"), oc.run(&Call::nodes(key, value))))
        });
        // kubectl has no such command; a certificate may belong to no user.
        let user = beside(scope, oc, || (oc.name() == "oc").then(|| oc.run(&Call::whoami()).ok()).flatten());
        Answers {
            groups: oc.run(&Call::api_groups()),
            namespace: joined(holder),
            version: joined(version),
            permissions: joined(permissions),
            nodes: joined(nodes),
            user: joined(user),
        }
    })
}

/// Asks on a thread. The lines of a dry run come in one order, so there the next question waits.
fn beside<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    oc: &Oc,
    question: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    let asked = scope.spawn(question);
    while oc.is_dry() && !asked.is_finished() {
        thread::yield_now();
    }
    asked
}

/// A thread of ours panics when there is a mistake in it, which is ours to show.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Names of the API's groups.
fn groups(oc: &Oc, answer: Result<String, OcError>) -> Result<Vec<String>, OcError> {
    let list: Value = serde_json::from_str(&answer?).map_err(|error| oc.garbage(&Call::api_groups(), error))?;
    let groups = list["groups"].as_array().ok_or_else(|| oc.garbage(&Call::api_groups(), "there are no groups"))?;
    Ok(groups.iter().filter_map(|group| group["name"].as_str().map(str::to_owned)).collect())
}

fn tell_nodes(label: &str, answer: &str, progress: Progress) -> Result<(), PreflightError> {
    progress.print(&format!("finding nodes matching {label}..."));
    let nodes: Vec<&str> = answer.lines().map(|line| line.trim().trim_start_matches("node/")).collect();
    let nodes: Vec<&str> = nodes.into_iter().filter(|name| !name.is_empty()).collect();
    if nodes.is_empty() {
        return Err(PreflightError::NoNodes(label.to_owned()));
    }
    progress.print(&format!("{} matching nodes found: {}", nodes.len(), nodes.join(" ")));
    Ok(())
}
