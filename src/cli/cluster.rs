//! The options of captures in a cluster, and of the commands that look after one.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::values::{self, OneOf};

use super::SourceArgs;

/// Options that only flow captures have.
pub(super) const NOT_OF_PACKETS: [&str; 15] = [
    "enable_dns",
    "enable_rtt",
    "enable_ipsec",
    "enable_network_events",
    "enable_pkt_translation",
    "enable_udn_mapping",
    "own-traffic",
    "process",
    "pid",
    "container",
    "cgroup",
    "fail-on",
    "expect",
    "forbid",
    "report",
];

const CAPTURE: &str = "In a cluster";
const ACCESS: &str = "Access to the cluster";

/// Which cluster, and how to talk to it.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = ACCESS)]
pub struct AccessArgs {
    /// Namespace of the capture [default: $NETOBSERV_NAMESPACE, or netobserv-cli]
    #[arg(short = 'n', long, value_name = "NAME", allow_hyphen_values = true)]
    pub namespace: Option<String>,
    /// Kubeconfig file for oc or kubectl
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<OsString>,
    /// Context in that file
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub context: Option<OsString>,
    /// Maximum time to wait for the cluster at each step [default: 10m]
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true)]
    pub timeout: Option<String>,
    /// Print the calls of oc or kubectl without making them
    #[arg(long = "dry-run", alias = "dry_run", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub dry_run: Option<String>,
    /// Skip confirmation, even for another user's capture
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub force: Option<String>,
}

/// Options of `follow`, `stop`, `copy` and `cleanup`.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct CommandArgs {
    /// The cluster.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Folder for the files, created if missing [default: ./output]
    #[arg(long = "output-dir", alias = "output_dir", value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Print each call of oc or kubectl and its output
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Print only warnings and errors
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// Options of a capture in a cluster.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = CAPTURE)]
pub struct ClusterArgs {
    /// Run in the background; see follow, stop, copy and cleanup
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub background: Option<String>,
    /// Copy the files to this machine at the end: true, false or prompt [default: prompt, true without a terminal]
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = OneOf(&values::COPY))]
    pub copy: Option<String>,
    /// Capture only on nodes with this label
    #[arg(long = "node-selector", alias = "node_selector", value_name = "KEY:VALUE", allow_hyphen_values = true)]
    pub node_selector: Option<String>,
    /// Run agents only on nodes that have something of --pod, --svc and the like, also of what appears later
    #[arg(long = "only-these-nodes", alias = "only_these_nodes", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub only_these_nodes: Option<String>,
    /// Start even if nothing matches --pod, --svc and the like yet; it is captured as soon as it exists
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub wait: Option<String>,
    /// Label addresses with the subnets known to OpenShift: Machines, Pods, Services
    #[arg(long = "get-subnets", alias = "get_subnets", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub get_subnets: Option<String>,
    /// Include the capture's own flows: agents to collector, and collector to API server
    #[arg(long = "own-traffic", alias = "own_traffic", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub own_traffic: Option<String>,
    /// Run the agents as privileged containers [default: only if a feature needs it; none does]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub privileged: Option<String>,
    /// Write the objects as YAML instead of creating them: to a file in the output folder, or with =- to standard output
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = OneOf(&values::YAML))]
    pub yaml: Option<String>,
    /// How long an unattended capture keeps its files [default: 1h]
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true)]
    pub keep: Option<String>,
    /// How long the capture continues without this terminal, and an agent without the collector [default: 1m]
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true)]
    pub lease: Option<String>,
    /// Where the images come from.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// Use this image, which the nodes already have and which contains a shell, and copy our programs into its pods
    #[arg(long = "no-registry", alias = "no_registry", value_name = "IMAGE")]
    pub no_registry: Option<String>,
    /// The programs for --no-registry: the release's netobserv-cli-VERSION.oci.tar [default: next to this program]
    #[arg(long, value_name = "FILE")]
    pub programs: Option<PathBuf>,
    /// Always, IfNotPresent or Never [default: IfNotPresent for a version or a digest, otherwise Always]
    #[arg(long = "image-pull-policy", aliases = ["image_pull_policy", "pull-policy"], value_name = "POLICY", value_parser = OneOf(&values::PULL_POLICIES))]
    pub image_pull_policy: Option<String>,
    /// Credentials for the registry: a file such as ~/.docker/config.json
    #[arg(long = "pull-secret", alias = "pull_secret", value_name = "FILE")]
    pub pull_secret: Option<String>,
    /// Not implemented yet
    #[arg(long = "enable_ipsec", alias = "enable-ipsec", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_ipsec: Option<String>,
    /// Not implemented yet
    #[arg(long = "enable_network_events", alias = "enable-network-events", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_network_events: Option<String>,
    /// Not implemented yet
    #[arg(long = "enable_udn_mapping", alias = "enable-udn-mapping", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_udn_mapping: Option<String>,
    /// The cluster.
    #[command(flatten)]
    pub access: AccessArgs,
}

impl ClusterArgs {
    /// The options that were typed, as names without dashes.
    #[must_use]
    pub fn typed(&self) -> Vec<&'static str> {
        let access = &self.access;
        let all = [
            ("background", self.background.is_some()),
            ("copy", self.copy.is_some()),
            ("wait", self.wait.is_some()),
            ("node-selector", self.node_selector.is_some()),
            ("only-these-nodes", self.only_these_nodes.is_some()),
            ("get-subnets", self.get_subnets.is_some()),
            ("own-traffic", self.own_traffic.is_some()),
            ("privileged", self.privileged.is_some()),
            ("yaml", self.yaml.is_some()),
            ("keep", self.keep.is_some()),
            ("lease", self.lease.is_some()),
            ("collector-image", self.sources.collector_image.is_some()),
            ("agent-image", self.sources.agent_image.is_some()),
            ("registry", self.sources.registry.is_some()),
            ("no-registry", self.no_registry.is_some()),
            ("programs", self.programs.is_some()),
            ("image-pull-policy", self.image_pull_policy.is_some()),
            ("pull-secret", self.pull_secret.is_some()),
            ("namespace", access.namespace.is_some()),
            ("kubeconfig", access.kubeconfig.is_some()),
            ("context", access.context.is_some()),
            ("timeout", access.timeout.is_some()),
            ("dry-run", access.dry_run.is_some()),
            ("force", access.force.is_some()),
        ];
        all.into_iter().filter(|(_, typed)| *typed).map(|(option, _)| option).collect()
    }
}
