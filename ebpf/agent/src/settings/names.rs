//! The names of settings: those that are served, those that are refused, and those that are spelt nearly like one.

use crate::tls;

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
    "ENABLE_PROCESS",
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
pub(super) const NOT_SERVED: &[(&str, &[&str])] = &[
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

/// Whether a variable of this name is a setting.
pub fn serves(name: &str) -> bool {
    SERVED.contains(&name)
}

/// The setting that was probably meant by a name one or two letters off.
pub(super) fn misspelt(name: &str) -> Option<&'static str> {
    let mut known = SERVED.iter().copied().chain(NOT_SERVED.iter().map(|(name, _)| *name));
    if name.len() < 8 || known.clone().any(|setting| setting == name) {
        return None;
    }
    known.find(|setting| setting.len() >= 8 && strsim::damerau_levenshtein(setting, name) <= 2)
}
