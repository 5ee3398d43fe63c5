//! Settings of the agent, read from its environment.
//!
//! The names are NetObserv's, so that the manifests made for its agent work here. A name that this agent does not
//! serve is refused when it asks for something, not passed over in silence.

use std::{fmt, net::IpAddr, time::Duration};

use netobserv_ebpf_common::packets::MOST;
use netobserv_wire::duration;

use crate::{
    interfaces::Selection,
    rules::{
        Rule,
        parse::{RuleError, parse},
    },
    tls::{self, Tls},
};

/// Which hooks of an interface are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
    /// Both.
    Both,
}

/// How programs are put on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachMode {
    /// TCX links only (kernel 6.6 and up).
    Tcx,
    /// clsact filters only.
    Tc,
    /// TCX, else clsact.
    Any,
}

/// Where the records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A TCP address of gRPC, `host:port`.
    Tcp(String),
    /// The same, over TLS.
    Tls(String, Tls),
    /// The path of a Unix socket.
    Unix(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}, without encryption"),
            Self::Tls(address, _) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// A setting that is wrong, and what would be right.
#[derive(Debug, thiserror::Error)]
#[error("{name}={value}: {why}")]
pub struct SettingError {
    name: String,
    value: String,
    why: String,
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// INTERFACES and EXCLUDE_INTERFACES.
    pub selection: Selection,
    /// REQUIRE_INTERFACES: each interface named in INTERFACES must exist at the start.
    pub require_interfaces: bool,
    /// CACHE_ACTIVE_TIMEOUT: a record is sent for each flow once in so long.
    pub window: Duration,
    /// CACHE_MAX_FLOWS: entries of each flow map in the kernel.
    pub max_flows: u32,
    /// SAMPLING: 1 packet in so many.
    pub sampling: u32,
    /// DIRECTION.
    pub direction: Direction,
    /// TC_ATTACH_MODE.
    pub attach_mode: AttachMode,
    /// LOG_LEVEL, as tracing names it.
    pub log_level: tracing::Level,
    /// TARGET_HOST and TARGET_PORT.
    pub target: Target,
    /// AGENT_IP.
    pub agent_ip: Option<IpAddr>,
    /// NODE_NAME, else the host's name.
    pub node: String,
    /// GRPC_MESSAGE_MAX_FLOWS: records of one message.
    pub message_max_flows: usize,
    /// FLOW_FILTER_RULES: first match decides; empty keeps everything.
    pub rules: Vec<Rule>,
    /// ENABLE_DNS_TRACKING and DNS_TRACKING_PORT: the port beside 53; 0 = off.
    pub dns_port: u16,
    /// COLLECTOR_LOST_TIMEOUT: without the collector for so long, nothing is captured until it is back.
    pub lost_timeout: Duration,
    /// ENABLE_RTT: round-trip times of TCP.
    pub rtt: bool,
    /// ENABLE_PKT_DROPS: dropped packets and why.
    pub drops: bool,
    /// ENABLE_PCA and SNAPLEN: packets are captured instead of flows, this many bytes of each.
    pub snaplen: Option<u32>,
    /// STALE_ENTRIES_EVICT_TIMEOUT: a DNS query without an answer for so long is reported as such.
    pub dns_patience: Duration,
}

/// Serves the settings below.
const SERVED: &[&str] = &[
    "INTERFACES",
    "EXCLUDE_INTERFACES",
    "REQUIRE_INTERFACES",
    "CACHE_ACTIVE_TIMEOUT",
    "CACHE_MAX_FLOWS",
    "SAMPLING",
    "DIRECTION",
    "TC_ATTACH_MODE",
    "LOG_LEVEL",
    "TARGET_HOST",
    "TARGET_PORT",
    "TARGET_PLAINTEXT",
    "COLLECTOR_LOST_TIMEOUT",
    tls::CA,
    tls::CERTIFICATE,
    tls::KEY,
    "AGENT_IP",
    "NODE_NAME",
    "GRPC_MESSAGE_MAX_FLOWS",
    "FLOW_FILTER_RULES",
    "ENABLE_RTT",
    "ENABLE_PKT_DROPS",
    "ENABLE_DNS_TRACKING",
    "DNS_TRACKING_PORT",
    "STALE_ENTRIES_EVICT_TIMEOUT",
    "ENABLE_PCA",
    "SNAPLEN",
    "PCA_ALL",
    "EXPORT",
    "LISTEN_INTERFACES",
];

