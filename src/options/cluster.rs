//! From words to a valid capture in a cluster, or to a valid command about one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use netobserv_contract::duration;

use super::{Capture, Keylog, MetricsSettings, OptionError, did_you_mean, images, not_allowed, switch};
use crate::cli::{AccessArgs, CommandArgs, FlowsArgs, values};
use crate::images::Images;
use crate::plan::{DEFAULT_NAMESPACE, Kind};
use crate::programs::Programs;

mod nodes;
mod printed;

const NAMESPACE: &str = "NETOBSERV_NAMESPACE";
const DEFAULT_TIMEOUT: &str = "10m";
const DEFAULT_KEEP: &str = "1h";
/// How long a capture continues without its user, and an agent without the collector.
const DEFAULT_LEASE: &str = "60s";
/// Renewals get lost, and a reconnection takes its time.
const SHORTEST_LEASE: Duration = Duration::from_secs(4);

/// Which cluster, and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Where everything goes.
    pub namespace: String,
    /// For `--kubeconfig`.
    pub kubeconfig: Option<OsString>,
    /// For `--context`.
    pub context: Option<OsString>,
    /// Longest wait at each step.
    pub timeout: Duration,
    /// Print calls as they are made.
    pub verbose: bool,
    /// Print nothing but warnings and errors.
    pub quiet: bool,
    /// Print calls instead of making them.
    pub dry_run: bool,
    /// Ask nothing.
    pub force: bool,
}

/// What becomes of the files at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyChoice {
    /// Copied.
    Yes,
    /// Lost with the pod.
    No,
    /// As the user answers; copied when there is no terminal.
    Ask,
}

/// Where `--yaml` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YamlTarget {
    /// A new file in the output folder.
    File,
    /// Standard output.
    Stdout,
}

/// A capture in a cluster; every value is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster.
    pub access: Access,
    /// Flows, packets or metrics.
    pub kind: Kind,
    /// Return at once.
    pub background: bool,
    /// A script demands something of it.
    pub has_demands: bool,
    /// At the end.
    pub copy: CopyChoice,
    /// Only write YAML.
    pub yaml: Option<YamlTarget>,
    /// Where files arrive.
    pub output_dir: PathBuf,
    /// What runs.
    pub images: Images,
    /// Our programs, for images that do not hold them.
    pub programs: Option<Programs>,
    /// Label of the nodes.
    pub node_selector: Option<(String, String)>,
    /// Agents run only where something of the selectors is.
    pub only_these_nodes: bool,
    /// Agents as privileged containers.
    pub privileged: bool,
    /// Ask OpenShift for its subnets.
    pub get_subnets: bool,
    /// Dropped packets are captured.
    pub drops: bool,
    /// Settings of the agents.
    pub agent_env: Vec<(String, String)>,
    /// Options of the collector's command.
    pub collector_args: Vec<String>,
    /// Longest capture.
    pub max_time: Duration,
    /// Most bytes.
    pub max_bytes: u64,
    /// Where secrets of TLS connections are to be read.
    pub keylog: Option<Keylog>,
    /// What is counted, and who reads it.
    pub metrics: Option<MetricsSettings>,
    /// A connection to be opened while it is captured.
    pub connect: Option<super::Connect>,
    /// Both limits as typed, for a message.
    pub limits: (String, String),
    /// How long files wait.
    pub keep: Duration,
    /// How long the capture continues without its user.
    pub lease: Duration,
    /// What was typed, for the record.
    pub typed: String,
    /// The capture itself is written to standard output.
    pub data_on_stdout: bool,
    /// Which side decides what of the filter: to be printed instead of a capture.
    pub explain: Option<String>,
    /// Lines about settings that come from the environment.
    pub printed: Vec<String>,
    /// `opt: ..., value: ...` lines.
    pub options_printed: Vec<String>,
}

