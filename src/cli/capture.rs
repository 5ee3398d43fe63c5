//! The words of a capture: of flows, packets or metrics, in a cluster or on this machine.

use std::path::PathBuf;

use clap::Args;

use super::values::{self, OneOf};

use super::{ClusterArgs, DemandArgs, FilterArgs, MetricsArgs, PacketArgs, ProcessArgs};

/// Options of `flows`, `packets` and `metrics`, as typed. Which of them a command has is known by [`crate::options`].
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct FlowsArgs {
    /// Capture on this machine, without a cluster
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub local: Option<String>,
    /// In a cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Interfaces to capture, separated by commas: names or /regular expressions/ [default: all]
    #[arg(short = 'i', long, value_name = "LIST", allow_hyphen_values = true)]
    pub interfaces: Option<String>,
    /// Interfaces to exclude; takes precedence over --interfaces [default: lo, unless included there]
    #[arg(long = "exclude_interfaces", alias = "exclude-interfaces", value_name = "LIST", allow_hyphen_values = true)]
    pub exclude_interfaces: Option<String>,
    /// DNS: latency, response code and name of each query
    #[arg(long = "enable_dns", alias = "enable-dns", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_dns: Option<String>,
    /// Round-trip times of TCP connections
    #[arg(long = "enable_rtt", alias = "enable-rtt", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_rtt: Option<String>,
    /// Packets that the kernel dropped, and why
    #[arg(long = "enable_pkt_drop", aliases = ["enable-pkt-drop", "enable_pktdrop", "enable-pktdrop"], value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_pkt_drop: Option<String>,
    /// Addresses before and after translation, and packets counted under one of them; on unless =false. Without a line in the help,
    /// where a name of this length would leave no room for what the others do.
    #[arg(long = "enable_pkt_translation", alias = "enable-pkt-translation", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_pkt_translation: Option<String>,
    /// DNS, round-trip times and drops; disable one of them with =false
    #[arg(long = "enable_all", alias = "enable-all", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_all: Option<String>,
    /// Capture one packet in N [default: 1, every packet]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub sampling: Option<String>,
    /// End after this time: 30s, 5m, 1h30m [default: 5m]
    #[arg(long = "max-time", alias = "max_time", value_name = "DURATION", allow_negative_numbers = true)]
    pub max_time: Option<String>,
    /// End when the JSON file reaches this size [default: 50000000]
    #[arg(long = "max-bytes", alias = "max_bytes", value_name = "BYTES", allow_negative_numbers = true)]
    pub max_bytes: Option<String>,
    /// Detail of the logs of agent and collector: trace, debug, info, warn, error, fatal or panic [default: info]
    #[arg(long = "log-level", alias = "log_level", value_name = "LEVEL", value_parser = OneOf(&values::LOG_LEVELS))]
    pub log_level: Option<String>,
    /// Folder for the files, created if missing [default: ./output]
    #[arg(long = "output-dir", alias = "output_dir", value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Keep only what matches: 'tcp port 80 and host 10.0.0.1', 'pod:shop/web and bytes>1000'; as much as possible is decided in the kernel
    #[arg(long = "filter", value_name = "EXPR", allow_hyphen_values = true, action = clap::ArgAction::Append)]
    pub expression: Vec<String>,
    /// Print what of --filter the kernel decides, and what the collector, without capturing
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub explain: Option<String>,
    /// Keep only flows that match this query; if repeated, flows that match any of them
    #[arg(long, aliases = ["regexes", "regex"], value_name = "QUERY", allow_hyphen_values = true, action = clap::ArgAction::Append)]
    pub query: Vec<String>,
    /// Records to show: once (each packet in one record) or all (also those of other places); files contain all [default: once]
    #[arg(long, value_name = "WHICH", value_parser = OneOf(&values::OBSERVATIONS))]
    pub observations: Option<String>,
    /// Label addresses with names of subnets; can be repeated
    #[arg(long, value_name = "NAME=CIDR[,CIDR]", allow_hyphen_values = true, action = clap::ArgAction::Append)]
    pub subnets: Vec<String>,
    /// No screen: one line per flow on standard output, everything else on standard error; same as --headless
    #[arg(long = "no-tui", aliases = ["no_tui", "headless"], value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_tui: Option<String>,
    /// Format of these lines: text, or json (one object per line); implies --no-tui
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_parser = OneOf(&values::LINES))]
    pub output: Option<String>,
    /// TCP port on 127.0.0.1 between agent and collector, secured by certificates against other users of this machine
    /// [default: a private Unix socket]
    #[arg(long = "listen-port", alias = "listen_port", value_name = "PORT", allow_negative_numbers = true)]
    pub listen_port: Option<String>,
    /// Print every program and call with its arguments and output, and the agent's log
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Print only warnings and errors, and the flows or packets requested with -o or -w
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// The words behind the command.
    #[arg(skip)]
    pub typed: Vec<String>,
    /// What scripts demand.
    #[command(flatten)]
    pub demands: DemandArgs,
    /// Of packets only.
    #[command(flatten)]
    pub packets: PacketArgs,
    /// Of metrics only.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Processes on this machine.
    #[command(flatten)]
    pub processes: ProcessArgs,
    /// The filter rules.
    #[command(flatten)]
    pub filter: FilterArgs,
}