/// Settings of the original that switch on what this agent does not do, with the values that leave it off.
const NOT_SERVED: &[(&str, &[&str])] = &[
    ("ENABLE_NETWORK_EVENTS_MONITORING", OFF),
    ("ENABLE_PKT_TRANSLATION", OFF),
    ("ENABLE_UDN_MAPPING", OFF),
    ("ENABLE_IPSEC_TRACKING", OFF),
    ("ENABLE_OPENSSL_TRACKING", OFF),
    ("ENABLE_TLS_TRACKING", OFF),
    ("QUIC_TRACKING_MODE", &["", "0"]),
    ("METRICS_ENABLE", OFF),
    ("EBPF_PROGRAM_MANAGER_MODE", OFF),
    ("INTERFACE_IPS", &[""]),
    ("AGENT_IP_IFACE", &["", "external"]),
    ("AGENT_IP_TYPE", &["", "any"]),
    ("KAFKA_BROKERS", &[""]),
    ("FLP_CONFIG", &[""]),
    ("PPROF_ADDR", &[""]),
    ("TCX_ATTACH_ANCHOR_INGRESS", &["", "none", "head"]),
    ("TCX_ATTACH_ANCHOR_EGRESS", &["", "none", "head"]),
    ("FLOWS_TARGET_HOST", &[""]),
    ("FLOWS_TARGET_PORT", &[""]),
    ("PCA_SERVER_PORT", &[""]),
];
const OFF: &[&str] = &["", "false", "0"];

/// Two maps of each family take about 34 MiB of kernel memory at this size, on every node.
pub const DEFAULT_MAX_FLOWS: u32 = 50_000;
/// Least time between two records of a flow: below, draining would cost more than capturing.
const SHORTEST: Duration = Duration::from_millis(100);
/// Least bytes of a packet: the headers up to the ports, IPv6 and VLAN tags included.
const SHORTEST_SNAPLEN: u32 = 64;

/// Whether a variable of this name is a setting.
pub fn serves(name: &str) -> bool {
    SERVED.contains(&name)
}

impl Settings {
    /// Reads a set of variables, such as `std::env::vars()`.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingError> {
        let env = Env(variables.into_iter().collect());
        env.refuse_unknown()?;
        let wanted = env.text("INTERFACES", "");
        let excluded = env.text("EXCLUDE_INTERFACES", "lo");
        let selection = Selection::parse(wanted, excluded).map_err(|why| {
            // The message names the item; the variable is the one that holds it.
            let name = if Selection::parse(wanted, "").is_err() { "INTERFACES" } else { "EXCLUDE_INTERFACES" };
            env.error(name, why)
        })?;
        env.choice("EXPORT", "grpc", &[("grpc", ())])?;
        env.choice("LISTEN_INTERFACES", "watch", &[("watch", ())])?;
        let settings = Self {
            selection,
            require_interfaces: env.flag("REQUIRE_INTERFACES")?,
            window: env.duration("CACHE_ACTIVE_TIMEOUT", "1s")?,
            max_flows: env.number("CACHE_MAX_FLOWS", DEFAULT_MAX_FLOWS, 16, 10_000_000)?,
            sampling: env.sampling()?,
            direction: env.choice("DIRECTION", "both", DIRECTIONS)?,
            attach_mode: env.choice("TC_ATTACH_MODE", "any", ATTACH_MODES)?,
            log_level: env.choice("LOG_LEVEL", "info", LEVELS)?,
            target: env.target()?,
            agent_ip: env.agent_ip()?,
            node: env.node(),
            message_max_flows: env.number("GRPC_MESSAGE_MAX_FLOWS", 10_000, 1, 1_000_000)? as usize,
            rules: env.rules()?,
            dns_port: env.dns_port()?,
            lost_timeout: env.duration("COLLECTOR_LOST_TIMEOUT", "60s")?,
            rtt: env.flag("ENABLE_RTT")?,
            drops: env.flag("ENABLE_PKT_DROPS")?,
            snaplen: env.snaplen()?,
            dns_patience: env.duration("STALE_ENTRIES_EVICT_TIMEOUT", "5s")?,
        };
        env.check_packets(&settings)?;
        Ok(settings)
    }
}