impl Settings {
    /// Checks the words of a capture in a cluster.
    ///
    /// # Errors
    ///
    /// A value is not allowed, or an option does not belong to the command.
    pub fn new(words: &FlowsArgs, kind: Kind) -> Result<Self, OptionError> {
        if words.listen_port.is_some() {
            return Err(OptionError::LocalOnly("listen-port"));
        }
        if let Some(option) = words.processes.typed() {
            return Err(OptionError::OfThisMachine(option));
        }
        let capture = match kind {
            Kind::Flows => Capture::flows(words)?,
            Kind::Packets => Capture::packets(words)?,
            Kind::Metrics => Capture::metrics(words)?,
        };
        let background = switch("background", words.cluster.background.as_deref(), false)?;
        // What a pod prints is there for `follow`.
        let capture = Capture { quiet: capture.quiet && !background, ..capture };
        let to_stdout = capture.packets.as_ref().is_some_and(|packets| packets.to_stdout);
        let cluster = &words.cluster;
        let access = access(&cluster.access, words.verbose, words.quiet)?;
        let is_dry = access.dry_run;
        let keep = time("keep", cluster.keep.as_deref().unwrap_or(DEFAULT_KEEP))?;
        let lease = lease(cluster.lease.as_deref().unwrap_or(DEFAULT_LEASE))?;
        let keylog = capture.packets.as_ref().and_then(|packets| packets.keylog.clone());
        if let Some(typed) = words.packets.tls_keylog.as_deref().filter(|_| background || cluster.yaml.is_some()) {
            let how = "it without --background and --yaml: this program reads the file during the capture";
            return Err(not_allowed("tls-keylog", typed, how));
        }
        let own_traffic = switch("own-traffic", cluster.own_traffic.as_deref(), false)?;
        if let Some(typed) = cluster.own_traffic.as_deref().filter(|_| kind == Kind::Packets) {
            return Err(not_allowed("own-traffic", typed, "it with flows: packets are selected by filters"));
        }
        if let Some(option) = words.demands.first().filter(|_| background) {
            return Err(OptionError::DemandInBackground(option));
        }
        if !words.demands.report.is_empty() {
            return Err(OptionError::ReportInCluster);
        }
        let only_these_nodes = nodes::check(cluster, &capture.rules)?;
        let mut collector_args = collector_args(&capture, (!background).then_some(lease));
        collector_args.extend(only_these_nodes.iter().map(|of| format!("--nodes-of={of}")));
        collector_args.extend(own_traffic.then(|| "--own-traffic".to_owned()));
        Ok(Self {
            kind,
            background,
            has_demands: !capture.demands.is_empty(),
            copy: copy(cluster.copy.as_deref(), is_dry)?,
            yaml: yaml(cluster.yaml.as_deref())?,
            programs: images::programs(cluster)?,
            images: images::images(cluster)?,
            node_selector: cluster.node_selector.as_deref().map(node_selector).transpose()?,
            only_these_nodes: only_these_nodes.is_some(),
            privileged: switch("privileged", cluster.privileged.as_deref(), false)?,
            get_subnets: switch("get-subnets", cluster.get_subnets.as_deref(), false)?,
            drops: capture.drops,
            agent_env: agent_env(&capture, lease),
            collector_args,
            max_time: duration::parse(&capture.max_time).unwrap_or_default(),
            max_bytes: capture.max_bytes.get(),
            limits: (capture.max_time, capture.max_bytes.to_string()),
            metrics: capture.metrics,
            keep,
            connect: None,
            keylog,
            lease,
            typed: words.typed.join(" "),
            data_on_stdout: (capture.lines.is_some() && kind == Kind::Flows && !background) || to_stdout,
            printed: printed::environment_lines(cluster, &access),
            options_printed: printed::options(words),
            output_dir: capture.output_dir,
            explain: capture.explain,
            access,
        })
    }
}

/// Checks the words of `follow`, `stop`, `copy` and `cleanup`.
///
/// # Errors
///
/// A value is not allowed.
pub fn command(words: &CommandArgs) -> Result<(Access, PathBuf), OptionError> {
    let output_dir = words.output_dir.clone().unwrap_or_else(|| super::DEFAULT_OUTPUT_DIR.into());
    Ok((access(&words.access, words.verbose, words.quiet)?, output_dir))
}

fn access(words: &AccessArgs, verbose: bool, quiet: bool) -> Result<Access, OptionError> {
    let namespace = words.namespace.clone().or_else(|| environment(NAMESPACE));
    Ok(Access {
        namespace: namespace.map_or(Ok(DEFAULT_NAMESPACE.to_owned()), checked_namespace)?,
        kubeconfig: words.kubeconfig.clone(),
        context: words.context.clone(),
        timeout: time("timeout", words.timeout.as_deref().unwrap_or(DEFAULT_TIMEOUT))?,
        verbose,
        quiet,
        dry_run: switch("dry-run", words.dry_run.as_deref(), false)?,
        force: switch("force", words.force.as_deref(), false)?,
    })
}

/// A variable that is set to something.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A DNS label, as Kubernetes wants it.
fn checked_namespace(name: String) -> Result<String, OptionError> {
    const ALLOWED: &str = "up to 63 lowercase letters, digits and '-', with a letter or digit at both ends";
    if is_label(&name, 63, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Ok(name);
    }
    Err(not_allowed("namespace", &name, ALLOWED))
}

/// Not empty, not too long, of these characters, with a letter or digit at both ends.
fn is_label(text: &str, longest: usize, allowed: impl Fn(char) -> bool) -> bool {
    let ends =
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends && text.len() <= longest && text.chars().all(allowed)
}

