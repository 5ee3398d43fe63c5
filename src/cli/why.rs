//! The words of `why` and `policy`, and what scripts demand of a capture.

use std::path::PathBuf;

use clap::Args;

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
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct WhyArgs {
    /// The database of a finished capture
    #[arg(long, value_name = "FILE.db")]
    pub from: Option<PathBuf>,
    /// Objects of the cluster, for the policies and services behind the findings: what
    /// 'oc get pods,services,endpointslices,networkpolicies,namespaces,nodes -A -o json' prints
    #[arg(long, value_name = "FILE", action = clap::ArgAction::Append)]
    pub objects: Vec<PathBuf>,
    /// How to print: text, or json (one object) [default: text]
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<String>,
    /// What scripts demand.
    #[command(flatten)]
    pub demands: DemandArgs,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Only connections of this client: NAMESPACE/NAME, a process, an address or a network
    #[arg(value_name = "CLIENT")]
    pub client: Option<String>,
    /// Only connections to this server, written as the client, with :PORT or without
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
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}