const DIRECTIONS: &[(&str, Direction)] =
    &[("ingress", Direction::Ingress), ("egress", Direction::Egress), ("both", Direction::Both)];

const ATTACH_MODES: &[(&str, AttachMode)] =
    &[("tcx", AttachMode::Tcx), ("tc", AttachMode::Tc), ("any", AttachMode::Any)];

/// The original's names; the last two it has for errors that end the program.
const LEVELS: &[(&str, tracing::Level)] = &[
    ("trace", tracing::Level::TRACE),
    ("debug", tracing::Level::DEBUG),
    ("info", tracing::Level::INFO),
    ("warn", tracing::Level::WARN),
    ("warning", tracing::Level::WARN),
    ("error", tracing::Level::ERROR),
    ("fatal", tracing::Level::ERROR),
    ("panic", tracing::Level::ERROR),
];

struct Env(std::collections::HashMap<String, String>);

impl Env {
    fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.get(name).map_or(default, |value| value.trim())
    }

    fn error(&self, name: &str, why: impl Into<String>) -> SettingError {
        SettingError { name: name.to_owned(), value: self.text(name, "").to_owned(), why: why.into() }
    }

    fn refuse_unknown(&self) -> Result<(), SettingError> {
        for (name, off) in NOT_SERVED {
            if !off.contains(&self.text(name, "").to_lowercase().as_str()) {
                let allowed = off.iter().filter(|value| !value.is_empty()).copied().collect::<Vec<_>>();
                let allowed = if allowed.is_empty() { "leave it unset".to_owned() } else { allowed.join(" or ") };
                return Err(self.error(name, format!("this agent does not do that yet; allowed: {allowed}")));
            }
        }
        let mut names: Vec<_> = self.0.keys().collect();
        names.sort();
        for name in names {
            if let Some(meant) = misspelt(name) {
                return Err(self.error(name, format!("unknown setting; did you mean {meant}?")));
            }
        }
        Ok(())
    }

    fn number(&self, name: &str, default: u32, least: u32, most: u32) -> Result<u32, SettingError> {
        let text = self.text(name, "");
        if text.is_empty() {
            return Ok(default);
        }
        let value = text.parse::<u32>().ok().filter(|value| (least..=most).contains(value));
        value.ok_or_else(|| self.error(name, format!("a whole number from {least} to {most} is wanted")))
    }

    fn flag(&self, name: &str) -> Result<bool, SettingError> {
        self.choice(name, "false", &[("true", true), ("false", false), ("1", true), ("0", false)])
    }

    fn choice<T: Copy>(&self, name: &str, default: &str, of: &[(&str, T)]) -> Result<T, SettingError> {
        let text = self.text(name, default).to_lowercase();
        let text = if text.is_empty() { default } else { &text };
        let found = of.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let words = of.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            self.error(name, format!("allowed: {words}"))
        })
    }

    fn duration(&self, name: &str, default: &str) -> Result<Duration, SettingError> {
        let why = "a duration of at least 100ms is wanted, such as 1s or 1m30s";
        let duration = duration::parse(self.text(name, default));
        duration.ok().filter(|duration| *duration >= SHORTEST).ok_or_else(|| self.error(name, why))
    }

    /// Most bytes of each packet; None when flows are captured.
    fn snaplen(&self) -> Result<Option<u32>, SettingError> {
        // 0 is tcpdump's way to say "all of it".
        let all = MOST as u32;
        let snaplen = match self.number("SNAPLEN", 0, 0, all)? {
            0 => all,
            1..SHORTEST_SNAPLEN => {
                return Err(
                    self.error("SNAPLEN", format!("0 for whole frames, or {SHORTEST_SNAPLEN} to {all}, is wanted"))
                );
            }
            some => some,
        };
        Ok(self.flag("ENABLE_PCA")?.then_some(snaplen))
    }

    /// What goes together with packets.
    fn check_packets(&self, settings: &Settings) -> Result<(), SettingError> {
        let all = self.flag("PCA_ALL")?;
        if settings.snaplen.is_none() {
            return Ok(());
        }
        if settings.rules.is_empty() && !all {
            let why = "capturing packets needs a rule, or PCA_ALL=true to capture each and every one";
            return Err(self.error("FLOW_FILTER_RULES", why));
        }
        for (name, on) in [("ENABLE_RTT", settings.rtt), ("ENABLE_DNS_TRACKING", settings.dns_port != 0)] {
            if on {
                return Err(self.error(name, "is of flows, not of packets (ENABLE_PCA=true)"));
            }
        }
        Ok(())
    }

    fn dns_port(&self) -> Result<u16, SettingError> {
        let port = self.number("DNS_TRACKING_PORT", 53, 1, 65535)? as u16;
        Ok(if self.flag("ENABLE_DNS_TRACKING")? { port } else { 0 })
    }

    /// The message names the rule and its key, not the whole list.
    fn rules(&self) -> Result<Vec<Rule>, SettingError> {
        const NAME: &str = "FLOW_FILTER_RULES";
        let rules = parse(self.text(NAME, "")).map_err(|error| match error {
            RuleError::List(why) => self.error(NAME, why),
            RuleError::Condition { rule, key, value, why } => {
                SettingError { name: format!("{NAME}, rule {rule}, {key}"), value, why }
            }
        })?;
        if let Some(at) = rules.iter().position(|rule| rule.drops)
            && !self.flag("ENABLE_PKT_DROPS")?
        {
            let (name, why) =
                (format!("{NAME}, rule {}, drops", at + 1), "ENABLE_PKT_DROPS=true is needed for that".into());
            return Err(SettingError { name, value: "true".into(), why });
        }
        Ok(rules)
    }

    /// The original's default, 0, keeps every packet; so does 1.
    fn sampling(&self) -> Result<u32, SettingError> {
        Ok(self.number("SAMPLING", 1, 0, u32::MAX)?.max(1))
    }

    fn target(&self) -> Result<Target, SettingError> {
        let host = self.text("TARGET_HOST", "");
        if host.is_empty() {
            return Err(self.error("TARGET_HOST", "the collector's host name, or unix:/path of its socket, is wanted"));
        }
        if let Some(path) = host.strip_prefix("unix:") {
            return Ok(Target::Unix(path.to_owned()));
        }
        let port = self.number("TARGET_PORT", 9999, 1, 65535)?;
        // A literal IPv6 address stands in brackets before a port (RFC 3986, 3.2.2).
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        match self.tls(host)? {
            Some(tls) => Ok(Target::Tls(address, tls)),
            None if is_local(host) || self.flag("TARGET_PLAINTEXT")? => Ok(Target::Tcp(address)),
            None => Err(self.error(
                "TARGET_HOST",
                format!("another machine is reached with certificates ({}), or without encryption with TARGET_PLAINTEXT=true", tls::CA),
            )),
        }
    }

    fn tls(&self, host: &str) -> Result<Option<Tls>, SettingError> {
        let path = |name| Some(self.text(name, "")).filter(|path| !path.is_empty());
        let own = match (path(tls::CERTIFICATE), path(tls::KEY)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (None, _) => return Err(self.error(tls::CERTIFICATE, format!("it is wanted with {}", tls::KEY))),
            (_, None) => return Err(self.error(tls::KEY, format!("it is wanted with {}", tls::CERTIFICATE))),
        };
        match path(tls::CA) {
            None if own.is_some() => Err(self.error(tls::CA, format!("it is wanted with {}", tls::CERTIFICATE))),
            None => Ok(None),
            Some(ca) => Tls::read(host, ca, own).map(Some).map_err(|(name, why)| self.error(name, why)),
        }
    }

    fn agent_ip(&self) -> Result<Option<IpAddr>, SettingError> {
        match self.text("AGENT_IP", "") {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| self.error("AGENT_IP", "an IPv4 or IPv6 address is wanted")),
        }
    }

    fn node(&self) -> String {
        match self.text("NODE_NAME", "") {
            "" => nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into()),
            name => name.to_owned(),
        }
    }
}