fn time(option: &'static str, text: &str) -> Result<Duration, OptionError> {
    let time = duration::parse(text).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| not_allowed(option, text, "a duration above zero such as 30s, 5m or 1h30m"))
}

fn lease(text: &str) -> Result<Duration, OptionError> {
    let lease = duration::parse(text).ok().filter(|lease| *lease >= SHORTEST_LEASE);
    lease.ok_or_else(|| not_allowed("lease", text, "a duration of at least 4s such as 30s or 10m"))
}

/// A dry run asks no question.
fn copy(text: Option<&str>, is_dry: bool) -> Result<CopyChoice, OptionError> {
    match text {
        None | Some("prompt") if is_dry => Ok(CopyChoice::Yes),
        None | Some("prompt") => Ok(CopyChoice::Ask),
        Some("true") => Ok(CopyChoice::Yes),
        Some("false") => Ok(CopyChoice::No),
        Some(other) => {
            Err(not_allowed("copy", other, format!("true, false or prompt{}", did_you_mean(other, &values::COPY))))
        }
    }
}

fn yaml(text: Option<&str>) -> Result<Option<YamlTarget>, OptionError> {
    match text {
        None | Some("false") => Ok(None),
        Some("true") => Ok(Some(YamlTarget::File)),
        Some("-") => Ok(Some(YamlTarget::Stdout)),
        Some(other) => Err(not_allowed("yaml", other, "true, false or - for standard output")),
    }
}

