//! What can be wrong with the options, in the words that the user reads.

/// A value that is not allowed, or an option that is missing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// `value` cannot be the value of `option`.
    #[error("--{option}={value} is not valid: use {allowed}")]
    NotAllowed {
        /// Name without dashes.
        option: &'static str,
        /// As typed.
        value: String,
        /// What would be right.
        allowed: String,
    },
    /// Nothing stands before or behind an `or`.
    #[error("an empty rule at 'or': use an option of a rule, such as --protocol=UDP, before and after it")]
    EmptyRule,
    /// More rules than the kernel programs look at.
    #[error("{given} filter rules are too many: use at most {most}")]
    TooManyRules {
        /// As typed.
        given: usize,
        /// What would be right.
        most: usize,
    },
    /// A word of a name that Kubernetes or OpenShift would refuse, in the words that scripts match.
    #[error("invalid value for --node-selector. Use --node-selector=key:val instead.")]
    NodeSelector,
    /// An option of another command.
    #[error("--{option} is invalid option for {command}")]
    OfAnotherCommand {
        /// Name without dashes.
        option: &'static str,
        /// The command at hand.
        command: &'static str,
    },
    /// A feature of the original that is not built yet.
    #[error("--{0} is not implemented yet: omit it")]
    NotThere(&'static str),
    /// All packets of all nodes.
    #[error(
        "At least one eBPF filter must be set for packet capture to avoid high resource consumption. \
         Use '{} packets help' to list filters",
        crate::cli::called()
    )]
    NoFilter,
    /// A filter that keeps all packets of all nodes until the collector decides.
    #[error(
        "the kernel can decide nothing of --filter={0}, so that all packets would go to the collector: \
         add a condition such as host or port, or use --all as well"
    )]
    AllForCollector(String),
    /// A filter that keeps nothing.
    #[error("no packet can meet --filter={0}")]
    ImpossibleFilter(String),
    /// A demand of a script that cannot be read.
    #[error("--{option}: {why}")]
    Demand {
        /// Name without dashes.
        option: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Demands on packets.
    #[error("--fail-on, --expect, --forbid and --report go with flows only")]
    DemandOfPackets,
    /// Demands on a capture whose end this program does not see.
    #[error("--{0} does not go with --background: copy the files, then check them with 'why --from=FILE.db'")]
    DemandInBackground(&'static str),
    /// A report that would stay in the pod.
    #[error(
        "--report goes with --local only: in a cluster use 'why --from=FILE.db --report=...' on the files of the capture"
    )]
    ReportInCluster,
    /// `why` without anything to look for.
    #[error(
        "why needs a client and a server, such as 'why shop/web shop/db:5432', or --from=FILE.db with the database of a finished capture"
    )]
    NoEnds,
    /// `why` with ends that mean everything.
    #[error("why captures the client or the server by name or address: 'any' and 'outside' cannot be both of them")]
    NoSelection,
    /// A connection without a port.
    #[error("--connect needs the server's port: SERVER:PORT")]
    NoPort,
    /// A connection from something that has no pods.
    #[error("--connect needs a pod or a workload as the client, such as shop/web")]
    NoPod,
    /// A word that is no end of a connection.
    #[error("{0}")]
    End(String),
    /// A command that reads a finished capture, without one.
    #[error("{0} reads a finished capture: use --from=FILE.db with the database of one, such as ./output/flow/TIME.db")]
    NoCaptureFile(&'static str),
    /// Policies without the labels of pods.
    #[error(
        "policy selects pods by their labels: use --objects=FILE with what 'oc get pods,services,namespaces,nodes -A -o json' prints"
    )]
    NoObjects,
    /// Nothing to do.
    #[error("use --ns=NAMESPACE to propose policies, or --check=POLICY.yaml to check some")]
    NoPolicyTask,
    /// An option that means nothing without another.
    #[error("--{option} requires --{other}")]
    Needs {
        /// Name without dashes.
        option: &'static str,
        /// The one that is missing.
        other: &'static str,
    },
    /// Agents on some nodes only, with a rule that is for all of them.
    #[error(
        "--only-these-nodes requires --pod, --svc or another name in the cluster in each filter rule: a rule without one is for all nodes"
    )]
    NodesOfNothing,
    /// Two options that contradict each other.
    #[error("--{option} cannot be combined with --{other}: omit one of them")]
    Excludes {
        /// Name without dashes.
        option: &'static str,
        /// The other.
        other: &'static str,
    },
    /// An option that makes sense in a cluster only.
    #[error("--{0} applies to a cluster only: omit it, or omit --local")]
    ClusterOnly(&'static str),
    /// An option that makes sense on the machine itself only.
    #[error("--{0} requires --local: in a cluster agents reach the collector through its service")]
    LocalOnly(&'static str),
    /// Processes are known on the machine itself only.
    #[error("--{0} requires --local: in a cluster flows have names of pods instead, and --pod selects by them")]
    OfThisMachine(&'static str),
    /// Nodes of a cluster cannot be examined yet.
    #[error("doctor checks a Linux machine, not a cluster: use --local there")]
    DoctorNeedsLocal,
    /// A query that is none, with the place that is wrong.
    #[error("--query: {0}")]
    Query(#[from] netobserv_query::QueryError),
    /// A filter that is none, with the place that is wrong.
    #[error("--filter: {0}")]
    Filter(netobserv_query::QueryError),
    /// A query without text.
    #[error("missing value for --query")]
    EmptyQuery,
    /// A mapping from here to here.
    #[error("-o {0} needs the registry to mirror to: use --registry=HOST[/PATH] as well")]
    NoMirror(&'static str),
    /// A socket on this machine for metrics of a cluster.
    #[error("--listen requires --local: in a cluster the metrics are served by the collector's pod, see --to")]
    ListenInCluster,
    /// A file that an option names cannot be read.
    #[error("--{option}={value}: {reason}")]
    Unreadable {
        /// Name without dashes.
        option: &'static str,
        /// As typed.
        value: String,
        /// The system's error.
        reason: String,
    },
}