/// Whether nobody between here and there can listen.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The setting that was probably meant by a name one or two letters off.
fn misspelt(name: &str) -> Option<&'static str> {
    let mut known = SERVED.iter().copied().chain(NOT_SERVED.iter().map(|(name, _)| *name));
    if name.len() < 8 || known.clone().any(|setting| setting == name) {
        return None;
    }
    known.find(|setting| setting.len() >= 8 && strsim::damerau_levenshtein(setting, name) <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let target = [("TARGET_HOST", "collector"), ("TARGET_PLAINTEXT", "true")];
        let pairs = target.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Settings::read(pairs).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let settings = read(&[("PATH", "/bin"), ("ENABLE_RTT", "false"), ("FLOW_FILTER_RULES", "[]")]).unwrap();
        assert_eq!(settings.target, Target::Tcp("collector:9999".into()));
        assert_eq!(settings.window, Duration::from_secs(1));
        assert_eq!(settings.sampling, 1);
        assert_eq!(settings.direction, Direction::Both);
        assert_eq!(settings.attach_mode, AttachMode::Any);
        assert!(!settings.selection.matches("lo") && settings.selection.matches("eth0"));
    }

    #[test]
    fn targets() {
        assert_eq!(read(&[("TARGET_HOST", "unix:/x.sock")]).unwrap().target, Target::Unix("/x.sock".into()));
        let v6 = read(&[("TARGET_HOST", "fd00::1"), ("TARGET_PORT", "1234")]).unwrap();
        assert_eq!(v6.target, Target::Tcp("[fd00::1]:1234".into()));
    }

    #[test]
    fn another_machine_is_reached_with_certificates_or_by_a_clear_word() {
        let plain = |host, flag| read(&[("TARGET_HOST", host), ("TARGET_PLAINTEXT", flag)]);
        assert_eq!(
            plain("collector", "false").unwrap_err(),
            "TARGET_HOST=collector: another machine is reached with certificates (TARGET_TLS_CA_CERT_PATH), or without encryption with \
             TARGET_PLAINTEXT=true"
        );
        for host in ["127.0.0.1", "::1", "localhost", "unix:/x.sock"] {
            assert!(plain(host, "").is_ok(), "{host}");
        }
        let error = read(&[("TARGET_TLS_USER_KEY_PATH", "/k")]).unwrap_err();
        assert_eq!(error, "TARGET_TLS_USER_CERT_PATH=: it is wanted with TARGET_TLS_USER_KEY_PATH");
        let error = read(&[("TARGET_TLS_CA_CERT_PATH", "/nowhere")]).unwrap_err();
        assert!(error.starts_with("TARGET_TLS_CA_CERT_PATH=/nowhere: a file in PEM form is wanted: "), "{error}");
    }

    #[test]
    fn wrong_values_are_named_with_what_is_allowed() {
        let cases = [
            ("SAMPLING", "-1", "a whole number from 0 to 4294967295 is wanted"),
            ("CACHE_MAX_FLOWS", "x", "a whole number from 16 to 10000000 is wanted"),
            ("CACHE_ACTIVE_TIMEOUT", "5", "a duration of at least 100ms is wanted, such as 1s or 1m30s"),
            ("CACHE_ACTIVE_TIMEOUT", "1ms", "a duration of at least 100ms is wanted, such as 1s or 1m30s"),
            ("DIRECTION", "up", "allowed: ingress, egress, both"),
            ("TC_ATTACH_MODE", "xdp", "allowed: tcx, tc, any"),
            ("EXPORT", "kafka", "allowed: grpc"),
            ("TARGET_PORT", "70000", "a whole number from 1 to 65535 is wanted"),
            ("AGENT_IP", "10.0.0", "an IPv4 or IPv6 address is wanted"),
            ("ENABLE_RTT", "yes", "allowed: true, false, 1, 0"),
            ("ENABLE_IPSEC_TRACKING", "true", "this agent does not do that yet; allowed: false or 0"),
            ("SNAPLEN", "63", "0 for whole frames, or 64 to 65560, is wanted"),
            ("SNAPLEN", "100000", "a whole number from 0 to 65560 is wanted"),
            ("FLOW_FILTER_RULES", "{}", "a JSON array of rules is wanted"),
            ("KAFKA_BROKERS", "b:1", "this agent does not do that yet; allowed: leave it unset"),
            ("CACHE_MAX_FLOW", "1", "unknown setting; did you mean CACHE_MAX_FLOWS?"),
        ];
        for (name, value, why) in cases {
            assert_eq!(read(&[(name, value)]).unwrap_err(), format!("{name}={value}: {why}"));
        }
        let error = read(&[("FLOW_FILTER_RULES", r#"[{},{"port":0}]"#)]).unwrap_err();
        assert_eq!(error, "FLOW_FILTER_RULES, rule 2, port=0: a port from 1 to 65535 is wanted");
        let error = read(&[("EXCLUDE_INTERFACES", "/(/")]).unwrap_err();
        assert!(error.starts_with("EXCLUDE_INTERFACES=/(/: /(/: not a regular expression"), "{error}");
    }

    #[test]
    fn a_rule_about_drops_needs_drops() {
        let rules = ("FLOW_FILTER_RULES", r#"[{"action":"Accept"},{"drops":true}]"#);
        let error = read(&[rules]).unwrap_err();
        assert_eq!(error, "FLOW_FILTER_RULES, rule 2, drops=true: ENABLE_PKT_DROPS=true is needed for that");
        assert!(read(&[rules, ("ENABLE_PKT_DROPS", "true")]).unwrap().drops);
    }

    #[test]
    fn packets_need_a_rule_or_all() {
        let pca = ("ENABLE_PCA", "true");
        let error = read(&[pca]).unwrap_err();
        let why = "capturing packets needs a rule, or PCA_ALL=true to capture each and every one";
        assert_eq!(error, format!("FLOW_FILTER_RULES=: {why}"));
        assert_eq!(read(&[pca, ("PCA_ALL", "true")]).unwrap().snaplen, Some(65_560));
        let rule = ("FLOW_FILTER_RULES", r#"[{"port":80}]"#);
        assert_eq!(read(&[pca, rule, ("SNAPLEN", "128")]).unwrap().snaplen, Some(128));
        assert_eq!(read(&[("SNAPLEN", "128")]).unwrap().snaplen, None);
        let error = read(&[pca, rule, ("ENABLE_RTT", "true")]).unwrap_err();
        assert_eq!(error, "ENABLE_RTT=true: is of flows, not of packets (ENABLE_PCA=true)");
    }

    #[test]
    fn a_target_is_needed() {
        let error = Settings::read([]).unwrap_err().to_string();
        assert!(error.starts_with("TARGET_HOST=: the collector's host name"), "{error}");
    }
}