/// `key:value`, a label as Kubernetes wants it. Neither part has a colon in it.
fn node_selector(text: &str) -> Result<(String, String), OptionError> {
    let part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let (key, value) = text.split_once(':').ok_or(OptionError::NodeSelector)?;
    let (prefix, name) = key.split_once('/').unwrap_or(("prefix", key));
    let prefix_is_good = is_label(prefix, 253, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
    let good = is_label(name, 63, part) && prefix_is_good && (value.is_empty() || is_label(value, 63, part));
    if good { Ok((key.to_owned(), value.to_owned())) } else { Err(OptionError::NodeSelector) }
}

fn agent_env(capture: &Capture, lease: Duration) -> Vec<(String, String)> {
    let mut env = vec![
        ("INTERFACES", capture.interfaces.clone()),
        ("EXCLUDE_INTERFACES", capture.exclude_interfaces.clone()),
        ("LOG_LEVEL", capture.log_level.clone()),
        ("SAMPLING", capture.sampling.to_string()),
        ("ENABLE_PKT_DROPS", capture.drops.to_string()),
        ("COLLECTOR_LOST_TIMEOUT", format!("{}s", lease.as_secs())),
    ];
    env.extend(capture.rules.json.clone().map(|rules| ("FLOW_FILTER_RULES", rules)));
    match &capture.packets {
        None => env.extend([
            ("ENABLE_DNS_TRACKING", capture.dns.to_string()),
            ("ENABLE_RTT", capture.rtt.to_string()),
            ("ENABLE_PKT_TRANSLATION", capture.translations.to_string()),
        ]),
        Some(packets) => env.extend(packets.agent_env()),
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn collector_args(capture: &Capture, lease: Option<Duration>) -> Vec<String> {
    let mut args = capture.collector_args();
    if capture.packets.as_ref().is_some_and(|packets| packets.keylog.is_some()) {
        args.push("--tls-keylog-sent".to_owned());
    }
    args.extend(lease.map(|lease| format!("--lease={}s", lease.as_secs())));
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Request, read};

    fn settings(words: &[&str]) -> Result<Settings, OptionError> {
        let (words, kind) = match read(std::iter::once("oc-netobserv").chain(words.iter().copied()).map(OsString::from))
        {
            Ok(Request::Flows(words)) => (words, Kind::Flows),
            Ok(Request::Packets(words)) => (words, Kind::Packets),
            Ok(Request::Metrics(words)) => (words, Kind::Metrics),
            other => panic!("{words:?} gave {other:?}"),
        };
        Settings::new(&words, kind)
    }

    #[track_caller]
    fn refused(words: &[&str]) -> String {
        settings(words).expect_err("the words are wrong").to_string()
    }

    #[test]
    fn defaults() {
        let settings = settings(&["flows"]).unwrap();
        assert_eq!(settings.copy, CopyChoice::Ask);
        assert_eq!(settings.max_time, Duration::from_secs(300));
        assert_eq!(settings.access.timeout, Duration::from_secs(600));
        assert_eq!(settings.keep, Duration::from_secs(3600));
        assert!(!settings.background && !settings.privileged && settings.yaml.is_none());
        let args = ["--options=", "--loglevel=info", "--maxtime=5m", "--maxbytes=50000000", "--lease=60s"];
        assert_eq!(settings.collector_args, args);
    }

    #[test]
    fn a_lease_is_for_the_collector_and_for_the_agents() {
        let settings = settings(&["flows", "--lease=10m"]).unwrap();
        assert_eq!(settings.collector_args.last().map(String::as_str), Some("--lease=600s"));
        assert!(settings.agent_env.contains(&("COLLECTOR_LOST_TIMEOUT".into(), "600s".into())));
        assert_eq!(
            refused(&["flows", "--lease=3s"]),
            "--lease=3s is not valid: use a duration of at least 4s such as 30s or 10m"
        );
    }

    #[test]
    fn processes_are_of_a_lone_host() {
        let settings = settings(&["flows", "--enable_all"]).unwrap();
        assert!(!settings.agent_env.iter().any(|(name, _)| name == "ENABLE_PROCESS"));
    }

    #[test]
    fn packets_need_a_filter_and_have_no_features() {
        assert!(refused(&["packets"]).starts_with("At least one eBPF filter must be set for packet capture"));
        for option in ["enable_dns", "enable_rtt", "enable_pkt_translation", "enable_ipsec"] {
            let word = format!("--{option}=true");
            let line = format!("--{option} is invalid option for packets");
            assert_eq!(refused(&["packets", "--port=80", &word]), line);
        }
        let packets = settings(&["packets", "tcp,80", "--snaplen=128", "--enable_all", "--sampling=9"]).unwrap();
        for (name, value) in [("SNAPLEN", "128"), ("SAMPLING", "9"), ("ENABLE_PKT_DROPS", "true")] {
            assert!(packets.agent_env.contains(&(name.into(), value.into())), "{name}");
        }
        assert!(!packets.agent_env.iter().any(|(name, _)| name == "ENABLE_RTT"));
        let with_keys = settings(&["packets", "tcp,80", "--tls-keylog=shop/client-1:/keys"]).unwrap();
        assert!(with_keys.collector_args.contains(&"--tls-keylog-sent".to_owned()) && with_keys.keylog.is_some());
        let in_background = ["packets", "tcp,80", "--tls-keylog=shop/client-1:/keys", "--background"];
        assert!(refused(&in_background).contains("use it without --background"));
        assert!(settings(&["packets", "tcp,80", "-w", "-"]).unwrap().data_on_stdout);
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert_eq!(refused(&["flows", "--enable_ipsec"]), "--enable_ipsec is not implemented yet: omit it");
        assert!(settings(&["flows", "--enable_ipsec=false"]).is_ok());
        assert_eq!(refused(&["flows", "--include_list=a"]), "--include_list is invalid option for flows");
        assert!(refused(&["flows", "--listen-port=99"]).contains("requires --local"));
        assert!(refused(&["packets", "tcp,80", "--query=rtt>1ms"]).contains("packets do not have TimeFlowRttNs"));
    }

    #[test]
    fn node_selectors() {
        for (text, key, value) in [
            ("netobserv:true", "netobserv", "true"),
            ("kubernetes.io/os:linux", "kubernetes.io/os", "linux"),
            ("a:", "a", ""),
        ] {
            assert_eq!(node_selector(text).unwrap(), (key.to_owned(), value.to_owned()));
        }
        for text in ["netobserv=true", "", ":", ":x", "a b:c", "a:b:c", "a:b,c=d", "a:-b", "a/b/c:d"] {
            assert!(node_selector(text).is_err(), "{text}");
        }
        assert!(refused(&["flows", "--node-selector=x"]).starts_with("invalid value for --node-selector."));
    }

    #[test]
    fn wrong_values_are_told() {
        for (word, line) in [
            ("--copy=ture", "--copy=ture is not valid: use true, false or prompt; did you mean true?"),
            ("--yaml=x", "--yaml=x is not valid: use true, false or - for standard output"),
            (
                "--image-pull-policy=Alway",
                "--image-pull-policy=Alway is not valid: use Always, IfNotPresent or Never; did you mean Always?",
            ),
            ("--timeout=0", "--timeout=0 is not valid: use a duration above zero such as 30s, 5m or 1h30m"),
            (
                "--subnets=Pods=10.0.0.0",
                "--subnets=Pods=10.0.0.0 is not valid: use a name and its networks, such as Pods=10.128.0.0/14,fd01::/48",
            ),
            ("--query=", "missing value for --query"),
            ("--query=Bytes=", "--query: a number is missing here\n  Bytes=\n        ^"),
        ] {
            assert_eq!(refused(&["flows", word]), line);
        }
        for name in ["", "A", "-a", "a_b", "a.b", "$(x)"] {
            assert!(refused(&["flows", "-n", name]).starts_with("--namespace="), "{name}");
        }
    }
}
