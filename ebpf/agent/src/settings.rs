//! Settings of the agent, read from its environment.
//!
//! The names are NetObserv's, so that the manifests made for its agent work here. A name that this agent does not
//! serve is refused when it asks for something, not passed over in silence.

use std::{fmt, net::IpAddr, time::Duration};

use crate::{interfaces::Selection, rules::Rule, tls::Tls};

mod env;
mod names;
#[cfg(test)]
mod tests;

use env::Env;
pub use names::{list, serves};

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
    /// CACHE_ACTIVE_TIMEOUT: a record is sent for each flow once in this time.
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
    /// ENABLE_DNS_TRACKING and DNS_TRACKING_PORT: the port in addition to 53; 0 = off.
    pub dns_port: u16,
    /// COLLECTOR_LOST_TIMEOUT: without the collector for this time, nothing is captured until it is back.
    pub lost_timeout: Duration,
    /// ENABLE_RTT: round-trip times of TCP.
    pub rtt: bool,
    /// ENABLE_PKT_DROPS: dropped packets and why.
    pub drops: bool,
    /// Variables of features that are left out where the kernel cannot do them.
    pub optional: Vec<&'static str>,
    /// ENABLE_PCA and SNAPLEN: packets are captured instead of flows, this many bytes of each.
    pub snaplen: Option<u32>,
    /// ENABLE_PROCESS: the processes at the ends of flows, for a machine that is no cluster's.
    pub process: bool,
    /// ENABLE_PKT_TRANSLATION: address translation is followed.
    pub translations: bool,
    /// STALE_ENTRIES_EVICT_TIMEOUT: a DNS query without an answer for this time is reported as such.
    pub dns_patience: Duration,
}

/// Two maps of each family take about 36 MiB of kernel memory at this size, on every node.
pub const DEFAULT_MAX_FLOWS: u32 = 50_000;
impl Settings {
    /// Reads a set of variables, such as `std::env::vars()`.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingError> {
        let env = Env::of(variables);
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
            rtt: env.feature("ENABLE_RTT")?,
            drops: env.feature("ENABLE_PKT_DROPS")?,
            optional: env.optional(),
            snaplen: env.snaplen()?,
            process: env.flag("ENABLE_PROCESS")?,
            translations: env.switch("ENABLE_PKT_TRANSLATION", "true")?,
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
