//! The words of `why` and `policy`, and what scripts demand of a capture.

use std::path::PathBuf;

use clap::Args;

use super::values::{self, OneOf};

use super::ClusterArgs;

/// What scripts demand of a capture.
#[derive(Debug, Default, Clone, Args)]
pub struct DemandArgs {
    /// Exit with code 3 when a limit is exceeded: drops>0, dns-errors>1%, rtt-p95>50ms, resets>0; several with commas
    #[arg(long = "fail-on", alias = "fail_on", value_name = "LIMITS", action = clap::ArgAction::Append)]
    pub fail_on: Vec<String>,
    /// Exit with code 3 unless this was seen and answered: 'shop/web -> shop/db:5432'; may be given several times
    #[arg(long, value_name = "CONNECTION", action = clap::ArgAction::Append)]
    pub expect: Vec<String>,
    /// Exit with code 3 when this was seen: 'ns:shop -> outside'; may be given several times
    #[arg(long, value_name = "CONNECTION", action = clap::ArgAction::Append)]
    pub forbid: Vec<String>,
    /// Report in another form too: junit:FILE, or github for annotations on standard output
    #[arg(long, value_name = "FORM", action = clap::ArgAction::Append)]
    pub report: Vec<String>,
}

impl DemandArgs {
    /// The first option of them that was typed.
    #[must_use]
    pub fn first(&self) -> Option<&'static str> {
        let all =
            [("fail-on", &self.fail_on), ("expect", &self.expect), ("forbid", &self.forbid), ("report", &self.report)];
        all.into_iter().find(|(_, values)| !values.is_empty()).map(|(option, _)| option)
    }
}

/// Options of `why`, as typed.
#[derive(Debug, Default, Clone, Args)]
#[command(args_override_self = true)]
pub struct WhyArgs {
    /// The database of a finished capture, instead of a new capture
    #[arg(long, value_name = "FILE.db")]
    pub from: Option<PathBuf>,
    /// How long to capture [default: 30s, with --local 10s]
    #[arg(long = "for", value_name = "DURATION", allow_negative_numbers = true)]
    pub duration: Option<String>,
    /// Open the connection during the capture, from a pod of the client or from this machine [default: only with --local]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub connect: Option<String>,
    /// Capture on this machine, without a cluster: why --local HOST:PORT
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub local: Option<String>,
    /// Interfaces to capture, separated by commas: names or /regular expressions/ [default: all]
    #[arg(short = 'i', long, value_name = "LIST", allow_hyphen_values = true)]
    pub interfaces: Option<String>,
    /// Folder for the files of the capture, created if missing [default: ./output]
    #[arg(long = "output-dir", alias = "output_dir", value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// In a cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Objects of the cluster, for the policies and services behind the findings: what
    /// 'oc get pods,services,endpointslices,networkpolicies,namespaces,nodes -A -o json' prints
    #[arg(long, value_name = "FILE", action = clap::ArgAction::Append)]
    pub objects: Vec<PathBuf>,
    /// How to print: text, or json (one object) [default: text]
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = OneOf(&values::LINES))]
    pub output: Option<String>,
    /// What scripts demand.
    #[command(flatten)]
    pub demands: DemandArgs,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// The client: NAMESPACE/NAME of a workload or pod, svc:NAMESPACE/NAME, ns:NAMESPACE, an address, a network, or any
    #[arg(value_name = "CLIENT")]
    pub client: Option<String>,
    /// The server, written as the client or as a host name, with :PORT or without
    #[arg(value_name = "SERVER")]
    pub server: Option<String>,
}

/// Options of `policy`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct PolicyArgs {
    /// The database of a finished capture
    #[arg(long, value_name = "FILE.db")]
    pub from: Option<PathBuf>,
    /// Objects of the cluster, the pods above all: what 'oc get pods,services,namespaces,nodes -A -o json' prints
    #[arg(long, value_name = "FILE", action = clap::ArgAction::Append)]
    pub objects: Vec<PathBuf>,
    /// Propose policies for this namespace
    #[arg(long, value_name = "NAMESPACE")]
    pub ns: Option<String>,
    /// List what was captured and these policies would deny, and exit with code 3 when there is some
    #[arg(long, value_name = "POLICY.yaml")]
    pub check: Option<PathBuf>,
    /// How to print: yaml [default: yaml]
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = OneOf(&values::POLICIES))]
    pub output: Option<String>,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}
