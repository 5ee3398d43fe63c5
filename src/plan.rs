//! What a capture makes in a cluster, decided and valid: the manifests are written from this and from nothing else.

use std::time::Duration;

use netobserv_contract::metrics::{Metric, PORT};

use crate::images::Images;

/// The namespace that is used when none is named.
pub const DEFAULT_NAMESPACE: &str = "netobserv-cli";
/// The collector's program in its image.
pub const COLLECTOR: &str = "/network-observability-cli";
/// Where the certificates are mounted, in the collector's pod and in the agents'.
pub const TLS_DIR: &str = "/etc/netobserv/tls";
/// Time for what is not capturing: images to arrive, agents to start, files to be copied.
const SLACK: Duration = Duration::from_secs(30 * 60);
/// SQLite holds each flow again, with indexes, and its log while it writes; that is below four times the JSON.
const FILES_PER_BYTE: u64 = 4;
/// Logs, temporary files of sorting, state.
const OTHER_FILES: u64 = 256 << 20;
/// Kubernetes counts deadlines in 32 bits, sizes in 64.
const LONGEST_DEADLINE: u64 = i32::MAX as u64;
const MOST_SPACE: u64 = i64::MAX as u64;

/// What is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Flows, into JSON and SQLite.
    Flows,
    /// Packets, into pcapng.
    Packets,
    /// Flows, counted and not kept.
    Metrics,
}

impl Kind {
    /// The collector's sub-command.
    #[must_use]
    pub fn collector_command(self) -> &'static str {
        match self {
            Kind::Flows => "get-flows",
            Kind::Packets => "get-packets",
            Kind::Metrics => "get-metrics",
        }
    }

    /// The word on the plugin's command line, also the beginning of the name of a `--yaml` file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Flows => "flows",
            Kind::Packets => "packets",
            Kind::Metrics => "metrics",
        }
    }
}

/// Who reads the metrics of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monitoring {
    /// The monitoring of OpenShift, with a dashboard in its console.
    OpenShift,
    /// A Prometheus of the Prometheus operator.
    ServiceMonitor,
    /// A Prometheus that finds pods by their annotations.
    Annotations,
    /// Only the screen.
    Off,
}

/// What is special about a capture of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsPlan {
    /// What is counted.
    pub counted: Vec<Metric>,
    /// Who reads it.
    pub monitoring: Monitoring,
}

/// A capture in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Flows, packets or metrics.
    pub command: Kind,
    /// Where everything goes.
    pub namespace: String,
    /// `metadata.uid` of the namespace, once known: the cluster-wide objects then go with it.
    pub namespace_uid: Option<String>,
    /// 8 hexadecimal digits; the label `netobserv.io/session`.
    pub session: String,
    /// When it started: RFC 3339, UTC.
    pub started: String,
    /// Who started it: user@host.
    pub by: String,
    /// What was typed.
    pub typed: String,
    /// Which images, and how to get them.
    pub images: Images,
    /// Nodes with this label only.
    pub node_selector: Option<(String, String)>,
    /// Agents run only on nodes that the collector names.
    pub only_these_nodes: bool,
    /// Agents may do anything on their node.
    pub privileged: bool,
    /// The cluster has security context constraints (OpenShift).
    pub scc: bool,
    /// Settings of the agents; each must have a place in `yaml/agents.yml`.
    pub agent_env: Vec<(String, String)>,
    /// Options of the collector, without those that [`Plan::collector_command`] adds.
    pub collector_args: Vec<String>,
    /// Longest capture.
    pub max_time: Duration,
    /// Bytes after which the capture ends.
    pub max_bytes: u64,
    /// How long finished files wait to be copied.
    pub keep: Duration,
    /// Agents and collector prove who they are to each other.
    pub tls: bool,
    /// The pod captures by itself, with no user connected.
    pub background: bool,
    /// Of metrics only.
    pub metrics: Option<MetricsPlan>,
}

impl Plan {
    /// Name of the cluster-wide objects: two namespaces never share one.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        match self.namespace.as_str() {
            DEFAULT_NAMESPACE => DEFAULT_NAMESPACE.to_owned(),
            other => format!("{DEFAULT_NAMESPACE}-{other}"),
        }
    }

    /// The metrics are read like this.
    #[must_use]
    pub fn is_read_by(&self, monitoring: Monitoring) -> bool {
        self.metrics.as_ref().is_some_and(|metrics| metrics.monitoring == monitoring)
    }

    /// A Prometheus reads the metrics.
    #[must_use]
    pub fn serves_metrics(&self) -> bool {
        self.metrics.as_ref().is_some_and(|metrics| metrics.monitoring != Monitoring::Off)
    }

    /// The name under which agents find the collector.
    #[must_use]
    pub fn collector_host(&self) -> String {
        format!("collector.{}.svc", self.namespace)
    }

    /// The whole command line of the capture, program first: for `oc exec`, or for the pod itself in the background.
    #[must_use]
    pub fn collector_command(&self) -> Vec<String> {
        let mut words = vec![COLLECTOR.to_owned(), self.command.collector_command().to_owned()];
        words.extend(self.collector_args.iter().cloned());
        words.extend(self.serves_metrics().then(|| format!("--serve={PORT}")));
        words.extend([format!("--namespace={}", self.namespace), format!("--session={}", self.session)]);
        words.push(format!("--keep={}s", self.keep.as_secs()));
        words.push(if self.tls { format!("--tls-dir={TLS_DIR}") } else { "--insecure".to_owned() });
        if self.background {
            words.push("--background".to_owned());
        }
        words
    }

    /// What the collector's pod runs: the capture in the background, else a keeper that waits for `oc exec`.
    #[must_use]
    pub fn pod_command(&self) -> Vec<String> {
        match (self.background, self.images.bare) {
            (true, _) => self.collector_command(),
            // What `sleep infinity` is in our own image.
            (false, true) => [COLLECTOR, "keeper"].map(str::to_owned).to_vec(),
            (false, false) => ["sleep", "infinity"].map(str::to_owned).to_vec(),
        }
    }

    /// Seconds after which Kubernetes ends the collector's pod, whatever else has failed.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.max_time.saturating_add(self.keep).saturating_add(SLACK).as_secs().min(LONGEST_DEADLINE)
    }

    /// Bytes that the pod's files may take: well above what the collector's own limit lets them.
    #[must_use]
    pub fn file_space(&self) -> u64 {
        self.max_bytes.saturating_mul(FILES_PER_BYTE).saturating_add(OTHER_FILES).min(MOST_SPACE)
    }
}
